// A launch, as the Python side describes it: worker.py holds the same layouts.
#pragma once

#include <cstdint>

#include "report.h"

namespace zm {

enum BufferFlags : uint32_t { kWritable = 1, kInitialised = 2, kMustWrite = 4 };

struct Buffer {
    const char* name;
    char* data;
    uint64_t bytes;
    uint32_t element, flags;
    int64_t offset;  // from the start to where the kernel's pointer points
};

struct Launch {
    void (*kernel)(void* const*);
    const Buffer* buffers;
    uint32_t buffer_count, sanitize, os_threads, has_trace;
    uint32_t grid[3], threadgroup[3], traced[3], pad;
    double time_limit;
    Reports* reports;
    char* arena;         // all buffers lie in it, with gaps between them
    uint64_t arena_bytes;
    char* trace;         // text; its capacity; how much was written
    uint64_t trace_capacity, trace_size;
    uint64_t switches;   // out
};

extern const Launch* launch;
extern void* const* buffer_pointers;

}  // namespace zm

// 0: done. The reports may say what is wrong with the kernel all the same.
extern "C" int zm_launch(zm::Launch*);
