// Array forms of the host prelude, for test_prelude_host.py.
#include "host.h"
#include "host_debug.h"

#define API extern "C" __attribute__((visibility("default"))) void

#define UNARY(name)                                                                                                   \
    API f32_##name(const float* __restrict x, float* __restrict out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i]); } \
    API f64_##name(const double* __restrict x, double* __restrict out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i]); }
UNARY(exp) UNARY(exp2) UNARY(expm1) UNARY(log) UNARY(log2) UNARY(log1p) UNARY(sin) UNARY(cos) UNARY(tan) UNARY(tanh) UNARY(erf)
UNARY(sqrt) UNARY(rsqrt) UNARY(floor) UNARY(ceil) UNARY(trunc) UNARY(rint) UNARY(round) UNARY(fabs)

#define PREDICATE(name)                                                                                        \
    API f32_##name(const float* x, bool* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i]); } \
    API f64_##name(const double* x, bool* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i]); }
PREDICATE(isinf) PREDICATE(isfinite)

#define BINARY(prefix, T, name) \
    API prefix##_##name(const T* __restrict x, const T* __restrict y, T* __restrict out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i], y[i]); }
#define FLOATS(name) BINARY(f32, float, name) BINARY(f64, double, name)
FLOATS(pow) FLOATS(fmin) FLOATS(fmax) FLOATS(copysign) FLOATS(fmod)
#define INTS(name)                                                                                                          \
    BINARY(i8, int8_t, name) BINARY(i16, int16_t, name) BINARY(i32, int32_t, name) BINARY(i64, int64_t, name)               \
    BINARY(u8, uint8_t, name) BINARY(u16, uint16_t, name) BINARY(u32, uint32_t, name) BINARY(u64, uint64_t, name)
INTS(idiv) INTS(imod)
BINARY(i32, int32_t, mulhi) BINARY(i64, int64_t, mulhi) BINARY(u32, uint32_t, mulhi) BINARY(u64, uint64_t, mulhi)
// Literals of another width than the operand's.
int64_t literals(int64_t x, int64_t* p) { return zm_idiv(x, 3ll) + zm_imod(x, 3) + zm_mulhi(x, 3ll) + zm_atomic_add(p, 1ll) + zm_atomic_cas(p, 1, 2ll); }
API i32_div7(const int32_t* x, int32_t* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_idiv(x[i], -7); }
API f32_fma(const float* x, const float* y, const float* z, float* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_fma(x[i], y[i], z[i]); }
API f64_fma(const double* x, const double* y, const double* z, double* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_fma(x[i], y[i], z[i]); }

#define CAST(from, F, to, T) API cast_##from##_##to(const F* __restrict x, T* __restrict out, long n) { for (long i = 0; i < n; i++) out[i] = zm_cast<T>(x[i]); }
#define RTZ(from, F, to, T) API castz_##from##_##to(const F* __restrict x, T* __restrict out, long n) { for (long i = 0; i < n; i++) out[i] = zm_cast_rtz<T>(x[i]); }
RTZ(f32, float, f16, zm_half) RTZ(f32, float, bf16, zm_bf16) RTZ(f64, double, f16, zm_half) RTZ(f64, double, bf16, zm_bf16) RTZ(f64, double, f32, float)
RTZ(f32, float, f64, double) RTZ(f64, double, i32, int32_t)
#define FROM(from, F)                                                                                                              \
    CAST(from, F, i1, bool) CAST(from, F, i8, int8_t) CAST(from, F, i16, int16_t) CAST(from, F, i32, int32_t)                      \
    CAST(from, F, i64, int64_t) CAST(from, F, u8, uint8_t) CAST(from, F, u16, uint16_t) CAST(from, F, u32, uint32_t)               \
    CAST(from, F, u64, uint64_t) CAST(from, F, f16, zm_half) CAST(from, F, bf16, zm_bf16) CAST(from, F, f32, float) CAST(from, F, f64, double)
FROM(i1, bool) FROM(i8, int8_t) FROM(i16, int16_t) FROM(i32, int32_t) FROM(i64, int64_t) FROM(u8, uint8_t) FROM(u16, uint16_t)
FROM(u32, uint32_t) FROM(u64, uint64_t) FROM(f16, zm_half) FROM(bf16, zm_bf16) FROM(f32, float) FROM(f64, double)

// x[i] is applied to one cell; out[i] is the value before.
#define ATOMIC(type, T, name) API atomic_##type##_##name(T* cell, const T* x, T* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_atomic_##name(cell, x[i]); }
#define ARITHMETIC(type, T) ATOMIC(type, T, add) ATOMIC(type, T, min) ATOMIC(type, T, max) ATOMIC(type, T, xchg)
#define BITS(type, T) ARITHMETIC(type, T) ATOMIC(type, T, and) ATOMIC(type, T, or) ATOMIC(type, T, xor)
BITS(i32, int32_t) BITS(u32, uint32_t) BITS(i64, int64_t) BITS(u64, uint64_t)
ARITHMETIC(f32, float) ARITHMETIC(f64, double) ARITHMETIC(f16, zm_half) ARITHMETIC(bf16, zm_bf16)
#define CAS(type, T) API cas_##type(T* cell, const T* compare, const T* value, T* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_atomic_cas(cell, compare[i], value[i]); }
CAS(i32, int32_t) CAS(u32, uint32_t) CAS(i64, int64_t) CAS(u64, uint64_t) CAS(f32, float) CAS(f64, double)

typedef void (*Report)(int, const char*);
API print_all(Report report) {
    const zm_index at = {{3, 4}};
    zm_print(report, "x", false, 1, 2, 3, at, 2, (int32_t)-5);
    zm_print(report, "x", true, 1, 2, 3, at, 1, (int32_t)-1);
    zm_print(report, "x", true, 1, 2, 3, at, 1, (uint8_t)200);
    zm_print(report, "x", false, 1, 2, 3, at, 0, true);
    zm_print(report, "x", false, 0, 0, 0, at, 0, 0.1f);
    zm_print(report, "x", false, 0, 0, 0, at, 0, 0.1);
    zm_print(report, "x", false, 0, 0, 0, at, 0, -1.0f / 0.0f);
    zm_print(report, "x", false, 0, 0, 0, at, 0, zm_cast<zm_half>(1.5f));
    zm_print(report, "x", false, 0, 0, 0, at, 0, (uint64_t)~0ull);
    zm_print(report, "x", false, 0, 0, 0, at, 0, (int64_t)1 << 40);
    zm_print(report, "here", 4, 5, 6);
    zm_assert_failed(report, "must be positive", 1, 2, 3, at, 1);
}
