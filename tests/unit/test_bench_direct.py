"""The side `direct` without a device: launches as MLX is asked for them, made again by a stand-in for the driver."""

from __future__ import annotations

import ctypes
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
from zmlx.bench import report, sides, suites
from zmlx.bench.clocks import events
from zmlx.bench.sides import Missing, Side, Subject
from zmlx.catalog.elementwise.add import ENTRY
from zmlx.runtime import device, mlx_backend


class Driver:
    """Buffers on the host; a launch adds the first two arrays into the third, as the kernel would."""

    def __init__(self) -> None:
        self.buffers: dict[int, Any] = {}
        self.launched: list[tuple[str, tuple[int, ...], int]] = []
        self.names: list[str] = []

    def buffer(self, size: int) -> ctypes.c_void_p:
        made = ctypes.create_string_buffer(size)
        self.buffers[ctypes.addressof(made)] = made
        return ctypes.c_void_p(ctypes.addressof(made))

    def free(self, *pointers: ctypes.c_void_p) -> None:
        for pointer in pointers:
            del self.buffers[pointer.value or 0]

    def write(self, to: ctypes.c_void_p, content: bytes) -> None:
        ctypes.memmove(to, content, len(content))

    def read(self, source: ctypes.c_void_p, size: int) -> bytes:
        return ctypes.string_at(source, size)

    def synchronize(self) -> None:
        pass

    def function(self, cubin: bytes, name: str, shared: int) -> str:
        return f"{cubin.decode()}:{name}"

    def launch(self, function: str, grid: Any, threads: int, shared: int, arguments: Any) -> None:
        self.launched.append((function, tuple(grid), threads))
        pointers = [ctypes.cast(arguments[i], ctypes.POINTER(ctypes.c_void_p))[0] or 0 for i in range(3)]
        x, y, out = (np.frombuffer(self.buffers[p], np.float32) for p in pointers)
        out[:] = x + y


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()

    def run(**given: Any) -> list[mx.array]:
        return [given["inputs"][0] + given["inputs"][1]]

    monkeypatch.setattr(device, "missing", lambda name: "")
    monkeypatch.setattr(mx.fast, "precompiled_cuda_kernel", run)
    monkeypatch.setattr(mlx_backend.toolchain, "build_cubin", lambda source, arch: b"cubin")
    monkeypatch.setattr(mlx_backend.toolchain, "cuda_arch", lambda: "sm_90a")
    monkeypatch.setattr(sides, "Driver", lambda: made)
    return made


def test_the_same_cubins_without_mlx(driver: Driver) -> None:
    inputs = [(mx.arange(3000, dtype=mx.float32) + i, mx.ones((3000,))) for i in range(2)]
    with device.default("cuda"):
        side = sides.direct(Subject(ENTRY, inputs, {}, True))
    assert isinstance(side, Side) and side.queues and side.strict
    assert mx.array_equal(side.outputs()[0], inputs[0][0] + 1)
    assert driver.launched == [("cubin:zm_add_kernel", (3, 1, 1), 128)]
    side.run(1)
    assert len(driver.launched) == 2 and len(driver.buffers) == 6
    side.free()
    assert not driver.buffers


def test_elsewhere_there_is_no_such_side() -> None:
    with zmlx.use_target("cpu"):
        side = sides.direct(Subject(ENTRY, [], {}, False))
    assert isinstance(side, Missing) and "CUDA" in side.reason


def test_recording_leaves_launches_as_they_were(driver: Driver) -> None:
    x = mx.ones((64,))
    with device.default("cuda"):
        with events.recorded() as launches:
            ENTRY.call(x, x)
        ENTRY.call(x, x)
    assert len(launches) == 1 and launches[0].outputs == [256] and not launches[0].zeroed


def test_the_summary_says_both() -> None:
    """Triton's time over zmlx's through MLX, and over that of the same cubins launched directly."""
    common = {"suite": "streaming", "kernel": "add", "shape": "8", "dtype": "float16", "status": "ok"}
    times = {"zmlx": 20.0, "direct": 19.0, "triton": 19.0}
    rows = [{**common, "side": n, "time_us": [t, t, t], **({} if n == "zmlx" else {"ratio": t / 20})} for n, t in times.items()]
    said = report.means(rows).splitlines()
    assert said[0].startswith("direct: 0.95×")
    assert said[1].startswith("triton: 0.95×")
    assert said[1].endswith("; 1.00× that of the same cubins launched as triton launches, least 1.00")
    assert "cubins" not in report.means([r for r in rows if r["side"] != "direct"])


def test_large_cases_on_a_gpu_only() -> None:
    only, half = ["sum", "rope"], ["float16"]
    cases = [t.case for t in suites.tasks("large", True, only, half)]
    assert cases == ["131072x1024", "32x32x1024x128"] and not list(suites.tasks("large", False, only, half))
