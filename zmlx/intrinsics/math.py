"""Elementary functions. Those with a record of their own are made from it; half types are computed in float32 and rounded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import ConstexprError, DtypeError
from zmlx.intrinsics.builtin import Builtin, builtin
from zmlx.intrinsics.markers import PropagateNan
from zmlx.ir.core import Value
from zmlx.ir.opdef import OpDef
from zmlx.ops import arith, compare
from zmlx.ops import math as math_ops
from zmlx.ops.coerce import TileBuilder, is_number

RECORDS: tuple[OpDef, ...] = (
    *(d for k, d in vars(math_ops).items() if isinstance(d, OpDef) and d.doc and d not in (*vars(arith).values(), *vars(compare).values())),
    compare.isnan, compare.isinf, compare.isfinite,
)  # fmt: skip


def floats(b: TileBuilder, x: Any, what: str) -> Value:
    """x as floats: Python numbers become some, integer tensors are an error with its remedy."""
    v = b.to_value(float(x) if is_number(x) else x)
    if v.type.is_pointer:  # type: ignore[union-attr]
        raise DtypeError(f"{what} takes floats, got a pointer ({v.type})", "load from the pointer first: tl.load(ptr)")
    if not v.type.dtype.is_float:  # type: ignore[union-attr]
        raise DtypeError(f"{what} takes floats, got {v.type}", "cast it first: x.to(tl.float32)")
    return v


def _unary(defn: OpDef) -> Builtin:
    any_number = defn is math_ops.abs_

    def fn(b: TileBuilder, x: Any) -> Value:
        return b.value(defn, b.to_value(x) if any_number else floats(b, x, f"tl.{defn.name}"))

    return builtin(fn, name=defn.name, method=True, doc=defn.doc, group="math")


def _table() -> dict[str, Builtin]:
    return {d.name: _unary(d) for d in RECORDS if len(d.operands) == 1}


# One builtin a record: exp, log, sin, abs, isnan …
UNARY = _table()
globals().update(UNARY)


@builtin(doc=math_ops.pow_.doc + "; also x ** y")
def pow(b: TileBuilder, x: Any, y: Any) -> Value:
    return b.binary("pow", x, y)


@builtin(doc=math_ops.copysign.doc)
def copysign(b: TileBuilder, x: Any, y: Any) -> Value:
    if not is_number(x) or not is_number(y):
        x, y = (v if is_number(v) else floats(b, v, "tl.copysign") for v in (x, y))
    x, y = (float(v) if is_number(v) else v for v in (x, y))
    return b.value(math_ops.copysign, *b.meet(x, y))


@builtin(doc=math_ops.fma.doc)
def fma(b: TileBuilder, x: Any, y: Any, z: Any) -> Value:
    product = b.meet(x, y)
    total, _ = b.meet(product[0], z)
    dtype: DType = total.type.dtype  # type: ignore[union-attr]
    parts = [b.convert(v, dtype) if is_number(v) else b.cast(v, dtype) for v in (*product, z)]
    return b.value(math_ops.fma, *b.broadcast(*parts))


def _extremum(b: TileBuilder, name: str, x: Any, y: Any, propagate_nan: Any) -> Value:
    if not isinstance(propagate_nan, (bool, PropagateNan)):
        raise ConstexprError(f"propagate_nan of tl.{name} is {propagate_nan!r}", "use tl.PropagateNan.ALL or tl.PropagateNan.NONE")
    for v in (x, y):
        if isinstance(v, Value) and v.type.is_pointer:  # type: ignore[union-attr]
            raise DtypeError(f"tl.{name} takes numbers, got a pointer ({v.type})", "load from the pointer first: tl.load(ptr)")
    p, q = b.meet(x, y)
    record = arith.minimum if name == "minimum" else arith.maximum
    if propagate_nan and p.type.dtype.is_float:  # type: ignore[union-attr]
        record = arith.minimum_nan if name == "minimum" else arith.maximum_nan
    return b.value(record, p, q)


@builtin
def minimum(b: TileBuilder, x: Any, y: Any, propagate_nan: Any = PropagateNan.NONE) -> Value:
    """The smaller of x and y. A NaN is ignored (the other is taken), unless propagate_nan is tl.PropagateNan.ALL."""
    return _extremum(b, "minimum", x, y, propagate_nan)


@builtin
def maximum(b: TileBuilder, x: Any, y: Any, propagate_nan: Any = PropagateNan.NONE) -> Value:
    """The larger of x and y. A NaN is ignored (the other is taken), unless propagate_nan is tl.PropagateNan.ALL."""
    return _extremum(b, "maximum", x, y, propagate_nan)


@builtin
def clamp(b: TileBuilder, x: Any, min: Any, max: Any, propagate_nan: Any = PropagateNan.NONE) -> Value:
    """x held between min and max. A NaN in x gives min, unless propagate_nan is tl.PropagateNan.ALL."""
    return _extremum(b, "minimum", _extremum(b, "maximum", x, min, propagate_nan), max, propagate_nan)


@builtin
def fdiv(b: TileBuilder, x: Any, y: Any, ieee_rounding: Any = False) -> Value:
    """x / y of floats, at least float32. Always correctly rounded, so `ieee_rounding` changes nothing."""
    for v in (x, y):
        if not is_number(v):
            floats(b, v, "tl.fdiv")
    return b.binary("truediv", x, y)


@builtin
def div_rn(b: TileBuilder, x: Any, y: Any) -> Value:
    """x / y of floats, at least float32, correctly rounded."""
    return fdiv.fn(b, x, y)


@builtin
def umulhi(b: TileBuilder, x: Any, y: Any) -> Value:
    """The upper half of the full product of x and y, read as unsigned 32- or 64-bit integers."""
    p, q = b.meet(x, y)
    d: DType = p.type.dtype  # type: ignore[union-attr]
    if d.is_float or d.bits < 32:
        raise DtypeError(f"tl.umulhi takes 32- or 64-bit integers, got {p.type}", "cast first: x.to(tl.uint32)")
    if not d.is_signed:
        return b.value(arith.umulhi, p, q)
    unsigned: DType = dt.uint32 if d.bits == 32 else dt.uint64
    return b.cast(b.value(arith.umulhi, *(b.cast(v, unsigned, bitcast=True) for v in (p, q))), d, bitcast=True)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
