"""Softmax, RMSNorm and GELU, 1024×2048, on the CPU: zmlx beside MLX's CPU backend, eager and compiled.

    python benchmarks/cpu.py [--out benchmarks/results/cpu.jsonl] [--dtype float32] [--only softmax]

Interleaved rounds in one process, a sample being several calls in a row; every result is checked before it is timed.
zmlx runs on ZMLX_THREADS threads (all cores by default); MLX's backend runs these operations on one thread and offers no
choice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import mlx.core as mx

import zmlx
from zmlx import bench
from zmlx.catalog import Entry, entries
from zmlx.catalog.entry import traffic

NAMES = ("softmax", "rms_norm", "gelu")
BATCH = 8
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}


def measure(entry: Entry, dtype_name: str, seconds: float) -> dict[str, Any]:
    """One result: medians and quartiles in milliseconds, and MLX's best time over ours."""
    case, dtype = entry.sizes["cpu"], DTYPES[dtype_name]
    args = case.build(dtype)
    mx.eval(*[a for a in args if isinstance(a, mx.array)])
    result = entry.call(*args, **case.kwargs)
    error, ok = entry.error(result, entry.expected(case, dtype), dtype)
    if not ok:
        raise SystemExit(f"{entry.name} {dtype_name} is wrong by {error:.2e}: it has no time")
    compiled = mx.compile(lambda *arrays: entry.baseline(*arrays, **case.kwargs))
    calls = {
        "zmlx": lambda i: entry.call(*args, **case.kwargs),
        "mlx": lambda i: entry.baseline(*args, **case.kwargs),
        "mlx_compiled": lambda i: compiled(*args),
    }
    times = bench.interleaved(calls, budget=seconds, batch=BATCH, least=10)
    best = min(times["mlx"].median, times["mlx_compiled"].median)
    moved = traffic(args, result)
    return {
        "benchmark": "cpu",
        "kernel": entry.name,
        "shape": case.name,
        "dtype": dtype_name,
        **{f"{n}_ms": [round(1e3 * v, 4) for v in (t.median, t.low, t.high)] for n, t in times.items()},
        "ratio": round(best / times["zmlx"].median, 2),
        "bytes": moved,
        "gb_per_s": round(moved / times["zmlx"].median / 1e9, 2),
        "max_error": error,
        **bench.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--dtype", choices=DTYPES, action="append")
    parser.add_argument("--only", action="append", help="catalog entries (softmax, rms_norm, gelu)")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each kernel")
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    machine = bench.machine()
    print(f"{machine['device']}; zmlx on {machine['threads']} threads, MLX {machine['mlx']} on its own choice")
    with zmlx.use_target("cpu"):
        for entry in entries():
            if entry.name not in (options.only or NAMES):
                continue
            for dtype in options.dtype or ["float32"]:
                row = measure(entry, dtype, options.seconds)
                ours, eager, compiled = (row[f"{name}_ms"][0] for name in ("zmlx", "mlx", "mlx_compiled"))
                print(f"{row['kernel']:<10} {row['shape']} {row['dtype']:<9} zmlx {ours:8.3f} ms   MLX {eager:8.3f} ms", end="")
                print(f"   compiled {compiled:8.3f} ms   {row['ratio']:6.2f}x   {row['gb_per_s']:.1f} GB/s", flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
