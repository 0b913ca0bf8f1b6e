"""Device times by CUDA events, for machines without CUPTI.

Events see one stream. PyTorch's and Triton's launches go to the default stream. zmlx's own are recorded once and replayed there:
the very cubins, through the driver. What MLX itself launches goes to streams of MLX's own and has no time by this clock; a call
that launches MLX's kernels beside zmlx's is timed without them, which the rows say.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx.bench.clocks.driver import Driver, Pointer
from zmlx.runtime import mlx_backend


@dataclass
class Launch:
    """One recorded launch: the cubin, the contents of its inputs, the bytes of its outputs, scalars as MLX would pass them."""

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
        sizes = [math.prod(shape) * dtype.size for shape, dtype in zip(shapes, self.dtypes, strict=True)]
        sizes += [math.prod(grid) * self.workspace] * (self.workspace > 0)
        raw = [np.array(mx.contiguous(x).reshape(-1).view(mx.uint8)).tobytes() for x in inputs]
        words = list(self.words(self.pack(*scalars)))
        launches.append(Launch(self.compiled.entry, self.cubin, raw, sizes, words, grid, self.compiled.threads, self.compiled.shared_bytes))
        return original(self, inputs, shapes, scalars, grid, stream)

    mlx_backend.CudaKernel.call = call
    try:
        yield launches
    finally:
        mlx_backend.CudaKernel.call = original


class Replay:
    """Recorded launches, made again on the default stream; `free` gives their memory back."""

    def __init__(self, driver: Driver, launches: list[Launch]) -> None:
        self.driver, self.buffers, self.launches = driver, [], []
        for launch in launches:
            function = driver.function(launch.cubin, launch.name, launch.shared)
            pointers = []
            for content in launch.inputs:
                pointers.append(driver.buffer(len(content)))
                driver.write(pointers[-1], content)
            pointers += [driver.buffer(size) for size in launch.outputs]
            self.buffers += pointers
            values = [*pointers, *(ctypes.c_int(v) for v in launch.scalars)]
            arguments = (Pointer * len(values))(*[ctypes.cast(ctypes.pointer(v), Pointer) for v in values])
            self.launches.append((function, launch, arguments, values))

    def __call__(self, i: int) -> None:
        for function, launch, arguments, _ in self.launches:
            self.driver.launch(function, launch.grid, launch.threads, launch.shared, arguments)

    def free(self) -> None:
        self.driver.synchronize()
        self.driver.free(*self.buffers)
        self.buffers.clear()


class EventClock:
    """Device seconds of calls that queue on the default stream, with a cold L2 before each."""

    name = "events"
    blind = "no device time: events do not see MLX's own streams, and CUPTI could not be loaded"

    def __init__(self) -> None:
        self.driver = Driver()
        self.size = 2 * self.driver.l2_bytes
        self.scratch = self.driver.buffer(self.size)
        self.start, self.stop = self.driver.event(), self.driver.event()
        self.replays: list[Replay] = []

    def calls(self, sides: Sequence[Any]) -> dict[str, Callable[[int], Any]]:
        """What to measure of the sides (`zmlx.bench.sides.Side`): those on the default stream, and zmlx's launches replayed."""
        for replay in self.replays:
            replay.free()
        self.replays.clear()
        found: dict[str, Callable[[int], Any]] = {}
        for side in sides:
            if side.name == "zmlx":
                with recorded() as launches:
                    side.run(0)
                self.replays.append(Replay(self.driver, launches))
                found[side.name] = self.replays[-1]
            elif side.queues:
                found[side.name] = side.call
        return found

    def measure(self, calls: Mapping[str, Callable[[int], Any]], samples: int) -> dict[str, tuple[list[float], list[str]]]:
        """Seconds of each sample of each call, taken in turns; kernels have no names here."""
        for call in calls.values():
            for i in range(3):
                call(i)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for i in range(samples):
            for name, call in calls.items():
                # The memset runs while the host gets the call ready, so that little of the host's time is between the events.
                self.driver.fill(self.scratch, self.size)
                self.driver.record(self.start)
                call(i)
                self.driver.record(self.stop)
                times[name].append(self.driver.elapsed(self.start, self.stop))
        return {name: (values, []) for name, values in times.items()}
