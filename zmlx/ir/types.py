"""Types of IR values: scalars and tiles of numbers or pointers, and the arrays of one thread."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from zmlx.dtypes import BY_SHORT, DType

MAX_TILE = 1 << 20  # elements
MAX_RANK = 4


@dataclass(frozen=True)
class Pointer:
    """A pointer to elements of a type in device memory."""

    elem: DType

    def __str__(self) -> str:
        return f"*{self.elem.short}"

    @property
    def bits(self) -> int:
        return 64


Elem = DType | Pointer


class Type:
    """A scalar (shape ()) or a tile. There is one object of each type, never changed: the compiler compares and looks up
    types all the time.

    dtype       the element type; only of what is no pointer
    """

    __slots__ = ("dtype", "elem", "is_pointer", "is_tile", "rank", "shape", "size", "text")
    elem: Elem
    shape: tuple[int, ...]
    is_tile: bool
    is_pointer: bool
    dtype: DType
    size: int
    rank: int
    text: str
    _all: ClassVar[dict[tuple[Elem, tuple[int, ...]], Type]] = {}

    def __new__(cls, elem: Elem, shape: tuple[int, ...] = ()) -> Type:
        found = cls._all.get((elem, shape))
        return cls._make(elem, shape) if found is None else found

    @classmethod
    def _make(cls, elem: Elem, shape: tuple[int, ...]) -> Type:
        t = object.__new__(cls)
        t.elem, t.shape, t.is_tile, t.rank, t.size = elem, shape, bool(shape), len(shape), prod(shape)
        t.is_pointer = isinstance(elem, Pointer)
        if isinstance(elem, DType):
            t.dtype = elem
        t.text = "x".join([*map(str, shape), elem.short if isinstance(elem, DType) else str(elem)])
        return cls._all.setdefault((elem, shape), t)  # threads may compile at once

    def __reduce__(self) -> tuple[Any, ...]:
        return Type, (self.elem, self.shape)

    def __repr__(self) -> str:
        return f"Type({self.elem!r}, {self.shape!r})"

    def __str__(self) -> str:
        return self.text

    def with_elem(self, elem: Elem) -> Type:
        return Type(elem, self.shape)

    def with_shape(self, shape: tuple[int, ...]) -> Type:
        return Type(self.elem, tuple(shape))

    @property
    def scalar(self) -> Type:
        return Type(self.elem)


@dataclass(frozen=True)
class ArrayType:
    """A fixed array that one thread owns (space "register") or the program shares (space "shared"); SIMT IR only."""

    elem: Elem
    size: int
    space: str

    def __str__(self) -> str:
        elem = self.elem.short if isinstance(self.elem, DType) else str(self.elem)
        return f"{self.space}[{self.size}, {elem}]"


AnyType = Type | ArrayType


def parse_type(text: str) -> AnyType:
    """The type whose `str` is `text`."""
    if "[" in text:
        space, rest = text.rstrip("]").split("[")
        size, elem = rest.split(", ")
        return ArrayType(_parse_elem(elem), int(size), space)
    *dims, elem = text.split("x")
    return Type(_parse_elem(elem), tuple(map(int, dims)))


def _parse_elem(text: str) -> Elem:
    return Pointer(BY_SHORT[text[1:]]) if text.startswith("*") else BY_SHORT[text]
