"""Every catalog entry in float32, float16 and bfloat16 on this machine's GPU: all test cases and the demo's size.

    python benchmarks/correct_gpu.py [--out FILE.jsonl] [--target cuda]

Prints a line a check; exit code 1 when one fails. (The tests run the same cases; this also runs the large ones.)
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import mlx.core as mx

import zmlx
from zmlx import bench
from zmlx.catalog import Case, Entry, entries
from zmlx.errors import ZmlxError


def check(entry: Entry, case: Case, dtype: mx.Dtype, large: bool) -> dict[str, Any]:
    """One result. Large cases compare half types with float32 on the device: float64 would take minutes on a CPU."""
    start = time.perf_counter()
    name = str(dtype).removeprefix("mlx.core.")
    row: dict[str, Any] = {"kernel": entry.name, "case": case.name, "dtype": name}
    try:
        got = entry.call(*case.build(dtype), **case.kwargs)
        mx.eval(got)
        wide = mx.float32 if large and dtype != mx.float32 else mx.float64
        error, ok = entry.error(got, entry.expected(case, dtype, wide), dtype)
        row |= {"max_error": error, "ok": ok}
    except (ZmlxError, RuntimeError, ValueError) as problem:
        row |= {"max_error": None, "ok": False, "problem": f"{type(problem).__name__}: {str(problem)[:500]}"}
    return row | {"seconds": round(time.perf_counter() - start, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append JSON lines to this file")
    parser.add_argument("--target", default="", help="default: the GPU's")
    parser.add_argument("--only", action="append")
    parser.add_argument("--no-large", action="store_true", help="leave the demo's sizes out")
    options = parser.parse_args()
    if not options.target and not bench.on_gpu():
        raise SystemExit("this check needs a GPU that MLX can use, and there is none (--target cpu runs it on the CPU)")
    wrong = 0
    with zmlx.use_target(options.target or zmlx.default_target()):
        for entry in entries():
            if options.only and entry.name not in options.only:
                continue
            for dtype in entry.dtypes:
                large = [] if options.no_large else [entry.sizes["gpu" if bench.on_gpu() else "cpu"]]
                for case in [*entry.cases, *large]:
                    row = check(entry, case, dtype, case in large)
                    wrong += not row["ok"]
                    verdict = "ok" if row["ok"] else f"WRONG {row.get('problem', '')}"
                    print(f"{row['kernel']:<16} {row['case']:<28} {row['dtype']:<9} {row['max_error']!s:<22} {verdict}", flush=True)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps({"benchmark": "correct_gpu", **row, **bench.machine()}) + "\n")
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
