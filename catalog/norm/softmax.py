"""Softmax along the last axis: one tile a row where it fits, else two passes over tiles."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry

LOG2_E = tl.constexpr(1.4426950408889634)


@zmlx.jit
def exp_of_gap(x, dtype: tl.constexpr):
    """exp(x) of what a maximum is subtracted from, for results of a dtype.

    A half type gets it as a power of two, one instruction on a GPU: off by |x| · 2⁻²³ of itself, far below what is kept.
    """
    if dtype == tl.float32:
        e = tl.exp(x)
    else:
        e = tl.exp2(x * LOG2_E)
    return e


@zmlx.jit
def softmax_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + start + cols, mask=mask, other=-float("inf")).to(tl.float32)
    e = exp_of_gap(x - tl.max(x, axis=0), x_ptr.dtype.element_ty)
    tl.store(out_ptr + start + cols, e * (1.0 / tl.sum(e, axis=0)), mask=mask)


@zmlx.jit
def softmax_loop_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    # Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867: each lane keeps the
    # largest value it saw and the sum of exponentials below it; both are merged once, after the loop.
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n_cols, BLOCK):
        x = tl.load(x_ptr + start + i + cols, mask=i + cols < n_cols, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, x)
        shift = tl.where(higher == -float("inf"), 0.0, higher)
        total = total * exp_of_gap(top - shift, x_ptr.dtype.element_ty) + exp_of_gap(x - shift, x_ptr.dtype.element_ty)
        top = higher
    peak = tl.max(top, axis=0)
    scale = 1.0 / tl.sum(total * tl.exp(top - peak), axis=0)
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=-float("inf")).to(tl.float32)
        tl.store(out_ptr + start + i + cols, exp_of_gap(x - peak, x_ptr.dtype.element_ty) * scale, mask=mask)


ONE_TILE = 8192


def config(n_cols: int) -> dict[str, int]:
    """The row's tile: its own size rounded up, or 4096 in a loop when it is longer than ONE_TILE; 16 to 32 elements a thread."""
    block = zmlx.next_power_of_2(n_cols) if n_cols <= ONE_TILE else 4096
    return {"BLOCK": block, "num_warps": min(8, max(1, block // 512))}


def softmax(x: mx.array) -> mx.array:
    """exp(x) / sum(exp(x)) along the last axis, computed in float32 from x - max(x).

    x: (..., n); float32, float16 or bfloat16. Returns that shape and dtype. A row of -inf alone gives NaN, as in MLX.
    """
    checks.floats("softmax", x=x)
    checks.rank("softmax", "x", x, 1)
    if x.size == 0:
        return mx.zeros_like(x)
    n_cols = x.shape[-1]
    kernel = softmax_kernel if n_cols <= ONE_TILE else softmax_loop_kernel
    return kernel[(x.size // n_cols,)](x, zmlx.empty_like(x), n_cols, **config(n_cols))


def softmax_reference(x: mx.array) -> mx.array:
    e = mx.exp(x - mx.max(x, axis=-1, keepdims=True))
    return e / mx.sum(e, axis=-1, keepdims=True)


def _case(*shape: int, scale: float = 1.0) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (scale * r.standard_normal(shape),))


CASES = (
    _case(1, 1),
    _case(3, 7),
    _case(2, 3, 128),
    _case(4, 1000, scale=10.0),
    _case(2, 1024),
    _case(1, 8193),
    _case(2, 20000, scale=20.0),
    _case(0, 8),
)
ENTRY = Entry(
    "softmax",
    softmax,
    softmax_reference,
    baseline=lambda x: mx.softmax(x, axis=-1, precise=True),
    kernels=(softmax_kernel, softmax_loop_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
