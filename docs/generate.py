"""Refreshes what the docs quote: generated text, tables from benchmarks/results, the catalog's list.

    python docs/generate.py            # writes
    python docs/generate.py --check    # exit code 1 and a list when something is stale; a test runs this

A block lies between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. The language reference has its own generator.
"""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from zmlx import errors, knobs
from zmlx.bench import report
from zmlx.bench.suites import COMPARED
from zmlx.catalog import entries
from zmlx.cli import recording, show
from zmlx.errors import CompilationError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- begin: (?P<name>[\w:-]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def readme_metal() -> str:
    """The Metal text of the kernel at the top of the README."""
    source = PYTHON.search((ROOT / "README.md").read_text())
    assert source is not None, "the README has no Python block"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "readme.py"
        file.write_text(source[1])
        name = re.search(r"def (\w+_kernel)", source[1])
        assert name is not None, "the README's first block has no kernel"
        kernel, call = recording.first_launch(file, name[1])
        return f"```cpp\n{show.text(kernel, call.arguments, call.keywords, 'metal')}\n```\n"


def readme_error() -> str:
    """What the README's softmax says when `tl.arange` is misspelt."""
    blocks = PYTHON.findall((ROOT / "README.md").read_text())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "softmax.py"
        file.write_text((blocks[0].split("@zmlx.jit")[0] + blocks[1]).replace("tl.arange", "tl.arrange"))
        try:
            recording.execute(file, "__main__")
        except CompilationError as error:
            return f"```text\n{str(error).replace(str(file), file.name).rstrip()}\n```\n"
    raise SystemExit("the README's typo compiles")


def explained() -> str:
    """What the first block of docs/explain.md prints."""
    source = PYTHON.search((ROOT / "docs" / "explain.md").read_text())
    assert source is not None, "docs/explain.md has no Python block"
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        file = Path(folder) / "row_norm.py"
        file.write_text(source[1])
        recording.execute(file, "__main__")
    return f"```text\n{out.getvalue()}```\n"


def error_table() -> str:
    """Every error class with what it says, in the order and under the bases of zmlx.errors."""
    lines = ["| error | is a | raised for |", "|---|---|---|"]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, (errors.ZmlxError, UserWarning)):
            base = kind.__mro__[1].__name__
            said = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
            lines.append(f"| `{name}` | `{base}` | {said} |")
    return "\n".join(lines) + "\n"


def knob_table() -> str:
    """Every environment variable with its meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{k.name}` | {k.default or 'unset'} | {k.doc} |" for k in knobs.ALL]) + "\n"


def latest(benchmark: str) -> list[dict[str, Any]]:
    """The newest result of each kernel, shape, dtype and device of one benchmark, in the order of the files."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for file in sorted(RESULTS.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if row["benchmark"] == benchmark:
                rows[tuple(row.get(k, "") for k in ("device", "target", "kernel", "shape", "dtype"))] = row
    return list(rows.values())


def speed(benchmark: str, unit: str) -> str:
    """A table of zmlx's time beside MLX's best, with the machine and the day above it."""
    rows = latest(benchmark)
    if not rows:
        return "Not measured yet.\n"
    lines = []
    for device in dict.fromkeys(r["device"] for r in rows):
        own = [r for r in rows if r["device"] == device]
        first, on_device = own[0], "device_us" in own[0]
        threads = f", {first['threads']} threads" if first["target"] == "cpu" else ""
        calls = "; wall time of several calls in a row, so arrays may be cached"
        clock = "; *on device*: the kernel's own time; the others: wall time of queued launches" if on_device else calls
        run = f"{max(r['date'] for r in own)}, by what `python -m zmlx bench` was in zmlx {first['zmlx']}"
        lines += [f"{device}{threads}, MLX {first['mlx']}, {run}; median {unit}{clock}.", ""]
        last = " on device | of copy bandwidth |" if on_device else " GB/s |"
        lines += ["| kernel | shape | dtype | zmlx | MLX's best | ratio |" + last]
        lines += ["|---|---|---|---:|---:|---:|---:|" + ("---:|" if on_device else "")]
        for r in own:
            best = min(r[f"mlx_{unit}"][0], r[f"mlx_compiled_{unit}"][0])
            last = f"{r['device_us'][0]:.3g} | {r['of_limit']:.2f}" if on_device else f"{r['gb_per_s']:.1f}"
            name = f"| {r['kernel']} | {r['shape']} | {r['dtype']}"
            lines.append(f"{name} | {r[f'zmlx_{unit}'][0]:.3g} | {best:.3g} | {r['ratio']:.2f} | {last} |")
        lines.append("")
    return "\n".join(lines)


def headline(gpu: bool) -> str:
    """The streaming suite in short: zmlx's time, and that of MLX's better form, Triton and PyTorch over it; "" without rows."""
    rows = _rows("streaming", gpu)
    parts = []
    for device in dict.fromkeys(r["device"] for r in rows):
        own = [r for r in rows if r["device"] == device and "time_us" in r]
        parts += [_measured(own), "", "| kernel | shape | dtype | zmlx µs | of copy | MLX × | Triton × | PyTorch × |"]
        parts += ["|---|---|---|---:|---:|---:|---:|---:|"]
        for group in report.comparisons(own):
            if ours := group.get("zmlx"):
                best = min((group[n]["ratio"] for n in ("mlx", "compile") if n in group), default=None)
                ratios = [best, *(group.get(n, {}).get("ratio") for n in ("triton", "torch"))]
                cells = [ours["kernel"], ours["shape"], ours["dtype"], f"{ours['time_us'][0]:.4g}", f"{ours['of_copy']:.2f}"]
                parts.append("| " + " | ".join([*cells, *("" if r is None else f"{r:.2f}" for r in ratios)]) + " |")
        parts.append("")
    return "\n".join(parts)


def _rows(suite: str, gpu: bool) -> list[dict[str, Any]]:
    """The newest rows of a suite from devices of one kind."""
    return [r for r in report.read(sorted(RESULTS.glob("*.jsonl"))) if r["suite"] == suite and r["device"].endswith("(GPU)") == gpu]


def compared(suite: str, gpu: bool) -> str:
    """A suite's tables, one for each device of that kind, with the machine, the day and the command above it."""
    rows = _rows(suite, gpu)
    if not rows:
        return "Not measured yet.\n"
    parts = []
    for device in dict.fromkeys(r["device"] for r in rows):
        own = [r for r in rows if r["device"] == device]
        parts += [_measured(own), "", report.table(own), report.means(own).replace("\n", "  \n"), ""]
        parts += [report.ragged(own)] if suite == "ragged" else []
    return "\n".join(parts)


def _measured(rows: list[dict[str, Any]]) -> str:
    """Who measured what, when and how."""
    first, dates = rows[0], sorted({r["date"] for r in rows})
    threads = f", {first['threads']} threads" if first["target"] == "cpu" else ""
    versions = ", ".join(f"{k} {v}" for k, v in first["versions"].items())
    clocks = "; ".join(f"times by *{c}*: {report.CLOCKS[c]}" for c in dict.fromkeys(r["clock"] for r in rows if "clock" in r))
    commands = ", ".join(f"`{c}`" for c in dict.fromkeys(r["command"] for r in rows))
    return f"{first['device']}{threads}, zmlx {first['zmlx']}, {versions}, {' and '.join(dates)}, by {commands}; {clocks}."


def costs(benchmark: str, unit: str) -> str:
    """The launch or compile suite: one table for each device and target."""
    rows = latest(benchmark)
    if not rows:
        return "Not measured yet.\n"
    parts = []
    for device, target in dict.fromkeys((r["device"], r["target"]) for r in rows):
        own = [r for r in rows if (r["device"], r["target"]) == (device, target)]
        names = [k for k in own[0] if k.endswith(f"_{unit}")]
        commands = ", ".join(f"`{c}`" for c in dict.fromkeys(r["command"] for r in own))
        parts += [f"{device}, target {target}, zmlx {own[0]['zmlx']}, {own[0]['date']}, by {commands}; median {unit}.", ""]
        parts += ["| kernel | " + " | ".join(n.removesuffix(f"_{unit}") for n in names) + " |", "|---|" + "---:|" * len(names)]
        parts += ["| " + " | ".join([r["kernel"], *(f"{r[n][0]:.3g}" for n in names)]) + " |" for r in own]
        parts.append("")
    return "\n".join(parts)


def speed_cpu() -> str:
    """Streaming kernels and products on the CPU beside PyTorch and MLX, with the machine and the day above each table."""
    out = []
    for row in latest("cpu_inductor")[:1]:
        machine = f"{row['device']}, {row['threads']} threads, PyTorch {row['torch']}, MLX {row['mlx']}, {row['date']}"
        command = row["command"].partition(" --")[0]
        out += [f"{machine}, by `{command}`; ms, the least of interleaved calls.", "MLX's CPU backend runs these on one thread.", ""]
        out += ["| kernel | shape | dtype | zmlx | torch.compile | MLX | over torch.compile | over MLX |"]
        out += ["|---|---|---|---:|---:|---:|---:|---:|"]
    for r in latest("cpu_inductor"):
        times = " | ".join(f"{r[f'{k}_ms'][0]:.3g}" for k in ("zmlx", "inductor", "mlx"))
        out.append(f"| {r['kernel']} | {r['shape']} | {r['dtype']} | {times} | {r['over_inductor']:.2f} | {r['over_mlx']:.1f} |")
    for row in latest("cpu_dot")[:1]:
        said = "ms, the least of several calls; peak: float32 multiply-adds from the first cache"
        out += ["", f"Products, {row['date']}, by `{row['command'].partition(' --')[0]}`; {said}.", ""]
        out += ["| kernel | shape | dtype | zmlx | PyTorch | MLX | GFLOP/s | of peak |", "|---|---|---|---:|---:|---:|---:|---:|"]
    for r in latest("cpu_dot"):
        times = " | ".join(f"{r[f'{k}_ms']:.3g}" for k in ("zmlx", "torch", "mlx"))
        out.append(f"| {r['kernel']} | {r['shape']} | {r['dtype']} | {times} | {r['gflop_per_s']:.0f} | {r['of_peak']:.2f} |")
    return "\n".join([*out, ""]) if out else "Not measured yet.\n"


def catalog() -> str:
    """What the catalog holds: one row an entry."""
    lines = ["| function | module | what it computes | dtypes |", "|---|---|---|---|"]
    for entry in entries():
        dtypes = ", ".join(str(d).removeprefix("mlx.core.") for d in entry.dtypes)
        lines.append(f"| `{entry.call.__name__}` | `{entry.call.__module__}` | {entry.summary} | {dtypes} |")
    return "\n".join(lines) + "\n"


def simulator_report(number: int) -> str:
    """What an example of docs/simulator.md leaves in `report`; the examples before it run first."""
    scope: dict[str, Any] = {"__name__": "document"}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for source in PYTHON.findall((ROOT / "docs" / "simulator.md").read_text())[: number + 1]:
            file = Path(folder) / "example.py"
            file.write_text(source)
            linecache.checkcache(str(file))
            exec(compile(source, str(file), "exec"), scope)
    return f"```text\n{scope['report'].replace(str(file), file.name).rstrip()}\n```\n"


def simulator_speed() -> str:
    """What benchmarks/simulator.py measured, the newest row of each machine."""
    rows = latest("simulator")
    if not rows:
        return "Not measured yet.\n"
    lines = ["| machine | kernel | plain | sanitised | first run, compiled | first run, from the cache |", "|---|---|---:|---:|---:|---:|"]
    for r in rows:
        machine, kernel = f"{r['device']}, {r['threads']} threads, {r['date']}", f"{r['kernel']} {r['shape']}, 256 threads a row"
        times = f"{r['plain_s'][0]:.2f} s | {r['sanitised_s'][0]:.2f} s ({r['ratio']}×) | {r['compile_s']:.2f} s | {r['cached_s']:.2f} s"
        lines.append(f"| {machine} | {kernel} | {times} |")
    return "\n".join([*lines, "", "By `python benchmarks/simulator.py`; medians of interleaved launches.", ""])


def autotune_table() -> str:
    """The table of a tuning, as it prints; the kernel and the times are those of the newest result."""
    rows = latest("autotune")
    return f"```text\n{rows[0]['table']}\n```\n" if rows else "Not measured yet.\n"


def autotune_speed() -> str:
    """What benchmarks/autotune.py measured: the winner, the cost model's choice, the slowest, and how long it took."""
    rows = latest("autotune")
    if not rows:
        return "Not measured yet.\n"
    lines = ["| machine | kernel | configs | fastest | model's choice | slowest | tuning, first | again |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for r in rows:
        machine, name = f"{r['device']}, {r['date']}", f"{r['kernel']} {r['shape']}"
        times = f"{r['best_ms']:.3g} ms | ×{r['ratio']:.2f} | ×{r['worst_ms'] / r['best_ms']:.3g}"
        lines.append(f"| {machine} | {name} | {r['configs']} | {times} | {r['seconds']:.1f} s | {r['warm_seconds']:.1f} s |")
    extra = ", ".join(f"{r['overhead_us']} µs ({r['device']})" for r in {r["device"]: r for r in rows}.values())
    said = f"By `python benchmarks/autotune.py`; *first*: with compiling. A warm launch costs {extra} more than without configs."
    return "\n".join([*lines, "", said, ""])


BLOCKS = {
    "autotune-table": autotune_table,
    "autotune-speed": autotune_speed,
    "readme-metal": readme_metal,
    "readme-error": readme_error,
    "explain-columns": explained,
    "errors": error_table,
    "knobs": knob_table,
    "speed-cpu": lambda: headline(gpu=False) or speed("cpu", "ms"),
    "speed-gpu": lambda: headline(gpu=True) or speed("gpu_streaming", "us"),
    **{f"bench-{suite}-{kind}": partial(compared, suite, kind == "gpu") for suite in COMPARED for kind in ("gpu", "cpu")},
    "bench-launch": lambda: costs("launch", "us"),
    "bench-compile": lambda: costs("compile", "ms"),
    "bench-cpu-torch": speed_cpu,
    "catalog": catalog,
    "simulator-race": lambda: simulator_report(0),
    "simulator-python": lambda: simulator_report(1),
    "speed-simulator": simulator_speed,
}


def refreshed(text: str) -> str:
    """The text with every block made anew."""
    return BLOCK.sub(lambda m: m[1] + BLOCKS[m["name"]]() + m[3], text)


def documents() -> list[Path]:
    """Every document that may hold blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main(arguments: list[str]) -> int:
    stale = []
    for path in documents():
        old = path.read_text()
        new = refreshed(old)
        if new != old:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in arguments:
                path.write_text(new)
    if stale:
        print(("stale: " if "--check" in arguments else "refreshed: ") + ", ".join(stale))
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
