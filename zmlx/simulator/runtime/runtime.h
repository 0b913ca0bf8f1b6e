// What simulated Metal code may ask of the runtime: its place in the grid, collectives, threadgroup memory.
//
// A thread of the simulated GPU is a fiber. Fibers of one threadgroup run on one OS thread and give way to each other only
// in the functions below, so that everything between two of them is one step.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zm {

// Where a collective stands in the MSL text. Return addresses would not do: optimisers duplicate calls.
struct Site {
    uint32_t line, column;
};
#if defined(__clang__)
#define ZM_COLUMN uint32_t(__builtin_COLUMN())
#else
#define ZM_COLUMN 0u
#endif
#define ZM_SITE \
    ::zm::Site zm_site = { uint32_t(__builtin_LINE()), ZM_COLUMN }

// Not seen by the sanitizer. Such functions are never inlined into instrumented ones.
#if defined(__clang__)
#define ZM_UNCHECKED __attribute__((no_sanitize("thread"), disable_sanitizer_instrumentation))
#else
#define ZM_UNCHECKED __attribute__((no_sanitize("thread")))
#endif

// Deposits `slot`. When every live lane of the simdgroup has come to this site, `combine(slots, mask)` runs once over the
// lanes that are there (slots[lane], bit `lane` of mask) and all go on. Lanes that live but wait elsewhere are reported,
// and the operation then runs over those present.
using Combine = void (*)(void** slots, uint32_t mask);
void collective(void* slot, Combine combine, const char* name, Site site);

// Flags of a barrier: the memory that it orders.
enum : uint32_t { kDevice = 1, kThreadgroup = 2, kTexture = 4 };
void simdgroup_barrier(uint32_t flags, Site site);
void threadgroup_barrier(uint32_t flags, Site site);

// The memory of a threadgroup variable: one for each threadgroup and declaration.
void* threadgroup_memory(uint32_t declaration, size_t bytes, size_t align, const char* name, Site site);

// Stands before an atomic access: checked like any other, but atomics do not race with each other. `pc` is that of the call of
// the function in which it stands.
void atomic_access(const volatile void* address, size_t bytes, bool writes, const void* pc = __builtin_return_address(0));
// Stand before a vector is read or written in parts: its address must be a multiple of its size.
void vector_read(const void* address, size_t bytes);
void vector_write(const void* address, size_t bytes);
// Stands in atomic loads: lets other threads of the group go on, so that waiting for one of them ends.
void spin(const void* pc = __builtin_return_address(0));

struct Thread {
    uint32_t lane, simdgroup, index;
    uint32_t position[3];  // in the threadgroup
};
struct Grid {
    uint32_t threads[3], threadgroup[3], groups[3];
    uint32_t group[3];             // this threadgroup's position
    uint32_t full_threadgroup[3];  // `threadgroup` is smaller in the last group of an axis
};
const Thread& self();
const Grid& grid();

void log(const char* text);
[[noreturn]] void fail(const char* kind, const char* text);

}  // namespace zm
