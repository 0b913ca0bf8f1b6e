// What generated CUDA C++ needs of a device, on a host: a thread of the host is a thread of a program, and they meet at
// barriers and at exchanges between lanes. Slow, and without the device's memory ordering; for tests of the text.
#pragma once
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#include <atomic>
#include <limits>
#include <algorithm>
using std::min; using std::max;
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __restrict__
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
struct Index { unsigned x, y, z; };
static thread_local Index threadIdx, blockIdx;
static Index gridDim, blockDim;
static std::barrier<>* block_barrier; static std::vector<std::barrier<>*> warp_barrier;
static unsigned said[1024];
static void __syncthreads() { block_barrier->arrive_and_wait(); }
static void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
template <class F> static unsigned exchange(unsigned mine, F answer) {
    said[threadIdx.x] = mine; auto* b = warp_barrier[threadIdx.x / 32];
    b->arrive_and_wait(); unsigned r = answer(threadIdx.x / 32 * 32, threadIdx.x % 32); b->arrive_and_wait(); return r;
}
static void __syncwarp() { warp_barrier[threadIdx.x / 32]->arrive_and_wait(); }
static unsigned __ballot_sync(unsigned, bool p) { return exchange(p, [](int b, int l) { unsigned a = 0; for (int i = 0; i < 32; ++i) a |= said[b + i] << i; return a; }); }
static bool __any_sync(unsigned every, bool p) { return __ballot_sync(every, p) != 0; }
static unsigned __shfl_up_sync(unsigned, unsigned v, unsigned by) { return exchange(v, [=](int b, int l) { return l >= (int)by ? said[b + l - by] : v; }); }
static unsigned __shfl_down_sync(unsigned, unsigned v, unsigned by) { return exchange(v, [=](int b, int l) { return l + by < 32 ? said[b + l + by] : v; }); }
static unsigned __shfl_xor_sync(unsigned, unsigned v, int m) { return exchange(v, [=](int b, int l) { return said[b + (l ^ m)]; }); }
static unsigned __shfl_sync(unsigned, unsigned v, int i) { return exchange(v, [=](int b, int l) { return said[b + (i & 31)]; }); }
template <class T, class F> static T reduced(T v, F f) { return (T)exchange((unsigned)v, [=](int b, int l) { T r = (T)said[b]; for (int i = 1; i < 32; ++i) r = f(r, (T)said[b + i]); return (unsigned)r; }); }
static unsigned __reduce_add_sync(unsigned, unsigned v) { return reduced(v, [](unsigned a, unsigned b) { return a + b; }); }
static unsigned __reduce_and_sync(unsigned, unsigned v) { return reduced(v, [](unsigned a, unsigned b) { return a & b; }); }
static unsigned __reduce_or_sync(unsigned, unsigned v) { return reduced(v, [](unsigned a, unsigned b) { return a | b; }); }
static unsigned __reduce_xor_sync(unsigned, unsigned v) { return reduced(v, [](unsigned a, unsigned b) { return a ^ b; }); }
template <class T> static T __reduce_min_sync(unsigned, T v) { return reduced(v, [](T a, T b) { return a < b ? a : b; }); }
template <class T> static T __reduce_max_sync(unsigned, T v) { return reduced(v, [](T a, T b) { return a > b ? a : b; }); }
// Accesses that were said to be aligned, and are not.
static std::atomic<int> misaligned;
static bool said_aligned(const void* p, bool aligned, int bytes) { if (aligned && (uintptr_t)p % bytes) ++misaligned; return aligned; }
static unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) { return unsigned((uint64_t(high) << 32 | low) >> (by & 31)); }
template <class T, class U> static T bitc(U x) { T r; memcpy(&r, &x, sizeof r); return r; }
static float __uint_as_float(unsigned x) { return bitc<float>(x); }
static float __int_as_float(int x) { return bitc<float>(x); }
static unsigned __float_as_uint(float x) { return bitc<unsigned>(x); }
static int __float_as_int(float x) { return bitc<int>(x); }
static float rz(long double x) { float f = (float)x; if (std::isfinite(f) && fabsl((long double)f) > fabsl(x)) f = nextafterf(f, 0); else if (std::isinf(f) && std::isfinite((double)x)) f = copysignf(3.402823466e38f, f); return f; }
static float __double2float_rz(double x) { return x != x ? NAN : std::isinf(x) ? (float)x : rz(x); }
static float __int2float_rz(int x) { return rz(x); } static float __uint2float_rz(unsigned x) { return rz(x); }
static float __ll2float_rz(long long x) { return rz(x); } static float __ull2float_rz(unsigned long long x) { return rz(x); }
template <class T, class F> static T sat(F x) { if (x != x) return 0; long double v = truncl((long double)x); long double lo = std::numeric_limits<T>::min(), hi = std::numeric_limits<T>::max(); return v < lo ? std::numeric_limits<T>::min() : v > hi ? std::numeric_limits<T>::max() : (T)v; }
static int __float2int_rz(float x) { return sat<int>(x); } static unsigned __float2uint_rz(float x) { return sat<unsigned>(x); }
static long long __float2ll_rz(float x) { return sat<long long>(x); } static unsigned long long __float2ull_rz(float x) { return sat<unsigned long long>(x); }
static int __double2int_rz(double x) { return sat<int>(x); } static unsigned __double2uint_rz(double x) { return sat<unsigned>(x); }
static long long __double2ll_rz(double x) { return sat<long long>(x); } static unsigned long long __double2ull_rz(double x) { return sat<unsigned long long>(x); }
static unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t(a) * b) >> 32; }
static int __mulhi(int a, int b) { return (int64_t(a) * b) >> 32; }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)((unsigned __int128)a * b >> 64); }
static long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
static float rsqrtf(float x) { return 1.0f / sqrtf(x); } static double rsqrt(double x) { return 1.0 / sqrt(x); }
// half formats
static unsigned short narrow(long double x, int mant, int bias, int emaxfield, bool trunc_) {
    unsigned sign = std::signbit(x) ? 0x8000u : 0; 
    if (x != x) return 0x7fff;
    long double a = fabsl(x); unsigned inf = emaxfield << mant;
    if (std::isinf((double)a) && std::isinf(a)) return sign | inf;
    if (a == 0) return sign;
    int e; frexpl(a, &e); e -= 1; int low = 1 - bias; int q = (e < low ? low : e) - mant;
    long double n = a / ldexpl(1, q); long double f = floorl(n), d = n - f;
    if (!trunc_ && (d > 0.5L || (d == 0.5L && fmodl(f, 2) == 1))) f += 1;
    long double v = f * ldexpl(1, q); 
    if (v == 0) return sign;
    frexpl(v, &e); e -= 1;
    if (e + bias >= emaxfield) return sign | (trunc_ ? inf - 1 : inf);
    if (e < low) return sign | (unsigned)(v / ldexpl(1, low - mant));
    return sign | ((unsigned)(e + bias) << mant) | ((unsigned)(v / ldexpl(1, e - mant)) & ((1u << mant) - 1));
}
template <class F> static unsigned short zm_narrow(const char* how, F x) {
    const bool t = strstr(how, ".rz.") != nullptr;
    return strstr(how, ".bf16.") ? narrow((long double)x, 7, 127, 255, t) : narrow((long double)x, 10, 15, 31, t);
}
static float half_value(unsigned short h) { int e = h >> 10 & 31, m = h & 1023; float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf(1024 + m, e - 25) : ldexpf(m, -24); return h & 0x8000 ? -v : v; }
#define AT(name, expr) template <class T, class U> static T name(T* p, U v_) { T v = (T)v_; T old = __atomic_load_n((T*)p, 5), next; do { T o = old; (void)o; next = expr; } while (!__atomic_compare_exchange(p, &old, &next, false, 5, 5)); return old; }
AT(atomicMin, (old < v ? old : v)) AT(atomicMax, (old > v ? old : v)) AT(atomicAnd, (old & v)) AT(atomicOr, (old | v)) AT(atomicXor, (old ^ v)) AT(atomicExch, v)
template <class U> static float atomicAdd(float* p, U v) { unsigned* w = (unsigned*)p; unsigned old = __atomic_load_n(w, 5), next; do next = bitc<unsigned>(bitc<float>(old) + (float)v); while (!__atomic_compare_exchange_n(w, &old, next, false, 5, 5)); return bitc<float>(old); }
template <class U> static double atomicAdd(double* p, U v) { uint64_t* w = (uint64_t*)p; uint64_t old = __atomic_load_n(w, 5), next; do next = bitc<uint64_t>(bitc<double>(old) + (double)v); while (!__atomic_compare_exchange_n(w, &old, next, false, 5, 5)); return bitc<double>(old); }
template <class T, class U> static T atomicAdd(T* p, U v) { return __atomic_fetch_add(p, (T)v, 5); }
template <class T, class U, class V> static T atomicCAS(T* p, U c, V v) { T old = (T)c; __atomic_compare_exchange_n(p, &old, (T)v, false, 5, 5); return old; }
static unsigned short half_add(unsigned short* p, unsigned short v) { unsigned short old = __atomic_load_n(p, 5), next; do next = zm_narrow("cvt.rn.f16.f32", half_value(old) + half_value(v)); while (!__atomic_compare_exchange_n(p, &old, next, false, 5, 5)); return old; }
template <class K> static void launch(int threads, Index grid, K kernel) {
    gridDim = grid; blockDim = {(unsigned)threads, 1, 1};
    for (unsigned z = 0; z < grid.z; ++z) for (unsigned y = 0; y < grid.y; ++y) for (unsigned x = 0; x < grid.x; ++x) {
        std::barrier<> all(threads); block_barrier = &all; warp_barrier.clear();
        for (int i = 0; i < threads / 32; ++i) warp_barrier.push_back(new std::barrier<>(32));
        std::vector<std::thread> ts;
        for (int t = 0; t < threads; ++t) ts.emplace_back([=] { threadIdx = {(unsigned)t, 0, 0}; blockIdx = {x, y, z}; kernel(); });
        for (auto& t : ts) t.join();
    }
}
