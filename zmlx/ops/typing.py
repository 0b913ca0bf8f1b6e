"""Type rules that records share, and the promotion of element types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import DtypeError, ShapeError, TileSizeError
from zmlx.ir.opdef import TypeRule
from zmlx.ir.types import MAX_RANK, MAX_TILE, Type

KINDS: Mapping[str, Callable[[DType], bool]] = {
    "number": lambda d: True,
    "float": lambda d: d.is_float,
    "int": lambda d: d.is_int,
    "wide int": lambda d: d.is_int and d.bits >= 32,
    "signed or float": lambda d: d.is_signed or d.is_float,
}


def _check(t: Type, kind: str, what: str = "operand") -> None:
    if t.is_pointer:
        raise DtypeError(f"{what} is a pointer ({t}) where a number is meant", "load from the pointer first: tl.load(ptr)")
    if not KINDS[kind](t.dtype):
        raise DtypeError(f"{what} has type {t.dtype}, but this operation takes {_plural(kind)}", _remedy(kind))


def _plural(kind: str) -> str:
    return {"number": "numbers", "float": "floats", "int": "integers", "wide int": "32- or 64-bit integers"}.get(
        kind, "signed integers and floats"
    )


def _remedy(kind: str) -> str:
    return {"float": "cast it first: x.to(tl.float32)", "int": "cast it first: x.to(tl.int32)", "wide int": "x.to(tl.int32)"}.get(
        kind, "cast it to a signed type: x.to(tl.int32)"
    )


def same(n: int, kind: str = "number") -> TypeRule:
    """n operands of one type, and a result of that type."""

    accepted: dict[Type, tuple[Type, ...]] = {}

    def rule(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
        found = accepted.get(types[0]) if len(types) == n else None
        if found is None or types.count(types[0]) != n:
            _count(types, n)
            _equal(types)
            _check(types[0], kind)
            found = accepted[types[0]] = (types[0],)
        return found

    return rule


def compare(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    """Two operands of one type (numbers or pointers), and int1s of their shape."""
    if len(types) != 2 or types[0] is not types[1]:
        _count(types, 2)
        _equal(types)
    return (types[0].with_elem(dt.int1),)


def predicate(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    """One float operand, and int1s of its shape."""
    _count(types, 1)
    _check(types[0], "float")
    return (types[0].with_elem(dt.int1),)


def none(n: int) -> TypeRule:
    """n operands of any type and no result."""

    def rule(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
        _count(types, n)
        return ()

    return rule


def _count(types: Sequence[Any], n: int) -> None:
    if len(types) != n:
        raise DtypeError(f"takes {n} operands, got {len(types)}")


def _equal(types: Sequence[Type]) -> None:
    for t in types[1:]:
        if t != types[0]:
            raise DtypeError(f"operands have different types {types[0]} and {t}")


def check_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A tile's shape: powers of two, rank ≤ 4, at most 2^20 elements."""
    return _checked(tuple(map(int, shape)))


@cache
def _checked(dims: tuple[int, ...]) -> tuple[int, ...]:
    for d in dims:
        if d < 1 or d & (d - 1):
            up = 1 << max(0, d - 1).bit_length()
            raise TileSizeError(
                f"a tile dimension must be a power of two, got {d}",
                f"use {up} and mask the rest: mask=offsets < {d}; zmlx.next_power_of_2({d}) is {up}" if d > 0 else "use 1 or more",
            )
    if len(dims) > MAX_RANK:
        raise ShapeError(f"a tile has at most {MAX_RANK} dimensions, got {len(dims)}", "reshape to fewer dimensions")
    total = Type(dt.int8, dims).size
    if total > MAX_TILE:
        raise TileSizeError(
            f"a tile of shape {dims} has {total} elements; the most is {MAX_TILE}", "use a smaller block and a loop or a larger grid"
        )
    return dims


@lru_cache(maxsize=1 << 12)
def broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape; the shorter is padded with 1s on the left."""
    rank = max(len(a), len(b))
    pa, pb = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    out = []
    for x, y in zip(pa, pb, strict=True):
        if x != y and 1 not in (x, y):
            raise ShapeError(
                f"shapes {a} and {b} do not broadcast: {x} against {y}", "add a dimension where it is meant: x[:, None] or x[None, :]"
            )
        out.append(max(x, y))
    return tuple(out)


def promote(a: DType, b: DType, division: bool = False) -> DType:
    """The element type of an operation between two tensors (Triton's rules)."""
    if a.is_float or b.is_float:
        if dt.float64 in (a, b):
            return dt.float64
        if dt.float32 in (a, b):
            return dt.float32
        if division:
            return dt.float32
        if a is b:
            return a
        if dt.float16 in (a, b):  # with bfloat16: float16; with an integer: float16
            return dt.float16
        return dt.float32  # bfloat16 with an integer
    if division:
        return dt.float32
    if a.is_signed == b.is_signed:
        return a if a.bits >= b.bits else b
    unsigned, signed = (a, b) if b.is_signed else (b, a)
    return unsigned if unsigned.bits >= signed.bits else signed
