// Packed vectors: the elements of a vector in an array's room and alignment.
#pragma once

#include "vector.h"

namespace metal {

#define ZM_PACKED(N)                                                                        \
    template <class T>                                                                      \
    struct packed_vec<T, N> {                                                               \
        union {                                                                             \
            T d[N];                                                                         \
            ZM_SWIZZLES_##N                                                                 \
        };                                                                                  \
        constexpr packed_vec() = default;                                                   \
        constexpr packed_vec(const packed_vec&) = default;                                  \
        constexpr packed_vec& operator=(const packed_vec& o) {                              \
            for (int i = 0; i < N; ++i) d[i] = o.d[i];                                      \
            return *this;                                                                   \
        }                                                                                   \
        constexpr packed_vec(const vec<T, N>& v) : d{} {                                    \
            for (int i = 0; i < N; ++i) d[i] = v.d[i];                                      \
        }                                                                                   \
        template <class... A>                                                               \
            requires std::is_constructible_v<vec<T, N>, const A&...>                        \
        constexpr packed_vec(const A&... a) : packed_vec(vec<T, N>(a...)) {}                \
        constexpr operator vec<T, N>() const {                                              \
            vec<T, N> r;                                                                    \
            for (int i = 0; i < N; ++i) r.d[i] = d[i];                                      \
            return r;                                                                       \
        }                                                                                   \
        constexpr T& operator[](int i) { return d[i]; }                                     \
        constexpr const T& operator[](int i) const { return d[i]; }                         \
    };
ZM_PACKED(2)
ZM_PACKED(3)
ZM_PACKED(4)
#undef ZM_PACKED

}  // namespace metal
