"""Streaming kernels on a GPU, 16384×1024: zmlx beside MLX, and both beside the device's own copy bandwidth.

    python benchmarks/gpu_streaming.py [--out benchmarks/results/h100.jsonl]

Two clocks, never mixed: `device_us` is the kernel's own time between CUDA events (benchmarks/device_clock.py), compared
with the device's copy by the same clock; `zmlx_us` and `mlx_us` are wall times of a batch of lazily queued launches,
which hold the host's work too. Inputs rotate among copies that together exceed the L2 cache. Each result is checked
before it is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
from device_clock import Driver, recorded

import zmlx
import zmlx.language as tl
from zmlx import bench
from zmlx.catalog import Case, Entry, entries
from zmlx.catalog.entry import traffic

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
COPIES = 4


@zmlx.jit
def copy_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)


def copy(x: mx.array) -> mx.array:
    """x, moved once through a kernel."""
    return copy_kernel[(zmlx.cdiv(x.size, 1024),)](x, zmlx.empty_like(x), x.size, BLOCK=1024)


COPY = Entry(
    "copy",
    copy,
    lambda x: x,
    baseline=lambda x: x + 1,
    kernels=(copy_kernel,),
    cases=(),
    sizes={"gpu": Case("16384x1024", lambda r: (r.standard_normal((16384, 1024)),))},
)


def measure(driver: Driver, entry: Entry, dtype_name: str, batch: int, seconds: float) -> dict[str, Any]:
    """One result."""
    case, dtype = entry.sizes["gpu"], DTYPES[dtype_name]
    inputs = [case.build(dtype, seed) for seed in range(COPIES)]
    mx.eval([a for args in inputs for a in args if isinstance(a, mx.array)])
    result = entry.call(*inputs[0], **case.kwargs)
    # float32 on the device is precise enough for half types; float64 on the CPU takes seconds for each kernel.
    error, ok = entry.error(result, entry.expected(case, dtype, mx.float64 if dtype == mx.float32 else mx.float32), dtype)
    if not ok:
        raise SystemExit(f"{entry.name} {dtype_name} is wrong by {error:.2e}: it has no time")
    compiled = mx.compile(lambda *arrays: entry.baseline(*arrays, **case.kwargs))
    calls: dict[str, Callable[[int], mx.array]] = {
        "zmlx": lambda i: entry.call(*inputs[i % COPIES], **case.kwargs),
        "mlx": lambda i: entry.baseline(*inputs[i % COPIES], **case.kwargs),
        "mlx_compiled": lambda i: compiled(*inputs[i % COPIES]),
    }
    times = bench.interleaved(calls, budget=seconds, batch=batch, least=20)
    moved = traffic(inputs[0], result)
    with recorded() as launches:
        mx.eval(entry.call(*inputs[0], **case.kwargs))
    device = [sum(part) for part in zip(*(driver.launch_time(launch) for launch in launches), strict=True)]
    limit = 2 * (moved // 2) / driver.copy_time(moved // 2)[0]
    return {
        "benchmark": "gpu_streaming",
        "kernel": entry.name,
        "shape": case.name,
        "dtype": dtype_name,
        **{f"{n}_us": [round(1e6 * v, 2) for v in (t.median, t.low, t.high)] for n, t in times.items()},
        "ratio": round(min(times["mlx"].median, times["mlx_compiled"].median) / times["zmlx"].median, 3),
        "device_us": [round(1e6 * t, 2) for t in device],
        "bytes": moved,
        "gb_per_s": round(moved / device[0] / 1e9, 1),
        "limit_gb_per_s": round(limit / 1e9, 1),
        "of_limit": round(moved / device[0] / limit, 3),
        "max_error": error,
        **bench.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--dtype", choices=DTYPES, action="append")
    parser.add_argument("--only", action="append")
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each kernel and dtype")
    options = parser.parse_args()
    if not bench.on_gpu():
        raise SystemExit("this benchmark needs a GPU that MLX can use, and there is none: see `python -m zmlx doctor`")
    print(bench.device_name())
    driver = Driver()
    for dtype in options.dtype or ["float16", "bfloat16", "float32"]:
        for entry in [COPY, *(e for e in entries() if e.streaming)]:
            if options.only and entry.name not in options.only:
                continue
            row = measure(driver, entry, dtype, options.batch, options.seconds)
            ours, eager, compiled = (row[f"{name}_us"][0] for name in ("zmlx", "mlx", "mlx_compiled"))
            print(f"{entry.name:<10} {dtype:<9} device {row['device_us'][0]:7.1f} µs {row['of_limit']:6.3f} of copy", end="")
            print(f"   wall: zmlx {ours:7.1f} µs  MLX {eager:7.1f} µs  compiled {compiled:7.1f} µs", flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
