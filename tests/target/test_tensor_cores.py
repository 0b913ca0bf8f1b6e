"""tl.dot on matrix units: every shape of tile, order of memory and number of stages gives what the plain path gives."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

from dots import both

import zmlx
import zmlx.language as tl
from zmlx.runtime import device

DTYPES = {"float16": mx.float16, "bfloat16": mx.bfloat16, "float32": mx.float32}
FAST = ["cuda", "metal-sim"]


@zmlx.jit
def tile_kernel(a_ptr, b_ptr, c_ptr, sa_m, sa_k, sb_k, sb_n, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PRECISION: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + m[:, None] * sa_m + k[None, :] * sa_k)
    b = tl.load(b_ptr + k[:, None] * sb_k + n[None, :] * sb_n)
    tl.store(c_ptr + m[:, None] * N + n[None, :], tl.dot(a, b, input_precision=PRECISION))


@zmlx.jit
def matmul_kernel(
    a_ptr, b_ptr, c_ptr, M, N, K, sa_m, sa_k, sb_k, sb_n, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr
):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    ks = tl.arange(0, BK)
    a_tile = a_ptr + rows[:, None] * sa_m + ks[None, :] * sa_k
    b_tile = b_ptr + ks[:, None] * sb_k + cols[None, :] * sb_n
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        a = tl.load(a_tile, mask=(rows[:, None] < M) & (k + ks[None, :] < K), other=0.0)
        b = tl.load(b_tile, mask=(k + ks[:, None] < K) & (cols[None, :] < N), other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)
        a_tile += BK * sa_k
        b_tile += BK * sb_k
    tl.store(c_ptr + rows[:, None] * N + cols[None, :], acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


@zmlx.jit
def chain_kernel(q_ptr, k_ptr, v_ptr, out_ptr, n, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    """(q kᵀ) v / row sums, in steps: a product of a product, an accumulator that is scaled in its place."""
    m, d, cols = tl.arange(0, M), tl.arange(0, D), tl.arange(0, N)
    q = tl.load(q_ptr + m[:, None] * D + d[None, :])
    acc = tl.zeros((M, D), tl.float32)
    top = tl.zeros((M,), tl.float32)
    for j in range(0, n, N):
        at = (j + cols)[:, None] * D + d[None, :]
        k = tl.load(k_ptr + at, mask=(j + cols)[:, None] < n, other=0.0)
        v = tl.load(v_ptr + at, mask=(j + cols)[:, None] < n, other=0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee")
        higher = tl.maximum(top, tl.max(tl.abs(s), axis=1))
        scale = (1.0 + top) / (1.0 + higher)
        acc = tl.dot((s / (1.0 + higher)[:, None]).to(v.dtype), v, acc * scale[:, None], input_precision="ieee")
        top = higher
    tl.store(out_ptr + m[:, None] * D + d[None, :], acc)


@zmlx.jit
def computed_kernel(a_ptr, b_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """Operands that are computed: a packed left one, a right one of a wider type; both products of one pair of tiles."""
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    packed = tl.load(a_ptr + m[:, None] * (K // 2) + tl.arange(0, K // 2)[None, :])
    low, high = (packed & 15).to(tl.float16) - 8.0, (packed >> 4).to(tl.float16) - 8.0
    a = tl.reshape(tl.join(low, high), (M, K))
    b = tl.load(b_ptr + k[:, None] * N + n[None, :]).to(tl.float16)
    tl.store(c_ptr + m[:, None] * N + n[None, :], tl.dot(a, b) + tl.sum(b.to(tl.float32), axis=0)[None, :])


@zmlx.jit
def integer_kernel(a_ptr, b_ptr, c_ptr, K, sb_k, sb_n, M: tl.constexpr, N: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BK)
    acc = tl.zeros((M, N), tl.int32)
    for start in range(0, K, BK):
        a = tl.load(a_ptr + m[:, None] * K + (start + k)[None, :], mask=(start + k)[None, :] < K, other=0)
        b = tl.load(b_ptr + (start + k)[:, None] * sb_k + n[None, :] * sb_n, mask=(start + k)[:, None] < K, other=0)
        acc = tl.dot(a, b, acc)
    tl.store(c_ptr + m[:, None] * N + n[None, :], acc)


def _near(got: mx.array, want: np.ndarray, scale: np.ndarray, rel: float = 2e-6) -> None:
    """Equal within the rounding of float32 sums: `scale` is the sum of absolute products."""
    error = np.abs(np.array(got.astype(mx.float32), np.float64) - want)
    worst = float((error / np.maximum(scale, 1e-30)).max())
    assert worst < rel, f"off by {worst:.1e} of the sum of absolute products"


def _numbers(shape: tuple[int, ...], dtype: mx.Dtype, seed: int) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).astype(dtype)


def _wide(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32), np.float64)


@pytest.fixture(params=FAST)
def fast(request: pytest.FixtureRequest) -> str:
    """A target with matrix units."""
    wanted = os.environ.get("ZMLX_TARGET")
    other = wanted in ("cpu", "cuda", "metal-sim") and wanted != request.param
    why = device.missing(request.param) or (f"ZMLX_TARGET={wanted}" if other else "")
    if why:
        pytest.skip(f"no {request.param}: {why}")
    return str(request.param)


SHAPES = [
    (16, 8, 32, 1),
    (16, 16, 16, 4),
    (32, 16, 16, 2),
    (64, 8, 64, 4),
    (64, 64, 16, 4),
    (64, 32, 32, 8),
    (128, 64, 64, 4),
    (128, 128, 32, 8),
]
SHAPES += [(256, 64, 64, 8), (64, 256, 32, 4), (128, 256, 64, 8), (16, 128, 128, 8), (64, 128, 128, 16)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_tiles(fast: str, shape: tuple[int, int, int, int], dtype: str) -> None:
    m, n, k, warps = shape
    if fast == "metal-sim" and (m * n > 64 * 64 or warps > 4):
        pytest.skip("the simulator takes seconds for large tiles")
    if (m + n) * k * DTYPES[dtype].size > 96 * 1024:
        pytest.skip("more threadgroup memory than the plain path has")
    precision = "tf32x3" if dtype == "float32" else "ieee"
    with zmlx.use_target(fast):
        for order in range(4):
            a, b = _numbers((m, k) if order & 1 else (k, m), DTYPES[dtype], 1), _numbers((k, n) if order & 2 else (n, k), DTYPES[dtype], 2)
            strides = ((k, 1) if order & 1 else (1, m)) + ((n, 1) if order & 2 else (1, k))
            x, y = a if order & 1 else a.T, b if order & 2 else b.T
            want, scale = _wide(x) @ _wide(y), np.abs(_wide(x)) @ np.abs(_wide(y))

            def call(kernel: zmlx.JitFunction, a=a, b=b, strides=strides) -> mx.array:
                out = zmlx.empty((m, n), mx.float32)
                return kernel[1,](a, b, out, *strides, M=m, N=n, K=k, PRECISION=precision, num_warps=warps)

            for got in both(tile_kernel, call):
                _near(got, want, scale)


@pytest.mark.parametrize("stages", [None, 1, 2, 3, 5])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "sizes",
    [(64, 64, 64, 32, 32, 32, 2), (130, 72, 200, 64, 64, 32, 4), (100, 97, 33, 64, 32, 64, 4), (256, 384, 512, 128, 128, 64, 8),
     (3, 5, 0, 16, 16, 32, 1)],
    ids=lambda s: "x".join(map(str, s)),
)  # fmt: skip
def test_loops(fast: str, sizes: tuple[int, ...], dtype: str, stages: int | None) -> None:
    """Ragged in all three dimensions, both orders of both operands, views that start anywhere, loops of no trip."""
    m, n, k, bm, bn, bk, warps = sizes
    if fast == "metal-sim" and (m * n * k > 130 * 72 * 200 or stages not in (None, 2)):
        pytest.skip("the simulator takes seconds for large tiles, and stages are CUDA's")
    precision = "tf32x3" if dtype == "float32" else "ieee"
    with zmlx.use_target(fast):
        for order in (0, 3):
            offset = order and 1  # the second time, no row is aligned
            a, b = (
                (_numbers((m * k + offset,), DTYPES[dtype], 3)[offset:], _numbers((k * n + offset,), DTYPES[dtype], 4)[offset:])
                if k
                else (mx.zeros((1,), DTYPES[dtype]),) * 2
            )
            x = _wide(a)[: m * k].reshape((m, k) if order & 1 else (k, m))
            y = _wide(b)[: k * n].reshape((k, n) if order & 2 else (n, k))
            x, y = x if order & 1 else x.T, y if order & 2 else y.T
            strides = ((k, 1) if order & 1 else (1, m)) + ((n, 1) if order & 2 else (1, k))

            def call(kernel: zmlx.JitFunction, a=a, b=b, strides=strides) -> mx.array:
                out, grid = zmlx.empty((m, n), mx.float32), (zmlx.cdiv(m, bm), zmlx.cdiv(n, bn))
                return kernel[grid](
                    a, b, out, m, n, k, *strides, BM=bm, BN=bn, BK=bk, PRECISION=precision, num_warps=warps, num_stages=stages
                )

            for got in both(matmul_kernel, call):
                _near(got, x @ y, np.abs(x) @ np.abs(y))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "sizes", [(16, 16, 16, 1), (64, 64, 64, 4), (64, 32, 128, 4), (128, 64, 64, 8), (128, 64, 128, 4)], ids=lambda s: "x".join(map(str, s))
)
def test_chains(fast: str, sizes: tuple[int, ...], dtype: str) -> None:
    m, n, d, warps = sizes
    if fast == "metal-sim" and m * d > 64 * 64:
        pytest.skip("the simulator takes seconds for large tiles")
    keys = 3 * n - 5
    q, k, v = _numbers((m, d), DTYPES[dtype], 5), _numbers((keys, d), DTYPES[dtype], 6), _numbers((keys, d), DTYPES[dtype], 7)
    s = _wide(q) @ _wide(k).T
    want = s @ _wide(v) / (1 + np.abs(s).max(axis=1, initial=0, keepdims=True))
    with zmlx.use_target(fast):

        def call(kernel: zmlx.JitFunction) -> mx.array:
            return kernel[1,](q, k, v, zmlx.empty((m, d), mx.float32), keys, M=m, N=n, D=d, num_warps=warps)

        for got in both(chain_kernel, call):
            error = np.abs(np.array(got, np.float64) - want).max() / np.abs(want).max()
            assert error < (4e-3 if dtype == "float16" else 3e-2)


@pytest.mark.parametrize("sizes", [(16, 16, 32, 1), (64, 32, 64, 4), (64, 64, 128, 8)], ids=lambda s: "x".join(map(str, s)))
def test_computed_operands(fast: str, sizes: tuple[int, ...]) -> None:
    m, n, k, warps = sizes
    packed = mx.array(np.random.default_rng(8).integers(0, 256, (m, k // 2)).astype(np.uint8))
    b = _numbers((k, n), mx.float32, 9)
    x = np.stack([(np.array(packed) & 15) - 8.0, (np.array(packed) >> 4) - 8.0], axis=-1).reshape(m, k)
    y = _wide(b.astype(mx.float16))
    with zmlx.use_target(fast):
        for got in both(
            computed_kernel, lambda kernel: kernel[1,](packed, b, zmlx.empty((m, n), mx.float32), M=m, N=n, K=k, num_warps=warps)
        ):
            _near(got, x @ y + y.sum(axis=0), np.abs(x) @ np.abs(y) + np.abs(y).sum(axis=0))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", [mx.int8, mx.uint8], ids=["int8", "uint8"])
@pytest.mark.parametrize("sizes", [(16, 16, 70, 32, 1), (64, 32, 160, 64, 4), (64, 64, 128, 128, 8)], ids=lambda s: "x".join(map(str, s)))
def test_integers_are_exact(fast: str, sizes: tuple[int, ...], dtype: mx.Dtype, transposed: bool) -> None:
    m, n, k, bk, warps = sizes
    low, high = (-128, 128) if dtype == mx.int8 else (0, 256)
    r = np.random.default_rng(10)
    a, b = r.integers(low, high, (m, k)), r.integers(low, high, (n, k) if transposed else (k, n))
    want = a @ (b.T if transposed else b)
    strides = (1, k) if transposed else (n, 1)
    with zmlx.use_target(fast):

        def call(kernel: zmlx.JitFunction) -> mx.array:
            out = zmlx.empty((m, n), mx.int32)
            return kernel[1,](mx.array(a).astype(dtype), mx.array(b).astype(dtype), out, k, *strides, M=m, N=n, BK=bk, num_warps=warps)

        for got in both(integer_kernel, call):
            assert np.array_equal(np.array(got), want)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_special_values(fast: str, dtype: str) -> None:
    """A NaN stays in its row or column; an infinity gives infinity, or NaN against zero."""
    a, b = np.ones((32, 32), np.float32), np.ones((32, 32), np.float32)
    a[3, 5], a[7, 1], b[9, 11] = np.nan, np.inf, 0.0
    a[8, 9] = -np.inf
    want = a @ b
    x, y = mx.array(a).astype(DTYPES[dtype]), mx.array(b).astype(DTYPES[dtype])
    with zmlx.use_target(fast):

        def call(kernel: zmlx.JitFunction) -> mx.array:
            return kernel[1,](x, y, zmlx.empty((32, 32), mx.float32), 32, 1, 32, 1, M=32, N=32, K=32, PRECISION="tf32")

        for got in both(tile_kernel, call):
            assert np.array_equal(np.array(got), want, equal_nan=True)


def test_tf32_keeps_ten_bits(fast: str) -> None:
    """float32 operands of the default precision: about 1e-3 of each product where the device has tf32, exact elsewhere."""
    a, b = _numbers((64, 64), mx.float32, 11), _numbers((64, 64), mx.float32, 12)
    with zmlx.use_target(fast):
        got = tile_kernel[1,](a, b, zmlx.empty((64, 64), mx.float32), 64, 1, 64, 1, M=64, N=64, K=64, PRECISION="tf32")
    _near(got, _wide(a) @ _wide(b), np.abs(_wide(a)) @ np.abs(_wide(b)), rel=1e-3 if fast == "cuda" else 2e-6)


def test_cuda_text_uses_the_matrix_units() -> None:
    """Needs no device: what the text says."""
    a = zmlx.ArraySpec((256, 256), mx.float16)
    options = {"BM": 128, "BN": 128, "BK": 64, "PRECISION": "ieee", "num_warps": 8}
    text = matmul_kernel.compile(
        a, a, zmlx.ArraySpec((256, 256), mx.float32), 256, 256, 256, 256, 1, 256, 1, target="cuda", **options
    ).source
    assert "zm_mma<zm_half, 128, 128, 64, 8, 1, 128, true, 128, false, 1>(acc" in text
    assert "zm_copy_async16(" in text and "zm_mma_wait<1>(acc)" in text
    assert "zm_vload_shifted<8>(" in text, "rows that start anywhere go through registers, 16 bytes at once"


@zmlx.jit
def squaring_kernel(x_ptr, out_ptr, N: tl.constexpr, TIMES: tl.constexpr):
    """x = x x + x + 1, again and again: the carried tile is operand and accumulator."""
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    x = tl.load(x_ptr + at)
    for _ in range(TIMES):
        x = tl.dot(x, x, x + 1.0, input_precision="tf32x3")
    tl.store(out_ptr + at, x)


def test_an_accumulator_that_is_an_operand_too(fast: str) -> None:
    x = np.full((32, 32), 0.01) + np.eye(32) / 8
    want = x
    for _ in range(3):
        want = want @ want + want + 1
    first = mx.array(x.astype(np.float32))
    with zmlx.use_target(fast):
        for got in both(squaring_kernel, lambda kernel: kernel[1,](first, zmlx.empty((32, 32), mx.float32), N=32, TIMES=3)):
            assert np.allclose(np.array(got), want, rtol=1e-5)
