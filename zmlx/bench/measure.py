"""One comparison: the sides of an entry on one case and dtype, checked, then timed in turns; a row for each side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from zmlx.bench import checking, sides
from zmlx.bench.arithmetic import operations
from zmlx.bench.limits import Limits
from zmlx.bench.sides import Missing, Side, Subject
from zmlx.bench.tensors import leaves
from zmlx.bench.timing import Timing, on_gpu
from zmlx.bench.twin_launch import recorded
from zmlx.catalog import Entry
from zmlx.errors import ZmlxError

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
_COMPARED = 1 << 20  # elements of a baseline's result, evenly spaced; zmlx's is compared in full
_ASLEEP = 0.01  # seconds after which a thread pool has stopped spinning: OpenMP's default is some 5 ms
COPIES, MOST_COPIED = 4, 2 << 30  # inputs rotate among copies, as long as these stay below so many bytes in all


@dataclass(frozen=True)
class Task:
    """What to compare: an entry on arguments, which `args` makes for a dtype, and how much arithmetic one call is."""

    suite: str
    entry: Entry
    case: str
    args: Callable[[mx.Dtype], tuple[Any, ...]]
    kwargs: Mapping[str, Any]
    dtype: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """How long to measure: samples of the device clock, seconds of the wall clock for all sides of a row, calls a sample."""

    samples: int = 50
    seconds: float = 2.0
    batch: int = 20

    @staticmethod
    def of(quick: bool, gpu: bool) -> Budget:
        if gpu:
            return Budget(samples=50, seconds=0.25 if quick else 2.0, batch=20)
        return Budget(samples=50, seconds=1.0 if quick else 6.0, batch=4)


def copies(args: tuple[Any, ...], gpu: bool) -> list[tuple[Any, ...]]:
    """The arguments and as many copies in memory of their own as fit."""
    size = sum(a.nbytes for a in args if isinstance(a, mx.array))
    count = max(1, min(COPIES, MOST_COPIED // max(1, size)))
    made = [args]
    for _ in range(count - 1):
        made.append(tuple(mx.where(True, a, a) if isinstance(a, mx.array) else a for a in args))
    mx.eval([a for copy in made for a in copy if isinstance(a, mx.array)])
    return made


def measure(task: Task, against: Sequence[str], clock: Any, limits: Limits, budget: Budget) -> list[dict[str, Any]]:
    """The rows of one task. `clock` is a device clock, or None where the wall clock is the only one."""
    gpu, dtype = on_gpu(), DTYPES[task.dtype]
    try:
        args = task.args(dtype)
        subject = Subject(task.entry, copies(args, gpu), task.kwargs, gpu)
        mx.eval(task.entry.call(*args, **task.kwargs))  # an autotuned kernel is tuned now
        with recorded() as launches:
            result = task.entry.call(*args, **task.kwargs)
        # float32 on the device is precise enough for half types; float64 on the CPU would take seconds for each row.
        wide = mx.float32 if gpu and dtype != mx.float32 else mx.float64
        expected = checking.reference(task.entry, args, task.kwargs, wide)
    except Exception as e:
        return [_row(task, "zmlx", status="failed", reason=sides.brief(e))]
    moved = sum(a.nbytes for a in (*args, *leaves(result)) if isinstance(a, mx.array))
    work = _work(task, args, launches)
    shared: dict[str, Any] = {"bytes": moved, "flops": work, "wide": str(wide).rpartition(".")[2]}
    rows: dict[str, dict[str, Any]] = {}
    ready: list[Side] = []
    built = sides.build(subject, against)
    for side in built:
        rows[side.name], fit = _checked(task, side, expected, shared)
        if fit and isinstance(side, Side):
            ready.append(side)
    if rows["zmlx"]["status"] == "ok":
        try:
            _time(rows, ready, clock, budget)
            _rates(rows, limits, moved, work)
        except Exception as e:  # a side that fails only now, or a clock that lost its records: no time for this task
            for row in rows.values():
                row |= {"status": "failed", "reason": sides.brief(e)} if row["status"] == "ok" else {}
    for side in built:
        if isinstance(side, Side):
            side.free()
    mx.clear_cache()
    return list(rows.values())


def _work(task: Task, args: tuple[Any, ...], launches: Any) -> int | None:
    """Floating-point operations of a call: as the entry says, or counted; None where the interpreter cannot run the kernel."""
    if task.entry.flops:
        return task.entry.flops(*args, **task.kwargs)
    try:
        return operations(launches)
    except ZmlxError:
        return None


def _checked(task: Task, side: Side | Missing, expected: Any, shared: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A side's row before it is timed, and whether it is to be timed."""
    if isinstance(side, Missing):
        return _row(task, side.name, status=side.status, reason=side.reason), False
    atol, rtol = task.entry.bounds(DTYPES[task.dtype])
    against = expected if side.expected is None else side.expected
    factor = 1 if side.expected is None else 2  # two results that are each within bounds of the truth
    try:
        bounds, most = (factor * atol, factor * rtol), None if side.name == "zmlx" else _COMPARED
        error, good = checking.compare(side.outputs(), against, bounds, most)
    except Exception as e:
        return _row(task, side.name, status="refused" if side.name != "zmlx" else "failed", reason=sides.brief(e)), False
    row = _row(task, side.name, form=side.form, **shared)
    if not side.comparable:
        return row | {"reason": "draws random numbers of its own, so its result is not compared"}, True
    row["max_error"] = error if math.isfinite(error) else None
    gap = f"off by {error:.2e}" if math.isfinite(error) else "other integers, or not finite"
    if good:
        return row, True
    if side.strict:
        return row | {"status": "wrong", "reason": f"differs from the reference ({gap}): it has no time"}, False
    return row | {"reason": f"outside the bounds that zmlx's kernel keeps ({gap})"}, True


def _row(task: Task, side: str, status: str = "ok", reason: str = "", **more: Any) -> dict[str, Any]:
    name = {"benchmark": "bench", "suite": task.suite, "kernel": task.entry.name, "shape": task.case, "dtype": task.dtype, "side": side}
    return {**name, "status": status, "reason": reason, **task.extra, **more}


def _time(rows: dict[str, dict[str, Any]], ready: list[Side], clock: Any, budget: Budget) -> None:
    """Adds the times. Device time where the clock sees the side; the wall time of batches always, by its own name."""
    walls = wall({s.name: s for s in ready}, budget)
    for name, timing in walls.items():
        rows[name]["wall_us"] = _us(timing)
    if clock is None:
        for name, timing in walls.items():
            rows[name] |= {"clock": "wall", "time_us": _us(timing), "samples": timing.samples}
        return
    calls = clock.calls(ready)
    for name, (samples, kernels) in clock.measure(calls, budget.samples).items():
        rows[name] |= {
            "clock": clock.name,
            "time_us": _us(Timing.of(samples)),
            "samples": len(samples),
            "kernels": [k[:80] for k in kernels],
        }
    for side in ready:
        if side.name not in calls:
            rows[side.name]["reason"] = clock.blind


def _us(timing: Timing) -> list[float]:
    """Median and quartiles in µs."""
    return [_digits(1e6 * v) for v in (timing.median, timing.low, timing.high)]


def _digits(value: float) -> float:
    """Four significant digits: no clock here is better."""
    return float(f"{value:.4g}")


def wall(ready: Mapping[str, Side], budget: Budget, least: int = 5, most: int = 50) -> dict[str, Timing]:
    """Seconds of one call by the host's clock, over batches, in turns A B A B …

    A GPU gets the whole batch to queue before anybody waits; on the CPU one call is over before the next is made. There the
    threads of the side before are given the time to fall asleep, since they spin for milliseconds, on cores that are wanted.
    """
    gpu = on_gpu()

    def sample(side: Side) -> float:
        if gpu:
            side.wait([])
        else:
            time.sleep(_ASLEEP)
            side.run(0)  # wakes this side's own threads
        start = time.perf_counter()
        if gpu:
            side.wait([side.call(i) for i in range(budget.batch)])
        else:
            for i in range(budget.batch):
                side.run(i)
        return (time.perf_counter() - start) / budget.batch

    for side in ready.values():
        sample(side)
    times: dict[str, list[float]] = {name: [] for name in ready}
    start = time.perf_counter()
    for round_ in range(most):
        if round_ >= least and time.perf_counter() - start > budget.seconds:
            break
        for name, side in ready.items():
            times[name].append(sample(side))
    return {name: Timing.of(values) for name, values in times.items()}


def _rates(rows: dict[str, dict[str, Any]], limits: Limits, moved: int, work: int | None) -> None:
    """Adds what follows from the times: ratios, rates, the fraction of the copy bandwidth and of the fastest side's rate."""
    timed = {name: row["time_us"][0] / 1e6 for name, row in rows.items() if "time_us" in row}
    if not timed:
        return
    copy = limits.copy(moved)
    for name, seconds in timed.items():
        row = rows[name]
        row["gb_per_s"] = _digits(moved / seconds / 1e9)
        row["limit_gb_per_s"], row["limit"] = _digits(copy.rate / 1e9), copy.name
        row["of_copy"] = round(moved / seconds / copy.rate, 3)
        if work is not None:
            row["tflop_per_s"] = _digits(work / seconds / 1e12)
        row["of_best"] = round(min(timed.values()) / seconds, 3)
        if name != "zmlx" and "zmlx" in timed:
            row["ratio"] = round(seconds / timed["zmlx"], 3)
