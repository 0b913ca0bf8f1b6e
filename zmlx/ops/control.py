"""Structured control flow. Conditions and bounds are scalars, so all threads of a program take one path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import CarriedTypeError, ControlFlowError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import none

Types = Sequence[Type]
Attrs = Mapping[str, Any]


def _yielded(region: Any) -> tuple[Any, ...]:
    return tuple(v.type for v in region.terminator.operands) if region.ops else ()


def _takes(region: Any, want: Sequence[Any], what: str) -> None:
    got = [v.type for v in region.args]
    if got != list(want):
        raise CarriedTypeError(f"{what} takes ({', '.join(map(str, got))}) and gets ({', '.join(map(str, want))})")


def _for(types: Types, attrs: Attrs, regions: Sequence[Any]) -> tuple[Any, ...]:
    lo, hi, step, *inits = types
    if not (lo == hi == step) or lo.shape or lo.is_pointer or not lo.dtype.is_int:
        raise ControlFlowError(f"the bounds of a range are integer scalars of one type, got {lo}, {hi} and {step}")
    got = _yielded(regions[0])
    if list(got) != list(inits):
        raise CarriedTypeError(f"a loop carries ({', '.join(map(str, inits))}) in and ({', '.join(map(str, got))}) out")
    _takes(regions[0], [lo, *inits], "a loop body")
    return tuple(inits)


def _while(types: Types, attrs: Attrs, regions: Sequence[Any]) -> tuple[Any, ...]:
    cond, body = (_yielded(r) for r in regions)
    if cond != (Type(dt.int1),):
        raise ControlFlowError(f"a while condition is a scalar int1, got {cond}")
    if list(body) != list(types):
        raise CarriedTypeError(f"a loop carries ({', '.join(map(str, types))}) in and ({', '.join(map(str, body))}) out")
    for region in regions:
        _takes(region, types, "a loop body")
    return tuple(types)


def _if(types: Types, attrs: Attrs, regions: Sequence[Any]) -> tuple[Any, ...]:
    if types[0] != Type(dt.int1):
        raise ControlFlowError(f"an if condition is a scalar int1, got {types[0]}", "reduce the tile first: tl.max(cond, axis=0)")
    one, two = (_yielded(r) for r in regions)
    for region in regions:
        _takes(region, (), "a branch")
    if one != two:
        raise CarriedTypeError(f"the branches yield ({', '.join(map(str, one))}) and ({', '.join(map(str, two))})")
    return one


def _any(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    return ()


# for: operands lo, hi, step, inits…; region (index, carried…) yields the next carried values; step > 0.
for_ = define("for", ("lo", "hi", "step", "*inits"), _for, traits="structured effect", attrs=("num_stages",))
# while: operands inits…; region 0 (carried…) yields the condition, region 1 (carried…) yields the next values.
while_ = define("while", ("*inits",), _while, traits="structured effect")
# if: operand condition; regions then and else yield the results.
if_ = define("if", ("condition",), _if, traits="structured effect")
yield_ = define("yield", ("*values",), _any, traits="terminator effect")
return_ = define("return", (), none(0), traits="terminator effect")
