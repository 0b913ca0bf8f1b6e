// Scalar types: MSL's names, half and bfloat, and what mixes with what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__aarch64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#error "the Metal simulator needs _Float16, which g++ has on aarch64 from version 13 on: use a newer g++, or clang++ (ZMLX_CXX=clang++)"
#endif

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

// Arithmetic on _Float16 is rounded after each operation, as on Apple's GPUs; the compiler's flags see to that.
typedef _Float16 half;

// A float's upper 16 bits. As in MSL, a bfloat becomes a float by itself, and a float a bfloat only when told to; integers and
// their literals mix with it.
struct bfloat {
    uint16_t bits;

    bfloat() = default;
    static constexpr uint16_t rounded(float f) {
        uint32_t u = __builtin_bit_cast(uint32_t, f);
        if ((u & 0x7fffffff) > 0x7f800000) return uint16_t((u >> 16) | 0x40);
        return uint16_t((u + 0x7fff + ((u >> 16) & 1)) >> 16);
    }
    template <class T>
        requires std::is_integral_v<T>
    constexpr bfloat(T i) : bits(rounded(float(i))) {}
    template <class T>
        requires(std::is_floating_point_v<T> || std::is_same_v<T, half>)
    constexpr explicit bfloat(T f) : bits(rounded(float(f))) {}
    template <class T>
        requires(!std::is_arithmetic_v<T> && !std::is_same_v<T, half> && !std::is_same_v<T, bfloat> && std::is_convertible_v<T, float>)
    constexpr explicit bfloat(const T& f) : bits(rounded(float(f))) {}
    // A template, and not to int by itself, so that `condition ? x : 0` has one way only: the integer becomes a bfloat.
    template <class T>
        requires std::is_same_v<T, float>
    constexpr operator T() const { return __builtin_bit_cast(float, uint32_t(bits) << 16); }
    template <class T>
        requires((std::is_arithmetic_v<T> || std::is_same_v<T, half>) && !std::is_same_v<T, float>)
    constexpr explicit(!std::is_integral_v<T> || std::is_same_v<T, int> || std::is_same_v<T, bool>) operator T() const { return T(float(*this)); }

    static constexpr bfloat from_bits(uint16_t b) {
        bfloat r{};
        r.bits = b;
        return r;
    }
    constexpr bfloat operator-() const { return from_bits(bits ^ 0x8000); }
    constexpr bfloat operator+() const { return *this; }
    constexpr bfloat& operator++() { return *this = bfloat(float(*this) + 1.0f); }
    constexpr bfloat& operator--() { return *this = bfloat(float(*this) - 1.0f); }
    constexpr bfloat operator++(int) { return std::exchange(*this, bfloat(float(*this) + 1.0f)); }
    constexpr bfloat operator--(int) { return std::exchange(*this, bfloat(float(*this) - 1.0f)); }
};

namespace zm {

template <class T>
concept Integer = std::is_integral_v<T>;
template <class T>
concept Float = std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, bfloat>;
template <class T>
concept Scalar = std::is_arithmetic_v<T> || Float<T> || std::is_enum_v<T>;
// Two operands of which one is a bfloat: with a bfloat or an integer they give a bfloat, else a float.
template <class A, class B>
concept Bfloats = (std::is_same_v<A, bfloat> && Scalar<B>) || (std::is_same_v<B, bfloat> && Scalar<A>);
template <class A, class B>
using bfloats = std::conditional_t<(std::is_same_v<A, bfloat> || Integer<A>)&&(std::is_same_v<B, bfloat> || Integer<B>), bfloat, float>;

}  // namespace zm

#define ZM_ARITHMETIC(op)                                                                    \
    template <class A, class B>                                                              \
        requires zm::Bfloats<A, B>                                                           \
    constexpr zm::bfloats<A, B> operator op(A a, B b) { return zm::bfloats<A, B>(float(a) op float(b)); } \
    template <class B>                                                                       \
        requires zm::Scalar<B>                                                               \
    constexpr bfloat& operator op##=(bfloat& a, B b) { return a = bfloat(float(a) op float(b)); } \
    template <class A>                                                                       \
        requires(std::is_arithmetic_v<A> || std::is_same_v<A, half>)                         \
    constexpr A& operator op##=(A& a, bfloat b) { return a = A(float(a) op float(b)); }
ZM_ARITHMETIC(+)
ZM_ARITHMETIC(-)
ZM_ARITHMETIC(*)
ZM_ARITHMETIC(/)
#undef ZM_ARITHMETIC
#define ZM_COMPARISON(op)                                                                     \
    template <class A, class B>                                                               \
        requires zm::Bfloats<A, B>                                                            \
    constexpr bool operator op(A a, B b) { return float(a) op float(b); }
ZM_COMPARISON(<)
ZM_COMPARISON(>)
ZM_COMPARISON(<=)
ZM_COMPARISON(>=)
ZM_COMPARISON(==)
ZM_COMPARISON(!=)
#undef ZM_COMPARISON
