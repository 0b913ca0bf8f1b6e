"""Operands that Hopper's copying hardware brings: which loads are boxes of a matrix, and that they arrive as others do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

from dots import both, dot_is

import zmlx
import zmlx.language as tl
from zmlx.runtime import device

needs_cuda = pytest.mark.skipif(bool(device.missing("cuda")), reason=f"no cuda: {device.missing('cuda')}")
BM, BN, BK = 128, 64, 64


@zmlx.jit
def product_kernel(a_ptr, b_ptr, c_ptr, M, N, K, sa, sb, first, ODD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """c = a b over k from `first` on. ODD: what makes it more or less than a box of a matrix."""
    batch = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    ks = tl.arange(0, BK)
    a_ptr += batch * M * sa
    acc = tl.zeros((BM, BN), tl.float32)
    for k in range(first, K, BK):
        at = k + ks
        a_mask = (rows[:, None] < M) & (at[None, :] < K)
        b_mask = (at[:, None] < K) & (cols[None, :] < N)
        a_at = rows[:, None] * sa + at[None, :]
        b_at = at[:, None] * sb + cols[None, :]
        if ODD == "at most":
            a_mask = (rows[:, None] <= M - 1) & (K > at[None, :])  # noqa: SIM300
        elif ODD == "twice":
            a_mask = a_mask & (rows[:, None] < M - 1) & (at[None, :] < K - 3)
        elif ODD == "lower":
            a_mask = a_mask & (rows[:, None] >= 3)
        elif ODD == "either":
            b_mask = (at[:, None] < K) & ((cols[None, :] < N) | (cols[None, :] < 3))
        elif ODD == "modulo":
            a_at = (rows % M)[:, None] * sa + at[None, :]
        elif ODD == "open":
            b_mask = cols[None, :] < N
        elif ODD == "square":
            b_at = (at * at // (at + 1))[:, None] * sb + cols[None, :]
        other = 1.0 if ODD == "ones" else 0.0
        a = tl.load(a_ptr + a_at, mask=a_mask, other=0.0)
        b = tl.load(b_ptr + b_at, mask=b_mask, other=other)
        acc = tl.dot(a, b, acc, input_precision="ieee")
    c_at = (batch * M + rows[:, None]) * N + cols[None, :]
    tl.store(c_ptr + c_at, acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


def text(odd: str, dtype: mx.Dtype = mx.float16, **options: Any) -> str:
    a = zmlx.ArraySpec((512, 512), dtype)
    sizes = {"BM": BM, "BN": BN, "BK": BK, "num_warps": 4} | options
    compiled = product_kernel.compile(a, a, a, 512, 512, 512, 512, 512, 0, ODD=odd, target="cuda", **sizes)
    assert (compiled.workspace_bytes > 0) == ("zm_bulk_map<128" in compiled.source)
    return compiled.source


@pytest.mark.parametrize("odd", ["", "at most", "twice", "open"])
def test_boxes(odd: str) -> None:
    source = text(odd)
    assert "zm_bulk_map<128, 128, 2>(zm_bulk_at(zm_workspace, 0, 2)" in source and "zm_bulk_map<128, 64, 2>(" in source
    assert "zm_copy_async16(" in source, "other machines, and arrays that are not aligned, need copies by threads"


@pytest.mark.parametrize("odd", ["lower", "either", "modulo", "square", "ones"])
def test_what_is_no_box(odd: str) -> None:
    source = text(odd)
    assert "zm_bulk_map<128" not in source and "zm_workspace" not in source


def test_small_tiles_and_the_knob() -> None:
    assert "zm_bulk_map<128" not in text("", BM=32, BN=32)
    with dot_is("threads"):
        assert "zm_bulk_map<128" not in text("")
    assert "zm_bulk_map<128" not in text("", num_stages=3), "one iteration ahead"


def test_explained() -> None:
    a = zmlx.ArraySpec((512, 512), mx.float16)
    for odd, words in (("", "one thread asks the copying hardware"), ("modulo", "not all are boxes of a matrix with masks at its edges")):
        said = str(product_kernel.explain(a, a, a, 512, 512, 512, 512, 512, 0, ODD=odd, BM=BM, BN=BN, BK=BK, num_warps=4, target="cuda"))
        assert words in " ".join(said.split())


def run(kernel: Any, m: int, n: int, k: int, dtype: mx.Dtype, pad: int = 0, start: int = 0, first: int = 0, batch: int = 1, odd: str = "",
        **options: Any) -> tuple[mx.array, np.ndarray]:  # fmt: skip
    """The product by a kernel, and by NumPy. pad: elements between rows; start: where the first row begins."""
    r = np.random.default_rng(m + n + k)
    sa, sb = k + pad, n + pad
    a = mx.array(r.standard_normal(batch * m * sa + start).astype(np.float32)).astype(dtype)
    b = mx.array(r.standard_normal((k + BK) * sb + start).astype(np.float32)).astype(dtype)
    x = np.array(a.astype(mx.float32), np.float64)[start:].reshape(batch, m, sa)[..., first:k]
    y = np.array(b.astype(mx.float32), np.float64)[start:].reshape(k + BK, sb)[first:k, :n]
    if odd == "twice":
        x[:, m - 1 :] = 0
        x[..., max(k - 3 - first, 0) :] = 0
    sizes = {"BM": BM, "BN": BN, "BK": BK, "num_warps": 4} | options
    grid = (zmlx.cdiv(m, sizes["BM"]), zmlx.cdiv(n, sizes["BN"]), batch)
    out = zmlx.empty((batch, m, n), mx.float32)
    got = kernel[grid](a[start:], b[start:], out, m, n, k, sa, sb, first, ODD=odd, **sizes)
    return got, x @ y


def check(got: mx.array, want: np.ndarray) -> None:
    assert np.abs(np.array(got, np.float64) - want).max() < 1e-4 * max(1.0, np.abs(want).max())


@needs_cuda
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize(
    "case",
    [
        {"m": 256, "n": 128, "k": 512},
        {"m": 200, "n": 72, "k": 328},
        {"m": 130, "n": 100, "k": 301, "pad": 3},
        {"m": 130, "n": 100, "k": 301, "pad": 4},
        {"m": 256, "n": 128, "k": 512, "start": 8},
        {"m": 256, "n": 128, "k": 512, "start": 1},
        {"m": 1, "n": 8, "k": 1000},
        {"m": 256, "n": 128, "k": 192},
        {"m": 256, "n": 128, "k": 520, "first": 200},
        {"m": 136, "n": 128, "k": 512, "batch": 3},
        {"m": 300, "n": 264, "k": 648, "odd": "at most"},
        {"m": 300, "n": 264, "k": 648, "odd": "twice"},
        {"m": 300, "n": 264, "k": 640, "odd": "open"},
        {"m": 520, "n": 520, "k": 520, "BM": 256, "num_warps": 8},
        {"m": 520, "n": 520, "k": 520, "BN": 256, "num_warps": 8},
        {"m": 520, "n": 520, "k": 520, "BK": 32, "BN": 256, "num_stages": 5},
        {"m": 520, "n": 520, "k": 520, "BM": 64, "BN": 128, "num_warps": 2},
    ],
    ids=str,
)
def test_products(case: dict[str, Any], dtype: mx.Dtype) -> None:
    """Aligned or not, ragged or not, long loops and short: all ways agree with NumPy."""
    with zmlx.use_target("cuda"):
        for got, want in both(product_kernel, lambda kernel: run(kernel, dtype=dtype, **case)):
            check(got, want)


@needs_cuda
def test_launches_do_not_share_maps() -> None:
    """Many launches of one kernel in one graph, each with matrices of its own."""
    with zmlx.use_target("cuda"):
        pairs = [run(product_kernel, 128 + 8 * i, 64 + 8 * i, 512, mx.float16) for i in range(24)]
        mx.eval([got for got, _ in pairs])
        for got, want in pairs:
            check(got, want)


@needs_cuda
def test_maps_are_made_anew_when_a_compiled_graph_runs_again() -> None:
    with zmlx.use_target("cuda"):
        a, b = mx.random.normal((256, 512)).astype(mx.float16), mx.random.normal((512 + BK, 128)).astype(mx.float16)

        def step(a: mx.array, b: mx.array) -> mx.array:
            sizes = {"BM": BM, "BN": BN, "BK": BK, "num_warps": 4}
            return product_kernel[2, 2, 1](a, b, zmlx.empty((1, 256, 128), mx.float32), 256, 128, 512, 512, 128, 0, ODD="", **sizes)

        compiled = mx.compile(step)
        for i in range(3):
            x, y = a * (i + 1), b + i
            want = np.array(x.astype(mx.float32), np.float64) @ np.array(y.astype(mx.float32), np.float64)[:512]
            check(compiled(x, y)[0], want)
