// Functions, atomics and simdgroup matrices.
#pragma once

namespace metal {

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return a; }
enum memory_order { memory_order_relaxed, memory_order_seq_cst };
enum thread_scope { thread_scope_thread, thread_scope_simdgroup, thread_scope_threadgroup, thread_scope_device };
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
void atomic_thread_fence(mem_flags, memory_order = memory_order_relaxed, thread_scope = thread_scope_device);

// Functions of values: their result has the first operand's type.
#define ZM_1(f) template <class A> constexpr A f(A);
#define ZM_2(f) template <class A, class B> constexpr A f(A, B);
#define ZM_3(f) template <class A, class B, class C> constexpr A f(A, B, C);
#define ZM_MATH                                                                                                           \
    ZM_1(abs) ZM_1(acos) ZM_1(acosh) ZM_1(asin) ZM_1(asinh) ZM_1(atan) ZM_1(atanh) ZM_1(ceil) ZM_1(cos) ZM_1(cosh)        \
    ZM_1(cospi) ZM_1(exp) ZM_1(exp2) ZM_1(exp10) ZM_1(fabs) ZM_1(floor) ZM_1(fract) ZM_1(log) ZM_1(log2) ZM_1(log10)      \
    ZM_1(rint) ZM_1(round) ZM_1(rsqrt) ZM_1(sin) ZM_1(sinh) ZM_1(sinpi) ZM_1(sqrt) ZM_1(tan) ZM_1(tanh) ZM_1(tanpi)       \
    ZM_1(trunc) ZM_1(saturate) ZM_1(sign) ZM_1(normalize)                                                                 \
    ZM_2(atan2) ZM_2(copysign) ZM_2(divide) ZM_2(fdim) ZM_2(fmax) ZM_2(fmin) ZM_2(fmod) ZM_2(pow) ZM_2(powr) ZM_2(step)   \
    ZM_2(nextafter) ZM_2(min) ZM_2(max) ZM_2(ldexp) ZM_3(fma) ZM_3(clamp) ZM_3(mix) ZM_3(smoothstep) ZM_3(min3)           \
    ZM_3(max3) ZM_3(median3) ZM_3(fmin3) ZM_3(fmax3) ZM_3(fmedian3)                                                       \
    template <class A> int ilogb(A);                                                                                      \
    template <class A, zm::Plain B> A frexp(A, thread B&);                                                                    \
    template <zm::Plain A> A modf(A, thread A&);                                                                              \
    template <zm::Plain A> A sincos(A, thread A&);
ZM_MATH
namespace fast { ZM_MATH }
namespace precise { ZM_MATH }
ZM_1(popcount) ZM_1(clz) ZM_1(ctz) ZM_1(reverse_bits) ZM_2(rotate) ZM_2(mulhi) ZM_2(absdiff) ZM_2(addsat) ZM_2(subsat) ZM_2(hadd)
ZM_2(rhadd) ZM_2(mul24) ZM_3(mad24) ZM_3(madhi) ZM_3(madsat) ZM_3(extract_bits)
template <class A> A insert_bits(A, A, uint, uint);
template <class A> constexpr bool isnan(A);
template <class A> constexpr bool isinf(A);
template <class A> constexpr bool isfinite(A);
template <class A> constexpr bool isnormal(A);
template <class A> constexpr bool signbit(A);
template <class A, class C> A select(A, A, C);
template <class A> bool all(A);
template <class A> bool any(A);
template <class A> auto dot(A a, A b) -> decltype(a[0] * b[0]);
template <class A> auto distance(A a, A b) -> decltype(a[0] * b[0]);
template <class A> A cross(A, A);
template <class A> auto length(A a) -> decltype(a[0] * a[0]);

#define ZM_MOVES(p)                                                                                                        \
    ZM_1(p##_sum) ZM_1(p##_product) ZM_1(p##_min) ZM_1(p##_max) ZM_1(p##_and) ZM_1(p##_or) ZM_1(p##_xor)                   \
    ZM_1(p##_prefix_inclusive_sum) ZM_1(p##_prefix_exclusive_sum) ZM_1(p##_prefix_inclusive_product)                       \
    ZM_1(p##_prefix_exclusive_product) ZM_1(p##_broadcast_first) ZM_2(p##_shuffle) ZM_2(p##_broadcast)                     \
    ZM_2(p##_shuffle_xor) ZM_2(p##_shuffle_up) ZM_2(p##_shuffle_down) ZM_2(p##_shuffle_rotate_up)                          \
    ZM_2(p##_shuffle_rotate_down)                                                                                          \
    template <class A, class B> A p##_shuffle_and_fill_up(A, A, B, ushort = 32);                                           \
    template <class A, class B> A p##_shuffle_and_fill_down(A, A, B, ushort = 32);                                         \
    bool p##_all(bool);                                                                                                    \
    bool p##_any(bool);
ZM_MOVES(simd)
ZM_MOVES(quad)
struct simd_vote {
    typedef ulong vote_t;
    explicit operator vote_t() const;
    bool all() const;
    bool any() const;
};
simd_vote simd_ballot(bool);
simd_vote simd_active_threads_mask();
bool simd_is_first();

template <class T>
struct atomic {
    T value;
};
template <class T>
using _atomic = atomic<T>;
using atomic_bool = atomic<bool>;
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_float = atomic<float>;
using atomic_ulong = atomic<ulong>;
// Atomics live in device or threadgroup memory.
#define ZM_ATOMIC_IN(space)                                                                                               \
    template <class T> T atomic_load_explicit(const volatile space atomic<T>*, memory_order);                             \
    template <class T, class V> void atomic_store_explicit(volatile space atomic<T>*, V, memory_order);                   \
    template <class T, class V> T atomic_exchange_explicit(volatile space atomic<T>*, V, memory_order);                   \
    template <class T, class V> T atomic_fetch_add_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V> T atomic_fetch_sub_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V> T atomic_fetch_min_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V> T atomic_fetch_max_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V> T atomic_fetch_and_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V> T atomic_fetch_or_explicit(volatile space atomic<T>*, V, memory_order);                   \
    template <class T, class V> T atomic_fetch_xor_explicit(volatile space atomic<T>*, V, memory_order);                  \
    template <class T, class V>                                                                                           \
    bool atomic_compare_exchange_weak_explicit(volatile space atomic<T>*, thread T*, V, memory_order, memory_order);
ZM_ATOMIC_IN(device)
ZM_ATOMIC_IN(threadgroup)
#undef ZM_ATOMIC_IN

template <class T, int C = 8, int R = C>
struct simdgroup_matrix {
    simdgroup_matrix() = default;
    explicit simdgroup_matrix(T);
    vec<T, 2>& thread_elements();
    const vec<T, 2>& thread_elements() const;
};
using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;
template <class T, int C, int R = C>
simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T);
#define ZM_MATRIX_IN(space)                                                                                                           \
    template <class T> void simdgroup_load(thread simdgroup_matrix<T>&, const space T*, ulong = 8, vec<ulong, 2> = 0, bool = false);  \
    template <class T> void simdgroup_store(simdgroup_matrix<T>, space T*, ulong = 8, vec<ulong, 2> = 0, bool = false);
ZM_MATRIX_IN(device)
ZM_MATRIX_IN(threadgroup)
#undef ZM_MATRIX_IN
template <zm::Plain D, class A, class B, class C>
void simdgroup_multiply_accumulate(thread D&, A, B, C);
template <zm::Plain D, class A, class B>
void simdgroup_multiply(thread D&, A, B);
struct execution_simdgroup {};

struct os_log {
    constexpr os_log(const char*, const char*) {}
    template <class... A> void log(this constant os_log&, const char*, A...);
    template <class... A> void log_debug(this constant os_log&, const char*, A...);
    template <class... A> void log_info(this constant os_log&, const char*, A...);
    template <class... A> void log_error(this constant os_log&, const char*, A...);
    template <class... A> void log_fault(this constant os_log&, const char*, A...);
};

#undef ZM_MOVES
#undef ZM_MATH
#undef ZM_3
#undef ZM_2
#undef ZM_1

}  // namespace metal

namespace mpp::tensor_ops {

struct matmul2d_descriptor {
    enum class mode { multiply, multiply_accumulate };
    int sizes[3];
    bool flags[3];
    mode how;
    constexpr matmul2d_descriptor(int m, int n, int k, bool a = false, bool b = false, bool c = false, mode d = mode::multiply)
        : sizes{m, n, k}, flags{a, b, c}, how(d) {}
};
// A lane's part of a matrix is the thread's own.
template <class T>
struct cooperative {
    thread T& operator[](int);
    const thread T& operator[](int) const;
    static constexpr unsigned short get_capacity() { return 16; }
};
template <matmul2d_descriptor, class>
struct matmul2d {
    template <class A, class B, class C> cooperative<A> get_left_input_cooperative_tensor() const;
    template <class A, class B, class C> cooperative<B> get_right_input_cooperative_tensor() const;
    template <class A, class B, class C> cooperative<C> get_destination_cooperative_tensor() const;
    template <class A, class B, class C> void run(const thread cooperative<A>&, const thread cooperative<B>&, thread cooperative<C>&) const;
};

}  // namespace mpp::tensor_ops

// Apple's own names, which MLX's headers use.
template <class... A> float __metal_zm(A...);
ushort __metal_get_thread_index_in_simdgroup(ushort);
ushort __metal_get_simdgroup_size(ushort);
