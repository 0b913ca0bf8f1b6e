// Array forms of host_simd.h, for test_prelude_simd.py.
#include "host_simd.h"

#define API extern "C" __attribute__((visibility("default"))) void
#define UNARY(name) \
    API f32_##name(const float* x, float* out, long n) { zm_for(0, (int)n, [&](auto i) { zm_put(out, i, zm_##name(zm_get(x, i))); }); }
UNARY(exp) UNARY(exp2) UNARY(log) UNARY(tanh) UNARY(erf) UNARY(sqrt) UNARY(rsqrt) UNARY(fabs)

#define BINARY(name)                                                                                        \
    API f32_##name(const float* x, const float* y, float* out, long n) {                                    \
        zm_for(0, (int)n, [&](auto i) { zm_put(out, i, zm_##name(zm_get(x, i), zm_get(y, i))); });          \
    }
BINARY(fmin) BINARY(fmax)

#define CAST(from, F, to, T) \
    API cast_##from##_##to(const F* x, T* out, long n) { zm_for(0, (int)n, [&](auto i) { zm_put(out, i, zm_wide_cast<T>(zm_get(x, i))); }); }
CAST(f16, zm_half, f32, float) CAST(bf16, zm_bf16, f32, float) CAST(f32, float, f16, zm_half) CAST(f32, float, bf16, zm_bf16)
CAST(f16, zm_half, bf16, zm_bf16) CAST(i32, int32_t, f32, float) CAST(u32, uint32_t, f32, float) CAST(f32, float, i32, int32_t)

#define COPY(name, T) \
    API copy_##name(const T* x, T* out, long n) { zm_for(3, (int)n, [&](auto i) { zm_put(out, i, zm_get(x, i + -1)); }); }
COPY(f32, float) COPY(i32, int32_t) COPY(u32, uint32_t) COPY(f16, zm_half) COPY(bf16, zm_bf16)
API numbers(int32_t* out, long n) { zm_for(0, (int)n, [&](auto i) { zm_put(out, i, zm_select(zm_number(i) < 5, zm_number(i), -1)); }); }
