// What -fsanitize=thread makes of memory accesses, sent to our own checks. libtsan is never linked.
#include <cstring>

#include "group.h"
#include "runtime.h"
#include "shadow.h"

#define PC __builtin_return_address(0)
#define ACCESS(n)                                                                                                      \
    void __tsan_read##n(void* a) { zm::check(a, n, zm::Access::read, PC, true); }                                      \
    void __tsan_write##n(void* a) { zm::check(a, n, zm::Access::write, PC, true); }                                    \
    void __tsan_unaligned_read##n(void* a) { zm::check(a, n, zm::Access::read, PC, false); }                           \
    void __tsan_unaligned_write##n(void* a) { zm::check(a, n, zm::Access::write, PC, false); }                         \
    void __tsan_read##n##_pc(void* a, void* pc) { zm::check(a, n, zm::Access::read, pc, true); }                       \
    void __tsan_write##n##_pc(void* a, void* pc) { zm::check(a, n, zm::Access::write, pc, true); }                     \
    void __tsan_volatile_read##n(void* a) { zm::check(a, n, zm::Access::read, PC, true); }                             \
    void __tsan_volatile_write##n(void* a) { zm::check(a, n, zm::Access::write, PC, true); }                           \
    void __tsan_unaligned_volatile_read##n(void* a) { zm::check(a, n, zm::Access::read, PC, false); }                  \
    void __tsan_unaligned_volatile_write##n(void* a) { zm::check(a, n, zm::Access::write, PC, false); }                \
    void __tsan_read_write##n(void* a) {                                                                               \
        zm::check(a, n, zm::Access::read, PC, true);                                                                   \
        zm::check(a, n, zm::Access::write, PC, true);                                                                  \
    }                                                                                                                  \
    void __tsan_unaligned_read_write##n(void* a) {                                                                     \
        zm::check(a, n, zm::Access::read, PC, false);                                                                  \
        zm::check(a, n, zm::Access::write, PC, false);                                                                 \
    }

extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_init() {}
void __tsan_func_entry(void* caller) {
    zm::Group* g = zm::group;
    if (!g || !g->current) return;
    zm::Fiber& f = *g->current;
    if (f.depth < zm::kMostCalls) f.calls[f.depth] = caller;
    f.depth++;
}
void __tsan_func_exit() {
    zm::Group* g = zm::group;
    if (g && g->current && g->current->depth) g->current->depth--;
}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
void __tsan_read_range(void* a, size_t n) { zm::check(a, n, zm::Access::read, PC, false); }
void __tsan_write_range(void* a, size_t n) { zm::check(a, n, zm::Access::write, PC, false); }
void* __tsan_memcpy(void* to, const void* from, size_t n) {
    zm::check(from, n, zm::Access::read, PC, false);
    zm::check(to, n, zm::Access::write, PC, false);
    return memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, size_t n) {
    zm::check(from, n, zm::Access::read, PC, false);
    zm::check(to, n, zm::Access::write, PC, false);
    return memmove(to, from, n);
}
void* __tsan_memset(void* to, int value, size_t n) {
    zm::check(to, n, zm::Access::write, PC, false);
    return memset(to, value, n);
}
}

namespace zm {

void atomic_access(const volatile void* address, size_t bytes, bool writes, const void* pc) {
    check(const_cast<const void*>(address), bytes, writes ? Access::atomic_write : Access::atomic_read, pc, true);
}

}  // namespace zm
