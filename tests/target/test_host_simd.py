"""Host loops over vectors against loops left to the C++ compiler: ragged sizes, special values, every instruction set here."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx.runtime import isa

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16, "int32": mx.int32, "uint32": mx.uint32, "int8": mx.int8}
# Of the values that the kernels give, relative to the largest rounding unit of the type.
TOLERANCE = {"float32": 2e-6, "float16": 2.0**-10, "bfloat16": 2.0**-7}
LEVELS = [level.name for level in isa.available()]
# Every type at the highest level, the type with the most conversions at the others.
AT_LEVELS = [(LEVELS[-1], dtype) for dtype in DTYPES] + [(level, "float16") for level in LEVELS[:-1]]
SIZES = (1, 7, 16, 33, 1000)


@zmlx.jit
def floats(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(x_ptr + i, mask=mask, other=1.0).to(tl.float32)
    y = tl.exp(-tl.abs(x)) + tl.sigmoid(x) * tl.erf(x * 0.5) - tl.exp2(tl.minimum(x, 3.0)) * tl.rsqrt(1.0 + x * x)
    z = tl.where(x > 0.25, tl.log(tl.abs(x) + 0.5), tl.sqrt(tl.abs(x))) + tl.where((x != x) | (i % 2 == 0) & (x < 1.0), 2.0, 0.0)
    w = tl.maximum(x, 0.0) + i.to(tl.float32) / n + (x > 0.0).to(tl.float32) + tl.clamp(x, -1.0, 1.0)
    whole = tl.clamp(x, -1000.0, 1000.0).to(tl.int32)
    tl.store(out_ptr + i, y + z + w + ((whole >> 1) ^ (whole & 3)).to(tl.float32), mask=mask)


@zmlx.jit
def integers(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(x_ptr + i, mask=mask, other=3)
    y = (x << 2) - (x >> 1) + (x & 5) * (x | 8) + x // 7 + x % 8
    tl.store(out_ptr + i, tl.where(x > 4, tl.minimum(y, x), tl.maximum(~x, y)) + i.to(x.dtype), mask=mask)


@zmlx.jit
def rows(x_ptr, out_ptr, sum_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(x_ptr + row * n + i, mask=mask, other=-float("inf")).to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * n + i, e / tl.sum(e, axis=0), mask=mask)
    tl.store(sum_ptr + row, tl.sum(tl.where(mask, x, 0.0), axis=0))


@zmlx.jit
def gated(x_ptr, out_ptr, m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """A two-dimensional tile whose rows are masked too, updated in place where it is positive."""
    i, j = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    at = i[:, None] * n + j[None, :]
    inside = (i[:, None] < m) & (j[None, :] < n)
    x = tl.load(x_ptr + at, mask=inside, other=0.0)
    tl.store(out_ptr + at, x * 2.0, mask=inside & (x > 0.0))


@zmlx.jit
def lookup(x_ptr, index_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Elements that lie anywhere, every eighth one, and one for all lanes."""
    i = tl.arange(0, BLOCK)
    for start in range(0, n // BLOCK * BLOCK, BLOCK):
        at = start + i
        far = tl.load(x_ptr + tl.load(index_ptr + at))
        tl.store(out_ptr + at, far + tl.load(x_ptr + at // 8) + tl.load(x_ptr + start // BLOCK) + tl.load(x_ptr + at // 64 * 2))
    at = n // BLOCK * BLOCK + i
    tl.store(out_ptr + at, tl.load(x_ptr + tl.load(index_ptr + at, mask=at < n, other=0), mask=at < n, other=0.0), mask=at < n)


def both(kernel: Any, call: Any, patch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The results with loops over vectors and without."""
    results = []
    for how in ("1", "0"):
        patch.setenv("ZMLX_CPU_SIMD", how)
        with zmlx.use_target("cpu"):
            results.append(call(zmlx.jit(kernel.fn)))
    return results[0], results[1]


def numbers(dtype: str, n: int, seed: int = 0) -> mx.array:
    r = np.random.default_rng(seed)
    if "int" in dtype:
        return mx.array(r.integers(-100 if dtype[0] == "i" else 0, 100, n)).astype(DTYPES[dtype])
    return mx.array((2 * r.standard_normal(n)).astype(np.float32)).astype(DTYPES[dtype])


def as_numpy(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


def assert_close(got: mx.array, want: mx.array, dtype: str) -> None:
    x, y = as_numpy(got).astype(np.float64), as_numpy(want).astype(np.float64)
    tolerance = TOLERANCE.get(dtype, 0.0)
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("level", "dtype"), AT_LEVELS)
def test_elementwise(dtype: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", level)
    kernel = integers if "int" in dtype else floats
    inputs = [numbers(dtype, n) for n in SIZES]

    def call(k: Any) -> list[mx.array]:
        return [k[(1,)](x, zmlx.empty_like(x), x.size, BLOCK=1024) for x in inputs]

    fast, plain = both(kernel, call, monkeypatch)
    for got, want in zip(fast, plain, strict=True):
        assert_close(got, want, dtype)


@pytest.mark.parametrize(("level", "dtype"), [pair for pair in AT_LEVELS if pair[1] in TOLERANCE])
def test_rows(dtype: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", level)
    inputs = [numbers(dtype, 3 * n).reshape(3, n) for n in SIZES]

    def call(k: Any) -> list[mx.array]:
        made = [k[(3,)](x, zmlx.empty_like(x), zmlx.empty((3,), mx.float32), x.shape[1], BLOCK=1024) for x in inputs]
        return [a for pair in made for a in pair]

    fast, plain = both(rows, call, monkeypatch)
    for got, want in zip(fast, plain, strict=True):
        assert_close(got, want, dtype)
    for x, y in zip(inputs, fast[::2], strict=True):
        assert_close(y, mx.softmax(x.astype(mx.float32), axis=-1), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_special_values(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 6e-8, 65504.0, 3e38, -3e38, 1.0]
    x = mx.array(np.tile(np.array(special, np.float32), 5)).astype(DTYPES[dtype])

    def call(k: Any) -> mx.array:
        return k[(1,)](x, zmlx.empty_like(x), x.size, BLOCK=64)

    fast, plain = both(floats, call, monkeypatch)
    assert_close(fast, plain, dtype)


@pytest.mark.parametrize(("level", "dtype"), [pair for pair in AT_LEVELS if pair[1] in TOLERANCE])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 64), (3, 47)])
def test_what_a_mask_leaves_out_is_not_written(dtype: str, shape: tuple[int, int], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", level)
    x = numbers(dtype, shape[0] * shape[1]).reshape(shape)
    out = mx.full((shape[0] + 1, shape[1]), 7, x.dtype)
    fast, plain = both(gated, lambda k: k[(1,)](x, out, *shape, BLOCK_M=4, BLOCK_N=64), monkeypatch)
    want = np.full(out.shape, 7.0, np.float32)
    doubled = as_numpy(x).astype(np.float32) * 2
    want[:-1] = np.where(doubled > 0, doubled, 7.0)
    for got in (fast, plain):
        np.testing.assert_array_equal(as_numpy(got).astype(np.float32), want)


@pytest.mark.parametrize(("level", "dtype"), AT_LEVELS[:5] + AT_LEVELS[6:])
def test_loads_from_anywhere(dtype: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", level)
    x = numbers(dtype, 300)
    index = mx.array(np.random.default_rng(3).integers(0, 300, 300).astype(np.int32))
    fast, plain = both(lookup, lambda k: k[(1,)](x, index, zmlx.empty_like(x), 300, BLOCK=64), monkeypatch)
    assert mx.array_equal(fast, plain)
    assert mx.array_equal(fast[256:], x[index[256:]])


def test_the_knob_decides_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel, x in ((floats, numbers("float32", 64)), (integers, numbers("int32", 64)), (integers, numbers("uint32", 64))):
        fast, plain = both(kernel, lambda k, x=x: k.compile(x, x, 64, BLOCK=64).source, monkeypatch)
        assert "zm_for(" in fast and "omp simd" not in fast
        assert "zm_for(" not in plain and "omp simd" in plain


@zmlx.jit
def running(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + cols, mask=cols < n, other=0.0)
    tl.store(out_ptr + cols, tl.cumsum(x, axis=0), mask=cols < n)


@pytest.mark.parametrize("at", [0, 7, 8, 37])
def test_a_scan_by_groups_looks_only_back(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(5).standard_normal(60).astype(np.float32)
    x[at] = np.nan
    for got in both(running, lambda k: k[(1,)](mx.array(x), mx.zeros((60,)), 60, BLOCK=64), monkeypatch):
        assert np.isnan(as_numpy(got)[at:]).all()
        np.testing.assert_allclose(as_numpy(got)[:at], np.cumsum(x[:at]), rtol=1e-5, atol=1e-5)
