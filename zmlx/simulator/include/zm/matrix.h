// <metal_matrix>: columns of vectors.
#pragma once

#include "geometric.h"

namespace metal {

template <class T, int C, int R>
struct matrix {
    vec<T, R> columns[C];

    matrix() = default;
    explicit constexpr matrix(T diagonal) : columns{} {
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) columns[c][r] = c == r ? diagonal : T(0);
    }
    template <class... V>
        requires(sizeof...(V) == C && (std::is_convertible_v<V, vec<T, R>> && ...) && (zm::Vector<V> && ...))
    constexpr matrix(const V&... v) : columns{vec<T, R>(v)...} {}
    template <class... S>
        requires(sizeof...(S) == C * R && C * R > 1 && (zm::Scalar<S> && ...))
    constexpr matrix(S... s) : columns{} {
        int i = 0;
        ((columns[i / R][i % R] = T(s), ++i), ...);
    }
    template <class U>
        requires(!std::is_same_v<U, T>)
    explicit constexpr matrix(const matrix<U, C, R>& o) : columns{} {
        for (int c = 0; c < C; ++c) columns[c] = vec<T, R>(o.columns[c]);
    }
    constexpr vec<T, R>& operator[](int c) { return columns[c]; }
    constexpr const vec<T, R>& operator[](int c) const { return columns[c]; }
};

template <class T, int C, int R>
constexpr matrix<T, C, R> operator+(matrix<T, C, R> a, const matrix<T, C, R>& b) {
    for (int c = 0; c < C; ++c) a[c] = a[c] + b[c];
    return a;
}
template <class T, int C, int R>
constexpr matrix<T, C, R> operator-(matrix<T, C, R> a, const matrix<T, C, R>& b) {
    for (int c = 0; c < C; ++c) a[c] = a[c] - b[c];
    return a;
}
template <class T, int C, int R>
constexpr matrix<T, C, R> operator-(matrix<T, C, R> a) {
    for (int c = 0; c < C; ++c) a[c] = -a[c];
    return a;
}
template <class T, int C, int R, zm::Scalar S>
constexpr matrix<T, C, R> operator*(matrix<T, C, R> a, S s) {
    for (int c = 0; c < C; ++c) a[c] = a[c] * T(s);
    return a;
}
template <class T, int C, int R, zm::Scalar S>
constexpr matrix<T, C, R> operator*(S s, const matrix<T, C, R>& a) { return a * s; }
template <class T, int C, int R, zm::VectorOf<T> V>
    requires(zm::Shape<V>::size == C)
constexpr vec<T, R> operator*(const matrix<T, C, R>& m, const V& v) {
    vec<T, R> r = m[0] * v[0];
    for (int c = 1; c < C; ++c) r = r + m[c] * v[c];
    return r;
}
template <class T, int C, int R, zm::VectorOf<T> V>
    requires(zm::Shape<V>::size == R)
constexpr vec<T, C> operator*(const V& v, const matrix<T, C, R>& m) {
    vec<T, C> r;
    for (int c = 0; c < C; ++c) r[c] = dot(v, m[c]);
    return r;
}
template <class T, int C, int K, int R>
constexpr matrix<T, C, R> operator*(const matrix<T, K, R>& a, const matrix<T, C, K>& b) {
    matrix<T, C, R> r;
    for (int c = 0; c < C; ++c) r[c] = a * b[c];
    return r;
}
template <class T, int C, int R>
constexpr matrix<T, C, R>& operator+=(matrix<T, C, R>& a, const matrix<T, C, R>& b) { return a = a + b; }
template <class T, int C, int R>
constexpr matrix<T, C, R>& operator-=(matrix<T, C, R>& a, const matrix<T, C, R>& b) { return a = a - b; }
template <class T, int C, int R, class B>
constexpr matrix<T, C, R>& operator*=(matrix<T, C, R>& a, const B& b) { return a = a * b; }
// By the first column, whose elements' minors are determinants in turn.
template <class T, int N>
constexpr T determinant(const matrix<T, N, N>& m) {
    if constexpr (N == 2) {
        return T(T(m[0][0] * m[1][1]) - T(m[0][1] * m[1][0]));
    } else {
        T sum = T(0);
        for (int r = 0; r < N; ++r) {
            matrix<T, N - 1, N - 1> minor{};
            for (int c = 1; c < N; ++c)
                for (int k = 0; k < N - 1; ++k) minor[c - 1][k] = m[c][k + (k >= r)];
            const T term = T(m[0][r] * determinant(minor));
            sum = r % 2 ? T(sum - term) : T(sum + term);
        }
        return sum;
    }
}
template <class T, int C, int R>
constexpr matrix<T, R, C> transpose(const matrix<T, C, R>& m) {
    matrix<T, R, C> t;
    for (int c = 0; c < C; ++c)
        for (int r = 0; r < R; ++r) t[r][c] = m[c][r];
    return t;
}

#define ZM_NAMES(t)                                                                                          \
    using t##2x2 = matrix<t, 2, 2>; using t##2x3 = matrix<t, 2, 3>; using t##2x4 = matrix<t, 2, 4>;          \
    using t##3x2 = matrix<t, 3, 2>; using t##3x3 = matrix<t, 3, 3>; using t##3x4 = matrix<t, 3, 4>;          \
    using t##4x2 = matrix<t, 4, 2>; using t##4x3 = matrix<t, 4, 3>; using t##4x4 = matrix<t, 4, 4>;
ZM_NAMES(float)
ZM_NAMES(half)
ZM_NAMES(bfloat)
#undef ZM_NAMES

}  // namespace metal
