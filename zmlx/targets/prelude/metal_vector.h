// Words of 2, 4, 8 or 16 bytes.
template <int bytes> struct zm_words;
template <> struct zm_words<2> { using type = ushort; };
template <> struct zm_words<4> { using type = uint; };
template <> struct zm_words<8> { using type = uint2; };
template <> struct zm_words<16> { using type = uint4; };

// Vector accesses: N neighbouring elements, N * sizeof(T) = 2, 4, 8 or 16 bytes, at any address that is aligned to T. Packed
// vectors need no more alignment than their elements: words of 32 bits are used where the address allows it, else elements
// of T's size (a view of an array, a row of odd length).
template <int size, int n> struct zm_packed;
#define ZM_PACKED(size, type)                                                              \
    template <> struct zm_packed<size, 1> { using vector = type; };                        \
    template <> struct zm_packed<size, 2> { using vector = metal::packed_##type##2; };     \
    template <> struct zm_packed<size, 4> { using vector = metal::packed_##type##4; };
ZM_PACKED(1, uchar)
ZM_PACKED(2, ushort)
ZM_PACKED(4, uint)
#undef ZM_PACKED

template <typename V, typename T> inline void zm_load_as(thread T* array, const device T* from) {
    V all = *reinterpret_cast<const device V*>(from);
    const thread T* each = reinterpret_cast<const thread T*>(&all);
    for (int i = 0; i < int(sizeof(V) / sizeof(T)); ++i) array[i] = each[i];
}
template <typename V, typename T> inline void zm_store_as(device T* to, const thread T* array) {
    V all;
    thread T* each = reinterpret_cast<thread T*>(&all);
    for (int i = 0; i < int(sizeof(V) / sizeof(T)); ++i) each[i] = array[i];
    *reinterpret_cast<device V*>(to) = all;
}
template <int N, typename T> struct zm_vectors {
    static constant constexpr const int bytes = N * sizeof(T), most = N < 4 ? N : 4;
    using words = typename zm_packed<4, bytes / 4 ? bytes / 4 : 1>::vector;
    using elements = typename zm_packed<sizeof(T) < 4 ? sizeof(T) : 4, most>::vector;
    static bool fits(ulong address) { return bytes >= 4 && (sizeof(T) >= 4 || address % 4 == 0); }
};
template <int N, typename T> inline void zm_vload(thread T* array, const device T* from) {
    using V = zm_vectors<N, T>;
    if (V::fits(reinterpret_cast<ulong>(from))) {
        zm_load_as<typename V::words>(array, from);
    } else {
        for (int i = 0; i < N; i += V::most) zm_load_as<typename V::elements>(array + i, from + i);
    }
}
template <int N, typename T> inline void zm_vstore(device T* to, const thread T* array) {
    using V = zm_vectors<N, T>;
    if (V::fits(reinterpret_cast<ulong>(to))) {
        zm_store_as<typename V::words>(to, array);
    } else {
        for (int i = 0; i < N; i += V::most) zm_store_as<typename V::elements>(to + i, array + i);
    }
}
