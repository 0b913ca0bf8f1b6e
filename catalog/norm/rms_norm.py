"""RMSNorm along the last axis: one tile a row where it fits, else two passes over tiles."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def rms_norm_kernel(x_ptr, weight_ptr, out_ptr, n_cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    mask = cols < n_cols
    x = tl.load(x_ptr + start + cols, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + cols, mask=mask, other=0.0).to(tl.float32)  # on its way while the row is summed
    scale = tl.rsqrt(tl.sum(x * x, axis=0) / n_cols + eps)
    tl.store(out_ptr + start + cols, x * scale * weight, mask=mask)


@zmlx.jit
def rms_norm_loop_kernel(x_ptr, weight_ptr, out_ptr, n_cols, eps, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    squares = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n_cols, BLOCK):
        x = tl.load(x_ptr + start + i + cols, mask=i + cols < n_cols, other=0.0).to(tl.float32)
        squares += x * x
    scale = tl.rsqrt(tl.sum(squares, axis=0) / n_cols + eps)
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + i + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(out_ptr + start + i + cols, x * scale * weight, mask=mask)


ONE_TILE = 8192


def config(n_cols: int) -> dict[str, int]:
    """The row's tile: its own size rounded up, or 4096 in a loop when it is longer than ONE_TILE; 8 to 32 elements a thread."""
    block = zmlx.next_power_of_2(n_cols) if n_cols <= ONE_TILE else 4096
    return {"BLOCK": block, "num_warps": min(8, max(1, block // 256))}


def rms_norm(x: mx.array, weight: mx.array, eps: float = 1e-5) -> mx.array:
    """x / sqrt(mean(x²) + eps) · weight along the last axis, computed in float32 and rounded once.

    x: (..., n), weight: (n,); float32, float16 or bfloat16, the same for both. Returns x's shape and dtype.
    Zhang and Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """
    checks.floats("rms_norm", x=x, weight=weight)
    checks.rank("rms_norm", "x", x, 1)
    n_cols = x.shape[-1]
    checks.shape("rms_norm", "weight", weight, (n_cols,))
    if x.size == 0:
        return mx.zeros_like(x)
    kernel = rms_norm_kernel if n_cols <= ONE_TILE else rms_norm_loop_kernel
    return kernel[(x.size // n_cols,)](x, weight, zmlx.empty_like(x), n_cols, float(eps), **config(n_cols))


def rms_norm_reference(x: mx.array, weight: mx.array, eps: float = 1e-5) -> mx.array:
    return x * mx.rsqrt(mx.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def _case(*shape: int, **kwargs: float) -> Case:
    name = "x".join(map(str, shape)) + "".join(f"-{k}{v}" for k, v in kwargs.items())
    return Case(name, lambda r: (r.standard_normal(shape), 1 + 0.1 * r.standard_normal(shape[-1])), kwargs)


CASES = (_case(1, 1), _case(3, 7), _case(2, 3, 64, eps=0.5), _case(4, 1000), _case(2, 1024), _case(1, 8193), _case(2, 10000), _case(0, 8))
ENTRY = Entry(
    "rms_norm",
    rms_norm,
    rms_norm_reference,
    baseline=lambda x, weight, eps=1e-5: mx.fast.rms_norm(x, weight, eps),
    kernels=(rms_norm_kernel, rms_norm_loop_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
