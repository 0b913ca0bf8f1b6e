// <metal_simdgroup>, <metal_compute>: what lanes of a simdgroup do together, and barriers.
#pragma once

#include "integer.h"
#include "runtime.h"

namespace metal {

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4, mem_threadgroup_imageblock = 8, mem_object_data = 16 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
constexpr mem_flags operator&(mem_flags a, mem_flags b) { return mem_flags(uint(a) & uint(b)); }
enum thread_scope { thread_scope_thread, thread_scope_simdgroup, thread_scope_threadgroup, thread_scope_device, thread_scope_system };

inline void threadgroup_barrier(mem_flags flags, ZM_SITE) { zm::threadgroup_barrier(uint(flags), zm_site); }
inline void simdgroup_barrier(mem_flags flags, ZM_SITE) { zm::simdgroup_barrier(uint(flags), zm_site); }
// Memory is ordered for all threads that a barrier holds up: a wider scope asks for no more than that here.
inline void threadgroup_barrier(mem_flags flags, thread_scope, ZM_SITE) { zm::threadgroup_barrier(uint(flags), zm_site); }
inline void simdgroup_barrier(mem_flags flags, thread_scope, ZM_SITE) { zm::simdgroup_barrier(uint(flags), zm_site); }

}  // namespace metal

namespace zm {

// What lanes may give each other.
template <class T>
concept Shared = Scalar<T> || Vector<T>;
// What Metal reduces: no bool, nothing of 64 bits.
template <class T>
concept Reduced = Shared<T> && !std::is_same_v<element_of<T>, bool> && sizeof(element_of<T>) <= 4;
template <class T>
concept ReducedInteger = Reduced<T> && IntegerLike<T>;

// What a lane brings to a collective and takes from it.
template <class T>
struct Slot {
    T in, out;
    uint32_t extra;
};

template <class Op, class T>
ZM_UNCHECKED void combine(void** slots, uint32_t mask) {
    Op::run(reinterpret_cast<Slot<T>**>(slots), mask);
}
template <class Op, class T>
ZM_UNCHECKED __attribute__((noinline)) T collect(T value, uint32_t extra, const char* name, Site site) {
    Slot<T> slot{value, value, extra};
    collective(&slot, combine<Op, T>, name, site);
    return slot.out;
}

// for each lane of a mask, lowest first
#define ZM_LANES(l, mask) for (uint32_t zm_left = mask, l; zm_left && (l = uint32_t(__builtin_ctz(zm_left)), true); zm_left &= zm_left - 1)

struct Add {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return T(a + b); }
};
struct Multiply {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return T(a * b); }
};
struct Lesser {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return metal::min(a, b); }
};
struct Greater {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return metal::max(a, b); }
};
struct And {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return T(a & b); }
};
struct Or {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return T(a | b); }
};
struct Xor {
    template <class T>
    ZM_UNCHECKED static T call(T a, T b) { return T(a ^ b); }
};

// One result for all lanes; for each group of `Width` lanes where that is less than a simdgroup.
template <class F, uint32_t Width = 32>
struct Reduce {
    template <class T>
    ZM_UNCHECKED static void run(Slot<T>** slots, uint32_t mask) {
        for (uint32_t first = 0; first < 32; first += Width) {
            const uint32_t part = Width == 32 ? mask : mask & (((1u << Width) - 1) << first);
            if (!part) continue;
            T total = slots[__builtin_ctz(part)]->in;
            ZM_LANES(l, part & (part - 1)) total = F::call(total, slots[l]->in);
            ZM_LANES(l, part) slots[l]->out = total;
        }
    }
};
template <class F, bool Inclusive, int Start, uint32_t Width = 32>
struct Prefix {
    template <class T>
    ZM_UNCHECKED static void run(Slot<T>** slots, uint32_t mask) {
        T total = T(Start);
        uint32_t group = 32;
        ZM_LANES(l, mask) {
            if (l / Width != group) total = T(Start), group = l / Width;
            const T next = F::call(total, slots[l]->in);
            slots[l]->out = Inclusive ? next : total;
            total = next;
        }
    }
};
// Each lane takes the value of another, or keeps its own where there is none.
template <class Source, uint32_t Width = 32>
struct Move {
    template <class T>
    ZM_UNCHECKED static void run(Slot<T>** slots, uint32_t mask) {
        ZM_LANES(l, mask) {
            const uint32_t base = l / Width * Width, from = Source::of(l % Width, slots[l]->extra, Width);
            if (from < Width && (mask >> (base + from) & 1)) slots[l]->out = slots[base + from]->in;
        }
    }
};
struct Named {
    ZM_UNCHECKED static uint32_t of(uint32_t, uint32_t extra, uint32_t) { return extra; }
};
struct Crossed {
    ZM_UNCHECKED static uint32_t of(uint32_t l, uint32_t extra, uint32_t) { return l ^ extra; }
};
struct Below {
    ZM_UNCHECKED static uint32_t of(uint32_t l, uint32_t extra, uint32_t) { return l - extra; }
};
struct Above {
    ZM_UNCHECKED static uint32_t of(uint32_t l, uint32_t extra, uint32_t) { return l + extra; }
};
struct RotatedUp {
    ZM_UNCHECKED static uint32_t of(uint32_t l, uint32_t extra, uint32_t width) { return (l + width - extra % width) % width; }
};
struct RotatedDown {
    ZM_UNCHECKED static uint32_t of(uint32_t l, uint32_t extra, uint32_t width) { return (l + extra) % width; }
};
template <uint32_t Width = 32>
struct First {
    template <class T>
    ZM_UNCHECKED static void run(Slot<T>** slots, uint32_t mask) {
        uint32_t first = 0, group = 32;
        ZM_LANES(l, mask) {
            if (l / Width != group) first = l, group = l / Width;
            slots[l]->out = slots[first]->in;
        }
    }
};
struct Ballot {
    ZM_UNCHECKED static void run(Slot<uint64_t>** slots, uint32_t mask) {
        uint64_t votes = 0;
        ZM_LANES(l, mask) if (slots[l]->in) votes |= uint64_t(1) << l;
        ZM_LANES(l, mask) slots[l]->out = votes | uint64_t(mask) << 32;  // the active lanes in the upper half
    }
};
template <class T>
struct Filled {
    T value, fill;
};
template <bool Up>
struct Fill {
    template <class T>
    ZM_UNCHECKED static void run(Slot<Filled<T>>** slots, uint32_t mask) {
        ZM_LANES(l, mask) {
            const int delta = int(slots[l]->extra & 0xff), width = int(slots[l]->extra >> 8), base = int(l) / width * width;
            const int from = Up ? int(l) % width - delta : int(l) % width + delta;
            const bool inside = from >= 0 && from < width;
            const int lane = base + (inside ? from : Up ? from + width : from - width);
            if (lane < 0 || lane > 31 || !(mask >> lane & 1)) continue;
            slots[l]->out.value = inside ? slots[lane]->in.value : slots[lane]->in.fill;
        }
    }
};

}  // namespace zm

namespace metal {

// Asserted, not constrained: what does not fit would else convert to a type that an overload of MLX's takes.
#define ZM_REDUCE(name, F, kind, type)                                                                                     \
    template <zm::Shared T>                                                                                                \
    inline zm::value_of<T> simd_##name(T x, ZM_SITE) {                                                                     \
        static_assert(zm::kind<T>, "Metal has no simd_" #name " of this type, but of " type);                              \
        return zm::collect<zm::Reduce<zm::F>>(zm::plain(x), 0, "simd_" #name, zm_site);                                    \
    }                                                                                                                      \
    template <zm::Shared T>                                                                                                \
    inline zm::value_of<T> quad_##name(T x, ZM_SITE) {                                                                     \
        static_assert(zm::kind<T>, "Metal has no quad_" #name " of this type, but of " type);                              \
        return zm::collect<zm::Reduce<zm::F, 4>>(zm::plain(x), 0, "quad_" #name, zm_site);                                 \
    }
#define ZM_NUMBERS "numbers of up to 32 bits"
#define ZM_BITS "integers of up to 32 bits"
ZM_REDUCE(sum, Add, Reduced, ZM_NUMBERS)
ZM_REDUCE(product, Multiply, Reduced, ZM_NUMBERS)
ZM_REDUCE(min, Lesser, Reduced, ZM_NUMBERS)
ZM_REDUCE(max, Greater, Reduced, ZM_NUMBERS)
ZM_REDUCE(and, And, ReducedInteger, ZM_BITS)
ZM_REDUCE(or, Or, ReducedInteger, ZM_BITS)
ZM_REDUCE(xor, Xor, ReducedInteger, ZM_BITS)
#undef ZM_REDUCE
#define ZM_PREFIX(name, F, inclusive, start)                                                                               \
    template <zm::Shared T>                                                                                                \
    inline zm::value_of<T> simd_prefix_##name(T x, ZM_SITE) {                                                              \
        static_assert(zm::Reduced<T>, "Metal has no simd_prefix_" #name " of this type, but of " ZM_NUMBERS);              \
        return zm::collect<zm::Prefix<zm::F, inclusive, start>>(zm::plain(x), 0, "simd_prefix_" #name, zm_site);           \
    }                                                                                                                      \
    template <zm::Shared T>                                                                                                \
    inline zm::value_of<T> quad_prefix_##name(T x, ZM_SITE) {                                                              \
        static_assert(zm::Reduced<T>, "Metal has no quad_prefix_" #name " of this type, but of " ZM_NUMBERS);              \
        return zm::collect<zm::Prefix<zm::F, inclusive, start, 4>>(zm::plain(x), 0, "quad_prefix_" #name, zm_site);        \
    }
ZM_PREFIX(inclusive_sum, Add, true, 0)
ZM_PREFIX(exclusive_sum, Add, false, 0)
ZM_PREFIX(inclusive_product, Multiply, true, 1)
ZM_PREFIX(exclusive_product, Multiply, false, 1)
#undef ZM_PREFIX
#undef ZM_BITS
#undef ZM_NUMBERS
#define ZM_MOVE(name, Source)                                                                                              \
    template <zm::Shared T>                                                                                                     \
    inline zm::value_of<T> simd_##name(T x, ushort by, ZM_SITE) { return zm::collect<zm::Move<zm::Source>>(zm::plain(x), by, "simd_" #name, zm_site); } \
    template <zm::Shared T>                                                                                                     \
    inline zm::value_of<T> quad_##name(T x, ushort by, ZM_SITE) { return zm::collect<zm::Move<zm::Source, 4>>(zm::plain(x), by, "quad_" #name, zm_site); }
ZM_MOVE(shuffle, Named)
ZM_MOVE(broadcast, Named)
ZM_MOVE(shuffle_xor, Crossed)
ZM_MOVE(shuffle_up, Below)
ZM_MOVE(shuffle_down, Above)
ZM_MOVE(shuffle_rotate_up, RotatedUp)
ZM_MOVE(shuffle_rotate_down, RotatedDown)
#undef ZM_MOVE
template <zm::Shared T>
inline zm::value_of<T> simd_broadcast_first(T x, ZM_SITE) { return zm::collect<zm::First<>>(zm::plain(x), 0, "simd_broadcast_first", zm_site); }
template <zm::Shared T>
inline zm::value_of<T> quad_broadcast_first(T x, ZM_SITE) { return zm::collect<zm::First<4>>(zm::plain(x), 0, "quad_broadcast_first", zm_site); }
#define ZM_FILL(name, width, up)                                                                                           \
    template <zm::Shared T>                                                                                                \
    inline zm::value_of<T> name(T x, zm::value_of<T> fill, ushort delta, ushort modulo = width, ZM_SITE) {                 \
        return zm::collect<zm::Fill<up>>(zm::Filled<zm::value_of<T>>{zm::plain(x), fill}, delta | uint32_t(modulo) << 8, #name, zm_site) \
            .value;                                                                                                        \
    }
ZM_FILL(simd_shuffle_and_fill_up, 32, true)
ZM_FILL(simd_shuffle_and_fill_down, 32, false)
ZM_FILL(quad_shuffle_and_fill_up, 4, true)
ZM_FILL(quad_shuffle_and_fill_down, 4, false)
#undef ZM_FILL

// The votes of the active lanes, one bit a lane.
class simd_vote {
  public:
    using vote_t = ulong;
    constexpr simd_vote() = default;
    explicit constexpr simd_vote(vote_t v) : votes(v & 0xffffffff), active(0xffffffff) {}
    constexpr simd_vote(uint64_t both, int) : votes(both & 0xffffffff), active(both >> 32) {}
    explicit constexpr operator vote_t() const { return votes; }
    constexpr bool all() const { return votes == active; }
    constexpr bool any() const { return votes != 0; }

  private:
    vote_t votes = 0, active = 0;
};
inline simd_vote simd_ballot(bool x, ZM_SITE) { return simd_vote(zm::collect<zm::Ballot>(uint64_t(x), 0, "simd_ballot", zm_site), 0); }
inline bool simd_all(bool x, ZM_SITE) { return simd_vote(zm::collect<zm::Ballot>(uint64_t(x), 0, "simd_all", zm_site), 0).all(); }
inline bool simd_any(bool x, ZM_SITE) { return simd_vote(zm::collect<zm::Ballot>(uint64_t(x), 0, "simd_any", zm_site), 0).any(); }
inline simd_vote simd_active_threads_mask(ZM_SITE) {
    return simd_vote(zm::collect<zm::Ballot>(uint64_t(1), 0, "simd_active_threads_mask", zm_site), 0);
}
inline bool simd_is_first(ZM_SITE) { return zm::collect<zm::First<>>(zm::self().lane, 0, "simd_is_first", zm_site) == zm::self().lane; }
inline bool simd_is_helper_thread() { return false; }  // those are of fragment shaders

class quad_vote {
  public:
    using vote_t = ulong;
    constexpr quad_vote() = default;
    explicit constexpr quad_vote(vote_t v) : votes(v & 15), active(15) {}
    constexpr quad_vote(uint64_t both, uint32_t lane) : votes(both >> lane / 4 * 4 & 15), active(both >> (32 + lane / 4 * 4) & 15) {}
    explicit constexpr operator vote_t() const { return votes; }
    constexpr bool all() const { return votes == active; }
    constexpr bool any() const { return votes != 0; }

  private:
    vote_t votes = 0, active = 0;
};
inline quad_vote quad_ballot(bool x, ZM_SITE) {
    return quad_vote(zm::collect<zm::Ballot>(uint64_t(x), 0, "quad_ballot", zm_site), zm::self().lane);
}
inline quad_vote quad_active_threads_mask(ZM_SITE) {
    return quad_vote(zm::collect<zm::Ballot>(uint64_t(1), 0, "quad_active_threads_mask", zm_site), zm::self().lane);
}
inline bool quad_is_first(ZM_SITE) { return zm::collect<zm::First<4>>(zm::self().lane, 0, "quad_is_first", zm_site) == zm::self().lane; }
inline bool quad_all(bool x, ZM_SITE) { return zm::collect<zm::Reduce<zm::And, 4>>(uint(x), 0, "quad_all", zm_site); }
inline bool quad_any(bool x, ZM_SITE) { return zm::collect<zm::Reduce<zm::Or, 4>>(uint(x), 0, "quad_any", zm_site); }

}  // namespace metal

// Apple's own names under the library's functions, which MLX's headers call for bfloat.
inline ushort __metal_get_thread_index_in_simdgroup(ushort) { return ushort(zm::self().lane); }
inline ushort __metal_get_simdgroup_size(ushort) { return 32; }
#define ZM_ONE(name)                                                                                       \
    template <class T>                                                                                     \
    inline T __metal_simd_##name(T x, ZM_SITE) { return metal::simd_##name(x, zm_site); }
#define ZM_TWO(name)                                                                                       \
    template <class T>                                                                                     \
    inline T __metal_simd_##name(T x, ushort by, ZM_SITE) { return metal::simd_##name(x, by, zm_site); }
#define ZM_FILL(name)                                                                                      \
    template <class T>                                                                                     \
    inline T __metal_simd_##name(T x, T fill, ushort by, ushort modulo, ZM_SITE) { return metal::simd_##name(x, fill, by, modulo, zm_site); }
ZM_ONE(sum)
ZM_ONE(product)
ZM_ONE(min)
ZM_ONE(max)
ZM_ONE(prefix_inclusive_sum)
ZM_ONE(prefix_exclusive_sum)
ZM_ONE(prefix_inclusive_product)
ZM_ONE(prefix_exclusive_product)
ZM_TWO(broadcast)
ZM_TWO(shuffle)
ZM_TWO(shuffle_xor)
ZM_TWO(shuffle_up)
ZM_TWO(shuffle_down)
ZM_TWO(shuffle_rotate_up)
ZM_TWO(shuffle_rotate_down)
ZM_FILL(shuffle_and_fill_up)
ZM_FILL(shuffle_and_fill_down)
#undef ZM_FILL
#undef ZM_TWO
#undef ZM_ONE
// simd_xor of floats does not exist; MLX names it in a function that nobody calls.
template <class T>
inline T __metal_simd_xor(T x, ZM_SITE) {
    static_assert(zm::Integer<T>, "simd_xor takes integers");
    return metal::simd_xor(x, zm_site);
}
inline float __metal_simd_xor(float, ZM_SITE) { zm::fail("unsupported", "simd_xor of a floating-point number"); }
#define ZM_ONE(name) \
    inline float __metal_##name(float x, bool = true) { return metal::name(x); }
#define ZM_TWO(name) \
    inline float __metal_##name(float x, float y, bool = true) { return metal::name(x, y); }
#define ZM_THREE(name) \
    inline float __metal_##name(float x, float y, float z, bool = true) { return metal::name(x, y, z); }
ZM_ONE(acos) ZM_ONE(acosh) ZM_ONE(asin) ZM_ONE(asinh) ZM_ONE(atan) ZM_ONE(atanh) ZM_ONE(ceil) ZM_ONE(cos) ZM_ONE(cosh) ZM_ONE(cospi)
ZM_ONE(exp) ZM_ONE(exp10) ZM_ONE(exp2) ZM_ONE(fabs) ZM_ONE(floor) ZM_ONE(fract) ZM_ONE(log) ZM_ONE(log10) ZM_ONE(log2) ZM_ONE(rint)
ZM_ONE(round) ZM_ONE(rsqrt) ZM_ONE(sin) ZM_ONE(sinh) ZM_ONE(sinpi) ZM_ONE(sqrt) ZM_ONE(tan) ZM_ONE(tanh) ZM_ONE(tanpi) ZM_ONE(trunc)
ZM_TWO(atan2) ZM_TWO(divide) ZM_TWO(fdim) ZM_TWO(fmax) ZM_TWO(fmin) ZM_TWO(fmod) ZM_TWO(nextafter) ZM_TWO(pow) ZM_TWO(powr) ZM_TWO(copysign)
ZM_THREE(fma) ZM_THREE(fmax3) ZM_THREE(fmin3) ZM_THREE(fmedian3) ZM_THREE(clamp)
#undef ZM_THREE
#undef ZM_TWO
#undef ZM_ONE
inline float __metal_ldexp(float x, int k, bool = true) { return metal::ldexp(x, k); }
inline float __metal_frexp(float x, int* e) { return metal::frexp(x, *e); }
inline int __metal_ilogb(float x) { return metal::ilogb(x); }
inline float __metal_modf(float x, float* whole) { return metal::modf(x, *whole); }
inline float __metal_sincos(float x, float* cosine, bool = true) { return metal::sincos(x, *cosine); }
