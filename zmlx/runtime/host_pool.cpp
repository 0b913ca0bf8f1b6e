// The worker threads of the cpu target, and the one call that runs a compiled kernel on arrays.
//
// Built once per machine by zmlx/runtime/host_backend.py and kept in the disk cache. It uses a dozen functions of
// Python's stable ABI, declared here so that no Python headers are needed: a call through a C function object costs
// a tenth of one through ctypes, and the buffers are reached without a Python object each.
//
// Programs of the grid are claimed in chunks from one atomic counter. A worker that has nothing to do polls for a moment,
// giving way to every other thread, and then sleeps on a condition variable. A launch whose work is known (from the last run)
// to be smaller than waking a thread runs on the calling thread alone.
//
// C headers and pthreads only: <thread>, <mutex> and <vector> would cost a cold start a second.
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// ---- Python's stable ABI ------------------------------------------------------------------------------------------

extern "C" {
typedef intptr_t Py_ssize_t;
struct PyObject;
struct Py_buffer {
    void* buf;
    PyObject* obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char* format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void* internal;
};
struct PyMethodDef {
    const char* name;
    void* function;
    int flags;
    const char* doc;
};
PyObject* PyCFunction_NewEx(PyMethodDef*, PyObject*, PyObject*);
int PyObject_GetBuffer(PyObject*, Py_buffer*, int);
void PyBuffer_Release(Py_buffer*);
long long PyLong_AsLongLong(PyObject*);
PyObject* PyLong_FromLongLong(long long);
char* PyBytes_AsString(PyObject*);
PyObject* PyTuple_GetItem(PyObject*, Py_ssize_t);
Py_ssize_t PyTuple_Size(PyObject*);
PyObject* PyList_New(Py_ssize_t);
int PyList_SetItem(PyObject*, Py_ssize_t, PyObject*);
PyObject* Py_BuildValue(const char*, ...);
PyObject* PyErr_Occurred(void);
void* PyEval_SaveThread(void);
void PyEval_RestoreThread(void*);
extern PyObject _Py_NoneStruct, _Py_TrueStruct;
}
static const int kFastcall = 0x80, kStridesWritable = 0x10 | 0x08 | 0x01;

// ---- the pool -----------------------------------------------------------------------------------------------------

using Report = void (*)(int, const char*);
using Entry = void (*)(void* const*, const uint64_t*, const int32_t*, int64_t, int64_t, char*, Report);

// One loaded kernel; filled in by Python (host_backend.Kernel has the same layout).
struct Kernel {
    Entry entry;
    int64_t scratch_bytes;
    double ns_per_program;  // measured at the last launch; 0: not yet known
};

static const double kWorthWaking = 15e3;  // ns of work under which no other thread is woken
static const double kLeastChunk = 2e3;    // ns of work that one claim of programs is to be, at least
static const double kPoll = 50e3;         // ns for which a thread polls before it sleeps

static inline void breathe() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

namespace {

struct Arena {
    char* data = nullptr;
    int64_t size = 0;
    char* reserve(int64_t n) {
        if (n > size) {
            free(data);
            size = (n + 4095) / 4096 * 4096;
            data = static_cast<char*>(aligned_alloc(64, static_cast<size_t>(size)));
        }
        return data;
    }
    ~Arena() { free(data); }
};
thread_local Arena arena;

struct Lock {
    pthread_mutex_t& m;
    explicit Lock(pthread_mutex_t& mutex) : m(mutex) { pthread_mutex_lock(&m); }
    ~Lock() { pthread_mutex_unlock(&m); }
};

// What kernels reported, in a row: a byte of kind, then the text with its end mark.
struct Reports {
    char* data = nullptr;
    size_t size = 0, capacity = 0;
    int count = 0;
    void add(int kind, const char* text) {
        size_t n = strlen(text) + 2;
        if (size + n > capacity) data = static_cast<char*>(realloc(data, capacity = (size + n) * 2));
        data[size] = char(kind);
        memcpy(data + size + 1, text, n - 1);
        size += n;
        count++;
    }
};

struct Job {
    const Kernel* kernel;
    void* const* arrays;
    const uint64_t* scalars;
    const int32_t* grid;
    int64_t total, threads, least, next;  // least: programs of a chunk
    Reports reports;
};

pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
thread_local Job* current = nullptr;

void report(int kind, const char* text) {
    Lock hold(report_lock);
    current->reports.add(kind, text);
}

// Chunks shrink towards the end of the grid, so that the threads end together though programs differ in cost.
void work(Job& job) {
    char* scratch = job.kernel->scratch_bytes ? arena.reserve(job.kernel->scratch_bytes) : nullptr;
    Job* outer = current;
    current = &job;
    int64_t begin = __atomic_load_n(&job.next, __ATOMIC_RELAXED);
    while (begin < job.total) {
        int64_t left = job.total - begin, chunk = job.threads == 1 ? left : left / (4 * job.threads);
        if (chunk < job.least) chunk = job.least < left ? job.least : left;
        if (!__atomic_compare_exchange_n(&job.next, &begin, begin + chunk, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
        job.kernel->entry(job.arrays, job.scalars, job.grid, begin, begin + chunk, scratch, report);
        begin = __atomic_load_n(&job.next, __ATOMIC_RELAXED);
    }
    current = outer;
}

double now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

// Waits a moment for a number to become (or stop being) zero: waking a thread takes tens of microseconds, more than most
// launches lie apart, and more than the threads of one launch end apart. Other threads that want the core get it.
void poll(const int& number, bool until_zero, double ns) {
    for (double end = now_ns() + ns; (__atomic_load_n(&number, __ATOMIC_ACQUIRE) == 0) != until_zero && now_ns() < end; sched_yield())
        for (int i = 0; i < 16; i++) breathe();
}

class Pool {
  public:
    // Launches of several threads take turns, but for those that need no other thread; the GIL is not held here.
    // Returns what the kernel reported.
    Reports run(Kernel& kernel, void* const* arrays, const uint64_t* scalars, const int32_t* grid, int threads) {
        Job job{&kernel, arrays, scalars, grid, int64_t(grid[0]) * grid[1] * grid[2], 1, 1, 0, Reports()};
        double each, start = now_ns();
        __atomic_load(&kernel.ns_per_program, &each, __ATOMIC_RELAXED);
        if (threads > job.total) threads = int(job.total);
        if (threads == 1 || (each > 0 && each * double(job.total) < kWorthWaking)) {
            work(job);
        } else {
            Lock turn(turn_);
            job.threads = threads;
            if (each > 0 && each < kLeastChunk) job.least = int64_t(kLeastChunk / each);
            grow(threads - 1);
            keep_away();
            start = now_ns();
            {
                Lock hold(lock_);
                job_ = &job;
                set(wanted_, threads - 1);
                if (polling_ < wanted_) pthread_cond_broadcast(&wake_);
            }
            work(job);
            {
                Lock hold(lock_);
                job_ = nullptr;  // who has not come yet stays away
                set(wanted_, 0);
            }
            poll(inside_, true, kPoll);
            Lock hold(lock_);
            while (inside_) pthread_cond_wait(&done_, &lock_);
        }
        each = (now_ns() - start) * double(job.threads) / double(job.total);
        __atomic_store(&kernel.ns_per_program, &each, __ATOMIC_RELAXED);
        return job.reports;
    }

  private:
    static void set(int& number, int to) { __atomic_store_n(&number, to, __ATOMIC_RELEASE); }
    void grow(int n) {
        while (workers_ < n) {
            pthread_t t;
            if (pthread_create(&t, nullptr, [](void* self) -> void* { return static_cast<Pool*>(self)->serve(), nullptr; }, this)) return;
            pthread_detach(t);
            if (workers_ < kMostPlaced) ids_[workers_] = t;
            workers_++;
            away_from_ = -1;
        }
    }
    // A woken worker may be put on the core of the caller, who is about to be busy, and stay there for the few
    // milliseconds that a launch takes (seen on Linux guests with two cores, where it halved the speed): workers may run
    // on every core that the caller may use but its own.
    void keep_away() {
#ifdef __linux__
        int here = sched_getcpu();
        if (here < 0 || here == away_from_) return;
        cpu_set_t others;
        if (sched_getaffinity(0, sizeof others, &others)) return;
        CPU_CLR(here, &others);
        if (CPU_COUNT(&others) == 0) return;
        for (int i = 0; i < workers_ && i < kMostPlaced; i++) pthread_setaffinity_np(ids_[i], sizeof others, &others);
        away_from_ = here;
#endif
    }
    void serve() {
        pthread_mutex_lock(&lock_);
        for (;;) {
            if (!wanted_) {
                polling_++;
                pthread_mutex_unlock(&lock_);
                poll(wanted_, false, kPoll);
                pthread_mutex_lock(&lock_);
                polling_--;
            }
            while (!wanted_) pthread_cond_wait(&wake_, &lock_);
            Job* job = job_;
            set(wanted_, wanted_ - 1);
            set(inside_, inside_ + 1);
            pthread_mutex_unlock(&lock_);
            work(*job);
            pthread_mutex_lock(&lock_);
            set(inside_, inside_ - 1);
            if (inside_ == 0) pthread_cond_signal(&done_);
        }
    }
    pthread_mutex_t turn_ = PTHREAD_MUTEX_INITIALIZER, lock_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER, done_ = PTHREAD_COND_INITIALIZER;
    Job* job_ = nullptr;
    static const int kMostPlaced = 256;
    pthread_t ids_[kMostPlaced];
    // Written under lock_: workers that the job still wants, that are at it, that poll for the next one; threads there are.
    int wanted_ = 0, inside_ = 0, polling_ = 0, workers_ = 0, away_from_ = -1;
};

// A forked child has none of its parent's threads and perhaps a locked mutex: it gets a pool of its own. Pools are never
// destroyed, as sleeping workers hold on to them until the process ends.
struct Owned {
    pid_t process;
    Pool* pool;
};

Pool& pool() {
    static Owned* current = nullptr;
    Owned* seen = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    if (seen && seen->process == getpid()) return *seen->pool;
    Owned* mine = new Owned{getpid(), new Pool};
    // Of several threads that come first, one wins; a lost pool has no threads yet.
    if (!__atomic_compare_exchange_n(&current, &seen, mine, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return *seen->pool;
    report_lock = PTHREAD_MUTEX_INITIALIZER;
    return *mine->pool;
}

// What one launch holds, released on every way out.
struct Launch {
    Py_buffer* held;  // arrays, then sources
    void** pointers;
    Py_ssize_t taken = 0;
    explicit Launch(Py_ssize_t n)
        : held(static_cast<Py_buffer*>(malloc(sizeof(Py_buffer) * size_t(2 * n + 1)))),
          pointers(static_cast<void**>(malloc(sizeof(void*) * size_t(n + 1)))) {}
    ~Launch() {
        for (Py_ssize_t i = 0; i < taken; i++) PyBuffer_Release(&held[i]);
        free(held);
        free(pointers);
    }
    // 0: held; 1: not row-contiguous; 2: empty; -1: a Python error is set
    int take(PyObject* array) {
        Py_buffer& b = held[taken];
        if (PyObject_GetBuffer(array, &b, kStridesWritable)) return -1;
        taken++;
        if (b.len == 0) return 2;
        Py_ssize_t step = b.itemsize;
        if (b.strides)
            for (int i = b.ndim - 1; i >= 0; i--) {
                if (b.shape[i] != 1 && b.strides[i] != step) return 1;
                step *= b.shape[i];
            }
        return 0;
    }
};

// launch(kernel address, arrays, sources, scalars, grid, threads)
//   arrays   tuple of row-contiguous arrays
//   sources  tuple of the same length: None; an array whose content is copied in first; or True: zeros
// Returns None, or a list of (kind, text) that the kernel reported, or ~i for an array i that is not row-contiguous
// (sources counted behind the arrays), or i for an array that is empty.
PyObject* launch(PyObject*, PyObject* const* args, Py_ssize_t) {
    auto* kernel = reinterpret_cast<Kernel*>(PyLong_AsLongLong(args[0]));
    Py_ssize_t n = PyTuple_Size(args[1]);
    const char* scalars = PyBytes_AsString(args[3]);
    int32_t grid[3];
    for (int i = 0; i < 3; i++) grid[i] = int32_t(PyLong_AsLongLong(PyTuple_GetItem(args[4], i)));
    int threads = int(PyLong_AsLongLong(args[5]));
    if (PyErr_Occurred()) return nullptr;

    Launch l(n);
    for (Py_ssize_t i = 0; i < n; i++) {
        int state = l.take(PyTuple_GetItem(args[1], i));
        if (state < 0) return nullptr;
        if (state) return PyLong_FromLongLong(state == 1 ? ~i : i);
        l.pointers[i] = l.held[i].buf;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject* source = PyTuple_GetItem(args[2], i);
        if (source == &_Py_NoneStruct) continue;
        if (source == &_Py_TrueStruct) {
            memset(l.pointers[i], 0, size_t(l.held[i].len));
            continue;
        }
        int state = l.take(source);
        if (state < 0) return nullptr;
        if (state) return PyLong_FromLongLong(state == 1 ? ~(n + i) : i);
        memcpy(l.pointers[i], l.held[l.taken - 1].buf, size_t(l.held[i].len));
    }

    Pool& p = pool();
    void* thread = PyEval_SaveThread();
    Reports said = p.run(*kernel, l.pointers, reinterpret_cast<const uint64_t*>(scalars), grid, threads);
    PyEval_RestoreThread(thread);
    if (!said.count) return Py_BuildValue("");
    PyObject* list = PyList_New(said.count);
    const char* at = said.data;
    for (int i = 0; i < said.count; i++) {
        PyList_SetItem(list, i, Py_BuildValue("(is)", int(*at), at + 1));
        at += strlen(at + 1) + 2;
    }
    free(said.data);
    return list;
}

PyMethodDef launch_method = {"launch", reinterpret_cast<void*>(&launch), kFastcall, nullptr};

}  // namespace

// The launch function as a Python object (a new reference).
extern "C" __attribute__((visibility("default"))) PyObject* zm_host_launch(void) {
    return PyCFunction_NewEx(&launch_method, nullptr, nullptr);
}

// A launch on arrays that are ready, from any thread and without Python: what the lazy primitive of zmlx-native calls.
// For kernels that report nothing.
extern "C" __attribute__((visibility("default"))) void zm_host_run(
    void* kernel, void* const* arrays, const char* scalars, const int32_t* grid, int threads) {
    Reports said = pool().run(*static_cast<Kernel*>(kernel), arrays, reinterpret_cast<const uint64_t*>(scalars), grid, threads);
    free(said.data);
}
