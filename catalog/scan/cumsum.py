"""Running sum along the last axis; rows longer than a tile carry the sum from tile to tile."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def cumsum_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    carry = 0.0
    for i in range(0, n_cols, BLOCK):
        mask = i + cols < n_cols
        x = tl.load(x_ptr + start + i + cols, mask=mask, other=0.0).to(tl.float32)
        tl.store(out_ptr + start + i + cols, tl.cumsum(x, axis=0) + carry, mask=mask)
        carry += tl.sum(x, axis=0)


def config(n_cols: int) -> dict[str, int]:
    """The row's tile: its own size rounded up, at most 2048; 8 elements a thread."""
    block = min(2048, zmlx.next_power_of_2(n_cols))
    return {"BLOCK": block, "num_warps": min(8, max(1, block // 256))}


def cumsum(x: mx.array) -> mx.array:
    """Running sum along the last axis, accumulated in float32: out[..., i] = x[..., 0] + … + x[..., i].

    x: (..., n); float32, float16 or bfloat16. Returns that shape and dtype.
    """
    checks.floats("cumsum", x=x)
    checks.rank("cumsum", "x", x, 1)
    if x.size == 0:
        return mx.zeros_like(x)
    n_cols = x.shape[-1]
    return cumsum_kernel[(x.size // n_cols,)](x, zmlx.empty_like(x), n_cols, **config(n_cols))


def cumsum_reference(x: mx.array) -> mx.array:
    return mx.cumsum(x, axis=-1)


def _case(*shape: int) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (r.standard_normal(shape),))


CASES = (_case(1, 1), _case(3, 7), _case(2, 2, 256), _case(4, 1000), _case(2, 2049), _case(1, 5000), _case(3, 0))
ENTRY = Entry(
    "cumsum",
    cumsum,
    cumsum_reference,
    baseline=lambda x: mx.cumsum(x, axis=-1),
    kernels=(cumsum_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
    # The error of a sum grows with its terms, not with its value: sums of thousands of terms may end near 0.
    tolerance={mx.float32: (5e-4, 2e-6), mx.float16: (1e-3, 1e-3), mx.bfloat16: (8e-3, 8e-3)},
)
