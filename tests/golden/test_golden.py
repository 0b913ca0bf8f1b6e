"""A few small texts, one a feature and stage, kept to be read: what a change of the compiler changes shows in the diff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx.cli.show import text


@zmlx.jit
def elementwise_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=mask) + tl.load(y_ptr + offsets, mask=mask), mask=mask)


@zmlx.jit
def reduce_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + cols, mask=cols < n, other=-float("inf"))
    tl.store(out_ptr + cols, x - tl.max(x, axis=0), mask=cols < n)


@zmlx.jit
def loop_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n, BLOCK):
        total += tl.load(x_ptr + i + cols, mask=i + cols < n, other=0.0)
    tl.store(out_ptr, tl.sum(total, axis=0))


@zmlx.jit
def branch_kernel(x_ptr, out_ptr, n):
    pid = tl.program_id(0)
    if pid >= n:
        return
    x = tl.load(x_ptr + pid)
    if x > 0.0:
        y = tl.sqrt(x)
    else:
        y = -x
    tl.store(out_ptr + pid, y)


@zmlx.jit
def while_kernel(x_ptr, out_ptr):
    x = tl.load(x_ptr)
    steps = 0
    while x > 1:
        x = x // 2
        steps += 1
    tl.store(out_ptr, steps)


@zmlx.jit
def scan_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    tl.store(out_ptr + cols, tl.cumsum(tl.load(x_ptr + cols), axis=0))


@zmlx.jit
def dot_kernel(x_ptr, y_ptr, out_ptr):
    i, j = tl.arange(0, 16)[:, None], tl.arange(0, 16)[None, :]
    tl.store(out_ptr + i * 16 + j, tl.dot(tl.load(x_ptr + i * 16 + j), tl.load(y_ptr + i * 16 + j)))


@zmlx.jit
def atomic_kernel(bin_ptr, count_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    bins = tl.load(bin_ptr + cols, mask=cols < n, other=0)
    tl.atomic_add(count_ptr + bins, 1, mask=cols < n)


@zmlx.jit
def transpose_kernel(x_ptr, out_ptr):
    i, j = tl.arange(0, 32)[:, None], tl.arange(0, 32)[None, :]
    tl.store(out_ptr + i * 32 + j, tl.trans(tl.load(x_ptr + i * 32 + j)))


@zmlx.jit
def halves(x):
    low = tl.floor(x)
    return low, x - low


@zmlx.jit
def inline_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    whole, rest = halves(tl.load(x_ptr + cols))
    tl.store(out_ptr + cols, whole * 2.0 + rest)


@zmlx.jit
def half_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + cols)
    tl.store(out_ptr + cols, x * x + 1.0)


@zmlx.jit
def argmax_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    tl.store(out_ptr, tl.argmax(tl.load(x_ptr + tl.arange(0, BLOCK)), axis=0))


def array(*shape: int, dtype: mx.Dtype = mx.float32) -> zmlx.ArraySpec:
    return zmlx.ArraySpec(shape, dtype)


F, INT = array(256), array(256, dtype=mx.int32)
SQUARE, BF16 = array(32, 32), array(128, dtype=mx.bfloat16)
FEATURES: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str]] = {
    "elementwise": (elementwise_kernel, (F, F, F, 250), {"BLOCK": 256}, "tile simt metal cuda cpu"),
    "reduce": (reduce_kernel, (F, F, 250), {"BLOCK": 256}, "tile simt metal cpu"),
    "loop": (loop_kernel, (F, array(1), 250), {"BLOCK": 64}, "tile metal cpu"),
    "branch": (branch_kernel, (F, F, 250), {}, "tile metal"),
    "while": (while_kernel, (array(1, dtype=mx.int32), array(1, dtype=mx.int32)), {}, "tile cpu"),
    "scan": (scan_kernel, (F, F), {"BLOCK": 256}, "simt cuda"),
    "dot": (dot_kernel, (array(16, 16), array(16, 16), array(16, 16)), {}, "tile metal cpu"),
    "atomic": (atomic_kernel, (INT, array(16, dtype=mx.int32), 250), {"BLOCK": 256}, "tile metal cuda cpu"),
    "transpose": (transpose_kernel, (SQUARE, SQUARE), {}, "simt metal"),
    "inline": (inline_kernel, (array(32), array(32)), {"BLOCK": 32}, "tile"),
    "half": (half_kernel, (BF16, BF16), {"BLOCK": 128}, "tile metal cuda cpu"),
    "argmax": (argmax_kernel, (F, array(1, dtype=mx.int32)), {"BLOCK": 256}, "tile metal"),
}
GOLDENS = [(feature, stage) for feature, row in FEATURES.items() for stage in row[3].split()]


@pytest.mark.parametrize(("feature", "stage"), GOLDENS, ids=[f"{f}-{s}" for f, s in GOLDENS])
def test_golden(feature: str, stage: str, golden: Callable[[str, str], None]) -> None:
    kernel, arguments, keywords, _ = FEATURES[feature]
    golden(f"{feature}.{stage}.txt", text(kernel, arguments, keywords, stage) + "\n")


def test_goldens_are_few() -> None:
    assert len(GOLDENS) <= 40
