"""Times of calls on MLX arrays, taken so that a comparison is fair: interleaved rounds, one clock, a synchronised device.

The rounds go A B A B …, so that a machine that slows down slows both. On a GPU each sample queues a batch of calls before
it evaluates them: launches overlap as they do in a model, and the device's time shows instead of one launch's latency.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import mlx.core as mx

import zmlx
from zmlx import knobs
from zmlx.runtime.timing import Timing


def on_gpu() -> bool:
    """Whether MLX's default device is a GPU."""
    return mx.default_device() == mx.Device(mx.gpu)


def device_name() -> str:
    """The default device in words."""
    info = mx.device_info()
    name = str(info.get("device_name") or info.get("architecture") or "unknown device")
    return f"{name} ({'GPU' if on_gpu() else 'CPU'})"


def machine() -> dict[str, Any]:
    """What a result must name to mean something: device, target, threads, versions, day, and the load average of its last minute."""
    return {
        "device": device_name(),
        "target": zmlx.default_target(),
        "threads": knobs.threads(),
        "zmlx": zmlx.__version__,
        "mlx": version("mlx"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def sample(call: Callable[[int], mx.array], batch: int) -> float:
    """Seconds of one call, over a batch of them; the callable gets the call's number, to rotate its inputs.

    A GPU gets the whole batch to queue. On the CPU one call's result is dropped before the next call is made.
    """
    mx.synchronize()
    start = time.perf_counter()
    if on_gpu():
        mx.eval([call(i) for i in range(batch)])
    else:
        for i in range(batch):
            mx.eval(call(i))
    mx.synchronize()
    return (time.perf_counter() - start) / batch


def interleaved(
    calls: Mapping[str, Callable[[int], mx.array]], budget: float = 2.0, batch: int = 1, least: int = 5, most: int = 50
) -> dict[str, Timing]:
    """Timings of several calls, taken in turns for about `budget` seconds in all, after a warm-up of one sample each.

    At least `least` and at most `most` rounds; a call that raises stops the measurement with its error.
    """
    for call in calls.values():
        sample(call, batch)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for round_ in range(most):
        if round_ >= least and time.perf_counter() - start > budget:
            break
        for name, call in calls.items():
            samples[name].append(sample(call, batch))
    return {name: Timing.of(values) for name, values in samples.items()}


def warning() -> str:
    """What makes times of this machine untrue now, or nothing: other work on its cores."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        return f"warning: this machine is busy (load {load:.1f} on {cores} cores): thread pools that wait for each other suffer most"
    return ""
