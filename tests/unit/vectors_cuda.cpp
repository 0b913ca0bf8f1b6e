// Runs cuda_vector.h on a host: the 32 lanes of a warp are threads that meet at each exchange.
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#define ZM_FN static inline
#define __device__
#define __forceinline__ inline
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
template <class T, class U> T zm_bitcast(U x) {
    T r;
    memcpy(&r, &x, sizeof r);
    return r;
}
template <class T> struct zm_id_of { using type = T; };
template <class T> using zm_id = typename zm_id_of<T>::type;
static std::barrier<> meeting(32);
static unsigned said[32];
struct Index { unsigned x; };
static thread_local Index threadIdx;
template <class F> static unsigned exchange(unsigned mine, F answer) {
    said[threadIdx.x] = mine;
    meeting.arrive_and_wait();
    unsigned r = answer();
    meeting.arrive_and_wait();
    return r;
}
static unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) { return unsigned((uint64_t(high) << 32 | low) >> (by & 31)); }
static unsigned __ballot_sync(unsigned, bool p) {
    return exchange(p, [] {
        unsigned all = 0;
        for (int i = 0; i < 32; ++i) all |= said[i] << i;
        return all;
    });
}
static bool __any_sync(unsigned every, bool p) { return __ballot_sync(every, p) != 0; }
static unsigned __shfl_up_sync(unsigned, unsigned v, unsigned by) {
    return exchange(v, [v, by] { return threadIdx.x >= by ? said[threadIdx.x - by] : v; });
}
#include "cuda_vector.h"

static void check(bool right, const char* what, int size, int width, int at) {
    if (right) return;
    printf("%s is wrong: elements of %d bytes, vectors of %d, offset %d\n", what, size, width, at);
    exit(1);
}
// Copies rows of n elements, the lanes of a row `count` each; all else stays zero.
template <class T, int N, int count, int lanes> static void copy(int offset, int n, int stride) {
    const int rows = 32 / lanes, size = offset + rows * stride + lanes * count + 64;
    struct alignas(16) Word { T each[16 / sizeof(T)]; };
    std::vector<Word> from(size), to(size);
    T *x = from[1].each, *y = to[1].each;
    for (int i = 0; i < size; ++i) x[i] = T(rand() | 1);
    std::vector<std::thread> warp;
    for (unsigned lane = 0; lane < 32; ++lane)
        warp.emplace_back([=] {
            threadIdx.x = lane;
            const int first = lane % lanes * count, at = offset + int(lane) / lanes * stride + first;
            alignas(16) T held[count];
            for (int k = 0; k < count; k += N)
                zm_vload_shifted<N>(held + k, x + at + k, first + k < n, first + k + zm_to_aligned<N>(x + at + k) < n);
            for (int k = 0; k < count && first + k < n; ++k) check(held[k] == x[at + k], "a load", sizeof(T), N, offset);
            int left = zm_vstore_shifted<N, count, lanes>(y + at, held, first + count <= n);
            for (int k = 0; k < count && first + k < n; ++k)
                if (left >> k & 1) y[at + k] = held[k];
        });
    for (auto& lane : warp) lane.join();
    std::vector<T> want(size);
    for (int r = 0; r < rows; ++r)
        for (int i = 0; i < n; ++i) want[offset + r * stride + i] = x[offset + r * stride + i];
    for (int i = 0; i < size; ++i) check(y[i] == want[i], "a store", sizeof(T), N, offset);
}
template <class T, int N, int count, int lanes> static void copies() {
    const int row = lanes * count;
    for (int offset = 0; offset < N; ++offset)
        for (int n : {row, row - 1, row - count, row / 2 + 1, 1})
            for (int stride : {row, row + 1, row + 3}) copy<T, N, count, lanes>(offset, n, stride);
}
template <class T, int N> static void array() {
    zm_array<T, N> a;
    T want[N];
    for (int i = 0; i < N; ++i) a.set(i, want[i] = T(rand()));
    for (int i = 0; i < N; i += 3) a.set(i, want[i] = T(rand()));
    for (int i = 0; i < N; ++i) check(a.get(i) == want[i], "an array", sizeof(T), N, i);
    check(!memcmp(a + 4, want + 4, sizeof(T) * (N - 4)), "an array's memory", sizeof(T), N, 4);
}
int main() {
    copies<uint16_t, 8, 8, 32>();
    copies<uint16_t, 8, 16, 8>();
    copies<uint16_t, 4, 4, 16>();
    copies<uint16_t, 2, 2, 32>();
    copies<uint32_t, 4, 8, 32>();
    copies<uint32_t, 2, 2, 4>();
    copies<uint8_t, 16, 16, 32>();
    copies<uint8_t, 4, 4, 8>();
    copies<uint64_t, 2, 4, 32>();
    array<uint16_t, 8>();
    array<uint8_t, 16>();
    array<bool, 8>();
}
