"""Rows of awkward length on a GPU: device time per byte beside the next length that is a multiple of 16.

    python benchmarks/gpu_ragged.py [--out benchmarks/results/gpu_ragged.jsonl]

The clock is that of gpu_streaming.py: CUDA events around the kernel's cubin, inputs that rotate and exceed the L2 cache.
Each result is checked before it is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from device_clock import Driver, recorded

from zmlx import bench
from zmlx.catalog import entries

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
ELEMENTS = 1 << 24
LENGTHS = (1000, 1008, 1023, 1024, 4097, 4112)
PAIRS = {1000: 1008, 1023: 1024, 4097: 4112}
ARGUMENTS: dict[str, Callable[[mx.array], tuple[Any, ...]]] = {
    "softmax": lambda x: (x,),
    "rms_norm": lambda x: (x, mx.ones((x.shape[-1],), x.dtype)),
    "cumsum": lambda x: (x,),
}


def measure(driver: Driver, name: str, n: int, dtype_name: str) -> dict[str, Any]:
    """One result."""
    entry, dtype = next(e for e in entries() if e.name == name), DTYPES[dtype_name]
    x = (mx.random.normal((ELEMENTS // n, n)) / 8).astype(dtype)
    args = ARGUMENTS[name](x)
    got = entry.call(*args).astype(mx.float32)
    want = entry.reference(*(a.astype(mx.float32) for a in args))
    error = float(mx.max(mx.abs(got - want) / (1 + mx.abs(want))))
    if error > (1e-4 if dtype == mx.float32 else 2e-2):
        raise SystemExit(f"{name} {dtype_name} n={n} is wrong by {error:.2e}: it has no time")
    with recorded() as launches:
        mx.eval(entry.call(*args))
    median, low, high = (sum(part) for part in zip(*(driver.launch_time(launch) for launch in launches), strict=True))
    moved = 2 * x.nbytes
    limit = moved / driver.copy_time(x.nbytes)[0]
    return {
        "benchmark": "gpu_ragged",
        "kernel": name,
        "shape": f"{x.shape[0]}x{n}",
        "dtype": dtype_name,
        "device_us": [round(1e6 * t, 2) for t in (median, low, high)],
        "bytes": moved,
        "gb_per_s": round(moved / median / 1e9, 1),
        "of_limit": round(moved / median / limit, 3),
        "max_error": error,
        **bench.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--dtype", choices=DTYPES, action="append")
    parser.add_argument("--only", choices=ARGUMENTS, action="append")
    options = parser.parse_args()
    if not bench.on_gpu():
        raise SystemExit("this benchmark needs a GPU that MLX can use, and there is none: see `python -m zmlx doctor`")
    print(bench.device_name())
    driver = Driver()
    for dtype in options.dtype or DTYPES:
        for name in options.only or ARGUMENTS:
            rows = {n: measure(driver, name, n, dtype) for n in LENGTHS}
            for n, row in rows.items():
                cost = f"  {rows[PAIRS[n]]['gb_per_s'] / row['gb_per_s']:.2f} of n={PAIRS[n]}" if n in PAIRS else ""
                print(f"{name:<9} {dtype:<9} n={n:<5} {row['device_us'][0]:7.1f} µs {row['of_limit']:6.3f} of copy{cost}", flush=True)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
