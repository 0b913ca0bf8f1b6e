"""The target metal-sim: Metal's text and launches on the CPU, plain and checked."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx import simulator
from zmlx.catalog.matmul.linear import linear
from zmlx.errors import TargetUnavailableError
from zmlx.runtime import device
from zmlx.simulator.report import KINDS

HERE = Path(__file__).read_text().splitlines()


def line_of(mark: str) -> str:
    """file:line of a marked line of this file."""
    return f"{__file__}:{next(i for i, line in enumerate(HERE, 1) if line.endswith('# ' + mark))}"


@pytest.fixture(autouse=True)
def _on_metal_sim() -> object:
    with zmlx.use_target("metal-sim"):
        yield


def reported(call: object) -> list[simulator.Report]:
    with simulator.installed(sanitize=True, on_report="collect") as session:
        call()  # type: ignore[operator]
    return list(session.reports)


@zmlx.jit
def double_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@zmlx.jit
def unmasked_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)  # load past the end
    tl.store(out_ptr, tl.sum(x, axis=0))


@zmlx.jit
def store_kernel(out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = at.to(tl.float32)
    tl.store(out_ptr + at, value)  # store past the end


@zmlx.jit
def racing_kernel(out_ptr):
    tl.store(out_ptr, tl.program_id(0))  # all programs


@zmlx.jit
def fetched(p, at):
    value = tl.load(p + at)  # in a function
    return value + 1


@zmlx.jit
def inlined_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr, tl.sum(fetched(x_ptr, at), axis=0))  # the call


@zmlx.jit
def increment_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + 1, mask=at < n)


@zmlx.jit
def count_kernel(counts_ptr, x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(counts_ptr + tl.load(x_ptr + at, mask=at < n), 1, mask=at < n)


def test_it_is_there_and_never_the_default() -> None:
    assert zmlx.targets()[-1] == "metal-sim"
    assert zmlx.default_target() != "metal-sim"


@pytest.mark.parametrize("sanitize", [False, True])
def test_results(sanitize: bool) -> None:
    with simulator.installed(sanitize=sanitize):
        x = mx.arange(1000, dtype=mx.float32)
        out = double_kernel[(4,)](x, zmlx.empty_like(x), 1000, BLOCK=256)
        assert mx.array_equal(out, x * 2)
        small = mx.array([1.0, 2.0, 3.0])  # below 8 elements: padded, as on a Mac
        assert double_kernel[(1,)](small, zmlx.empty_like(small), 3, BLOCK=16).tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("sanitize", [False, True])
def test_arrays_that_are_read_and_written(sanitize: bool) -> None:
    with simulator.installed(sanitize=sanitize):
        x = mx.arange(100, dtype=mx.float32)
        other = x
        y = x + 0
        increment_kernel[(1,)](y, 90, BLOCK=128)
        assert y.tolist() == [v + (v < 90) for v in range(100)] and other.tolist() == list(range(100))
        scalar = mx.array(5.0)
        increment_kernel[(1,)](scalar, 1, BLOCK=8)
        assert scalar.item() == 6.0


@pytest.mark.parametrize("sanitize", [False, True])
def test_rows_that_begin_at_any_address(sanitize: bool) -> None:
    """Vectors are read where a row is aligned and elements elsewhere; g++ 12 made one aligned read of both."""
    x, w = mx.random.normal((33, 40)), mx.random.normal((40, 17))
    with simulator.installed(sanitize=sanitize):
        assert mx.allclose(linear(x, w), x @ w, atol=1e-4)


def test_atomics() -> None:
    x = mx.random.randint(0, 16, (1000,))
    with simulator.installed(sanitize=True):
        counts = count_kernel[(4,)](zmlx.zeros((16,), mx.int32), x, 1000, BLOCK=256)
        assert counts.tolist() == np.bincount(np.array(x), minlength=16).tolist()
        again = count_kernel[(4,)](counts, x, 1000, BLOCK=256)
        assert again.tolist() == (2 * np.bincount(np.array(x), minlength=16)).tolist()


@pytest.mark.parametrize(
    ("launch", "kind", "mark", "text"),
    [
        (lambda: unmasked_kernel[(1,)](mx.ones(100), zmlx.empty((1,)), BLOCK=128), "out-of-bounds", "load past the end", "x_ptr"),
        (lambda: store_kernel[(1,)](zmlx.empty((100,)), BLOCK=128), "out-of-bounds", "store past the end", "out_ptr"),
        (lambda: racing_kernel[(4,)](zmlx.empty((1,), mx.int32)), "device-race", "all programs", "out_ptr"),
    ],
    ids=["load", "store", "race"],
)
def test_a_report_names_the_line_of_python(launch: object, kind: str, mark: str, text: str) -> None:
    found = [r for r in reported(launch) if r.kind == kind]
    assert found, "nothing was reported"
    said = str(found[0])
    line = line_of(mark)
    assert line in said and HERE[int(line.rpartition(":")[2]) - 1].strip() in said and text in said
    assert "^" in said  # the expression is underlined


def test_a_report_in_an_inlined_function_names_the_call_too() -> None:
    found = reported(lambda: inlined_kernel[(1,)](mx.ones(100), zmlx.empty((1,)), BLOCK=128))
    said = str(found[0])
    assert line_of("in a function") in said and line_of("the call") in said


def test_a_report_is_an_error_by_default() -> None:
    with simulator.installed(sanitize=True), pytest.raises(simulator.SanitizerError, match="out-of-bounds"):
        unmasked_kernel[(1,)](mx.ones(100), zmlx.empty((1,)), BLOCK=128)


def test_the_environment_turns_checks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    unmasked_kernel[(1,)](mx.ones(100), zmlx.empty((1,)), BLOCK=128)  # plain: not checked
    monkeypatch.setenv("ZMLX_SANITIZE", "1")
    with pytest.raises(simulator.SanitizerError):
        unmasked_kernel[(1,)](mx.ones(100), zmlx.empty((1,)), BLOCK=128)


def test_outputs_that_are_not_written_are_reported() -> None:
    found = reported(lambda: double_kernel[(1,)](mx.ones(100), zmlx.empty((100,)), 90, BLOCK=128))
    assert [r.kind for r in found] == ["unwritten-output"]
    assert not reported(lambda: double_kernel[(1,)](mx.ones(100), zmlx.zeros((100,)), 90, BLOCK=128))


def test_the_docs_name_every_kind_of_report() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    assert all(f"| `{kind}` |" in text for kind in KINDS)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CXX", "no-such-compiler")
    assert "no-such-compiler" in device.missing("metal-sim") and "metal-sim" not in zmlx.targets()

    @zmlx.jit
    def new_kernel(out_ptr):
        tl.store(out_ptr, 1)

    with pytest.raises(TargetUnavailableError, match="no-such-compiler"):
        new_kernel[(1,)](zmlx.empty((1,), mx.int32))
