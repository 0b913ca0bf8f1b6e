"""Products on an NVIDIA GPU with operands copied by the copying hardware, by threads, and without matrix units.

    python benchmarks/bulk.py [--out benchmarks/results/bulk.jsonl]

Device times by CUDA events, a cold L2 before each call, the ways in turns; results are compared with MLX's float32 product.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx

import zmlx
from zmlx import bench, knobs
from zmlx.bench.clocks.events import EventClock, Replay, recorded
from zmlx.catalog.matmul.linear import config, linear_kernel

SHAPES = [(4096, 4096, 4096), (4096, 4096, 4088), (4000, 4104, 1000), (4096, 4096, 4097), (1024, 1024, 1024), (1000, 1000, 999)]
WAYS = ("auto", "threads")


def call(x: mx.array, w: mx.array) -> mx.array:
    """x @ w by a kernel of its own, since one that was launched stays as it is."""
    (m, k), n = x.shape, w.shape[1]
    options: dict[str, Any] = config(m, n, k, x.dtype.size)
    grid = (zmlx.cdiv(m, options["BLOCK_M"]) * zmlx.cdiv(n, options["BLOCK_N"]),)
    return zmlx.jit(linear_kernel.fn)[grid](x, w, None, zmlx.empty((m, n), x.dtype), m, n, k, n, 1, ACTIVATION=None, **options)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    clock = EventClock()
    rows = []
    for m, n, k in SHAPES:
        x, w = (mx.random.normal(s).astype(mx.bfloat16) for s in ((m, k), (k, n)))
        want = x.astype(mx.float32) @ w.astype(mx.float32)
        replays = {}
        for way in WAYS:
            os.environ[knobs.DOT.name] = way
            with recorded() as launches:
                got = call(x, w)
                mx.eval(got)
            if not mx.allclose(got.astype(mx.float32), want, rtol=1e-2, atol=0.05 * k**0.5):
                sys.exit(f"{m}x{n}x{k}, {way}: wrong")
            replays[way] = Replay(clock.driver, launches)
        for way, (times, _) in clock.measure(replays, 50).items():
            low, median, high = (t * 1e6 for t in statistics.quantiles(times, n=4))
            row = bench.machine() | {
                "benchmark": "bulk", "kernel": "linear", "shape": f"{m}x{n}x{k}", "dtype": "bfloat16", "way": way,
                "time_us": round(median, 2),
                "quartiles_us": [round(low, 2), round(high, 2)], "tflops": round(2 * m * n * k / median / 1e6, 1), "samples": 50,
                "clock": "events", "command": "python benchmarks/bulk.py",
            }  # fmt: skip
            rows.append(row)
            print(f"{row['shape']:18} {way:8} {median:8.1f} µs {row['tflops']:7.1f} TFLOP/s", flush=True)
        for replay in replays.values():
            replay.free()
    if out:
        out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
