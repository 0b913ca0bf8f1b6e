// The rules of races. Two accesses of different threads are ordered when a barrier of their threadgroup that orders this memory
// lies between them, or a simdgroup barrier of the simdgroup they share; accesses of different threadgroups are not ordered
// within a launch. Simdgroup collectives exchange registers and order no memory.
#include "cells.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "launch.h"

namespace zm {

bool concurrent;

namespace {

enum Flags : uint8_t {
    kWriteAtomic = 1,
    kReadAtomic = 2,       // all reads since the last barrier
    kManyReaders = 4,      // of one simdgroup since its last barrier
    kManySimdgroups = 8,   // readers of several simdgroups since the last barrier
    kManyGroups = 16,      // readers of several threadgroups
    kManyWriters = 32,     // atomics of several threads since the last barrier
    kForeignWriters = 64,  // atomics of several threadgroups
    kSplit = 128,          // see the byte cells
};
constexpr uint8_t kLock = 128;
constexpr uint8_t kReaders = kManyReaders | kManySimdgroups | kManyGroups, kWriters = kManyWriters | kForeignWriters;

// Held while a cell of device memory is looked at and changed; its byte cells share the lock.
struct Hold {
    Cell* cell;
    explicit Hold(Cell* c) : cell(c) {
        if (cell)
            while (__atomic_fetch_or(&cell->initialised, kLock, __ATOMIC_ACQUIRE) & kLock) {
            }
    }
    ~Hold() {
        if (cell) __atomic_fetch_and(&cell->initialised, uint8_t(~kLock), __ATOMIC_RELEASE);
    }
};

Cell* reserve(size_t cells) {
    size_t bytes = cells * sizeof(Cell);
    void* memory = mmap(nullptr, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
#ifdef MADV_HUGEPAGE
    madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<Cell*>(memory);
}

// A distance of 32 bits from the kernel, in whose library all of these lie; the runtime's own may be far away.
uint32_t short_pc(const void* pc) { return uint32_t(uintptr_t(pc) - uintptr_t(launch->kernel)); }
uint64_t long_pc(uint32_t pc) { return pc ? uint64_t(int64_t(uintptr_t(launch->kernel)) + int32_t(pc)) : 0; }

void describe(RawReport& r, const Touch& t) {
    snprintf(r.buffer, sizeof r.buffer, "%s", t.where.name);
    r.offset = t.where.offset;
    r.length = t.where.length;
    r.bytes = uint32_t(t.bytes);
    r.access = t.atomic() ? 3 : t.writes() ? 2 : 1;
    r.space = t.where.space;
    r.pc = uint64_t(uintptr_t(t.pc));
}

uint32_t own_id(const Group& g, uint32_t space) { return space == 2 ? g.serial : g.group_id; }

// The place of a thread in a threadgroup of the device's grid.
Place place_in(uint32_t id, uint32_t thread) {
    const Grid& grid = group->grid;
    Place p{};
    p.group[0] = id % grid.groups[0];
    p.group[1] = id / grid.groups[0] % grid.groups[1];
    p.group[2] = id / (grid.groups[0] * grid.groups[1]);
    uint32_t rest = thread;
    for (int d = 0; d < 3; ++d) {
        uint32_t left = grid.threads[d] - p.group[d] * grid.full_threadgroup[d];
        uint32_t n = left < grid.full_threadgroup[d] ? left : grid.full_threadgroup[d];
        p.position[d] = rest % n;
        rest /= n;
    }
    p.index = thread;
    p.simdgroup = thread / kLanes;
    p.lane = thread % kLanes;
    return p;
}

void race(const Touch& t, const Cell& c, bool with_write) {
    const Group& g = *group;
    uint32_t id = with_write ? c.write_group : c.read_group, thread = with_write ? c.write_thread : c.read_thread;
    bool same_group = id == own_id(g, t.where.space);
    if (!with_write && same_group && thread == g.current->thread.index) thread = c.earlier_reader;
    char text[160];
    snprintf(text, sizeof text, "%s and a %s by another thread%s, with no %s between them", t.writes() ? "a write" : "a read",
             with_write ? "write" : "read", same_group ? " of the threadgroup" : " of another threadgroup",
             same_group ? "barrier that orders this memory" : "order");
    RawReport r = new_report(t.where.space == 2 ? "race" : "device-race", text);
    describe(r, t);
    r.has_other = !same_group || thread != g.current->thread.index;  // of several atomics this thread's may be the last
    r.other = same_group ? place_of(thread) : place_in(id - 1, thread);
    r.other_pc = long_pc(with_write ? c.write_pc : c.read_pc);
    report(r);
}

// Whether an access of this thread's group comes before all that the thread does now. `thread`: whose it was; `across`: of
// threads of several simdgroups, of which this is the last.
bool ordered(const Group& g, uint32_t space, uint32_t time, uint32_t thread, bool many, bool across) {
    if (time < g.ordered[space - 1]) return true;
    if (across) return false;
    const Thread& me = g.current->thread;
    if (thread == me.index && !many) return true;
    return thread / kLanes == me.simdgroup && time < g.simdgroups[me.simdgroup].time[space - 1];
}

bool after_write(const Group& g, const Cell& c, const Touch& t, uint32_t own) {
    if (!c.write_group || (t.atomic() && (c.flags & kWriteAtomic))) return true;
    if (c.write_group != own || (c.flags & kForeignWriters)) return false;
    return ordered(g, t.where.space, c.write_time, c.write_thread, false, c.flags & kManyWriters);
}

bool after_reads(const Group& g, const Cell& c, const Touch& t, uint32_t own) {
    if (!c.read_group || (t.atomic() && (c.flags & kReadAtomic))) return true;
    if (c.read_group != own || (c.flags & kManyGroups)) return false;
    return ordered(g, t.where.space, c.read_time, c.read_thread, c.flags & kManyReaders, c.flags & kManySimdgroups);
}

void note_write(const Group& g, Cell& c, const Touch& t, uint32_t own) {
    uint16_t me = uint16_t(g.current->thread.index);
    uint8_t flags = uint8_t(c.flags & ~(kReaders | kWriters | kWriteAtomic));
    if (t.atomic()) {
        flags |= kWriteAtomic;
        if (c.write_group && (c.flags & kWriteAtomic)) {
            if (c.write_group != own)
                flags |= kForeignWriters;
            else if (c.write_time >= g.ordered[t.where.space - 1] && (c.write_thread != me || (c.flags & kManyWriters)))
                flags |= kManyWriters;
            flags |= c.flags & kForeignWriters;
        }
    }
    c.flags = flags;
    c.write_group = own;
    c.write_thread = me;
    c.write_time = g.time;
    c.write_pc = short_pc(t.pc);
    c.read_group = 0;
}

void note_read(const Group& g, Cell& c, const Touch& t, uint32_t own) {
    uint16_t me = uint16_t(g.current->thread.index);
    bool all_atomic = t.atomic();
    if (c.read_group) {
        if (c.read_group != own) {
            c.flags |= kManyGroups;
        } else if (c.read_time < g.ordered[t.where.space - 1]) {
            c.flags &= uint8_t(~(kManyReaders | kManySimdgroups));
        } else if (c.read_thread / kLanes != me / kLanes) {
            c.flags |= kManySimdgroups;
        } else if (c.read_time < g.simdgroups[me / kLanes].time[t.where.space - 1]) {
            c.flags &= uint8_t(~kManyReaders);
        } else if (c.read_thread != me) {
            c.flags |= kManyReaders;
        }
        if (c.read_thread != me) c.earlier_reader = c.read_thread;
        if (c.read_group != own || c.read_time >= g.ordered[t.where.space - 1]) all_atomic = all_atomic && (c.flags & kReadAtomic);
    }
    c.read_group = own;
    c.read_thread = me;
    c.read_time = g.time;
    c.read_pc = short_pc(t.pc);
    c.flags = uint8_t(all_atomic ? c.flags | kReadAtomic : c.flags & ~kReadAtomic);
}

// Some compilers do not instrument all writes (results of functions that are returned in memory). The memory was filled with a
// pattern; what differs from it was written by someone.
bool written_unseen(const Shadow& s, size_t at, const Touch& t) {
    for (size_t i = 0; i < t.bytes; ++i)
        if (static_cast<unsigned char>(t.address[i]) != kUnwritten && !was_written(s, at + i)) return true;
    return false;
}

// What another threadgroup left in threadgroup memory is not there any more.
void forget_older(Cell& c, uint32_t own) {
    if (c.write_group != own) {
        c.initialised = 0;
        c.write_group = 0;
        c.flags &= uint8_t(~(kWriters | kWriteAtomic));
    }
    if (c.read_group != own) {
        c.read_group = 0;
        c.flags &= uint8_t(~(kReaders | kReadAtomic));
    }
}

// Checks one cell and notes the access in it. False: something was reported. `start`: where the whole access begins.
bool visit_cell(Group& g, Shadow& s, Cell& c, uint8_t bits, size_t start, const Touch& t, bool initialised) {
    uint32_t own = own_id(g, t.where.space);
    if (t.where.space == 2) forget_older(c, own);
    bool fine = after_write(g, c, t, own);
    if (!fine) race(t, c, true);
    if (t.writes()) {
        if (fine && !after_reads(g, c, t, own)) {
            race(t, c, false);
            fine = false;
        }
        note_write(g, c, t, own);
        c.initialised |= bits;
        return fine;
    }
    if (!initialised && (c.initialised & bits) != bits && !written_unseen(s, start, t)) {
        bool local = t.where.space == 2;
        simple(local ? "uninitialised-threadgroup" : "uninitialised-output",
               local ? "read before any thread of the threadgroup wrote it" : "an output was read before it was written", t);
        fine = false;
    }
    note_read(g, c, t, own);
    return fine;
}

void split(Shadow& s, size_t word) {
    Cell& c = s.words[word];
    for (size_t k = 0; k < kWord; ++k) {
        Cell& b = s.bytes[word * kWord + k];
        b = c;
        b.initialised = c.initialised >> k & 1;
    }
    c.flags |= kSplit;
}

}  // namespace

Shadow make_shadow(size_t bytes) {
    Shadow s;
    s.word_count = (bytes + kWord - 1) / kWord;
    s.words = reserve(s.word_count);
    s.bytes = reserve(s.word_count * kWord);
    return s;
}

void drop_shadow(Shadow& s) {
    if (s.words) {
        munmap(s.words, s.word_count * sizeof(Cell));
        munmap(s.bytes, s.word_count * kWord * sizeof(Cell));
    }
    s = Shadow();
}

bool was_written(const Shadow& s, size_t byte) {
    const Cell& c = s.words[byte / kWord];
    return c.flags & kSplit ? s.bytes[byte].initialised & 1 : c.initialised >> (byte % kWord) & 1;
}

void simple(const char* kind, const char* message, const Touch& t) {
    RawReport r = new_report(kind, message);
    describe(r, t);
    report(r);
}

void visit(Group& g, Shadow& s, size_t at, const Touch& t, bool initialised) {
    bool local = t.where.space == 2;
    size_t start = at, end = at + t.bytes;
    while (at < end) {
        size_t word = at / kWord, in = at % kWord;
        size_t n = end - at < kWord - in ? end - at : kWord - in;
        Cell& c = s.words[word];
        Hold hold(!local && concurrent ? &c : nullptr);
        if (local && (c.flags & kSplit) && n == kWord && c.write_group != g.serial) c = Cell{};  // a new group may use it otherwise
        if (n == kWord && !(c.flags & kSplit)) {
            if (!visit_cell(g, s, c, 15, start, t, initialised)) return;
        } else {
            if (!(c.flags & kSplit)) {
                if (local) forget_older(c, g.serial);
                split(s, word);
            }
            if (local) c.write_group = g.serial;  // when the bytes were last used
            for (size_t k = 0; k < n; ++k)
                if (!visit_cell(g, s, s.bytes[word * kWord + in + k], 1, start, t, initialised)) return;
        }
        at += n;
    }
}

}  // namespace zm
