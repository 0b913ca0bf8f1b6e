
// Vectors of N neighbours in threadgroup memory, at a multiple of their size.
template <int N, typename T> inline void zm_take(thread T* array, const threadgroup T* from) {
    using words = typename zm_words<N * sizeof(T)>::type;
    words all = *reinterpret_cast<const threadgroup words*>(from);
    const thread T* each = reinterpret_cast<const thread T*>(&all);
    for (int i = 0; i < N; ++i) array[i] = each[i];
}
template <int N, typename T> inline void zm_put(threadgroup T* to, const thread T* array) {
    using words = typename zm_words<N * sizeof(T)>::type;
    words all;
    thread T* each = reinterpret_cast<thread T*>(&all);
    for (int i = 0; i < N; ++i) each[i] = array[i];
    *reinterpret_cast<threadgroup words*>(to) = all;
}
