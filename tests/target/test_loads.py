"""When loads are made, and in which layout: as early as they are written, pairs at once; the same results as ever."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl

N = 512


@zmlx.jit
def groups_kernel(x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    x = tl.load(x_ptr + at)
    y = tl.load(x_ptr + N + at)
    tl.store(out_ptr + at, x * 2)
    tl.store(out_ptr + N + at, y * 3)


@zmlx.jit
def weighted_kernel(x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, N)
    weight = tl.load(x_ptr + N + at)
    x = tl.load(x_ptr + at)
    tl.store(out_ptr + at, (x - tl.sum(x, axis=0)) * weight)
    tl.store(out_ptr + N + at, x)


@zmlx.jit
def pairs_kernel(x_ptr, out_ptr, N: tl.constexpr):
    at = tl.arange(0, 2 * N)
    left, right = tl.split(tl.reshape(tl.load(x_ptr + at), (N, 2)))
    tl.store(out_ptr + at, tl.reshape(tl.join(left - right, left + right), (2 * N,)))


@zmlx.jit
def looped_pairs_kernel(x_ptr, out_ptr, N: tl.constexpr):
    pairs = tl.arange(0, N)
    factor = tl.exp2((pairs % 4).to(tl.float32))
    for i in range(tl.num_programs(0)):
        at = i * 2 * N + tl.arange(0, 2 * N)
        left, right = tl.split(tl.reshape(tl.load(x_ptr + at), (N, 2)))
        tl.store(out_ptr + at, tl.reshape(tl.join(left * factor, right * factor), (2 * N,)))


def groups(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:N] * 2, x[N:] * 3])


def weighted(x: np.ndarray) -> np.ndarray:
    return np.concatenate([(x[:N] - x[:N].sum()) * x[N:], x[:N]])


def pairs(x: np.ndarray) -> np.ndarray:
    a, b = x.reshape(N, 2).T
    return np.stack([a - b, a + b], axis=-1).reshape(-1)


def looped_pairs(x: np.ndarray) -> np.ndarray:
    return (x.reshape(N, 2) * np.exp2(np.arange(N) % 4)[:, None]).reshape(-1).astype(np.float32)


KERNELS = {
    "groups": (groups_kernel, groups),
    "weighted": (weighted_kernel, weighted),
    "pairs": (pairs_kernel, pairs),
    "looped_pairs": (looped_pairs_kernel, looped_pairs),
}


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("name", KERNELS)
def test_results(name: str, dtype: mx.Dtype, each_target: str) -> None:
    kernel, want = KERNELS[name]
    x = np.random.default_rng(0).integers(-2, 3, 2 * N).astype(np.float32)
    with zmlx.use_target(each_target):
        out = kernel[(1,)](mx.array(x).astype(dtype), zmlx.empty((2 * N,), dtype), N=N)
    np.testing.assert_array_equal(np.array(out.astype(mx.float32)), want(x))


def order(kernel: Any) -> str:
    """The vector loads (l), vector stores (s) and barriers (b) of a kernel's text, in their order."""
    x = zmlx.ArraySpec((2 * N,), mx.float32)
    text = kernel.compile(x, x, N=N, target="cuda").source.partition('extern "C"')[2]
    marks = {"zm_vload": "l", "zm_vstore": "s", "__syncthreads": "b"}
    return "".join(mark for line in text.splitlines() for word, mark in marks.items() if word in line)


def test_loads_come_where_they_are_written() -> None:
    assert order(groups_kernel) == "llss"
    assert order(weighted_kernel) == "llbss"


def test_pairs_are_loaded_once_and_never_change_their_layout() -> None:
    assert order(pairs_kernel) == "ls"
    assert order(looped_pairs_kernel) == "lls"  # the first iteration's, the next one's
