"""Runs kernels on behalf of another process: `python worker.py RUNTIME`, commands and answers as JSON lines.

Imports the standard library alone, so that it starts in no time; nothing of it is needed to survive a kernel that crashes,
because buffers, reports and the trace lie in a file that the parent holds too.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import sys
import time
from typing import Any

MOST_REPORTS = 128
TRACE_BYTES = 1 << 20


class RawPlace(ctypes.Structure):
    """`Place` of report.h."""

    _fields_ = (
        ("group", ctypes.c_uint32 * 3),
        ("position", ctypes.c_uint32 * 3),
        ("index", ctypes.c_uint32),
        ("simdgroup", ctypes.c_uint32),
        ("lane", ctypes.c_uint32),
    )


class RawReport(ctypes.Structure):
    """`RawReport` of report.h."""

    _fields_ = (
        ("kind", ctypes.c_char * 32),
        ("buffer", ctypes.c_char * 64),
        ("message", ctypes.c_char * 160),
        ("callers", ctypes.c_uint64 * 6),
        ("pc", ctypes.c_uint64),
        ("other_pc", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("length", ctypes.c_uint64),
        ("bytes", ctypes.c_uint32),
        ("access", ctypes.c_uint32),
        ("space", ctypes.c_uint32),
        ("has_other", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("line", ctypes.c_uint32),
        ("other_line", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("thread", RawPlace),
        ("other", RawPlace),
    )


class RawReports(ctypes.Structure):
    """`Reports` of report.h."""

    _fields_ = (
        ("count", ctypes.c_uint32),
        ("lost", ctypes.c_uint32),
        ("stopped", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("list", RawReport * MOST_REPORTS),
    )


class Header(ctypes.Structure):
    """The start of the shared file: what must be readable after the worker is gone."""

    _fields_ = (("base", ctypes.c_uint64), ("reports", RawReports))


class RawBuffer(ctypes.Structure):
    """`Buffer` of launch.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("element", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_int64),
    )


class RawLaunch(ctypes.Structure):
    """`Launch` of launch.h."""

    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("buffers", ctypes.POINTER(RawBuffer)),
        ("buffer_count", ctypes.c_uint32),
        ("sanitize", ctypes.c_uint32),
        ("os_threads", ctypes.c_uint32),
        ("has_trace", ctypes.c_uint32),
        ("grid", ctypes.c_uint32 * 3),
        ("threadgroup", ctypes.c_uint32 * 3),
        ("traced", ctypes.c_uint32 * 3),
        ("pad", ctypes.c_uint32),
        ("time_limit", ctypes.c_double),
        ("reports", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("arena_bytes", ctypes.c_uint64),
        ("trace", ctypes.c_void_p),
        ("trace_capacity", ctypes.c_uint64),
        ("trace_size", ctypes.c_uint64),
        ("switches", ctypes.c_uint64),
    )


def page(n: int) -> int:
    return -(-n // mmap.PAGESIZE) * mmap.PAGESIZE


# A 32-bit index into 4-byte elements reaches so far.
AROUND = 1 << 34
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
_FIXED = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def _map(address: int | None, size: int, protection: int, flags: int, handle: int) -> int | None:
    found = _libc.mmap(address, size, protection, flags, handle, 0)
    return None if found in (None, ctypes.c_void_p(-1).value) else found


HEADER_BYTES = page(ctypes.sizeof(Header))
ARENA_START = HEADER_BYTES + TRACE_BYTES


class Runner:
    """The runtime library, and the kernels that were loaded."""

    def __init__(self, runtime: str) -> None:
        self.runtime = ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
        self.runtime.zm_launch.argtypes = [ctypes.POINTER(RawLaunch)]
        self.kernels: dict[str, tuple[int, int]] = {}
        self.mapped: tuple[str, int, int, int, int] | None = None

    def kernel(self, library: str) -> tuple[int, int]:
        """(address of the kernel, address where its library lies)."""
        if library not in self.kernels:
            entry = ctypes.cast(ctypes.CDLL(library, mode=os.RTLD_NOW).zm_kernel, ctypes.c_void_p).value or 0
            self.kernels[library] = (entry, _base(entry))
        return self.kernels[library]

    def memory(self, path: str, size: int) -> tuple[int, int, int]:
        """Where the shared file lies, and (start, bytes) of the memory around it: an index that is off reads zeros there."""
        if self.mapped is None or self.mapped[:2] != (path, size):
            if self.mapped is not None:
                _libc.munmap(self.mapped[3], self.mapped[4])
            whole = size + 2 * AROUND
            start = _map(None, whole, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE, -1)
            around = AROUND
            if start is None:  # a system that does not overcommit
                whole, around = size, 0
                start = _map(None, whole, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
            handle = os.open(path, os.O_RDWR)
            base = start is not None and _map(start + around, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _FIXED, handle)
            os.close(handle)
            if not start or not base:
                raise MemoryError(f"{size} bytes could not be mapped")
            self.mapped = (path, size, base, start, whole)
        return self.mapped[2:]

    def run(self, c: dict[str, Any]) -> dict[str, Any]:
        """One launch."""
        base, around, whole = self.memory(c["file"], c["size"])
        header = Header.from_address(base)
        kernel, header.base = self.kernel(c["library"])
        buffers = (RawBuffer * max(1, len(c["buffers"])))()
        for raw, (name, place, size, element, flags, offset) in zip(buffers, c["buffers"], strict=False):
            raw.name, raw.data, raw.bytes, raw.element, raw.flags = name.encode(), base + place, size, element, flags
            raw.offset = offset
        launch = RawLaunch(
            kernel=kernel,
            buffers=buffers,
            buffer_count=len(c["buffers"]),
            sanitize=c["sanitize"],
            os_threads=c["threads"],
            has_trace=c["trace"] is not None,
            grid=(ctypes.c_uint32 * 3)(*c["grid"]),
            threadgroup=(ctypes.c_uint32 * 3)(*c["threadgroup"]),
            traced=(ctypes.c_uint32 * 3)(*(c["trace"] or (0, 0, 0))),
            time_limit=c["time_limit"],
            reports=base + Header.reports.offset,
            arena=around,
            arena_bytes=whole,
            trace=base + HEADER_BYTES,
            trace_capacity=TRACE_BYTES,
        )
        start = time.perf_counter()
        self.runtime.zm_launch(ctypes.byref(launch))
        return {"seconds": time.perf_counter() - start, "switches": launch.switches}


class _DlInfo(ctypes.Structure):
    _fields_ = (("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("address", ctypes.c_void_p))


def _base(address: int) -> int:
    """Where the library that holds an address is loaded."""
    info = _DlInfo()
    ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(info))
    return info.base or 0


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    runner = Runner(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a kernel's library prints is no answer
    for line in sys.stdin:
        try:
            answer = runner.run(json.loads(line))
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
