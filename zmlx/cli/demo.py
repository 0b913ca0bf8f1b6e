"""`python -m zmlx demo`: every catalog kernel of realistic size on this machine's device, checked and timed beside MLX."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from zmlx import bench
from zmlx.catalog import Case, Entry, entries
from zmlx.errors import TargetUnavailableError, ZmlxError
from zmlx.runtime import device

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}


@dataclass(frozen=True)
class Row:
    """One line of the table; times in milliseconds, the ratio is MLX's time over ours."""

    kernel: str
    case: str
    dtype: str
    zmlx_ms: float
    mlx_ms: float
    ratio: float
    first_call_ms: float
    max_error: float
    ok: bool
    problem: str = ""


def register(commands: Any) -> None:
    parser = commands.add_parser("demo", help="run the catalog's kernels, check them against MLX, time both")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows and the machine to FILE as well")
    parser.add_argument("--dtype", choices=DTYPES, help="element type (float16 on a GPU, else float32)")
    parser.add_argument("--only", metavar="NAME", action="append", help="run this entry only; may be repeated")
    parser.add_argument("--seconds", type=float, default=2.0, help="time to measure each kernel for (2)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    gpu = bench.on_gpu()
    dtype_name = options.dtype or ("float16" if gpu else "float32")
    machine = bench.machine()
    if lack := device.missing(machine["target"]):
        raise TargetUnavailableError(f"this machine cannot run the {machine['target']} target: {lack}")
    print(f"device {machine['device']}, target {machine['target']}, zmlx {machine['zmlx']}, MLX {machine['mlx']}")
    if machine["target"] == "cpu":
        print(f"the cpu target runs on {machine['threads']} threads (ZMLX_THREADS); MLX's CPU backend chooses its own, mostly 1")
    if machine["target"] == "interpret":
        print("the interpreter is for debugging, not for speed: sizes are small")
    chosen = [e for e in entries() if not options.only or e.name in options.only]
    if not chosen:
        print(f"no such entry; there are: {', '.join(e.name for e in entries())}")
        return 2
    rows = []
    print(HEADER, flush=True)
    for entry in chosen:
        case = entry.cases[1] if machine["target"] == "interpret" else entry.sizes["gpu" if gpu else "cpu"]
        rows.append(measure(entry, case, dtype_name, options.seconds))
        print(line(rows[-1]), flush=True)
    print("times: median of interleaved rounds, ms; ratio: MLX's time / zmlx's; error: largest, against a reference of higher precision")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
    return 0 if all(r.ok for r in rows) else 1


def measure(entry: Entry, case: Case, dtype_name: str, seconds: float) -> Row:
    """One entry's row. A kernel that fails or is wrong has no time."""
    dtype, gpu = DTYPES[dtype_name], bench.on_gpu()
    args = case.build(dtype)
    mx.eval([a for a in args if isinstance(a, mx.array)])
    nan = float("nan")
    try:
        start = time.perf_counter()
        result = entry.call(*args, **case.kwargs)
        mx.eval(result)
        mx.synchronize()
        first = time.perf_counter() - start
        # On a GPU of half types float32 is the higher precision; on the CPU float64 is at hand.
        expected = entry.expected(case, dtype, mx.float32 if gpu and dtype != mx.float32 else mx.float64)
        error, ok = entry.error(result, expected, dtype)
        if not ok:
            return Row(entry.name, case.name, dtype_name, nan, nan, nan, first * 1e3, error, False, "differs from MLX")
        calls = {
            "zmlx": lambda i: entry.call(*args, **case.kwargs),
            "mlx": lambda i: entry.baseline(*args, **case.kwargs),
        }
        times = bench.interleaved(calls, budget=seconds, batch=10 if gpu else 1)
    except ZmlxError as problem:
        return Row(entry.name, case.name, dtype_name, nan, nan, nan, nan, nan, False, f"{type(problem).__name__}: {problem}")
    ours, theirs = times["zmlx"].median, times["mlx"].median
    return Row(entry.name, case.name, dtype_name, ours * 1e3, theirs * 1e3, theirs / ours, first * 1e3, error, True)


HEADER = f"{'kernel':<16} {'size':<26} {'dtype':<9} {'zmlx':>9} {'MLX':>9} {'ratio':>7} {'1st call':>9} {'error':>8}  check"


def line(row: Row) -> str:
    """The row as text under HEADER."""
    numbers = f"{row.zmlx_ms:>9.3f} {row.mlx_ms:>9.3f} {row.ratio:>6.2f}x {row.first_call_ms:>9.1f} {row.max_error:>8.1e}"
    verdict = "ok" if row.ok else f"WRONG  {row.problem}"
    return f"{row.kernel:<16} {row.case:<26} {row.dtype:<9} {numbers}  {verdict}"


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| kernel | size | dtype | zmlx ms | MLX ms | ratio | error |", "|---|---|---|---:|---:|---:|---:|"]
    for r in rows:
        lines.append(f"| {r.kernel} | {r.case} | {r.dtype} | {r.zmlx_ms:.3f} | {r.mlx_ms:.3f} | {r.ratio:.2f} | {r.max_error:.1e} |")
    return "\n".join(lines)
