"""Sum along the last axis, accumulated in float32 over tiles of the row."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def sum_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    x_ptr += row.to(tl.int64) * n_cols
    cols = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n_cols, BLOCK):
        total += tl.load(x_ptr + i + cols, mask=i + cols < n_cols, other=0.0).to(tl.float32)
    tl.store(out_ptr + row, tl.sum(total, axis=0))


@zmlx.jit
def sum_tile_kernel(x_ptr, out_ptr, n_cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row.to(tl.int64) * n_cols + cols, mask=cols < n_cols, other=0.0).to(tl.float32)
    tl.store(out_ptr + row, tl.sum(x, axis=0))


@zmlx.jit
def sum_rows_kernel(x_ptr, out_ptr, n_rows, n_cols, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, BLOCK)[None, :]
    mask = (rows[:, None] < n_rows) & (cols < n_cols)
    x = tl.load(x_ptr + rows.to(tl.int64)[:, None] * n_cols + cols, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + rows, tl.sum(x, axis=1), mask=rows < n_rows)


SHORT = 1024  # rows of which a warp takes one whole
ONE_TILE = 65536  # on the CPU, where a tile that is only summed is never stored


def config(n_cols: int) -> dict[str, int]:
    """The row's tile: its own size rounded up, at most 4096; 8 to 32 elements a thread. Short rows: several a program."""
    block = min(4096, zmlx.next_power_of_2(n_cols))
    if n_cols <= SHORT:
        return {"ROWS": 4096 // max(128, block), "BLOCK": block, "num_warps": 4}
    return {"BLOCK": block, "num_warps": min(8, max(1, block // 256))}


def row_sum(x: mx.array) -> mx.array:
    """x[..., 0] + … + x[..., n-1], accumulated in float32 and rounded once.

    x: (..., n); float32, float16 or bfloat16. Returns shape (...) and that dtype; empty rows sum to 0.
    """
    checks.floats("row_sum", x=x)
    checks.rank("row_sum", "x", x, 1)
    if x.size == 0:
        return mx.zeros(x.shape[:-1], x.dtype)
    n_cols = x.shape[-1]
    out = zmlx.empty(x.shape[:-1], x.dtype)
    if n_cols <= ONE_TILE and zmlx.default_target() == "cpu":
        return sum_tile_kernel[(x.size // n_cols,)](x, out, n_cols, BLOCK=zmlx.next_power_of_2(n_cols))
    if n_cols <= SHORT:
        options = config(n_cols)
        return sum_rows_kernel[(zmlx.cdiv(out.size, options["ROWS"]),)](x, out, out.size, n_cols, **options)
    return sum_kernel[(x.size // n_cols,)](x, out, n_cols, **config(n_cols))


def row_sum_reference(x: mx.array) -> mx.array:
    return mx.sum(x, axis=-1)


def _case(*shape: int) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (r.standard_normal(shape),))


CASES = (_case(1, 1), _case(3, 7), _case(2, 2, 256), _case(1000), _case(2, 4097), _case(1, 20000), _case(3, 0), _case(0, 8))
ENTRY = Entry(
    "sum",
    row_sum,
    row_sum_reference,
    baseline=lambda x: mx.sum(x, axis=-1),
    kernels=(sum_kernel, sum_tile_kernel, sum_rows_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
    # The error of a sum grows with its terms, not with its value: sums of thousands of terms may end near 0.
    tolerance={mx.float32: (1e-4, 2e-6), mx.float16: (1e-3, 1e-3), mx.bfloat16: (8e-3, 8e-3)},
)
