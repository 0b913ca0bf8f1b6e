"""Loads and stores. Operands are already broadcast: pointer, value, mask and other have one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import MaskError, PointerError, ShapeError
from zmlx.ir.types import Pointer, Type
from zmlx.ops.registry import define

Types = Sequence[Type]
Attrs = Mapping[str, Any]


def pointee(t: Type, what: str) -> dt.DType:
    """The element type behind a pointer."""
    if not isinstance(t.elem, Pointer):
        raise PointerError(f"{what} takes a pointer, got a value of type {t}", "pass the array's pointer plus offsets: ptr + offsets")
    return t.elem.elem


def check_mask(t: Type, shape: tuple[int, ...], what: str) -> None:
    if t.elem is not dt.int1:
        raise MaskError(f"the mask of {what} has type {t}, not int1", "compare: mask=offsets < n")
    if t.shape != shape:
        raise ShapeError(f"the mask of {what} has shape {t.shape}, the pointer {shape}")


def _load(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    ptr = types[0]
    result = ptr.with_elem(pointee(ptr, "tl.load"))
    if len(types) == 3:
        check_mask(types[1], ptr.shape, "tl.load")
        if types[2] != result:
            raise MaskError(f"`other` of tl.load has type {types[2]}, the load {result}")
    elif len(types) != 1:
        raise MaskError("a load has a pointer alone, or a pointer, a mask and `other`")
    return (result,)


def _store(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    ptr, value = types[:2]
    if value != ptr.with_elem(pointee(ptr, "tl.store")):
        raise ShapeError(f"a store through {ptr} takes {ptr.with_elem(pointee(ptr, 'tl.store'))}, got {value}")
    if len(types) == 3:
        check_mask(types[2], ptr.shape, "tl.store")
    return ()


# A load with a mask has `other` too; masked-off elements take it and touch no memory.
load = define("load", ("ptr", "mask?", "other?"), _load, traits="reads")
store = define("store", ("ptr", "value", "mask?"), _store, traits="writes effect")
