"""Conversions between element types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import DtypeError
from zmlx.ir.types import Pointer, Type
from zmlx.ops.registry import define

ROUNDINGS = ("rtne", "rtz")


def _cast(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    if types[0].is_pointer:
        raise DtypeError("a pointer cannot be cast to a number", "bitcast it: p.to(tl.int64, bitcast=True)")
    if attrs.get("rounding", "rtne") not in ROUNDINGS:
        raise DtypeError(f"unknown rounding {attrs['rounding']!r}", "use 'rtne' (nearest, ties to even) or 'rtz' (towards zero)")
    return (types[0].with_elem(attrs["to"]),)


def cast_array(x: Any, source: dt.DType, to: dt.DType, rounding: str = "rtne") -> Any:
    """The reference semantics of a cast, on the interpreter's values.

    To int1: whether it differs from 0. Float to integer: towards zero, saturating, NaN gives 0. Integer to integer:
    the low bits. Float to float: nearest even, or towards zero.
    """
    if to is dt.int1:
        return x != 0
    if to.is_float:
        if rounding == "rtz" and source.is_float and to.bits < source.bits:
            return _truncate(x, to)
        if to is dt.bfloat16:
            # Through float64 first an integer or double would be rounded twice; round-to-odd float32 keeps one rounding.
            return dt.round_bf16(_round_to_odd_f32(x))
        return x.astype(to.compute)
    if source.is_float:
        low, high = to.range()
        wide = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0)
        clipped = np.clip(wide, float(low), float(high))
        out = np.where(clipped >= float(high), 0, np.where(clipped <= float(low), 0, clipped)).astype(to.compute)
        return np.where(clipped >= float(high), to.compute.type(high), np.where(clipped <= float(low), to.compute.type(low), out))
    return x.astype(to.compute)


def _round_to_odd_f32(x: Any) -> Any:
    """float32 values whose last bit records inexactness, so that a later rounding to fewer bits is correct."""
    f = np.asarray(x).astype(np.float32)
    if np.asarray(x).dtype in (np.float32, np.float16):
        return f
    wide = np.asarray(x).astype(np.longdouble)
    back = f.astype(np.longdouble)
    bits = f.view(np.uint32)
    toward_zero = np.where((np.abs(back) > np.abs(wide)) & (back != 0), bits - 1, bits).astype(np.uint32)
    exact = (back == wide) | np.isnan(back) | np.isinf(wide)
    return np.where(exact, bits, toward_zero | 1).astype(np.uint32).view(np.float32)


def _truncate(x: Any, to: dt.DType) -> Any:
    near = cast_array(x, dt.float32, to)
    wide, back = np.asarray(x, np.float64), np.asarray(near, np.float64)
    over = (np.abs(back) > np.abs(wide)) & ~np.isnan(back)
    if to is dt.bfloat16:
        down = dt.bf16_from_bits((dt.bf16_to_bits(near).astype(np.int32) - 1).astype(np.uint16))
    else:
        down = np.nextafter(near, np.zeros_like(near))
    return np.where(over & ~np.isinf(wide), down, near)


cast = define(
    "cast", ("x",), _cast, attrs=("to", "rounding"), traits="elementwise pure cheap exact",
    spell={"c": "({T})({0})", "metal": "{T}({0})", ("c", "bool"): "{0} != 0"},
    doc="x as another type: floats round to nearest even (or towards zero with fp_downcast_rounding='rtz'), float to int truncates",
)  # fmt: skip


def _bits(elem: Any) -> int:
    return 64 if isinstance(elem, Pointer) else elem.bits


def _bitcast(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    to = attrs["to"]
    if _bits(types[0].elem) != to.bits:
        raise DtypeError(
            f"a bitcast keeps the width: {types[0].elem} has {_bits(types[0].elem)} bits and {to} has {to.bits}",
            "cast without bitcast=True to convert the value",
        )
    return (types[0].with_elem(to),)


def bitcast_array(x: Any, source: dt.DType, to: dt.DType) -> Any:
    """The same bits read as another type."""
    return dt.decode(np.ascontiguousarray(dt.encode(x, source)).view(to.storage).reshape(np.shape(x)), to)


bitcast = define(
    "bitcast", ("x",), _bitcast, attrs=("to",), traits="elementwise pure cheap exact",
    spell={"metal": "as_type<{T}>({0})", "cuda": "zm_bitcast<{T}>({0})", "host": "zm_bitcast<{T}>({0})"},
    doc="the same bits as another type of the same width",
)  # fmt: skip
