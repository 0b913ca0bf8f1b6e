"""Launches in a process of their own, so that a kernel that crashes or never ends is a report and not the end of the program.

One worker a process, started when first needed and again after a crash. Buffers travel in a file of memory (/dev/shm where
there is one) that both sides map; it also holds the reports, which so survive the worker.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zmlx import knobs
from zmlx.simulator import worker
from zmlx.simulator.report import ACCESSES, SPACES, Thread, locate

GAP = 4096  # between buffers, so that the end of one is not the start of another
_WRITABLE, _INITIALISED, _MUST_WRITE = 1, 2, 4
_GRACE = 5.0  # seconds beyond a launch's limit until the worker itself is given up


@dataclass(frozen=True)
class Buffer:
    """One buffer of a launch. `array`: its content, contiguous; None: unspecified content of `nbytes` bytes."""

    name: str
    nbytes: int
    element_size: int
    array: np.ndarray | None = None
    writable: bool = False
    initialised: bool = True
    must_write: bool = False
    offset: int = 0  # bytes from the array's start to where the kernel's pointer points
    skew: int = 0  # the address of the array's start, modulo 16


@dataclass(frozen=True)
class LaunchSpec:
    """A launch: grid and threadgroup in threads; `trace`: the position in the grid of the thread to follow."""

    buffers: Sequence[Buffer]
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    sanitize: bool = False
    time_limit: float = 0.0  # seconds; 0: none
    trace: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class RawReport:
    """A finding of the runtime. `lines` and `other_lines`: (file, line) of the place, innermost first, with inlined calls."""

    kind: str
    message: str
    buffer: str
    space: str
    access: str
    bytes: int
    offset: int
    length: int
    count: int
    thread: Thread
    other: Thread | None
    lines: tuple[tuple[str, int], ...]
    other_lines: tuple[tuple[str, int], ...]
    line: int  # of a collective, where it is one; else 0
    other_line: int


@dataclass(frozen=True)
class Result:
    """What a launch gave. `outputs`: the writable buffers' bytes, in order; `stopped`: the kernel did not run to its end."""

    outputs: list[np.ndarray]
    reports: list[RawReport]
    lost: int  # reports beyond the most that are kept
    stopped: bool
    trace: list[str]
    seconds: float


class _Memory:
    """The shared file; it grows as launches need."""

    def __init__(self) -> None:
        folder = "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
        self.handle, self.path = tempfile.mkstemp(prefix="zmlx-simulator-", dir=folder)
        self.size = 0
        self.map: mmap.mmap | None = None

    def reserve(self, size: int) -> None:
        if size > self.size:
            size = worker.page(size + size // 4)
            os.ftruncate(self.handle, size)
            self.map = mmap.mmap(self.handle, size)
            self.size = size

    def close(self) -> None:
        os.close(self.handle)
        Path(self.path).unlink(missing_ok=True)


class _Worker:
    """A running worker and the memory shared with it."""

    def __init__(self, runtime: Path) -> None:
        self.owner = os.getpid()
        self.memory = _Memory()
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", worker.__file__, str(runtime)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, command: dict[str, Any], patience: float | None) -> dict[str, Any] | None:
        """The worker's answer; None when it died, or did not answer in time and was killed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        if not ready:
            self.process.kill()
            return None
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else None

    def close(self) -> None:
        if os.getpid() == self.owner:
            self.process.kill()
            self.process.communicate()
            self.memory.close()


_lock = threading.Lock()
_current: _Worker | None = None


def _worker(runtime: Path) -> _Worker:
    global _current
    if _current is not None and _current.owner != os.getpid():
        _current = None  # the parent's, of which this process is a fork
    if _current is None or _current.process.poll() is not None:
        if _current is not None:
            _current.close()
        _current = _Worker(runtime)
    return _current


def _forked() -> None:
    """In the child of a fork: a launch of another thread, which holds the lock, goes on in the parent alone."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@atexit.register
def _stop() -> None:
    global _current
    if _current is not None:
        _current.close()
        _current = None


def run(runtime: Path, library: Path, spec: LaunchSpec) -> Result:
    """Runs a kernel's library in the worker. Raises RuntimeError for what is wrong with the simulator itself."""
    with _lock:
        w = _worker(runtime)
        places, top = [], worker.ARENA_START
        for b in spec.buffers:
            top = worker.page(top + GAP) + b.skew % 16
            places.append(top)
            top += b.nbytes
        w.memory.reserve(top + GAP)
        memory = w.memory.map
        assert memory is not None
        header = worker.Header.from_buffer(memory)
        header.reports.count = header.reports.lost = header.reports.stopped = 0
        table = []
        for b, at in zip(spec.buffers, places, strict=True):
            if b.array is not None:
                np.frombuffer(memory, np.uint8, b.nbytes, at)[...] = np.ascontiguousarray(b.array).reshape(-1).view(np.uint8)
            elif b.writable:  # so that a kernel that forgets some shows, and two runs are the same
                np.frombuffer(memory, np.uint8, b.nbytes, at)[...] = 0
            flags = b.writable * _WRITABLE | b.initialised * _INITIALISED | b.must_write * _MUST_WRITE
            table.append((b.name, at, b.nbytes, b.element_size, flags, b.offset))
        command = {
            "library": str(library), "file": w.memory.path, "size": w.memory.size, "buffers": table, "grid": spec.grid,
            "threadgroup": spec.threadgroup, "sanitize": int(spec.sanitize), "threads": knobs.threads(), "time_limit": spec.time_limit,
            "trace": spec.trace,
        }  # fmt: skip
        if spec.trace is not None:
            memory[worker.HEADER_BYTES : worker.HEADER_BYTES + worker.TRACE_BYTES] = bytes(worker.TRACE_BYTES)
        try:
            answer = w.ask(command, spec.time_limit + _GRACE if spec.time_limit else None)
        except BaseException:  # Ctrl-C: the answer would be taken for that of the next launch
            w.process.kill()
            w.process.wait()
            raise
        if answer is not None and "error" in answer:
            raise RuntimeError(f"the Metal simulator's worker failed: {answer['error']}")
        outputs = [np.frombuffer(memory, np.uint8, b.nbytes, at).copy() for b, at in zip(spec.buffers, places, strict=True) if b.writable]
        reports = _reports(header, library)
        if answer is None and not header.reports.stopped:
            reports.append(_death(w))
        trace: list[str] = []
        if spec.trace is not None:
            text = memory[worker.HEADER_BYTES : worker.HEADER_BYTES + worker.TRACE_BYTES].split(b"\0", 1)[0]
            trace = _trace(text.decode(errors="replace"), header.base, library)
        lost = header.reports.lost
        del header
        if answer is None:
            w.process.wait()
        return Result(outputs, reports, lost, answer is None, trace, answer["seconds"] if answer else 0.0)


def _thread(p: Any) -> Thread:
    return Thread(tuple(p.group), tuple(p.position), p.simdgroup, p.lane)


def _reports(header: Any, library: Path) -> list[RawReport]:
    raw = [header.reports.list[i] for i in range(header.reports.count)]
    # A read that came too early, as nothing orders it after the write, is told by the race alone.
    races = {(r.buffer, pc) for r in raw if r.kind == b"race" for pc in (r.pc, r.other_pc)}
    raw = [r for r in raw if r.kind != b"uninitialised-threadgroup" or (r.buffer, r.pc) not in races]
    # A hook knows the return address: the access is before it.
    places = {pc: pc - 1 - header.base for r in raw for pc in (r.pc, r.other_pc, *r.callers) if pc > header.base}
    lines = locate(library, places.values())
    found = []
    for r in raw:
        here, there = (tuple(lines.get(places.get(pc, -1), ())) for pc in (r.pc, r.other_pc))
        here += tuple(place for pc in r.callers for place in lines.get(places.get(pc, -1), ()))
        found.append(
            RawReport(
                r.kind.decode(), r.message.decode(), r.buffer.decode(), SPACES[r.space], ACCESSES[r.access], r.bytes, r.offset, r.length,
                r.count, _thread(r.thread), _thread(r.other) if r.has_other else None, here, there, r.line, r.other_line,
            )
        )  # fmt: skip
    return found


def _death(w: _Worker) -> RawReport:
    """A worker that died without a word."""
    code = w.process.wait()
    kind = "endless" if code == -signal.SIGKILL else "crash"
    why = (
        "the kernel did not stop when it was asked to, and its process was killed"
        if kind == "endless"
        else f"the kernel's process ended ({code})"
    )
    nobody = Thread((0, 0, 0), (0, 0, 0), 0, 0)
    return RawReport(kind, why, "", "", "", 0, 0, 0, 1, nobody, None, (), (), 0, 0)


def _trace(text: str, base: int, library: Path) -> list[str]:
    """The runtime's trace in words; addresses become `@file:line`."""
    rows = [row.split(" ") for row in text.splitlines()]
    pcs = {int(row[4]) for row in rows if row[0] in ("read", "write") and len(row) > 4}
    lines = locate(library, (pc - 1 - base for pc in pcs if pc > base))
    words = []
    for row in rows:
        if row[0] in ("read", "write") and len(row) > 5:
            places = lines.get(int(row[4]) - 1 - base, ())
            at = f" @{places[0][0]}:{places[0][1]}" if places else ""
            words.append(f"{row[0]} {row[1]} {row[2]} {row[3]} {row[5]}{at}")
        else:
            words.append(" ".join(row))
    return words


assert ctypes.sizeof(worker.Header) <= worker.HEADER_BYTES
