// Type traits.
#pragma once

namespace zm {
enum class Space { thread_, device_, threadgroup_, constant_ };
template <class T>
constexpr Space space_of = Space::thread_;
template <class T>
constexpr Space space_of<device T> = Space::device_;
template <class T>
constexpr Space space_of<threadgroup T> = Space::threadgroup_;
template <class T>
constexpr Space space_of<constant T> = Space::constant_;
// What a function template's parameter may be: Metal deduces no address spaces.
template <class T>
concept Plain = space_of<T> == Space::thread_;
}  // namespace zm

namespace metal {

template <class T, T V>
struct integral_constant {
    static constexpr T value = V;
    typedef T value_type;
    typedef integral_constant type;
    constexpr operator T() const { return V; }
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;
template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
    typedef T type;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F>
struct conditional {
    typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
    typedef F type;
};
template <bool B, class T, class F>
using conditional_t = typename conditional<B, T, F>::type;
template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <class A, class B>
constexpr bool is_same_v = __is_same(A, B);
#define ZM_TRANSFORM(name, builtin)                  \
    template <class T>                               \
    struct name {                                    \
        typedef builtin(T) type;                     \
    };                                               \
    template <class T>                               \
    using name##_t = builtin(T);
ZM_TRANSFORM(remove_cv, __remove_cv)
ZM_TRANSFORM(remove_const, __remove_const)
ZM_TRANSFORM(remove_reference, __remove_reference_t)
ZM_TRANSFORM(remove_pointer, __remove_pointer)
ZM_TRANSFORM(decay, __decay)
ZM_TRANSFORM(remove_extent, __remove_extent)
ZM_TRANSFORM(make_unsigned, __make_unsigned)
ZM_TRANSFORM(make_signed, __make_signed)
#undef ZM_TRANSFORM
template <class T>
struct remove_addrspace {
    typedef T type;
};
template <class T>
struct remove_addrspace<device T> : remove_addrspace<T> {};
template <class T>
struct remove_addrspace<threadgroup T> : remove_addrspace<T> {};
template <class T>
struct remove_addrspace<constant T> : remove_addrspace<T> {};
template <class T>
using remove_addrspace_t = typename remove_addrspace<T>::type;
#define ZM_TRAIT(name, expression)                                  \
    template <class T>                                              \
    struct name : bool_constant<bool(expression)> {};               \
    template <class T>                                              \
    constexpr bool name##_v = bool(expression);
ZM_TRAIT(is_integral, __is_integral(T))
ZM_TRAIT(is_floating_point, __is_floating_point(T) || __is_same(__remove_cv(T), bfloat) || __is_same(__remove_cv(T), half))
ZM_TRAIT(is_arithmetic, __is_arithmetic(T) || __is_same(__remove_cv(T), bfloat) || __is_same(__remove_cv(T), half))
ZM_TRAIT(is_scalar, __is_scalar(T))
ZM_TRAIT(is_signed, __is_signed(T))
ZM_TRAIT(is_unsigned, __is_unsigned(T))
ZM_TRAIT(is_pointer, __is_pointer(T))
ZM_TRAIT(is_array, __is_array(T))
ZM_TRAIT(is_class, __is_class(T))
ZM_TRAIT(is_union, __is_union(T))
ZM_TRAIT(is_enum, __is_enum(T))
ZM_TRAIT(is_void, __is_void(T))
ZM_TRAIT(is_const, __is_const(T))
ZM_TRAIT(is_reference, __is_reference(T))
ZM_TRAIT(is_lvalue_reference, __is_lvalue_reference(T))
ZM_TRAIT(is_trivially_copyable, __is_trivially_copyable(T))
#undef ZM_TRAIT
template <class A, class B>
struct is_convertible : bool_constant<__is_convertible(A, B)> {};
template <class A, class B>
constexpr bool is_convertible_v = __is_convertible(A, B);
template <class A, class B>
struct is_base_of : bool_constant<__is_base_of(A, B)> {};
template <class... B>
struct _disjunction : bool_constant<(false || ... || B::value)> {};
template <class... B>
struct _conjunction : bool_constant<(true && ... && B::value)> {};
template <class... B>
using disjunction = _disjunction<B...>;
template <class... B>
using conjunction = _conjunction<B...>;
template <class T>
struct rank : integral_constant<size_t, __array_rank(T)> {};
template <class T>
T&& declval();

}  // namespace metal
