// What generated CUDA C++ stands on. No header is read: NVRTC parses this in a few milliseconds, cuda_fp16.h in fifty.
// Names and meanings are those of host.h. For sm_80 and newer, compiled with -default-device.
#ifndef ZM_CUDA_H
#define ZM_CUDA_H

#define ZM_FN static __device__ __forceinline__

template <class T, class U> ZM_FN T zm_bitcast(U x) {
    static_assert(sizeof(T) == sizeof(U), "a bitcast keeps the width");
    T out;
    memcpy(&out, &x, sizeof(T));
    return out;
}
template <class T, class U> constexpr bool zm_same = false;
template <class T> constexpr bool zm_same<T, T> = true;
// A parameter that takes the type which the others settle, so that literals of another width may be passed.
template <class T> struct zm_id_of { using type = T; };
template <class T> using zm_id = typename zm_id_of<T>::type;
template <class T> constexpr bool zm_is_signed = T(-1) < T(0);
template <class T> constexpr bool zm_is_float = zm_same<T, float> || zm_same<T, double>;

// ---- float16 and bfloat16: storage only, computed with as float ----------------------------------------------------

struct zm_half { unsigned short bits; };
struct zm_bf16 { unsigned short bits; };
template <class T> constexpr bool zm_is_half = zm_same<T, zm_half> || zm_same<T, zm_bf16>;

ZM_FN float zm_half_to_float(zm_half h) {
    float r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h.bits));
    return r;
}
ZM_FN float zm_bf16_to_float(zm_bf16 h) { return __uint_as_float((unsigned)h.bits << 16); }
#define ZM_NARROW(name, instruction, H, F, constraint)             \
    ZM_FN H name(F x) {                                            \
        H r;                                                       \
        asm(instruction " %0, %1;" : "=h"(r.bits) : constraint(x)); \
        return r;                                                  \
    }
ZM_NARROW(zm_float_to_half, "cvt.rn.f16.f32", zm_half, float, "f")
ZM_NARROW(zm_float_to_half_rtz, "cvt.rz.f16.f32", zm_half, float, "f")
ZM_NARROW(zm_double_to_half, "cvt.rn.f16.f64", zm_half, double, "d")
ZM_NARROW(zm_double_to_half_rtz, "cvt.rz.f16.f64", zm_half, double, "d")
ZM_NARROW(zm_float_to_bf16, "cvt.rn.bf16.f32", zm_bf16, float, "f")
ZM_NARROW(zm_float_to_bf16_rtz, "cvt.rz.bf16.f32", zm_bf16, float, "f")
ZM_NARROW(zm_int_to_half, "cvt.rn.f16.s32", zm_half, int, "r")
ZM_NARROW(zm_int_to_half, "cvt.rn.f16.u32", zm_half, unsigned, "r")
ZM_NARROW(zm_int_to_half, "cvt.rn.f16.s64", zm_half, long long, "l")
ZM_NARROW(zm_int_to_half, "cvt.rn.f16.u64", zm_half, unsigned long long, "l")
#undef ZM_NARROW

// Towards zero, the last bit set if that lost anything: a second rounding, to fewer bits, is then right.
ZM_FN float zm_odd(float f, bool exact) { return exact ? f : __uint_as_float(__float_as_uint(f) | 1u); }
ZM_FN float zm_double_to_float_rtz(double x) { return __double2float_rz(x); }
ZM_FN float zm_double_to_float_odd(double x) {
    float f = __double2float_rz(x);
    return zm_odd(f, (double)f == x || x != x);
}
ZM_FN zm_bf16 zm_double_to_bf16(double x) { return zm_float_to_bf16(zm_double_to_float_odd(x)); }
ZM_FN zm_bf16 zm_double_to_bf16_rtz(double x) { return zm_float_to_bf16_rtz(zm_double_to_float_odd(x)); }
ZM_FN double zm_half_to_double(zm_half h) { return zm_half_to_float(h); }
ZM_FN double zm_bf16_to_double(zm_bf16 h) { return zm_bf16_to_float(h); }
ZM_FN zm_bf16 zm_int_to_bf16(int x) {
    float f = __int2float_rz(x);
    return zm_float_to_bf16(zm_odd(f, __float2int_rz(f) == x));
}
ZM_FN zm_bf16 zm_int_to_bf16(unsigned x) {
    float f = __uint2float_rz(x);
    return zm_float_to_bf16(zm_odd(f, __float2uint_rz(f) == x));
}
ZM_FN zm_bf16 zm_int_to_bf16(long long x) {
    float f = __ll2float_rz(x);
    return zm_float_to_bf16(zm_odd(f, __float2ll_rz(f) == x));
}
ZM_FN zm_bf16 zm_int_to_bf16(unsigned long long x) {
    float f = __ull2float_rz(x);
    return zm_float_to_bf16(zm_odd(f, __float2ull_rz(f) == x));
}

// ---- conversions with integers --------------------------------------------------------------------------------------

ZM_FN int zm_rz(float x, int) { return __float2int_rz(x); }
ZM_FN int zm_rz(double x, int) { return __double2int_rz(x); }
ZM_FN unsigned zm_rz(float x, unsigned) { return __float2uint_rz(x); }
ZM_FN unsigned zm_rz(double x, unsigned) { return __double2uint_rz(x); }
ZM_FN long long zm_rz(float x, long long) { return __float2ll_rz(x); }
ZM_FN long long zm_rz(double x, long long) { return __double2ll_rz(x); }
ZM_FN unsigned long long zm_rz(float x, unsigned long long) { return __float2ull_rz(x); }
ZM_FN unsigned long long zm_rz(double x, unsigned long long) { return __double2ull_rz(x); }

// Towards zero, saturating (the hardware's way), NaN to 0.
template <class T, class F> ZM_FN T zm_float_to_int(F x) {
    if constexpr (zm_same<T, bool>) {
        return x != F(0);
    } else if constexpr (sizeof(T) < 4) {
        constexpr int bits = 8 * sizeof(T), low = zm_is_signed<T> ? -(1 << (bits - 1)) : 0, high = zm_is_signed<T> ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
        return (T)(x == x ? min(max(zm_rz(x, 0), low), high) : 0);
    } else {
        return x == x ? (T)zm_rz(x, T(0)) : T(0);
    }
}

// Any element type to any other, by the rules of ops/cast.py.
template <class T, class U> ZM_FN T zm_cast(U x) {
    if constexpr (zm_same<T, U>) return x;
    else if constexpr (zm_same<U, zm_half>) return zm_cast<T>(zm_half_to_float(x));
    else if constexpr (zm_same<U, zm_bf16>) return zm_cast<T>(zm_bf16_to_float(x));
    else if constexpr (zm_same<T, zm_half>) {
        if constexpr (zm_same<U, float>) return zm_float_to_half(x);
        else if constexpr (zm_same<U, double>) return zm_double_to_half(x);
        else if constexpr (sizeof(U) < 4) return zm_int_to_half((int)x);
        else return zm_int_to_half(x);
    } else if constexpr (zm_same<T, zm_bf16>) {
        if constexpr (zm_same<U, float>) return zm_float_to_bf16(x);
        else if constexpr (zm_same<U, double>) return zm_double_to_bf16(x);
        else if constexpr (sizeof(U) < 4) return zm_int_to_bf16((int)x);
        else return zm_int_to_bf16(x);
    } else if constexpr (zm_same<T, bool>) return x != U(0);
    else if constexpr (zm_is_float<U> && !zm_is_float<T>) return zm_float_to_int<T>(x);
    else return (T)x;
}
// The same with floats narrowed towards zero.
template <class T, class U> ZM_FN T zm_cast_rtz(U x) {
    if constexpr (zm_same<T, float> && zm_same<U, double>) return __double2float_rz(x);
    else if constexpr (zm_same<T, zm_half> && zm_same<U, float>) return zm_float_to_half_rtz(x);
    else if constexpr (zm_same<T, zm_half> && zm_same<U, double>) return zm_double_to_half_rtz(x);
    else if constexpr (zm_same<T, zm_bf16> && zm_same<U, float>) return zm_float_to_bf16_rtz(x);
    else if constexpr (zm_same<T, zm_bf16> && zm_same<U, double>) return zm_double_to_bf16_rtz(x);
    else return zm_cast<T>(x);
}

// One instruction; exp2f spends three more on results below the smallest normal number.
ZM_FN float zm_exp2(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

// x / y for y from 1 to 2: within 2 units of the last place, without the branch for other y.
ZM_FN float zm_ratio(float x, float y) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(y));
    return x * r;
}

// C's quotient and remainder; x / 0 and x % 0 are 0, and the smallest number over -1 wraps.
template <class T> ZM_FN T zm_idiv(T a, zm_id<T> b) {
    if constexpr (zm_is_signed<T>)
        if (b == T(-1)) return (T)(0ull - (unsigned long long)a);
    return b == T(0) ? T(0) : (T)(a / b);
}
template <class T> ZM_FN T zm_imod(T a, zm_id<T> b) {
    if constexpr (zm_is_signed<T>)
        if (b == T(-1)) return T(0);
    return b == T(0) ? T(0) : (T)(a % b);
}

// ---- shuffles of any type up to 8 bytes; all 32 lanes take part -------------------------------------------------------

#define ZM_SHUFFLE(name, intrinsic, Lane)                                                \
    template <class T> ZM_FN T name(T v, Lane lane) {                                    \
        if constexpr (sizeof(T) == 8) {                                                  \
            unsigned long long w = zm_bitcast<unsigned long long>(v);                    \
            unsigned low = intrinsic(0xffffffffu, (unsigned)w, lane), high = intrinsic(0xffffffffu, (unsigned)(w >> 32), lane); \
            return zm_bitcast<T>((unsigned long long)high << 32 | low);                  \
        } else {                                                                         \
            unsigned w = 0;                                                              \
            memcpy(&w, &v, sizeof(T));                                                   \
            w = intrinsic(0xffffffffu, w, lane);                                         \
            memcpy(&v, &w, sizeof(T));                                                   \
            return v;                                                                    \
        }                                                                                \
    }
ZM_SHUFFLE(zm_shuffle_xor, __shfl_xor_sync, int)
ZM_SHUFFLE(zm_shuffle_up, __shfl_up_sync, unsigned)
ZM_SHUFFLE(zm_shuffle_down, __shfl_down_sync, unsigned)
ZM_SHUFFLE(zm_shuffle_idx, __shfl_sync, int)
#undef ZM_SHUFFLE

// ---- one value of all 32 lanes ------------------------------------------------------------------------------------------

#define ZM_REDUCE(name, intrinsic)                     \
    template <class T> ZM_FN T zm_reduce_##name(T v) { \
        static_assert(sizeof(T) == 4, "a word");       \
        return (T)intrinsic(0xffffffffu, v);           \
    }
ZM_REDUCE(add, __reduce_add_sync)
ZM_REDUCE(and, __reduce_and_sync)
ZM_REDUCE(or, __reduce_or_sync)
ZM_REDUCE(xor, __reduce_xor_sync)
#undef ZM_REDUCE
// Of 64 bits first the upper half, then the lower one of those that have it.
#define ZM_EXTREME(name, intrinsic, least)                                                    \
    template <class T> ZM_FN T zm_reduce_##name(T v) {                                        \
        if constexpr (sizeof(T) == 4) {                                                       \
            return intrinsic(0xffffffffu, v);                                                 \
        } else {                                                                              \
            using Half = zm_half_word<zm_is_signed<T>>;                                       \
            Half mine = (Half)(v >> 32), high = intrinsic(0xffffffffu, mine);                 \
            unsigned low = intrinsic(0xffffffffu, mine == high ? (unsigned)v : least);        \
            return (T)((unsigned long long)(unsigned)high << 32 | low);                       \
        }                                                                                     \
    }
template <bool is_signed> struct zm_half_word_of { using type = unsigned; };
template <> struct zm_half_word_of<true> { using type = int; };
template <bool is_signed> using zm_half_word = typename zm_half_word_of<is_signed>::type;
ZM_EXTREME(minimum, __reduce_min_sync, 0xffffffffu)
ZM_EXTREME(maximum, __reduce_max_sync, 0u)
#undef ZM_EXTREME

// ---- atomics: each returns the old value; minimum and maximum ignore NaN ----------------------------------------------

template <int bytes> struct zm_word_of { using type = unsigned; };
template <> struct zm_word_of<2> { using type = unsigned short; };
template <> struct zm_word_of<8> { using type = unsigned long long; };
template <class T> using zm_word = typename zm_word_of<sizeof(T)>::type;

template <class T, class Step> ZM_FN T zm_atomic_update(T* p, Step step) {
    zm_word<T>* w = (zm_word<T>*)p;
    zm_word<T> old = *(volatile zm_word<T>*)w, seen;
    do {
        seen = old;
        zm_word<T> next = zm_bitcast<zm_word<T>>(step(zm_bitcast<T>(seen)));
        if (next == seen) break;  // nothing to write: the value read is the old one
        old = atomicCAS(w, seen, next);
    } while (old != seen);
    return zm_bitcast<T>(old);
}
template <class T> ZM_FN T zm_atomic_add(T* p, zm_id<T> v) {
    if constexpr (zm_same<T, zm_half>) {
        zm_half r;
        asm volatile("atom.add.noftz.f16 %0, [%1], %2;" : "=h"(r.bits) : "l"(p), "h"(v.bits) : "memory");
        return r;
    } else if constexpr (zm_same<T, zm_bf16>) {
        return zm_atomic_update(p, [v](T old) { return zm_float_to_bf16(zm_bf16_to_float(old) + zm_bf16_to_float(v)); });
    } else if constexpr (zm_is_float<T>) {
        return atomicAdd(p, v);
    } else {
        return (T)atomicAdd((zm_word<T>*)p, (zm_word<T>)v);
    }
}
#define ZM_EXTREME(name, Name, f, g)                                                                                             \
    template <class T> ZM_FN T zm_atomic_##name(T* p, zm_id<T> v) {                                                                     \
        if constexpr (zm_is_half<T>) return zm_atomic_update(p, [v](T old) { return zm_cast<T>(f(zm_cast<float>(old), zm_cast<float>(v))); }); \
        else if constexpr (zm_same<T, float>) return zm_atomic_update(p, [v](T old) { return f(old, v); });                      \
        else if constexpr (zm_same<T, double>) return zm_atomic_update(p, [v](T old) { return g(old, v); });                     \
        else return atomic##Name(p, v);                                                                                          \
    }
ZM_EXTREME(min, Min, fminf, fmin)
ZM_EXTREME(max, Max, fmaxf, fmax)
#undef ZM_EXTREME
template <class T> ZM_FN T zm_atomic_and(T* p, zm_id<T> v) { return (T)atomicAnd((zm_word<T>*)p, (zm_word<T>)v); }
template <class T> ZM_FN T zm_atomic_or(T* p, zm_id<T> v) { return (T)atomicOr((zm_word<T>*)p, (zm_word<T>)v); }
template <class T> ZM_FN T zm_atomic_xor(T* p, zm_id<T> v) { return (T)atomicXor((zm_word<T>*)p, (zm_word<T>)v); }
template <class T> ZM_FN T zm_atomic_xchg(T* p, zm_id<T> v) {
    if constexpr (sizeof(T) == 2) return zm_atomic_update(p, [v](T) { return v; });
    else return zm_bitcast<T>(atomicExch((zm_word<T>*)p, zm_bitcast<zm_word<T>>(v)));
}
// Compares bits.
template <class T> ZM_FN T zm_atomic_cas(T* p, zm_id<T> compare, zm_id<T> value) {
    return zm_bitcast<T>(atomicCAS((zm_word<T>*)p, zm_bitcast<zm_word<T>>(compare), zm_bitcast<zm_word<T>>(value)));
}
#endif
