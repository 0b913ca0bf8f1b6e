#include "trace.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "group.h"
#include "launch.h"

namespace zm {

bool tracing;

namespace {

// The trace has one writer: one thread of the grid is chosen.
struct {
    const void* address = nullptr;
    size_t bytes = 0;
} written;

bool chosen() {
    const Group& g = *group;
    if (!g.current) return false;
    for (int d = 0; d < 3; ++d)
        if (g.grid.group[d] * g.grid.full_threadgroup[d] + g.current->thread.position[d] != launch->traced[d]) return false;
    return true;
}

__attribute__((format(printf, 1, 2))) void put(const char* format, ...) {
    Launch& l = *const_cast<Launch*>(launch);
    va_list arguments;
    va_start(arguments, format);
    uint64_t room = l.trace_capacity - l.trace_size;
    int n = vsnprintf(l.trace + l.trace_size, room, format, arguments);
    va_end(arguments);
    if (n > 0) l.trace_size += uint64_t(n) < room ? uint64_t(n) : room - 1;
}

void put_bytes(const void* address, size_t bytes) {
    const unsigned char* b = static_cast<const unsigned char*>(address);
    for (size_t i = 0; i < bytes; ++i) put("%02x", b[i]);
}

void settle() {
    if (!written.address) return;
    put_bytes(written.address, written.bytes);
    put("\n");
    written.address = nullptr;
}

}  // namespace

// Lines: "collective NAME LINE", "read NAME OFFSET BYTES PC HEX", "write …", "note TEXT". Python makes words of them.
void trace_collective(const char* name, uint32_t line) {
    if (!chosen()) return;
    settle();
    put("collective %s %u\n", name, line);
}

void trace_access(const char* name, int64_t offset, const void* address, size_t bytes, bool writes, const void* pc) {
    if (!chosen()) return;
    settle();
    put("%s %s %lld %zu %llu ", writes ? "write" : "read", name, (long long)offset, bytes, (unsigned long long)uintptr_t(pc));
    if (writes) {
        written = {address, bytes};
    } else {
        put_bytes(address, bytes);
        put("\n");
    }
}

void trace_log(const char* text) {
    if (chosen()) trace_note(text);
}

void trace_note(const char* text) {
    settle();
    if (*text) put("note %s\n", text);
}

}  // namespace zm
