"""The tile product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import DotError
from zmlx.ir.types import Type
from zmlx.ops.registry import define

PRECISIONS = ("tf32", "tf32x3", "ieee")


def accumulator(elem: dt.DType) -> dt.DType:
    """The type in which products of `elem` are summed."""
    return elem if elem is dt.float64 else dt.float32 if elem.is_float else dt.int32


def _dot(types: Sequence[Type], attrs: Mapping[str, Any], regions: Any) -> tuple[Type, ...]:
    a, b, acc = types
    for t in (a, b):
        if t.rank != 2 or t.is_pointer:
            raise DotError(f"tl.dot takes two 2-D tiles, got {a} and {b}", "add a dimension: x[:, None]")
    if a.elem is not b.elem:
        raise DotError(f"tl.dot takes tiles of one element type, got {a.elem} and {b.elem}", f"cast one: b.to({a.elem})")
    if a.dtype.is_int and a.dtype not in (dt.int8, dt.uint8):
        raise DotError(f"tl.dot takes int8, float16, bfloat16, float32 or float64, got {a.elem}", "cast the operands")
    if a.shape[1] != b.shape[0]:
        raise DotError(f"inner dimensions differ: {a.shape} times {b.shape}", "transpose one: tl.trans(b)")
    result = Type(accumulator(a.dtype), (a.shape[0], b.shape[1]))
    if acc != result:
        raise DotError(f"the accumulator has type {acc}, the product {result}", f"start from tl.zeros({result.shape}, tl.{result.elem})")
    if attrs.get("input_precision", "tf32") not in PRECISIONS:
        raise DotError(f"unknown input_precision {attrs['input_precision']!r}", "use 'tf32', 'tf32x3' or 'ieee'")
    return (result,)


# acc + a @ b, summed in the accumulator's type.
dot = define("dot", ("a", "b", "acc"), _dot, attrs=("input_precision",), traits="pure")
