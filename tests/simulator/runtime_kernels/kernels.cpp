// Kernels against the runtime's own interface, without MSL: one entry that chooses by the number in buffer 0.
// A comment `// @name` marks a line that a test names.
#include <math.h>
#include <stdlib.h>

#include "runtime.h"

using zm::grid;
using zm::self;

namespace {

typedef float Four __attribute__((vector_size(16)));

uint32_t global_index() { return grid().group[0] * grid().full_threadgroup[0] + self().index; }
float* shared(size_t floats, ZM_SITE) {
    return static_cast<float*>(zm::threadgroup_memory(0, floats * sizeof(float), 16, "shared", zm_site));
}
uint8_t* shared_bytes(size_t n, ZM_SITE) { return static_cast<uint8_t*>(zm::threadgroup_memory(1, n, 16, "bytes", zm_site)); }
void barrier(uint32_t flags = zm::kThreadgroup, ZM_SITE) { zm::threadgroup_barrier(flags, zm_site); }
void simd_barrier(uint32_t flags = zm::kThreadgroup, ZM_SITE) { zm::simdgroup_barrier(flags, zm_site); }

ZM_UNCHECKED void add_up(void** slots, uint32_t mask) {
    float sum = 0;
    for (uint32_t m = mask; m; m &= m - 1) sum += *static_cast<float*>(slots[__builtin_ctz(m)]);
    for (uint32_t m = mask; m; m &= m - 1) *static_cast<float*>(slots[__builtin_ctz(m)]) = sum;
}
ZM_UNCHECKED __attribute__((noinline)) float simd_sum(float x, ZM_SITE) {
    zm::collective(&x, add_up, "simd_sum", zm_site);
    return x;
}
ZM_UNCHECKED __attribute__((noinline)) void atomic_add(uint32_t* at, uint32_t n) {
    zm::atomic_access(at, 4, true);
    __atomic_fetch_add(at, n, __ATOMIC_RELAXED);
}
ZM_UNCHECKED __attribute__((noinline)) uint32_t atomic_load(uint32_t* at) {
    zm::spin();
    zm::atomic_access(at, 4, false);
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
__attribute__((always_inline)) inline int opaque(int x) {
    asm volatile("" : "+r"(x));
    return x;
}
// A read that no optimiser leaves out.
template <class T>
void use(T value) {
    asm volatile("" ::"g"(&value) : "memory");
}

// ---- correct ones: `in` and `out` are buffers 1 and 2 ----------------------------------------------------------------

void copy(float* in, float* out) { out[global_index()] = in[global_index()] + 1; }

// The sum of each group of the grid, whatever its size.
void group_sum(float* in, float* out) {
    const zm::Thread& t = self();
    float* part = shared(32);
    if (t.simdgroup == 0) part[t.lane] = 0;
    barrier();
    float sum = simd_sum(in[global_index()]);
    if (t.lane == 0) part[t.simdgroup] = sum;
    barrier();
    uint32_t simdgroups = (grid().threadgroup[0] + 31) / 32;
    float total = 0;
    for (uint32_t i = 0; i < simdgroups; ++i) total += part[i];
    if (t.index == 0) out[grid().group[0]] = total;
}

// What a thread of a three-dimensional grid knows of its place.
void places(uint32_t*, uint32_t* out) {
    const zm::Thread& t = self();
    const zm::Grid& g = grid();
    uint32_t at[3], k = 0;
    for (int d = 0; d < 3; ++d) at[d] = g.group[d] * g.full_threadgroup[d] + t.position[d];
    uint32_t* row = out + 18 * ((at[2] * g.threads[1] + at[1]) * g.threads[0] + at[0]);
    for (int d = 0; d < 3; ++d) row[k++] = t.position[d];
    for (int d = 0; d < 3; ++d) row[k++] = g.group[d];
    for (int d = 0; d < 3; ++d) row[k++] = g.threadgroup[d];
    for (int d = 0; d < 3; ++d) row[k++] = g.full_threadgroup[d];
    for (int d = 0; d < 3; ++d) row[k++] = g.groups[d];
    row[k++] = t.index;
    row[k++] = t.simdgroup;
    row[k++] = t.lane;
}

// Lanes pass values by threadgroup memory and a simdgroup barrier.
void simd_exchange(float* in, float* out) {
    float* x = shared(1024);
    uint32_t i = self().index;
    x[i] = in[i];
    simd_barrier();
    out[i] = x[i ^ 1];
}

void device_exchange(float* in, float* out) {
    uint32_t i = self().index, n = grid().threadgroup[0];
    out[i] = in[i];
    barrier(zm::kDevice);
    float x = out[(i + 1) % n];
    barrier(zm::kDevice);
    out[i] = x;
}

// Every element of two bytes and of one is another thread's: neighbours share the words of the shadow.
void narrow(uint16_t* in, uint16_t* out) { out[global_index()] = in[global_index()]; }
void narrow_bytes(uint8_t* in, uint8_t* out) { out[global_index()] = in[global_index()]; }

void count(uint32_t*, uint32_t* out) { atomic_add(&out[global_index() % 4], 1); }

// One thread waits for another of its group, which Metal allows when it is bound to come.
void wait_for_neighbour(uint32_t*, uint32_t* out) {
    if (self().index == 0)
        while (!atomic_load(&out[0])) {
        }
    if (self().index == 40) atomic_add(&out[0], 1);
}

// Lanes that left do not hold up the others.
void leave_early(float* in, float* out) {
    if (self().lane >= 20) {
        out[self().index] = 0;
        return;
    }
    out[self().index] = simd_sum(in[self().index]);
}

// A loop in which collectives come in turn, as many as the simdgroup's number says.
void unlike_simdgroups(float* in, float* out) {
    float sum = in[self().index];
    for (uint32_t i = 0; i <= self().simdgroup; ++i) sum = simd_sum(sum) / 32;
    out[self().index] = sum;
}

void nothing(float*, float*) {}

// ---- out of bounds ------------------------------------------------------------------------------------------------------

void read_past_end(float* in, float* out) {
    uint32_t i = global_index();
    out[i] = in[i + 1];  // @read_past_end
}
void read_before_start(float* in, float* out) {
    int i = int(global_index());
    out[i] = in[i - 2];  // @read_before_start
}
void write_past_end(float* in, float* out) {
    uint32_t i = global_index();
    out[i] = in[i];
    out[i + 3] = 1;  // @write_past_end
}
void half_outside(float* in, float* out) {
    uint32_t i = global_index();
    *reinterpret_cast<uint64_t*>(out + 2 * i) = *reinterpret_cast<uint64_t*>(in + 2 * i);  // @half_outside
}
void shared_past_end(float*, float* out) {
    float* x = shared(64);
    x[self().index + 1] = 1;  // @shared_past_end
    out[global_index()] = 1;
}
void atomic_past_end(uint32_t*, uint32_t* out) {
    atomic_add(&out[global_index()], 0);
    atomic_add(&out[global_index() + 1], 0);  // @atomic_past_end
}
void wrapped_index(float* in, float* out) {
    uint32_t i = global_index();
    out[i] = in[i - 3];  // @wrapped_index
}

// ---- races --------------------------------------------------------------------------------------------------------------

void shared_write_write(float*, float* out) {
    float* x = shared(4);
    x[0] = 1;  // @shared_write_write
    out[global_index()] = 1;
}
void shared_write_read(float*, float* out) {
    float* x = shared(64);
    x[self().index] = 1;                          // @shared_write
    out[global_index()] = x[self().index ^ 33];  // @shared_read
}
// All simdgroups read, then one writes.
void shared_read_write(float*, float* out) {
    float* x = shared(1);
    if (self().index == 0) x[0] = 1;
    barrier();
    out[global_index()] = x[0];
    if (self().index == 63) x[0] = 2;  // @shared_read_write
}
void weak_barrier(float* in, float* out) {  // a simdgroup barrier between simdgroups
    float* x = shared(64);
    x[self().index] = in[self().index];
    simd_barrier();
    out[self().index] = x[63 - self().index];  // @weak_barrier
}
void barrier_of_device(float* in, float* out) {
    float* x = shared(64);
    x[self().index] = in[self().index];
    barrier(zm::kDevice);
    out[self().index] = x[self().index ^ 1];  // @barrier_of_device
}
void barrier_of_none(float* in, float* out) {
    float* x = shared(64);
    x[self().index] = in[self().index];
    barrier(0);
    out[self().index] = x[self().index ^ 1];  // @barrier_of_none
}
void collective_is_no_barrier(float* in, float* out) {
    float* x = shared(64);
    x[self().index] = in[self().index];
    float sum = simd_sum(1);
    out[self().index] = sum * x[self().index ^ 1];  // @collective_is_no_barrier
}
void bytes_race(uint8_t*, uint8_t* out) {  // neighbours' bytes are no race, one's own written twice is
    uint8_t* x = shared_bytes(64);
    x[self().index] = 1;
    barrier();
    x[(self().index + 1) % 64 & ~1u] = 2;  // @bytes_race
    out[self().index] = 0;
}
void device_same_group(float* in, float* out) {
    uint32_t i = self().index;
    out[i] = in[i];
    barrier();                 // orders threadgroup memory alone
    use(out[i ^ 1]);  // @device_same_group
}
void device_same_value(float*, float* out) {
    out[self().index] = 1;  // @device_same_value
}
void device_across_groups(float* in, float* out) {
    uint32_t i = global_index();
    out[i] = in[i];
    barrier(zm::kDevice | zm::kThreadgroup);
    use(out[(i + 64) % 128]);  // @device_across_groups
}
void atomic_and_not(uint32_t*, uint32_t* out) {
    if (self().index == 5)
        out[0] = 7;
    else
        atomic_add(&out[0], 1);
}
void read_of_atomic(uint32_t*, uint32_t* out) {
    atomic_add(&out[0], 1);
    use(out[0]);  // @read_of_atomic
}

// ---- not written --------------------------------------------------------------------------------------------------------

void shared_not_written(float*, float* out) {
    float* x = shared(64);
    if (self().index != 9) x[self().index] = 1;
    barrier();
    out[self().index] = x[63 - self().index];  // @shared_not_written
}
// The second group finds what the first one left, and must not rely on it.
void left_over(float*, float* out) {
    float* x = shared(64);
    if (grid().group[0] == 0) x[self().index] = 1;
    barrier();
    out[global_index()] = x[self().index];  // @left_over
}
void part_of_word(float*, float* out) {
    float* x = shared(64);
    reinterpret_cast<uint8_t*>(x)[4 * self().index + 1] = 1;
    out[self().index] = x[self().index];  // @part_of_word
}
void output_read(float*, float* out) {
    out[global_index()] += 1;  // @output_read
}
void output_not_written(float* in, float* out) {
    uint32_t i = global_index();
    if (i % 8 != 5) out[i] = in[i];
}

// ---- divergence ---------------------------------------------------------------------------------------------------------

void divergent_barrier(float*, float* out) {
    out[self().index] = 1;
    if (self().index < 32) barrier();  // @divergent_barrier
}
void other_barrier(float*, float* out) {
    out[self().index] = 1;
    if (self().index < 32)
        barrier();  // @one_barrier
    else
        barrier();  // @other_barrier
}
void divergent_simd(float*, float* out) {
    float x = 1;
    if (self().index % 2) x = simd_sum(x);  // @divergent_simd
    barrier();
    out[self().index] = x;
}
void divergent_simd_barrier(float*, float* out) {
    if (self().lane < 3) simd_barrier();  // @divergent_simd_barrier
    barrier();
    out[self().index] = 1;
}

// ---- other accesses -----------------------------------------------------------------------------------------------------

void misaligned(float* in, float* out) {
    Four v = *reinterpret_cast<Four*>(in + 1);  // @misaligned
    for (int i = 0; i < 4; ++i) out[4 * global_index() + i] = v[i];
}
void write_input(float* in, float* out) {
    uint32_t i = global_index();
    out[i] = in[i];
    in[i] = 0;  // @write_input
}
void much_shared_memory(float*, float* out) {
    float* x = shared(8193);  // @much_shared_memory
    x[self().index] = 1;
    out[self().index] = x[self().index];
}
void shared_beyond_all(float*, float* out) {
    float* x = shared(1 << 20);
    out[self().index] = x[self().index] = 1;
}
void many_places(float* in, float* out);

// ---- the end ------------------------------------------------------------------------------------------------------------

void null(float*, float* out) {
    out[global_index()] = 1;
    if (self().index == 3) *reinterpret_cast<volatile int*>(uintptr_t(opaque(16))) = 1;  // @null
}
void divide(int* in, int* out) {
    out[global_index()] = 100 / in[global_index()];  // @divide
}
__attribute__((noinline)) int deep(int n) {
    volatile char room[1000];
    room[n % 1000] = char(n);
    return n ? deep(n + opaque(1)) + room[n % 1000] : 0;  // @deep
}
void overflow(int*, int* out) { out[global_index()] = deep(1); }
__attribute__((noinline)) void large(int* out, int n) {
    volatile char room[200000];
    room[opaque(n)] = 1;  // the first touch lies far below the page that guards the stack
    room[0] = char(n);
    out[n] = room[n];
}
void large_frames(int*, int* out) {
    volatile char room[150000];
    room[opaque(0)] = 1;
    large(out, int(global_index()));
    use(room[0]);
}
void aborts(int*, int*) {
    if (self().index == 1) abort();
}
void endless(int*, int* out) {
    out[global_index()] = 1;
    while (opaque(1)) {  // @endless
    }
}
void endless_access(int*, int* out) {
    volatile int* at = out + global_index();
    for (;;) *at = 1;  // @endless_access
}
// Reports are being added all the time when it is stopped.
void endless_race(int*, int* out) {
    volatile int* at = out;
    while (opaque(1)) *at = 1;
}
void spins(uint32_t*, uint32_t* out) {  // for a group that comes later
    if (grid().group[0] == 0)
        while (!atomic_load(&out[0])) {
        }
    if (grid().group[0] == grid().groups[0] - 1) atomic_add(&out[0], 1);
}
void waits_for_ever(uint32_t*, uint32_t* out) {
    if (self().index == 0)
        while (!atomic_load(&out[0])) {  // @waits_for_ever
        }
}
void unsupported(float*, float*) { zm::fail("unsupported", "textures"); }

void traced(float* in, float* out) {
    float* x = shared(64);
    uint32_t i = self().index;
    x[i] = in[i];                    // @traced_in
    barrier();                       // @traced_barrier
    float sum = simd_sum(x[i]);      // @traced_sum
    out[i] = sum;                    // @traced_out
    zm::log("done");
}

// ---- a small machine: the program in buffer 1 says which thread accesses what, and where barriers stand ------------------
// Steps of 4 words: {what, who, where, bytes}. what: 0 end, 1 read, 2 write, 3 atomic read, 4 atomic write, each of threadgroup
// memory and +8 of device memory; 5 threadgroup barrier, 6 simdgroup barrier with flags `who`. who: thread + 64 · group.

ZM_UNCHECKED uint32_t peek(const uint32_t* at) { return *at; }

void touch(uint32_t what, uint8_t* at, uint32_t bytes) {
    if (what == 3 || what == 4) return zm::atomic_access(at, bytes, what == 4);
    if (what == 1) {
        if (bytes == 1) use(*at);
        if (bytes == 2) use(*reinterpret_cast<uint16_t*>(at));
        if (bytes == 4) use(*reinterpret_cast<uint32_t*>(at));
        if (bytes == 8) use(*reinterpret_cast<uint64_t*>(at));
    } else {
        if (bytes == 1) *at = 1;
        if (bytes == 2) *reinterpret_cast<uint16_t*>(at) = 1;
        if (bytes == 4) *reinterpret_cast<uint32_t*>(at) = 1;
        if (bytes == 8) *reinterpret_cast<uint64_t*>(at) = 1;
    }
}

void machine(uint32_t* program, uint32_t* out) {
    uint8_t* x = shared_bytes(32);
    if (self().index == 0)
        for (int i = 0; i < 32; ++i) x[i] = 0;
    barrier();
    for (const uint32_t* step = program; uint32_t what = peek(step); step += 4) {
        uint32_t who = peek(step + 1), where = peek(step + 2), bytes = peek(step + 3);
        if (what == 5)
            barrier(who);
        else if (what == 6)
            simd_barrier(who);
        else if (who == self().index + 64 * grid().group[0])
            touch(what & 7, (what & 8 ? reinterpret_cast<uint8_t*>(out) : x) + where, bytes);
    }
}

void many_places(float*, float* out) {
    volatile float* x = out;
#define TEN(n) x[n] = 1; x[n + 1] = 1; x[n + 2] = 1; x[n + 3] = 1; x[n + 4] = 1; x[n + 5] = 1; x[n + 6] = 1; x[n + 7] = 1; x[n + 8] = 1; x[n + 9] = 1;
    TEN(0) TEN(10) TEN(20) TEN(30) TEN(40) TEN(50) TEN(60) TEN(70) TEN(80) TEN(90) TEN(100) TEN(110) TEN(120) TEN(130) TEN(140)
}

using Kernel = void (*)(void*, void*);
template <class T>
Kernel any(void (*f)(T*, T*)) { return reinterpret_cast<Kernel>(f); }

}  // namespace

// The order is that of `kernel_names` in runtime_harness.py, which reads this list.
static const Kernel kernels[] = {
    any(copy), any(group_sum), any(places), any(simd_exchange), any(device_exchange), any(narrow), any(narrow_bytes), any(count),
    any(wait_for_neighbour), any(leave_early), any(unlike_simdgroups), any(nothing), any(read_past_end), any(read_before_start),
    any(write_past_end), any(half_outside), any(shared_past_end), any(atomic_past_end), any(wrapped_index), any(shared_write_write),
    any(shared_write_read), any(shared_read_write), any(weak_barrier), any(barrier_of_device), any(barrier_of_none),
    any(collective_is_no_barrier), any(bytes_race), any(device_same_group), any(device_same_value), any(device_across_groups),
    any(atomic_and_not), any(read_of_atomic), any(shared_not_written), any(left_over), any(part_of_word), any(output_read),
    any(output_not_written), any(divergent_barrier), any(other_barrier), any(divergent_simd), any(divergent_simd_barrier), any(misaligned),
    any(write_input), any(much_shared_memory), any(shared_beyond_all), any(many_places), any(null), any(divide), any(overflow),
    any(large_frames), any(aborts), any(endless), any(endless_access), any(endless_race), any(spins), any(waits_for_ever),
    any(unsupported), any(traced), any(machine),
};

extern "C" __attribute__((visibility("default"), no_sanitize("thread"))) void zm_kernel(void* const* b) {
    kernels[*static_cast<const uint32_t*>(b[0])](b[1], b[2]);
}
