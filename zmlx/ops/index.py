"""Where values come from: literals, program ids, ranges; and what a user promises of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import ConstexprError, DtypeError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import check_shape


def _constant(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    return (Type(attrs["type"]),)


def _program(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    if attrs["axis"] not in (0, 1, 2):
        raise ConstexprError(f"the grid has axes 0, 1 and 2, not {attrs['axis']}", "use 0, 1 or 2")
    return (Type(dt.int32),)


def _arange(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    n = attrs["end"] - attrs["start"]
    if n <= 0:
        raise ConstexprError(f"tl.arange({attrs['start']}, {attrs['end']}) is empty", "the end must be above the start")
    if not -(1 << 31) <= attrs["start"] <= attrs["end"] <= 1 << 31:
        raise ConstexprError("the bounds of tl.arange must fit in int32", "use smaller bounds")
    return (Type(dt.int32, check_shape((n,))),)


def _hint(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    return (types[0],)


def _assume(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    if types[0] != Type(dt.int1):
        raise DtypeError(f"tl.assume takes a scalar condition, got {types[0]}", "compare scalars: tl.assume(n > 0)")
    return ()


constant = define("constant", (), _constant, traits="pure cheap constant uniform", attrs=("value", "type"))
program_id = define(
    "program_id", (), _program, traits="pure cheap uniform", attrs=("axis",),
    spell={"metal": "int(zm_program{axis})", "cuda": "int(blockIdx{axis})", "host": "zm_program{axis}"},
    doc="this program's index along an axis of the grid, int32",
)  # fmt: skip
num_programs = define(
    "num_programs", (), _program, traits="pure cheap uniform", attrs=("axis",),
    spell={"metal": "int(zm_programs{axis})", "cuda": "int(gridDim{axis})", "host": "zm_programs{axis}"},
    doc="the size of the grid along an axis, int32",
)  # fmt: skip
arange = define(
    "arange", (), _arange, traits="pure cheap", attrs=("start", "end"),
    numpy=lambda start, end: np.arange(start, end, dtype=np.int32), doc="the int32 numbers from start up to end, one tile",
)  # fmt: skip
# kind: "multiple_of" | "max_contiguous" | "max_constancy"; values: one number a dimension
hint = define("hint", ("x",), _hint, traits="elementwise pure cheap", attrs=("kind", "values"), numpy=lambda x, **_: x, spell={"c": "{0}"})
assume = define("assume", ("condition",), _assume, traits="effect")
