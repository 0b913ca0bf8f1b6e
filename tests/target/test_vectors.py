"""Vector accesses at addresses and lengths of any kind: rows that start anywhere, masks that end anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cuda_host
import mlx.core as mx
import numpy as np
import pytest
from execute import Case, launch, traced

import zmlx
import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.targets.compile import compile_function
from zmlx.targets.target import target as target_of

C = "constexpr"


@zmlx.jit
def rows_kernel(x, y, stride, start, n, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    cols = tl.arange(0, BLOCK)[None, :]
    mask = cols < n
    value = tl.load(x + start + row * stride + cols, mask=mask, other=1)
    # The sum needs every element that is off, too; the store comes later, so that the tile is kept.
    total = tl.sum(value.to(tl.int32), axis=1)[:, None]
    tl.store(y + start + row * stride + cols, (value + total).to(y.dtype.element_ty), mask=mask)


@zmlx.jit
def row_kernel(x, y, stride, start, n, BLOCK: tl.constexpr):
    at = start + tl.program_id(0) * stride
    cols = tl.arange(0, BLOCK)
    mask = (cols >= 0) & (cols < n)
    value = tl.load(x + at + cols, mask=mask, other=3)
    tl.store(y + at + cols, value + value, mask=mask)


def case(kernel: Any, d: dt.DType, stride: int, start: int, n: int, rows: int, **constants: int) -> tuple[Case, np.ndarray]:
    """A launch on rows of small integers between guards, and its input as numbers."""
    rng = np.random.default_rng(stride + start)
    numbers = rng.integers(0, 3, start + rows * stride + 40)
    x = dt.encode(numbers.astype(d.compute), d)
    y = dt.encode(np.full(numbers.shape, 77, d.compute), d)
    args = {"x": x, "y": y, "stride": stride, "start": start, "n": n} | {k: (C, v) for k, v in constants.items()}
    fn, arrays, scalars = traced(kernel, args, {"x": d, "y": d})
    return Case(fn, arrays, scalars, (rows // constants.get("ROWS", 1), 1, 1)), numbers


KINDS = [dt.float16, dt.float32, dt.int8, dt.int64, dt.bfloat16]


@pytest.mark.parametrize("start", [0, 1, 5, 16])
@pytest.mark.parametrize(("n", "block"), [(256, 256), (250, 256), (61, 64), (3, 64)])
@pytest.mark.parametrize("d", KINDS, ids=str)
def test_rows(d: dt.DType, n: int, block: int, start: int, each_target: str) -> None:
    """Several rows a tile, fewer lanes a row than a warp has."""
    for stride in (256, 257, 260) if n == 250 else (n + 1,):
        launched, numbers = case(rows_kernel, d, stride, start, n, 8, ROWS=4, BLOCK=block)
        got = dt.decode(run(launched, each_target)["y"], d)
        want = np.full(got.shape, 77)
        for r in range(8):
            part = slice(start + r * stride, start + r * stride + n)
            total = numbers[part].sum() + block - n
            want[part] = wrapped(numbers[part] + total, d)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", [4096, 4095, 2500, 1])
@pytest.mark.parametrize("d", KINDS, ids=str)
def test_one_row(d: dt.DType, n: int, each_target: str) -> None:
    """One row a tile, several vectors a thread."""
    for stride, start in ((4096, 0), (4097, 0), (4104, 3)):
        launched, numbers = case(row_kernel, d, stride, start, n, 3, BLOCK=4096)
        got = dt.decode(run(launched, each_target)["y"], d)
        want = np.full(got.shape, 77)
        for r in range(3):
            part = slice(start + r * stride, start + r * stride + n)
            want[part] = 2 * numbers[part]
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("start", [0, 1, 8])
@pytest.mark.parametrize("d", [dt.float16, dt.int8, dt.float32], ids=str)
def test_cuda_knows_what_is_aligned(d: dt.DType, start: int, shift: int, tmp_path: Path) -> None:
    """CUDA's text on a host, which checks each access said to be aligned; arrays that are views start anywhere."""
    launched, numbers = case(rows_kernel, d, 64, start, 61, 4, ROWS=4, BLOCK=64)
    got = dt.decode(cuda_host.run(launched, tmp_path, "rows", shift)["y"], d)
    for r in range(4):
        part = slice(start + r * 64, start + r * 64 + 61)
        np.testing.assert_array_equal(got[part], wrapped(numbers[part] + numbers[part].sum() + 3, d))


def run(launched: Case, target: str) -> dict[str, np.ndarray]:
    return launch(launched, compile_function(launched.fn, target_of(target), 4, frozenset(launched.arrays)))


def wrapped(x: np.ndarray, d: dt.DType) -> np.ndarray:
    return dt.decode(dt.encode(x.astype(np.int64).astype(d.compute), d), d)


def test_alignment_is_known_or_not() -> None:
    """Rows whose length is a multiple of 16 are expected to be aligned; other rows are not, and strangers' lanes have no part."""
    shifted = {}
    for stride in (4096, 4100):
        launched, _ = case(row_kernel, dt.float16, stride, 16, 4000, 1, BLOCK=4096)
        shifted[stride] = "shifted" in compile_function(launched.fn, target_of("cuda"), 4).source.partition('extern "C"')[2]
    assert shifted == {4096: False, 4100: True}


@zmlx.jit
def mirrored_kernel(x_ptr, out_ptr, N: tl.constexpr):
    """A loaded tile that is needed both as it is and backwards."""
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(out_ptr + tl.arange(0, 2 * N), tl.cat(tl.flip(x, 0), x, dim=0))


@pytest.mark.parametrize("n", [2, 64, 128, 1024])
@pytest.mark.parametrize("dtype", [mx.int8, mx.float16, mx.float32], ids=str)
def test_a_tile_and_its_mirror(each_target: str, dtype: mx.Dtype, n: int) -> None:
    x = mx.arange(n).astype(dtype)
    with zmlx.use_target(each_target):
        got = mirrored_kernel[1,](x, zmlx.empty((2 * n,), dtype), N=n)
    assert mx.array_equal(got, mx.concatenate([x[::-1], x]))


@zmlx.jit
def narrow_kernel(x_ptr, out_ptr, N: tl.constexpr):
    """A constant first: what C computes in int wraps before it is used."""
    x = tl.load(x_ptr + tl.arange(0, N))
    tl.store(out_ptr + tl.arange(0, N), (tl.full((N,), 127, tl.int8) - x) % 7)


def test_narrow_integers_wrap_between_operations(each_target: str) -> None:
    x = np.arange(-128, 128, dtype=np.int8)
    wrapped = (127 - x.astype(np.int32)).astype(np.int8).astype(np.int32)
    with zmlx.use_target(each_target):
        got = narrow_kernel[1,](mx.array(x), zmlx.empty((256,), mx.int8), N=256)
    assert np.array_equal(np.array(got), np.fmod(wrapped, 7))
