// Fibers and what makes them wait: simdgroup collectives and barriers.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "group.h"
#include "report.h"
#include "trace.h"

namespace zm {

thread_local Group* group;

// Saves the callee-saved registers on the running stack, its pointer in *save, and goes on with another stack.
extern "C" void zm_switch(void** save, void* to);
#if defined(__APPLE__)
#define ZM_SYMBOL "_zm_switch"
#else
#define ZM_SYMBOL "zm_switch"
#endif
#if defined(__x86_64__)
asm(".text\n.globl " ZM_SYMBOL "\n" ZM_SYMBOL R"(:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
constexpr size_t kSavedWords = 6;  // then the return address
static void* first_frame(char* top, void (*entry)()) {
    void** at = reinterpret_cast<void**>(top);
    *--at = nullptr;  // the stack is aligned as after a call
    *--at = reinterpret_cast<void*>(entry);
    for (size_t i = 0; i < kSavedWords; ++i) *--at = nullptr;
    return at;
}
#elif defined(__aarch64__)
asm(".text\n.globl " ZM_SYMBOL "\n" ZM_SYMBOL R"(:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
static void* first_frame(char* top, void (*entry)()) {
    void** at = reinterpret_cast<void**>(top - 160);
    memset(at, 0, 160);
    at[11] = reinterpret_cast<void*>(entry);  // x30: where the switch returns to
    return at;
}
#else
#error "the Metal simulator runs on x86-64 and aarch64"
#endif

namespace {

inline bool same(Site a, Site b) { return a.line == b.line && a.column == b.column; }

inline void go(Group& g, Fiber* next) {
    Fiber* from = g.current;
    if (next == from) return;
    g.current = next;
    g.switches++;
    zm_switch(&from->stack_pointer, next->stack_pointer);
}

// Lanes of a mask, lowest first.
template <class F>
inline void each_lane(uint32_t mask, F f) {
    for (; mask; mask &= mask - 1) f(uint32_t(__builtin_ctz(mask)));
}

// A fiber that can go on: the next lane of the current simdgroup, then other simdgroups.
Fiber* pick(Group& g) {
    uint32_t sg = g.current->thread.simdgroup, lane = g.current->thread.lane;
    uint32_t later = lane == 31 ? 0 : g.simdgroups[sg].runnable & ~((2u << lane) - 1);
    if (later) return &g.fibers[sg * kLanes + uint32_t(__builtin_ctz(later))];
    for (uint32_t i = 0; i < g.simdgroup_count; ++i) {
        uint32_t k = sg + i < g.simdgroup_count ? sg + i : sg + i - g.simdgroup_count;
        if (uint32_t r = g.simdgroups[k].runnable) return &g.fibers[k * kLanes + uint32_t(__builtin_ctz(r))];
    }
    return nullptr;
}

// Ends the wait of the lanes in `mask`, which stand at one site.
void resolve(Group& g, uint32_t sg, uint32_t mask) {
    Simdgroup& s = g.simdgroups[sg];
    Fiber* lanes = g.fibers + sg * kLanes;
    Fiber& first = lanes[__builtin_ctz(mask)];
    if (first.state == State::collective) {
        void* slots[kLanes] = {};
        each_lane(mask, [&](uint32_t l) { slots[l] = lanes[l].slot; });
        first.combine(slots, mask);
    } else {
        g.time++;
        if (first.flags & kDevice) s.time[0] = g.time;
        if (first.flags & kThreadgroup) s.time[1] = g.time;
    }
    each_lane(mask, [&](uint32_t l) { lanes[l].state = State::running; });
    s.runnable |= mask;
    s.waiting &= ~mask;
}

void report_divergence(Group& g, const char* kind, const Fiber& there, const char* message, const Fiber* elsewhere) {
    Fiber* running = g.current;
    g.current = const_cast<Fiber*>(&there);
    RawReport r = new_report(kind, message);
    g.current = running;
    r.line = there.site.line;
    if (elsewhere) {
        r.has_other = 1;
        r.other = place_of(elsewhere->thread.index);
        r.other_line = elsewhere->state == State::done ? 0 : elsewhere->site.line;
    }
    report(r);
}

// Nobody can go on: some wait where not all will come. Says so, and lets them go on.
Fiber* unblock(Group& g) {
    for (uint32_t sg = 0; sg < g.simdgroup_count; ++sg) {
        Simdgroup& s = g.simdgroups[sg];
        if (!s.waiting) continue;
        Fiber* lanes = g.fibers + sg * kLanes;
        const Fiber& first = lanes[__builtin_ctz(s.waiting)];
        uint32_t mask = 0;
        each_lane(s.waiting, [&](uint32_t l) {
            if (same(lanes[l].site, first.site) && lanes[l].state == first.state) mask |= 1u << l;
        });
        uint32_t missing = s.live & ~mask;
        if (missing) {
            char text[160];
            const char* what = first.state == State::collective ? first.name : "simdgroup_barrier";
            snprintf(text, sizeof text, "%s runs with %d of the simdgroup's %d live lanes", what, __builtin_popcount(mask),
                     __builtin_popcount(s.live));
            report_divergence(g, "divergent-simd", first, text, &lanes[__builtin_ctz(missing)]);
        }
        resolve(g, sg, mask);
        return pick(g);
    }
    const Fiber *first = nullptr, *other = nullptr;  // one that waits; one that waits elsewhere or has ended
    uint32_t at = 0;
    for (uint32_t i = 0; i < g.threads; ++i) {
        const Fiber& f = g.fibers[i];
        bool waits = f.state == State::threadgroup_barrier;
        if (waits && !first) first = &f;
        if (waits && same(f.site, first->site))
            at++;
        else if (!other || (waits && other->state == State::done))
            other = &f;
    }
    if (!first) return nullptr;
    if (other) {
        char text[160];
        if (other->state == State::done)
            snprintf(text, sizeof text, "%u of %u threads wait at a threadgroup_barrier; the others have ended", at, g.threads);
        else
            snprintf(text, sizeof text, "threads of one threadgroup wait at different threadgroup_barriers");
        report_divergence(g, "divergent-barrier", *first, text, other);
    }
    g.time++;
    // Threads that wait at another barrier stay there, unless nobody else could go on.
    uint32_t flags = first->flags;
    Site site = first->site;
    for (uint32_t i = 0; i < g.threads; ++i) {
        Fiber& f = g.fibers[i];
        if (f.state != State::threadgroup_barrier || !same(f.site, site)) continue;
        f.state = State::running;
        g.simdgroups[f.thread.simdgroup].runnable |= 1u << f.thread.lane;
    }
    if (flags & kDevice) g.ordered[0] = g.time;
    if (flags & kThreadgroup) g.ordered[1] = g.time;
    return pick(g);
}

void wait(Group& g) {
    Fiber* next = pick(g);
    if (!next) next = unblock(g);
    if (next) go(g, next);
}

// Every live lane is at one collective, or at one simdgroup barrier.
bool complete(Group& g, uint32_t sg) {
    Simdgroup& s = g.simdgroups[sg];
    if (s.waiting != s.live) return false;
    Fiber* lanes = g.fibers + sg * kLanes;
    const Fiber& first = lanes[__builtin_ctz(s.live)];
    bool all = true;
    each_lane(s.live, [&](uint32_t l) { all = all && same(lanes[l].site, first.site) && lanes[l].state == first.state; });
    return all;
}

inline void arrive(Group& g, Fiber& f, State state, Site site) {
    f.state = state;
    f.site = site;
    f.last_pc = nullptr;
    uint32_t sg = f.thread.simdgroup, bit = 1u << f.thread.lane;
    g.simdgroups[sg].waiting |= bit;
    g.simdgroups[sg].runnable &= ~bit;
    if (complete(g, sg))
        resolve(g, sg, g.simdgroups[sg].live);
    else
        wait(g);
}

// What a fiber does for ever: the kernel, once a group.
void entry() {
    for (;;) {
        Group& g = *group;
        g.kernel(g.buffers);
        Fiber& f = *g.current;
        f.state = State::done;
        Simdgroup& s = g.simdgroups[f.thread.simdgroup];
        uint32_t bit = 1u << f.thread.lane;
        s.live &= ~bit;
        s.runnable &= ~bit;
        Fiber* next = nullptr;
        // Those that waited for this lane alone need not any more.
        if (s.live && s.waiting == s.live && !s.runnable && complete(g, f.thread.simdgroup)) resolve(g, f.thread.simdgroup, s.live);
        next = pick(g);
        if (!next) next = unblock(g);
        if (next) {
            go(g, next);
        } else {
            g.current = nullptr;
            zm_switch(&f.stack_pointer, g.scheduler);
        }
    }
}

}  // namespace

void prepare_stacks(Group& g) {
    if (!g.fibers) {
        g.fibers = static_cast<Fiber*>(calloc(kMostThreads, sizeof(Fiber)));
        void* memory = mmap(nullptr, kStackBytes * kMostThreads, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        g.stacks = static_cast<char*>(memory);
    }
    for (; g.made < g.threads; ++g.made) {
        char* low = g.stacks + g.made * kStackBytes;
        if (mprotect(low + kGuardBytes, kStackBytes - kGuardBytes, PROT_READ | PROT_WRITE)) abort();
        // Staggered, as equal addresses of all stacks would compete for the same lines of the cache.
        char* top = low + kStackBytes - 64 - (g.made % 16) * 192;
        g.fibers[g.made].stack_pointer = first_frame(reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15)), entry);
    }
}

Fiber* owner_of_stack(Group& g, const void* address, bool* guard) {
    size_t offset = size_t(static_cast<const char*>(address) - g.stacks);
    if (!g.stacks || offset >= kStackBytes * kMostThreads) return nullptr;
    *guard = offset % kStackBytes < kGuardBytes;
    return &g.fibers[offset / kStackBytes];
}

void run_group(Group& g) {
    const uint32_t* size = g.grid.threadgroup;
    g.threads = size[0] * size[1] * size[2];
    g.simdgroup_count = (g.threads + kLanes - 1) / kLanes;
    prepare_stacks(g);
    uint32_t i = 0;
    for (uint32_t z = 0; z < size[2]; ++z)
        for (uint32_t y = 0; y < size[1]; ++y)
            for (uint32_t x = 0; x < size[0]; ++x, ++i) {
                Fiber& f = g.fibers[i];
                f.thread = {i % kLanes, i / kLanes, i, {x, y, z}};
                f.state = State::running;
                f.site = {0, 0};
                f.depth = 0;
                f.last_pc = nullptr;
            }
    g.serial++;
    g.arena_top = 0;
    g.start = ++g.time;
    g.ordered[0] = g.ordered[1] = g.start;
    for (uint32_t k = 0; k < g.simdgroup_count; ++k) {
        uint32_t lanes = g.threads - k * kLanes < kLanes ? g.threads - k * kLanes : kLanes;
        uint32_t all = lanes == kLanes ? ~0u : (1u << lanes) - 1;
        g.simdgroups[k] = {all, 0, all, {g.start, g.start}};
    }
    g.current = &g.fibers[0];
    zm_switch(&g.scheduler, g.fibers[0].stack_pointer);
}

void collective(void* slot, Combine combine, const char* name, Site site) {
    Group& g = *group;
    Fiber& f = *g.current;
    f.slot = slot;
    f.combine = combine;
    f.name = name;
    if (tracing) trace_collective(name, site.line);
    arrive(g, f, State::collective, site);
}

void simdgroup_barrier(uint32_t flags, Site site) {
    Group& g = *group;
    g.current->flags = flags;
    if (tracing) trace_collective("simdgroup_barrier", site.line);
    arrive(g, *g.current, State::simdgroup_barrier, site);
}

void threadgroup_barrier(uint32_t flags, Site site) {
    Group& g = *group;
    Fiber& f = *g.current;
    f.flags = flags;
    f.site = site;
    f.state = State::threadgroup_barrier;
    f.last_pc = nullptr;
    if (tracing) trace_collective("threadgroup_barrier", site.line);
    g.simdgroups[f.thread.simdgroup].runnable &= ~(1u << f.thread.lane);
    wait(g);
}

// All others of the group get their turn, in order: Metal promises no more than that.
void spin(const void* pc) {
    Group& g = *group;
    g.current->last_pc = pc;
    uint32_t me = g.current->thread.index;
    for (uint32_t i = 1; i < g.threads; ++i) {
        Fiber& f = g.fibers[(me + i) % g.threads];
        if (f.state == State::running) return go(g, &f);
    }
}

const Thread& self() { return group->current->thread; }
const Grid& grid() { return group->grid; }

}  // namespace zm
