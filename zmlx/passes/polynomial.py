"""Integers and pointers as polynomials of a kernel's scalars, tiles of them as planes: start + Σ step[d] · index[d].

What two-dimensional copies need to know of a tile of addresses. Machine integers are taken for the integers: a kernel whose
offsets wrap reads outside of its arrays anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type

MOST_TERMS = 16

Monomial = tuple[Value, ...]  # a product of scalars


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of products of scalars: the factor of each. Products keep the order in which they were first met, for one text a kernel."""

    terms: Mapping[Monomial, int]

    @staticmethod
    def of(terms: Iterable[tuple[Monomial, int]]) -> Polynomial:
        total: dict[frozenset[tuple[Value, int]], tuple[Monomial, int]] = {}
        for monomial, factor in terms:
            key = frozenset(Counter(monomial).items())
            first, before = total.get(key, (monomial, 0))
            total[key] = (first, before + factor)
        return Polynomial({m: f for m, f in total.values() if f})

    @staticmethod
    def constant(value: int) -> Polynomial:
        return Polynomial.of([((), value)])

    @property
    def known(self) -> int | None:
        """The value, if it depends on no scalar."""
        return self.terms.get((), 0) if not any(self.terms) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and not (self - other).terms

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Polynomial) -> Polynomial:
        return Polynomial.of([*self.terms.items(), *other.terms.items()])

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other * Polynomial.constant(-1)

    def __mul__(self, other: Polynomial) -> Polynomial:
        return Polynomial.of(((*m, *n), f * g) for m, f in self.terms.items() for n, g in other.terms.items())

    def moving(self, by: Callable[[Value], Polynomial | None]) -> Polynomial:
        """The terms with a scalar that grows."""
        return Polynomial({m: f for m, f in self.terms.items() if any((g := by(v)) is None or g.terms for v in m)})

    def growth(self, by: Callable[[Value], Polynomial | None]) -> Polynomial | None:
        """What the polynomial grows by when each scalar s grows by `by(s)`, 0 for most; None where that is not the same each time."""
        total = ZERO
        for monomial, factor in self.terms.items():
            steps = [by(v) for v in monomial]
            if any(s is None for s in steps):
                return None
            moving = [i for i, s in enumerate(steps) if s is not None and s.terms]
            if len(moving) > 1:
                return None
            for i in moving:
                rest = Polynomial.of([((*monomial[:i], *monomial[i + 1 :]), factor)])
                total += rest * steps[i]  # type: ignore[operator]
        return total


ZERO = Polynomial({})


@dataclass(frozen=True)
class Plane:
    """A tile of integers, or of addresses as elements beyond `root`."""

    start: Polynomial
    steps: tuple[Polynomial, ...]
    root: Value | None = None


def plane(v: Value) -> Plane | None:
    """A tile or scalar as a plane, if it is one."""
    t = v.type
    if not isinstance(t, Type) or (not t.is_pointer and not t.dtype.is_int):
        return None
    op = v.op
    found = _made_by(op, v) if op is not None else None
    if found is None and not t.shape:
        found = Plane(ZERO, (), v) if t.is_pointer else Plane(Polynomial.of([((v,), 1)]), ())
    if found is not None and max((len(p.terms) for p in (found.start, *found.steps)), default=0) > MOST_TERMS:
        return None
    return found


def _made_by(op: Op, v: Value) -> Plane | None:
    shape: tuple[int, ...] = v.type.shape  # type: ignore[union-attr]
    if op.name == "constant":
        value = op.attrs["value"]
        return Plane(Polynomial.constant(int(value)), ()) if isinstance(value, int) and not shape else None
    if op.name == "arange":
        return Plane(Polynomial.constant(op.attrs["start"]), (Polynomial.constant(1),))
    if op.name not in ("hint", "cast", "splat", "expand_dims", "broadcast", "trans", "add", "sub", "mul", "addptr", "neg"):
        return None
    if op.name == "cast" and (not op.operands[0].type.dtype.is_int or v.type.dtype.bits < op.operands[0].type.dtype.bits):  # type: ignore[union-attr]
        return None
    planes = [plane(x) for x in op.operands]
    if any(p is None for p in planes):
        return None
    x, *rest = planes
    assert x is not None
    if op.name in ("hint", "cast"):
        return x
    if op.name == "splat":
        return Plane(x.start, (ZERO,) * len(shape), x.root)
    if op.name == "expand_dims":
        at = op.attrs["axis"]
        return Plane(x.start, (*x.steps[:at], ZERO, *x.steps[at:]), x.root)
    if op.name == "broadcast":
        was = op.operands[0].type.shape  # type: ignore[union-attr]
        return Plane(x.start, tuple(ZERO if n == 1 else s for n, s in zip(was, x.steps, strict=True)), x.root)
    if op.name == "trans":
        return Plane(x.start, tuple(x.steps[i] for i in op.attrs["order"]), x.root)
    if op.name == "neg":
        return _minus(Plane(ZERO, (ZERO,) * len(x.steps)), x)
    y = rest[0]
    assert y is not None
    if op.name in ("add", "addptr"):
        return Plane(x.start + y.start, tuple(a + b for a, b in zip(x.steps, y.steps, strict=True)), x.root)
    if op.name == "sub":
        return _minus(x, y)
    if any(s.terms for s in x.steps):
        x, y = y, x
    if any(s.terms for s in x.steps):
        return None  # a product of two indices
    return Plane(x.start * y.start, tuple(x.start * s for s in y.steps))


def _minus(x: Plane, y: Plane) -> Plane:
    return Plane(x.start - y.start, tuple(a - b for a, b in zip(x.steps, y.steps, strict=True)), x.root)
