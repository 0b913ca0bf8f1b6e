// What generated Metal Shading Language stands on; goes before the kernel, after MLX's own prelude (which includes
// metal_stdlib and defines bfloat16_t). MSL 3 is C++14: overloads and traits, no `if constexpr`. Names and meanings are
// those of host.h. Meant for math mode "safe": fast-math may drop the compensation terms and NaN tests.

template <typename T, typename U> struct zm_same { static constexpr constant bool value = false; };
template <typename T> struct zm_same<T, T> { static constexpr constant bool value = true; };
template <bool yes, typename T> struct zm_if {};
template <typename T> struct zm_if<true, T> { using type = T; };
template <typename T> struct zm_is_half { static constexpr constant bool value = zm_same<T, half>::value || zm_same<T, bfloat16_t>::value; };
template <typename T> struct zm_is_float { static constexpr constant bool value = zm_same<T, float>::value || zm_is_half<T>::value; };
template <typename T> struct zm_is_bool { static constexpr constant bool value = zm_same<T, bool>::value; };
template <typename T> struct zm_is_int { static constexpr constant bool value = !zm_is_float<T>::value && !zm_is_bool<T>::value; };
template <typename T> struct zm_is_signed { static constexpr constant bool value = T(-1) < T(0); };

// By bits, as fast-math assumes there are none.
inline bool zm_isnan(float x) { return (as_type<uint>(x) & 0x7fffffffu) > 0x7f800000u; }
inline bool zm_isinf(float x) { return (as_type<uint>(x) & 0x7fffffffu) == 0x7f800000u; }
inline bool zm_isfinite(float x) { return (as_type<uint>(x) & 0x7fffffffu) < 0x7f800000u; }
inline float zm_fmin(float x, float y) { return x < y || zm_isnan(y) ? x : y; }
inline float zm_fmax(float x, float y) { return x > y || zm_isnan(y) ? x : y; }

// ---- conversions ----------------------------------------------------------------------------------------------------

inline float zm_half_to_float(half h) { return float(h); }
inline float zm_bf16_to_float(bfloat16_t h) { return float(h); }
inline half zm_float_to_half(float x) { return half(x); }
inline bfloat16_t zm_float_to_bf16(float x) { return bfloat16_t(x); }
inline half zm_float_to_half_rtz(float x) {
    uint b = as_type<uint>(x), a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    uint c = metal::min(a, 0x477fffffu);  // finite values stop at 65504
    uint r = a < 0x38800000u ? uint(as_type<float>(a) * 16777216.0f) : (c - 0x38000000u) >> 13;
    r = a >= 0x7f800000u ? 0x7c00u : r;
    r = a > 0x7f800000u ? 0x7e00u : r;
    return as_type<half>(ushort(r | sign));
}
inline bfloat16_t zm_float_to_bf16_rtz(float x) {
    return as_type<bfloat16_t>(ushort((as_type<uint>(x) >> 16) | (zm_isnan(x) ? 0x40u : 0u)));
}

// Towards zero, saturating, NaN to 0.
template <typename T> inline T zm_float_to_int(float x) {
    constexpr bool sign = zm_is_signed<T>::value;
    constexpr int bits = int(sizeof(T)) * 8;
    constexpr float high = 2.0f * float(1ul << (bits - 1 - int(sign))), low = sign ? -high : 0.0f;
    constexpr T most = T(sign ? ~0ul >> (65 - bits) : ~0ul >> (64 - bits)), least = T(sign ? ~most : T(0));
    T r = T(x >= low && x < high ? x : 0.0f);
    r = x >= high ? most : r;
    return x < low ? least : r;
}

// The upper 24 bits of an integer, the last set if that lost anything: rounding to 8 bits is then right.
inline float zm_odd(ulong u) {
    uint shift = u == 0 ? 0u : uint(metal::max(0, 40 - int(metal::clz(u))));
    uint kept = uint(u >> shift) | uint((u & ((1ul << shift) - 1)) != 0);
    return float(kept) * as_type<float>((shift + 127u) << 23);
}
template <typename U> inline bfloat16_t zm_int_to_bf16(U x) {
    bool minus = x < U(0);
    float f = zm_odd(minus ? ulong(0) - ulong(x) : ulong(x));
    return bfloat16_t(minus ? -f : f);
}
template <typename U> inline typename zm_if<(sizeof(U) < 4), half>::type zm_int_to_half(U x) { return half(float(x)); }
template <typename U> inline typename zm_if<(sizeof(U) >= 4), half>::type zm_int_to_half(U x) {
    U big = U(1 << 20), low = zm_is_signed<U>::value ? U(0) - big : U(0);  // far above 65504 already
    return half(float(x > big ? big : x < low ? low : x));
}

// Any element type to any other, by the rules of ops/cast.py.
template <typename T, typename U, bool from_float = zm_is_float<U>::value, bool to_int = zm_is_int<T>::value> struct zm_caster {
    static T from(U x) { return T(x); }
};
template <typename T, typename U> struct zm_caster<T, U, true, true> {
    static T from(U x) { return zm_float_to_int<T>(float(x)); }
};
template <typename U> struct zm_caster<bool, U, true, false> {
    static bool from(U x) { return float(x) != 0.0f; }
};
template <typename U> struct zm_caster<bool, U, false, false> {
    static bool from(U x) { return x != U(0); }
};
template <> struct zm_caster<bool, bool, false, false> {
    static bool from(bool x) { return x; }
};
template <typename U> struct zm_caster<half, U, false, false> {
    static half from(U x) { return zm_int_to_half(x); }
};
template <typename U> struct zm_caster<bfloat16_t, U, false, false> {
    static bfloat16_t from(U x) { return zm_int_to_bf16(x); }
};
template <typename U> struct zm_caster<half, U, true, false> {
    static half from(U x) { return half(float(x)); }
};
template <typename U> struct zm_caster<bfloat16_t, U, true, false> {
    static bfloat16_t from(U x) { return bfloat16_t(float(x)); }
};
template <typename T, typename U> inline T zm_cast(U x) { return zm_caster<T, U>::from(x); }
// The same with floats narrowed towards zero.
template <typename T, typename U> struct zm_caster_rtz {
    static T from(U x) { return zm_cast<T>(x); }
};
template <> struct zm_caster_rtz<half, float> {
    static half from(float x) { return zm_float_to_half_rtz(x); }
};
template <> struct zm_caster_rtz<bfloat16_t, float> {
    static bfloat16_t from(float x) { return zm_float_to_bf16_rtz(x); }
};
template <typename T, typename U> inline T zm_cast_rtz(U x) { return zm_caster_rtz<T, U>::from(x); }

// ---- integers -------------------------------------------------------------------------------------------------------

// C's quotient and remainder; x / 0 and x % 0 are 0, and the smallest number over -1 wraps.
template <typename T> inline T zm_idiv(T a, typename zm_if<true, T>::type b) {
    bool minus = zm_is_signed<T>::value && b == T(-1);
    T q = T(a / (b == T(0) || minus ? T(1) : b));
    return minus ? T(ulong(0) - ulong(a)) : b == T(0) ? T(0) : q;
}
template <typename T> inline T zm_imod(T a, typename zm_if<true, T>::type b) {
    bool one = b == T(0) || (zm_is_signed<T>::value && b == T(-1));
    return T(a % (one ? T(1) : b));
}
inline int zm_mulhi(int a, int b) { return metal::mulhi(a, b); }
inline uint zm_mulhi(uint a, uint b) { return metal::mulhi(a, b); }
inline ulong zm_mulhi(ulong a, ulong b) {
    ulong a0 = a & 0xfffffffful, a1 = a >> 32, b0 = b & 0xfffffffful, b1 = b >> 32;
    ulong mid = a1 * b0 + ((a0 * b0) >> 32), low = (mid & 0xfffffffful) + a0 * b1;
    return a1 * b1 + (mid >> 32) + (low >> 32);
}
inline long zm_mulhi(long a, long b) {
    return long(zm_mulhi(ulong(a), ulong(b)) - (a < 0 ? ulong(b) : 0ul) - (b < 0 ? ulong(a) : 0ul));
}

// ---- elementary functions: those that metal_math lacks, or whose special cases it leaves open -------------------------

inline float zm_scale2(int n) { return as_type<float>(uint(n + 127) << 23); }

// 2 ulp; the method of host.h.
inline float zm_expm1(float x) {
    float y = x < -18.0f ? -18.0f : x > 89.0f ? 89.0f : x;
    float k = metal::rint(y * 1.44269502f);
    int n = zm_isnan(x) ? 0 : int(k);
    float r = metal::fma(k, -1.42860677e-6f, metal::fma(k, -0.693145752f, y));
    float q = metal::fma(r, 0.000198458933f, 0.00139408233f);
    q = metal::fma(r, q, 0.00833338965f);
    q = metal::fma(r, q, 0.0416663587f);
    q = metal::fma(r, q, 0.166666657f);
    q = metal::fma(r, q, 0.5f);
    float p = metal::fma(r * r, q, r), s = zm_scale2(n - 1);
    float e = 2.0f * metal::fma(s, p, s - 0.5f);
    return x == 0.0f ? x : n == 0 ? p : e;
}

// 2 ulp; the method of host.h.
inline float zm_log1p(float x) {
    float u = 1.0f + x, b = u - 1.0f, c = (1.0f - (u - b)) + (x - b);
    int e = int(as_type<uint>(u) - 0x3f3504f3u) >> 23;
    float f = as_type<float>(as_type<uint>(u) - (uint(e) << 23)) - 1.0f, n = float(e);
    f = f + c * zm_scale2(e < 126 ? -e : -126);
    float q = metal::fma(f, 0.0675756782f, -0.116943344f);
    q = metal::fma(f, q, 0.118935131f);
    q = metal::fma(f, q, -0.124030843f);
    q = metal::fma(f, q, 0.142185539f);
    q = metal::fma(f, q, -0.166680902f);
    q = metal::fma(f, q, 0.200021669f);
    q = metal::fma(f, q, -0.250000089f);
    q = metal::fma(f, q, 0.333333105f);
    float y = metal::fma(n, 1.42860677e-6f, f * f * f * q) - 0.5f * f * f;
    float r = metal::fma(n, 0.693145752f, f + y);
    r = u == INFINITY ? u : u == 0.0f ? -INFINITY : r;
    r = u >= 0.0f ? r : NAN;
    return zm_isnan(x) || x == 0.0f ? x : r;
}

// 2 ulp; the method of host.h.
inline float zm_erf(float x) {
    float a = metal::fabs(x), z = x * x, t = a > 3.93f ? 3.93f : a;
    float p = metal::fma(z, 7.88912294e-05f, -0.000802084222f);
    p = metal::fma(z, p, 0.00518953567f);
    p = metal::fma(z, p, -0.0268544443f);
    p = metal::fma(z, p, 0.112836003f);
    p = metal::fma(z, p, -0.37612626f);
    p = metal::fma(z, p, 0.128379166f);
    float q = metal::fma(t, 1.33453923e-05f, -0.00034422506f);
    q = metal::fma(t, q, 0.00373072457f);
    q = metal::fma(t, q, -0.0239514541f);
    q = metal::fma(t, q, 0.106460191f);
    q = metal::fma(t, q, 0.635013998f);
    q = metal::fma(t, q, 1.12868285f);
    float large = metal::copysign(1.0f - metal::precise::exp(-t * q), x);
    return zm_isnan(x) ? x : a < 1.0f ? metal::fma(x, p, x) : large;
}

// The library's power of |x|, with C's special cases made sure of.
inline float zm_pow(float x, float y) {
    float a = metal::fabs(x), half_y = 0.5f * y;
    bool whole = metal::rint(y) == y, odd = whole && metal::rint(half_y) != half_y;
    float r = metal::precise::pow(a, y);
    r = a == 1.0f && zm_isinf(y) ? 1.0f : r;
    r = a == 0.0f || zm_isinf(x) ? ((y < 0.0f) == (a == 0.0f) ? INFINITY : 0.0f) : r;
    r = zm_isinf(y) && a != 1.0f ? ((y > 0.0f) == (a > 1.0f) ? INFINITY : 0.0f) : r;
    r = x < 0.0f && !whole && !zm_isinf(x) ? NAN : r;
    r = odd ? metal::copysign(r, x) : r;
    r = zm_isnan(x) || zm_isnan(y) ? NAN : r;
    return y == 0.0f || x == 1.0f ? 1.0f : r;
}

// ---- shuffles: whole 32-bit words, so one form for each width -----------------------------------------------------------

#define ZM_SHUFFLE(name, intrinsic)                                                                               \
    inline float name(float v, int lane) { return intrinsic(v, ushort(lane)); }                                    \
    inline int name(int v, int lane) { return intrinsic(v, ushort(lane)); }                                        \
    inline uint name(uint v, int lane) { return intrinsic(v, ushort(lane)); }                                      \
    inline half name(half v, int lane) { return intrinsic(v, ushort(lane)); }                                      \
    inline bfloat16_t name(bfloat16_t v, int lane) {                                                               \
        return as_type<bfloat16_t>(ushort(intrinsic(uint(as_type<ushort>(v)), ushort(lane))));                     \
    }                                                                                                              \
    inline bool name(bool v, int lane) { return intrinsic(uint(v), ushort(lane)) != 0u; }                          \
    inline int8_t name(int8_t v, int lane) { return int8_t(intrinsic(int(v), ushort(lane))); }                     \
    inline uchar name(uchar v, int lane) { return uchar(intrinsic(uint(v), ushort(lane))); }                       \
    inline short name(short v, int lane) { return short(intrinsic(int(v), ushort(lane))); }                        \
    inline ushort name(ushort v, int lane) { return ushort(intrinsic(uint(v), ushort(lane))); }                    \
    inline ulong name(ulong v, int lane) {                                                                         \
        uint low = intrinsic(uint(v), ushort(lane)), high = intrinsic(uint(v >> 32), ushort(lane));                \
        return ulong(high) << 32 | ulong(low);                                                                     \
    }                                                                                                              \
    inline long name(long v, int lane) { return long(name(ulong(v), lane)); }
ZM_SHUFFLE(zm_shuffle_xor, metal::simd_shuffle_xor)
ZM_SHUFFLE(zm_shuffle_up, metal::simd_shuffle_up)
ZM_SHUFFLE(zm_shuffle_down, metal::simd_shuffle_down)
ZM_SHUFFLE(zm_shuffle_idx, metal::simd_shuffle)
#undef ZM_SHUFFLE

// ---- atomics on device memory, relaxed: each returns the old value; minimum and maximum ignore NaN ------------------------
// 32-bit words are all that Metal updates; 16-bit elements live in halves of a word, 64-bit ones are refused.

#define ZM_RELAXED metal::memory_order_relaxed
#define ZM_ATOMIC(name, operation)                                                                                          \
    inline int zm_atomic_##name(device int* p, int v) { return operation((device metal::atomic_int*)p, v, ZM_RELAXED); }    \
    inline uint zm_atomic_##name(device uint* p, uint v) { return operation((device metal::atomic_uint*)p, v, ZM_RELAXED); }
ZM_ATOMIC(add, metal::atomic_fetch_add_explicit)
ZM_ATOMIC(min, metal::atomic_fetch_min_explicit)
ZM_ATOMIC(max, metal::atomic_fetch_max_explicit)
ZM_ATOMIC(and, metal::atomic_fetch_and_explicit)
ZM_ATOMIC(or, metal::atomic_fetch_or_explicit)
ZM_ATOMIC(xor, metal::atomic_fetch_xor_explicit)
ZM_ATOMIC(xchg, metal::atomic_exchange_explicit)
#undef ZM_ATOMIC
inline float zm_atomic_add(device float* p, float v) { return metal::atomic_fetch_add_explicit((device metal::atomic<float>*)p, v, ZM_RELAXED); }
inline float zm_atomic_xchg(device float* p, float v) { return as_type<float>(zm_atomic_xchg((device uint*)p, as_type<uint>(v))); }

// Compares bits. Metal's exchange may fail for no reason: tried again.
inline uint zm_atomic_cas(device uint* p, uint compare, uint value) {
    uint seen = compare;
    while (!metal::atomic_compare_exchange_weak_explicit((device metal::atomic_uint*)p, &seen, value, ZM_RELAXED, ZM_RELAXED) && seen == compare) {}
    return seen;
}
inline int zm_atomic_cas(device int* p, int compare, int value) { return as_type<int>(zm_atomic_cas((device uint*)p, as_type<uint>(compare), as_type<uint>(value))); }
inline float zm_atomic_cas(device float* p, float compare, float value) {
    return as_type<float>(zm_atomic_cas((device uint*)p, as_type<uint>(compare), as_type<uint>(value)));
}

struct zm_step_add { static float of(float a, float b) { return a + b; } };
struct zm_step_min { static float of(float a, float b) { return zm_fmin(a, b); } };
struct zm_step_max { static float of(float a, float b) { return zm_fmax(a, b); } };
struct zm_step_xchg { static float of(float, float b) { return b; } };

template <typename Step> inline float zm_atomic_update(device float* p, float v) {
    device uint* w = (device uint*)p;
    uint old = metal::atomic_load_explicit((device metal::atomic_uint*)w, ZM_RELAXED), seen;
    do {
        seen = old;
        old = zm_atomic_cas(w, seen, as_type<uint>(Step::of(as_type<float>(seen), v)));
    } while (old != seen);
    return as_type<float>(old);
}
template <typename Step, typename T> inline T zm_atomic_update_half(device T* p, T v) {
    uint odd = uint((ulong(p) >> 1) & 1), shift = odd * 16;
    device uint* w = (device uint*)((device ushort*)p - odd);
    uint old = metal::atomic_load_explicit((device metal::atomic_uint*)w, ZM_RELAXED), seen;
    do {
        seen = old;
        T next = T(Step::of(float(as_type<T>(ushort(seen >> shift))), float(v)));
        old = zm_atomic_cas(w, seen, (seen & ~(0xffffu << shift)) | (uint(as_type<ushort>(next)) << shift));
    } while (old != seen);
    return as_type<T>(ushort(old >> shift));
}
inline float zm_atomic_min(device float* p, float v) { return zm_atomic_update<zm_step_min>(p, v); }
inline float zm_atomic_max(device float* p, float v) { return zm_atomic_update<zm_step_max>(p, v); }
#define ZM_ATOMIC(name)                                                                                                          \
    inline half zm_atomic_##name(device half* p, half v) { return zm_atomic_update_half<zm_step_##name>(p, v); }                 \
    inline bfloat16_t zm_atomic_##name(device bfloat16_t* p, bfloat16_t v) { return zm_atomic_update_half<zm_step_##name>(p, v); }
ZM_ATOMIC(add)
ZM_ATOMIC(min)
ZM_ATOMIC(max)
ZM_ATOMIC(xchg)
#undef ZM_ATOMIC
#undef ZM_RELAXED
