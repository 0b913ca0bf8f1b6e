"""Reductions and scans: tiles in step, one axis, a combine region over (left…, right…)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx.errors import ReduceError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.shape import normalise_axis


def _check(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any], what: str) -> int:
    if not types or not types[0].shape:
        raise ReduceError(f"{what} takes tiles, got a scalar", "scalars need no reduction")
    for t in types[1:]:
        if t.shape != types[0].shape:
            raise ReduceError(f"{what} takes tiles of one shape, got {types[0].shape} and {t.shape}")
    axis = normalise_axis(attrs["axis"], types[0].rank)
    if regions:
        if [v.type for v in regions[0].args] != [t.scalar for t in types] * 2:
            raise ReduceError(f"the combine function of {what} takes the elements of the left part, then those of the right part")
        got = [v.type for v in regions[0].terminator.operands]
        want = [t.scalar for t in types]
        if got != want:
            raise ReduceError(
                f"the combine function of {what} returns ({', '.join(map(str, got))}) for elements ({', '.join(map(str, want))})",
                "return values of the same types, in the same order: cast inside the function",
            )
    return axis


def _reduce(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    axis = _check(types, attrs, regions, "a reduction")
    return tuple(t.with_shape(t.shape[:axis] + t.shape[axis + 1 :]) for t in types)


def _scan(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    _check(types, attrs, regions, "a scan")
    return tuple(types)


# The combine function must be associative; `reduce` may also reorder (commutative). The region takes the elements of
# the left part, then those of the right part, and yields as many values.
reduce = define("reduce", ("*xs",), _reduce, attrs=("axis",), traits="pure")
scan = define("scan", ("*xs",), _scan, attrs=("axis", "reverse"), traits="pure")
