"""The lattice of the axis analysis: one value's facts along each dimension, and how facts meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zmlx.dtypes import DType
from zmlx.ir.core import Value
from zmlx.ir.types import Pointer, Type

TOP = 1 << 40  # the divisibility of zero


@dataclass(frozen=True, slots=True)
class AxisInfo:
    """Facts about one value, one number a dimension; scalars have one-element tuples.

    contiguity    aligned groups of so many elements count up by one
    divisibility  of the first element of each contiguity group; of pointers, in bytes
    constancy     aligned groups of so many elements are equal
    constant      the value of all elements, where known
    nonneg        whether all elements are known to be at least zero
    """

    contiguity: tuple[int, ...]
    divisibility: tuple[int, ...]
    constancy: tuple[int, ...]
    constant: int | None = None
    nonneg: bool = False

    def at(self, d: int, group: int, unit: int = 1) -> int:
        """Divisibility of the elements whose index along d is a multiple of `group`; `unit` is a pointer's item size."""
        div = self.divisibility[d]
        return div if group >= self.contiguity[d] else min(div, group * unit)

    def everywhere(self, unit: int = 1) -> int:
        """Divisibility of every element."""
        return max(self.at(d, 1, unit) for d in range(len(self.contiguity)))


Info = AxisInfo


def power(n: int) -> int:
    """The largest power of two that divides n."""
    return min(n & -n, TOP) if n else TOP


def dims(t: Type) -> tuple[int, ...]:
    return t.shape or (1,)


def unit(t: Type) -> int:
    """By how much the numbers of a contiguous tile step: a pointer's item size, else 1."""
    return t.elem.elem.itemsize if isinstance(t.elem, Pointer) else 1


def unknown(t: Type) -> Info:
    ones = (1,) * len(dims(t))
    return Info(ones, ones, ones, None, isinstance(t.elem, DType) and not t.elem.is_signed)


def uniform(t: Type, div: int = 1, constant: int | None = None, nonneg: bool = False) -> Info:
    """One value in all elements."""
    shape = dims(t)
    if constant is not None:
        div, nonneg = power(constant), constant >= 0
    return Info((1,) * len(shape), (div,) * len(shape), shape, constant, nonneg or unknown(t).nonneg)


def meet(a: Info, b: Info, unit: int) -> Info:
    """What holds of a value that is one of two."""
    if a == b:
        return a
    contiguity = tuple(map(min, a.contiguity, b.contiguity))
    div = tuple(min(a.at(d, g, unit), b.at(d, g, unit)) for d, g in enumerate(contiguity))
    constant = a.constant if a.constant == b.constant else None
    return Info(contiguity, div, tuple(map(min, a.constancy, b.constancy)), constant, a.nonneg and b.nonneg)


def ty(v: Value) -> Type:
    """The type of a Tile IR value."""
    return v.type  # type: ignore[return-value]


def analysed(t: Any) -> bool:
    return isinstance(t, Type) and (t.is_pointer or t.dtype.is_int)
