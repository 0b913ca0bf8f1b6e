// What Metal Shading Language gives a kernel, for a C++ compiler. Address spaces and attributes are gone from the text by then.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <type_traits>
#include <utility>

#include "matrix.h"
#include "pack.h"
#include "simdgroup_matrix.h"

#define __METAL__ 1
#define __METAL_VERSION__ 320
#define __METAL_MACOS__ 1
#define __HAVE_BFLOAT__ 1
// fast math is never less exact here; MLX's own functions ask for these.
#define __METAL_MAYBE_FAST_MATH__ false
#define __METAL_FAST_MATH__ true
#define __METAL_PRECISE_MATH__ false
#define METAL_FUNC inline __attribute__((always_inline))
#define METAL_CONST __attribute__((const))
#define MAXHALF half(65504.0f)

namespace zm {

ZM_UNCHECKED inline uint32_t next_declaration() {
    static uint32_t count = 0;
    return __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
}
// `Tag` is a type of its own for each declaration and instantiation.
template <class Tag>
inline const uint32_t declaration = next_declaration();
// 16 bytes of alignment at least: MLX casts arrays of half to vectors.
template <class T, class Tag>
ZM_UNCHECKED inline T& threadgroup_variable(Tag, const char* name, ZM_SITE) {
    return *static_cast<T*>(threadgroup_memory(declaration<Tag>, sizeof(T), alignof(T) < 16 ? 16 : alignof(T), name, zm_site));
}
template <int Index, class T>
inline constexpr T function_constant = T{};
template <int Index>
inline constexpr bool function_constant_defined = false;

}  // namespace zm

namespace metal {

struct os_log {
    constexpr os_log(const char*, const char*) {}
    template <class... A>
    void log(const char* format, A... a) const { write(format, a...); }
    template <class... A>
    void log_debug(const char* format, A... a) const { write(format, a...); }
    template <class... A>
    void log_info(const char* format, A... a) const { write(format, a...); }
    template <class... A>
    void log_error(const char* format, A... a) const { write(format, a...); }
    template <class... A>
    void log_fault(const char* format, A... a) const { write(format, a...); }

  private:
    // As C passes it to a function of variable arguments.
    template <class T>
    static constexpr auto passed(T x) {
        static_assert(zm::Scalar<T> || std::is_pointer_v<T>, "os_log writes numbers; write a vector's elements one by one");
        if constexpr (zm::Float<T>)
            return double(float(x));
        else
            return x;
    }
    template <class... A>
    ZM_UNCHECKED static void write(const char* format, A... a) {
        char text[1024];
        std::snprintf(text, sizeof text, format, passed(a)...);
        zm::log(text);
    }
};
inline constexpr os_log os_log_default("", "");

}  // namespace metal

// Names of types that are there without `using namespace metal`.
#define ZM_NAMES(t)                                                                                           \
    using metal::t##2; using metal::t##3; using metal::t##4;                                                  \
    using metal::packed_##t##2; using metal::packed_##t##3; using metal::packed_##t##4;
ZM_NAMES(float) ZM_NAMES(half) ZM_NAMES(bfloat) ZM_NAMES(bool) ZM_NAMES(char) ZM_NAMES(uchar) ZM_NAMES(short) ZM_NAMES(ushort)
ZM_NAMES(int) ZM_NAMES(uint) ZM_NAMES(long) ZM_NAMES(ulong)
#undef ZM_NAMES
#define ZM_NAMES(t)                                                                                           \
    using metal::t##2x2; using metal::t##2x3; using metal::t##2x4; using metal::t##3x2; using metal::t##3x3;  \
    using metal::t##3x4; using metal::t##4x2; using metal::t##4x3; using metal::t##4x4;
ZM_NAMES(float) ZM_NAMES(half) ZM_NAMES(bfloat)
#undef ZM_NAMES
using metal::as_type;
using metal::vec;
