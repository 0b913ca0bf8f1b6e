// What the runtime finds, as records that survive the process: they lie in memory shared with the parent.
#pragma once

#include <cstdint>

namespace zm {

struct Place {
    uint32_t group[3], position[3];
    uint32_t index, simdgroup, lane;
};

// The same layout as `_RawReport` in worker.py.
struct RawReport {
    char kind[32], buffer[64], message[160];
    uint64_t callers[6];    // of `pc`, innermost first; 0 ends them
    uint64_t pc, other_pc;  // absolute; the Python side knows where the library lies
    int64_t offset;         // bytes from the buffer's start
    uint64_t length;        // of the buffer, in bytes
    uint32_t bytes, access, space, has_other;  // access: 0 none, 1 read, 2 write, 3 atomic; space: 0 none, 1 device, 2 threadgroup
    uint32_t count, line, other_line, pad;     // how often; MSL line of a collective, where known
    Place thread, other;
};

constexpr uint32_t kMostReports = 128;
struct Reports {
    uint32_t count, lost, stopped, pad;
    RawReport list[kMostReports];
};

// Adds a report, or counts it if one of the same kind, place and buffer is there.
void report(const RawReport& r);
// A report with its kind, the current thread and its message; the rest is zero.
RawReport new_report(const char* kind, const char* message);
Place place_of(uint32_t index);

extern Reports* reports;

}  // namespace zm
