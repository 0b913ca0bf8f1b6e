// Declarations of MSL's library for clang's C++ with its attributes for address spaces. Nothing here runs: what matters is
// which space each pointer and reference has, so functions of values are as wide as can be.
#pragma once

#define device __attribute__((opencl_global))
#define threadgroup __attribute__((opencl_local))
#define constant __attribute__((opencl_constant)) const
#define thread __attribute__(())  // clang's own space of variables; empty, so that declarations' extents hold it
#define kernel
#define METAL_FUNC inline
#define METAL_CONST
#define __METAL__ 1
#define __METAL_VERSION__ 320
#define __METAL_MACOS__ 1
#define __HAVE_BFLOAT__ 1
#define __METAL_MAYBE_FAST_MATH__ false
#define __METAL_FAST_MATH__ true
#define __METAL_PRECISE_MATH__ false
#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define FLT_MAX 0x1.fffffep127f
#define FLT_MIN 0x1.0p-126f
#define FLT_EPSILON 0x1.0p-23f
#define MAXFLOAT FLT_MAX
#define HALF_MAX half(65504.0f)
#define MAXHALF HALF_MAX
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 0xffffffffu
#define M_PI_F 3.14159265f
#define M_LN2_F 0.69314718f
#define M_LN10_F 2.30258509f
#define M_LOG2E_F 1.44269504f
#define M_LOG10E_F 0.43429448f
#define M_E_F 2.71828182f
#define M_SQRT2_F 1.41421356f
#define M_SQRT1_2_F 0.70710678f
#define M_1_PI_F 0.31830988f
#define M_2_PI_F 0.63661977f
#define M_2_SQRTPI_F 1.12837916f
#define M_PI_2_F 1.57079632f
#define M_PI_4_F 0.78539816f

// What a class gets so that its objects can be copied between spaces, as in Metal.
#define ZM_ASSIGNED_IN(C, space)                 \
    space C& operator=(this space C&, const C&); \
    space C& operator=(this space C&, const device C&); \
    space C& operator=(this space C&, const threadgroup C&); \
    space C& operator=(this space C&, constant C&);
#define ZM_ASSIGNED(C)                   \
    C& operator=(const C&) = default; \
    C& operator=(const device C&);       \
    C& operator=(const threadgroup C&);  \
    C& operator=(constant C&);           \
    ZM_ASSIGNED_IN(C, device)            \
    ZM_ASSIGNED_IN(C, threadgroup)
#define ZM_COPIED(C)            \
    C(const C&) = default; \
    C(const device C&);         \
    C(const threadgroup C&);    \
    C(constant C&);

typedef _Float16 half;
typedef __bf16 bfloat;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef ulong uintptr_t;
typedef long intptr_t;

#include "traits.h"
#include "types.h"
#include "library.h"

namespace zm {
template <class T, class Tag>
threadgroup T& threadgroup_variable(Tag, const char*) {
    return *(threadgroup T*)0;
}
template <int Index, class T>
constexpr T function_constant = T();
template <int Index>
constexpr bool function_constant_defined = false;

// A cast to a pointer: the space stays. Numbers have none.
template <class To, class From>
    requires(!__is_pointer(From) || space_of<__remove_pointer(From)> == space_of<__remove_pointer(To)>)
To cast(From);
// A vector from scalars and vectors.
template <class V, class... A>
constexpr V make(A...);
}  // namespace zm
