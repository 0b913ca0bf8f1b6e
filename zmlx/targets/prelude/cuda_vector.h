#ifndef ZM_CUDA_VECTOR_H
#define ZM_CUDA_VECTOR_H
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// Vector accesses: N neighbouring elements, N * sizeof(T) = 2, 4, 8 or 16 bytes. An address that is not a multiple of that
// (a view of an array, a row of odd length) is accessed element by element.
template <int bytes> struct zm_words;
template <> struct zm_words<2> { using type = unsigned short; };
template <> struct zm_words<4> { using type = unsigned int; };
template <> struct zm_words<8> { using type = uint2; };
template <> struct zm_words<16> { using type = uint4; };
template <int N, class T> ZM_FN void zm_vload(T* array, const T* from) {
    if ((unsigned long long)from % (N * sizeof(T)) != 0) {
#pragma unroll
        for (int i = 0; i < N; ++i) array[i] = from[i];
        return;
    }
    typename zm_words<N * sizeof(T)>::type words = *(const typename zm_words<N * sizeof(T)>::type*)from;
    memcpy(array, &words, sizeof words);
}
template <int N, class T> ZM_FN void zm_vstore(T* to, const T* array) {
    if ((unsigned long long)to % (N * sizeof(T)) != 0) {
#pragma unroll
        for (int i = 0; i < N; ++i) to[i] = array[i];
        return;
    }
    typename zm_words<N * sizeof(T)>::type words;
    memcpy(&words, array, sizeof words);
    *(typename zm_words<N * sizeof(T)>::type*)to = words;
}
#endif
