"""Device times by CUPTI's activity records: when each kernel, copy and memset began and ended, whoever launched it.

It is the only clock that sees MLX's kernels (queued through CUDA graphs on streams of its own) and everybody else's alike.
Only fields are read whose places are the same in every version of the records since CUDA 9 (CUpti_ActivityKernel4 to 13,
CUpti_ActivityMemcpy to 6, CUpti_ActivityMemset to 5, of cupti_activity.h): the kind, the bytes of copies and memsets, start, end,
and a kernel's name.
"""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zmlx.bench.clocks.driver import Driver, Pointer
from zmlx.errors import TargetUnavailableError

MEMCPY, MEMSET, KERNEL = 1, 2, 10  # CUpti_ActivityKind; KERNEL is CONCURRENT_KERNEL, which leaves concurrency as it is
_KIND, _BYTES, _START, _END, _NAME = 0, 8, 16, 24, 104  # offsets in bytes
_NO_MORE, _INVALID_KIND = 12, 21  # CUptiResult: MAX_LIMIT_REACHED, INVALID_KIND
_BUFFER_BYTES = 8 << 20  # some 30,000 records: a measurement completes few buffers before it asks for them

_Byte = ctypes.POINTER(ctypes.c_uint8)
_Request = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Byte), ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t))
_Complete = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)


class Activity(NamedTuple):
    """One piece of device work: what it was, when it ran (ns of the device), its bytes (copies, memsets) or name (kernels)."""

    kind: int
    start: int
    end: int
    bytes: int
    name: str


def read(address: int) -> Activity | None:
    """The record at an address, or None where it is of a kind that is no device work."""
    kind = ctypes.c_uint32.from_address(address + _KIND).value
    if kind not in (MEMCPY, MEMSET, KERNEL):
        return None
    start = ctypes.c_uint64.from_address(address + _START).value
    end = ctypes.c_uint64.from_address(address + _END).value
    if kind != KERNEL:
        return Activity(kind, start, end, ctypes.c_uint64.from_address(address + _BYTES).value, "memcpy" if kind == MEMCPY else "memset")
    text = ctypes.c_char_p.from_address(address + _NAME).value
    return Activity(kind, start, end, 0, (text or b"").decode(errors="replace"))


def records(lib: Any, buffer: int, valid: int) -> Iterator[Activity]:
    """The device work in a completed buffer of `valid` bytes."""
    record = ctypes.c_void_p()
    while True:
        status = lib.cuptiActivityGetNextRecord(ctypes.c_void_p(buffer), ctypes.c_size_t(valid), ctypes.byref(record))
        if status in (_NO_MORE, _INVALID_KIND):  # the latter: the rest of a buffer that ends in an incomplete record
            return
        if status:
            raise RuntimeError(f"cuptiActivityGetNextRecord answered error {status}")
        found = read(record.value or 0)
        if found is not None:
            yield found


def busy(work: Iterable[Activity]) -> int:
    """Nanoseconds during which at least one piece of work ran: pieces that overlap count once, gaps between them not."""
    total, until = 0, 0
    for piece in sorted(work, key=lambda a: a.start):
        total += max(0, piece.end - max(piece.start, until))
        until = max(until, piece.end)
    return total


def windows(work: Iterable[Activity], mark: int) -> list[list[Activity]]:
    """The work between memsets of exactly `mark` bytes, in order of time; what comes before the first is dropped."""
    parts: list[list[Activity]] = []
    for piece in sorted(work, key=lambda a: a.start):
        if piece.kind == MEMSET and piece.bytes == mark:
            parts.append([])
        elif parts:
            parts[-1].append(piece)
    return parts


def libraries() -> Iterator[str]:
    """Where libcupti may be: loaded already, in NVIDIA's wheels, in a toolkit, on the loader's path."""
    maps = Path("/proc/self/maps")
    if maps.exists():
        yield from dict.fromkeys(line.split()[-1] for line in maps.read_text().splitlines() if "libcupti.so" in line)
    folders = [f"{p}/nvidia/{part}/lib" for p in sys.path if p for part in ("cu13", "cuda_cupti")]
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders += [f"{home}/{part}" for home in homes if home for part in ("extras/CUPTI/lib64", "lib64")]
    for folder in folders:
        yield from sorted(glob.glob(f"{folder}/libcupti.so*"), reverse=True)[:1]
    yield from ("libcupti.so.13", "libcupti.so.12", "libcupti.so")


class Recorder:
    """Collects activity records. One a process: CUPTI has one pair of callbacks. Raises TargetUnavailableError."""

    def __init__(self) -> None:
        self.lib, self.path = _load()
        self.buffers: dict[int, Any] = {}
        self.completed: list[tuple[int, int]] = []
        self._callbacks = (_Request(self._request), _Complete(self._complete))
        self.check("cuptiActivityRegisterCallbacks", *self._callbacks)

    def check(self, function: str, *args: Any) -> None:
        status = getattr(self.lib, function)(*args)
        if status:
            raise TargetUnavailableError(f"{function} answered error {status} (CUptiResult) from {self.path}")

    def _request(self, buffer: Any, size: Any, most: Any) -> None:
        memory = ctypes.create_string_buffer(_BUFFER_BYTES + 8)
        address = (ctypes.addressof(memory) + 7) & ~7  # records are read at multiples of 8
        self.buffers[address] = memory
        buffer[0] = ctypes.cast(address, _Byte)
        size[0], most[0] = _BUFFER_BYTES, 0

    def _complete(self, context: Any, stream: int, buffer: int, size: int, valid: int) -> None:
        self.completed.append((buffer, valid))

    def start(self) -> None:
        for kind in (KERNEL, MEMCPY, MEMSET):
            self.check("cuptiActivityEnable", kind)

    def stop(self) -> list[Activity]:
        """Everything recorded since `start`; the device must be idle."""
        self.check("cuptiActivityFlushAll", 1)  # buffers that are not full too
        for kind in (KERNEL, MEMCPY, MEMSET):
            self.check("cuptiActivityDisable", kind)
        self.check("cuptiActivityFlushAll", 1)
        dropped = ctypes.c_size_t()
        self.check("cuptiActivityGetNumDroppedRecords", None, 0, ctypes.byref(dropped))
        if dropped.value:
            raise RuntimeError(f"CUPTI dropped {dropped.value} records; measure fewer calls at a time")
        done, self.completed = self.completed, []
        found = [a for address, valid in done for a in records(self.lib, address, valid)]
        for address, _ in done:
            self.buffers.pop(address, None)
        return found


def _load() -> tuple[Any, str]:
    tried = []
    for path in libraries():
        try:
            return ctypes.CDLL(path), path
        except OSError as e:
            tried.append(str(e))
    raise TargetUnavailableError(f"libcupti cannot be loaded (pip install nvidia-cuda-cupti, or set CUDA_HOME): {'; '.join(tried[:3])}")


class CuptiClock:
    """Device seconds of calls, with a cold L2 before each."""

    name = "cupti"
    blind = ""  # it sees every side

    def __init__(self) -> None:
        self.recorder = Recorder()  # before the driver: what it sees best is what comes after it
        self.driver = Driver()
        self.mark = 2 * self.driver.l2_bytes + 4096  # a size that nobody else's memset has
        self.scratch = self.driver.buffer(self.mark)
        try:
            self.measure({"a copy": lambda i: self.driver.copy(self.scratch, Pointer((self.scratch.value or 0) + self.mark // 2), 4096)}, 2)
        except RuntimeError as e:  # it loads, and records nothing: some virtual machines
            raise TargetUnavailableError(f"CUPTI from {self.recorder.path} does not record: {e}") from None

    def calls(self, sides: Sequence[Any]) -> dict[str, Callable[[int], Any]]:
        """What to measure of the sides (`zmlx.bench.sides.Side`): all of them, as they are."""
        return {side.name: side.run for side in sides}

    def measure(self, calls: Mapping[str, Callable[[int], Any]], samples: int) -> dict[str, tuple[list[float], list[str]]]:
        """Seconds of each sample of each call, taken in turns, and the names of the kernels of the last one.

        calls: each makes its call number i and waits for the device. A call that launches nothing is a RuntimeError.
        """
        for call in calls.values():
            for i in range(3):
                call(i)
        self.driver.synchronize()
        self.recorder.start()
        try:
            for i in range(samples):
                for call in calls.values():
                    self.driver.fill(self.scratch, self.mark)
                    self.driver.synchronize()
                    call(i)
                    self.driver.synchronize()
        finally:
            work = self.recorder.stop()
        parts = windows(work, self.mark)
        if len(parts) != samples * len(calls):
            raise RuntimeError(f"CUPTI recorded {len(parts)} of {samples * len(calls)} samples: its times cannot be told apart")
        found = {}
        for k, name in enumerate(calls):
            own = parts[k :: len(calls)]
            if not all(own) or any(a.end == 0 for part in own for a in part):
                raise RuntimeError(f"CUPTI saw no device work, or no time, of {name}")
            found[name] = ([busy(part) / 1e9 for part in own], [a.name for a in own[-1]])
        return found
