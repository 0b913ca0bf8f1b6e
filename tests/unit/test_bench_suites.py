"""`python -m zmlx bench`: its arguments, its rows, and that a wrong kernel has no time. No test asserts a time."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
from zmlx.bench import checking, compile_cost, measure, report, roofline, suites
from zmlx.bench.limits import Limits
from zmlx.catalog import Case, Entry, entries
from zmlx.cli import main

BUDGET = measure.Budget(seconds=0.0, batch=1)
ADD = next(e for e in entries() if e.name == "add")
SMALL = Case("1000", lambda r: (r.standard_normal(1000), r.standard_normal(1000)))


@pytest.fixture(autouse=True)
def on_the_cpu() -> Any:
    with zmlx.use_target("cpu"):
        yield


def rows_of(entry: Entry, dtype: str = "float32", against: tuple[str, ...] = ("mlx", "compile", "triton")) -> dict[str, dict[str, Any]]:
    task = measure.Task("streaming", entry, SMALL.name, SMALL.build, SMALL.kwargs, dtype)
    return {r["side"]: r for r in measure.measure(task, against, None, Limits(None, gpu=False), BUDGET)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "invalid choice: 'nothing'"),
        (["--against", "mlx,numpy"], "no 'numpy'; write some of direct,mlx,compile,triton,torch"),
        (["--dtype", "float8"], "no 'float8'; write some of float32,float16,bfloat16"),
    ],
)
def test_arguments_are_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", *arguments])
    assert stopped.value.code == 2 and says in capsys.readouterr().err


def test_what_is_not_there_is_said_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--only", "softmx"]) == 2
    assert "no entry 'softmx'; there are: " in capsys.readouterr().err
    assert main(["bench", "--plot", "roof.txt"]) == 2
    assert "--plot roof.txt: write a file that ends in .svg, .png, .pdf" in capsys.readouterr().err


def test_a_target_without_speed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with zmlx.use_target("interpret"):
        assert main(["bench"]) == 2
    assert "its times mean nothing" in capsys.readouterr().err


def test_rows_of_a_quick_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(measure.Budget, "of", staticmethod(lambda quick, gpu: BUDGET))
    file = tmp_path / "rows.jsonl"
    assert main(["bench", "streaming", "--only", "add", "--dtype", "float32", "--against", "mlx", "--quick", "--json", str(file)]) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [r["side"] for r in rows] == ["zmlx", "mlx"]
    for row in rows:
        assert row["benchmark"] == "bench" and row["suite"] == "streaming" and row["kernel"] == "add" and row["status"] == "ok"
        assert row["bytes"] == 3 * 4 * 1024 * 2048 and row["flops"] == 1024 * 2048
        median, low, high = row["time_us"]
        assert 0 < low <= median <= high and row["samples"] >= 5 and row["clock"] == "wall"
        assert 0 < row["max_error"] < 1e-6 and row["wide"] == "float64"
        assert math.isclose(row["gb_per_s"], row["bytes"] / median / 1e3, rel_tol=1e-2)
        assert {"device", "target", "threads", "zmlx", "versions", "date", "load", "command", "limit_gb_per_s", "of_copy"} <= set(row)
    assert "ratio" in rows[1] and "ratio" not in rows[0]
    assert "| add | 1024x2048 | float32 |" in capsys.readouterr().out
    assert report.read([file, file]) == rows


def test_a_wrong_kernel_has_no_time() -> None:
    wrong = dataclasses.replace(ADD, call=lambda x, y: ADD.call(x, y) * 1.001)
    rows = rows_of(wrong)
    assert rows["zmlx"]["status"] == "wrong" and "it has no time" in rows["zmlx"]["reason"]
    assert not any("time_us" in r for r in rows.values())
    assert "| wrong [1] |" in report.table(list(rows.values()))


def test_a_failing_kernel_is_a_row() -> None:
    def fails(x: mx.array, y: mx.array) -> mx.array:
        raise ValueError("no such\nkernel")

    (row,) = rows_of(dataclasses.replace(ADD, call=fails)).values()
    assert row["status"] == "failed" and row["reason"] == "ValueError: no such kernel"


def test_a_failing_baseline_is_a_row_and_another_result_is_noted() -> None:
    def fails(x: mx.array, y: mx.array) -> mx.array:
        raise ValueError("not today")

    rows = rows_of(dataclasses.replace(ADD, baseline=fails))
    assert rows["mlx"]["status"] == "refused" and "not today" in rows["mlx"]["reason"] and "time_us" in rows["zmlx"]
    rows = rows_of(dataclasses.replace(ADD, baseline=lambda x, y: x - y))
    assert rows["mlx"]["status"] == "ok" and "outside the bounds" in rows["mlx"]["reason"] and "time_us" in rows["mlx"]


def test_triton_needs_a_gpu() -> None:
    row = rows_of(ADD)["triton"]
    assert row["status"] == "missing" and "GPU" in row["reason"]


def test_compare_knows_nan_infinity_and_integers() -> None:
    inf, nan = float("inf"), float("nan")
    same = [np.array([1.0, inf, nan, -inf])]
    assert checking.compare(same, same, (0.0, 0.0)) == (0.0, True)
    assert not checking.compare([np.array([1.0, inf])], [np.array([1.0, -inf])], (1.0, 1.0))[1]
    assert not checking.compare([np.array([nan])], [np.array([1.0])], (1.0, 1.0))[1]
    assert not checking.compare([np.array([1.0])], [np.array([nan])], (1.0, 1.0))[1]
    assert checking.compare([np.array([1.0])], [np.array([1.5])], (0.5, 0.0)) == (0.5, True)
    assert checking.compare([np.array([1, 2])], [np.array([1, 3])], (9.0, 9.0)) == (inf, False)
    assert not checking.compare([np.zeros(3)], [np.zeros(4)], (1.0, 1.0))[1]
    assert not checking.compare([np.zeros(3)], [np.zeros(3)] * 2, (1.0, 1.0))[1]


@pytest.mark.parametrize("gpu", [False, True])
def test_suites_walk_the_catalog(gpu: bool) -> None:
    for suite in suites.COMPARED:
        found = {t.entry.name for t in suites.tasks(suite, gpu, (), ("float32",))}
        assert bool(found) == (gpu or suite != "large")
        assert all(e.streaming != (suite == "dot") for e in entries() if e.name in found)
    assert {t.entry.name for t in suites.tasks("streaming", gpu, (), ())} == {e.name for e in entries() if e.streaming}


def test_ragged_rows_stand_beside_aligned_ones() -> None:
    tasks = list(suites.tasks("ragged", False, ("softmax",), ("float16",)))
    assert [(t.extra["row"], t.extra["aligned"]) for t in tasks] == [(1000, False), (1024, True), (4097, False), (4224, True)]
    for task in tasks:
        (x,) = task.args(mx.float16)
        assert mx.array_equal(x, task.args(mx.float32)[0].astype(mx.float16))
        assert x.shape[1] == task.extra["row"] and 0.99 < x.size / (1024 * 2048) <= 1 and x.dtype == mx.float16


def test_resized_indices_stay_in_the_axis_that_they_index() -> None:
    columns = Case("", lambda r: (np.zeros((20, 64)), r.permutation(64)[:20]))
    rows = Case("", lambda r: (np.zeros((20, 64)), np.zeros((20, 64)), r.permutation(20)))
    for case, new, most in ((columns, (80, 16), 15), (rows, (5, 256), 4), (rows, (40, 32), 19)):
        *arrays, index = suites._resized(case, (20, 64), new).build(mx.float32)
        assert all(a.shape == new for a in arrays) and index.shape == new[:1] and index.max().item() == most


@pytest.mark.parametrize(("name", "flops"), [("flash_attention", 4 * 4 * 32 * 4096 * 4096 * 64), ("linear", 2 * 4096**3)])
def test_studies_say_their_operations(name: str, flops: int) -> None:
    task = next(t for t in suites.tasks("dot", True, (name,), ("float16",)))
    arrays = [mx.zeros(a.shape) if isinstance(a, np.ndarray) else a for a in _shapes(task.case, name)]
    assert task.entry.flops(*arrays, **task.kwargs) == flops


def _shapes(case: str, name: str) -> list[Any]:
    if name == "linear":
        return [np.empty((4096, 4096)), np.empty((4096, 4096)), None]
    return [np.empty((4, 32, 4096, 64))] * 3


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [{**r, "device": "some device", "date": "2026-01-01"} for r in rows_of(ADD).values()]
    rows += [{**r, "suite": "dot", "kernel": "linear", "flops": 10**9} for r in rows]
    for name, begins in (("roof.svg", b"<?xml"), ("roof.png", b"\x89PNG")):
        roofline.plot(rows, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)


def test_every_entry_has_a_form_in_pytorch() -> None:
    pytest.importorskip("torch")
    from zmlx.bench import torch_forms

    assert set(torch_forms.forms()) == {e.name for e in entries()}


@pytest.mark.parametrize("target", ["cuda", "metal"])
def test_the_text_of_gpus_that_are_not_here_has_rows_of_its_own(target: str, tmp_path: Path) -> None:
    row = compile_cost.text("rms_norm", target, 1, str(tmp_path))
    assert (row["benchmark"], row["kernels"], row["target"]) == ("compile", ["rms_norm_kernel"], target)
    assert len(row["text_ms"]) == 3 and min(row["text_ms"]) > 0
    assert not {"cold_ms", "warm_ms"} & row.keys()
    assert f"rms_norm, {target}; median ms: text " in report.costs(row, "ms")
