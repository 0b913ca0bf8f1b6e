"""`python -m zmlx bench`: the catalog's kernels beside what else a user would call, on one clock."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zmlx
from zmlx.bench import compile_cost, launch_cost, report, roofline, sides, suites
from zmlx.bench.clocks.select import choose
from zmlx.bench.limits import Limits
from zmlx.bench.measure import DTYPES, Budget, measure
from zmlx.bench.timing import device_name, machine, on_gpu, warning
from zmlx.errors import ArgumentError, TargetUnavailableError
from zmlx.runtime import device


def register(commands: Any) -> None:
    suites_said = "; ".join(f"{name}: {what}" for name, what in suites.SUITES.items())
    parser = commands.add_parser(
        "bench", help="time the catalog's kernels beside MLX, Triton and PyTorch", description=f"Suites: {suites_said}; all: these in turn."
    )
    parser.add_argument("suite", nargs="?", default="streaming", choices=[*suites.SUITES, "all"], metavar="SUITE")
    parser.add_argument("--against", metavar="LIST", type=_against, default=sides.AGAINST, help="baselines: mlx,compile,triton,torch (all)")
    parser.add_argument("--dtype", metavar="LIST", type=_dtypes, default=(), help=f"element types: {','.join(DTYPES)} (the suite's own)")
    parser.add_argument("--only", metavar="KERNEL", action="append", default=[], help="run this catalog entry only; may be repeated")
    parser.add_argument("--json", metavar="FILE", type=Path, help="append a JSON line for each result to FILE")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write a roofline plot, .svg, .png or .pdf (needs matplotlib)")
    parser.add_argument("--quick", action="store_true", help="spend less time on the wall clock, whose spread grows")
    parser.set_defaults(run=run)


def _against(text: str) -> tuple[str, ...]:
    return _chosen(text, sides.AGAINST)


def _dtypes(text: str) -> tuple[str, ...]:
    return _chosen(text, DTYPES)


def _chosen(text: str, known: Any) -> tuple[str, ...]:
    names = tuple(part for part in text.split(",") if part)
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no {name!r}; write some of {','.join(known)}")
    return names


def run(options: argparse.Namespace) -> int:
    if options.plot:
        roofline.refuse(options.plot)
    target = device.current_target()
    if lack := device.missing(target):
        raise TargetUnavailableError(f"this machine cannot run the {target} target: {lack}")
    if target == "interpret" or target == "metal-sim":
        raise ArgumentError(f"the {target} target is for debugging: its times mean nothing; unset ZMLX_TARGET, or make it cpu")
    names = list(suites.SUITES) if options.suite == "all" else [options.suite]
    common = {**machine(), "versions": report.versions(), "command": shlex.join(["python", "-m", "zmlx", *sys.argv[1:]])}
    print(f"{device_name()}, target {target}, zmlx {zmlx.__version__}; " + ", ".join(f"{k} {v}" for k, v in common["versions"].items()))
    if said := warning():
        print(said, file=sys.stderr)
    rows: list[report.Row] = []
    for name in names:
        made = []
        for row in _compared(name, options) if name in suites.COMPARED else _costs(name, options, target):
            made.append({**row, **common, "target": row.get("target", target)})
            if options.json:
                report.write(made[-1:], options.json)
        print("\n" + _said(name, made), flush=True)
        rows += made
    if options.plot:
        roofline.plot(rows, options.plot)
    return 1 if any(r.get("side") == "zmlx" and r["status"] != "ok" for r in rows) else 0


def _compared(suite: str, options: argparse.Namespace) -> Iterator[report.Row]:
    gpu = on_gpu()
    clock = choose()
    limits = Limits(clock, gpu)
    budget = Budget.of(options.quick, gpu)
    for task in suites.tasks(suite, gpu, options.only, options.dtype):
        rows = measure(task, options.against, clock, limits, budget)
        own = next((r for r in rows if r["side"] == "zmlx"), rows[0])
        said = f"{own['time_us'][0]:10.4g} µs" if "time_us" in own else f"{own['status']}: {own['reason']}"
        print(f"  {suite} {task.entry.name} {task.case} {task.dtype}: {said}", file=sys.stderr, flush=True)
        yield from rows


def _costs(suite: str, options: argparse.Namespace, target: str) -> Iterator[report.Row]:
    if suite == "launch":
        yield launch_cost.measure(10 if options.quick else 30, target)
    else:
        yield from compile_cost.measured(options.only, target, 1 if options.quick else 3)


def _said(suite: str, rows: Sequence[report.Row]) -> str:
    if suite not in suites.COMPARED:
        return "\n".join(report.costs(row, "us" if suite == "launch" else "ms") for row in rows)
    clocks = dict.fromkeys(r["clock"] for r in rows if "clock" in r)
    lines = [f"time by {name}: {report.CLOCKS[name]}" for name in clocks]
    lines += ["× is a baseline's time over zmlx's", "", report.table(rows), report.means(rows)]
    return "\n".join(lines + (["", report.ragged(rows)] if suite == "ragged" else []))
