"""Rows of a table, picked by index, added to rows of an array: an embedding or a residual without a copy between."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def gather_add_kernel(x_ptr, table_ptr, index_ptr, out_ptr, n_cols, n_table, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = cols < n_cols
    start = row.to(tl.int64) * n_cols
    index = tl.load(index_ptr + row).to(tl.int64)
    index = tl.where(index < 0, index + n_table, index)
    x = tl.load(x_ptr + start + cols, mask=mask).to(tl.float32)
    # A row outside the table is not read: its place is taken by NaN.
    inside = (index >= 0) & (index < n_table)
    picked = tl.load(table_ptr + tl.where(inside, index, 0) * n_cols + cols, mask=mask).to(tl.float32)
    tl.store(out_ptr + start + cols, x + picked * tl.where(inside, 1.0, float("nan")), mask=mask)


def config(n_cols: int) -> dict[str, int]:
    """The row's tile: its own size rounded up, at most 1024 (8 elements a thread); 65536 on the CPU, which then reads straight on."""
    most = 65536 if zmlx.default_target() == "cpu" else 1024
    block = min(most, zmlx.next_power_of_2(n_cols))
    return {"BLOCK": block, "num_warps": min(4, max(1, block // 256))}


def gather_add(x: mx.array, table: mx.array, index: mx.array) -> mx.array:
    """out[..., :] = x[..., :] + table[index[...], :], added in float32 and rounded once.

    x: (..., n), table: (m, n), m > 0; float32, float16 or bfloat16, the same for both. index: (...), integers; as in MLX,
    -1 is the last row. Rows whose index is outside the table are NaN. Returns x's shape and dtype.
    """
    checks.floats("gather_add", x=x, table=table)
    checks.rank("gather_add", "x", x, 1)
    checks.rank("gather_add", "table", table, 2, 2)
    n_cols = x.shape[-1]
    checks.shape("gather_add", "table", table, (max(1, table.shape[0]), n_cols))
    checks.integers("gather_add", "index", index)
    checks.shape("gather_add", "index", index, x.shape[:-1])
    if x.size == 0:
        return mx.zeros_like(x)
    options = config(n_cols)
    grid = (index.size, zmlx.cdiv(n_cols, options["BLOCK"]))
    return gather_add_kernel[grid](x, table, index, zmlx.empty_like(x), n_cols, table.shape[0], **options)


def gather_add_reference(x: mx.array, table: mx.array, index: mx.array) -> mx.array:
    return x + table[index]


def _case(*shape: int, table: int = 50) -> Case:
    def args(r: Any) -> tuple[Any, ...]:
        index = r.permutation(table).reshape(shape[:-1]) if shape[:-1] == (table,) else r.integers(-table, table, shape[:-1])
        return r.standard_normal(shape), r.standard_normal((table, shape[-1])), index

    return Case("x".join(map(str, shape)), args)


CASES = (_case(1, 1), _case(3, 7, table=1), _case(2, 3, 128), _case(4, 1000), _case(50), _case(2, 1025), _case(3, 5000), _case(0, 8))
ENTRY = Entry(
    "gather_add",
    gather_add,
    gather_add_reference,
    baseline=lambda x, table, index: x + table[index],
    kernels=(gather_add_kernel,),
    cases=CASES,
    # Every row of the table is read once, so that the bytes that move are those of the arrays.
    sizes={"cpu": _case(1024, 2048, table=1024), "gpu": _case(16384, 1024, table=16384)},
)
