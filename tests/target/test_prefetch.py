"""Loads that loops make an iteration ahead: the same results with and without, whatever the trip count."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl

N = 1000


@zmlx.jit
def masked_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    most = tl.full((BLOCK,), -1.0, tl.float32)
    for i in range(0, n, BLOCK):
        x = tl.load(x_ptr + i + cols, mask=i + cols < n, other=0.0)
        y = tl.load(y_ptr + i + cols, mask=i + cols < n, other=1.0)
        total += x * y
        most = tl.maximum(most, x)
    tl.store(out_ptr + cols, total + most)


@zmlx.jit
def carried_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    at = x_ptr + cols
    left = n
    carry = 0.0
    for _ in tl.range(0, tl.cdiv(n, BLOCK)):
        x = tl.load(at, mask=cols < left, other=0.0)
        carry += tl.sum(x, axis=0)
        at += BLOCK
        left -= BLOCK
    tl.store(out_ptr + cols, carry + tl.load(y_ptr + cols))


@zmlx.jit
def strided_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    rows = tl.arange(0, 8)[:, None]
    cols = tl.arange(0, BLOCK // 8)[None, :]
    total = tl.zeros((8, BLOCK // 8), tl.float32)
    for k in range(n // BLOCK - 1, -1, -1):
        at = (k * 8 + rows) * (BLOCK // 8) + cols
        total = total * 0.5 + tl.load(x_ptr + at) * tl.load(y_ptr + at)
    tl.store(out_ptr + rows * (BLOCK // 8) + cols, total)


@zmlx.jit
def written_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    tl.store(out_ptr + cols, tl.load(x_ptr + cols))
    for i in range(0, n, BLOCK):
        before = tl.load(out_ptr + (cols + i) % BLOCK)  # written in the loop: to be loaded when its turn comes
        y = tl.load(y_ptr + i + cols, mask=i + cols < n, other=1.0)
        tl.store(out_ptr + cols, before * 0.5 + y)


KERNELS = {"masked": masked_kernel, "carried": carried_kernel, "strided": strided_kernel, "written": written_kernel}


def want(name: str, x: np.ndarray, y: np.ndarray, n: int, block: int) -> np.ndarray:
    count = -(-n // block)
    a, b = (np.concatenate([v[:n], np.full(count * block - n, pad, np.float32)]).reshape(count, block) for v, pad in ((x, 0), (y, 1)))
    if name == "masked":
        return (a * b).sum(0, dtype=np.float32) + np.maximum(a.max(0, initial=-1), -1)
    if name == "carried":
        return a.sum(dtype=np.float32) + y[:block]
    if name == "strided":
        total = np.zeros(block, np.float32)
        for k in reversed(range(n // block)):
            part = slice(k * block, (k + 1) * block)
            total = total * np.float32(0.5) + x[part] * y[part]
        return total
    out = x[:block]
    for i in range(count):
        out = np.roll(out, -i * block % block) * np.float32(0.5) + b[i]
    return out


@pytest.mark.parametrize("num_stages", [None, 1, 2, 4])
@pytest.mark.parametrize("n", [0, 100, 256, 1000])
@pytest.mark.parametrize("name", KERNELS)
def test_loops(name: str, n: int, num_stages: int | None, each_target: str) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.integers(-4, 5, N + 256).astype(np.float32) for _ in range(2))
    with zmlx.use_target(each_target):
        out = KERNELS[name][(1,)](mx.array(x), mx.array(y), zmlx.empty((256,), mx.float32), n, BLOCK=256, num_stages=num_stages)
    np.testing.assert_array_equal(np.array(out), want(name, x, y, n, 256))


def loads_before_the_loop(kernel: Any, target: str, num_stages: int | None) -> int:
    x = zmlx.ArraySpec((N,), mx.float32)
    text = kernel.compile(x, x, x, N, BLOCK=256, target=target, num_stages=num_stages).source
    return text.partition('extern "C"')[2 if target == "cuda" else 0].partition("+= 256")[0].count("zm_vload")


def test_who_loads_ahead() -> None:
    assert loads_before_the_loop(masked_kernel, "cuda", None) == 2
    assert loads_before_the_loop(masked_kernel, "cuda", 1) == 0
    assert loads_before_the_loop(masked_kernel, "metal", None) == 0
    assert loads_before_the_loop(masked_kernel, "metal", 2) == 2
