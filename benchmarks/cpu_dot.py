"""Products of tiles on the CPU: zmlx beside PyTorch and MLX on the same cores, in GFLOP/s and as a share of the cores' peak.

    python benchmarks/cpu_dot.py [--out benchmarks/results/cpu_dot.jsonl]

Needs torch (CPU). Peak is measured: the same multiply-adds of float32 on tiles that stay in the first cache, on all threads.
Times are the least of several calls, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
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
import zmlx.language as tl
from zmlx import bench
from zmlx.catalog.attention.flash import flash_attention
from zmlx.catalog.matmul.linear import linear

DTYPES = ("float32", "bfloat16", "float16")
STEPS = 200


@zmlx.jit
def peak_kernel(x_ptr, out_ptr, steps):
    i = tl.arange(0, 64)
    at = i[:, None] * 64 + i[None, :]
    x = tl.load(x_ptr + at)
    acc = tl.zeros((64, 64), tl.float32)
    for _ in range(steps):
        acc = tl.dot(x, x, acc, input_precision="ieee")
    tl.store(out_ptr + tl.program_id(0) * 4096 + at, acc)


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """The least time of a call."""
    samples = []
    for _ in range(repeats):
        time.sleep(0.003)
        start = time.perf_counter()
        result = call()
        if isinstance(result, mx.array):
            mx.eval(result)
        samples.append(time.perf_counter() - start)
    return min(samples)


def rows() -> Any:
    """(kernel, shape, dtype, flops, zmlx, torch, MLX)"""
    r = np.random.default_rng(0)
    for dtype in DTYPES:
        x, w = (r.standard_normal((1024, 1024)).astype(np.float32) for _ in range(2))
        a, b = (mx.array(v).astype(getattr(mx, dtype)) for v in (x, w))
        ta, tb = (torch.from_numpy(v).to(getattr(torch, dtype)) for v in (x, w))
        ours, theirs = (lambda a=a, b=b: linear(a, b)), (lambda a=ta, b=tb: a @ b)
        yield "linear", "1024x1024x1024", dtype, 2 * 1024**3, ours, theirs, lambda a=a, b=b: a @ b
    for dtype in DTYPES:
        q, k, v = (r.standard_normal((1, 8, 1024, 64)).astype(np.float32) for _ in range(3))
        mine = [mx.array(t).astype(getattr(mx, dtype)) for t in (q, k, v)]
        theirs = [torch.from_numpy(t).to(getattr(torch, dtype)) for t in (q, k, v)]
        yield (
            "flash_attention",
            "1x8x1024x64",
            dtype,
            4 * 8 * 1024**2 * 64,
            lambda m=mine: flash_attention(*m),
            lambda t=theirs: F.scaled_dot_product_attention(*t),
            lambda m=mine: mx.fast.scaled_dot_product_attention(*m, scale=0.125),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    machine = bench.machine()
    threads = machine["threads"]
    torch.set_num_threads(threads)
    with zmlx.use_target("cpu"), torch.no_grad():
        tile = mx.array((np.random.default_rng(0).standard_normal((64, 64)) / 64).astype(np.float32))
        run = lambda: peak_kernel[(threads,)](tile, zmlx.empty((threads, 64, 64), mx.float32), STEPS)  # noqa: E731
        peak = 2 * 64**3 * STEPS * threads / seconds(run, 200) / 1e9
        print(f"{machine['device']}; {threads} threads, peak {peak:.0f} GFLOP/s in float32")
        for kernel, shape, dtype, flops, ours, theirs, mlx in rows():
            want, got = theirs().to(torch.float32).numpy(), np.array(ours().astype(mx.float32))
            error = float(np.max(np.abs(got - want)) / np.max(np.abs(want)))
            if not error <= {"float32": 1e-5, "bfloat16": 1e-2, "float16": 2e-3}[dtype]:
                raise SystemExit(f"{kernel} {dtype} is wrong by {error:.2e}: it has no time")
            slow = dtype == "float16" and kernel == "linear"  # for which this torch has no fast product
            times = {"zmlx": seconds(ours, 150), "torch": seconds(theirs, 3 if slow else 150), "mlx": seconds(mlx, 3)}
            rate = flops / times["zmlx"] / 1e9
            row = {
                "benchmark": "cpu_dot", "kernel": kernel, "shape": shape, "dtype": dtype,
                **{f"{k}_ms": round(1e3 * v, 3) for k, v in times.items()},
                "gflop_per_s": round(rate, 1), "of_peak": round(rate / peak, 3), "max_error": error, "torch": torch.__version__,
                **machine, "command": " ".join(["python", "benchmarks/cpu_dot.py", *sys.argv[1:]]),
            }  # fmt: skip
            print(f"{kernel:<16} {shape:<15} {dtype:<9} " + "  ".join(f"{k} {1e3 * v:9.2f}" for k, v in times.items()), end="")
            print(f" ms  {rate:.0f} GFLOP/s, {rate / peak:.0%} of peak", flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
