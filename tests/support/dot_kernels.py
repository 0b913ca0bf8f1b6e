"""Kernels around `tl.dot`, numbers for them, and how exact a sum of products must be."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

import zmlx
import zmlx.language as tl

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}


@zmlx.jit
def product_kernel(a, b, c, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    i, j, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    x = tl.load(a + i[:, None] * K + k[None, :], mask=(i[:, None] < M) & (k[None, :] < K), other=0.0)
    y = tl.load(b + k[:, None] * N + j[None, :], mask=(k[:, None] < K) & (j[None, :] < N), other=0.0)
    at, inside = i[:, None] * N + j[None, :], (i[:, None] < M) & (j[None, :] < N)
    tl.store(out + at, tl.dot(x, y, tl.load(c + at, mask=inside, other=0.0)), mask=inside)


@zmlx.jit
def transposed_kernel(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr, LOADS: tl.constexpr):
    """a: K×M, b: N×K; transposed by the addresses of the loads, by tl.trans, or after they were computed with."""
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    if LOADS:
        x, y = tl.load(a + k[None, :] * M + i[:, None]), tl.load(b + j[None, :] * K + k[:, None])
    else:
        x, y = tl.load(a + k[:, None] * M + i[None, :]).T, tl.trans(tl.load(b + j[:, None] * K + k[None, :]))
    tl.store(out + i[:, None] * N + j[None, :], tl.dot(x, y))


@zmlx.jit
def loop_kernel(a, b, out, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    i, j, k = tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        x = tl.load(a + i[:, None] * K + start + k[None, :])
        y = tl.load(b + (start + k[:, None]) * BN + j[None, :])
        acc = tl.dot(x, y, acc)
    tl.store(out + i[:, None] * BN + j[None, :], acc)


@zmlx.jit
def chain_kernel(q, k, v, out, sums, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    """(2 q kᵀ, rounded) v and the sums of its rows, by way of columns of the first product."""
    i, j, d = tl.arange(0, M), tl.arange(0, N), tl.arange(0, D)
    x = tl.load(q + i[:, None] * D + d[None, :])
    y = tl.load(k + j[:, None] * D + d[None, :])
    s = tl.dot(x, tl.trans(y)) * 2
    tl.store(sums + i, tl.sum(s, axis=1))
    z = tl.load(v + j[:, None] * D + d[None, :])
    tl.store(out + i[:, None] * D + d[None, :], tl.dot(s.to(z.dtype), z))


@zmlx.jit
def weights_kernel(q, s, out, N: tl.constexpr, D: tl.constexpr):
    """Products of the transpose of a product: sᵀ (s q) for s kept in registers."""
    i, d = tl.arange(0, N), tl.arange(0, D)
    left = tl.load(s + i[:, None] * N + i[None, :])
    x = tl.load(q + i[:, None] * D + d[None, :])
    p = tl.dot(left, left) + 1
    tl.store(out + i[:, None] * D + d[None, :], tl.dot(tl.trans(p), tl.dot(p, x)))


def numbers(seed: int, *shape: int, dtype: str = "float32") -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32)).astype(DTYPES[dtype])


def exact(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32)).astype(np.float64)


def assert_sum(got: mx.array, want: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    """Each element is a float32 sum of so many products, whose magnitudes sum to `magnitude`, in any order."""
    error = np.abs(np.array(got).astype(np.float64) - want)
    assert (error <= terms * 2.0**-24 * magnitude).all(), error.max()


def text(kernel: Any, *args: Any, **kwargs: Any) -> str:
    return str(kernel.compile(*args, target="metal", **kwargs).source)
