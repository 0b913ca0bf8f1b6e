// The state of one OS thread that runs threadgroups: fibers, simdgroups, threadgroup memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime.h"

namespace zm {

constexpr uint32_t kLanes = 32, kMostThreads = 1024, kMostDeclarations = 512;
constexpr size_t kThreadgroupBytes = 32 * 1024;  // what Metal gives
constexpr size_t kArenaBytes = 256 * 1024;       // what is there, so that a kernel that asks for more can still run
// Of a stack's bytes the lower half is its guard: a frame of up to that size cannot jump over it.
constexpr size_t kStackBytes = 512 * 1024, kGuardBytes = kStackBytes / 2;
constexpr unsigned char kUnwritten = 0xA7;  // what the sanitizer fills memory with that has no content yet

constexpr uint32_t kMostCalls = 16;

enum class State : uint8_t { running, collective, simdgroup_barrier, threadgroup_barrier, done };

struct Fiber {
    void* stack_pointer;
    const void* last_pc;  // of its last checked access or spin; nullptr after a collective
    Thread thread;
    State state;
    uint32_t flags;  // of the barrier that it waits at
    Site site;
    void* slot;
    Combine combine;
    const char* name;
    // Return addresses of the instrumented functions that it is in, as far as they were not inlined.
    const void* calls[kMostCalls];
    uint32_t depth;
};

struct Simdgroup {
    uint32_t live, waiting, runnable;  // one bit a lane; waiting: at a collective or simdgroup barrier
    uint32_t time[2];                  // of the last simdgroup barrier that orders device, threadgroup memory
};

struct Declaration {
    size_t offset, bytes;
    const char* name;
    uint32_t group;  // serial number of the group that it was last placed for
};

struct Group {
    Fiber* current = nullptr;
    Fiber* fibers = nullptr;
    char* stacks = nullptr;
    Simdgroup simdgroups[kMostThreads / kLanes];
    uint32_t threads = 0, simdgroup_count = 0;
    uint32_t made = 0;  // fibers that have a stack
    void* scheduler = nullptr;
    Grid grid{};
    void (*kernel)(void* const*) = nullptr;
    void* const* buffers = nullptr;
    // Threadgroup memory. `serial` numbers this OS thread's groups; a declaration of an older one is not there.
    char* arena = nullptr;
    size_t arena_top = 0;
    Declaration declarations[kMostDeclarations];
    uint32_t serial = 0;
    // The sanitizer's clock: it advances at every barrier. A group's accesses lie at or after `start`.
    uint32_t time = 1, start = 1, ordered[2] = {1, 1};  // ordered: time of the last threadgroup barrier, by memory
    uint32_t group_id = 0;                               // of all groups of the launch, plus 1
    uint64_t switches = 0;
    uint32_t last_buffer = 0;
};

extern thread_local Group* group;
extern bool sanitizing;

// Runs all fibers of the group that `g.grid` describes, from the kernel's start to its end.
void run_group(Group& g);
void prepare_stacks(Group& g);
// Which fiber's stack (or its guard page) holds an address; nullptr: none.
Fiber* owner_of_stack(Group& g, const void* address, bool* guard);

}  // namespace zm
