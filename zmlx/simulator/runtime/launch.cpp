// One launch: threadgroups over OS threads, limits, the watch over time, and what is said when a kernel crashes.
#include "launch.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include <sys/mman.h>

#if defined(__linux__)
#include <ucontext.h>
#endif

#include "cells.h"
#include "group.h"
#include "shadow.h"
#include "trace.h"

namespace zm {

const Launch* launch;
Reports* reports;

namespace {

pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;

struct Work {
    uint64_t total, next;
};
Work work;

// Each fiber's stack is two mappings of the process, of which Linux allows 65,530.
constexpr int kMostOsThreads = 24;
pthread_t os_threads[kMostOsThreads];
int os_thread_count;

uint32_t groups_of(uint32_t threads, uint32_t size) { return (threads + size - 1) / size; }

void run_groups() {
    Group& g = *group;
    const Launch& l = *launch;
    uint32_t counts[3];
    for (int d = 0; d < 3; ++d) counts[d] = groups_of(l.grid[d], l.threadgroup[d]);
    for (int d = 0; d < 3; ++d) {
        g.grid.threads[d] = l.grid[d];
        g.grid.groups[d] = counts[d];
        g.grid.full_threadgroup[d] = l.threadgroup[d];
    }
    uint64_t chunk = work.total / 256 + 1;
    for (;;) {
        uint64_t begin = __atomic_fetch_add(&work.next, chunk, __ATOMIC_RELAXED);
        if (begin >= work.total) return;
        uint64_t end = begin + chunk < work.total ? begin + chunk : work.total;
        for (uint64_t i = begin; i < end; ++i) {
            g.grid.group[0] = uint32_t(i % counts[0]);
            g.grid.group[1] = uint32_t(i / counts[0] % counts[1]);
            g.grid.group[2] = uint32_t(i / (uint64_t(counts[0]) * counts[1]));
            for (int d = 0; d < 3; ++d) {
                uint32_t left = l.grid[d] - g.grid.group[d] * l.threadgroup[d];
                g.grid.threadgroup[d] = left < l.threadgroup[d] ? left : l.threadgroup[d];
            }
            g.group_id = uint32_t(i) + 1;
            run_group(g);
        }
    }
}

void prepare_os_thread() {
    if (!group) {
        group = new Group;
        void* arena = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) abort();
        group->arena = static_cast<char*>(arena);
        stack_t alternate{};
        alternate.ss_size = 64 * 1024;
        alternate.ss_sp = malloc(alternate.ss_size);
        sigaltstack(&alternate, nullptr);
    }
    group->kernel = launch->kernel;
    group->switches = 0;
    group->last_buffer = 0;
    group->current = nullptr;
    if (sanitizing) begin_threadgroup_shadow();
}

// OS threads beside the caller's; they stay, with their fibers, and sleep between launches.
struct Crew {
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t wake = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
    int size = 0, wanted = 0, busy = 0;
    void* const* pointers = nullptr;
};
Crew crew;

void* serve(void*) {
    pthread_mutex_lock(&crew.lock);
    for (;;) {
        while (!crew.wanted) pthread_cond_wait(&crew.wake, &crew.lock);
        crew.wanted--;
        pthread_mutex_unlock(&crew.lock);
        prepare_os_thread();
        group->buffers = crew.pointers;
        run_groups();
        group->current = nullptr;
        __atomic_fetch_add(&const_cast<Launch*>(launch)->switches, group->switches, __ATOMIC_RELAXED);
        pthread_mutex_lock(&crew.lock);
        if (--crew.busy == 0) pthread_cond_signal(&crew.done);
    }
    return nullptr;
}

void start_crew(int helpers, void* const* pointers) {
    pthread_mutex_lock(&crew.lock);
    while (crew.size < helpers && !pthread_create(&os_threads[crew.size + 1], nullptr, serve, nullptr)) crew.size++;
    crew.pointers = pointers;
    crew.wanted = crew.busy = helpers < crew.size ? helpers : crew.size;
    os_thread_count = crew.size + 1;
    pthread_cond_broadcast(&crew.wake);
    pthread_mutex_unlock(&crew.lock);
}

void finish_crew() {
    pthread_mutex_lock(&crew.lock);
    while (crew.busy) pthread_cond_wait(&crew.done, &crew.lock);
    pthread_mutex_unlock(&crew.lock);
}

// ---- the end of a kernel that cannot go on ----------------------------------------------------------------------------

const void* pc_of(void* context) {
#if defined(__linux__) && defined(__x86_64__)
    return reinterpret_cast<const void*>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
#elif defined(__linux__) && defined(__aarch64__)
    return reinterpret_cast<const void*>(static_cast<ucontext_t*>(context)->uc_mcontext.pc);
#else
    (void)context;
    return nullptr;
#endif
}

void add(const RawReport& r);

// The first OS thread that stops ends the process. It may have been interrupted with the lock in hand.
[[noreturn]] void stop(RawReport& r, int status) {
    static bool stopping = false;
    if (__atomic_exchange_n(&stopping, true, __ATOMIC_SEQ_CST))
        for (;;) pause();
    for (int tries = 0; tries < 1000 && pthread_mutex_trylock(&report_lock); ++tries) sched_yield();
    add(r);
    reports->stopped = 1;
    if (tracing) trace_note("the kernel was stopped here");
    _exit(status);
}

void on_fault(int signal, siginfo_t* info, void* context) {
    Group* g = group;
    if (!launch || !g || !g->current) {  // not in a kernel
        ::signal(signal, SIG_DFL);
        raise(signal);
        return;
    }
    char text[160];
    bool guard = false;
#if defined(SI_KERNEL)
    bool no_address = info->si_code == SI_KERNEL;  // x86-64 does not say which
#else
    bool no_address = false;
#endif
    const char* address = static_cast<const char*>(info->si_addr);
    bool memory = signal == SIGSEGV || signal == SIGBUS;
    if (memory && owner_of_stack(*g, address, &guard) && guard)
        snprintf(text, sizeof text, "a thread needs more than %zu KB of private memory", (kStackBytes - kGuardBytes) / 1024);
    else if (memory && no_address)
        snprintf(text, sizeof text, "a vector at an address that is no multiple of its size, or an address that cannot be");
    else if (memory)
        snprintf(text, sizeof text, "an access far outside of every buffer (address %p)", info->si_addr);
    else
        snprintf(text, sizeof text, "%s", signal == SIGFPE ? "an integer division by zero, or one that overflows" : signal == SIGILL ? "an unreachable place was reached" : "the kernel was aborted");
    RawReport r = new_report("crash", text);
    r.pc = uint64_t(uintptr_t(pc_of(context))) + 1;  // as if it were a return address
    stop(r, 3);
}

bool in_kernel(const void* pc) {
    Dl_info here, kernel;
    return dladdr(pc, &here) && dladdr(reinterpret_cast<void*>(launch->kernel), &kernel) && here.dli_fbase == kernel.dli_fbase;
}

void on_deadline(int, siginfo_t*, void* context) {
    Group* g = group;
    if (!launch || !g || !g->current) return;
    char text[160];
    snprintf(text, sizeof text, "still running after %g s: an endless loop, or a wait for another thread that never comes", launch->time_limit);
    RawReport r = new_report("endless", text);
    // Where the kernel is: interrupted itself, in a check or spin that it called, or in a collective.
    const void* pc = pc_of(context);
    if (in_kernel(pc))
        r.pc = uint64_t(uintptr_t(pc)) + 1;
    else if (g->current->last_pc)
        r.pc = uint64_t(uintptr_t(g->current->last_pc));
    else
        r.line = g->current->site.line;
    stop(r, 4);
}

void install_handlers() {
    static bool done = false;
    if (done) return;
    done = true;
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = on_fault;
    for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(s, &action, nullptr);
    action.sa_sigaction = on_deadline;
    sigaction(SIGUSR1, &action, nullptr);
}

struct Watch {
    pthread_t thread;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
    bool over = false;
};

void* watch(void* argument) {
    Watch& w = *static_cast<Watch*>(argument);
    timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    double limit = launch->time_limit + double(until.tv_nsec) * 1e-9;
    until.tv_sec += time_t(limit);
    until.tv_nsec = long((limit - double(time_t(limit))) * 1e9);
    pthread_mutex_lock(&w.lock);
    while (!w.over)
        if (pthread_cond_timedwait(&w.ended, &w.lock, &until) && !w.over) {
            for (int i = 0; i < os_thread_count; ++i) pthread_kill(os_threads[i], SIGUSR1);
            until.tv_sec += 1;  // those that were between two kernels' threads are asked again
        }
    pthread_mutex_unlock(&w.lock);
    return nullptr;
}

bool within_limits() {
    const Launch& l = *launch;
    uint64_t threads = uint64_t(l.threadgroup[0]) * l.threadgroup[1] * l.threadgroup[2];
    char text[160];
    if (!threads) {
        report(new_report("limit", "a threadgroup of no threads"));
        return false;
    }
    if (threads > kMostThreads) {
        snprintf(text, sizeof text, "%llu threads in a threadgroup; Metal runs at most %u", (unsigned long long)threads, kMostThreads);
        report(new_report("limit", text));
        return false;
    }
    if (l.buffer_count > 31) {
        snprintf(text, sizeof text, "%u buffers; Metal binds at most 31", l.buffer_count);
        report(new_report("limit", text));
        return false;
    }
    return true;
}

}  // namespace

Place place_of(uint32_t index) {
    const Group& g = *group;
    const Thread& t = g.fibers[index].thread;
    Place p{};
    memcpy(p.group, g.grid.group, sizeof p.group);
    memcpy(p.position, t.position, sizeof p.position);
    p.index = index;
    p.simdgroup = t.simdgroup;
    p.lane = t.lane;
    return p;
}

RawReport new_report(const char* kind, const char* message) {
    RawReport r{};
    snprintf(r.kind, sizeof r.kind, "%s", kind);
    snprintf(r.message, sizeof r.message, "%s", message);
    if (group && group->current) {
        const Fiber& f = *group->current;
        r.thread = place_of(f.thread.index);
        uint32_t k = 0, depth = f.depth < kMostCalls ? f.depth : kMostCalls;
        while (depth > 1 && k < 6) r.callers[k++] = uint64_t(uintptr_t(f.calls[--depth]));  // the outermost is the runtime's
    }
    r.count = 1;
    return r;
}

namespace {

void add(const RawReport& r) {
    Reports& all = *reports;
    bool known = false;
    for (uint32_t i = 0; i < all.count && !known; ++i) {
        RawReport& k = all.list[i];
        known = k.pc == r.pc && k.line == r.line && !strcmp(k.kind, r.kind) && !strcmp(k.buffer, r.buffer);
        if (known) k.count++;
    }
    if (!known) {
        if (all.count < kMostReports)
            all.list[all.count++] = r;
        else
            all.lost++;
    }
}

}  // namespace

void report(const RawReport& r) {
    pthread_mutex_lock(&report_lock);
    add(r);
    pthread_mutex_unlock(&report_lock);
}

void* threadgroup_memory(uint32_t declaration, size_t bytes, size_t align, const char* name, Site site) {
    Group& g = *group;
    if (declaration >= kMostDeclarations) fail("limit", "more threadgroup variables than the simulator counts");
    Declaration& d = g.declarations[declaration];
    if (d.group == g.serial && d.bytes == bytes) return g.arena + d.offset;
    constexpr size_t kGap = 64;  // so that one variable's end is not the next one's start
    size_t offset = (g.arena_top + kGap + align - 1) / align * align;
    if (offset + bytes + kGap > kArenaBytes) {
        RawReport r = new_report("limit", "the threadgroup memory is far more than Metal's 32 KB");
        r.line = site.line;
        stop(r, 3);
    }
    size_t used = bytes;
    for (const Declaration& other : g.declarations)
        if (other.group == g.serial) used += other.bytes;
    d = {offset, bytes, name, g.serial};
    if (sanitizing) memset(g.arena + offset, kUnwritten, bytes);
    g.arena_top = offset + bytes;
    if (used > kThreadgroupBytes) {
        char text[160];
        snprintf(text, sizeof text, "%zu bytes of threadgroup memory; Metal has 32768", used);
        RawReport r = new_report("limit", text);
        r.line = site.line;
        report(r);
    }
    return g.arena + offset;
}

void log(const char* text) {
    if (tracing) trace_log(text);
}

void fail(const char* kind, const char* text) {
    RawReport r = new_report(kind, text);
    r.pc = uint64_t(uintptr_t(__builtin_return_address(0)));
    stop(r, 3);
}

}  // namespace zm

extern "C" __attribute__((visibility("default"))) int zm_launch(zm::Launch* l) {
    using namespace zm;
    launch = l;
    reports = l->reports;
    install_handlers();
    if (!within_limits()) return launch = nullptr, 0;
    sanitizing = l->sanitize;
    tracing = l->has_trace;
    work.total = 1;
    for (int d = 0; d < 3; ++d) work.total *= groups_of(l->grid[d], l->threadgroup[d]);
    work.next = 0;
    void* pointers[64] = {};
    for (uint32_t i = 0; i < l->buffer_count; ++i) pointers[i] = l->buffers[i].data + l->buffers[i].offset;
    if (sanitizing) begin_shadow();
    int helpers = int(l->os_threads) - 1;
    if (uint64_t(helpers) >= work.total) helpers = int(work.total) - 1;
    if (helpers > kMostOsThreads - 1) helpers = kMostOsThreads - 1;
    if (helpers < 0) helpers = 0;
    concurrent = helpers > 0;
    os_threads[0] = pthread_self();
    start_crew(helpers, pointers);
    Watch w;
    bool watched = l->time_limit > 0 && !pthread_create(&w.thread, nullptr, watch, &w);
    prepare_os_thread();
    group->buffers = pointers;
    run_groups();
    l->switches += group->switches;
    finish_crew();
    if (watched) {
        pthread_mutex_lock(&w.lock);
        w.over = true;
        pthread_cond_signal(&w.ended);
        pthread_mutex_unlock(&w.lock);
        pthread_join(w.thread, nullptr);
    }
    group->current = nullptr;
    if (tracing) trace_note("");
    if (sanitizing) end_shadow();
    sanitizing = false;
    tracing = false;
    launch = nullptr;
    return 0;
}
