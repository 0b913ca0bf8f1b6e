"""Combine regions of reductions and scans, as scalar code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zmlx.dtypes import DType
from zmlx.ir.core import Op, Value

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def combine(low: Lowering, op: Op, left: list[Value], right: list[Value]) -> list[Value]:
    """The region's results for two groups of elements."""
    region = op.regions[0]
    low.scalars.update(zip(region.args, [*left, *right], strict=True))
    low.lower_block(region)
    return [low.scalar(v) for v in region.terminator.operands]


def single_op(op: Op) -> Op | None:
    """The one op that combines left and right, if that is all the region does."""
    region = op.regions[0]
    if len(region.ops) == 2 and len(region.args) == 2 and set(region.ops[0].operands) == set(region.args):
        first, end = region.ops
        if end.operands == first.results and first.has("commutative") and first.defn.identity:
            return first
    return None


def identity(op: Op, dtype: DType) -> Any | None:
    """The exact neutral element of a reduction by one op; None when there is none.

    -0.0 is neutral for float addition where 0.0 is not, and NaN is neutral for minimum and maximum that ignore NaN.
    """
    one = single_op(op)
    if one is None:
        return None
    if dtype.is_float and one.name == "add":
        return -0.0
    if dtype.is_float and one.name in ("minimum", "maximum"):
        return math.nan
    assert one.defn.identity is not None
    return one.defn.identity(dtype)
