// Vectors, arrays and limits.
#pragma once

namespace metal {

template <class T>
using uniform = T;
template <class T>
T make_uniform(T);

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));
template <class T, size_t N>
struct array {
    T elements[N];
    constexpr T& operator[](size_t i) { return elements[i]; }
    constexpr const T& operator[](size_t i) const { return elements[i]; }
    device T& operator[](this device array&, size_t);
    const device T& operator[](this const device array&, size_t);
    threadgroup T& operator[](this threadgroup array&, size_t);
    const threadgroup T& operator[](this const threadgroup array&, size_t);
    constant T& operator[](this constant array&, size_t);
    constexpr size_t size() const { return N; }
};
template <class T, int C, int R>
struct matrix {
    vec<T, R> columns[C];
    matrix() = default;
    template <class... A> explicit matrix(A...);
    ZM_ASSIGNED(matrix) ZM_COPIED(matrix)
    constexpr vec<T, R>& operator[](size_t i) { return columns[i]; }
    constexpr const vec<T, R>& operator[](size_t i) const { return columns[i]; }
    device vec<T, R>& operator[](this device matrix&, size_t);
    const device vec<T, R>& operator[](this const device matrix&, size_t);
    threadgroup vec<T, R>& operator[](this threadgroup matrix&, size_t);
    const threadgroup vec<T, R>& operator[](this const threadgroup matrix&, size_t);
    constant vec<T, R>& operator[](this constant matrix&, size_t);
};
template <class T, int C, int R> matrix<T, C, R> operator+(matrix<T, C, R>, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> operator-(matrix<T, C, R>, matrix<T, C, R>);
template <class T, int C, int R> matrix<T, C, R> operator*(matrix<T, C, R>, T);
template <class T, int C, int R> matrix<T, C, R> operator*(T, matrix<T, C, R>);
template <class T, int C, int R> vec<T, R> operator*(matrix<T, C, R>, vec<T, C>);
template <class T, int C, int R> vec<T, C> operator*(vec<T, R>, matrix<T, C, R>);
template <class T, int C, int R, int K> matrix<T, K, R> operator*(matrix<T, C, R>, matrix<T, K, C>);
template <class T, int C, int R> matrix<T, R, C> transpose(matrix<T, C, R>);
template <class T>
struct numeric_limits {
    static constexpr bool is_signed = T(-1) < T(0), is_integer = __is_integral(T);
    static constexpr T max() { return T(1); }
    static constexpr T min() { return T(0); }
    static constexpr T lowest() { return T(0); }
    static constexpr T infinity() { return T(1); }
    static constexpr T quiet_NaN() { return T(0); }
    static constexpr T epsilon() { return T(0); }
};
template <class To, class From>
constexpr To as_type(From);

#define ZM_NAMES(t)                                                                                                       \
    using t##2 = vec<t, 2>; using t##3 = vec<t, 3>; using t##4 = vec<t, 4>;                                               \
    using packed_##t##2 = vec<t, 2>; using packed_##t##3 = vec<t, 3>; using packed_##t##4 = vec<t, 4>;
ZM_NAMES(float) ZM_NAMES(half) ZM_NAMES(bfloat) ZM_NAMES(bool) ZM_NAMES(char) ZM_NAMES(uchar) ZM_NAMES(short) ZM_NAMES(ushort)
ZM_NAMES(int) ZM_NAMES(uint) ZM_NAMES(long) ZM_NAMES(ulong)
#undef ZM_NAMES
#define ZM_MATRICES(t)                                                                                                    \
    using t##2x2 = matrix<t, 2, 2>; using t##2x3 = matrix<t, 2, 3>; using t##2x4 = matrix<t, 2, 4>;                       \
    using t##3x2 = matrix<t, 3, 2>; using t##3x3 = matrix<t, 3, 3>; using t##3x4 = matrix<t, 3, 4>;                       \
    using t##4x2 = matrix<t, 4, 2>; using t##4x3 = matrix<t, 4, 3>; using t##4x4 = matrix<t, 4, 4>;
ZM_MATRICES(float) ZM_MATRICES(half) ZM_MATRICES(bfloat)
#undef ZM_MATRICES

}  // namespace metal

using metal::vec;
using metal::as_type;
#define ZM_NAMES(t) using metal::t##2; using metal::t##3; using metal::t##4; using metal::packed_##t##2; using metal::packed_##t##3; using metal::packed_##t##4;
ZM_NAMES(float) ZM_NAMES(half) ZM_NAMES(bfloat) ZM_NAMES(bool) ZM_NAMES(char) ZM_NAMES(uchar) ZM_NAMES(short) ZM_NAMES(ushort)
ZM_NAMES(int) ZM_NAMES(uint) ZM_NAMES(long) ZM_NAMES(ulong)
#undef ZM_NAMES
