"""Types of IR values: scalars and tiles of numbers or pointers, and the arrays of one thread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

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


@dataclass(frozen=True)
class Type:
    """A scalar (shape ()) or a tile."""

    elem: Elem
    shape: tuple[int, ...] = ()

    def __str__(self) -> str:
        text: str | None = self.__dict__.get("_text")  # a cached_property would take a lock
        if text is None:
            elem = self.elem.short if isinstance(self.elem, DType) else str(self.elem)
            text = self.__dict__["_text"] = "x".join([*map(str, self.shape), elem]) if self.shape else elem
        return text

    @property
    def is_tile(self) -> bool:
        return bool(self.shape)

    @property
    def is_pointer(self) -> bool:
        return isinstance(self.elem, Pointer)

    @property
    def dtype(self) -> DType:
        """The element type; only for values that are no pointers."""
        assert isinstance(self.elem, DType)
        return self.elem

    @cached_property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

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
