"""The roofline of a suite's rows: floating-point operations for each byte, against the rate that was reached.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", CACM 2009.
The roofs are measured: the copy bandwidth of the rows, and the best rate of a dot among all sides. Without
rows of the dot suite the roof has no flat part.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zmlx.errors import ZmlxError

Row = dict[str, Any]
_SUFFIXES = (".svg", ".png", ".pdf")
_MARKERS = {"zmlx": "o", "mlx": "s", "compile": "D", "triton": "^", "torch": "v"}


def refuse(path: Path) -> None:
    """Raises ZmlxError, before anything is measured, where no plot could be written."""
    if path.suffix not in _SUFFIXES:
        raise ZmlxError(f"--plot {path}: write a file that ends in {', '.join(_SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ZmlxError("--plot needs matplotlib: pip install 'zmlx[plot]'") from None


def plot(rows: Sequence[Row], path: Path) -> None:
    """Writes the plot of the timed rows."""
    refuse(path)
    from matplotlib.figure import Figure

    timed = [r for r in rows if "time_us" in r and r.get("flops")]
    if not timed:
        raise ZmlxError("--plot: no row has a time and a count of operations")
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    _roofs(axes, timed)
    for side in dict.fromkeys(r["side"] for r in timed):
        own = [r for r in timed if r["side"] == side]
        points = [intensity(r) for r in own], [1e3 * r["tflop_per_s"] for r in own]
        axes.plot(*points, _MARKERS.get(side, "x"), label=side, markersize=5, alpha=0.7)
    named: set[tuple[str, float]] = set()
    for row in (r for r in timed if r["side"] == "zmlx"):
        if (place := (row["kernel"], round(intensity(row), 2))) not in named:
            named.add(place)
            axes.annotate(
                row["kernel"],
                (intensity(row), 1e3 * row["tflop_per_s"]),
                fontsize=6,
                rotation=30,
                xytext=(3, -8),
                textcoords="offset points",
            )
    axes.set(xscale="log", yscale="log", xlabel="floating-point operations for each byte moved", ylabel="GFLOP/s")
    axes.legend(fontsize=8)
    first = timed[0]
    axes.set_title(f"{first['device']}, {first['date']}; times by {first['clock']}", fontsize=9)
    figure.savefig(path)


def intensity(row: Row) -> float:
    """Floating-point operations for each byte that has to move."""
    return row["flops"] / row["bytes"]


def _roofs(axes: Any, rows: Sequence[Row]) -> None:
    bandwidth = max(r["limit_gb_per_s"] for r in rows)
    dots = [1e3 * r["tflop_per_s"] for r in rows if r["suite"] == "dot"]
    left, right = min(map(intensity, rows)) / 2, max(map(intensity, rows)) * 2
    ridge = max(dots) / bandwidth if dots else right
    axes.plot([left, ridge], [left * bandwidth, ridge * bandwidth], color="black", linewidth=1, label=f"copy, {bandwidth:.0f} GB/s")
    if dots:
        axes.plot(
            [ridge, max(right, ridge * 2)], [max(dots)] * 2, "--", color="black", linewidth=1, label=f"best dot, {max(dots):.0f} GFLOP/s"
        )
