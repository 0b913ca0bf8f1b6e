"""The host's product of tiles: blocks of registers against plain loops, at every level of the instruction set."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from tests.support.dots import both, dot_is
from zmlx.runtime import isa

SHAPES = [(1, 1, 32), (16, 16, 32), (1, 64, 32), (64, 1, 32), (32, 2, 64), (8, 128, 64), (64, 64, 32), (128, 16, 32)]
DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16, "int8": mx.int8}


@zmlx.jit
def product(a_ptr, b_ptr, c_ptr, out_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, TRANSPOSED: tl.constexpr):
    rows, cols, depth = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + rows[:, None] * K + depth[None, :])
    if TRANSPOSED:
        b = tl.load(b_ptr + cols[None, :] * K + depth[:, None])
    else:
        b = tl.load(b_ptr + depth[:, None] * N + cols[None, :])
    c = tl.load(c_ptr + rows[:, None] * N + cols[None, :])
    tl.store(out_ptr + rows[:, None] * N + cols[None, :], tl.dot(a, b, c, input_precision="ieee"))


def operands(m: int, n: int, k: int, dtype: str, transposed: bool) -> tuple[mx.array, mx.array, mx.array]:
    r = np.random.default_rng(m + n + k)
    shape = (n, k) if transposed else (k, n)
    if dtype == "int8":
        a, b, c = r.integers(-128, 128, (m, k)), r.integers(-128, 128, shape), r.integers(-(2**31), 2**31, (m, n))
        return mx.array(a.astype(np.int8)), mx.array(b.astype(np.int8)), mx.array(c.astype(np.int32))
    a, b, c = (r.standard_normal(s).astype(np.float32) for s in ((m, k), shape, (m, n)))
    return mx.array(a).astype(DTYPES[dtype]), mx.array(b).astype(DTYPES[dtype]), mx.array(c)


def run(kernel: Any, a: mx.array, b: mx.array, c: mx.array, m: int, n: int, k: int, transposed: bool) -> np.ndarray:
    with zmlx.use_target("cpu"):
        return np.array(kernel[(1,)](a, b, c, zmlx.empty_like(c), M=m, N=n, K=k, TRANSPOSED=transposed))


def expected(a: mx.array, b: mx.array, c: mx.array, transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The product in float64 and a bound of its rounding errors; exact, modulo 2^32, for integers."""
    exact = c.dtype == mx.int32
    x, y, z = (np.array(v.astype(v.dtype if exact else mx.float32)).astype(np.int64 if exact else np.float64) for v in (a, b, c))
    y = y.T if transposed else y
    want = x @ y + z
    if exact:
        return want.astype(np.int32), np.zeros(want.shape)
    return want, 2.0**-24 * (y.shape[0] + 2) * (np.abs(x) @ np.abs(y) + np.abs(z))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_and_plain_loops_agree(shape: tuple[int, int, int], transposed: bool, dtype: str) -> None:
    args = operands(*shape, dtype, transposed)
    fast, plain = both(product, lambda kernel: run(kernel, *args, *shape, transposed))
    want, bound = expected(*args, transposed)
    assert (fast == plain).all()  # both sum along k in one chain
    assert (np.abs(fast.astype(want.dtype) - want) <= bound).all()


@pytest.mark.parametrize("level", [level.name for level in isa.available()])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_level_of_the_instruction_set(level: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", level)
    for shape, transposed in (((16, 64, 32), False), ((64, 32, 32), True)):
        args = operands(*shape, dtype, transposed)
        want, bound = expected(*args, transposed)
        got = run(zmlx.jit(product.fn), *args, *shape, transposed)
        assert (np.abs(got.astype(want.dtype) - want) <= bound).all()


def test_infinities_and_nans_pass() -> None:
    a, b = np.ones((16, 16), np.float32), np.ones((16, 16), np.float32)
    a[1, 2], a[3, 4], b[5, 6] = np.inf, np.nan, -np.inf
    c = np.zeros((16, 16), np.float32)
    with np.errstate(invalid="ignore"):
        want = a @ b
    fast, plain = both(product, lambda kernel: run(kernel, *map(mx.array, (a, b, c)), 16, 16, 16, False))
    np.testing.assert_array_equal(fast, want)
    np.testing.assert_array_equal(plain, want)


@zmlx.jit
def chain(a_ptr, out_ptr, n, KIND: tl.constexpr):
    """A carried product: alone, scaled, read by another carry, by its own operand, or after the product."""
    i = tl.arange(0, 16)
    at = i[:, None] * 16 + i[None, :]
    a = tl.load(a_ptr + at)
    acc = tl.zeros((16, 16), tl.float32)
    other = tl.zeros((16, 16), tl.float32)
    for _k in range(n):
        if KIND == "alone":
            acc = tl.dot(a, a, acc, input_precision="ieee")
        elif KIND == "scaled":
            acc = tl.dot(a, a, acc * 0.5, input_precision="ieee")
            other += acc
        elif KIND == "carry":
            other = acc + 1.0
            acc = tl.dot(a, a, acc, input_precision="ieee")
        elif KIND == "operand":
            acc = tl.dot(acc, a, acc + 1.0, input_precision="ieee")
        elif KIND == "turned":
            acc = tl.dot(a, a, tl.trans(acc), input_precision="ieee")
        else:
            new = tl.dot(a, a, acc, input_precision="ieee")
            other += acc * 2.0
            acc = new
    tl.store(out_ptr + at, acc)
    tl.store(out_ptr + 256 + at, other)


@pytest.mark.parametrize("kind", ["alone", "scaled", "carry", "operand", "turned", "after"])
def test_a_carried_product_is_summed_in_place_only_where_nobody_looks(kind: str) -> None:
    a = (np.random.default_rng(0).integers(-2, 3, (16, 16)) / 4).astype(np.float32)
    acc, other = np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)
    for _ in range(4):
        new = a @ a + {"scaled": acc * 0.5, "turned": acc.T}.get(kind, acc) if kind != "operand" else acc @ a + acc + 1
        other = {"scaled": other + new, "carry": acc + 1, "after": other + acc * 2}.get(kind, other)
        acc = new
    with zmlx.use_target("cpu"):
        out = np.array(chain[(1,)](mx.array(a), zmlx.empty((2, 16, 16), mx.float32), 4, KIND=kind))
    np.testing.assert_array_equal(out, np.stack([acc, other]))


@zmlx.jit
def packed(x_ptr, w_ptr, scale_ptr, bias_ptr, out_ptr, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """x (M, K) by 4-bit weights (N, K): eight to a word, groups of 64 along K with a scale and a bias, as MLX packs them."""
    rows, cols, depth = tl.arange(0, BLOCK_M), tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, K, BLOCK_K):
        at = k + depth
        x = tl.load(x_ptr + rows[:, None] * K + at[None, :])
        word = tl.load(w_ptr + cols[None, :] * (K // 8) + at[:, None] // 8)
        group = cols[None, :] * (K // 64) + at[:, None] // 64
        w = ((word >> (at[:, None] % 8 * 4).to(tl.uint32)) & 15).to(tl.float32)
        w = w * tl.load(scale_ptr + group).to(tl.float32) + tl.load(bias_ptr + group).to(tl.float32)
        acc = tl.dot(x, w.to(x.dtype), acc, input_precision="ieee")
    n = tl.num_programs(0) * BLOCK_N
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], acc)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("block_k", [16, 64])
def test_packed_weights_are_dequantised_on_the_way(dtype: str, block_k: int) -> None:
    r = np.random.default_rng(1)
    x = mx.array(r.standard_normal((16, 256)).astype(np.float32)).astype(DTYPES[dtype])
    w, scales, biases = mx.quantize(mx.array(r.standard_normal((64, 256)).astype(np.float32)).astype(DTYPES[dtype]), 64, 4)

    def call(kernel: Any) -> np.ndarray:
        with zmlx.use_target("cpu"):
            out = zmlx.empty((16, 64), mx.float32)
            return np.array(kernel[(2,)](x, w, scales, biases, out, 256, BLOCK_M=16, BLOCK_N=32, BLOCK_K=block_k))

    fast, plain = both(packed, call)
    assert (fast == plain).all()
    dense = np.array(mx.dequantize(w, scales, biases, 64, 4).astype(mx.float32)).astype(np.float64)
    want = np.array(x.astype(mx.float32)).astype(np.float64) @ dense.T
    assert np.abs(fast - want).max() <= {"float32": 1e-4, "float16": 0.05, "bfloat16": 0.5}[dtype]


def test_plain_is_a_text_without_blocks() -> None:
    args = operands(16, 16, 16, "float32", False)
    for how in ("auto", "plain"):
        with dot_is(how), zmlx.use_target("cpu"):
            text = zmlx.jit(product.fn).compile(*args, zmlx.empty_like(args[2]), M=16, N=16, K=16, TRANSPOSED=False).source
        assert ("zm_dot<16, 16, 16>" in text) == (how == "auto")
