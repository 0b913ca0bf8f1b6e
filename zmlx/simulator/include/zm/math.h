// <metal_math> and <metal_common>: precise and fast forms are the same function here, so `fast` is never less exact.
#pragma once

#include "lift.h"

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define HUGE_VALF (__builtin_inff())
#define MAXFLOAT 0x1.fffffep127f
#define FLT_MAX 0x1.fffffep127f
#define FLT_MIN 0x1.0p-126f
#define FLT_EPSILON 0x1.0p-23f
#define HALF_MAX half(65504.0f)
#define HALF_MIN half(0x1.0p-14f)
#define HALF_EPSILON half(0x1.0p-10f)
#define HALF_DIG 3
#define HALF_MANT_DIG 11
#define HALF_MAX_EXP 16
#define HALF_MIN_EXP (-13)
#define HALF_MAX_10_EXP 4
#define HALF_MIN_10_EXP (-4)
#define HALF_RADIX 2
#define HUGE_VALH half(__builtin_inff())
#define FLT_DIG 6
#define FLT_MANT_DIG 24
#define FLT_MAX_EXP 128
#define FLT_MIN_EXP (-125)
#define FLT_MAX_10_EXP 38
#define FLT_MIN_10_EXP (-37)
#define FLT_RADIX 2
#define M_E_F 2.71828182845904523536028747135266250f
#define M_LOG2E_F 1.44269504088896340735992468100189214f
#define M_LOG10E_F 0.434294481903251827651128918916605082f
#define M_LN2_F 0.693147180559945309417232121458176568f
#define M_LN10_F 2.30258509299404568401799145468436421f
#define M_PI_F 3.14159265358979323846264338327950288f
#define M_PI_2_F 1.57079632679489661923132169163975144f
#define M_PI_4_F 0.785398163397448309615660845819875721f
#define M_1_PI_F 0.318309886183790671537767526745028724f
#define M_2_PI_F 0.636619772367581343075535053490057448f
#define M_2_SQRTPI_F 1.12837916709551257389615890312154517f
#define M_SQRT2_F 1.41421356237309504880168872420969808f
#define M_SQRT1_2_F 0.707106781186547524400844362104849039f
#define M_E_H half(M_E_F)
#define M_LOG2E_H half(M_LOG2E_F)
#define M_LOG10E_H half(M_LOG10E_F)
#define M_LN2_H half(M_LN2_F)
#define M_LN10_H half(M_LN10_F)
#define M_PI_H half(M_PI_F)
#define M_PI_2_H half(M_PI_2_F)
#define M_PI_4_H half(M_PI_4_F)
#define M_1_PI_H half(M_1_PI_F)
#define M_2_PI_H half(M_2_PI_F)
#define M_2_SQRTPI_H half(M_2_SQRTPI_F)
#define M_SQRT2_H half(M_SQRT2_F)
#define M_SQRT1_2_H half(M_SQRT1_2_F)

namespace zm::scalar {

template <class T>
concept Real = Float<T> || Integer<T>;
template <class T>
using result = std::conditional_t<Float<T>, T, float>;

// sin(pi * x), with quarter turns exact.
inline double sin_of_turns(double x) {
    const double r = __builtin_fmod(x, 2.0), k = __builtin_rint(2 * r), rest = 3.14159265358979323846 * (r - k / 2);
    const int quarter = k == k ? int(k) & 3 : 0;
    const double y = quarter & 1 ? __builtin_cos(rest) : __builtin_sin(rest);
    return quarter & 2 ? 0.0 - y : y;
}
inline double cos_of_turns(double x) { return sin_of_turns(__builtin_fmod(__builtin_fabs(x), 2.0) + 0.5); }

// Each is defined on float; half and bfloat are computed in float and rounded once.
#define ZM_FUNCTION(name, expression)                              \
    struct name {                                                  \
        template <Real T>                                          \
        constexpr result<T> operator()(T value) const {            \
            const float x = float(value);                          \
            return result<T>(expression);                          \
        }                                                          \
    };
ZM_FUNCTION(acos, __builtin_acosf(x))
ZM_FUNCTION(acosh, __builtin_acoshf(x))
ZM_FUNCTION(asin, __builtin_asinf(x))
ZM_FUNCTION(asinh, __builtin_asinhf(x))
ZM_FUNCTION(atan, __builtin_atanf(x))
ZM_FUNCTION(atanh, __builtin_atanhf(x))
ZM_FUNCTION(ceil, __builtin_ceilf(x))
ZM_FUNCTION(cos, __builtin_cosf(x))
ZM_FUNCTION(cosh, __builtin_coshf(x))
ZM_FUNCTION(cospi, float(cos_of_turns(x)))
ZM_FUNCTION(exp, __builtin_expf(x))
ZM_FUNCTION(exp2, __builtin_exp2f(x))
ZM_FUNCTION(exp10, float(__builtin_pow(10.0, double(x))))
ZM_FUNCTION(fabs, __builtin_fabsf(x))
ZM_FUNCTION(floor, __builtin_floorf(x))
ZM_FUNCTION(log, __builtin_logf(x))
ZM_FUNCTION(log2, __builtin_log2f(x))
ZM_FUNCTION(log10, __builtin_log10f(x))
ZM_FUNCTION(rint, __builtin_rintf(x))
ZM_FUNCTION(round, __builtin_roundf(x))
ZM_FUNCTION(rsqrt, float(1.0 / __builtin_sqrt(double(x))))
ZM_FUNCTION(sin, __builtin_sinf(x))
ZM_FUNCTION(sinh, __builtin_sinhf(x))
ZM_FUNCTION(sinpi, float(sin_of_turns(x)))
ZM_FUNCTION(sqrt, __builtin_sqrtf(x))
ZM_FUNCTION(tan, __builtin_tanf(x))
ZM_FUNCTION(tanh, __builtin_tanhf(x))
ZM_FUNCTION(tanpi, float(sin_of_turns(x) / cos_of_turns(x)))
ZM_FUNCTION(trunc, __builtin_truncf(x))
ZM_FUNCTION(saturate, x > 0 ? x < 1 ? x : 1.0f : 0.0f)
ZM_FUNCTION(sign, x > 0 ? 1.0f : x < 0 ? -1.0f : x == 0 ? x : 0.0f)
#undef ZM_FUNCTION

#define ZM_FUNCTION(name, expression)                                         \
    struct name {                                                             \
        template <Real A, Real B>                                             \
        constexpr common_float<A, B> operator()(A a, B b) const {             \
            const float x = float(a), y = float(b);                           \
            return common_float<A, B>(expression);                            \
        }                                                                     \
    };
ZM_FUNCTION(atan2, __builtin_atan2f(x, y))
ZM_FUNCTION(copysign, __builtin_copysignf(x, y))
ZM_FUNCTION(divide, x / y)
ZM_FUNCTION(fdim, __builtin_fdimf(x, y))
ZM_FUNCTION(fmax, x > y || y != y ? x : y)  // C's give NaN for a signalling one, of which Metal knows nothing
ZM_FUNCTION(fmin, x < y || y != y ? x : y)
ZM_FUNCTION(fmod, __builtin_fmodf(x, y))
ZM_FUNCTION(pow, __builtin_powf(x, y))
ZM_FUNCTION(powr, x < 0 ? __builtin_nanf("") : __builtin_powf(x, y))
ZM_FUNCTION(step, y < x ? 0.0f : 1.0f)
#undef ZM_FUNCTION

// The neighbour in the type's own spacing.
struct nextafter {
    float operator()(float x, float y) const { return __builtin_nextafterf(x, y); }
    half operator()(half x, half y) const { return half_way<half>(x, y); }
    bfloat operator()(bfloat x, bfloat y) const { return half_way<bfloat>(x, y); }
    template <class T>
    static T half_way(T x, T y) {
        const float a = x, b = y;
        if (a != a || b != b) return T(a + b);
        if (a == b) return y;
        uint16_t bits = __builtin_bit_cast(uint16_t, x);
        if (a == 0) return __builtin_bit_cast(T, uint16_t(b < 0 ? 0x8001 : 1));
        return __builtin_bit_cast(T, uint16_t((a < b) == (a > 0) ? bits + 1 : bits - 1));
    }
};

// Below 1 in its own type, also for numbers just under 0.
struct fract {
    template <Real T>
    constexpr result<T> operator()(T value) const {
        using R = result<T>;
        const float x = float(value);
        const R r = R(x - __builtin_floorf(x));
        return float(r) >= 1.0f ? R(1.0f - float(metal::numeric_limits<R>::epsilon()) / 2) : r;
    }
};

// What modf leaves: of an infinity nothing.
struct after_point {
    template <Float T>
    constexpr T operator()(T value) const {
        const float x = float(value), whole = __builtin_truncf(x);
        return T(__builtin_copysignf(x == whole ? 0.0f : x - whole, x));
    }
};

// Products of halves and of bfloats are exact in double, and so is any sum of halves that stays a half.
struct fma {
    float operator()(float x, float y, float z) const { return __builtin_fmaf(x, y, z); }
    constexpr half operator()(half x, half y, half z) const { return half(double(x) * double(y) + double(z)); }
    bfloat operator()(bfloat x, bfloat y, bfloat z) const { return bfloat(odd(double(float(x)) * double(float(y)), double(float(z)))); }
    // a + b with the last bit set where it is inexact, so that rounding it again is as rounding once.
    static float odd(double a, double b) {
        const double sum = a + b, part = sum - a, rest = (a - (sum - part)) + (b - part);
        float r = float(sum);
        if (!(__builtin_fabsf(r) < __builtin_inff()) || (double(r) == sum && rest == 0)) return r;
        const bool above = double(r) > sum || (double(r) == sum && rest < 0);  // r lies above the exact sum
        uint32_t bits = __builtin_bit_cast(uint32_t, r);
        if (above) bits = r > 0 ? bits - 1 : r < 0 ? bits + 1 : 0x80000000;
        if (!above && r < 0) bits -= 1;
        return __builtin_bit_cast(float, bits | 1);
    }
};

// min, max and clamp: floats ignore NaN, as fmin and fmax; integers take their common type.
template <class A, class B>
struct Common {
    using type = std::conditional_t<Float<A> || Float<B>, common_float<A, B>, decltype(A() + B())>;
};
template <class A>
struct Common<A, A> {
    using type = A;
};
template <class A, class B>
using common = typename Common<A, B>::type;
struct min {
    template <class A, class B>
    constexpr common<A, B> operator()(A a, B b) const {
        using T = common<A, B>;
        const T x = T(a), y = T(b);
        if constexpr (Float<T>)
            return y != y ? x : x != x ? y : y < x ? y : x;
        else
            return y < x ? y : x;
    }
};
struct max {
    template <class A, class B>
    constexpr common<A, B> operator()(A a, B b) const {
        using T = common<A, B>;
        const T x = T(a), y = T(b);
        if constexpr (Float<T>)
            return y != y ? x : x != x ? y : x < y ? y : x;
        else
            return x < y ? y : x;
    }
};
struct abs {
    template <Real T>
    constexpr T operator()(T x) const {
        if constexpr (Float<T>)
            return T(__builtin_fabsf(float(x)));
        else
            return x < 0 ? T(-x) : x;
    }
};
struct mix {
    template <class T>
    constexpr T operator()(T x, T y, T a) const { return T(x + (y - x) * a); }
};
struct smoothstep {
    template <class T>
    constexpr T operator()(T low, T high, T x) const {
        const T t = T(saturate{}(T((x - low) / (high - low))));
        return T(t * t * (T(3) - T(2) * t));
    }
};
struct ldexp {
    template <Float T>
    constexpr T operator()(T x, int k) const { return T(__builtin_ldexpf(float(x), k)); }
};
struct ilogb {
    template <Float T>
    constexpr int operator()(T x) const { return __builtin_ilogbf(float(x)); }
};

}  // namespace zm::scalar

#define ZM_ONE(name)                                                                           \
    template <class A>                                                                         \
        requires(zm::FloatLike<A> || zm::IntegerLike<A>)                                       \
    constexpr auto name(const A& a) { return zm::lift(zm::scalar::name{}, a); }
#define ZM_TWO(name)                                                                           \
    template <class A, class B>                                                                \
        requires((zm::FloatLike<A> || zm::IntegerLike<A>) && (zm::FloatLike<B> || zm::IntegerLike<B>)) \
    constexpr auto name(const A& a, const B& b) { return zm::lift(zm::scalar::name{}, a, b); }
#define ZM_MATH                                                                                                        \
    ZM_ONE(acos) ZM_ONE(acosh) ZM_ONE(asin) ZM_ONE(asinh) ZM_ONE(atan) ZM_ONE(atanh) ZM_ONE(ceil) ZM_ONE(cos)          \
    ZM_ONE(cosh) ZM_ONE(cospi) ZM_ONE(exp) ZM_ONE(exp2) ZM_ONE(exp10) ZM_ONE(fabs) ZM_ONE(floor) ZM_ONE(fract)         \
    ZM_ONE(log) ZM_ONE(log2) ZM_ONE(log10) ZM_ONE(rint) ZM_ONE(round) ZM_ONE(rsqrt) ZM_ONE(sin) ZM_ONE(sinh)           \
    ZM_ONE(sinpi) ZM_ONE(sqrt) ZM_ONE(tan) ZM_ONE(tanh) ZM_ONE(tanpi) ZM_ONE(trunc) ZM_ONE(saturate) ZM_ONE(sign)      \
    ZM_ONE(abs) ZM_ONE(ilogb) ZM_TWO(atan2) ZM_TWO(copysign) ZM_TWO(divide) ZM_TWO(fdim) ZM_TWO(fmax) ZM_TWO(fmin)     \
    ZM_TWO(fmod) ZM_TWO(pow) ZM_TWO(powr) ZM_TWO(step) ZM_TWO(nextafter) ZM_TWO(min) ZM_TWO(max)                       \
    template <class A, class B, class C>                                                                               \
    constexpr auto fma(const A& a, const B& b, const C& c) { return zm::lift(zm::scalar::fma{}, a, b, c); }            \
    template <class A, class B, class C>                                                                               \
    constexpr auto clamp(const A& x, const B& low, const C& high) { return min(max(x, low), high); }                   \
    template <class A, class B, class C>                                                                               \
    constexpr auto min3(const A& a, const B& b, const C& c) { return min(a, min(b, c)); }                              \
    template <class A, class B, class C>                                                                               \
    constexpr auto max3(const A& a, const B& b, const C& c) { return max(a, max(b, c)); }                              \
    template <class A, class B, class C>                                                                               \
    constexpr auto median3(const A& a, const B& b, const C& c) { return max(min(a, b), min(max(a, b), c)); }           \
    template <class A, class B, class C>                                                                               \
    constexpr auto fmin3(const A& a, const B& b, const C& c) { return fmin(a, fmin(b, c)); }                           \
    template <class A, class B, class C>                                                                               \
    constexpr auto fmax3(const A& a, const B& b, const C& c) { return fmax(a, fmax(b, c)); }                           \
    template <class A, class B, class C>                                                                               \
    constexpr auto fmedian3(const A& a, const B& b, const C& c) { return fmax(fmin(a, b), fmin(fmax(a, b), c)); }      \
    template <class A, class B>                                                                                        \
    constexpr auto ldexp(const A& x, const B& k) {                                                                     \
        if constexpr (zm::Vector<A>) {                                                                                 \
            zm::value_of<A> r;                                                                                         \
            for (int i = 0; i < zm::Shape<A>::size; ++i) r[i] = zm::scalar::ldexp{}(x[i], k[i]);                       \
            return r;                                                                                                  \
        } else {                                                                                                       \
            return zm::scalar::ldexp{}(x, k);                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    template <class A, class B, class C>                                                                               \
        requires zm::FloatLike<A>                                                                                      \
    constexpr auto mix(const A& x, const B& y, const C& a) {                                                           \
        using V = typename zm::Lifted<A, B, C>::type;                                                                  \
        return zm::lift(zm::scalar::mix{}, V(x), V(y), V(a));                                                          \
    }                                                                                                                  \
    template <class A, class B, class C>                                                                               \
    constexpr auto smoothstep(const A& low, const B& high, const C& x) {                                               \
        using V = typename zm::Lifted<C>::type;                                                                        \
        return zm::lift(zm::scalar::smoothstep{}, V(low), V(high), V(x));                                              \
    }                                                                                                                  \
    template <class A>                                                                                                 \
        requires zm::FloatLike<A>                                                                                      \
    inline A frexp(const A& x, std::type_identity_t<std::conditional_t<zm::Vector<A>, vec<int, zm::Shape<A>::size < 2 ? 2 : zm::Shape<A>::size>, int>>& e) { \
        if constexpr (zm::Vector<A>) {                                                                                 \
            A r;                                                                                                       \
            for (int i = 0; i < zm::Shape<A>::size; ++i) r[i] = zm::element_of<A>(__builtin_frexpf(float(x[i]), &e[i])); \
            return r;                                                                                                  \
        } else {                                                                                                       \
            return A(__builtin_frexpf(float(x), &e));                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    template <class A>                                                                                                 \
        requires zm::FloatLike<A>                                                                                      \
    inline A modf(const A& x, A& whole) {                                                                              \
        whole = A(trunc(x));                                                                                           \
        return zm::lift(zm::scalar::after_point{}, x);                                                                 \
    }                                                                                                                  \
    template <class A>                                                                                                 \
        requires zm::FloatLike<A>                                                                                      \
    inline A sincos(const A& x, A& cosine) {                                                                           \
        cosine = cos(x);                                                                                               \
        return sin(x);                                                                                                 \
    }

namespace metal {

ZM_MATH
namespace fast {
ZM_MATH
}
namespace precise {
ZM_MATH
}

}  // namespace metal
#undef ZM_MATH
#undef ZM_ONE
#undef ZM_TWO
