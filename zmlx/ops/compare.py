"""Comparisons (int1 results; ordered for floats except `ne`) and selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import DtypeError, ShapeError
from zmlx.ir.types import Type
from zmlx.ops import typing as rules
from zmlx.ops.registry import define

T = "elementwise pure cheap compare exact "
eq = define("eq", ("x", "y"), rules.compare, numpy=np.equal, traits=T + "commutative", spell={"c": "{0} == {1}"}, doc="x == y")
ne = define("ne", ("x", "y"), rules.compare, numpy=np.not_equal, traits=T + "commutative", spell={"c": "{0} != {1}"}, doc="x != y")
lt = define("lt", ("x", "y"), rules.compare, numpy=np.less, traits=T, spell={"c": "{0} < {1}"}, doc="x < y")
le = define("le", ("x", "y"), rules.compare, numpy=np.less_equal, traits=T, spell={"c": "{0} <= {1}"}, doc="x <= y")
gt = define("gt", ("x", "y"), rules.compare, numpy=np.greater, traits=T, spell={"c": "{0} > {1}"}, doc="x > y")
ge = define("ge", ("x", "y"), rules.compare, numpy=np.greater_equal, traits=T, spell={"c": "{0} >= {1}"}, doc="x >= y")
isnan = define(
    "isnan", ("x",), rules.predicate, numpy=np.isnan, traits=T, doc="whether x is NaN", spell={"c": "{0} != {0}", "metal": "zm_isnan({0})"}
)
isinf = define(
    "isinf", ("x",), rules.predicate, numpy=np.isinf, traits=T, doc="whether x is an infinity",
    spell={"metal": "zm_isinf({0})", "cuda": "isinf({0})", "host": "zm_isinf({0})"},
)  # fmt: skip
isfinite = define(
    "isfinite", ("x",), rules.predicate, numpy=np.isfinite, traits=T, doc="whether x is neither NaN nor infinite",
    spell={"metal": "zm_isfinite({0})", "cuda": "isfinite({0})", "host": "zm_isfinite({0})"},
)  # fmt: skip


def _select(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    cond, x, y = types
    if cond.elem is not dt.int1:
        raise DtypeError(f"a condition has type int1, got {cond}", "compare first: x != 0")
    if x != y:
        raise DtypeError(f"the two values have different types {x} and {y}")
    if cond.shape != x.shape:
        raise ShapeError(f"condition {cond} and value {x} have different shapes")
    return (x,)


select = define(
    "select", ("condition", "x", "y"), _select, numpy=np.where, traits="elementwise pure cheap exact", spell={"c": "{0} ? {1} : {2}"},
    doc="x where the condition holds, else y",
)  # fmt: skip
