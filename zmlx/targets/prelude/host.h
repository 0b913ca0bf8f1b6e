// What generated host C++ stands on: element types, conversions, integer and atomic operations, elementary functions.
//
// Everything is branch-free scalar code that g++ >= 12 and clang++ >= 14 turn into vector loops under
//   -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=off -fwrapv     (never -ffast-math)
// No standard header but stdint.h is read, as a cold kernel pays for each. Functions of double call the C library.
// Bounds are in units in the last place (ulp) of the correctly rounded result, measured over all or dense arguments with
// and without FMA by tests/unit/test_prelude_host.py (docs/accuracy.md holds the table). Coefficients are minimax fits
// (Lawson's iteratively reweighted least squares) made for this file; each comment names the reduction used.
#ifndef ZM_HOST_H
#define ZM_HOST_H
#include <stdint.h>

#define ZM_FN static inline __attribute__((always_inline))
#define ZM_INF __builtin_inff()

template <class T, class U> ZM_FN T zm_bitcast(U x) {
    static_assert(sizeof(T) == sizeof(U), "a bitcast keeps the width");
    T out;
    __builtin_memcpy(&out, &x, sizeof(T));
    return out;
}
ZM_FN uint32_t zm_bits(float x) { return zm_bitcast<uint32_t>(x); }
ZM_FN uint64_t zm_bits(double x) { return zm_bitcast<uint64_t>(x); }
ZM_FN float zm_float(uint32_t x) { return zm_bitcast<float>(x); }

template <class T, class U> inline constexpr bool zm_same = false;
template <class T> inline constexpr bool zm_same<T, T> = true;
// A parameter that takes the type which the others settle, so that literals of another width may be passed.
template <class T> struct zm_id_of { using type = T; };
template <class T> using zm_id = typename zm_id_of<T>::type;

// ---- float16 and bfloat16: storage only, computed with as float32 -------------------------------------------------

struct zm_half { uint16_t bits; };
struct zm_bf16 { uint16_t bits; };

// clang vectorises its own half conversions where the machine has them; g++ 12 does not, so it takes the integer form.
#if (defined(__clang__) && defined(__F16C__)) || defined(__aarch64__)
#define ZM_NATIVE_HALF 1
#endif

ZM_FN float zm_half_to_float(zm_half h) {
#ifdef ZM_NATIVE_HALF
    __fp16 x;
    __builtin_memcpy(&x, &h, 2);
    return (float)x;
#else
    uint32_t a = h.bits & 0x7fffu, sign = (uint32_t)(h.bits & 0x8000u) << 16;
    uint32_t normal = (a << 13) + 0x38000000u, special = (a << 13) | 0x7f800000u;
    uint32_t small = zm_bits(zm_float((a << 13) + 0x38800000u) - 0x1p-14f);  // subnormals: the hidden bit subtracted again
    uint32_t r = a >= 0x7c00u ? special : normal;
    return zm_float((a < 0x400u ? small : r) | sign);
#endif
}

ZM_FN zm_half zm_float_to_half(float x) {
#ifdef ZM_NATIVE_HALF
    __fp16 rounded = (__fp16)x;
    zm_half h;
    __builtin_memcpy(&h, &rounded, 2);
    return h;
#else
    uint32_t b = zm_bits(x), a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    uint32_t c = a < 0x47800000u ? a : 0x47800000u;  // 65536 and above: infinity
    uint32_t normal = (c - 0x38000000u + 0xfffu + ((c >> 13) & 1u)) >> 13;
    uint32_t small = zm_bits(zm_float(a) + 0.5f) - 0x3f000000u;  // ulp(0.5) is the smallest half: the adder rounds
    uint32_t r = a < 0x38800000u ? small : normal;
    r = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x1ffu) : r;
    return {(uint16_t)(r | sign)};
#endif
}

ZM_FN zm_half zm_float_to_half_rtz(float x) {
    uint32_t b = zm_bits(x), a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    uint32_t c = a < 0x477fffffu ? a : 0x477fffffu;  // finite values stop at 65504
    uint32_t small = (uint32_t)(int32_t)((a < 0x38800000u ? zm_float(a) : 0.0f) * 0x1p24f);
    uint32_t r = a < 0x38800000u ? small : (c - 0x38000000u) >> 13;
    r = a >= 0x7f800000u ? 0x7c00u : r;
    r = a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x1ffu) : r;
    return {(uint16_t)(r | sign)};
}

ZM_FN float zm_bf16_to_float(zm_bf16 h) { return zm_float((uint32_t)h.bits << 16); }

ZM_FN zm_bf16 zm_float_to_bf16(float x) {
    uint32_t b = zm_bits(x), r = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
    return {(uint16_t)((b & 0x7fffffffu) > 0x7f800000u ? (b >> 16) | 0x40u : r)};
}

ZM_FN zm_bf16 zm_float_to_bf16_rtz(float x) {
    uint32_t b = zm_bits(x);
    return {(uint16_t)((b >> 16) | ((b & 0x7fffffffu) > 0x7f800000u ? 0x40u : 0u))};
}

// A double as the float towards zero, its last bit set if that lost anything ("round to odd"): rounding the result
// again, to fewer bits, is then right (Boldo & Melquiond, Emulation of FMA and correctly rounded sums, 2008).
ZM_FN float zm_double_to_float_rtz(double x) {
    float f = (float)x;
    uint32_t b = zm_bits(f), over = __builtin_fabs((double)f) > __builtin_fabs(x);
    return zm_float(__builtin_fabs(x) == __builtin_inf() ? b : b - over);
}
ZM_FN float zm_double_to_float_odd(double x) {
    float f = zm_double_to_float_rtz(x);
    return zm_float(zm_bits(f) | ((double)f != x ? 1u : 0u));
}
ZM_FN zm_half zm_double_to_half(double x) { return zm_float_to_half(zm_double_to_float_odd(x)); }
ZM_FN zm_bf16 zm_double_to_bf16(double x) { return zm_float_to_bf16(zm_double_to_float_odd(x)); }
ZM_FN zm_half zm_double_to_half_rtz(double x) { return zm_float_to_half_rtz(zm_double_to_float_odd(x)); }
ZM_FN zm_bf16 zm_double_to_bf16_rtz(double x) { return zm_float_to_bf16_rtz(zm_double_to_float_odd(x)); }
ZM_FN double zm_half_to_double(zm_half h) { return zm_half_to_float(h); }
ZM_FN double zm_bf16_to_double(zm_bf16 h) { return zm_bf16_to_float(h); }

// ---- conversions with integers ------------------------------------------------------------------------------------

template <class T> inline constexpr bool zm_is_signed = T(-1) < T(0);

// Towards zero, saturating, NaN to 0. F is float or double.
template <class T, class F> ZM_FN T zm_float_to_int(F x) {
    constexpr int bits = (int)sizeof(T) * 8;
    if constexpr (zm_same<T, bool>) {
        return x != F(0);
    } else {
        constexpr F high = F(2) * F(uint64_t(1) << (bits - 1 - zm_is_signed<T>)), low = zm_is_signed<T> ? -high : F(0);
        constexpr T most = (T)(zm_is_signed<T> ? ~uint64_t(0) >> (65 - bits) : ~uint64_t(0) >> (64 - bits)), least = (T)(zm_is_signed<T> ? ~most : 0);
        F inside = x >= low && x < high ? x : F(0);
        T r;
        if constexpr (bits < 32 || (bits == 32 && zm_is_signed<T>)) {
            r = (T)(int32_t)inside;
        } else if constexpr (bits == 32) {  // vector units convert to signed numbers only
            bool top = inside >= F(0x1p31);
            r = (uint32_t)(int32_t)(inside - (top ? F(0x1p31) : F(0))) + (top ? 0x80000000u : 0u);
        } else {
            r = (T)inside;
        }
        r = x >= high ? most : r;
        return x < low ? least : r;
    }
}

// Exact, or inexact with the last bit set: what a 53-bit float keeps of an integer, for a second rounding.
template <class T> ZM_FN double zm_int_to_double_odd(T x) {
    if constexpr (sizeof(T) < 8) {
        return (double)x;
    } else {
        bool minus = x < T(0);
        uint64_t u = minus ? 0 - (uint64_t)x : (uint64_t)x;
        double d = u < (uint64_t(1) << 53) ? (double)(int64_t)u : (double)(int64_t)(u >> 11 | ((u & 0x7ffu) != 0)) * 2048.0;
        return minus ? -d : d;
    }
}
template <class T> ZM_FN zm_half zm_int_to_half(T x) {
    constexpr int64_t big = 1 << 20;  // far above 65504 already
    if constexpr (sizeof(T) < 4) return zm_float_to_half((float)x);
    else if constexpr (zm_is_signed<T>) return zm_float_to_half((float)(int32_t)(x > T(big) ? T(big) : x < T(-big) ? T(-big) : x));
    else return zm_float_to_half((float)(int32_t)(x > T(big) ? T(big) : x));
}
template <class T> ZM_FN zm_bf16 zm_int_to_bf16(T x) {
    if constexpr (sizeof(T) < 4) return zm_float_to_bf16((float)x);
    else return zm_double_to_bf16(zm_int_to_double_odd(x));
}

// Any element type to any other, by the rules of ops/cast.py.
template <class T, class U> ZM_FN T zm_cast(U x) {
    constexpr bool from_float = zm_same<U, float> || zm_same<U, double>, to_float = zm_same<T, float> || zm_same<T, double>;
    if constexpr (zm_same<T, U>) return x;
    else if constexpr (zm_same<U, zm_half>) return zm_cast<T>(zm_half_to_float(x));
    else if constexpr (zm_same<U, zm_bf16>) return zm_cast<T>(zm_bf16_to_float(x));
    else if constexpr (zm_same<T, zm_half>) {
        if constexpr (zm_same<U, float>) return zm_float_to_half(x);
        else if constexpr (zm_same<U, double>) return zm_double_to_half(x);
        else return zm_int_to_half(x);
    } else if constexpr (zm_same<T, zm_bf16>) {
        if constexpr (zm_same<U, float>) return zm_float_to_bf16(x);
        else if constexpr (zm_same<U, double>) return zm_double_to_bf16(x);
        else return zm_int_to_bf16(x);
    } else if constexpr (zm_same<T, bool>) return x != U(0);
    else if constexpr (from_float && !to_float) return zm_float_to_int<T>(x);
    else return (T)x;
}
// The same with floats narrowed towards zero.
template <class T, class U> ZM_FN T zm_cast_rtz(U x) {
    if constexpr (zm_same<T, float> && zm_same<U, double>) return zm_double_to_float_rtz(x);
    else if constexpr (zm_same<T, zm_half> && zm_same<U, float>) return zm_float_to_half_rtz(x);
    else if constexpr (zm_same<T, zm_half> && zm_same<U, double>) return zm_double_to_half_rtz(x);
    else if constexpr (zm_same<T, zm_bf16> && zm_same<U, float>) return zm_float_to_bf16_rtz(x);
    else if constexpr (zm_same<T, zm_bf16> && zm_same<U, double>) return zm_double_to_bf16_rtz(x);
    else return zm_cast<T>(x);
}

// ---- integers -----------------------------------------------------------------------------------------------------

// C's quotient; x / 0 is 0 and the smallest number over -1 wraps, so nothing traps.
template <class T> ZM_FN T zm_idiv(T a, zm_id<T> b) {
    bool zero = b == T(0), minus = zm_is_signed<T> && b == T(-1);
    if constexpr (sizeof(T) < 8) {
        // Exact in double (a quotient that is no integer is 2^-32 away from one, relatively), and vector units divide it.
        if (!__builtin_constant_p(b)) {
            int64_t wide = 0;
            double q = (double)a / (double)(zero || minus ? T(1) : b);
            if constexpr (zm_same<T, uint32_t>) wide = (int64_t)zm_float_to_int<uint32_t>(q);
            else wide = (int32_t)q;
            return minus ? (T)(0 - (uint32_t)a) : zero ? T(0) : (T)wide;
        }
    }
    T q = (T)(a / (zero || minus ? T(1) : b));
    return minus ? (T)(0 - (uint64_t)a) : zero ? T(0) : q;
}
// C's remainder; x % 0 is 0.
template <class T> ZM_FN T zm_imod(T a, zm_id<T> b) {
    return b == T(0) ? T(0) : (T)((uint64_t)a - (uint64_t)zm_idiv(a, b) * (uint64_t)b);
}
ZM_FN int32_t zm_mulhi(int32_t a, int32_t b) { return (int32_t)(((int64_t)a * b) >> 32); }
ZM_FN uint32_t zm_mulhi(uint32_t a, uint32_t b) { return (uint32_t)(((uint64_t)a * b) >> 32); }
ZM_FN int64_t zm_mulhi(int64_t a, int64_t b) { return (int64_t)(((__int128)a * b) >> 64); }
ZM_FN uint64_t zm_mulhi(uint64_t a, uint64_t b) { return (uint64_t)(((unsigned __int128)a * b) >> 64); }

// ---- exact functions of floats ------------------------------------------------------------------------------------

#define ZM_EXACT(name)                                                  \
    ZM_FN float zm_##name(float x) { return __builtin_##name##f(x); }   \
    ZM_FN double zm_##name(double x) { return __builtin_##name(x); }
ZM_EXACT(sqrt) ZM_EXACT(floor) ZM_EXACT(ceil) ZM_EXACT(trunc) ZM_EXACT(fabs)
#undef ZM_EXACT
ZM_FN float zm_copysign(float x, float y) { return __builtin_copysignf(x, y); }
ZM_FN double zm_copysign(double x, double y) { return __builtin_copysign(x, y); }
ZM_FN float zm_fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
ZM_FN double zm_fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
ZM_FN float zm_fmod(float x, float y) { return __builtin_fmodf(x, y); }
ZM_FN double zm_fmod(double x, double y) { return __builtin_fmod(x, y); }
// rint, but g++ 12 vectorises this name only.
ZM_FN float zm_rint(float x) { return __builtin_nearbyintf(x); }
ZM_FN double zm_rint(double x) { return __builtin_nearbyint(x); }
template <class F> ZM_FN F zm_round(F x) {  // ties away from zero
    F whole = zm_trunc(x);
    return zm_fabs(x - whole) >= F(0.5) ? whole + zm_copysign(F(1), x) : whole;
}
template <class F> ZM_FN F zm_rsqrt(F x) { return F(1) / zm_sqrt(x); }  // 2 ulp
template <class F> ZM_FN bool zm_isinf(F x) { return zm_fabs(x) == F(ZM_INF); }
template <class F> ZM_FN bool zm_isfinite(F x) { return zm_fabs(x) < F(ZM_INF); }
template <class F> ZM_FN F zm_fmin(F x, F y) { return x < y || y != y ? x : y; }  // of a NaN and a number: the number
template <class F> ZM_FN F zm_fmax(F x, F y) { return x > y || y != y ? x : y; }

// ---- elementary functions of float --------------------------------------------------------------------------------

// Rounded once where the machine fuses, twice elsewhere; the bounds below hold both ways.
ZM_FN float zm_mad(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
ZM_FN double zm_mad(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}
template <class F> ZM_FN F zm_horner(F, F c) { return c; }
template <class F, class... C> ZM_FN F zm_horner(F x, F c, C... rest) { return zm_mad(zm_horner(x, rest...), x, c); }  // c + x·(…)

ZM_FN float zm_pow2(int32_t n) { return zm_float((uint32_t)(n + 127) << 23); }  // -126 <= n <= 127
ZM_FN float zm_scale(float p, int32_t n) {  // p·2^n in two steps, so that subnormal results are rounded once
    int32_t half = n >> 1;
    return p * zm_pow2(half) * zm_pow2(n - half);
}
ZM_FN float zm_clamp(float x, float low, float high) {  // a NaN passes
    x = x < low ? low : x;
    return x > high ? high : x;
}
// Adding 1.5·2^23 leaves the nearest integer in the low bits of the sum.
inline constexpr float zm_magic = 12582912.0f;
ZM_FN int32_t zm_magic_int(float shifted) { return (int32_t)(zm_bits(shifted) - 0x4b400000u); }

inline constexpr float zm_ln2_hi = 0x1.62e4p-1f, zm_ln2_lo = 0x1.7f7d1cp-20f;  // 15 + 24 bits: n·hi is exact for |n| < 512
// n = round(x / ln 2), x = n ln 2 + r (Cody & Waite).
ZM_FN float zm_exp_reduce(float x, int32_t& n) {
    float shifted = x * 0x1.715476p0f + zm_magic, k = shifted - zm_magic;
    n = zm_magic_int(shifted);
    return zm_mad(k, -zm_ln2_lo, zm_mad(k, -zm_ln2_hi, x));
}

// 1 ulp. Cody & Waite reduction, polynomial of degree 6.
ZM_FN float zm_exp(float x) {
    int32_t n;
    x = zm_clamp(x, -105.0f, 89.0f);
    float r = zm_exp_reduce(x, n);
    float q = zm_horner(r, 0.49999994f, 0.166665196f, 0.0416684002f, 0.00836885069f, 0.00138143206f);
    return zm_scale(zm_mad(r * r, q, r) + 1.0f, n);
}

// 2 ulp. The fraction is exact; polynomial of degree 6.
ZM_FN float zm_exp2(float x) {
    x = zm_clamp(x, -151.0f, 129.0f);
    float shifted = x + zm_magic, r = x - (shifted - zm_magic);
    float q = zm_horner(r, 0.693147182f, 0.240226477f, 0.0555033199f, 0.00961843971f, 0.00133991323f, 0.000153531539f);
    return zm_scale(zm_mad(r, q, 1.0f), zm_magic_int(shifted));
}

// 2 ulp. exp's reduction; 2^n (e^r - 1) + (2^n - 1), halved and doubled as 2^128 is no float.
ZM_FN float zm_expm1(float x) {
    int32_t n;
    float y = zm_clamp(x, -18.0f, 89.0f);
    float r = zm_exp_reduce(y, n);
    float p = zm_mad(r * r, zm_horner(r, 0.5f, 0.166666657f, 0.0416663587f, 0.00833338965f, 0.00139408233f, 0.000198458933f), r);
    float half = zm_pow2(n - 1);
    float e = 2.0f * zm_mad(half, p, half - 0.5f);
    return x == 0.0f ? x : n == 0 ? p : e;
}

// x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for positive normal x.
ZM_FN float zm_log_reduce(float x, int32_t& e) {
    int32_t shifted = (int32_t)(zm_bits(x) - 0x3f3504f3u);
    e = shifted >> 23;
    return zm_float(zm_bits(x) - ((uint32_t)e << 23)) - 1.0f;
}
// log(1 + f) - f + f²/2, up to f³ times a polynomial of degree 8.
ZM_FN float zm_log_tail(float f) {
    return f * f * f * zm_horner(f, 0.333333105f, -0.250000089f, 0.200021669f, -0.166680902f, 0.142185539f, -0.124030843f, 0.118935131f,
                                 -0.116943344f, 0.0675756782f);
}
ZM_FN float zm_log_special(float x, float r) {
    r = x == ZM_INF ? x : r;
    r = x == 0.0f ? -ZM_INF : r;
    return x >= 0.0f ? r : __builtin_nanf("");
}

// 1 ulp. Exponent and fraction around 1, then log(1 + f) by polynomial; ln 2 in two parts.
ZM_FN float zm_log(float x) {
    int32_t e;
    bool small = x < 0x1p-126f;
    float f = zm_log_reduce(small ? x * 0x1p23f : x, e);
    float n = (float)(e - (small ? 23 : 0));
    float y = zm_mad(n, zm_ln2_lo, zm_log_tail(f)) - 0.5f * f * f;
    return zm_log_special(x, zm_mad(n, zm_ln2_hi, f + y));
}

// 2 ulp. As log, times log2(e) = 1 + c with the small products summed first (Moshier, Cephes log2f).
ZM_FN float zm_log2(float x) {
    constexpr float c = 0.44269504088896340736f;
    int32_t e;
    bool small = x < 0x1p-126f;
    float f = zm_log_reduce(small ? x * 0x1p23f : x, e);
    float y = zm_log_tail(f) - 0.5f * f * f;
    float r = (zm_mad(f, c, y * c) + y) + f;
    return zm_log_special(x, (float)(e - (small ? 23 : 0)) + r);
}

// 2 ulp. u + c = 1 + x exactly (Knuth's two-sum), and log's reduction with c carried into the fraction.
ZM_FN float zm_log1p(float x) {
    float u = 1.0f + x, b = u - 1.0f, c = (1.0f - (u - b)) + (x - b);
    int32_t e;
    float f = zm_log_reduce(u, e), n = (float)e;
    f = f + c * zm_pow2(e < 126 ? -e : -126);
    float y = zm_mad(n, zm_ln2_lo, zm_log_tail(f)) - 0.5f * f * f;
    float r = zm_log_special(u, zm_mad(n, zm_ln2_hi, f + y));
    return x == 0.0f ? x : r;
}

// r in [-pi/4, pi/4] and the quadrant of |x| = (quadrant + 4k) pi/2 + r, for every finite x (Payne & Hanek, Radian
// reduction for trigonometric functions, 1983): the 24-bit significand times the 96 bits of 2/pi that matter at its
// exponent, modulo 4. The window slides over 8 words held in registers, so large arguments cost the same.
ZM_FN float zm_trig_reduce(float x, uint32_t& quadrant) {
    uint32_t a = zm_bits(x) & 0x7fffffffu, m = (a & 0x7fffffu) | 0x800000u;
    uint32_t at = (a >> 23) - 120u, word = at >> 5, shift = at & 31u;  // first bit of the window; the table opens with 32 zeros
    uint32_t k1 = 0u - (word >= 1u), k2 = 0u - (word >= 2u), k3 = 0u - (word >= 3u), k4 = 0u - (word >= 4u);
#define ZM_WORD(a, b, c, d, e) ((a) ^ (k1 & ((a) ^ (b))) ^ (k2 & ((b) ^ (c))) ^ (k3 & ((c) ^ (d))) ^ (k4 & ((d) ^ (e))))
    uint32_t w0 = ZM_WORD(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u);
    uint32_t w1 = ZM_WORD(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u);
    uint32_t w2 = ZM_WORD(0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u);
    uint32_t w3 = ZM_WORD(0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
#undef ZM_WORD
    uint32_t rest = 31u - shift;
    w0 = w0 << shift | w1 >> 1 >> rest;
    w1 = w1 << shift | w2 >> 1 >> rest;
    w2 = w2 << shift | w3 >> 1 >> rest;
    uint32_t carry = zm_mulhi(m, w2), low = m * w1 + carry;
    uint32_t high = m * w0 + zm_mulhi(m, w1) + (low < carry ? 1u : 0u);
    int32_t top = (int32_t)(high << 2 | low >> 30);  // the fraction of a quadrant, signed, 2^-32 units
    float f = (float)top * 0x1p-32f + (float)(int32_t)((low << 2) >> 1) * 0x1p-63f;
    bool tiny = a < 0x3f000000u;  // below 1/2 no reduction
    quadrant = tiny ? 0u : (high + 0x20000000u) >> 30;
    return tiny ? zm_float(a) : zm_mad(f, 0x1.921fb6p0f, f * -0x1.777a5cp-25f);
}
ZM_FN float zm_sin_poly(float r) {
    float z = r * r;
    return zm_mad(r * z, zm_horner(z, -0.166666672f, 0.00833332911f, -0.000198393274f, 2.71823728e-06f), r);
}
ZM_FN float zm_cos_poly(float r) {
    float z = r * r;
    return zm_mad(z * z, zm_horner(z, 0.0416666456f, -0.00138873619f, 2.44377297e-05f), zm_mad(z, -0.5f, 1.0f));
}
ZM_FN float zm_trig(float x, float r, uint32_t quadrant, uint32_t sign) {
    float y = quadrant & 1u ? zm_cos_poly(r) : zm_sin_poly(r);
    y = zm_float(zm_bits(y) ^ ((quadrant & 2u) << 30) ^ sign);
    return zm_isfinite(x) ? y : __builtin_nanf("");
}
// 3 ulp, for all finite x.
ZM_FN float zm_sin(float x) {
    uint32_t q;
    float r = zm_trig_reduce(x, q);
    return zm_trig(x, r, q, zm_bits(x) & 0x80000000u);
}
// 3 ulp, for all finite x.
ZM_FN float zm_cos(float x) {
    uint32_t q;
    float r = zm_trig_reduce(x, q);
    return zm_trig(x, r, q + 1u, 0u);
}
// 5 ulp, for all finite x.
ZM_FN float zm_tan(float x) {
    uint32_t q;
    float r = zm_trig_reduce(x, q), s = zm_sin_poly(r), c = zm_cos_poly(r);
    float t = q & 1u ? -c / s : s / c;
    return zm_isfinite(x) ? zm_float(zm_bits(t) ^ (zm_bits(x) & 0x80000000u)) : __builtin_nanf("");
}

// 2 ulp. Odd polynomial below 0.625, 1 - 2 / (exp(2|x|) + 1) above.
ZM_FN float zm_tanh(float x) {
    float a = zm_fabs(x), z = a * a;
    float t = a > 10.0f ? 10.0f : a;
    float small = zm_mad(a * z, zm_horner(z, -0.333333313f, 0.133332044f, -0.0539465174f, 0.0216993149f, -0.00817384943f, 0.00213961257f), a);
    return zm_copysign(a < 0.625f ? small : 1.0f - 2.0f / (zm_exp(t + t) + 1.0f), x);
}

// 2 ulp. Odd polynomial below 1, 1 - exp(-t P(t)) above, with P fitted to -log(erfc(t)) / t.
ZM_FN float zm_erf(float x) {
    float a = zm_fabs(x), z = x * x;
    float t = a > 3.93f ? 3.93f : a;
    float small = zm_mad(x, zm_horner(z, 0.128379166f, -0.37612626f, 0.112836003f, -0.0268544443f, 0.00518953567f, -0.000802084222f, 7.88912294e-05f), x);
    float u = t * zm_horner(t, 1.12868285f, 0.635013998f, 0.106460191f, -0.0239514541f, 0.00373072457f, -0.00034422506f, 1.33453923e-05f);
    float large = zm_copysign(1.0f - zm_exp(-u), x);
    return a < 1.0f ? small : large;
}

// 1 ulp. exp2(y log2(x)) in double: log2 to 2^-48 through atanh(f / (2 + f)), exp2 to 2^-40; C's special cases.
ZM_FN float zm_pow(float x, float y) {
    constexpr double magic = 0x1.8p52;
    float a = zm_fabs(x);
    uint64_t b = zm_bits((double)a), shifted = b - 0x3fe6a09e667f3bcdull + 0x3ff0000000000000ull;
    double e = zm_bitcast<double>(shifted >> 52 | 0x4330000000000000ull) - (0x1p52 + 1023.0);
    double f = zm_bitcast<double>(b - (shifted & 0xfff0000000000000ull) + 0x3ff0000000000000ull) - 1.0, s = f / (2.0 + f);
    double l = zm_mad(s, zm_horner(s * s, 2.8853900817779277, 0.96179669392469525, 0.577078017160784, 0.41219841074833696, 0.32061581073102263,
                                   0.26146492950428168, 0.24263564853247466), e);
    l = a == 0.0f || a == ZM_INF ? (double)(a == 0.0f ? -ZM_INF : ZM_INF) : l;
    double t = a != a ? (double)a : (double)y * l;
    t = t < -200.0 ? -200.0 : t;
    t = t > 200.0 ? 200.0 : t;
    double k = t + magic, r = t - (k - magic);
    double p = zm_mad(r, zm_horner(r, 0.69314718054802815, 0.24022650698145684, 0.055504109360839639, 0.0096181286103108159, 0.0013333454039556884,
                                   0.0001540382773882009, 1.530938066527193e-05, 1.3178807951543951e-06), 1.0);
    float result = (float)(p * zm_bitcast<double>((zm_bits(k) << 52) + 0x3ff0000000000000ull));
    bool whole = zm_rint(y) == y, odd = whole && zm_rint(y * 0.5f) != y * 0.5f;
    uint32_t sign = zm_bits(x) & 0x80000000u;
    result = sign != 0u && !whole && a != 0.0f && a != ZM_INF ? __builtin_nanf("") : result;
    result = zm_float(zm_bits(result) ^ (odd ? sign : 0u));
    return y == 0.0f || x == 1.0f || (a == 1.0f && zm_fabs(y) == ZM_INF) ? 1.0f : result;
}

#define ZM_LIBM(name) ZM_FN double zm_##name(double x) { return __builtin_##name(x); }
ZM_LIBM(exp) ZM_LIBM(exp2) ZM_LIBM(expm1) ZM_LIBM(log) ZM_LIBM(log2) ZM_LIBM(log1p) ZM_LIBM(sin) ZM_LIBM(cos) ZM_LIBM(tan) ZM_LIBM(tanh)
ZM_LIBM(erf)
#undef ZM_LIBM
ZM_FN double zm_pow(double x, double y) { return __builtin_pow(x, y); }

// ---- atomics: each returns the old value; minimum and maximum ignore NaN ------------------------------------------

template <int bytes> struct zm_word;
template <> struct zm_word<2> { using type = uint16_t; };
template <> struct zm_word<4> { using type = uint32_t; };
template <> struct zm_word<8> { using type = uint64_t; };

template <class T, class Step> ZM_FN T zm_atomic_update(T* p, Step step) {
    using Word = typename zm_word<sizeof(T)>::type;
    Word* w = (Word*)p;
    Word old = __atomic_load_n(w, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(w, &old, zm_bitcast<Word>(step(zm_bitcast<T>(old))), true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
    return zm_bitcast<T>(old);
}
template <class T> inline constexpr bool zm_is_float = zm_same<T, float> || zm_same<T, double>;
template <class T> inline constexpr bool zm_is_half = zm_same<T, zm_half> || zm_same<T, zm_bf16>;

template <class T> ZM_FN T zm_atomic_add(T* p, zm_id<T> v) {
    if constexpr (zm_is_half<T>) return zm_atomic_update(p, [v](T old) { return zm_cast<T>(zm_cast<float>(old) + zm_cast<float>(v)); });
    else if constexpr (zm_is_float<T>) return zm_atomic_update(p, [v](T old) { return old + v; });
    else return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
}
#define ZM_EXTREME(name, cmp)                                                                                                          \
    template <class T> ZM_FN T zm_atomic_##name(T* p, zm_id<T> v) {                                                                           \
        if constexpr (zm_is_half<T>)                                                                                                   \
            return zm_atomic_update(p, [v](T old) { return zm_cast<T>(zm_f##name(zm_cast<float>(old), zm_cast<float>(v))); });         \
        else if constexpr (zm_is_float<T>) return zm_atomic_update(p, [v](T old) { return zm_f##name(old, v); });                      \
        else return zm_atomic_update(p, [v](T old) { return old cmp v ? old : v; });                                                   \
    }
ZM_EXTREME(min, <)
ZM_EXTREME(max, >)
#undef ZM_EXTREME
template <class T> ZM_FN T zm_atomic_and(T* p, zm_id<T> v) { return __atomic_fetch_and(p, v, __ATOMIC_ACQ_REL); }
template <class T> ZM_FN T zm_atomic_or(T* p, zm_id<T> v) { return __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL); }
template <class T> ZM_FN T zm_atomic_xor(T* p, zm_id<T> v) { return __atomic_fetch_xor(p, v, __ATOMIC_ACQ_REL); }
template <class T> ZM_FN T zm_atomic_xchg(T* p, zm_id<T> v) { return zm_atomic_update(p, [v](T) { return v; }); }
// Compares bits.
template <class T> ZM_FN T zm_atomic_cas(T* p, zm_id<T> compare, zm_id<T> value) {
    using Word = typename zm_word<sizeof(T)>::type;
    Word expected = zm_bitcast<Word>(compare);
    __atomic_compare_exchange_n((Word*)p, &expected, zm_bitcast<Word>(value), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return zm_bitcast<T>(expected);
}
#endif
