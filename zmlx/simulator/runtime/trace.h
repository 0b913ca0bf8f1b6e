// What one chosen thread does, as lines of text in memory shared with the parent.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zm {

extern bool tracing;

void trace_collective(const char* name, uint32_t line);
// An access of the current thread; a written value is read at the thread's next event.
void trace_access(const char* name, int64_t offset, const void* address, size_t bytes, bool writes, const void* pc);
void trace_log(const char* text);   // of the current thread
void trace_note(const char* text);  // of the whole launch

}  // namespace zm
