"""A launch with each of several configs: compiled in parallel and timed against each other, on copies of the arguments.

A launch changes nothing that it was passed: it computes new values, and only then are the caller's arrays rebound to
them. So timing calls the launch's functional part, on whatever the arrays hold, and never rebinds. Hooks do write into
arrays, so they get objects of their own, once for each config; what they do is not a part of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from zmlx import knobs
from zmlx.errors import InternalCompilerError, ResourceError
from zmlx.runtime import cost_model, cuda_driver, host_backend, mlx_backend, timing
from zmlx.runtime.configs import Config
from zmlx.runtime.fresh import FreshArray
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.launcher import Plan, check_grid
from zmlx.runtime.signature import Bound
from zmlx.runtime.timing import Timing
from zmlx.runtime.tuning import Trial
from zmlx.targets.compiled import Compiled
from zmlx.targets.target import target as target_of

TIMED = ("metal", "cuda", "cpu")  # targets whose time means something


class NotTraceable(Exception):
    """Arrays that cannot be evaluated: a launch inside mx.compile or mx.vmap."""


@dataclass(eq=False)
class Candidate:
    """One config of a launch, on its way to a timing.

    values   of all parameters in order, of this candidate alone
    args     the same by name, with options, as hooks see them; num_stages: the config's, or else the launch's
    error    why it cannot run; twin: an earlier candidate that is the same program
    """

    config: Config
    values: tuple[Any, ...] = ()
    args: dict[str, Any] = field(default_factory=dict)
    num_stages: int | None = None
    built: tuple[dict[str, Bound], Compiled, Any] | None = None
    dims: tuple[int, int, int] = (0, 0, 0)
    plan: Plan | None = None
    error: Exception | None = None
    reason: str = ""
    timing: Timing | None = None
    twin: Candidate | None = None

    @property
    def compiled(self) -> Compiled:
        assert self.built is not None
        return self.built[1]

    @property
    def runs(self) -> bool:
        return self.error is None and not self.reason

    def fail(self, error: Exception) -> None:
        """Ranks it last."""
        self.error, self.reason = error, f"{type(error).__name__}: {error}"

    def trial(self) -> Trial:
        if self.twin is not None:
            return Trial(self.config, self.twin.timing, self.twin.reason or f"the same program as {self.twin.config}")
        return Trial(self.config, self.timing, self.reason)

    def launch(self, stream: Any = None) -> list[mx.array]:
        """The new values of what the kernel writes; nothing that was passed changes."""
        assert self.plan is not None
        return self.plan.execute(*self.plan.passed(self.values), self.dims, stream)

    def output_bytes(self) -> int:
        """Of one launch, with the copies of arrays that are read and written."""
        assert self.plan is not None
        inout = len(self.compiled.inout)
        return sum(self.values[i].nbytes for i in self.plan.written) * (3 if inout else 1)


def own(values: dict[str, Any], zeroed: Sequence[str]) -> dict[str, Any]:
    """The arguments with array objects that may be rebound without anybody noticing; `zeroed` names those to clear."""
    out = dict(values)
    for name, v in values.items():
        if isinstance(v, FreshArray):
            out[name] = type(v)(v)
        elif isinstance(v, mx.array):
            out[name] = mx.zeros_like(v) if name in zeroed else mx.array(v)
    return out


def settle(values: dict[str, Any]) -> None:
    """Evaluates the arrays that have content. Raises NotTraceable where they are tracers."""
    try:
        mx.eval([v for v in values.values() if isinstance(v, mx.array) and not isinstance(v, FreshArray)])
    except (ValueError, RuntimeError) as e:
        if "[eval]" not in str(e):
            raise
        raise NotTraceable from None


def prepare(kernel: JitFunction, candidates: Sequence[Candidate], target: str, grid: Any, twins: bool, tick: Callable[[int], None]) -> None:
    """Compiles what can be compiled. Up to a target's text that is Python, one candidate after the other; the target's compiler
    runs meanwhile, for several at once: it is a process of its own, or leaves Python alone.

    twins: whether candidates that are the same program have the same arguments, so that one timing serves all.
    """
    seen: dict[Any, Candidate] = {}
    loading: dict[Future[Plan], Candidate] = {}
    with ThreadPoolExecutor(max(1, min(len(candidates), knobs.threads()))) as pool:
        for c in candidates:
            if c.runs:
                _build(kernel, c, target, grid)
            if c.runs and twins:
                earlier = seen.setdefault(_program(kernel, c), c)
                c.twin = earlier if earlier is not c else None
            if not c.runs or c.twin is not None:
                tick(1)
                continue
            if not loading and target == "cpu":
                host_backend.prepare()  # once, not in each thread
            loading[pool.submit(_load, kernel, c, target)] = c
        for future in as_completed(loading):
            try:
                loading[future].plan = future.result()
            except Exception as e:
                loading[future].fail(e)
            tick(1)


def _build(kernel: JitFunction, c: Candidate, target: str, grid: Any) -> None:
    try:
        c.built = kernel.build(c.values, target, c.config.num_warps, c.num_stages)
        bound = dict(zip((p.name for p in kernel.params), c.values, strict=True))
        c.dims = check_grid(kernel.__name__, grid(bound) if callable(grid) else grid, target, c.compiled.threads)
    except Exception as e:
        c.fail(e)


def _program(kernel: JitFunction, c: Candidate) -> Any:
    """What makes two candidates one program: text, launch and run-time numbers."""
    numbers = [repr(v) for p, v in zip(kernel.params, c.values, strict=True) if not p.is_constexpr and not isinstance(v, mx.array)]
    text = c.compiled
    return text.source, text.header, text.entry, text.threads, text.shared_bytes, c.dims, tuple(numbers)


def _load(kernel: JitFunction, c: Candidate, target: str) -> Plan:
    assert c.built is not None
    return kernel.load(kernel.plan_key(c.values, target, c.config.num_warps, c.num_stages), *c.built)


def set_spilling_aside(candidates: Sequence[Candidate]) -> None:
    """Ranks last what keeps values in local memory, as long as something else does not."""
    running = [c for c in candidates if c.runs and c.plan is not None]
    spilled = {}
    for c in running:
        backend = getattr(c.plan.execute, "__self__", None) if c.plan else None
        if isinstance(backend, mlx_backend.GpuKernel):
            spilled[c] = backend.spilled_bytes()
    if any(spilled.get(c, 0) == 0 for c in running):
        for c in running:
            if spilled.get(c):
                c.reason = f"registers spill: {spilled[c]} bytes of local memory a thread"


def time_them(candidates: Sequence[Candidate], target: str, stream: Any, warmup: float, rep: float, tick: Callable[[int], None]) -> None:
    """Times what can run; a failure at run time ranks a candidate last. `warmup` and `rep` are seconds."""
    entrants = [c for c in candidates if c.runs and c.plan is not None]
    queued = target != "cpu"
    found = timing.race(
        len(entrants),
        lambda i, batch: timing.device_sample(lambda: entrants[i].launch(stream), batch, queued),
        warmup=warmup,
        rep=rep,
        most_batch=lambda i: max(1, timing.QUEUED_BYTES // max(1, entrants[i].output_bytes())) if queued else timing.MAX_BATCH,
        tick=tick,
    )
    for c, result in zip(entrants, found, strict=True):
        if isinstance(result, Timing):
            c.timing = result
        else:
            c.fail(result)


def choose(kernel: JitFunction, candidates: Sequence[Candidate], target: str, grid: Any) -> Candidate | None:
    """The cost model's choice among those that compile; None where none does."""
    estimates: list[float | None] = []
    device = cost_model.machine(target, _units(target))
    for c in candidates:
        estimates.append(None)
        if c.runs:
            try:
                bound = dict(zip((p.name for p in kernel.params), c.values, strict=True))
                threads = target_of(target).lanes * c.config.num_warps
                c.dims = check_grid(kernel.__name__, grid(bound) if callable(grid) else grid, target, threads)
                tile = kernel.traced(c.values, target)
                estimates[-1] = cost_model.estimate(tile, bound, c.dims, c.config.num_warps, device, c.num_stages)
            except Exception as e:
                c.fail(e)
    for i in cost_model.ranking(estimates):
        c = candidates[i]
        if c.runs:
            try:
                c.plan = kernel.plan_of(c.values, target, c.config.num_warps, c.num_stages)
                return c
            except Exception as e:
                c.fail(e)
    return None


def _units(target: str) -> int:
    if target == "cuda":
        return cuda_driver.multiprocessors()
    return host_backend.threads() if target == "cpu" else 0


def fastest(candidates: Sequence[Candidate]) -> int | None:
    """The place of the winner; None where nothing was timed."""
    timings = [c.timing if c.runs and c.twin is None else None for c in candidates]
    return timing.fastest(timings) if any(timings) else None


def only_error(candidates: Sequence[Candidate]) -> Exception | None:
    """The error of all candidates, where it is one and the same: then it is no matter of configs."""
    errors = [c.error for c in candidates if c.twin is None]
    first = errors[0]
    alike = first is not None and all(type(e) is type(first) and str(e) == str(first) for e in errors)
    return first if alike and not isinstance(first, ResourceError) else None


def bugs(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates on which zmlx itself failed."""
    return [c for c in candidates if isinstance(c.error, InternalCompilerError)]
