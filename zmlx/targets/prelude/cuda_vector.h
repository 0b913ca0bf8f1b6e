#ifndef ZM_CUDA_VECTOR_H
#define ZM_CUDA_VECTOR_H
template <int bytes> struct zm_bits_of { using type = unsigned char; };
template <> struct zm_bits_of<2> { using type = unsigned short; };
template <int bytes> using zm_bits = typename zm_bits_of<bytes>::type;
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// An array of elements smaller than a word, in words: where branches meet, an array of halves would be taken apart, one register
// an element, and so wait for the load behind it.
template <class T, int N> struct alignas(N * sizeof(T) % 16 == 0 ? 16 : 4) zm_array {
    static constexpr int each = 4 / sizeof(T), bits = 8 * sizeof(T);
    unsigned words[(N + each - 1) / each];
    __device__ __forceinline__ T get(int i) const {
        zm_bits<sizeof(T)> b = words[i / each] >> (i % each * bits);
        return zm_bitcast<T>(b);
    }
    __device__ __forceinline__ void set(int i, T x) {
        int shift = i % each * bits;
        words[i / each] = (words[i / each] & ~(((1u << bits) - 1) << shift)) | (unsigned)zm_bitcast<zm_bits<sizeof(T)>>(x) << shift;
    }
    __device__ __forceinline__ T operator[](int i) const { return get(i); }
    __device__ __forceinline__ T* operator+(int i) { return (T*)(words + i / each); }
    __device__ __forceinline__ operator T*() { return (T*)words; }
};

// Vector accesses: N neighbouring elements, N * sizeof(T) = 2, 4, 8 or 16 bytes, at any address that is aligned to T. Stores to
// an address that is not a multiple of that (a view of an array) go element by element. A kernel's body comes twice: for arrays
// that all start at a multiple of their vectors' size (`aligned`: nothing is left to test), and for others.
struct zm_true { static constexpr bool value = true; };
struct zm_false { static constexpr bool value = false; };
ZM_FN unsigned zm_bits_of_address(const void* p) { return (unsigned)(unsigned long long)p; }
template <int bytes> struct zm_words;
template <> struct zm_words<2> { using type = unsigned short; };
template <> struct zm_words<4> { using type = unsigned int; };
template <> struct zm_words<8> { using type = uint2; };
template <> struct zm_words<16> { using type = uint4; };
template <int N, bool aligned = false, class T> ZM_FN void zm_vstore(T* to, const zm_id<T>* array) {
    typename zm_words<N * sizeof(T)>::type words;
    memcpy(&words, array, sizeof words);
    if (!aligned && (unsigned)(unsigned long long)to % (N * sizeof(T)) != 0) {
        T each[N];
        memcpy(each, &words, sizeof words);
#pragma unroll
        for (int i = 0; i < N; ++i) to[i] = each[i];
        return;
    }
    *(typename zm_words<N * sizeof(T)>::type*)to = words;
}

// ---- addresses that are not expected to be aligned (rows of odd length) ------------------------------------------------
// A vector of B bytes there lies in two aligned words of B bytes. Both hold bytes of the vector, so both are memory of its
// allocation, which starts and ends at a multiple of 256 bytes.

template <int N, class T> ZM_FN int zm_to_aligned(const T* p) {
    return (int)((0u - (unsigned)(unsigned long long)p) % (N * sizeof(T)) / sizeof(T));
}

// words[0 … W - 1] = the 4 W bytes that start at byte `at` < 4 W of words[0 … 2 W - 1]; `at` is a multiple of sizeof(T).
template <class T, int W> ZM_FN void zm_extract(unsigned (&words)[2 * W], unsigned at) {
    if constexpr (W == 4) {
#pragma unroll
        for (int i = 0; i < 6; ++i) words[i] = at & 8 ? words[i + 2] : words[i];
    }
    if constexpr (W >= 2 && sizeof(T) <= 4) {
#pragma unroll
        for (int i = 0; i < W + (sizeof(T) < 4); ++i) words[i] = at & 4 ? words[i + 1] : words[i];
    }
    if constexpr (sizeof(T) < 4) {
#pragma unroll
        for (int i = 0; i < W; ++i) words[i] = __funnelshift_r(words[i], words[i + 1], at * 8);
    }
}

// first, last: whether the word of the first element, and that of the last one, may be read.
template <int N, class T> ZM_FN void zm_vload_shifted(zm_id<T>* array, const T* from, bool first, bool last) {
    constexpr int B = N * sizeof(T), W = B / 4;
    using Word = typename zm_words<B>::type;
    unsigned at = (unsigned)(unsigned long long)from % B;
    const Word* p = (const Word*)((const char*)from - at);
    Word low = {}, high = {};
    if (first) low = p[0];
    if (last && at != 0) high = p[1];
    unsigned words[2 * W];
    memcpy(words, &low, B);
    memcpy(words + W, &high, B);
    zm_extract<T, W>(words, at);
    memcpy(array, words, B);
}

// The same where most addresses are aligned.
template <int N, bool aligned = false, class T> ZM_FN void zm_vload(zm_id<T>* array, const T* from) {
    if (!aligned && (unsigned)(unsigned long long)from % (N * sizeof(T)) != 0) {
        if constexpr (N * sizeof(T) >= 4) {
            zm_vload_shifted<N>(array, from, true, true);
        } else {
#pragma unroll
            for (int i = 0; i < N; ++i) array[i] = from[i];
        }
        return;
    }
    typename zm_words<N * sizeof(T)>::type words = *(const typename zm_words<N * sizeof(T)>::type*)from;
    memcpy(array, &words, sizeof words);
}

// Stores this lane's `count` elements, vectors of N, whose neighbours in memory are those of the lanes beside it (groups of
// `lanes`), as far as they form whole aligned vectors with these; returns a bit for each element that is left.
template <int N, int count, int lanes, class T> ZM_FN int zm_vstore_shifted(T* to, const zm_id<T>* array, bool whole) {
    constexpr int B = N * sizeof(T), W = B / 4, V = count / N;
    constexpr unsigned every = 0xffffffffu, all = every >> (32 - count);
    using Word = typename zm_words<B>::type;
    unsigned at = (unsigned)(unsigned long long)to % B;
    if (!__any_sync(every, at != 0)) {
        if (!whole) return all;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            Word word;
            memcpy(&word, array + v * N, B);
            *(Word*)(to + v * N) = word;
        }
        return 0;
    }
    const bool odd = lanes == 32 || at != 0;  // one address in all lanes, modulo B
    unsigned lane = threadIdx.x & 31, wholes = __ballot_sync(every, whole);
    // The vectors that the lane before begins, and that the next lane ends.
    bool opened = whole && lane % lanes != 0 && (wholes << 1 >> lane & 1), closed = whole && lane % lanes != lanes - 1 && (wholes >> 1 >> lane & 1);
    unsigned before[W];
    memcpy(before, array + count - N, B);
#pragma unroll
    for (int i = 0; i < W; ++i) before[i] = __shfl_up_sync(every, before[i], 1);
    Word* p = (Word*)((char*)to - at);
#pragma unroll
    for (int v = 0; v < V; ++v) {
        unsigned words[2 * W];
        memcpy(words, before, B);
        memcpy(words + W, array + v * N, B);
        memcpy(before, array + v * N, B);
        zm_extract<T, W>(words, odd ? B - at : 0);
        if (!odd) memcpy(words, before, B);
        if (v == 0 && odd ? opened : whole) {
            Word word;
            memcpy(&word, words, B);
            p[v] = word;
        }
    }
    if (!odd) return whole ? 0 : all;
    unsigned head = (B - at) / sizeof(T);  // elements before the first aligned one
    unsigned first = (1u << head) - 1u, last = all & ~(all >> (N - head));
    return (whole ? 0u : all & ~first & ~last) | (opened ? 0u : first) | (closed ? 0u : last);
}
#endif
