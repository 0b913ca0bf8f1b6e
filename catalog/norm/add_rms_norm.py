"""Residual sum and RMSNorm in one pass: what stands between two blocks of a transformer."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.catalog.norm.rms_norm import ONE_TILE, config


@zmlx.jit
def add_rms_norm_kernel(x_ptr, residual_ptr, weight_ptr, out_ptr, sum_ptr, n_cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + start + cols, mask=mask, other=0.0).to(tl.float32)
    h = x + tl.load(residual_ptr + start + cols, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)  # on its way while the row is summed
    tl.store(sum_ptr + start + cols, h, mask=mask)
    scale = tl.rsqrt(tl.sum(h * h, axis=0) / n_cols + eps)
    tl.store(out_ptr + start + cols, h * scale * weight, mask=mask)


@zmlx.jit
def add_rms_norm_loop_kernel(x_ptr, residual_ptr, weight_ptr, out_ptr, sum_ptr, n_cols, eps, BLOCK: tl.constexpr):
    # The second pass adds again: x and residual are in the cache, and the sum that was stored is rounded.
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    squares = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        h = x + tl.load(residual_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        squares += h * h
    scale = tl.rsqrt(tl.sum(squares, axis=0) / n_cols + eps)
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        h = x + tl.load(residual_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + i + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(sum_ptr + start + i + cols, h, mask=mask)
        tl.store(out_ptr + start + i + cols, h * scale * weight, mask=mask)


def add_rms_norm(x: mx.array, residual: mx.array, weight: mx.array, eps: float = 1e-5) -> tuple[mx.array, mx.array]:
    """h / sqrt(mean(h²) + eps) · weight along the last axis, and h = x + residual itself.

    x, residual: (..., n), weight: (n,); float32, float16 or bfloat16, the same for all. Computed in float32 from the sum
    as it is before h is rounded. Returns (norm, h), both of x's shape and dtype.
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """
    checks.floats("add_rms_norm", x=x, residual=residual, weight=weight)
    checks.rank("add_rms_norm", "x", x, 1)
    checks.shape("add_rms_norm", "residual", residual, x.shape)
    n_cols = x.shape[-1]
    checks.shape("add_rms_norm", "weight", weight, (n_cols,))
    if x.size == 0:
        return mx.zeros_like(x), mx.zeros_like(x)
    kernel = add_rms_norm_kernel if n_cols <= ONE_TILE else add_rms_norm_loop_kernel
    out, h = zmlx.empty_like(x), zmlx.empty_like(x)
    return kernel[(x.size // n_cols,)](x, residual, weight, out, h, n_cols, float(eps), **config(n_cols))


def add_rms_norm_reference(x: mx.array, residual: mx.array, weight: mx.array, eps: float = 1e-5) -> tuple[mx.array, mx.array]:
    h = x + residual
    return h * mx.rsqrt(mx.mean(h * h, axis=-1, keepdims=True) + eps) * weight, h


def _baseline(x: mx.array, residual: mx.array, weight: mx.array, eps: float = 1e-5) -> tuple[mx.array, mx.array]:
    h = x + residual
    return mx.fast.rms_norm(h, weight, eps), h


def _case(*shape: int, **kwargs: float) -> Case:
    def args(r: Any) -> tuple[Any, ...]:
        return r.standard_normal(shape), 2 * r.standard_normal(shape), 1 + 0.1 * r.standard_normal(shape[-1])

    return Case("x".join(map(str, shape)) + "".join(f"-{k}{v}" for k, v in kwargs.items()), args, kwargs)


CASES = (_case(1, 1), _case(3, 7), _case(2, 3, 64, eps=0.5), _case(4, 1000), _case(2, 1024), _case(1, 8193), _case(2, 10000), _case(0, 8))
ENTRY = Entry(
    "add_rms_norm",
    add_rms_norm,
    add_rms_norm_reference,
    baseline=_baseline,
    kernels=(add_rms_norm_kernel, add_rms_norm_loop_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
