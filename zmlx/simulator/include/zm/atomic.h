// <metal_atomic>. Threadgroups run on several OS threads, so these are true atomics of the host.
#pragma once

#include "simdgroup.h"

namespace metal {

enum memory_order { memory_order_relaxed, memory_order_acquire, memory_order_release, memory_order_acq_rel, memory_order_seq_cst };

template <class T>
struct atomic {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 1, "Metal has atomics of bool and of 32 and 64 bits");
    T value;
};
template <class T>
using _atomic = atomic<T>;
using atomic_bool = atomic<bool>;
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_float = atomic<float>;
using atomic_ulong = atomic<ulong>;
using atomic_long = atomic<long>;

inline void atomic_thread_fence(mem_flags, memory_order = memory_order_relaxed, thread_scope = thread_scope_device) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace metal

namespace zm {

template <class T, class F>
ZM_UNCHECKED __attribute__((noinline)) T update(volatile metal::atomic<T>* a, F f) {
    atomic_access(a, sizeof(T), true);
    T* at = const_cast<T*>(&a->value);
    T old;
    __atomic_load(at, &old, __ATOMIC_SEQ_CST);
    for (;;) {
        T next = f(old);
        if (!__atomic_compare_exchange(at, &old, &next, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) continue;
        // One that changes nothing may be a try for a lock: its holder must go on.
        if (__builtin_memcmp(&old, &next, sizeof(T)) == 0) spin();
        return old;
    }
}
// 64-bit atomics of Metal are minimum and maximum, without the old value; those of bool are not computed with.
template <class T>
concept Full = sizeof(T) <= 4;
template <class T>
concept FullNumber = Full<T> && !std::is_same_v<T, bool>;
template <class T>
concept FullInteger = Integer<T> && FullNumber<T>;

}  // namespace zm

namespace metal {

template <class T>
    requires zm::Full<T>
ZM_UNCHECKED __attribute__((noinline)) T atomic_load_explicit(const volatile atomic<T>* a, memory_order) {
    zm::spin();
    zm::atomic_access(a, sizeof(T), false);
    T r;
    __atomic_load(const_cast<T*>(&a->value), &r, __ATOMIC_SEQ_CST);
    return r;
}
template <class T>
    requires zm::Full<T>
ZM_UNCHECKED __attribute__((noinline)) void atomic_store_explicit(volatile atomic<T>* a, std::type_identity_t<T> v, memory_order) {
    zm::atomic_access(a, sizeof(T), true);
    __atomic_store(const_cast<T*>(&a->value), &v, __ATOMIC_SEQ_CST);
}
#define ZM_UPDATE(name, condition, expression)                                                                             \
    template <class T>                                                                                                     \
        requires(condition)                                                                                                \
    inline T atomic_##name##_explicit(volatile atomic<T>* a, std::type_identity_t<T> v, memory_order) {                    \
        return zm::update(a, [=](T old) ZM_UNCHECKED -> T { return T(expression); });                                      \
    }
ZM_UPDATE(exchange, zm::Full<T>, v)
ZM_UPDATE(fetch_add, zm::FullNumber<T>, old + v)
ZM_UPDATE(fetch_sub, zm::FullNumber<T>, old - v)
ZM_UPDATE(fetch_min, zm::FullInteger<T>, v < old ? v : old)
ZM_UPDATE(fetch_max, zm::FullInteger<T>, old < v ? v : old)
ZM_UPDATE(fetch_and, zm::FullInteger<T>, old & v)
ZM_UPDATE(fetch_or, zm::FullInteger<T>, old | v)
ZM_UPDATE(fetch_xor, zm::FullInteger<T>, old ^ v)
#undef ZM_UPDATE
inline void atomic_min_explicit(volatile atomic<ulong>* a, ulong v, memory_order) {
    zm::update(a, [=](ulong old) ZM_UNCHECKED -> ulong { return v < old ? v : old; });
}
inline void atomic_max_explicit(volatile atomic<ulong>* a, ulong v, memory_order) {
    zm::update(a, [=](ulong old) ZM_UNCHECKED -> ulong { return old < v ? v : old; });
}
template <class T>
    requires zm::Full<T>
ZM_UNCHECKED __attribute__((noinline)) bool atomic_compare_exchange_weak_explicit(
    volatile atomic<T>* a, T* expected, std::type_identity_t<T> desired, memory_order, memory_order) {
    zm::atomic_access(a, sizeof(T), true);
    if (__atomic_compare_exchange(const_cast<T*>(&a->value), expected, &desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return true;
    zm::spin();
    return false;
}

}  // namespace metal
