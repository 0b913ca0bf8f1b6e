"""What autotuning finds, what the cost model would have chosen without it, and what tuning takes.

    python benchmarks/autotune.py [--out benchmarks/results/autotune.jsonl] [--target cuda]

best, model, worst   median time of the fastest config, of the cost model's choice, and of the slowest that ran
ratio                model / best: what an untuned launch loses
table                what the tuning prints
failed               configs that cannot run here
seconds              of one tuning with compiling, from an empty cache; warm_seconds: with everything built
overhead             of a warm autotuned launch over the same kernel launched with its constants, µs
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx import Config, bench

CALLS = 500


@zmlx.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)


@zmlx.jit
def softmax_kernel(x_ptr, out_ptr, n, rows, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    col = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (col < n)
    x = tl.load(x_ptr + row * n + col, mask=inside, other=-float("inf"))
    e = tl.exp(x - tl.max(x, axis=1, keep_dims=True))
    tl.store(out_ptr + row * n + col, e / tl.sum(e, axis=1, keep_dims=True), mask=inside)


@zmlx.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for i in range(tl.cdiv(K, BK)):
        a = tl.load(a_ptr + m[:, None] * K + (i * BK + k)[None, :])
        b = tl.load(b_ptr + (i * BK + k)[:, None] * N + n[None, :])
        acc += tl.dot(a, b)
    tl.store(c_ptr + m[:, None] * N + n[None, :], acc.to(tl.float16))


def cases(gpu: bool) -> list[tuple[str, str, Any, list[Config], Callable[[], tuple[Any, ...]], Callable[[dict[str, Any]], Any]]]:
    """Name, shape, kernel, configs, arguments and grid of each case."""
    warps = (1, 2, 4, 8, 16) if gpu else (4,)
    blocks = [Config({"BLOCK": b}, num_warps=w) for b in (64, 256, 1024, 4096, 16384) for w in warps]
    n, rows, cols, size = (1 << 26, 8192, 2048, 2048) if gpu else (1 << 22, 1024, 1024, 256)
    short = 1 << 16
    tiles = [Config({"ROWS": r, "BLOCK": cols}, num_warps=w) for r in (1, 2, 4, 8, 16) for w in warps]
    stages: tuple[int | None, ...] = (2, 3, 4) if gpu else (None,)
    products = [
        Config({"BM": m, "BN": n, "BK": k}, num_warps=w, num_stages=s)
        for m, n, k, w, s in itertools.product((32, 64, 128), (32, 64, 128), (32, 64), warps[2:4] if gpu else warps, stages)
    ]

    def normal(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
        return mx.random.normal(shape).astype(dtype)

    def flat(args: dict[str, Any]) -> tuple[int]:
        return (zmlx.cdiv(args["n"], args["BLOCK"]),)

    half = mx.float16
    return [
        ("add", f"{n} f32", add_kernel, blocks, lambda: (normal(n), normal(n), zmlx.empty((n,)), n), flat),
        ("add", f"{short} f32", add_kernel, blocks, lambda: (normal(short), normal(short), zmlx.empty((short,)), short), flat),
        ("softmax", f"{rows}×{cols} f32", softmax_kernel, tiles, lambda: (normal(rows, cols), zmlx.empty((rows, cols)), cols, rows),
         lambda args: (zmlx.cdiv(rows, args["ROWS"]),)),
        ("matmul", f"{size}³ f16", matmul_kernel, products,
         lambda: (normal(size, size, dtype=half), normal(size, size, dtype=half), zmlx.empty((size, size), half), size, size, size),
         lambda args: (size // args["BM"], size // args["BN"])),
    ]  # fmt: skip


def per_call(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    kept = [call() for _ in range(CALLS)]
    spent = time.perf_counter() - start
    mx.eval(kept)
    return 1e6 * spent / CALLS


def overhead() -> float:
    """µs that looking up a config adds to a launch, by interleaved rounds."""
    tuned = zmlx.autotune([Config({"BLOCK": 256}), Config({"BLOCK": 64})], key=["n"], cache_results=False, rep=1, warmup=1)(add_kernel)
    x = mx.random.normal((256,))
    tuned[(4,)](x, x, zmlx.empty_like(x), 256)
    assert tuned.best_config is not None
    block, rounds = tuned.best_config.kwargs["BLOCK"], []
    for _ in range(30):
        with_tuner = per_call(lambda: tuned[(4,)](x, x, zmlx.empty_like(x), 256))
        rounds.append(with_tuner - per_call(lambda: add_kernel[(4,)](x, x, zmlx.empty_like(x), 256, BLOCK=block)))
    return statistics.median(rounds)


def measure(target: str) -> list[dict[str, Any]]:
    found, extra = [], round(overhead(), 2)
    for name, shape, kernel, configs, arguments, grid in cases(target != "cpu"):
        args, taken = arguments(), []
        for _ in range(2):
            tuned = zmlx.autotune(configs, key=["n"] if "n" in [p.name for p in kernel.params] else ["N"], cache_results=False)(kernel)
            tuned[grid](*args)
            assert tuned.tuning is not None
            taken.append(tuned.tuning.seconds)
        os.environ["ZMLX_AUTOTUNE"] = "off"
        untuned = zmlx.autotune(configs, key=tuned.keys)(kernel)
        untuned[grid](*args)
        del os.environ["ZMLX_AUTOTUNE"]
        times = {c: t[0] for c, t in tuned.configs_timings.items()}
        ran = [t for t in times.values() if t < float("inf")]
        best, model = tuned.best_config, untuned.best_config
        assert best is not None and model is not None
        found.append({
            "benchmark": "autotune", "kernel": name, "shape": shape, "dtype": shape.split()[-1], "configs": len(configs),
            "failed": len(times) - len(ran), "best": repr(best), "model": repr(model), "best_ms": times[best], "model_ms": times[model],
            "worst_ms": max(ran), "ratio": round(times[model] / times[best], 2), "seconds": round(taken[0], 2),
            "warm_seconds": round(taken[1], 2), "overhead_us": extra, "table": str(tuned.tuning),
            **bench.machine(), "command": " ".join(["python", *sys.argv]),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--target", default=zmlx.default_target())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, zmlx.use_target(options.target):
        os.environ["ZMLX_CACHE_DIR"] = folder
        rows = measure(options.target)
    if options.out:
        options.out.write_text("".join(json.dumps(r) + "\n" for r in rows))


if __name__ == "__main__":
    main()
