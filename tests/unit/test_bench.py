"""Timing: what is measured, in which order; never how long it took."""

from __future__ import annotations

import mlx.core as mx
import pytest

from zmlx import bench


def test_rounds_are_interleaved_after_a_warm_up() -> None:
    calls: list[str] = []

    def call(name: str) -> mx.array:
        calls.append(name)
        return mx.array(1.0)

    times = bench.interleaved({"a": lambda i: call("a"), "b": lambda i: call("b")}, budget=0.0, least=3)
    assert "".join(calls) == "ab" * 4
    assert times["a"].samples == times["b"].samples == 3
    assert 0 < times["a"].low <= times["a"].median <= times["a"].high


def test_a_batch_gets_its_numbers() -> None:
    seen: list[int] = []
    bench.sample(lambda i: (seen.append(i), mx.array(i))[1], batch=3)
    assert seen == [0, 1, 2]


def test_rounds_end_with_the_budget_or_the_most() -> None:
    times = bench.interleaved({"a": lambda i: mx.array(0)}, budget=1e9, most=7)
    assert times["a"].samples == 7


def test_an_error_is_not_swallowed() -> None:
    def fails(i: int) -> mx.array:
        raise RuntimeError("wrong")

    with pytest.raises(RuntimeError, match="wrong"):
        bench.interleaved({"a": fails})


def test_a_result_names_the_machine() -> None:
    machine = bench.machine()
    assert machine.pop("load") >= 0
    assert set(machine) == {"device", "target", "threads", "zmlx", "mlx", "python", "system", "date"}
    assert all(machine.values())
