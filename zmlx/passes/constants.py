"""Known values in the IR: scalar constants, and tiles that are splats of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from zmlx.dtypes import DType
from zmlx.ir.builder import Builder
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import index, shape


def defined_by(v: Value, *defns: Any) -> Op | None:
    """The op that defines a value, if it is one of these."""
    return v.op if v.op is not None and v.op.defn in defns else None


def known(v: Value) -> Any:
    """The Python number that every element of a value is, or None. It is canonical: of the type's kind and in its range."""
    op = v.op
    if op is not None and op.defn is shape.splat:
        op = op.operands[0].op
    return op.attrs["value"] if op is not None and op.defn is index.constant else None


def number(x: np.ndarray, dtype: DType) -> Any:
    """A computed element as the canonical Python number of a constant."""
    return float(x) if dtype.is_float else bool(x) if dtype.is_bool else int(x)


def constant(b: Builder, value: Any, t: Type) -> Value:
    """A constant of a type: a splat, if it is a tile's."""
    v = b.value(index.constant, value=value, type=t.dtype)
    return b.value(shape.splat, v, shape=t.shape) if t.shape else v


def same(a: Any, b: Any) -> bool:
    """Whether two known numbers are identical; 0.0 and -0.0 are not, NaNs are."""
    return a is not None and b is not None and repr(a) == repr(b)


def is_zero(v: Value) -> bool:
    """Integer zero, or +0.0."""
    return known(v) is not None and repr(known(v)) in ("0", "0.0", "False")
