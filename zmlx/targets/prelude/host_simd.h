// Elementwise loops by whole vectors: what a loop's body says of one element, said of ZM_LANES neighbours.
//
// g++ turns plain loops into vector loops too, but not float16 conversions, masks or scaling by powers of two as the machine
// has them. Bodies are generic lambdas: `i` is a number of neighbours (zm_lanes) or the last few (zm_tail), an array's element
// at `i` a vector. Bounds of functions are those of host.h, whose reductions and coefficients they share.
#ifndef ZM_HOST_SIMD_H
#define ZM_HOST_SIMD_H
#include "host_vector.h"

#define ZM_LANES (ZM_VECTOR_BYTES / 4)
using zm_vf = zm_vec<float, ZM_LANES>;
using zm_vi = zm_vec<int32_t, ZM_LANES>;  // also what comparisons give: 0 or -1
using zm_vu = zm_vec<uint32_t, ZM_LANES>;
using zm_vs = zm_vec<uint16_t, ZM_LANES>;
struct zm_vhalf { zm_vs bits; };
struct zm_vbf16 { zm_vs bits; };

template <class T> struct zm_wide_of;
template <> struct zm_wide_of<float> { using type = zm_vf; };
template <> struct zm_wide_of<int32_t> { using type = zm_vi; };
template <> struct zm_wide_of<uint32_t> { using type = zm_vu; };
template <> struct zm_wide_of<zm_half> { using type = zm_vhalf; };
template <> struct zm_wide_of<zm_bf16> { using type = zm_vbf16; };
template <class T> using zm_wide = typename zm_wide_of<T>::type;
template <class T> inline constexpr bool zm_is_wide = zm_same<T, zm_vf> || zm_same<T, zm_vi> || zm_same<T, zm_vu> || zm_same<T, zm_vhalf> || zm_same<T, zm_vbf16>;

// ---- positions and memory -----------------------------------------------------------------------------------------

struct zm_lanes { int at; };             // at, at + 1 … at + ZM_LANES - 1
struct zm_tail { int at, n; };           // at … at + n - 1; further lanes hold zeros and are not written
ZM_FN zm_lanes operator+(zm_lanes i, int n) { return {i.at + n}; }
ZM_FN zm_lanes operator+(int n, zm_lanes i) { return {i.at + n}; }
ZM_FN zm_tail operator+(zm_tail i, int n) { return {i.at + n, i.n}; }
ZM_FN zm_tail operator+(int n, zm_tail i) { return {i.at + n, i.n}; }

template <class T> ZM_FN zm_wide<T> zm_get(const T* p, zm_lanes i) {
    zm_wide<T> v;
    __builtin_memcpy(&v, p + i.at, sizeof v);
    return v;
}
template <class T> ZM_FN zm_wide<T> zm_get(const T* p, zm_tail i) {
    alignas(64) T some[ZM_LANES] = {};
    for (int k = 0; k < i.n; ++k) some[k] = p[i.at + k];
    return zm_get(some, zm_lanes{0});
}
template <class T> ZM_FN T zm_get(const T* p, int i) { return p[i]; }

ZM_FN zm_vf zm_spread(float x) { return x - zm_vf{}; }
ZM_FN zm_vi zm_spread(int32_t x) { return x - zm_vi{}; }
ZM_FN zm_vu zm_spread(uint32_t x) { return x - zm_vu{}; }
ZM_FN zm_vhalf zm_spread(zm_half x) { return {x.bits - zm_vs{}}; }
ZM_FN zm_vbf16 zm_spread(zm_bf16 x) { return {x.bits - zm_vs{}}; }
template <class T> ZM_FN auto zm_as_wide(T x) {
    if constexpr (zm_is_wide<T>) return x;
    else return zm_spread(x);
}

template <class T, class V> ZM_FN void zm_put(T* p, zm_lanes i, V value) {
    zm_wide<T> v = zm_as_wide(value);
    __builtin_memcpy(p + i.at, &v, sizeof v);
}
template <class T, class V> ZM_FN void zm_put(T* p, zm_tail i, V value) {
    alignas(64) T some[ZM_LANES];
    zm_put(some, zm_lanes{0}, value);
    for (int k = 0; k < i.n; ++k) p[i.at + k] = some[k];
}

#if defined(__AVX512VL__) && defined(__AVX512BW__)
#ifdef __clang__
#define ZM_AT(scalar, vector) vector*
#else
#define ZM_AT(scalar, vector) scalar*
#endif
ZM_FN uint16_t zm_first(int n) { return (uint16_t)((1u << n) - 1u); }
ZM_FN zm_vf zm_get(const float* p, zm_tail i) {
    return (zm_vf)__builtin_ia32_loadups512_mask(p + i.at, zm_vf{}, zm_first(i.n));
}
ZM_FN void zm_put(float* p, zm_tail i, zm_vf v) { __builtin_ia32_storeups512_mask(p + i.at, v, zm_first(i.n)); }
#define ZM_TAIL(T, V)                                                                                            \
    ZM_FN V zm_get(const T* p, zm_tail i) {                                                                      \
        using S = zm_vec<short, 16>;                                                                             \
        return {(zm_vs)__builtin_ia32_loaddquhi256_mask((ZM_AT(const short, const S))(p + i.at), S{}, zm_first(i.n))};              \
    }                                                                                                            \
    ZM_FN void zm_put(T* p, zm_tail i, V v) {                                                                    \
        using S = zm_vec<short, 16>;                                                                             \
        __builtin_ia32_storedquhi256_mask((ZM_AT(short, S))(p + i.at), (S)v.bits, zm_first(i.n));                             \
    }
ZM_TAIL(zm_half, zm_vhalf)
ZM_TAIL(zm_bf16, zm_vbf16)
#undef ZM_TAIL
#endif

// A condition of lanes: all bits of a lane, or none.
ZM_FN zm_vi zm_mask(zm_vi m) { return m; }
ZM_FN zm_vi zm_mask(bool b) { return zm_spread(b ? -1 : 0); }
#if defined(__AVX512DQ__)
ZM_FN uint16_t zm_on(zm_vi mask) { return __builtin_ia32_cvtd2mask512(mask); }  // a bit for each lane
#endif
// Lanes on which a mask is off are not touched; a load gives `other` there.
template <class T, class O> ZM_FN zm_wide<T> zm_get(const T* p, zm_lanes i, zm_vi mask, O other) {
    zm_wide<T> rest = zm_as_wide(other);
#if defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
    uint16_t on = zm_on(mask);
    if constexpr (sizeof(T) == 4) return (zm_wide<T>)__builtin_ia32_loadups512_mask((const float*)(p + i.at), (zm_vf)rest, on);
    else {
        using S = zm_vec<short, 16>;
        return {(zm_vs)__builtin_ia32_loaddquhi256_mask((ZM_AT(const short, const S))(p + i.at), (S)rest.bits, on)};
    }
#else
    alignas(64) T some[ZM_LANES];
    zm_put(some, zm_lanes{0}, rest);
    for (int k = 0; k < ZM_LANES; ++k)
        if (mask[k]) some[k] = p[i.at + k];
    return zm_get(some, zm_lanes{0});
#endif
}
template <class T, class V> ZM_FN void zm_put(T* p, zm_lanes i, V value, zm_vi mask) {
    zm_wide<T> v = zm_as_wide(value);
#if defined(__AVX512VL__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
    uint16_t on = zm_on(mask);
    if constexpr (sizeof(T) == 4) __builtin_ia32_storeups512_mask((float*)(p + i.at), (zm_vf)v, on);
    else {
        using S = zm_vec<short, 16>;
        __builtin_ia32_storedquhi256_mask((ZM_AT(short, S))(p + i.at), (S)v.bits, on);
    }
#else
    alignas(64) T some[ZM_LANES];
    zm_put(some, zm_lanes{0}, v);
    for (int k = 0; k < ZM_LANES; ++k)
        if (mask[k]) p[i.at + k] = some[k];
#endif
}
ZM_FN zm_vi zm_from(int at) {
    zm_vi v;
    for (int k = 0; k < ZM_LANES; ++k) v[k] = k;
    return v + at;
}
template <class T, class O> ZM_FN zm_wide<T> zm_get(const T* p, zm_tail i, zm_vi mask, O other) {
    return zm_get(p, zm_lanes{i.at}, mask & (zm_from(0) < i.n), other);
}
template <class T, class V> ZM_FN void zm_put(T* p, zm_tail i, V value, zm_vi mask) {
    zm_put(p, zm_lanes{i.at}, value, mask & (zm_from(0) < i.n));
}
template <class T, class I, class O> ZM_FN zm_wide<T> zm_get(const T* p, I i, bool mask, O other) {
    if (mask) return zm_get(p, i);
    return zm_as_wide(other);
}
template <class T, class I, class V> ZM_FN void zm_put(T* p, I i, V value, bool mask) {
    if (mask) zm_put(p, i, value);
}

// p[at] for lanes that mostly read neighbours, or the same place: packed numbers and their scales. One load that reaches from
// the first lane's place to the last one's, and a permutation; lanes that lie elsewhere are read one by one.
ZM_FN zm_vi zm_lookup(zm_vi table, zm_vi at) {
#if !defined(__clang__)
    return __builtin_shuffle(table, at);
#elif defined(__AVX512F__)
    return (zm_vi)__builtin_ia32_permvarsi512((zm_vec<int, 16>)table, (zm_vec<int, 16>)at);
#else
    zm_vi r;
    for (int k = 0; k < ZM_LANES; ++k) r[k] = table[at[k] & (ZM_LANES - 1)];
    return r;
#endif
}
ZM_FN bool zm_all(zm_vi mask) {
#if defined(__AVX512DQ__)
    return zm_on(mask) == 0xffff;
#else
    int32_t all = -1;
    for (int k = 0; k < ZM_LANES; ++k) all &= mask[k];
    return all != 0;
#endif
}
ZM_FN zm_vi zm_words(zm_vf x) { return (zm_vi)x; }
ZM_FN zm_vi zm_words(zm_vi x) { return x; }
ZM_FN zm_vi zm_words(zm_vu x) { return (zm_vi)x; }
template <class H> ZM_FN zm_vi zm_words(H x) { return __builtin_convertvector(x.bits, zm_vi); }
template <class T> ZM_FN zm_wide<T> zm_from_words(zm_vi x) {
    if constexpr (sizeof(T) == 4) return (zm_wide<T>)x;
    else return {__builtin_convertvector(x, zm_vs)};
}
template <class T> ZM_FN zm_wide<T> zm_gather(const T* p, zm_vi at, zm_lanes) {
    zm_vu near = (zm_vu)(at - at[0]);
    int reach = at[ZM_LANES - 1] - at[0];
    if (__builtin_expect((unsigned)reach < ZM_LANES && zm_all((zm_vi)(near <= (uint32_t)reach)), 1))
        return zm_from_words<T>(zm_lookup(zm_words(zm_get(p, zm_tail{at[0], reach + 1})), (zm_vi)near));
    alignas(64) T some[ZM_LANES];
    for (int k = 0; k < ZM_LANES; ++k) some[k] = p[at[k]];
    return zm_get(some, zm_lanes{0});
}
template <class T> ZM_FN zm_wide<T> zm_gather(const T* p, zm_vi at, zm_tail i) {
    alignas(64) T some[ZM_LANES] = {};
    for (int k = 0; k < i.n; ++k) some[k] = p[at[k]];
    return zm_get(some, zm_lanes{0});
}

// body(i) for all start <= i < end, ZM_LANES at a time.
template <class F> ZM_FN void zm_for(int start, int end, F body) {
    int i = start;
    for (; i + ZM_LANES <= end; i += ZM_LANES) body(zm_lanes{i});
    if (i < end) body(zm_tail{i, end - i});
}

// ---- choices and conversions --------------------------------------------------------------------------------------

template <class C, class X, class Y> ZM_FN auto zm_select(C c, X x, Y y) {
    if constexpr (zm_is_wide<C>) return c ? zm_as_wide(x) : zm_as_wide(y);
    else if constexpr (zm_is_wide<X> || zm_is_wide<Y>) return c ? zm_as_wide(x) : zm_as_wide(y);
    else return c ? x : y;
}
ZM_FN zm_vf zm_select(zm_vi c, zm_vf x, zm_vf y) { return c ? x : y; }

ZM_FN zm_vi zm_number(zm_lanes i) { return zm_from(i.at); }
ZM_FN zm_vi zm_number(zm_tail i) { return zm_from(i.at); }

ZM_FN zm_vu zm_bits(zm_vf x) { return (zm_vu)x; }
ZM_FN zm_vf zm_float(zm_vu x) { return (zm_vf)x; }
ZM_FN zm_vu zm_widen(zm_vs x) {
#if defined(__AVX512F__) && !defined(__clang__)  // g++ 12 takes three instructions
    return (zm_vu)__builtin_ia32_pmovzxwd512_mask((zm_vec<short, 16>)x, zm_vec<int, 16>{}, (uint16_t)-1);
#else
    return __builtin_convertvector(x, zm_vu);
#endif
}
ZM_FN zm_vs zm_narrow(zm_vu x) { return __builtin_convertvector(x, zm_vs); }
template <int... I> ZM_FN zm_vs zm_upper(zm_vu x, zm_ints<int, I...>) {  // the upper half of each lane
    auto halves = (zm_vec<uint16_t, 2 * ZM_LANES>)x;
    return __builtin_shufflevector(halves, halves, (2 * I + 1)...);
}
ZM_FN zm_vf zm_fabs(zm_vf x) { return zm_float(zm_bits(x) & 0x7fffffffu); }
ZM_FN zm_vf zm_copysign(zm_vf x, zm_vf y) { return zm_float((zm_bits(x) & 0x7fffffffu) | (zm_bits(y) & 0x80000000u)); }

#if defined(__AVX512BW__) && !defined(__clang__)  // one shuffle, in place of a widening and a shift
template <int... I> ZM_FN zm_vf zm_upper_halves(zm_vs x, zm_ints<int, I...>) {
    const zm_vec<short, 32> from = {(short)(I / 2)...};
    auto whole = (zm_vec<short, 32>)__builtin_ia32_si512_256si((zm_vec<int, 8>)x);
    return (zm_vf)__builtin_ia32_permvarhi512_mask(whole, from, zm_vec<short, 32>{}, 0xaaaaaaaau);
}
ZM_FN zm_vf zm_bf16_to_float(zm_vbf16 x) { return zm_upper_halves(x.bits, zm_count<32>()); }
#else
ZM_FN zm_vf zm_bf16_to_float(zm_vbf16 x) { return zm_float(zm_widen(x.bits) << 16); }
#endif
ZM_FN zm_vbf16 zm_float_to_bf16(zm_vf x) {
#if defined(__AVX512BF16__)  // whose conversion makes zeros of denormals
    if (__builtin_expect(__builtin_ia32_fpclassps512_mask(x, 0x20, (uint16_t)-1) == 0, 1))
#ifdef __clang__
        return {(zm_vs)__builtin_ia32_cvtneps2bf16_512(x)};
#else
        return {(zm_vs)__builtin_ia32_cvtneps2bf16_v16sf(x)};
#endif
#endif
    zm_vu b = zm_bits(x), r = b + 0x7fffu + ((b >> 16) & 1u);
    return {zm_upper(x != x ? b | 0x400000u : r, zm_count<ZM_LANES>())};
}
ZM_FN zm_vf zm_half_to_float(zm_vhalf h) {
#if defined(__AVX512F__)
    return __builtin_ia32_vcvtph2ps512_mask((zm_vec<short, 16>)h.bits, zm_vf{}, (uint16_t)-1, 4);
#elif defined(__F16C__) && defined(__AVX2__)
    return __builtin_ia32_vcvtph2ps256((zm_vec<short, 8>)h.bits);
#elif defined(__aarch64__) && !defined(__clang__)  // which g++ 12 converts one by one
    return __builtin_aarch64_float_extend_lo_v4sf((__Float16x4_t)h.bits);
#elif defined(__aarch64__)
    return __builtin_convertvector((zm_vec<__fp16, 4>)h.bits, zm_vf);
#else
    zm_vu x = zm_widen(h.bits), a = x & 0x7fffu, sign = (x & 0x8000u) << 16;
    zm_vu normal = (a << 13) + 0x38000000u, special = (a << 13) | 0x7f800000u;
    zm_vu small = zm_bits(zm_float((a << 13) + 0x38800000u) - 0x1p-14f), r = a >= 0x7c00u ? special : normal;
    return zm_float((a < 0x400u ? small : r) | sign);
#endif
}
ZM_FN zm_vhalf zm_float_to_half(zm_vf x) {
#if defined(__AVX512F__)
    return {(zm_vs)__builtin_ia32_vcvtps2ph512_mask(x, 0, zm_vec<short, 16>{}, (uint16_t)-1)};
#elif defined(__F16C__) && defined(__AVX2__)
    return {(zm_vs)__builtin_ia32_vcvtps2ph256(x, 0)};
#elif defined(__aarch64__) && !defined(__clang__)
    return {(zm_vs)__builtin_aarch64_float_truncate_lo_v4hf(x)};
#elif defined(__aarch64__)
    return {(zm_vs)__builtin_convertvector(x, zm_vec<__fp16, 4>)};
#else
    zm_vu b = zm_bits(x), a = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    zm_vu c = a < 0x47800000u ? a : 0x47800000u - zm_vu{};
    zm_vu normal = (c - 0x38000000u + 0xfffu + ((c >> 13) & 1u)) >> 13;
    zm_vu small = zm_bits(zm_float(a) + 0.5f) - 0x3f000000u, r = a < 0x38800000u ? small : normal;
    return {zm_narrow((a > 0x7f800000u ? 0x7e00u | ((a >> 13) & 0x1ffu) : r) | sign)};
#endif
}

// Conversions between the types that vectors have; float to int saturates, NaN gives 0.
template <class T, class V> ZM_FN auto zm_wide_cast(V x) {
    if constexpr (!zm_is_wide<V>) return zm_cast<T>(x);
    else if constexpr (zm_same<zm_wide<T>, V>) return x;
    else if constexpr (zm_same<V, zm_vhalf>) return zm_wide_cast<T>(zm_half_to_float(x));
    else if constexpr (zm_same<V, zm_vbf16>) return zm_wide_cast<T>(zm_bf16_to_float(x));
    else if constexpr (zm_same<T, zm_half>) return zm_float_to_half(x);
    else if constexpr (zm_same<T, zm_bf16>) return zm_float_to_bf16(x);
    else if constexpr (zm_same<T, float>) return __builtin_convertvector(x, zm_vf);
    else if constexpr (zm_same<V, zm_vf>) {
        static_assert(zm_same<T, int32_t>, "vectors become int32 only");
        zm_vi whole = __builtin_convertvector(x >= -0x1p31f && x < 0x1p31f ? x : zm_vf{}, zm_vi);
        return x >= 0x1p31f ? zm_spread(INT32_MAX) : x < -0x1p31f ? zm_spread(INT32_MIN) : whole;
    } else return (zm_wide<T>)x;
}

// ---- functions of floats ------------------------------------------------------------------------------------------

ZM_FN zm_vf zm_mad(zm_vf a, zm_vf b, zm_vf c) { return zm_vmad<float>(a, b, c); }
ZM_FN zm_vf zm_mad(zm_vf a, zm_vf b, float c) { return zm_mad(a, b, zm_spread(c)); }
ZM_FN zm_vf zm_mad(zm_vf a, float b, zm_vf c) { return zm_mad(a, zm_spread(b), c); }
ZM_FN zm_vf zm_mad(zm_vf a, float b, float c) { return zm_mad(a, zm_spread(b), zm_spread(c)); }
ZM_FN zm_vf zm_horner(zm_vf, float c) { return zm_spread(c); }
template <class... C> ZM_FN zm_vf zm_horner(zm_vf x, float c, C... rest) { return zm_mad(zm_horner(x, rest...), x, zm_spread(c)); }

// x < y ? x : y and x > y ? x : y, of which clang makes one instruction and g++ 12 a comparison and a choice.
template <class V> ZM_FN V zm_lower(V x, V y) { return x < y ? x : y; }
template <class V> ZM_FN V zm_higher(V x, V y) { return x > y ? x : y; }
#if !defined(__clang__) && defined(__AVX512F__)
ZM_FN zm_vf zm_lower(zm_vf x, zm_vf y) { return __builtin_ia32_minps512_mask(x, y, zm_vf{}, (uint16_t)-1, 4); }
ZM_FN zm_vf zm_higher(zm_vf x, zm_vf y) { return __builtin_ia32_maxps512_mask(x, y, zm_vf{}, (uint16_t)-1, 4); }
#elif !defined(__clang__) && defined(__AVX2__)
ZM_FN zm_vf zm_lower(zm_vf x, zm_vf y) { return __builtin_ia32_minps256(x, y); }
ZM_FN zm_vf zm_higher(zm_vf x, zm_vf y) { return __builtin_ia32_maxps256(x, y); }
#elif !defined(__clang__) && defined(__SSE2__)
ZM_FN zm_vf zm_lower(zm_vf x, zm_vf y) { return __builtin_ia32_minps(x, y); }
ZM_FN zm_vf zm_higher(zm_vf x, zm_vf y) { return __builtin_ia32_maxps(x, y); }
#endif
template <class X, class Y> ZM_FN auto zm_wide_min(X x, Y y) { return zm_lower(zm_as_wide(x), zm_as_wide(y)); }
template <class X, class Y> ZM_FN auto zm_wide_max(X x, Y y) { return zm_higher(zm_as_wide(x), zm_as_wide(y)); }
#define ZM_EXTREME(name)                                                                                        \
    ZM_FN zm_vf zm_f##name(zm_vf x, zm_vf y) { return y != y ? x : zm_wide_##name(x, y); }                       \
    ZM_FN zm_vf zm_f##name(zm_vf x, float y) { return zm_f##name(x, zm_spread(y)); }                             \
    ZM_FN zm_vf zm_f##name(float x, zm_vf y) { return zm_f##name(zm_spread(x), y); }
ZM_EXTREME(min)
ZM_EXTREME(max)
#undef ZM_EXTREME

ZM_FN zm_vf zm_sqrt(zm_vf x) {
#if defined(__AVX512F__) && !defined(__clang__)
    return __builtin_ia32_sqrtps512_mask(x, zm_vf{}, (uint16_t)-1, 4);
#else
    zm_vf r;
    for (int i = 0; i < ZM_LANES; ++i) r[i] = __builtin_sqrtf(x[i]);
    return r;
#endif
}
ZM_FN zm_vf zm_rsqrt(zm_vf x) { return 1.0f / zm_sqrt(x); }
ZM_FN zm_vi zm_isinf(zm_vf x) { return zm_fabs(x) == ZM_INF; }
ZM_FN zm_vi zm_isfinite(zm_vf x) { return zm_fabs(x) < ZM_INF; }

// p·2^n for n a whole number.
ZM_FN zm_vf zm_scale(zm_vf p, zm_vf n) {
#if defined(__AVX512F__)
    return __builtin_ia32_scalefps512_mask(p, n, zm_vf{}, (uint16_t)-1, 4);
#else
    zm_vi k = __builtin_convertvector(n, zm_vi), half = k >> 1;
    return p * zm_float((zm_vu)(half + 127) << 23) * zm_float((zm_vu)(k - half + 127) << 23);
#endif
}
ZM_FN zm_vf zm_clamp(zm_vf x, float low, float high) {  // a NaN passes
    return zm_lower(zm_spread(high), zm_higher(zm_spread(low), x));
}

// For -105 <= x <= 89.
ZM_FN zm_vf zm_exp_inside(zm_vf x) {
    zm_vf k = zm_mad(x, 0x1.715476p0f, zm_magic) - zm_magic;
    zm_vf r = zm_mad(k, -zm_ln2_lo, zm_mad(k, -zm_ln2_hi, x));
    zm_vf q = zm_horner(r, 0.49999994f, 0.166665196f, 0.0416684002f, 0.00836885069f, 0.00138143206f);
    return zm_scale(zm_mad(r * r, q, r) + 1.0f, k);
}
ZM_FN zm_vf zm_exp(zm_vf x) { return zm_exp_inside(zm_clamp(x, -105.0f, 89.0f)); }
ZM_FN zm_vf zm_exp2(zm_vf x) {
    x = zm_clamp(x, -151.0f, 129.0f);
    zm_vf k = (x + zm_magic) - zm_magic, r = x - k;
    return zm_scale(zm_mad(r, zm_horner(r, 0.693147182f, 0.240226477f, 0.0555033199f, 0.00961843971f, 0.00133991323f, 0.000153531539f), 1.0f), k);
}
ZM_FN zm_vf zm_log(zm_vf x) {
    zm_vi small = x < 0x1p-126f;
    zm_vf y = small ? x * 0x1p23f : x;
    zm_vi e = (zm_vi)(zm_bits(y) - 0x3f3504f3u) >> 23;
    zm_vf f = zm_float(zm_bits(y) - ((zm_vu)e << 23)) - 1.0f, n = __builtin_convertvector(e - (small & 23), zm_vf);
    zm_vf tail = f * f * f * zm_horner(f, 0.333333105f, -0.250000089f, 0.200021669f, -0.166680902f, 0.142185539f, -0.124030843f, 0.118935131f,
                                       -0.116943344f, 0.0675756782f);
    zm_vf r = zm_mad(n, zm_ln2_hi, f + (zm_mad(n, zm_ln2_lo, tail) - 0.5f * f * f));
    r = x == ZM_INF ? x : r;
    r = x == 0.0f ? zm_spread(-ZM_INF) : r;
    return x >= 0.0f ? r : zm_spread(__builtin_nanf(""));
}
ZM_FN zm_vf zm_tanh(zm_vf x) {
    zm_vf a = zm_fabs(x), z = a * a, t = a > 10.0f ? zm_spread(10.0f) : a;
    zm_vf small = zm_mad(a * z, zm_horner(z, -0.333333313f, 0.133332044f, -0.0539465174f, 0.0216993149f, -0.00817384943f, 0.00213961257f), a);
    return zm_copysign(a < 0.625f ? small : 1.0f - 2.0f / (zm_exp_inside(t + t) + 1.0f), x);
}
ZM_FN zm_vf zm_erf(zm_vf x) {
    zm_vf a = zm_fabs(x), z = x * x, t = a > 3.93f ? zm_spread(3.93f) : a;
    zm_vf small = zm_mad(x, zm_horner(z, 0.128379166f, -0.37612626f, 0.112836003f, -0.0268544443f, 0.00518953567f, -0.000802084222f, 7.88912294e-05f), x);
    zm_vf u = t * zm_horner(t, -1.12868285f, -0.635013998f, -0.106460191f, 0.0239514541f, -0.00373072457f, 0.00034422506f, -1.33453923e-05f);
    zm_vf large = 1.0f - zm_exp_inside(u);  // above 0, so a sign is one more bit
    return a < 1.0f ? small : zm_float(zm_bits(large) | (zm_bits(x) & 0x80000000u));
}
#endif
