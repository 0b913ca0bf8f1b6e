// Vectors with swizzles, in MSL's sizes and alignments: three elements take the room of four.
#pragma once

#include "runtime.h"
#include "swizzles.inc"
#include "types.h"

// Compilers load and store a vector's elements one by one, which would hide that the whole must be aligned.
#if defined(__clang__)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1  // as GCC says it
#endif
#endif
#if defined(__SANITIZE_THREAD__)
namespace zm {

// They also take its address to be aligned, so it is asked where they cannot see. A thread's own vectors, whose size they
// know, need not be, and stay in registers.
inline __attribute__((always_inline)) bool skewed(const void* address, size_t bytes) {
    if (__builtin_object_size(address, 0) != size_t(-1)) return false;
    uintptr_t a = uintptr_t(address);
    asm("" : "+r"(a));
    return a % bytes != 0;
}

}  // namespace zm
#define ZM_VECTOR_WRITE(address, bytes) \
    if (!std::is_constant_evaluated() && zm::skewed(address, bytes)) zm::vector_write(address, bytes);
#define ZM_VECTOR_COPY(bytes)                                                                        \
    constexpr vec(const vec& o) : d{} {                                                              \
        if (!std::is_constant_evaluated() && zm::skewed(&o, bytes)) zm::vector_read(&o, bytes);      \
        for (int i = 0; i < zm::Shape<vec>::size; ++i) d[i] = o.d[i];                                \
    }
#else
#define ZM_VECTOR_WRITE(address, bytes)
#define ZM_VECTOR_COPY(bytes) constexpr vec(const vec&) = default;
#endif

namespace metal {

template <class T, int N>
struct vec;
template <class T, int N>
struct packed_vec;

}  // namespace metal

namespace zm {

template <class X>
struct Shape {
    static constexpr int size = 1;
    static constexpr bool is_vector = false;
    using element = X;
};
template <class T, int N>
struct Shape<metal::vec<T, N>> {
    static constexpr int size = N;
    static constexpr bool is_vector = true;
    using element = T;
};

template <class T, int N>
struct Shape<metal::packed_vec<T, N>> : Shape<metal::vec<T, N>> {};

// Some elements of a vector, by index, as one value; it lies in the vector's own memory.
template <class T, int Room, int... I>
struct Swizzle {
    T d[Room];
    using value = metal::vec<T, int(sizeof...(I))>;
    constexpr operator value() const { return value(d[I]...); }
    constexpr value get() const { return *this; }
    constexpr T operator[](int i) const { return get()[i]; }
    static constexpr bool distinct() {
        uint32_t seen = 0;
        return ((seen & 1u << I ? false : (seen |= 1u << I, true)) && ...);
    }
    constexpr Swizzle& set(const value& v) {
        static_assert(distinct(), "a swizzle that is written names each element once");
        int k = 0;
        ((d[I] = v[k++]), ...);
        return *this;
    }
    template <class U>
    constexpr Swizzle& operator=(const U& u) { return set(value(u)); }
    constexpr Swizzle& operator=(const Swizzle& u) { return set(u.get()); }
#define ZM_COMPOUND(op)                \
    template <class U>                 \
    constexpr Swizzle& operator op##=(const U& u) { return set(value(get() op value(u))); }
    ZM_COMPOUND(+)
    ZM_COMPOUND(-)
    ZM_COMPOUND(*)
    ZM_COMPOUND(/)
    ZM_COMPOUND(&)
    ZM_COMPOUND(|)
    ZM_COMPOUND(^)
    ZM_COMPOUND(%)
    ZM_COMPOUND(<<)
    ZM_COMPOUND(>>)
#undef ZM_COMPOUND
};
template <class T, int Room, int... I>
struct Shape<Swizzle<T, Room, I...>> {
    static constexpr int size = sizeof...(I);
    static constexpr bool is_vector = true;
    using element = T;
};
template <class X>
concept Vector = Shape<std::remove_cvref_t<X>>::is_vector;

// A swizzle as the vector that it is; other values as themselves.
template <class X>
constexpr const X& plain(const X& x) { return x; }
template <class T, int Room, int... I>
constexpr metal::vec<T, int(sizeof...(I))> plain(const Swizzle<T, Room, I...>& s) { return s.get(); }
template <class T, int N>
constexpr metal::vec<T, N> plain(const metal::packed_vec<T, N>& p) { return p; }
template <class X>
using value_of = std::remove_cvref_t<decltype(plain(std::declval<const X&>()))>;
template <class X, class T>
concept VectorOf = Vector<X> && std::is_same_v<typename Shape<X>::element, T>;
// Two vectors, or swizzles, of one type.
template <class A, class B>
concept Alike = Vector<A> && Vector<B> && std::is_same_v<value_of<A>, value_of<B>>;

}  // namespace zm

namespace metal {

#define ZM_VECTOR_BODY(N, ROOM)                                                                                           \
    constexpr vec() = default;                                                                                            \
    ZM_VECTOR_COPY(sizeof(T) * ROOM)                                                                                      \
    constexpr vec& operator=(const vec& o) {                                                                              \
        ZM_VECTOR_WRITE(this, sizeof(T) * ROOM)                                                                           \
        for (int i = 0; i < N; ++i) d[i] = o.d[i];                                                                        \
        return *this;                                                                                                     \
    }                                                                                                                     \
    /* one scalar for all elements */                                                                                     \
    template <zm::Scalar U>                                                                                               \
    constexpr vec(U s) : d{} {                                                                                            \
        for (int i = 0; i < N; ++i) d[i] = T(s);                                                                          \
    }                                                                                                                     \
    template <class U>                                                                                                    \
        requires(!std::is_same_v<U, T>)                                                                                   \
    constexpr explicit vec(const vec<U, N>& o) : d{} {                                                                    \
        for (int i = 0; i < N; ++i) d[i] = T(o.d[i]);                                                                     \
    }                                                                                                                     \
    template <class U, int R, int... I>                                                                                   \
        requires(sizeof...(I) == N && !std::is_same_v<U, T>)                                                              \
    constexpr explicit vec(const zm::Swizzle<U, R, I...>& o) : vec(o.get()) {}                                            \
    template <class U>                                                                                                    \
        requires(!std::is_same_v<U, T>)                                                                                   \
    constexpr explicit vec(const packed_vec<U, N>& o) : vec(vec<U, N>(o)) {}                                              \
    /* scalars and vectors that make up N elements; or N scalars less than that: {x, y} */                                \
    template <class A, class B, class... C>                                                                               \
        requires(zm::Shape<A>::size + zm::Shape<B>::size + (0 + ... + zm::Shape<C>::size) == N)                           \
    constexpr vec(const A& a, const B& b, const C&... c) : d{} {                                                          \
        int k = 0;                                                                                                        \
        put(k, a), put(k, b), (put(k, c), ...);                                                                           \
    }                                                                                                                     \
    constexpr T& operator[](int i) { return d[i]; }                                                                       \
    constexpr const T& operator[](int i) const { return d[i]; }                                                           \
                                                                                                                          \
  private:                                                                                                                \
    template <class A>                                                                                                    \
    constexpr void put(int& k, const A& a) {                                                                              \
        if constexpr (zm::Shape<A>::is_vector)                                                                            \
            for (int i = 0; i < zm::Shape<A>::size; ++i) d[k++] = T(a[i]);                                                \
        else                                                                                                              \
            d[k++] = T(a);                                                                                                \
    }                                                                                                                     \
                                                                                                                          \
  public:

template <class T>
struct alignas(sizeof(T) * 2) vec<T, 2> {
    union {
        T d[2];
        ZM_SWIZZLES_2
    };
    ZM_VECTOR_BODY(2, 2)
};
template <class T>
struct alignas(sizeof(T) * 4) vec<T, 3> {
    union {
        T d[4];
        ZM_SWIZZLES_3
    };
    ZM_VECTOR_BODY(3, 4)
};
template <class T>
struct alignas(sizeof(T) * 4) vec<T, 4> {
    union {
        T d[4];
        ZM_SWIZZLES_4
    };
    ZM_VECTOR_BODY(4, 4)
};
#undef ZM_VECTOR_BODY

}  // namespace metal

namespace zm {

// The vector type of an operation between two operands, at least one of which is a vector: scalars take its type.
template <class A, class B>
struct Joined {
    using first = std::conditional_t<Vector<A>, A, B>;
    using type = metal::vec<typename Shape<std::remove_cvref_t<first>>::element, Shape<std::remove_cvref_t<first>>::size>;
};
template <class A, class B>
using joined = typename Joined<A, B>::type;
// A vector of integers takes no float: it would cut the fraction off.
template <class V, class S>
concept Takes = Vector<S> || !Float<std::remove_cvref_t<S>> || Float<typename Shape<std::remove_cvref_t<V>>::element>;
template <class A, class B>
concept Mixes = (Vector<A> || Vector<B>) && (Vector<A> || Scalar<std::remove_cvref_t<A>>) && (Vector<B> || Scalar<std::remove_cvref_t<B>>) &&
                Takes<joined<A, B>, A> && Takes<joined<A, B>, B> && std::is_constructible_v<joined<A, B>, const A&> && std::is_constructible_v<joined<A, B>, const B&> &&
                (!Vector<A> || !Vector<B> ||
                 std::is_same_v<typename Shape<std::remove_cvref_t<A>>::element, typename Shape<std::remove_cvref_t<B>>::element>);

}  // namespace zm

namespace metal {

// bool vectors are computed as ints would be; small integers wrap to their own type.
#define ZM_OPERATOR(op)                                                                                 \
    template <class A, class B>                                                                         \
        requires zm::Mixes<A, B>                                                                        \
    constexpr zm::joined<A, B> operator op(const A& a, const B& b) {                                    \
        using V = zm::joined<A, B>;                                                                     \
        using T = typename zm::Shape<V>::element;                                                       \
        const V x(zm::plain(a)), y(zm::plain(b));                                                       \
        V r;                                                                                            \
        for (int i = 0; i < zm::Shape<V>::size; ++i) r.d[i] = T(x.d[i] op y.d[i]);                      \
        return r;                                                                                       \
    }                                                                                                   \
    template <template <class, int> class V, class T, int N, class B>                                   \
        requires zm::Mixes<V<T, N>, B>                                                                  \
    constexpr V<T, N>& operator op##=(V<T, N>& a, const B& b) { return a = a op b; }
ZM_OPERATOR(+)
ZM_OPERATOR(-)
ZM_OPERATOR(*)
ZM_OPERATOR(/)
ZM_OPERATOR(%)
ZM_OPERATOR(&)
ZM_OPERATOR(|)
ZM_OPERATOR(^)
ZM_OPERATOR(<<)
ZM_OPERATOR(>>)
#undef ZM_OPERATOR

#define ZM_COMPARE(op)                                                                                  \
    template <class A, class B>                                                                         \
        requires zm::Mixes<A, B>                                                                        \
    constexpr vec<bool, zm::Shape<zm::joined<A, B>>::size> operator op(const A& a, const B& b) {        \
        using V = zm::joined<A, B>;                                                                     \
        const V x(zm::plain(a)), y(zm::plain(b));                                                       \
        vec<bool, zm::Shape<V>::size> r;                                                                \
        for (int i = 0; i < zm::Shape<V>::size; ++i) r.d[i] = x.d[i] op y.d[i];                         \
        return r;                                                                                       \
    }
ZM_COMPARE(<)
ZM_COMPARE(>)
ZM_COMPARE(<=)
ZM_COMPARE(>=)
ZM_COMPARE(==)
ZM_COMPARE(!=)
ZM_COMPARE(&&)
ZM_COMPARE(||)
#undef ZM_COMPARE

#define ZM_UNARY(op, E)                                                                                 \
    template <class A>                                                                                  \
        requires zm::Vector<A>                                                                          \
    constexpr auto operator op(const A& a) {                                                            \
        using T = typename zm::Shape<A>::element;                                                       \
        const vec<T, zm::Shape<A>::size> x(zm::plain(a));                                               \
        vec<E, zm::Shape<A>::size> r;                                                                   \
        for (int i = 0; i < zm::Shape<A>::size; ++i) r.d[i] = E(op x.d[i]);                             \
        return r;                                                                                       \
    }
ZM_UNARY(-, T)
ZM_UNARY(+, T)
ZM_UNARY(~, T)
ZM_UNARY(!, bool)
#undef ZM_UNARY
#define ZM_STEP(op)                                                                                     \
    template <zm::Integer T, int N>                                                                     \
    constexpr vec<T, N>& operator op##op(vec<T, N>& a) { return a = a op T(1); }                        \
    template <zm::Integer T, int N>                                                                     \
    constexpr vec<T, N> operator op##op(vec<T, N>& a, int) {                                            \
        const vec<T, N> old = a;                                                                        \
        a = a op T(1);                                                                                  \
        return old;                                                                                     \
    }
ZM_STEP(+)
ZM_STEP(-)
#undef ZM_STEP

#define ZM_NAMES(t)                                                                         \
    using t##2 = vec<t, 2>;                                                                 \
    using t##3 = vec<t, 3>;                                                                 \
    using t##4 = vec<t, 4>;                                                                 \
    using packed_##t##2 = packed_vec<t, 2>;                                                 \
    using packed_##t##3 = packed_vec<t, 3>;                                                 \
    using packed_##t##4 = packed_vec<t, 4>;
ZM_NAMES(float)
ZM_NAMES(half)
ZM_NAMES(bfloat)
ZM_NAMES(bool)
ZM_NAMES(char)
ZM_NAMES(uchar)
ZM_NAMES(short)
ZM_NAMES(ushort)
ZM_NAMES(int)
ZM_NAMES(uint)
ZM_NAMES(long)
ZM_NAMES(ulong)
#undef ZM_NAMES

}  // namespace metal
