// Vector accesses: N neighbouring elements, N * sizeof(T) = 2, 4, 8 or 16 bytes. An address that is not a multiple of that
// (a view of an array, a row of odd length) is accessed element by element.
template <int bytes> struct zm_words;
template <> struct zm_words<2> { using type = ushort; };
template <> struct zm_words<4> { using type = uint; };
template <> struct zm_words<8> { using type = uint2; };
template <> struct zm_words<16> { using type = uint4; };
template <int N, typename T> inline void zm_vload(thread T* array, const device T* from) {
    using words = typename zm_words<N * sizeof(T)>::type;
    if (reinterpret_cast<ulong>(from) % sizeof(words) != 0) {
        for (int i = 0; i < N; ++i) array[i] = from[i];
        return;
    }
    words all = *reinterpret_cast<const device words*>(from);
    const thread T* each = reinterpret_cast<const thread T*>(&all);
    for (int i = 0; i < N; ++i) array[i] = each[i];
}
template <int N, typename T> inline void zm_vstore(device T* to, const thread T* array) {
    using words = typename zm_words<N * sizeof(T)>::type;
    if (reinterpret_cast<ulong>(to) % sizeof(words) != 0) {
        for (int i = 0; i < N; ++i) to[i] = array[i];
        return;
    }
    words all;
    thread T* each = reinterpret_cast<thread T*>(&all);
    for (int i = 0; i < N; ++i) each[i] = array[i];
    *reinterpret_cast<device words*>(to) = all;
}
