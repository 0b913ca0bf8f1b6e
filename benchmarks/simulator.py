"""Softmax of 4096×1024 by MLX-style Metal text with 256 threads a row, simulated on the CPU: plain, sanitised, and compiled.

    python benchmarks/simulator.py [--out benchmarks/results/simulator.jsonl]

Plain and sanitised launches take turns in one process; the result is checked before it is timed. Compile times are of a
kernel that no cache knows (`first run`) and of the same one found on disk by a new process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mlx.core as mx

from zmlx import bench, simulator

ROWS, COLUMNS, THREADS = 4096, 1024, 256
SOURCE = """
    constexpr int PER_THREAD = 4;
    threadgroup float shared_top[32], shared_sum[32];
    uint row = threadgroup_position_in_grid.x, i = thread_position_in_threadgroup.x;
    uint lane = thread_index_in_simdgroup, group = simdgroup_index_in_threadgroup;
    const device float* from = x + row * 1024 + i * PER_THREAD;
    float held[PER_THREAD];
    float top = -INFINITY;
    for (int k = 0; k < PER_THREAD; ++k) {
        held[k] = from[k];
        top = metal::max(top, held[k]);
    }
    if (group == 0) {
        shared_top[lane] = -INFINITY;
        shared_sum[lane] = 0;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    top = simd_max(top);
    if (lane == 0) shared_top[group] = top;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    top = simd_max(shared_top[lane]);
    float total = 0;
    for (int k = 0; k < PER_THREAD; ++k) {
        held[k] = metal::fast::exp(held[k] - top);
        total += held[k];
    }
    total = simd_sum(total);
    if (lane == 0) shared_sum[group] = total;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    total = simd_sum(shared_sum[lane]);
    for (int k = 0; k < PER_THREAD; ++k) out[row * 1024 + i * PER_THREAD + k] = held[k] / total;
"""


def softmax(x: mx.array, source: str = SOURCE) -> mx.array:
    kernel = simulator.metal_kernel(name="softmax_rows", input_names=["x"], output_names=["out"], source=source)
    return launch(kernel, x)


def launch(kernel: Any, x: mx.array) -> mx.array:
    out = kernel(
        inputs=[x],
        grid=(x.shape[0] * THREADS, 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[x.shape],
        output_dtypes=[x.dtype],
    )[0]
    mx.eval(out)
    return out


def first_runs() -> dict[str, float]:
    """Seconds of a process's first launch: of a text never seen, and of the same text in another process."""
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import mlx.core as mx, simulator as b\n"
        "mx.set_default_device(mx.cpu); x = mx.ones((1, 1024)); mx.eval(x)\n"
        "from zmlx import simulator\n"
        "warm = 'out[thread_position_in_grid.x] = x[0];'\n"
        "b.launch(simulator.metal_kernel(name='warm', input_names=['x'], output_names=['out'], source=warm), x[:, :256])\n"
        "start = time.perf_counter(); b.softmax(x, b.SOURCE + '// ' + sys.argv[2]); print(time.perf_counter() - start)\n"
    )
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ZMLX_CACHE_DIR": folder}
        for name, mark in (("machine_first_s", "a"), ("compile_s", "b"), ("cached_s", "b")):
            command = [sys.executable, "-c", script, str(Path(__file__).parent), mark]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            out[name] = round(float(done.stdout), 3)
    del out["machine_first_s"]  # the simulator's own library, built once a machine, is in none of the others
    return out


def measure(seconds: float) -> dict[str, Any]:
    x = mx.random.normal((ROWS, COLUMNS))
    expected = mx.softmax(x, axis=-1)
    mx.eval(x, expected)
    kernel = simulator.metal_kernel(name="softmax_rows", input_names=["x"], output_names=["out"], source=SOURCE)

    def plain(_: int) -> mx.array:
        return launch(kernel, x)

    def sanitised(_: int) -> mx.array:
        with simulator.installed(sanitize=True):
            return launch(kernel, x)

    for call in (plain, sanitised):
        error = mx.abs(call(0) - expected).max().item()
        if error > 1e-6:
            raise SystemExit(f"softmax is wrong by {error:.2e}: it has no time")
    times = bench.interleaved({"plain": plain, "sanitised": sanitised}, budget=seconds)
    return {
        "benchmark": "simulator",
        "kernel": "softmax",
        "shape": f"{ROWS}x{COLUMNS}",
        "dtype": "float32",
        **{f"{n}_s": [round(v, 4) for v in (t.median, t.low, t.high)] for n, t in times.items()},
        "ratio": round(times["sanitised"].median / times["plain"].median, 2),
        **first_runs(),
        **bench.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    start = time.perf_counter()
    row = measure(options.seconds)
    print(f"{row['device']}, {row['threads']} threads: plain {row['plain_s'][0]:.3f} s, sanitised {row['sanitised_s'][0]:.3f} s", end="")
    print(f" ({row['ratio']}x), first run {row['compile_s']:.2f} s, from the cache {row['cached_s']:.2f} s")
    print(f"measured in {time.perf_counter() - start:.0f} s")
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
