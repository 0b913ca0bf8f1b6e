// Vectors of the widest registers that the compiler may use, as GCC's vector extensions (clang and every architecture have them).
#ifndef ZM_HOST_VECTOR_H
#define ZM_HOST_VECTOR_H
#include "host.h"

#if defined(__AVX512F__)
#define ZM_VECTOR_BYTES 64
#define ZM_VECTOR_REGISTERS 32
#elif defined(__AVX2__)
#define ZM_VECTOR_BYTES 32
#define ZM_VECTOR_REGISTERS 16
#elif defined(__aarch64__)
#define ZM_VECTOR_BYTES 16
#define ZM_VECTOR_REGISTERS 32
#else
#define ZM_VECTOR_BYTES 16
#define ZM_VECTOR_REGISTERS 16
#endif

template <class T, int W> struct zm_vec_of { typedef T type __attribute__((vector_size(sizeof(T) * W))); };
template <class T, int W> using zm_vec = typename zm_vec_of<T, W>::type;
template <class V, class T> ZM_FN V zm_vload(const T* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}
template <class V, class T> ZM_FN void zm_vstore(T* p, const V& v) { __builtin_memcpy(p, &v, sizeof v); }

template <class T, T... I> struct zm_ints {};
#if __has_builtin(__make_integer_seq)
template <int N> using zm_count = __make_integer_seq<zm_ints, int, N>;
#else
template <int N> using zm_count = zm_ints<int, __integer_pack(N)...>;
#endif

// a·b + c, rounded as zm_mad does. -ffp-contract=off keeps compilers from fusing the operators: widths that have an
// instruction ask for it by name below.
template <class T, class V> ZM_FN V zm_vmad(V a, V b, V c) {
    if constexpr (!zm_is_float<T>) {
        return a * b + c;
    } else if constexpr (sizeof(V) == sizeof(T)) {
        return zm_mad(a, b, c);
    } else {
        V r;
        for (int i = 0; i < (int)(sizeof(V) / sizeof(T)); ++i) r[i] = zm_mad(a[i], b[i], c[i]);
        return r;
    }
}
#if defined(__GNUC__) && !defined(__clang__)
#define ZM_VMAD(T, W, call) \
    template <> inline __attribute__((always_inline)) zm_vec<T, W> zm_vmad<T>(zm_vec<T, W> a, zm_vec<T, W> b, zm_vec<T, W> c) { return call; }
#if defined(__AVX512F__)
ZM_VMAD(float, 16, __builtin_ia32_vfmaddps512_mask(a, b, c, (uint16_t)-1, 4))
ZM_VMAD(double, 8, __builtin_ia32_vfmaddpd512_mask(a, b, c, (uint8_t)-1, 4))
#endif
#if defined(__FMA__)
ZM_VMAD(float, 8, __builtin_ia32_vfmaddps256(a, b, c))
ZM_VMAD(double, 4, __builtin_ia32_vfmaddpd256(a, b, c))
ZM_VMAD(float, 4, __builtin_ia32_vfmaddps(a, b, c))
ZM_VMAD(double, 2, __builtin_ia32_vfmaddpd(a, b, c))
#elif defined(__aarch64__)
ZM_VMAD(float, 4, __builtin_aarch64_fmav4sf(a, b, c))
ZM_VMAD(double, 2, __builtin_aarch64_fmav2df(a, b, c))
#endif
#undef ZM_VMAD
#endif
#endif
