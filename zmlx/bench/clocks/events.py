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
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx.bench.clocks.driver import Driver, Pointer
from zmlx.runtime.launcher import Plan


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
    zeroed: bool  # whether the outputs are to be zeros before
    made: list[mx.array] = field(default_factory=list)  # its outputs, as MLX made them


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Collects the launches of CUDA kernels made in the `with` body, which still run."""
    launches: list[Launch] = []
    plans: Any = Plan  # each has a launch of its own, in a slot
    slot: Any = plans.launch

    def launch(plan: Plan, *given: Any) -> Any:
        backend = plan.execute.__self__  # type: ignore[attr-defined]

        def call(**passed: Any) -> list[mx.array]:
            launches.append(_launch(backend, passed))
            launches[-1].made = backend.call(**passed)
            return launches[-1].made

        return plan.launching(MethodType(backend.executor(call), backend))(*given)

    plans.launch = property(lambda plan: partial(launch, plan), slot.__set__)
    try:
        yield launches
    finally:
        plans.launch = slot


def _launch(backend: Any, passed: dict[str, Any]) -> Launch:
    """What MLX is asked for, as the driver takes it."""
    sizes = [math.prod(s) * d.size for s, d in zip(passed["output_shapes"], passed["output_dtypes"], strict=True)]
    raw = [np.array(mx.contiguous(x).reshape(-1).view(mx.uint8)).tobytes() for x in passed["inputs"]]
    threads = backend.compiled.threads
    x, y, z = passed["grid"]
    scalars, shared, zeroed = list(passed["scalars"]), passed["shared_memory"], passed["init_value"] is not None
    return Launch(passed["name"], passed["compiled_source"], raw, sizes, scalars, (x // threads, y, z), threads, shared, zeroed)


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
            launch.inputs = [b""] * len(launch.inputs)  # on the device now
            pointers += [driver.buffer(size) for size in launch.outputs]
            self.buffers += pointers
            values = [*pointers, *(ctypes.c_int(v) for v in launch.scalars)]
            arguments = (Pointer * len(values))(*[ctypes.cast(ctypes.pointer(v), Pointer) for v in values])
            self.launches.append((function, launch, arguments, values))

    def __call__(self, i: int) -> None:
        for function, launch, arguments, _ in self.launches:
            self.driver.launch(function, launch.grid, launch.threads, launch.shared, arguments)

    def outputs(self) -> list[mx.array]:
        """What the last launch wrote, on the host, once the device is done."""
        launch, values = self.launches[-1][1], self.launches[-1][3]
        self.driver.synchronize()
        found = []
        for pointer, array in zip(values[len(launch.inputs) :], launch.made, strict=False):
            raw = mx.array(np.frombuffer(self.driver.read(pointer, array.nbytes), np.uint8))
            found.append(raw.view(array.dtype).reshape(array.shape))
        return found

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
