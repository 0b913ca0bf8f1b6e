"""Which config to run where nothing can be timed: an estimate of each one's time from what the compiler knows.

The model is a roofline with occupancy. A device is `units` (multiprocessors, GPU cores, CPU cores) that each hold some
programs at once, as many as their registers, threadgroup memory and warps allow:

    threads    = lanes × num_warps
    registers  = live bytes / 4 / threads + a base               of one thread
    resident   = min(warps, registers, threadgroup memory, programs of a unit / those of one program), at least 1
    n          = ⌈programs / units⌉                              of the busiest unit
    throughput = n × max(bytes / bandwidth, flops / rate + dot flops / dot rate)
    latency    = ⌈n / resident⌉ × (rounds / stages × latency of memory + operations of one thread)
    seconds    = max(throughput, latency) × spilling + n × start of a program

where values beyond a thread's registers cost as many times more as they exceed them, fourfold (on the CPU: those beyond
the second-level cache). The figures are round ones of current devices: only ratios matter, since configs are compared and
never promised a time. What cannot run is not this model's business: whoever uses the ranking compiles in its order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zmlx.ir.core import Function
from zmlx.runtime.work import Work, work_of


@dataclass(frozen=True)
class Machine:
    """A device as the model sees it; rates are of one unit.

    units            multiprocessors, GPU cores or CPU cores
    lanes            threads of a warp; 1: a program is one thread, and warps mean nothing
    warps, programs  that a unit holds at once, at the most
    registers        32-bit ones of a unit; thread_registers: of one thread at the most
    shared           bytes of threadgroup memory of a unit
    bandwidth        bytes per second; rate, dot_rate: operations per second outside and inside tile products
    stages           of a loop's loads in flight, if nothing is said, and at the most
    latency          seconds of one access to memory; issue: of one operation of one thread; start: of one program
    """

    units: int
    lanes: int = 32
    warps: int = 64
    programs: int = 32
    registers: int = 65536
    thread_registers: int = 255
    shared: int = 228 * 1024
    stages: int = 1
    most_stages: int = 1
    bandwidth: float = 25e9
    rate: float = 250e9
    dot_rate: float = 3e12
    latency: float = 0.6e-6
    issue: float = 1e-9
    start: float = 0.2e-6


# A CPU core: "registers" is its share of the caches, which holds the tiles of a program.
CPU = Machine(1, 1, 1, 1, 1 << 17, 1 << 17, 1 << 30, bandwidth=10e9, rate=8e9, dot_rate=30e9, latency=20e-9, issue=0.0, start=0.1e-6)
# NumPy runs every operation of every program by itself.
INTERPRETER = replace(CPU, registers=1 << 24, thread_registers=1 << 24, bandwidth=1e9, rate=0.5e9, dot_rate=1e9, latency=1e-3, start=1e-3)
METAL = Machine(
    20, warps=32, programs=24, registers=52 * 1024, thread_registers=128, shared=64 * 1024, bandwidth=15e9, rate=200e9, dot_rate=250e9
)
CUDA = Machine(132, stages=4, most_stages=16)
BASE_REGISTERS = 24  # addresses, counters and masks of one thread


def machine(target: str, units: int = 0) -> Machine:
    """The machine behind a target; `units`: how many it has, where that is known."""
    base = {"cpu": CPU, "interpret": INTERPRETER, "cuda": CUDA}.get(target, METAL)
    return replace(base, units=units) if units else base


def seconds(work: Work, programs: int, num_warps: int, device: Machine, num_stages: int | None = None) -> float:
    """The model's time of a launch of `programs` programs."""
    stages = max(1, device.stages if num_stages is None else min(num_stages, device.most_stages))
    warps = num_warps if device.lanes > 1 else 1
    threads = device.lanes * warps
    registers = work.live_bytes / 4 / threads + (BASE_REGISTERS if device.lanes > 1 else 0)
    fitting = min(registers, device.thread_registers)
    resident = min(
        device.programs,
        device.warps // warps,
        int(device.registers / max(1.0, fitting * threads)),
        device.shared // max(1, work.staged_bytes * stages),
    )
    resident = max(1, resident)
    n = math.ceil(programs / device.units)
    throughput = n * max(work.bytes / device.bandwidth, work.flops / device.rate + work.dot_flops / device.dot_rate)
    alone = (1 + (work.rounds - 1) / stages) * device.latency + work.flops / threads * device.issue
    latency = math.ceil(n / resident) * alone
    spilling = 1 + 4 * max(0.0, registers / device.thread_registers - 1)
    return max(throughput, latency) * spilling + n * device.start


def estimate(
    fn: Function, scalars: Mapping[str, Any], grid: tuple[int, int, int], num_warps: int, device: Machine, num_stages: int | None = None
) -> float:
    """The model's seconds of a launch.

    fn       the kernel's Tile IR, optimised
    scalars  run-time numbers by parameter name; grid: programs along three axes
    """
    return seconds(work_of(fn, scalars, grid), math.prod(grid), num_warps, device, num_stages)


def ranking(estimates: Sequence[float | None]) -> list[int]:
    """Places from the smallest estimate to the largest, equal ones in their order; those without one last."""
    return sorted(range(len(estimates)), key=lambda i: (math.inf if (e := estimates[i]) is None else e, i))
