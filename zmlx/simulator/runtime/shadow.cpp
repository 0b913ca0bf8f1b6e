// Checks accesses: which memory it is, bounds, alignment, constness; then the cells of that memory.
#include "shadow.h"

#include <cstdio>
#include <cstring>

#include "cells.h"
#include "launch.h"
#include "trace.h"

namespace zm {

bool sanitizing;

namespace {

constexpr const char* kMisaligned = "the address is no multiple of the size of what is accessed";
constexpr const char* kOutside = "outside the buffer";

Shadow device[32];
thread_local Shadow local;
// The access that is checked now. Not on the fiber's stack, of which each line more costs a miss of the cache.
thread_local Touch now;

bool is_misaligned(const char* address, size_t bytes) { return bytes <= 16 && uintptr_t(address) & (bytes - 1); }

uint64_t distance(const char* address, const Buffer& b) {
    if (address < b.data) return uint64_t(b.data - address);
    uint64_t at = uint64_t(address - b.data);
    return at < b.bytes ? 0 : at - b.bytes;
}

// The buffer that holds an access; or the nearest one, and what to say of it. An index that is computed without sign and went
// below zero is near the start of its buffer as well.
uint32_t find_buffer(const char* address, size_t bytes, const char** trouble) {
    Group& g = *group;
    const Launch& l = *launch;
    auto holds = [&](uint32_t i) {
        const Buffer& b = l.buffers[i];
        return address >= b.data && address + bytes <= b.data + b.bytes;
    };
    *trouble = nullptr;
    uint32_t nearest = 0;
    uint64_t least = ~uint64_t(0);
    for (uint32_t i = 0; i < l.buffer_count; ++i) {
        if (holds(i)) {
            *trouble = nullptr;
            return g.last_buffer = i;
        }
        const Buffer& b = l.buffers[i];
        uint64_t direct = distance(address, b), wrapped = distance(address - (uint64_t(b.element) << 32), b);
        bool wraps = direct > (uint64_t(1) << 30) && wrapped < direct;
        if (wraps) direct = wrapped;
        if (direct < least) least = direct, nearest = i, *trouble = wraps ? "outside the buffer: an unsigned index went below zero" : kOutside;
    }
    if (!*trouble) *trouble = kOutside;
    return nearest;
}

void check_device(Group& g, const char* address, size_t bytes, Access access, const void* pc, bool aligned) {
    const Buffer* b = launch->buffers + g.last_buffer;
    const char* trouble = nullptr;
    if (address < b->data || address + bytes > b->data + b->bytes) b = launch->buffers + find_buffer(address, bytes, &trouble);
    bool odd = aligned && is_misaligned(address, bytes);
    if (access == Access::read && !(b->flags & kWritable) && !trouble && !odd && !tracing) return;
    now = {{b->name, address - b->data, b->bytes, b->element, 1}, address, bytes, access, pc};
    if (tracing) trace_access(b->name, now.where.offset, address, bytes, now.writes(), pc);
    if (trouble) return simple("out-of-bounds", trouble, now);
    if (odd) return simple("misaligned", kMisaligned, now);
    if (b->flags & kWritable) return visit(g, device[b - launch->buffers], size_t(now.where.offset), now, b->flags & kInitialised);
    if (now.writes()) simple("write-to-const", "an input was written", now);
}

void check_local(Group& g, const char* address, size_t bytes, Access access, const void* pc, bool aligned) {
    size_t at = size_t(address - g.arena);
    const Declaration *found = nullptr, *nearest = nullptr;
    uint64_t least = ~uint64_t(0);
    for (uint32_t i = 0; i < kMostDeclarations && !found; ++i) {
        const Declaration& d = g.declarations[i];
        if (d.group != g.serial) continue;
        if (at >= d.offset && at + bytes <= d.offset + d.bytes) found = &d;
        uint64_t away = at < d.offset ? d.offset - at : at < d.offset + d.bytes ? 0 : at - d.offset - d.bytes;
        if (away < least) least = away, nearest = &d;
    }
    const Declaration* d = found ? found : nearest;
    now = {{d ? d->name : "threadgroup memory", d ? int64_t(at) - int64_t(d->offset) : int64_t(at), d ? d->bytes : 0, 0, 2}, address, bytes, access, pc};
    if (tracing) trace_access(now.where.name, now.where.offset, address, bytes, now.writes(), pc);
    if (!found) return simple("out-of-bounds", "outside the threadgroup variable", now);
    if (aligned && is_misaligned(address, bytes)) return simple("misaligned", kMisaligned, now);
    visit(g, local, at, now, false);
}

// Reports the elements of an output that nobody wrote; they become zero.
void check_written(const Buffer& b, const Shadow& shadow) {
    uint64_t missing = 0, first = 0;
    uint32_t size = b.element ? b.element : 1;
    for (uint64_t e = 0; e < b.bytes / size; ++e) {
        if (size == kWord && (shadow.words[e].initialised & 15) == 15) continue;
        char* element = b.data + e * size;
        bool seen = true, touched = false;
        for (uint64_t k = 0; k < size; ++k) {
            seen = seen && was_written(shadow, e * size + k);
            touched = touched || static_cast<unsigned char>(element[k]) != kUnwritten;
        }
        if (seen || touched) continue;  // touched: by a write that was not instrumented
        memset(element, 0, size);
        if (!missing++) first = e;
    }
    if (!missing || !(b.flags & kMustWrite)) return;
    char text[160];
    snprintf(text, sizeof text, "%llu of %llu elements were never written", (unsigned long long)missing, (unsigned long long)(b.bytes / size));
    RawReport r = new_report("unwritten-output", text);
    snprintf(r.buffer, sizeof r.buffer, "%s", b.name);
    r.offset = int64_t(first * size);
    r.length = b.bytes;
    r.bytes = size;
    r.space = 1;
    report(r);
}

}  // namespace

void check(const void* address, size_t bytes, Access access, const void* pc, bool aligned) {
    Group* g = group;
    if (!g || !g->current || !sanitizing || !bytes) return;
    g->current->last_pc = pc;
    const char* a = static_cast<const char*>(address);
    if (size_t(a - launch->arena) < launch->arena_bytes) return check_device(*g, a, bytes, access, pc, aligned);
    if (size_t(a - g->arena) < kArenaBytes) return check_local(*g, a, bytes, access, pc, aligned);
}

static void vector_access(const void* address, size_t bytes, Access access, const void* pc) {
    Group* g = group;
    if (uintptr_t(address) % bytes == 0 || !g || !g->current || !sanitizing) return;
    const char* a = static_cast<const char*>(address);
    Touch t{{"threadgroup memory", a - g->arena, kArenaBytes, 0, 2}, a, bytes, access, pc};
    if (size_t(a - launch->arena) < launch->arena_bytes) {
        const char* trouble;
        const Buffer& b = launch->buffers[find_buffer(a, bytes, &trouble)];
        t.where = {b.name, a - b.data, b.bytes, b.element, 1};
        simple("misaligned", kMisaligned, t);
    } else if (size_t(a - g->arena) < kArenaBytes) {
        simple("misaligned", kMisaligned, t);
    }
}
void vector_read(const void* address, size_t bytes) { vector_access(address, bytes, Access::read, __builtin_return_address(0)); }
void vector_write(const void* address, size_t bytes) { vector_access(address, bytes, Access::write, __builtin_return_address(0)); }

void begin_shadow() {
    for (uint32_t i = 0; i < launch->buffer_count && i < 32; ++i) {
        const Buffer& b = launch->buffers[i];
        if (!(b.flags & kWritable)) continue;
        device[i] = make_shadow(b.bytes);
        if (!(b.flags & kInitialised)) memset(b.data, kUnwritten, b.bytes);
    }
}

void begin_threadgroup_shadow() {
    if (!local.words) local = make_shadow(kArenaBytes);
}

void end_shadow() {
    for (uint32_t i = 0; i < launch->buffer_count && i < 32; ++i) {
        const Buffer& b = launch->buffers[i];
        if (!(b.flags & kWritable)) continue;
        if (!(b.flags & kInitialised)) check_written(b, device[i]);
        drop_shadow(device[i]);
    }
}

}  // namespace zm
