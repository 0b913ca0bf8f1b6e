// Functions of scalars, applied to each element of vectors.
#pragma once


#include "traits.h"

namespace zm {

// Operands of one function: their common vector type, or the scalar one.
template <class A, class... R>
struct Lifted {
    using first = std::remove_cvref_t<A>;
    using type = std::conditional_t<Vector<first>, metal::vec<typename Shape<first>::element, Shape<first>::size>, first>;
};
template <class A, class... R>
    requires(!Vector<A> && sizeof...(R) > 0 && (Vector<R> || ...))
struct Lifted<A, R...> : Lifted<R...> {};

template <class F, class A, class... R>
constexpr auto lift(F f, const A& a, const R&... rest) {
    using V = typename Lifted<A, R...>::type;
    if constexpr (Vector<V>) {
        constexpr int n = Shape<V>::size;
        using T = typename Shape<V>::element;
        using Y = decltype(f(std::declval<T>(), std::declval<std::conditional_t<true, T, R>>()...));
        const auto call = [&](int i, const auto&... x) { return f(x.d[i]...); };
        metal::vec<Y, n> r;
        for (int i = 0; i < n; ++i) r.d[i] = call(i, V(plain(a)), V(plain(rest))...);
        return r;
    } else {
        return f(a, rest...);
    }
}

template <class X>
using element_of = typename Shape<std::remove_cvref_t<X>>::element;
template <class X>
concept FloatLike = Float<element_of<X>>;
template <class X>
concept IntegerLike = Integer<element_of<X>>;

// What a function of several floats is computed in: their own type, or float where they differ. Integers count as float, as
// overload resolution in MSL has it.
template <class A, class B>
struct CommonFloat {
    using type = std::conditional_t<std::is_same_v<A, B> && Float<A>, A,
                                    std::conditional_t<Float<A> && Integer<B>, A, std::conditional_t<Float<B> && Integer<A>, B, float>>>;
};
template <class A, class B>
using common_float = typename CommonFloat<A, B>::type;

// float operations give a half or bfloat that is rounded once.
template <class T>
constexpr T rounded(float x) { return T(x); }

}  // namespace zm
