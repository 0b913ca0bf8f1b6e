"""Where tiles come from, casts and selection."""

from __future__ import annotations

from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import CallError, ConstexprError, DtypeError
from zmlx.intrinsics.builtin import METHODS, Builtin, builtin
from zmlx.ir.core import Value
from zmlx.ir.types import Pointer
from zmlx.ops import index
from zmlx.ops.coerce import TileBuilder, constant_int, constant_shape, is_number
from zmlx.ops.typing import check_shape


def check_dtype(dtype: Any, what: str) -> DType:
    """An element type, or an error that names `what`."""
    if not isinstance(dtype, DType):
        raise DtypeError(f"the dtype of {what} must be an element type, got {dtype!r}", "name one: tl.float32")
    return dtype


def _host_number(x: Any, what: str) -> int:
    if isinstance(x, bool) or not hasattr(x, "__index__"):
        raise CallError(f"{what} takes integers, got {x!r}", "pass Python integers")
    return int(x.__index__())


@builtin
def program_id(b: TileBuilder, axis: Any) -> Value:
    """This program's index along `axis` (0, 1 or 2) of the grid: an int32 scalar."""
    return b.value(index.program_id, axis=constant_int(axis, "the axis of tl.program_id"))


@builtin
def num_programs(b: TileBuilder, axis: Any) -> Value:
    """The size of the grid along `axis`: an int32 scalar."""
    return b.value(index.num_programs, axis=constant_int(axis, "the axis of tl.num_programs"))


@builtin
def arange(b: TileBuilder, start: Any, end: Any) -> Value:
    """The int32 tile start, start + 1, …, end - 1. Both bounds are compile-time constants, the length a power of two."""
    return b.value(index.arange, start=constant_int(start, "the start of tl.arange"), end=constant_int(end, "the end of tl.arange"))


@builtin
def full(b: TileBuilder, shape: Any, value: Any, dtype: Any) -> Value:
    """A tile of a compile-time shape that holds one scalar everywhere."""
    dims = check_shape(constant_shape(shape, "the shape of tl.full"))
    d = check_dtype(dtype, "tl.full")
    v = value
    if is_number(v):
        scalar = b.constant(v, d) if d.is_float or not isinstance(v, float) else b.convert(v, d)
        return b.splat(scalar, dims)
    return b.broadcast_to(b.cast(b.to_value(v), d), dims)


@builtin
def zeros(b: TileBuilder, shape: Any, dtype: Any) -> Value:
    """A tile of a compile-time shape filled with 0."""
    return b.splat(b.constant(0, check_dtype(dtype, "tl.zeros")), check_shape(constant_shape(shape, "the shape of tl.zeros")))


@builtin
def zeros_like(b: TileBuilder, input: Any) -> Value:
    """Zeros of the shape and dtype of another tensor."""
    v = b.to_value(input)
    if v.type.is_pointer:  # type: ignore[union-attr]
        raise DtypeError("tl.zeros_like of a pointer", "name shape and type: tl.zeros(ptr.shape, tl.float32)")
    return b.splat(b.constant(0, v.type.dtype), v.shape)  # type: ignore[union-attr]


@builtin(method=True)
def cast(b: TileBuilder, input: Any, dtype: Any, fp_downcast_rounding: Any = None, bitcast: Any = False) -> Value:
    """`input` as another dtype. Floats round to nearest even (fp_downcast_rounding="rtz": towards zero), float to int
    truncates, anything to int1 is `!= 0`, integers keep their low bits. bitcast=True keeps the bits instead."""
    if fp_downcast_rounding not in (None, "rtne", "rtz"):
        raise ConstexprError(
            f"unknown fp_downcast_rounding {fp_downcast_rounding!r}", "use 'rtne' (nearest, ties to even) or 'rtz' (towards zero)"
        )
    if is_number(input) and isinstance(dtype, DType) and not bitcast and fp_downcast_rounding is None:
        return b.convert(input, dtype)
    to = dtype if isinstance(dtype, Pointer) else check_dtype(dtype, "a cast")
    return b.cast(b.to_value(input), to, fp_downcast_rounding, bool(bitcast))


@builtin
def to_tensor(b: TileBuilder, x: Any) -> Value:
    """A Python number as a scalar tensor; a tensor as it is."""
    return b.to_value(x)


@builtin
def where(b: TileBuilder, condition: Any, x: Any, y: Any) -> Value:
    """x where the condition holds, else y. All three broadcast; x and y are both computed."""
    return b.select(condition, x, y)


@builtin
def add(b: TileBuilder, x: Any, y: Any, sanitize_overflow: Any = True) -> Value:
    """x + y, as the operator."""
    return b.binary("add", x, y)


@builtin
def sub(b: TileBuilder, x: Any, y: Any, sanitize_overflow: Any = True) -> Value:
    """x - y, as the operator."""
    return b.binary("sub", x, y)


@builtin
def mul(b: TileBuilder, x: Any, y: Any, sanitize_overflow: Any = True) -> Value:
    """x * y, as the operator."""
    return b.binary("mul", x, y)


@builtin(method=True)
def logical_and(b: TileBuilder, input: Any, other: Any) -> Value:
    """int1: both differ from 0."""
    return b.logical_and(input, other)


@builtin(method=True)
def logical_or(b: TileBuilder, input: Any, other: Any) -> Value:
    """int1: at least one differs from 0."""
    return b.logical_or(input, other)


def _cdiv(x: Any, div: Any) -> int:
    d = _host_number(div, "cdiv")
    if d == 0:
        raise CallError("cdiv by 0", "pass a divisor above 0")
    return -(-_host_number(x, "cdiv") // d)


@builtin(method=True, host=_cdiv)
def cdiv(b: TileBuilder, x: Any, div: Any) -> Any:
    """The smallest integer not below x / div, for x ≥ 0 and div > 0. A Python integer if both are; also callable on the host."""
    if not isinstance(x, Value) and not isinstance(div, Value):
        return _cdiv(x, div)
    one = b.binary("sub", div, 1) if isinstance(div, Value) else _host_number(div, "tl.cdiv") - 1
    return b.binary("floordiv", b.binary("add", x, one), div)


def _next_power_of_2(n: Any) -> int:
    return 1 << max(0, _host_number(n, "next_power_of_2") - 1).bit_length()


@builtin(host=_next_power_of_2)
def next_power_of_2(b: TileBuilder, n: Any) -> int:
    """The smallest power of two that is not below the compile-time integer n; also callable on the host."""
    return _next_power_of_2(constant_int(n, "the argument of tl.next_power_of_2"))


def pointer_type(element_ty: DType) -> Pointer:
    """The type of pointers to `element_ty`."""
    return Pointer(check_dtype(element_ty, "tl.pointer_type"))


DTYPES = {d.name: d for d in dt.ALL}

METHODS["to"] = Builtin(cast.fn, "to", "core", "The method form of `tl.cast`: x.to(tl.float16).")
