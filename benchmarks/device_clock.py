"""Device time of zmlx's CUDA kernels: the very cubins, launched through the driver between two events.

A launch through MLX costs the host tens of microseconds, which hides a short kernel. Here the launches of one call are
recorded, then replayed on rotating buffers that together exceed the L2 cache; what the events measure is the kernel.
The device's own copy is timed by the same clock.
"""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx.runtime import mlx_backend

COPIES = 4
_P = ctypes.c_void_p


@dataclass
class Launch:
    """One recorded launch: the cubin, sizes of its arrays in bytes, scalars as MLX would pass them, and the sizes."""

    name: str
    cubin: bytes
    inputs: list[bytes]
    outputs: list[int]
    scalars: list[Any]
    grid: tuple[int, int, int]
    threads: int
    shared: int


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Collects the launches of CUDA kernels made in the `with` body, which still run."""
    launches: list[Launch] = []
    original = mlx_backend.CudaKernel.call

    def call(self: Any, inputs: list[mx.array], shapes: list[Any], scalars: Any, grid: tuple[int, int, int], stream: Any) -> list[mx.array]:
        sizes = []
        for shape, dtype in zip(shapes, self.dtypes, strict=True):
            count = 1
            for d in shape:
                count *= d
            sizes.append(count * dtype.size)
        raw = [np.array(mx.contiguous(x).reshape(-1).view(mx.uint8)).tobytes() for x in inputs]
        words = list(self.words(self.pack(*scalars)))
        launches.append(Launch(self.compiled.entry, self.cubin, raw, sizes, words, grid, self.compiled.threads, self.compiled.shared_bytes))
        return original(self, inputs, shapes, scalars, grid, stream)

    mlx_backend.CudaKernel.call = call  # type: ignore[method-assign]
    try:
        yield launches
    finally:
        mlx_backend.CudaKernel.call = original  # type: ignore[method-assign]


class Driver:
    """The CUDA driver on the primary context of device 0, which MLX uses too."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libcuda.so.1")
        self.check(self.lib.cuInit(0))
        device, context = ctypes.c_int(), _P()
        self.check(self.lib.cuDeviceGet(ctypes.byref(device), 0))
        self.check(self.lib.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
        self.check(self.lib.cuCtxSetCurrent(context))
        self.owned: list[_P] = []

    def check(self, status: int) -> None:
        if status:
            raise RuntimeError(f"the CUDA driver answered error {status}")

    def buffer(self, size: int, content: bytes | None = None) -> _P:
        pointer = _P()
        self.check(self.lib.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(max(16, size))))
        self.owned.append(pointer)
        if content is not None:
            self.check(self.lib.cuMemcpyHtoD_v2(pointer, content, ctypes.c_size_t(len(content))))
        return pointer

    def free(self) -> None:
        for pointer in self.owned:
            self.lib.cuMemFree_v2(pointer)
        self.owned.clear()

    def seconds(self, run: Callable[[int], None], batch: int = 20, samples: int = 50) -> tuple[float, float, float]:
        """Median and quartiles of one run's device seconds; `run` gets the number of the run."""
        start, stop = _P(), _P()
        for event in (start, stop):
            self.check(self.lib.cuEventCreate(ctypes.byref(event), 0))
        for i in range(batch):
            run(i)
        times = []
        for _ in range(samples):
            self.check(self.lib.cuEventRecord(start, None))
            for i in range(batch):
                run(i)
            self.check(self.lib.cuEventRecord(stop, None))
            self.check(self.lib.cuEventSynchronize(stop))
            elapsed = ctypes.c_float()
            self.check(self.lib.cuEventElapsedTime(ctypes.byref(elapsed), start, stop))
            times.append(elapsed.value / 1e3 / batch)
        low, median, high = statistics.quantiles(times, n=4)
        return median, low, high

    def copy_time(self, size: int) -> tuple[float, float, float]:
        """Device seconds of a copy of `size` bytes."""
        pairs = [(self.buffer(size), self.buffer(size)) for _ in range(COPIES)]

        def run(i: int) -> None:
            to, source = pairs[i % COPIES]
            self.check(self.lib.cuMemcpyDtoDAsync_v2(to, source, ctypes.c_size_t(size), None))

        try:
            return self.seconds(run)
        finally:
            self.free()

    def launch_time(self, launch: Launch) -> tuple[float, float, float]:
        """Device seconds of a recorded launch."""
        module, function = _P(), _P()
        self.check(self.lib.cuModuleLoadData(ctypes.byref(module), launch.cubin))
        self.check(self.lib.cuModuleGetFunction(ctypes.byref(function), module, launch.name.encode()))
        if launch.shared:
            self.check(self.lib.cuFuncSetAttribute(function, 8, launch.shared))
        scalars = [ctypes.c_int(v) for v in launch.scalars]
        sets = []
        for _ in range(COPIES):
            pointers = [self.buffer(len(x), x) for x in launch.inputs] + [self.buffer(n) for n in launch.outputs]
            values = [*pointers, *scalars]
            sets.append((values, (_P * len(values))(*[ctypes.cast(ctypes.pointer(v), _P) for v in values])))

        def run(i: int) -> None:
            shape = (*launch.grid, launch.threads, 1, 1)
            self.check(self.lib.cuLaunchKernel(function, *shape, launch.shared, None, sets[i % COPIES][1], None))

        try:
            return self.seconds(run)
        finally:
            self.free()
            self.lib.cuModuleUnload(module)
