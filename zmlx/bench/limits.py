"""What the device can do at best, measured by the clock that measures the kernels: moving bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

import zmlx
from zmlx.bench.clocks.events import Replay, recorded
from zmlx.bench.kernels import copy_kernel
from zmlx.bench.timing import Timing, sample

COPIES = 4  # sources and destinations rotate, as the kernels' inputs do


class Copy(NamedTuple):
    """The fastest copy: what made it, and the bytes read and written in a second."""

    name: str
    rate: float


@dataclass
class Limits:
    """Bandwidth of copies of as many bytes as a kernel moves; each size is measured once."""

    clock: Any
    gpu: bool

    def __post_init__(self) -> None:
        self._found: dict[int, Copy] = {}

    def copy(self, moved: int) -> Copy:
        """The device's best copy that reads and writes `moved` bytes in all."""
        half = max(4096, moved // 2 // 4096 * 4096)
        if half not in self._found:
            rates = {name: 2 * half / seconds for name, seconds in self._seconds(half).items()}
            best = max(rates, key=lambda name: rates[name])
            self._found[half] = Copy(best, rates[best])
        return self._found[half]

    def _seconds(self, size: int) -> dict[str, float]:
        """Seconds of each way to copy."""
        sources = [mx.zeros((size // 4,), mx.float32) for _ in range(COPIES)]
        mx.eval(sources)

        def kernel(i: int) -> mx.array:
            x = sources[i % COPIES]
            return copy_kernel[(zmlx.cdiv(x.size, 4096),)](x, zmlx.empty_like(x), x.size, BLOCK=4096, num_warps=8)

        if self.clock is not None:
            return self._device_seconds(size, kernel)
        ways = {"zmlx copy kernel": [sample(kernel, 4) for _ in range(8)]}
        if not self.gpu:
            pairs = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for _ in range(COPIES)]

            def plain(i: int) -> mx.array:
                np.copyto(*pairs[i % COPIES])
                return _NOTHING

            ways["np.copyto"] = [sample(plain, 4) for _ in range(8)]
        return {name: Timing.of(times[1:]).median for name, times in ways.items()}

    def _device_seconds(self, size: int, kernel: Any) -> dict[str, float]:
        driver = self.clock.driver
        source, to = driver.buffer(size), driver.buffer(size)
        calls: dict[str, Any] = {"device copy": lambda i: driver.copy(to, source, size)}
        replay = None
        if self.clock.name == "events":
            with recorded() as launches:
                mx.eval(kernel(0))
            calls["zmlx copy kernel"] = replay = Replay(driver, launches)
        else:
            calls["zmlx copy kernel"] = lambda i: mx.eval(kernel(i))  # the clock waits for the device
        try:
            return {name: Timing.of(times).median for name, (times, _) in self.clock.measure(calls, 50).items()}
        finally:
            driver.synchronize()
            driver.free(source, to)
            if replay is not None:
                replay.free()


_NOTHING = mx.array(0)
