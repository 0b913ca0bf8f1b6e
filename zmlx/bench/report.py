"""Results as JSON lines and as Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = dict[str, Any]
PACKAGES = ("mlx", "torch", "triton", "numpy")
CLOCKS = {
    "cupti": "device time of a call's kernels, copies and memsets by CUPTI, each call after a memset of twice the L2 cache",
    "events": "device time between CUDA events, each call after a memset of twice the L2 cache",
    "wall": "the host's clock around a batch of calls, divided by their number",
}


def versions() -> dict[str, str]:
    """What the times may depend on, where it is installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(rows: Iterable[Row], path: Path) -> None:
    """Appends rows to a file, one JSON object a line; a number that is not finite is an error, not invalid JSON."""
    with path.open("a") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def read(paths: Iterable[Path]) -> list[Row]:
    """The rows of files; of rows for the same thing the last one stands."""
    rows: dict[tuple[Any, ...], Row] = {}
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if row["benchmark"] == "bench":
                key = tuple(row[k] for k in ("device", "suite", "kernel", "shape", "dtype", "side"))
                rows.pop(key, None)
                rows[key] = row
    return list(rows.values())


def comparisons(rows: Iterable[Row]) -> list[dict[str, Row]]:
    """The rows of each comparison, by side."""
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(row.get(k) for k in ("suite", "kernel", "shape", "dtype", "beside"))
        groups.setdefault(key, {})[row["side"]] = row
    return list(groups.values())


def table(rows: Sequence[Row]) -> str:
    """A Markdown table: µs and, for the others, their time over zmlx's; below it why a cell is empty or to be read with care."""
    names = list(dict.fromkeys(r["side"] for r in rows))
    others = [n for n in names if n != "zmlx"]
    work = any(r["suite"] == "dot" for r in rows)
    head = ["kernel", "shape", "dtype", "zmlx µs", "quartiles", "TFLOP/s" if work else "of copy", *(f"{n} µs (×)" for n in others)]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|" + "---:|" * (len(head) - 3)]
    notes: dict[str, int] = {}
    for group in comparisons(rows):
        first = next(iter(group.values()))
        cells = [first["kernel"], first["shape"], first["dtype"], *_own(group.get("zmlx"), work, notes)]
        cells += [_other(group.get(n), notes) for n in others]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"[{number}] {text}  " for text, number in notes.items())]).rstrip() + "\n"


def _own(row: Row | None, work: bool, notes: dict[str, int]) -> list[str]:
    if row is None or "time_us" not in row:
        return [_why(row, notes), "", ""]
    median, low, high = row["time_us"]
    rate = f"{row['tflop_per_s']:.4g}" if work else f"{row['of_copy']:.2f}"
    return [f"{median:.4g}" + _note(row["reason"], notes), f"{low:.4g}–{high:.4g}", rate]


def _other(row: Row | None, notes: dict[str, int]) -> str:
    if row is None or "time_us" not in row:
        return _why(row, notes)
    ratio = f" ({row['ratio']:.2f})" if "ratio" in row else ""
    return f"{row['time_us'][0]:.4g}{ratio}" + _note(f"{row['side']}: {row['reason']}" if row["reason"] else "", notes)


def _why(row: Row | None, notes: dict[str, int]) -> str:
    if row is None:
        return ""
    return f"{row['status']}" + _note(f"{row['side']}: {row['reason']}", notes)


def _note(text: str, notes: dict[str, int]) -> str:
    return f" [{notes.setdefault(text, len(notes) + 1)}]" if text else ""


def means(rows: Sequence[Row]) -> str:
    """The geometric mean of each baseline's time over zmlx's, and the smallest ratio, one line a baseline."""
    lines = []
    for name in dict.fromkeys(r["side"] for r in rows):
        own = [r for r in rows if r["side"] == name and "ratio" in r]
        if own:
            least = min(own, key=lambda r: r["ratio"])
            where = f"{least['kernel']} {least['shape']} {least['dtype']}"
            mean = statistics.geometric_mean(r["ratio"] for r in own)
            line = f"{name}: {mean:.2f}× zmlx's time in the geometric mean of {len(own)}, least {least['ratio']:.2f} ({where})"
            lines.append(line + (_without_mlx(rows, name) if name == "triton" else ""))
    return "\n".join(lines)


def _without_mlx(rows: Sequence[Row], name: str) -> str:
    """A baseline's time over that of zmlx's cubins launched as it launches, where these were timed."""
    pairs = [(group[name], group["direct"]) for group in comparisons(rows) if {name, "direct"} <= group.keys()]
    ratios = [a["time_us"][0] / b["time_us"][0] for a, b in pairs if "time_us" in a and "time_us" in b]
    if not ratios:
        return ""
    return f"; {statistics.geometric_mean(ratios):.2f}× that of the same cubins launched as {name} launches, least {min(ratios):.2f}"


def ragged(rows: Sequence[Row]) -> str:
    """Time for each byte of a ragged row over that of the aligned row beside it, for every side."""
    cost: dict[tuple[Any, ...], dict[bool, float]] = {}
    for row in rows:
        if "time_us" in row:
            key = (row["kernel"], row["beside"], row["dtype"], row["side"])
            cost.setdefault(key, {})[row["aligned"]] = row["time_us"][0] / row["bytes"]
    names = list(dict.fromkeys(key[3] for key in cost))
    lines = ["| kernel | row | dtype | " + " | ".join(names) + " |", "|---|---:|---|" + "---:|" * len(names)]
    for kernel, length, dtype in dict.fromkeys(key[:3] for key in cost):
        pairs = [cost.get((kernel, length, dtype, name), {}) for name in names]
        cells = [f"{p[False] / p[True]:.2f}" if len(p) == 2 else "" for p in pairs]
        lines.append(f"| {kernel} | {length} | {dtype} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def costs(row: Row, unit: str) -> str:
    """A row of the launch or compile suite, on a few lines."""
    times = [f"{k.removesuffix(f'_{unit}')} {v[0]:.4g}" for k, v in row.items() if k.endswith(f"_{unit}")]
    return f"{row['kernel']}, {row['target']}; median {unit}: " + ", ".join(times)
