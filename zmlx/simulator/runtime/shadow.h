// The sanitizer: what each byte of device and threadgroup memory has seen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zm {

enum class Access : uint8_t { read = 1, write = 2, atomic_read = 3, atomic_write = 4 };

// Called before every instrumented access; cheap for addresses that are neither device nor threadgroup memory.
void check(const void* address, size_t bytes, Access access, const void* pc, bool aligned);

void begin_shadow();  // for the launch in `launch`
void end_shadow();    // reports outputs that were not written, frees the shadow
void begin_threadgroup_shadow();  // for this OS thread

}  // namespace zm
