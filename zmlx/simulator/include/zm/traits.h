// <metal_type_traits>, <metal_limits>, <metal_array>, as_type.
#pragma once

#include "packed.h"

// MLX defines is_empty, void_t, make_void, is_static and pointer_element in this namespace itself.
namespace metal {

using std::add_const_t;
using std::add_lvalue_reference_t;
using std::bool_constant;
using std::common_type;
using std::common_type_t;
using std::conditional;
using std::conditional_t;
using std::decay;
using std::decay_t;
using std::declval;
using std::enable_if;
using std::enable_if_t;
using std::extent;
using std::extent_v;
using std::false_type;
using std::forward;
using std::index_sequence;
using std::integer_sequence;
using std::integral_constant;
using std::is_array;
using std::is_array_v;
using std::is_base_of;
using std::is_base_of_v;
using std::is_class;
using std::is_class_v;
using std::is_const;
using std::is_const_v;
using std::is_constructible;
using std::is_constructible_v;
using std::is_convertible;
using std::is_convertible_v;
using std::is_enum;
using std::is_enum_v;
using std::is_integral;
using std::is_integral_v;
using std::is_lvalue_reference;
using std::is_pointer;
using std::is_pointer_v;
using std::is_reference;
using std::is_reference_v;
using std::is_same;
using std::is_same_v;
using std::is_trivially_copyable;
using std::is_trivially_copyable_v;
using std::is_union;
using std::is_unsigned;
using std::is_unsigned_v;
using std::is_void;
using std::is_void_v;
using std::make_index_sequence;
using std::make_signed;
using std::make_signed_t;
using std::make_unsigned;
using std::make_unsigned_t;
using std::move;
using std::rank;
using std::rank_v;
using std::remove_const;
using std::remove_const_t;
using std::remove_cv;
using std::remove_cv_t;
using std::remove_extent_t;
using std::remove_pointer;
using std::remove_pointer_t;
using std::remove_reference;
using std::remove_reference_t;
using std::swap;
using std::true_type;
using std::underlying_type_t;

template <class... B>
using _disjunction = std::disjunction<B...>;
template <class... B>
using _conjunction = std::conjunction<B...>;
using std::conjunction;
using std::conjunction_v;
using std::disjunction;
using std::disjunction_v;
using std::negation;
using std::negation_v;

template <class T>
struct is_floating_point : bool_constant<zm::Float<remove_cv_t<T>>> {};
template <class T>
constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <class T>
struct is_arithmetic : bool_constant<std::is_arithmetic_v<T> || zm::Float<remove_cv_t<T>>> {};
template <class T>
constexpr bool is_arithmetic_v = is_arithmetic<T>::value;
template <class T>
struct is_scalar : bool_constant<std::is_scalar_v<T> || zm::Float<remove_cv_t<T>>> {};
template <class T>
constexpr bool is_scalar_v = is_scalar<T>::value;
template <class T>
struct is_signed : bool_constant<std::is_signed_v<T> || zm::Float<remove_cv_t<T>>> {};
template <class T>
constexpr bool is_signed_v = is_signed<T>::value;
template <class T>
struct is_vector : bool_constant<zm::Vector<T>> {};
template <class T>
constexpr bool is_vector_v = is_vector<T>::value;
template <class T>
struct make_scalar {
    using type = typename zm::Shape<T>::element;
};
template <class T>
using make_scalar_t = typename make_scalar<T>::type;
template <class T>
constexpr int vec_elements_v = zm::Shape<T>::size;

// Address spaces are not types here.
template <class T>
struct remove_addrspace {
    using type = T;
};
template <class T>
using remove_addrspace_t = T;
template <class T>
using remove_address_space_t = T;
template <class T>
using uniform = T;
template <class T>
constexpr T make_uniform(T t) { return t; }

template <class T, size_t N>
struct array {
    T elements[N];
    constexpr T& operator[](size_t i) { return elements[i]; }
    constexpr const T& operator[](size_t i) const { return elements[i]; }
    constexpr size_t size() const { return N; }
    constexpr bool empty() const { return N == 0; }
    constexpr T* data() { return elements; }
    constexpr T* begin() { return elements; }
    constexpr T* end() { return elements + N; }
    constexpr const T* begin() const { return elements; }
    constexpr const T* end() const { return elements + N; }
    constexpr const T* data() const { return elements; }
};

template <class T>
struct numeric_limits : std::numeric_limits<T> {};
template <>
struct numeric_limits<half> {
    static constexpr bool is_specialized = true, is_signed = true, is_integer = false, has_infinity = true, has_quiet_NaN = true;
    static constexpr int digits = 11, digits10 = 3, max_digits10 = 5, radix = 2, min_exponent = -13, max_exponent = 16;
    static constexpr half min() { return half(6.103515625e-05f); }
    static constexpr half max() { return half(65504.0f); }
    static constexpr half lowest() { return half(-65504.0f); }
    static constexpr half epsilon() { return half(0.0009765625f); }
    static constexpr half denorm_min() { return half(5.9604644775390625e-08f); }
    static constexpr half infinity() { return half(__builtin_inff()); }
    static constexpr half quiet_NaN() { return half(__builtin_nanf("")); }
};
template <>
struct numeric_limits<bfloat> {
    static constexpr bool is_specialized = true, is_signed = true, is_integer = false, has_infinity = true, has_quiet_NaN = true;
    static constexpr int digits = 8, digits10 = 2, max_digits10 = 4, radix = 2, min_exponent = -125, max_exponent = 128;
    static constexpr bfloat min() { return bfloat::from_bits(0x0080); }
    static constexpr bfloat max() { return bfloat::from_bits(0x7f7f); }
    static constexpr bfloat lowest() { return bfloat::from_bits(0xff7f); }
    static constexpr bfloat epsilon() { return bfloat::from_bits(0x3c00); }
    static constexpr bfloat denorm_min() { return bfloat::from_bits(0x0001); }
    static constexpr bfloat infinity() { return bfloat::from_bits(0x7f80); }
    static constexpr bfloat quiet_NaN() { return bfloat::from_bits(0x7fc0); }
};

template <class To, class From>
constexpr To as_type(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "as_type needs two types of one size");
    if constexpr (std::is_trivially_copyable_v<To> && std::is_trivially_copyable_v<From>) {
        return __builtin_bit_cast(To, from);
    } else {
        To to;
        __builtin_memcpy(&to, &from, sizeof to);
        return to;
    }
}

}  // namespace metal
