"""Loads, stores and atomics."""

from __future__ import annotations

from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import ConstexprError, MaskError, PointerError, ShapeError, UnsupportedSyntaxError
from zmlx.intrinsics.builtin import Builtin, builtin
from zmlx.ir.core import Value
from zmlx.ops import atomic, memory
from zmlx.ops.coerce import TileBuilder
from zmlx.ops.memory import pointee


def _pointer(b: TileBuilder, p: Any, what: str) -> Value:
    v = b.to_value(p) if not isinstance(p, (tuple, list)) else p
    if not isinstance(v, Value):
        raise PointerError(f"{what} takes a pointer, got {p!r}", "pass the array's pointer plus offsets: ptr + offsets")
    pointee(v.type, what)  # type: ignore[arg-type]
    return v


def _fit(b: TileBuilder, v: Value, shape: tuple[int, ...], name: str, what: str, error: type[ShapeError] | type[MaskError]) -> Value:
    """v broadcast to the pointer's shape, which itself never grows."""
    try:
        return b.broadcast_to(v, shape)
    except ShapeError:
        pass
    grow = "a tile of pointers" if shape else "a tile of pointers instead of one: ptr + tl.arange(...)"
    message = f"{name} of {what} has shape {v.shape}, the pointer {shape}"
    raise error(message, f"{name} broadcasts to the pointer, not the reverse: pass {grow}")


def _mask(b: TileBuilder, mask: Any, shape: tuple[int, ...], what: str) -> Value | None:
    if mask is None or mask is True:
        return None
    v = b.to_value(mask)
    if v.type.elem is not dt.int1:
        raise MaskError(f"the mask of {what} has type {v.type}, not int1", "compare: mask=offsets < n")
    return _fit(b, v, shape, "the mask", what, MaskError)


def _no_block_pointer(boundary_check: Any, padding_option: Any, what: str) -> None:
    if boundary_check or padding_option:
        raise UnsupportedSyntaxError(
            f"boundary_check and padding_option of {what} belong to block pointers, which zmlx has not",
            "use a tile of pointers and a mask: tl.load(ptr + offsets, mask=offsets < n, other=0.0)",
        )


@builtin
def load(
    b: TileBuilder,
    pointer: Any,
    mask: Any = None,
    other: Any = None,
    boundary_check: Any = (),
    padding_option: Any = "",
    cache_modifier: Any = "",
    eviction_policy: Any = "",
    volatile: Any = False,
) -> Value:
    """The elements that a pointer or a tile of pointers points to. Where `mask` is false nothing is read and the result is
    `other` (0 if not given); both broadcast to the pointer's shape. `other` without `mask` is an error. boundary_check and
    padding_option are refused (no block pointers). `cache_modifier`, `eviction_policy` and `volatile` are accepted, so that
    Triton's kernels run unchanged, and ignored on purpose."""
    _no_block_pointer(boundary_check, padding_option, "tl.load")
    p = _pointer(b, pointer, "tl.load")
    elem = pointee(p.type, "tl.load")  # type: ignore[arg-type]
    if mask is None and other is not None:
        raise MaskError("`other` of tl.load without a mask", "give the mask that chooses it: tl.load(ptr, mask=offsets < n, other=0.0)")
    m = _mask(b, mask, p.shape, "tl.load")
    if m is None:
        return b.value(memory.load, p)
    filler = _fit(b, b.convert(0 if other is None else other, elem), p.shape, "`other`", "tl.load", MaskError)
    return b.value(memory.load, p, m, filler)


@builtin(method=True)
def store(
    b: TileBuilder,
    pointer: Any,
    value: Any,
    mask: Any = None,
    boundary_check: Any = (),
    cache_modifier: Any = "",
    eviction_policy: Any = "",
) -> None:
    """Writes a value through a pointer or a tile of pointers, where `mask` holds. The value is cast to the element type (to
    bfloat16: nearest even; float to int: truncated) and broadcast, as the mask, to the pointer's shape. boundary_check is
    refused (no block pointers); `cache_modifier` and `eviction_policy` are accepted and ignored on purpose."""
    _no_block_pointer(boundary_check, "", "tl.store")
    p = _pointer(b, pointer, "tl.store")
    elem = pointee(p.type, "tl.store")  # type: ignore[arg-type]
    v = _fit(b, b.convert(value, elem), p.shape, "the value", "tl.store", ShapeError)
    m = _mask(b, mask, p.shape, "tl.store")
    b.create(memory.store, [p, v] if m is None else [p, v, m])


SEMANTICS = ("acquire", "release", "acq_rel", "relaxed")
SCOPES = ("gpu", "cta", "sys")


def _order(sem: Any, scope: Any, what: str) -> dict[str, str]:
    """Attributes of a memory order; relaxed, the default, has none."""
    if sem is not None and sem not in SEMANTICS:
        raise ConstexprError(f"unknown sem {sem!r} of {what}", f"use one of {', '.join(map(repr, SEMANTICS))}")
    if scope is not None and scope not in SCOPES:
        raise ConstexprError(f"unknown scope {scope!r} of {what}", f"use one of {', '.join(map(repr, SCOPES))}")
    return {} if sem in (None, "relaxed") else {"sem": sem}


def _atomic(kind: str, doc: str) -> Builtin:
    what = f"tl.atomic_{kind}"

    def fn(b: TileBuilder, pointer: Any, val: Any, mask: Any = None, sem: Any = None, scope: Any = None) -> Value:
        p = _pointer(b, pointer, what)
        elem = pointee(p.type, what)  # type: ignore[arg-type]
        v = _fit(b, b.convert(val, elem), p.shape, "the value", what, ShapeError)
        m = _mask(b, mask, p.shape, what)
        return b.create(atomic.atomic_rmw, [p, v] if m is None else [p, v, m], {"kind": kind, **_order(sem, scope, what)}).result

    note = " One step per element; gives the old value (0 where masked off). sem: 'relaxed' (default) 'acquire' 'release' 'acq_rel'."
    return builtin(fn, name=f"atomic_{kind}", method=True, doc=doc + note, group="memory")


atomic_add = _atomic("add", "Adds to the elements behind the pointers.")
atomic_min = _atomic("min", "The smaller of old and new.")
atomic_max = _atomic("max", "The larger of old and new.")
atomic_and = _atomic("and", "Bitwise and.")
atomic_or = _atomic("or", "Bitwise or.")
atomic_xor = _atomic("xor", "Bitwise exclusive or.")
atomic_xchg = _atomic("xchg", "Replaces the elements.")


@builtin(method=True)
def atomic_cas(b: TileBuilder, pointer: Any, cmp: Any, val: Any, sem: Any = None, scope: Any = None) -> Value:
    """Replaces the elements that equal `cmp` by `val`; gives the old value."""
    p = _pointer(b, pointer, "tl.atomic_cas")
    elem = pointee(p.type, "tl.atomic_cas")  # type: ignore[arg-type]
    operands = [_fit(b, b.convert(v, elem), p.shape, n, "tl.atomic_cas", ShapeError) for n, v in (("cmp", cmp), ("val", val))]
    return b.create(atomic.atomic_cas, [p, *operands], _order(sem, scope, "tl.atomic_cas")).result
