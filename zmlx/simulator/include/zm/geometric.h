// <metal_geometric>: precise and fast forms are the same function.
#pragma once

#include "integer.h"

namespace metal {

template <class A, class B>
    requires zm::Alike<A, B>
constexpr auto dot(const A& a, const B& b) {
    using T = zm::element_of<A>;
    T r = T(a[0] * b[0]);
    for (int i = 1; i < zm::Shape<A>::size; ++i) r = T(r + T(a[i] * b[i]));
    return r;
}
template <class A, class B>
    requires(zm::Alike<A, B> && zm::Shape<A>::size == 3)
constexpr zm::value_of<A> cross(const A& a, const B& b) {
    using T = zm::element_of<A>;
    const auto minor = [&](int i, int j) { return T(T(a[i] * b[j]) - T(a[j] * b[i])); };
    return zm::value_of<A>(minor(1, 2), minor(2, 0), minor(0, 1));
}
#define ZM_GEOMETRY                                                                                              \
    template <zm::Vector A>                                                                                      \
    constexpr auto length_squared(const A& a) { return metal::dot(a, a); }                                       \
    template <zm::Vector A>                                                                                      \
    constexpr auto length(const A& a) { return metal::sqrt(metal::dot(a, a)); }                                  \
    template <class A, class B>                                                                                  \
        requires zm::Alike<A, B>                                                                                 \
    constexpr auto distance_squared(const A& a, const B& b) { return metal::dot(a - b, a - b); }                 \
    template <class A, class B>                                                                                  \
        requires zm::Alike<A, B>                                                                                 \
    constexpr auto distance(const A& a, const B& b) { return metal::sqrt(metal::dot(a - b, a - b)); }            \
    template <zm::Vector A>                                                                                      \
    constexpr zm::value_of<A> normalize(const A& a) { return a * metal::rsqrt(metal::dot(a, a)); }
ZM_GEOMETRY
namespace fast {
ZM_GEOMETRY
}
namespace precise {
ZM_GEOMETRY
}
#undef ZM_GEOMETRY
template <class A, class B>
    requires zm::Alike<A, B>
constexpr zm::value_of<A> reflect(const A& i, const B& n) {
    using T = zm::element_of<A>;
    return i - n * T(T(2) * dot(n, i));
}
template <class A, class B>
    requires zm::Alike<A, B>
constexpr zm::value_of<A> refract(const A& i, const B& n, zm::element_of<A> eta) {
    using T = zm::element_of<A>;
    const T cosine = dot(n, i), k = T(T(1) - eta * eta * (T(1) - cosine * cosine));
    if (k < T(0)) return T(0);
    return eta * i - T(eta * cosine + sqrt(k)) * n;
}
template <class A, class B, class C>
    requires(zm::Alike<A, B> && zm::Alike<A, C>)
constexpr zm::value_of<A> faceforward(const A& n, const B& i, const C& r) { return dot(r, i) < zm::element_of<A>(0) ? zm::value_of<A>(n) : -n; }

}  // namespace metal
