// What tl.device_print and tl.device_assert say, in the interpreter's words; read only by kernels that use them.
// `report` is the entry point's last argument: kind 0 is a printed line, 1 a failed assertion.
#ifndef ZM_HOST_DEBUG_H
#define ZM_HOST_DEBUG_H
#include <stdio.h>

typedef void (*zm_report)(int kind, const char* text);

// An element's coordinates in its tile.
struct zm_index {
    int32_t at[8];
};

// "(i, j)"; a tuple of one is "(i)" where `lone` is empty, Python's "(i,)" where it is a comma.
static void zm_tuple(char* text, int size, const int32_t* values, int count, const char* lone) {
    int n = snprintf(text, size, "(");
    for (int i = 0; i < count; i++) n += snprintf(text + n, size - n, i ? ", %d" : "%d", (int)values[i]);
    snprintf(text + n, size - n, "%s)", count == 1 ? lone : "");
}

// One line for one element: "pid (x, y, z) idx (i, j) prefix: value". Integers as decimals or in hexadecimal (two's
// complement, padded), floats as %g (in hexadecimal: their bits).
template <class T>
static void zm_print(zm_report report, const char* prefix, bool hex, int x, int y, int z, const zm_index& index, int rank, T value) {
    char at[64], number[64], line[1024];
    zm_tuple(at, sizeof at, index.at, rank, "");
    if constexpr (zm_is_half<T> || zm_is_float<T>) {
        if (hex) snprintf(number, sizeof number, "0x%0*llx", (int)sizeof(T) * 2, (unsigned long long)zm_bitcast<typename zm_word<sizeof(T)>::type>(value));
        else snprintf(number, sizeof number, "%g", zm_cast<double>(value));
    } else if (hex) {
        uint64_t mask = ~uint64_t(0) >> (64 - 8 * (int)sizeof(T));
        snprintf(number, sizeof number, "0x%0*llx", (int)sizeof(T) * 2, (unsigned long long)((uint64_t)value & mask));
    } else if (zm_is_signed<T>) {
        snprintf(number, sizeof number, "%lld", (long long)value);
    } else {
        snprintf(number, sizeof number, "%llu", (unsigned long long)value);
    }
    snprintf(line, sizeof line, "pid (%d, %d, %d) idx %s %s: %s", x, y, z, at, prefix, number);
    report(0, line);
}

// device_print without values.
static inline void zm_print(zm_report report, const char* prefix, int x, int y, int z) {
    char line[1024];
    snprintf(line, sizeof line, "pid (%d, %d, %d) %s", x, y, z, prefix);
    report(0, line);
}

static inline void zm_assert_failed(zm_report report, const char* message, int x, int y, int z, const zm_index& index, int rank) {
    char at[64], line[1024];
    zm_tuple(at, sizeof at, index.at, rank, ",");
    snprintf(line, sizeof line, "device assertion failed%s%s: %s (program (%d, %d, %d))", rank ? " at element " : "", rank ? at : "", message, x, y, z);
    report(1, line);
}
#endif
