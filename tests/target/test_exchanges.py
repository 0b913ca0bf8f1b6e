"""Exchanges through threadgroup memory in every kind of control flow: right, without races, and with few barriers.

On metal-sim each launch is checked: memory that one thread reads while another writes it is a report.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl

N = 256


@zmlx.jit
def straight_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    x = x - tl.max(x, axis=0)
    x = x + tl.sum(x, axis=0) % 17
    x = x - tl.min(x, axis=0) % 5
    tl.store(out_ptr + at, tl.cumsum(x, axis=0) + tl.max(x, axis=0))


def straight(x: np.ndarray, n: int) -> np.ndarray:
    x = x - x.max()
    x = x + np.fmod(x.sum(), 17)
    x = x - np.fmod(x.min(), 5)
    return np.cumsum(x) + x.max()


@zmlx.jit
def one_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    for _ in range(n):
        x = tl.sum(x, axis=0) % 17 - x
    tl.store(out_ptr + at, x)


def one(x: np.ndarray, n: int) -> np.ndarray:
    for _ in range(n):
        x = np.fmod(x.sum(), 17) - x
    return x


@zmlx.jit
def two_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    for _ in range(n):
        x = tl.sum(x, axis=0) % 17 - x
        x = tl.max(x, axis=0) - x
    tl.store(out_ptr + at, x + tl.min(x, axis=0))


def two(x: np.ndarray, n: int) -> np.ndarray:
    for _ in range(n):
        x = np.fmod(x.sum(), 17) - x
        x = x.max() - x
    return x + x.min()


@zmlx.jit
def nested_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    for i in range(n):
        x = tl.max(x, axis=0) - x
        for j in range(i):
            x = tl.sum(x, axis=0) % 17 - x
            if j % 2 == 1:
                x = tl.cumsum(x, axis=0) % 5
        if i == 1:
            x = x + tl.min(x, axis=0)
        else:
            x = x - 1
        x = x + tl.max(x, axis=0) % 3
    tl.store(out_ptr + at, x)


def nested(x: np.ndarray, n: int) -> np.ndarray:
    for i in range(n):
        x = x.max() - x
        for j in range(i):
            x = np.fmod(x.sum(), 17) - x
            if j % 2 == 1:
                x = np.fmod(np.cumsum(x), 5)
        x = x + x.min() if i == 1 else x - 1
        x = x + np.fmod(x.max(), 3)
    return x


@zmlx.jit
def while_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    while tl.max(x, axis=0) > n:
        x = x - 1 - tl.sum(x, axis=0) % 2
    tl.store(out_ptr + at, x + tl.min(x, axis=0))


def while_(x: np.ndarray, n: int) -> np.ndarray:
    while x.max() > n:
        x = x - 1 - np.fmod(x.sum(), 2)
    return x + x.min()


@zmlx.jit
def together_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    mean = tl.sum(x, axis=0) / n
    squares = tl.sum(x * x, axis=0)  # needs no mean: one barrier for both, and the two below
    best, where = tl.max(x, axis=0, return_indices=True)
    low = tl.min(x + tl.load(x_ptr + at) * n, axis=0)
    tl.store(out_ptr + at, tl.where(at == where, squares, mean * n) + best * low)


def together(x: np.ndarray, n: int) -> np.ndarray:
    mean = x.sum() / np.float32(n) * n if n else np.float32(np.nan)
    out = np.full_like(x, mean)
    out[x.argmax()] = (x * x).sum()
    return out + x.max() * (x + x * n).min()


@zmlx.jit
def stored_kernel(x_ptr, out_ptr, n, N: tl.constexpr):
    at = tl.arange(0, N)
    total = tl.sum(tl.load(x_ptr + at), axis=0)
    tl.store(out_ptr + at, tl.load(x_ptr + at) + n)
    tl.debug_barrier()
    tl.store(out_ptr + at, total + tl.sum(tl.load(out_ptr + (at + 1) % N), axis=0))  # not before the store


def stored(x: np.ndarray, n: int) -> np.ndarray:
    return np.full_like(x, x.sum() + (x + n).sum())


KERNELS = {
    "straight": (straight_kernel, straight),
    "one": (one_kernel, one),
    "two": (two_kernel, two),
    "nested": (nested_kernel, nested),
    "while": (while_kernel, while_),
    "together": (together_kernel, together),
    "stored": (stored_kernel, stored),
}


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("warps", [1, 4, 16])
@pytest.mark.parametrize("name", KERNELS)
def test_exchanges(name: str, warps: int, n: int, each_target: str) -> None:
    kernel, want = KERNELS[name]
    x = np.random.default_rng(n).integers(-9, 10, N).astype(np.float32)
    with zmlx.use_target(each_target):
        out = kernel[(1,)](mx.array(x), zmlx.empty((N,), mx.float32), n, N=N, num_warps=warps)
    np.testing.assert_array_equal(np.array(out), want(x, n))


def barriers(kernel: Any, **constants: Any) -> int:
    x = zmlx.ArraySpec((N,), mx.float32)
    text = kernel.compile(x, x, 3, N=N, **constants, target="cuda").source
    return text[text.index('extern "C"') :].count("__syncthreads()")


def test_exchanges_that_take_turns_need_one_barrier_each() -> None:
    assert barriers(straight_kernel) == 5
    assert barriers(one_kernel) == 2  # the next iteration writes what this one read
    assert barriers(two_kernel) == 3


def test_reductions_that_do_not_need_each_other_share_a_barrier() -> None:
    assert barriers(together_kernel) == 1
