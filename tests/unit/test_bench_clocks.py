"""The device clocks without a device: records in a hand-made buffer, and what is made of them."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import pytest

from zmlx.bench.clocks import cupti
from zmlx.bench.clocks.cupti import KERNEL, MEMCPY, MEMSET, Activity

KERNEL_SIZE, OTHER_SIZE = 208, 72


class Library:
    """cuptiActivityGetNextRecord over records of known sizes, as the library walks its own."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.at = sizes, 0
        self.place = 0

    def cuptiActivityGetNextRecord(self, buffer: Any, valid: Any, record: Any) -> int:
        if self.at == len(self.sizes):
            return 12
        record._obj.value = buffer.value + self.place
        self.place += self.sizes[self.at]
        self.at += 1
        return 0


def kernel(start: int, end: int, name: bytes) -> tuple[bytes, Any]:
    """A CUpti_ActivityKernel9: kind at 0, start at 16, end at 24, name at 104."""
    text = ctypes.create_string_buffer(name)
    record = bytearray(KERNEL_SIZE)
    struct.pack_into("<I", record, 0, KERNEL)
    struct.pack_into("<QQ", record, 16, start, end)
    struct.pack_into("<Q", record, 104, ctypes.addressof(text))
    return bytes(record), text


def other(kind: int, size: int, start: int, end: int) -> bytes:
    """A CUpti_ActivityMemcpy5 or CUpti_ActivityMemset4: bytes at 8, start at 16, end at 24."""
    record = bytearray(OTHER_SIZE)
    struct.pack_into("<I", record, 0, kind)
    struct.pack_into("<QQQ", record, 8, size, start, end)
    return bytes(record)


def test_records_of_a_buffer() -> None:
    first, text = kernel(1000, 1500, b"softmax_kernel")
    parts = [first, other(MEMSET, 4096, 1600, 1700), other(17, 0, 1, 2), other(MEMCPY, 64, 1800, 1850)]
    buffer = ctypes.create_string_buffer(b"".join(parts))
    found = list(cupti.records(Library([len(p) for p in parts]), ctypes.addressof(buffer), len(buffer)))
    assert text.value == b"softmax_kernel"
    assert found == [
        Activity(KERNEL, 1000, 1500, 0, "softmax_kernel"),
        Activity(MEMSET, 1600, 1700, 4096, "memset"),
        Activity(MEMCPY, 1800, 1850, 64, "memcpy"),
    ], "records of other kinds (17: overhead) are left out"


def test_an_error_of_the_library_is_told() -> None:
    class Broken:
        def cuptiActivityGetNextRecord(self, *args: Any) -> int:
            return 1

    with pytest.raises(RuntimeError, match="error 1"):
        list(cupti.records(Broken(), 0, 0))


def work(start: int, end: int, kind: int = KERNEL, size: int = 0) -> Activity:
    return Activity(kind, start, end, size, "")


def test_busy_counts_overlaps_once_and_gaps_not() -> None:
    assert cupti.busy([]) == 0
    assert cupti.busy([work(10, 20), work(40, 45)]) == 15
    assert cupti.busy([work(10, 30), work(15, 20), work(25, 40)]) == 30


def test_windows_lie_between_memsets_of_the_marks_size() -> None:
    marks = [work(t, t + 5, MEMSET, 999) for t in (100, 200, 300)]
    stray, foreign = work(50, 60), work(210, 215, MEMSET, 998)
    calls = [work(110, 120), work(130, 140), work(220, 250)]
    parts = cupti.windows([*reversed(calls), foreign, *marks, stray], 999)
    assert parts == [calls[:2], [foreign, calls[2]], []]


class Recorder:
    """Activity of calls that take 7 ns and 11 ns, one call of each in a sample."""

    def __init__(self, work: list[Activity]) -> None:
        self.work = work

    def start(self) -> None:
        self.work.clear()

    def stop(self) -> list[Activity]:
        return self.work


class Driver:
    def __init__(self, work: list[Activity]) -> None:
        self.work, self.now = work, 0

    def run(self, length: int, kind: int = KERNEL, size: int = 0) -> None:
        self.work.append(work(self.now, self.now + length, kind, size))
        self.now += length + 100

    def fill(self, buffer: Any, size: int) -> None:
        self.run(50, MEMSET, size)

    def synchronize(self) -> None:
        pass


def clock(activity: list[Activity]) -> tuple[cupti.CuptiClock, Driver]:
    made = object.__new__(cupti.CuptiClock)
    driver = Driver(activity)
    made.recorder, made.driver, made.mark, made.scratch = Recorder(activity), driver, 12345, None  # type: ignore[assignment]
    return made, driver


def test_each_call_gets_the_time_of_its_own_work() -> None:
    made, driver = clock([])
    calls = {"short": lambda i: driver.run(7), "two": lambda i: (driver.run(5), driver.run(6))}
    times = made.measure(calls, samples=4)
    assert times["short"][0] == [7e-9] * 4
    assert times["two"][0] == [pytest.approx(11e-9)] * 4
    assert len(times["two"][1]) == 2


def test_a_call_without_device_work_has_no_time() -> None:
    made, _ = clock([])
    with pytest.raises(RuntimeError, match="no device work"):
        made.measure({"nothing": lambda i: None}, samples=2)


def test_lost_records_are_noticed() -> None:
    made, driver = clock([])
    driver.fill = lambda buffer, size: None  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="recorded 0 of 2"):
        made.measure({"a": lambda i: driver.run(7)}, samples=2)
