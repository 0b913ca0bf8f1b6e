// The product of two tiles held in arrays, in blocks that stay in vector registers.
#ifndef ZM_HOST_DOT_H
#define ZM_HOST_DOT_H
#include "host_vector.h"

// R rows by C vectors of the product: acc[r, c] += sum over k of a[r, k] b[k, c], summed from k = 0 upwards.
template <int R, int C, int N, int K, class V, class T> ZM_FN void zm_dot_block(T* acc, const T* a, const T* b) {
    constexpr int W = sizeof(V) / sizeof(T);
    V sum[R][C];
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) sum[r][c] = zm_vload<V>(acc + r * N + c * W);
    for (int k = 0; k < K; ++k) {
        V y[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) y[c] = zm_vload<V>(b + k * N + c * W);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) {
            V x = a[r * K + k] - V{};
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) sum[r][c] = zm_vmad<T>(x, y[c], sum[r][c]);
        }
    }
#pragma GCC unroll 32
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) zm_vstore(acc + r * N + c * W, sum[r][c]);
}

// x0 y0 x1 y1 … of the first (H = 0) or second (H = 1) halves of two vectors.
template <int H, class V, int... I> ZM_FN V zm_zip(V x, V y, zm_ints<int, I...>) {
    constexpr int W = sizeof...(I);
    return __builtin_shufflevector(x, y, (H * W / 2 + I / 2 + I % 2 * W)...);
}

// to[c, r] = from[r, c], both row-major: squares of W by W, in log2(W) rounds that zip the first half of the rows with the second.
template <int R, int C, class T> static __attribute__((noinline)) void zm_transpose(T* __restrict__ to, const T* from) {
    constexpr int widest = ZM_VECTOR_BYTES / (int)sizeof(T), least = R < C ? R : C, W = least < widest ? least : widest;
    if constexpr (W < 4) {
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) to[c * R + r] = from[r * C + c];
    } else {
        using V = zm_vec<T, W>;
        for (int r = 0; r < R; r += W)
            for (int c = 0; c < C; c += W) {
                V x[W], y[W];
#pragma GCC unroll 16
                for (int i = 0; i < W; ++i) x[i] = zm_vload<V>(from + (r + i) * C + c);
#pragma GCC unroll 4
                for (int round = 1; round < W; round *= 2) {
#pragma GCC unroll 8
                    for (int i = 0; i < W / 2; ++i) {
                        y[2 * i] = zm_zip<0>(x[i], x[i + W / 2], zm_count<W>());
                        y[2 * i + 1] = zm_zip<1>(x[i], x[i + W / 2], zm_count<W>());
                    }
#pragma GCC unroll 16
                    for (int i = 0; i < W; ++i) x[i] = y[i];
                }
#pragma GCC unroll 16
                for (int i = 0; i < W; ++i) zm_vstore(to + (c + i) * R + r, x[i]);
            }
    }
}

// acc (M, N) += a (M, K) b (K, N), all row-major. Each sum is one chain over k, so the result does not depend on the machine
// but for whether it fuses. M, N and K are powers of two.
template <int M, int N, int K, class T> static __attribute__((noinline)) void zm_dot(T* __restrict__ acc, const T* a, const T* b) {
    constexpr int widest = ZM_VECTOR_BYTES / (int)sizeof(T), W = N < widest ? N : widest;
    if constexpr (W == 1) {
        for (int r = 0; r < M; ++r)
            for (int k = 0; k < K; ++k) acc[r] = zm_vmad<T>(a[r * K + k], b[k], acc[r]);
    } else {
        using V = zm_vec<T, W>;
        // Sums that are under way, to hide the latency of a multiply-add, beside the operands.
        constexpr int sums = ZM_VECTOR_REGISTERS * 3 / 4, most = ZM_VECTOR_REGISTERS == 32 ? 4 : 2;
        constexpr int C = N / W < most ? N / W : most, R = M < sums / C ? M : sums / C;
        for (int c = 0; c < N; c += C * W) {
            for (int r = 0; r + R <= M; r += R) zm_dot_block<R, C, N, K, V>(acc + r * N + c, a + r * K, b + c);
            if constexpr (M % R != 0) zm_dot_block<M % R, C, N, K, V>(acc + M / R * R * N + c, a + M / R * R * K, b + c);
        }
    }
}
#endif
