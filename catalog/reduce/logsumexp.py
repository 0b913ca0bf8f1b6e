"""log(sum(exp(x))) along the last axis: one tile a row where it fits, else one pass that carries maximum and sum (CPU: two)."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.catalog.norm.softmax import exp_of_gap


@zmlx.jit
def finite(top):
    """The maximum to subtract before exp: 0 for infinities, whose difference would be NaN."""
    return tl.where(tl.abs(top) == float("inf"), 0.0, top)


@zmlx.jit
def _tile_logsumexp(x_ptr, n_cols, BLOCK: tl.constexpr):
    """The log of the sum of exp of n_cols elements, at most BLOCK."""
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + cols, mask=cols < n_cols, other=-float("inf")).to(tl.float32)
    shift = finite(tl.max(x, axis=0))
    return tl.log(tl.sum(exp_of_gap(x - shift, x_ptr.dtype.element_ty), axis=0)) + shift


@zmlx.jit
def _online_logsumexp(x_ptr, n_cols, BLOCK: tl.constexpr):
    """The log of the sum of exp of n_cols elements, in one pass over tiles, four at a time.

    Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867: each lane keeps the largest value
    that it saw and the sum of exponentials below it; four tiles share one rescaling of that sum.
    """
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    cols = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    whole = n_cols // (4 * BLOCK) * (4 * BLOCK)
    for i in range(0, whole, 4 * BLOCK):
        x0 = tl.load(x_ptr + i + cols).to(tl.float32)
        x1 = tl.load(x_ptr + i + BLOCK + cols).to(tl.float32)
        x2 = tl.load(x_ptr + i + 2 * BLOCK + cols).to(tl.float32)
        x3 = tl.load(x_ptr + i + 3 * BLOCK + cols).to(tl.float32)
        higher = tl.maximum(tl.maximum(tl.maximum(tl.maximum(top, x0), x1), x2), x3)
        shift = finite(higher)
        below = exp_of_gap(x0 - shift, dtype) + exp_of_gap(x1 - shift, dtype)
        below += exp_of_gap(x2 - shift, dtype) + exp_of_gap(x3 - shift, dtype)
        total = total * exp_of_gap(top - shift, dtype) + below
        top = higher
    for i in range(whole, n_cols, BLOCK):
        x = tl.load(x_ptr + i + cols, mask=i + cols < n_cols, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(top, x)
        shift = finite(higher)
        total = total * exp_of_gap(top - shift, dtype) + exp_of_gap(x - shift, dtype)
        top = higher
    shift = finite(tl.max(top, axis=0))
    return tl.log(tl.sum(total * tl.exp(top - shift), axis=0)) + shift


@zmlx.jit
def _two_pass_logsumexp(x_ptr, n_cols, BLOCK: tl.constexpr):
    """The log of the sum of exp of n_cols elements: one pass for the maximum, one for the sum, over tiles."""
    dtype: tl.constexpr = x_ptr.dtype.element_ty
    cols = tl.arange(0, BLOCK)
    top = tl.full((BLOCK,), -float("inf"), tl.float32)
    for i in range(0, n_cols, BLOCK):
        top = tl.maximum(top, tl.load(x_ptr + i + cols, mask=i + cols < n_cols, other=-float("inf")).to(tl.float32))
    shift = finite(tl.max(top, axis=0))
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n_cols, BLOCK):
        x = tl.load(x_ptr + i + cols, mask=i + cols < n_cols, other=-float("inf")).to(tl.float32)
        total += exp_of_gap(x - shift, dtype)
    return tl.log(tl.sum(total, axis=0)) + shift


@zmlx.jit
def logsumexp_kernel(x_ptr, out_ptr, n_cols, LOGSUMEXP: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    tl.store(out_ptr + row, LOGSUMEXP(x_ptr + row.to(tl.int64) * n_cols, n_cols, BLOCK))


ONE_TILE = 8192
# On the CPU exponentials bound the time and the row stays in the second cache, so two passes with one exponential an element
# beat one pass with rescaling; a tile that is only reduced is read again rather than stored.
ONE_CPU_TILE = 65536


def config(n_cols: int) -> dict[str, Any]:
    """The row's tile: its own size rounded up, at most ONE_TILE (8 to 32 elements a thread) or ONE_CPU_TILE; else 2048 in a loop."""
    cpu = zmlx.default_target() == "cpu"
    if n_cols > (ONE_CPU_TILE if cpu else ONE_TILE):
        if cpu:
            return {"LOGSUMEXP": _two_pass_logsumexp, "BLOCK": 2048}
        return {"LOGSUMEXP": _online_logsumexp, "BLOCK": 2048, "num_warps": 8}
    block = zmlx.next_power_of_2(n_cols)
    return {"LOGSUMEXP": _tile_logsumexp, "BLOCK": block, "num_warps": min(8, max(1, block // 256))}


def logsumexp(x: mx.array) -> mx.array:
    """log(exp(x[..., 0]) + … + exp(x[..., n-1])), computed in float32 from x - max(x) and rounded once.

    x: (..., n); float32, float16 or bfloat16. Returns shape (...) and that dtype; empty rows give -inf.
    """
    checks.floats("logsumexp", x=x)
    checks.rank("logsumexp", "x", x, 1)
    if x.size == 0:
        return mx.full(x.shape[:-1], -float("inf"), x.dtype)
    n_cols = x.shape[-1]
    return logsumexp_kernel[(x.size // n_cols,)](x, zmlx.empty(x.shape[:-1], x.dtype), n_cols, **config(n_cols))


def logsumexp_reference(x: mx.array) -> mx.array:
    if x.size == 0:
        return mx.full(x.shape[:-1], -float("inf"), x.dtype)
    top = mx.max(x, axis=-1, keepdims=True)
    return mx.log(mx.sum(mx.exp(x - top), axis=-1)) + top[..., 0]


def _case(*shape: int, scale: float = 1.0) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (scale * r.standard_normal(shape),))


CASES = (
    _case(1, 1),
    _case(3, 7),
    _case(2, 3, 128),
    _case(1000, scale=10.0),
    _case(2, 1024),
    _case(1, 8193),
    _case(2, 20000, scale=20.0),
    _case(2, 0),
    _case(0, 8),
)
ENTRY = Entry(
    "logsumexp",
    logsumexp,
    logsumexp_reference,
    baseline=lambda x: mx.logsumexp(x, axis=-1),
    kernels=(logsumexp_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
