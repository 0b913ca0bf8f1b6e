"""Barriers between stores to one array: none where the tiles are disjoint, and the one that is needed where they meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx import simulator
from zmlx.catalog.random.dropout import dropout
from zmlx.catalog.rope.rope import rope
from zmlx.cli.recording import launch_of
from zmlx.passes.disjoint import Disjoint


@zmlx.jit
def blocks_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK * 4 + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    for k in tl.static_range(4):
        tl.store(out_ptr + at + k * BLOCK, x + k, mask=at + k * BLOCK < n)


@zmlx.jit
def columns_kernel(out_ptr, steps, BLOCK: tl.constexpr):
    # Columns 0 … BLOCK - 1 and the BLOCK behind them, of four rows an iteration.
    rows = tl.arange(0, 4)[:, None]
    cols = tl.arange(0, BLOCK)[None, :]
    for i in range(steps):
        at = (i * 4 + rows) * (2 * BLOCK) + cols
        tl.store(out_ptr + at, at)
        tl.store(out_ptr + at + BLOCK, -at)


@zmlx.jit
def moved_kernel(x_ptr, BLOCK: tl.constexpr):
    # Reads the second block after the first was written: another block.
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 1.0)
    tl.store(x_ptr + at + 2 * BLOCK, tl.load(x_ptr + at + BLOCK))


@zmlx.jit
def overlapping_kernel(out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, at)
    tl.store(out_ptr + at + 1, -at)


@zmlx.jit
def shifting_kernel(out_ptr, steps, BLOCK: tl.constexpr):
    # Disjoint in an iteration, but the next one's first block is this one's second.
    at = tl.arange(0, BLOCK)
    for i in range(steps):
        tl.store(out_ptr + i * BLOCK + at, at)
        tl.store(out_ptr + i * BLOCK + BLOCK + (BLOCK - 1 - at), -at)


@zmlx.jit
def skipped_kernel(x_ptr, y_ptr, out_ptr, steps, BLOCK: tl.constexpr):
    # A loop with barriers that has no iteration.
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, at)
    for i in range(steps):
        tl.store(y_ptr + at, at + i)
        tl.store(y_ptr + BLOCK - 1 - at, at)
    tl.store(out_ptr + at, tl.load(x_ptr + (BLOCK - 1 - at)))


def skipped() -> mx.array:
    x, y = (mx.zeros((256,), mx.int32) for _ in range(2))
    return skipped_kernel[(1,)](x, y, zmlx.empty((256,), mx.int32), 0, BLOCK=256)[-1]


def columns(steps: int, block: int) -> np.ndarray[Any, Any]:
    at = np.arange(steps * 4)[:, None] * 2 * block + np.arange(block)
    return np.concatenate([at, -at], axis=1).ravel()


def shifted(steps: int, block: int) -> np.ndarray[Any, Any]:
    return np.concatenate([np.tile(np.arange(block), steps), -np.arange(block)[::-1]])


DISJOINT: dict[str, tuple[Callable[[], Any], Any]] = {
    "blocks": (lambda: blocks_kernel[(1,)](mx.zeros(900), zmlx.empty((900,)), 900, BLOCK=256), np.repeat(np.arange(4), 256)[:900]),
    "columns": (lambda: columns_kernel[(1,)](zmlx.empty((24 * 128,), mx.int32), 6, BLOCK=64), columns(6, 64)),
    "moved": (lambda: moved_kernel[(1,)](mx.arange(768.0), BLOCK=256), np.r_[np.ones(256), np.arange(256, 512), np.arange(256, 512)]),
}
MEETING: dict[str, tuple[Callable[[], Any], Any]] = {
    "overlapping": (lambda: overlapping_kernel[(1,)](zmlx.empty((257,), mx.int32), BLOCK=256), -np.maximum(np.arange(257) - 1, 0)),
    "shifting": (lambda: shifting_kernel[(1,)](zmlx.empty((1280,), mx.int32), 4, BLOCK=256), shifted(4, 256)),
    "skipped": (skipped, np.arange(256)[::-1]),
}


def waits(call: Callable[[], Any], target: str, after: str = "") -> int:
    """How many barriers the text of the launched kernel has behind its first `after`."""
    kernel, launch = launch_of(call)
    text = kernel.compile(*launch.arguments, target=target, **launch.keywords).source
    text = text.rpartition("__global__")[2]
    assert after in text
    return text[text.index(after) :].count("__syncthreads()" if target == "cuda" else "threadgroup_barrier(")


@pytest.mark.parametrize("target", ["metal", "cuda"])
@pytest.mark.parametrize("name", [*DISJOINT, *MEETING])
def test_barriers(name: str, target: str) -> None:
    call, _ = (DISJOINT | MEETING)[name]
    assert (waits(call, target) > 0) == (name in MEETING)


@pytest.mark.parametrize("name", [*DISJOINT, *MEETING])
def test_the_sanitizer_has_nothing_to_report(name: str) -> None:
    call, wanted = (DISJOINT | MEETING)[name]
    with zmlx.use_target("metal-sim"), simulator.installed(sanitize=True):
        assert np.array_equal(np.array(call()), wanted)


@pytest.mark.parametrize("name", ["overlapping", "shifting"])
def test_the_sanitizer_reports_the_race_that_the_barrier_prevents(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disjoint, "apart", lambda *_: True)
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path))  # neither the right text from the cache, nor this one into it
    fresh = zmlx.jit({"overlapping": overlapping_kernel, "shifting": shifting_kernel}[name].fn)
    args, block = {"overlapping": ((257,), ()), "shifting": ((1280,), (4,))}[name], 256
    with zmlx.use_target("metal-sim"), simulator.installed(sanitize=True, on_report="collect") as session:
        mx.eval(fresh[(1,)](zmlx.empty(args[0], mx.int32), *args[1], BLOCK=block))
    assert "device-race" in {r.kind for r in session.reports}


@pytest.mark.parametrize("target", ["metal", "cuda"])
def test_catalog_stores_that_are_disjoint_do_not_wait(target: str) -> None:
    assert waits(lambda: dropout(mx.zeros((64, 1024)), seed=1), target) == 0
    for dims in (128, 64):  # with and without elements to copy; threads share the frequencies before the loop over heads
        assert waits(lambda dims=dims: rope(mx.zeros((1, 4, 64, 128)), dims), target, after="for (int head") == 0  # type: ignore[misc]
