"""The tile product."""

from __future__ import annotations

from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import DotError
from zmlx.intrinsics.builtin import builtin
from zmlx.intrinsics.core import check_dtype
from zmlx.ir.core import Value
from zmlx.ops import dot as ops
from zmlx.ops.coerce import TileBuilder


def least_k(d: DType) -> int:
    """The least inner dimension: 32 for 8 bits, 16 for 16, 8 for float32, 4 for float64."""
    return max(4, 256 // max(8, d.bits))


def _precision(input_precision: Any, allow_tf32: Any, d: DType) -> str:
    if input_precision is not None and allow_tf32 is not None:
        raise DotError("tl.dot takes input_precision or allow_tf32, not both", "keep input_precision")
    if input_precision is not None and input_precision not in ops.PRECISIONS:
        raise DotError(f"unknown input_precision {input_precision!r}", "use 'tf32', 'tf32x3' or 'ieee'")
    if d is not dt.float32:
        return "ieee"
    return input_precision or ("tf32" if allow_tf32 in (None, True) else "ieee")


@builtin
def dot(
    b: TileBuilder,
    input: Any,
    other: Any,
    acc: Any = None,
    input_precision: Any = None,
    allow_tf32: Any = None,
    max_num_imprecise_acc: Any = None,
    out_dtype: Any = dt.float32,
) -> Value:
    """The matrix product of two 2-D tiles of one dtype, plus `acc`. float16, bfloat16 and float32 are summed in float32, int8
    and uint8 in int32, float64 in float64; out_dtype=tl.float16 rounds the result at the end. The inner dimension is at least 16 (16-bit
    types), 8 (float32), 32 (8-bit types) or 4 (float64). float32 uses TF32 where the device has it and full precision elsewhere;
    input_precision="ieee" (or allow_tf32=False) gives full precision everywhere, "tf32x3" nearly so. max_num_imprecise_acc
    is accepted and ignored on purpose: sums are never imprecise."""
    x, y = b.to_value(input), b.to_value(other)
    for v in (x, y):
        if len(v.shape) != 2 or v.type.is_pointer:  # type: ignore[union-attr]
            raise DotError(f"tl.dot takes two 2-D tiles, got {x.type} and {y.type}", "reshape, or add a dimension: x[:, None]")
    d: DType = x.type.dtype  # type: ignore[union-attr]
    if x.shape[1] == y.shape[0] and x.shape[1] < least_k(d):
        raise DotError(
            f"the inner dimension of tl.dot is {x.shape[1]}; {d} needs at least {least_k(d)}",
            "use a larger block and mask the rest with 0, or tl.sum(a[:, :, None] * b[None, :, :], axis=1)",
        )
    inner = ops.accumulator(d)
    out = check_dtype(out_dtype, "tl.dot") if inner is dt.float32 else inner
    if not out.is_float and inner.is_float:
        raise DotError(f"out_dtype {out} of a product of {d}", "use tl.float32, tl.float16 or tl.bfloat16")
    shape = (x.shape[0], y.shape[1])
    if acc is None:
        start = b.splat(b.constant(0, inner), shape)
    else:
        start = b.to_value(acc)
        if start.type.is_pointer or start.type.dtype not in (inner, out):  # type: ignore[union-attr]
            raise DotError(f"the accumulator has type {start.type}, the product {inner}", f"start from tl.zeros({shape}, tl.{inner})")
        start = b.cast(start, inner)
    return b.cast(b.value(ops.dot, x, y, start, input_precision=_precision(input_precision, allow_tf32, d)), out)
