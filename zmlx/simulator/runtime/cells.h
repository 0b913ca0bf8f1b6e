// What each byte of a piece of memory has seen: a cell of shadow stands for four bytes, or for one byte where threads touch
// less than four at a time. It holds the last write and the last read, and what is needed of the reads before that.
#pragma once

#include <cstddef>
#include <cstdint>

#include "group.h"
#include "report.h"
#include "shadow.h"

namespace zm {

constexpr size_t kWord = 4;

struct Cell {
    uint32_t write_group, read_group;  // Group::group_id, or Group::serial for threadgroup memory; 0: never
    uint32_t write_time, read_time;
    uint16_t write_thread, read_thread;
    uint8_t flags, initialised;  // initialised: one bit a byte, and a lock
    uint16_t earlier_reader;     // with many readers
    uint32_t write_pc, read_pc;  // from the runtime's own address, as a signed distance
};
static_assert(sizeof(Cell) == 32);

struct Shadow {
    Cell *words = nullptr, *bytes = nullptr;
    size_t word_count = 0;
};
Shadow make_shadow(size_t bytes);
void drop_shadow(Shadow& s);
// Whether a checked write has touched the byte.
bool was_written(const Shadow& s, size_t byte);

struct Region {
    const char* name;
    int64_t offset;  // of the access from the buffer's start
    uint64_t length;
    uint32_t element, space;  // 1 device, 2 threadgroup
};

// An access to shadowed memory, as an instruction makes it.
struct Touch {
    Region where;
    const char* address;
    size_t bytes;
    Access access;
    const void* pc;

    bool writes() const { return access == Access::write || access == Access::atomic_write; }
    bool atomic() const { return access == Access::atomic_read || access == Access::atomic_write; }
};

// Checks all cells from byte `at` on and notes the access in them, up to the first that is wrong.
void visit(Group& g, Shadow& s, size_t at, const Touch& touch, bool initialised);
// Reports what needs no shadow to be known.
void simple(const char* kind, const char* message, const Touch& touch);

// Whether threadgroups run at the same time, and cells of device memory need their locks.
extern bool concurrent;

}  // namespace zm
