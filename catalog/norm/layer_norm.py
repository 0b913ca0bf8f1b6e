"""LayerNorm along the last axis: one tile a row where it fits, else Welford's moments in a loop and a second pass."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.catalog.norm import rms_norm
from zmlx.catalog.norm.rms_norm import ONE_TILE


@zmlx.jit
def _affine(x, weight_ptr, bias_ptr, cols, mask):
    if weight_ptr is not None:
        x = x * tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        x = x + tl.load(bias_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    return x


@zmlx.jit
def layer_norm_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, n_cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + start + cols, mask=mask, other=0.0).to(tl.float32)
    # Weight and bias are on their way while the row is summed.
    if weight_ptr is not None:
        weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + cols, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / n_cols
    gap = tl.where(mask, x - mean, 0.0)
    y = (x - mean) * tl.rsqrt(tl.sum(gap * gap, axis=0) / n_cols + eps)
    if weight_ptr is not None:
        y = y * weight
    if bias_ptr is not None:
        y = y + bias
    tl.store(out_ptr + start + cols, y, mask=mask)


@zmlx.jit
def layer_norm_loop_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, n_cols, eps, BLOCK: tl.constexpr):
    # Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962): each
    # lane keeps the mean of what it saw and the sum of squared distances from it; the lanes are merged after the loop.
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    means = tl.zeros((BLOCK,), tl.float32)
    squares = tl.zeros((BLOCK,), tl.float32)
    seen = 0.0
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        seen += 1.0
        gap = tl.where(mask, x - means, 0.0)
        means += gap * (1.0 / seen)
        squares += gap * (x - means)
    # Of the last tile, only some lanes held an element.
    counts = tl.where((n_cols - 1) % BLOCK >= cols, seen, seen - 1.0)
    mean = tl.sum(means * counts, axis=0) / n_cols
    gaps = means - mean
    scale = tl.rsqrt(tl.sum(squares + gaps * gaps * counts, axis=0) / n_cols + eps)
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = (tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32) - mean) * scale
        tl.store(out_ptr + start + i + cols, _affine(x, weight_ptr, bias_ptr, i + cols, mask), mask=mask)


ONE_WARP = 1024  # elements of a row that one warp sums alone: its two sums cost no barrier


def config(n_cols: int) -> dict[str, int]:
    """RMSNorm's tiles; short rows by one warp."""
    options = rms_norm.config(n_cols)
    return options | {"num_warps": 1} if n_cols <= ONE_WARP else options


def layer_norm(x: mx.array, weight: mx.array | None = None, bias: mx.array | None = None, eps: float = 1e-5) -> mx.array:
    """(x - mean(x)) / sqrt(var(x) + eps) · weight + bias along the last axis, computed in float32 and rounded once.

    x: (..., n); weight and bias: (n,) or None; float32, float16 or bfloat16, the same for all. var is the mean squared
    distance from the mean. Returns x's shape and dtype. Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450.
    """
    given = {name: a for name, a in (("weight", weight), ("bias", bias)) if a is not None}
    checks.floats("layer_norm", x=x, **given)
    checks.rank("layer_norm", "x", x, 1)
    n_cols = x.shape[-1]
    for name, array in given.items():
        checks.shape("layer_norm", name, array, (n_cols,))
    if x.size == 0:
        return mx.zeros_like(x)
    kernel = layer_norm_kernel if n_cols <= ONE_TILE else layer_norm_loop_kernel
    return kernel[(x.size // n_cols,)](x, weight, bias, zmlx.empty_like(x), n_cols, float(eps), **config(n_cols))


def layer_norm_reference(x: mx.array, weight: mx.array | None = None, bias: mx.array | None = None, eps: float = 1e-5) -> mx.array:
    x = x - mx.mean(x, axis=-1, keepdims=True)
    x = x * mx.rsqrt(mx.mean(x * x, axis=-1, keepdims=True) + eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _case(*shape: int, given: str = "wb", scale: float = 1.0, **kwargs: float) -> Case:
    def args(r: Any) -> tuple[Any, ...]:
        x, weight, bias = scale * (r.standard_normal(shape) + 1), 1 + 0.1 * r.standard_normal(shape[-1]), r.standard_normal(shape[-1])
        return x, weight if "w" in given else None, bias if "b" in given else None

    name = "x".join(map(str, shape)) + ("" if given == "wb" else f"-{given}") + "".join(f"-{k}{v}" for k, v in kwargs.items())
    return Case(name, args, kwargs)


CASES = (
    _case(1, 1),
    _case(3, 7),
    _case(2, 3, 64, eps=0.5),
    _case(4, 1000, given="w"),
    _case(2, 1024, given="none", scale=100.0),
    _case(1, 8193),
    _case(2, 10000, given="none"),
    _case(0, 8),
)
ENTRY = Entry(
    "layer_norm",
    layer_norm,
    layer_norm_reference,
    baseline=lambda x, weight=None, bias=None, eps=1e-5: mx.fast.layer_norm(x, weight, bias, eps),
    kernels=(layer_norm_kernel, layer_norm_loop_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
