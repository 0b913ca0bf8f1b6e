#ifndef ZM_CUDA_VECTOR_H
#define ZM_CUDA_VECTOR_H
#ifndef NAN
#define NAN __int_as_float(0x7fc00000)
#endif
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// Vector accesses: N neighbouring elements, N * sizeof(T) = 2, 4, 8 or 16 bytes, aligned to that.
template <int bytes> struct zm_words;
template <> struct zm_words<2> { using type = unsigned short; };
template <> struct zm_words<4> { using type = unsigned int; };
template <> struct zm_words<8> { using type = uint2; };
template <> struct zm_words<16> { using type = uint4; };
template <int N, class T> ZM_FN void zm_vload(T* array, const T* from) {
    typename zm_words<N * sizeof(T)>::type words = *(const typename zm_words<N * sizeof(T)>::type*)from;
    memcpy(array, &words, sizeof words);
}
template <int N, class T> ZM_FN void zm_vstore(T* to, const T* array) {
    typename zm_words<N * sizeof(T)>::type words;
    memcpy(&words, array, sizeof words);
    *(typename zm_words<N * sizeof(T)>::type*)to = words;
}
#endif
