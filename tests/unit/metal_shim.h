// Enough of Metal's library in C++14 to type-check and run metal.h on a host. One lane: shuffles give the lane's own value.
#include <math.h>
#include <stdint.h>
#include <string.h>
#define device
#define constant
#define thread
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
template <class T, class U> T as_type(U x) {
    static_assert(sizeof(T) == sizeof(U), "as_type keeps the width");
    T r;
    memcpy(&r, &x, sizeof r);
    return r;
}
typedef _Float16 half;
struct bfloat16_t {
    ushort bits;
    bfloat16_t() = default;
    explicit bfloat16_t(float x) {
        uint b = as_type<uint>(x);
        bits = x != x ? ushort(b >> 16 | 0x40) : ushort((b + 0x7fff + ((b >> 16) & 1)) >> 16);
    }
    operator float() const { return as_type<float>(uint(bits) << 16); }
};
namespace metal {
template <class T, int N> struct packed_vec { T d[N]; };
#define SHIM(t) typedef packed_vec<t, 2> packed_##t##2; typedef packed_vec<t, 4> packed_##t##4;
SHIM(uchar) SHIM(ushort) SHIM(uint)
#undef SHIM
enum memory_order { memory_order_relaxed };
template <class T> struct atomic { T value; };
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
template <class T> T atomic_load_explicit(const atomic<T>* p, memory_order) { return p->value; }
#define SHIM(name, expression) \
    template <class T> T atomic_##name##_explicit(atomic<T>* p, T v, memory_order) { T old = p->value; p->value = expression; return old; }
SHIM(fetch_add, old + v) SHIM(fetch_min, old < v ? old : v) SHIM(fetch_max, old > v ? old : v) SHIM(fetch_and, old & v)
SHIM(fetch_or, old | v) SHIM(fetch_xor, old ^ v) SHIM(exchange, v)
#undef SHIM
template <class T> bool atomic_compare_exchange_weak_explicit(atomic<T>* p, T* seen, T v, memory_order, memory_order) {
    static bool spurious;  // fails every other time, as it may
    if ((spurious = !spurious) && p->value == *seen) return false;
    bool same = p->value == *seen;
    if (same) p->value = v;
    else *seen = p->value;
    return same;
}
template <class T> T simd_shuffle(T v, ushort) { return v; }
template <class T> T simd_shuffle_xor(T v, ushort) { return v; }
template <class T> T simd_shuffle_up(T v, ushort) { return v; }
template <class T> T simd_shuffle_down(T v, ushort) { return v; }
template <class T> T min(T x, T y) { return x < y ? x : y; }
template <class T> T max(T x, T y) { return x > y ? x : y; }
inline ulong clz(ulong x) { return x ? ulong(__builtin_clzl(x)) : 64ul; }
inline int mulhi(int a, int b) { return int((long(a) * b) >> 32); }
inline uint mulhi(uint a, uint b) { return uint((ulong(a) * b) >> 32); }
inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
inline float copysign(float a, float b) { return copysignf(a, b); }
#define SHIM(name) inline float name(float x) { return name##f(x); }
SHIM(fabs) SHIM(rint) SHIM(floor) SHIM(ceil) SHIM(trunc) SHIM(round)
namespace precise {
SHIM(exp) SHIM(exp2) SHIM(log) SHIM(log2) SHIM(sin) SHIM(cos) SHIM(tan) SHIM(tanh) SHIM(sqrt)
#undef SHIM
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline float pow(float x, float y) { return powf(x, y); }
inline float fmod(float x, float y) { return fmodf(x, y); }
inline float fmin(float x, float y) { return fminf(x, y); }
inline float fmax(float x, float y) { return fmaxf(x, y); }
}  // namespace precise
}  // namespace metal
