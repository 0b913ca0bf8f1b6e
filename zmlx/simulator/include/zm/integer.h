// <metal_integer>, <metal_relational>.
#pragma once

#include "math.h"

namespace zm::scalar {

template <class T>
using bits_of = std::make_unsigned_t<T>;
template <class T>
constexpr int width = int(sizeof(T) * 8);

struct popcount {
    template <Integer T>
    constexpr T operator()(T x) const { return T(__builtin_popcountll(bits_of<T>(x))); }
};
struct clz {
    template <Integer T>
    constexpr T operator()(T x) const { return T(x ? __builtin_clzll(bits_of<T>(x)) - (64 - width<T>) : width<T>); }
};
struct ctz {
    template <Integer T>
    constexpr T operator()(T x) const { return T(x ? __builtin_ctzll(bits_of<T>(x)) : width<T>); }
};
struct reverse_bits {
    template <Integer T>
    constexpr T operator()(T x) const {
        bits_of<T> r = 0;
        for (int i = 0; i < width<T>; ++i) r = bits_of<T>(r | ((bits_of<T>(x) >> i & 1) << (width<T> - 1 - i)));
        return T(r);
    }
};
struct rotate {
    template <Integer T, Integer U>
    constexpr T operator()(T x, U by) const {
        const int k = int(by) & (width<T> - 1);
        const bits_of<T> u = bits_of<T>(x);
        return k ? T(bits_of<T>(u << k) | bits_of<T>(u >> (width<T> - k))) : x;
    }
};
struct mulhi {
    template <Integer T>
    constexpr T operator()(T x, T y) const {
        using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
        return T(Wide(x) * Wide(y) >> width<T>);
    }
};
struct absdiff {
    template <Integer T>
    constexpr bits_of<T> operator()(T x, T y) const { return x < y ? bits_of<T>(bits_of<T>(y) - bits_of<T>(x)) : bits_of<T>(bits_of<T>(x) - bits_of<T>(y)); }
};
struct addsat {
    template <Integer T>
    constexpr T operator()(T x, T y) const {
        T r;
        if (!__builtin_add_overflow(x, y, &r)) return r;
        return y < 0 ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    }
};
struct subsat {
    template <Integer T>
    constexpr T operator()(T x, T y) const {
        T r;
        if (!__builtin_sub_overflow(x, y, &r)) return r;
        return x < y ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
    }
};
struct hadd {
    template <Integer T>
    constexpr T operator()(T x, T y) const { return T((__int128(x) + __int128(y)) >> 1); }
};
struct rhadd {
    template <Integer T>
    constexpr T operator()(T x, T y) const { return T((__int128(x) + __int128(y) + 1) >> 1); }
};
struct mul24 {
    constexpr int operator()(int x, int y) const { return int(uint(int(uint(x) << 8) >> 8) * uint(int(uint(y) << 8) >> 8)); }
    constexpr uint operator()(uint x, uint y) const { return (x & 0xffffff) * (y & 0xffffff); }
};
struct mad24 {
    template <Integer T>
    constexpr T operator()(T x, T y, T z) const { return T(uint(mul24{}(x, y)) + uint(z)); }
};
struct madhi {
    template <Integer T>
    constexpr T operator()(T x, T y, T z) const { return T(bits_of<T>(mulhi{}(x, y)) + bits_of<T>(z)); }
};
struct madsat {
    template <Integer T>
    constexpr T operator()(T x, T y, T z) const {
        using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
        using L = std::numeric_limits<T>;
        const Wide r = Wide(x) * Wide(y) + Wide(z);
        return r < Wide(L::min()) ? L::min() : r > Wide(L::max()) ? L::max() : T(r);
    }
};
struct extract_bits {
    template <Integer T>
    constexpr T operator()(T x, uint offset, uint bits) const {
        if (bits == 0) return T(0);
        const uint left = uint(width<T>) - bits - offset;
        return T(T(bits_of<T>(x) << left) >> (uint(width<T>) - bits));
    }
};
struct insert_bits {
    template <Integer T>
    constexpr T operator()(T base, T insert, uint offset, uint bits) const {
        const bits_of<T> ones = bits >= uint(width<T>) ? bits_of<T>(~bits_of<T>(0)) : bits_of<T>((bits_of<T>(1) << bits) - 1);
        const bits_of<T> mask = bits_of<T>(ones << offset);
        return T((bits_of<T>(base) & bits_of<T>(~mask)) | (bits_of<T>(bits_of<T>(insert) << offset) & mask));
    }
};

#define ZM_TEST(name, expression)                          \
    struct name {                                          \
        template <class T>                                 \
        constexpr bool operator()(T value) const {         \
            const float x = float(value);                  \
            return expression;                             \
        }                                                  \
    };
ZM_TEST(isnan, x != x)
ZM_TEST(isinf, __builtin_fabsf(x) == __builtin_inff())
ZM_TEST(isfinite, __builtin_fabsf(x) < __builtin_inff())
ZM_TEST(signbit, __builtin_signbitf(x) != 0)
#undef ZM_TEST
struct isnormal {
    template <class T>
    constexpr bool operator()(T x) const {
        const float a = __builtin_fabsf(float(x));
        return a < __builtin_inff() && a >= float(metal::numeric_limits<T>::min());
    }
};

}  // namespace zm::scalar

namespace metal {

#define ZM_ONE(name, kind)                                                             \
    template <class A>                                                                 \
        requires kind<A>                                                               \
    constexpr auto name(const A& a) { return zm::lift(zm::scalar::name{}, a); }
ZM_ONE(popcount, zm::IntegerLike)
ZM_ONE(clz, zm::IntegerLike)
ZM_ONE(ctz, zm::IntegerLike)
ZM_ONE(reverse_bits, zm::IntegerLike)
ZM_ONE(isnan, zm::FloatLike)
ZM_ONE(isinf, zm::FloatLike)
ZM_ONE(isfinite, zm::FloatLike)
ZM_ONE(isnormal, zm::FloatLike)
ZM_ONE(signbit, zm::FloatLike)
#undef ZM_ONE
#define ZM_TWO(name)                                                                   \
    template <class A, class B>                                                        \
        requires(zm::IntegerLike<A> && zm::IntegerLike<B>)                             \
    constexpr auto name(const A& a, const B& b) {                                      \
        if constexpr (zm::Vector<A> || std::is_same_v<A, B>)                           \
            return zm::lift(zm::scalar::name{}, a, b);                                 \
        else                                                                           \
            return zm::scalar::name{}(decltype(a + b)(a), decltype(a + b)(b));         \
    }
ZM_TWO(mulhi)
ZM_TWO(absdiff)
ZM_TWO(addsat)
ZM_TWO(subsat)
ZM_TWO(hadd)
ZM_TWO(rhadd)
ZM_TWO(mul24)
#undef ZM_TWO
template <class A, class B>
    requires(zm::IntegerLike<A> && zm::IntegerLike<B>)
constexpr auto rotate(const A& a, const B& by) {
    if constexpr (zm::Vector<A>)
        return zm::lift(zm::scalar::rotate{}, a, A(by));
    else
        return zm::scalar::rotate{}(a, by);
}
#define ZM_THREE(name)                                                                 \
    template <class A, class B, class C>                                               \
        requires zm::IntegerLike<A>                                                    \
    constexpr auto name(const A& a, const B& b, const C& c) { return zm::lift(zm::scalar::name{}, a, A(b), A(c)); }
ZM_THREE(mad24)
ZM_THREE(madhi)
ZM_THREE(madsat)
#undef ZM_THREE
template <class A>
    requires zm::IntegerLike<A>
constexpr A extract_bits(const A& x, uint offset, uint bits) {
    return zm::lift([=](auto e) { return zm::scalar::extract_bits{}(e, offset, bits); }, x);
}
template <class A>
    requires zm::IntegerLike<A>
constexpr A insert_bits(const A& base, const A& insert, uint offset, uint bits) {
    return zm::lift([=](auto b, auto i) { return zm::scalar::insert_bits{}(b, i, offset, bits); }, base, insert);
}

// Of integers: never.
template <zm::Integer T>
constexpr bool isnan(T) { return false; }
template <zm::Integer T>
constexpr bool isinf(T) { return false; }
template <class A, class B>
constexpr auto isordered(const A& a, const B& b) { return zm::lift([](auto x, auto y) { return x == x && y == y; }, a, b); }
template <class A, class B>
constexpr auto isunordered(const A& a, const B& b) { return zm::lift([](auto x, auto y) { return x != x || y != y; }, a, b); }
constexpr bool all(bool x) { return x; }
constexpr bool any(bool x) { return x; }
template <zm::VectorOf<bool> A>
constexpr bool all(const A& x) {
    bool r = true;
    for (int i = 0; i < zm::Shape<A>::size; ++i) r = r && x[i];
    return r;
}
template <zm::VectorOf<bool> A>
constexpr bool any(const A& x) {
    bool r = false;
    for (int i = 0; i < zm::Shape<A>::size; ++i) r = r || x[i];
    return r;
}
template <class T>
constexpr T select(T a, T b, bool c) { return c ? b : a; }
template <class A, class B, zm::VectorOf<bool> C>
    requires(zm::Alike<A, B> && zm::Shape<A>::size == zm::Shape<C>::size)
constexpr zm::value_of<A> select(const A& a, const B& b, const C& c) {
    zm::value_of<A> r;
    for (int i = 0; i < zm::Shape<A>::size; ++i) r.d[i] = c[i] ? b[i] : a[i];
    return r;
}

}  // namespace metal
