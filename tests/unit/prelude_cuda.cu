// Every function of the CUDA prelude once, and array forms for a machine with a GPU.
#include "cuda.h"

#define EACH_INT(X) X(i8, signed char) X(i16, short) X(i32, int) X(i64, long long) X(u8, unsigned char) X(u16, unsigned short) X(u32, unsigned) X(u64, unsigned long long)
#define EACH_FLOAT(X) X(f16, zm_half) X(bf16, zm_bf16) X(f32, float) X(f64, double)
#define EACH(X) X(i1, bool) EACH_INT(X) EACH_FLOAT(X)
#define AT int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return;

// Out of one type into all others; outputs in EACH's order. (A macro cannot name itself within.)
#define ALL_TO(X) X(bool) X(signed char) X(short) X(int) X(long long) X(unsigned char) X(unsigned short) X(unsigned) X(unsigned long long) X(zm_half) X(zm_bf16) X(float) X(double)
#define TO(T) ((T*)out[k++])[i] = zm_cast<T>(x[i]);
#define TOZ(T) ((T*)out[k++])[i] = zm_cast_rtz<T>(x[i]);
#define FROM(name, F)                                                                                            \
    extern "C" __global__ void cast_##name(const F* x, void** out, int n) { AT int k = 0; ALL_TO(TO) }             \
    extern "C" __global__ void castz_##name(const F* x, void** out, int n) { AT int k = 0; ALL_TO(TOZ) }
EACH(FROM)

#define DIVIDE(name, T) extern "C" __global__ void divide_##name(const T* x, const T* y, T* q, T* r, int n) { AT q[i] = zm_idiv(x[i], y[i]); r[i] = zm_imod(x[i], y[i]); }
EACH_INT(DIVIDE)

#define SHUFFLE(name, T)                                                                        \
    extern "C" __global__ void shuffle_##name(const T* x, T* out) {                             \
        int i = threadIdx.x;                                                                    \
        out[i] = zm_shuffle_xor(x[i], 5);                                                       \
        out[32 + i] = zm_shuffle_up(x[i], 3);                                                   \
        out[64 + i] = zm_shuffle_idx(x[i], 7 - (i & 7));                                        \
        out[96 + i] = zm_shuffle_down(x[i], 2);                                                 \
    }
EACH(SHUFFLE)
extern "C" __global__ void shuffle_pointer(float** x) { x[threadIdx.x] = zm_shuffle_xor(x[threadIdx.x], 1); }

#define ATOMIC(name, T) extern "C" __global__ void atomic_##name(T* cell, const T* x, int n) { AT zm_atomic_add(cell, x[i]); zm_atomic_min(cell + 1, x[i]); zm_atomic_max(cell + 2, x[i]); zm_atomic_xchg(cell + 3, x[i]); }
#define BITS(name, T) extern "C" __global__ void bits_##name(T* cell, const T* x, int n) { AT zm_atomic_and(cell, x[i]); zm_atomic_or(cell + 1, x[i]); zm_atomic_xor(cell + 2, x[i]); }
#define CAS(name, T) extern "C" __global__ void cas_##name(T* cell, T* out) { out[0] = zm_atomic_cas(cell, (T)1, (T)2); out[1] = zm_atomic_cas(cell, (T)1, (T)3); }
EACH_FLOAT(ATOMIC) ATOMIC(i32, int) ATOMIC(i64, long long) ATOMIC(u32, unsigned) ATOMIC(u64, unsigned long long)
BITS(i32, int) BITS(i64, long long) BITS(u32, unsigned) BITS(u64, unsigned long long)
CAS(i32, int) CAS(i64, long long) CAS(u32, unsigned) CAS(u64, unsigned long long) CAS(f32, float) CAS(f64, double)
extern "C" __global__ void bitcasts(const float* x, int* out) { out[0] = zm_bitcast<int>(x[0]); }
