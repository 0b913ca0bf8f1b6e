"""Streaming kernels on the CPU: zmlx beside PyTorch's inductor (torch.compile) and MLX's CPU backend, on the same cores.

    python benchmarks/cpu_inductor.py [--out benchmarks/results/cpu_inductor.jsonl] [--dtype float32] [--only softmax]

Needs torch (CPU). Rounds are interleaved in one process; both sides run on ZMLX_THREADS threads (all cores by default),
MLX's backend on the one that it uses. Results are compared in float32 before anything is timed. A sample is one call. Each
time is given as the least sample and the quartiles; ratios compare the least samples, which other work on the machine
disturbs least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import torch
import torch.nn.functional as F

import zmlx
from zmlx import bench
from zmlx.catalog.activation.gelu import gelu
from zmlx.catalog.activation.swiglu import swiglu
from zmlx.catalog.loss.cross_entropy import cross_entropy
from zmlx.catalog.norm.layer_norm import layer_norm
from zmlx.catalog.norm.rms_norm import rms_norm
from zmlx.catalog.norm.softmax import softmax
from zmlx.catalog.reduce.sum import row_sum

SHAPES = ((1024, 2048), (4096, 4096))
DTYPES = ("float32", "bfloat16", "float16")
TOLERANCE = {"float32": 5e-5, "bfloat16": 2e-2, "float16": 2e-3}


def kernels(m: int, n: int, dtype: str) -> dict[str, tuple[Callable[[], mx.array], Callable[[], mx.array], Callable[[], Any], int]]:
    """name → (zmlx, MLX, inductor, bytes that must move)."""
    r = np.random.default_rng(0)
    numbers = [r.standard_normal(s).astype(np.float32) for s in ((m, n), (m, n), n, n)]
    labels = r.integers(0, n, m).astype(np.int32)
    x, y, w, b = (mx.array(a).astype(getattr(mx, dtype)) for a in numbers)
    # Copies, as NumPy's arrays lie in large pages and MLX's do not.
    tx, ty, tw, tb = (torch.from_numpy(a).clone().to(getattr(torch, dtype)) for a in numbers)
    label, tlabel = mx.array(labels), torch.from_numpy(labels.astype(np.int64))
    mx.eval(x, y, w, b, label)
    size, row = x.nbytes, m * x.itemsize

    def compiled(f: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        g = torch.compile(f, dynamic=False)
        return lambda: g(*args)

    entropy = mx.compile(lambda a: mx.logsumexp(a, axis=-1) - mx.take_along_axis(a, label[:, None], axis=-1)[:, 0])
    glu = mx.compile(lambda a, c: a * mx.sigmoid(a) * c)
    erf = mx.compile(lambda a: a * 0.5 * (1 + mx.erf(a * 0.7071067811865476)))
    return {
        "softmax": (lambda: softmax(x), lambda: mx.softmax(x, -1, precise=True), compiled(lambda a: torch.softmax(a, -1), tx), 2 * size),
        "rms_norm": (
            lambda: rms_norm(x, w),
            lambda: mx.fast.rms_norm(x, w, 1e-5),
            compiled(lambda a, c: F.rms_norm(a, (n,), c, 1e-5), tx, tw),
            2 * size,
        ),
        "layer_norm": (
            lambda: layer_norm(x, w, b),
            lambda: mx.fast.layer_norm(x, w, b, 1e-5),
            compiled(lambda a, c, d: F.layer_norm(a, (n,), c, d, 1e-5), tx, tw, tb),
            2 * size,
        ),
        "gelu": (lambda: gelu(x), lambda: erf(x), compiled(lambda a: F.gelu(a), tx), 2 * size),
        "swiglu": (
            lambda: swiglu(x, y),
            lambda: glu(x, y),
            compiled(lambda a, c: F.silu(a) * c, tx, ty),
            3 * size,
        ),
        "sum": (
            lambda: row_sum(x),
            lambda: mx.sum(x, axis=-1),
            compiled(lambda a: a.sum(-1), tx),
            size + row,
        ),
        "cross_entropy": (
            lambda: cross_entropy(x, label),
            lambda: entropy(x),
            compiled(lambda a, c: F.cross_entropy(a, c, reduction="none"), tx, tlabel),
            size + row,
        ),
    }


def some(call: Callable[[], Any], calls: int) -> list[float]:
    """Milliseconds of each of some calls in a row, after two more and a pause in which the other side's threads stop spinning."""
    time.sleep(0.01)
    for _ in range(2):
        done(call())
    samples = []
    for _ in range(calls):
        start = time.perf_counter()
        done(call())
        samples.append(1e3 * (time.perf_counter() - start))
    return samples


def done(result: Any) -> None:
    if isinstance(result, mx.array):
        mx.eval(result)


def values(result: Any) -> np.ndarray:
    return np.array(result.astype(mx.float32)) if isinstance(result, mx.array) else result.to(torch.float32).numpy()


def measure(name: str, m: int, n: int, dtype: str, entry: Any, rounds: int) -> dict[str, Any]:
    ours, theirs, inductor, moved = entry
    want, got = values(inductor()), values(ours())
    error = float(np.max(np.abs(got - want) / (1 + np.abs(want))))
    if not error <= TOLERANCE[dtype]:
        raise SystemExit(f"{name} {dtype} is wrong by {error:.2e}: it has no time")
    samples: dict[str, list[float]] = {"zmlx": [], "inductor": [], "mlx": []}
    for i in range(rounds):
        samples["zmlx"] += some(ours, 8)
        samples["inductor"] += some(inductor, 8)
        if i % 13 == 0:
            samples["mlx"] += some(theirs, 2)
    least = {k: min(v) for k, v in samples.items()}
    return {
        "benchmark": "cpu_inductor",
        "kernel": name,
        "shape": f"{m}x{n}",
        "dtype": dtype,
        **{f"{k}_ms": [round(x, 4) for x in (least[k], *statistics.quantiles(v, n=4, method="inclusive"))] for k, v in samples.items()},
        "statistic": "least, lower quartile, median, upper quartile",
        "over_inductor": round(least["inductor"] / least["zmlx"], 3),
        "over_mlx": round(least["mlx"] / least["zmlx"], 2),
        "gb_per_s": round(moved / least["zmlx"] / 1e6, 1),
        "max_error": error,
        "torch": torch.__version__,
        **bench.machine(),
        "command": " ".join(["python", "benchmarks/cpu_inductor.py", *sys.argv[1:]]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--dtype", choices=DTYPES, action="append")
    parser.add_argument("--only", action="append", help="kernels")
    parser.add_argument("--shape", action="append", help="e.g. 1024x2048")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    machine = bench.machine()
    torch.set_num_threads(machine["threads"])
    print(f"{machine['device']}; zmlx and torch {torch.__version__} on {machine['threads']} threads, MLX {machine['mlx']} on its one")
    shapes = [tuple(map(int, s.split("x"))) for s in options.shape or ()] or SHAPES
    with zmlx.use_target("cpu"), torch.no_grad():
        for m, n in shapes:
            for dtype in options.dtype or DTYPES:
                for name, entry in kernels(m, n, dtype).items():
                    if options.only and name not in options.only:
                        continue
                    row = measure(name, m, n, dtype, entry, options.rounds)
                    times = "  ".join(f"{k} {row[f'{k}_ms'][0]:8.3f}" for k in ("zmlx", "inductor", "mlx"))
                    print(
                        f"{name:<13} {m}x{n} {dtype:<9} {times} ms  {row['over_inductor']:5.2f}x inductor {row['over_mlx']:6.1f}x MLX  "
                        f"{row['gb_per_s']:.0f} GB/s",
                        flush=True,
                    )
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
