"""What a warm launch costs: a kernel of 3 arrays and 2 scalars on 256 elements, µs a launch.

total     the whole call, with a fresh output from zmlx.empty_like
raw       the bare call of MLX (or of zmlx-native) that it makes, with the same arguments; over_raw: what Python adds to it
prepared  the same without making the output
in_out    onto an array with content
binding   Python's part up to the backend: arguments, key, plan, grid
backend   the backend's part: the primitive put into the graph; on the cpu without zmlx-native the kernel itself
empty     zmlx.empty_like alone; add: mx.add on the same arrays, queued, or evaluated where launches are eager
chain     a launch in a chain of CALLS, evaluated at the end; mx_chain: mx.add likewise
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx

import zmlx
from zmlx.bench.kernels import axpy_kernel
from zmlx.bench.timing import machine
from zmlx.errors import InternalCompilerError
from zmlx.runtime import generated, native
from zmlx.runtime.host_backend import HostKernel
from zmlx.runtime.launcher import Plan

CALLS = 200


def per_call(call: Callable[[int], Any]) -> float:
    """µs of one call, over CALLS of them; what they queued is evaluated outside the time."""
    start = time.perf_counter()
    kept = [call(i) for i in range(CALLS)]
    spent = time.perf_counter() - start
    mx.eval([k for k in kept if isinstance(k, mx.array)])
    return 1e6 * spent / CALLS


def bare(plan: Plan, arrays: tuple[mx.array, ...], scalars: tuple[Any, ...]) -> Callable[[int], Any]:
    """The call that a launch of one program ends in, alone."""
    backend = plan.execute.__self__  # type: ignore[attr-defined]
    if isinstance(backend, HostKernel):
        lazy: Any = backend.lazy
        bits = backend.pack(*scalars)
        return lambda i: lazy(arrays, bits, (1, 1, 1), None)
    given = backend.bare(arrays, scalars, (1, 1, 1))
    text = f"def raw(i): return call({', '.join(f'{name}={name}' for name in given)})"
    return generated.function("raw", text, "a bare launch", given | {"call": backend.call})


def measure(rounds: int, target: str) -> dict[str, Any]:
    """The row of a target: medians with the smallest and the largest of the rounds. Launches go to that target already."""
    x, y = mx.random.normal((256,)), mx.random.normal((256,))
    mx.eval(x, y)
    grid, eager = (1,), target == "interpret" or (target == "cpu" and native.extension() is None)
    out = axpy_kernel[grid](x, y, zmlx.empty_like(x), 256, 2.0, BLOCK=256)
    if not mx.allclose(out, 2 * x + y):
        raise InternalCompilerError("the launch benchmark's kernel is wrong: it has no time")
    axpy_kernel[grid](x, y, out, 256, 2.0, BLOCK=256)
    plan = next(p for p in axpy_kernel._plans.values() if p.execute.__self__.roles[2].content is None)  # type: ignore[attr-defined]
    launch, without_backend = plan.launch, plan.launching(lambda *_: [x])
    execute, outs = plan.execute, list[mx.array]()

    def binding(i: int) -> None:
        axpy_kernel[grid](x, y, outs[i], 256, 2.0, BLOCK=256)

    def fresh() -> None:
        outs[:] = [zmlx.empty_like(x) for _ in range(CALLS)]

    calls: dict[str, Callable[[int], Any]] = {
        "total": lambda i: axpy_kernel[grid](x, y, zmlx.empty_like(x), 256, 2.0, BLOCK=256),
        **({} if eager else {"raw": bare(plan, (x, y, out), (256, 2.0))}),
        "prepared": lambda i: axpy_kernel[grid](x, y, outs[i], 256, 2.0, BLOCK=256),
        "in_out": lambda i: axpy_kernel[grid](x, y, out, 256, 2.0, BLOCK=256),
        "binding": binding,
        "backend": lambda i: execute((x, y, out), (256, 2.0), (1, 1, 1), None),
        "empty": lambda i: zmlx.empty_like(x),
        "add": (lambda i: mx.eval(mx.add(x, y))) if eager else (lambda i: mx.add(x, y)),
    }
    if not eager:

        def chained(step: Callable[[mx.array], mx.array]) -> Callable[[int], None]:
            def run(i: int) -> None:
                if i == CALLS - 1:
                    a = x
                    for _ in range(CALLS):
                        a = step(a)
                    mx.eval(a)

            return run

        calls["chain"] = chained(lambda a: axpy_kernel[grid](a, y, zmlx.empty_like(x), 256, 2.0, BLOCK=256))
        calls["mx_chain"] = chained(lambda a: mx.add(a, y))
    names = [n for name in calls for n in (("raw", "over_raw") if name == "raw" else (name,))]
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, call in calls.items():
            fresh()
            plan.launch = without_backend if name == "binding" else launch
            try:
                samples[name].append(per_call(call))
            finally:
                plan.launch = launch
        if not eager:
            samples["over_raw"].append(samples["total"][-1] - samples["raw"][-1])
    return {
        "benchmark": "launch",
        "kernel": "axpy, 3 arrays, 2 scalars, 256 elements",
        **{f"{n}_us": [round(v, 2) for v in (statistics.median(s), min(s), max(s))] for n, s in samples.items()},
        **machine(),
        "target": target,
        "lazy": not eager,
    }
