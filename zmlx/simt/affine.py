"""Which elements of an array a tile of pointers may touch, as a sum of unknown scalars and a known range.

`p + (pid * 1024 + arange(0, 256))` is {p, 1024 pid} and 0 … 255. Two such tiles whose unknowns are the same and whose ranges
do not meet touch no element both. As in the axis analysis, indices are assumed not to wrap.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.ir.core import Value
from zmlx.ir.types import Pointer, Type

DEEPEST = 64  # ops that one sum is followed through
_PASSED = {"splat", "broadcast", "expand_dims", "reshape", "trans", "hint"}


@dataclass(frozen=True)
class Reach:
    """`unknown`: what is added, as (scalar, factor) pairs; `first` to `last`: the numbers that are added to that."""

    unknown: frozenset[tuple[Value, int]]
    first: int
    last: int

    def plus(self, other: Reach, sign: int = 1) -> Reach:
        total = dict(self.unknown)
        for v, factor in other.unknown:
            total[v] = total.get(v, 0) + sign * factor
        low, high = sorted((sign * other.first, sign * other.last))
        return Reach(frozenset((v, f) for v, f in total.items() if f), self.first + low, self.last + high)

    def times(self, factor: int) -> Reach:
        low, high = sorted((factor * self.first, factor * self.last))
        return Reach(frozenset((v, factor * f) for v, f in self.unknown if factor), low, high)

    def misses(self, other: Reach) -> bool:
        """Whether no number is in both."""
        return self.unknown == other.unknown and (self.last < other.first or other.last < self.first)


def reach(v: Value, depth: int = 0) -> Reach | None:
    """The numbers that a scalar or tile of integers or pointers (counted in elements) may hold, None where nothing is known."""
    op, t = v.op, v.type
    assert isinstance(t, Type)
    if op is not None and depth < DEEPEST:
        if op.has("constant") and t.dtype.is_int:
            return Reach(frozenset(), int(op.attrs["value"]), int(op.attrs["value"]))
        if op.name == "arange":
            return Reach(frozenset(), op.attrs["start"], op.attrs["end"] - 1)
        if op.name in _PASSED or (op.name == "cast" and _widens(op.operands[0], v)):
            return reach(op.operands[0], depth + 1)
        if op.name in ("add", "addptr", "sub", "mul") and _counts(v):
            x, y = (reach(a, depth + 1) for a in op.operands)
            if x is not None and y is not None:
                if op.name != "mul":
                    return x.plus(y, -1 if op.name == "sub" else 1)
                for a, b in ((x, y), (y, x)):
                    if not b.unknown and b.first == b.last:
                        return a.times(b.first)
    return None if t.shape else Reach(frozenset([(v, 1)]), 0, 0)


def _counts(v: Value) -> bool:
    """Whether a value is an integer or a pointer."""
    t = v.type
    assert isinstance(t, Type)
    return isinstance(t.elem, Pointer) or (t.dtype.is_int and not t.dtype.is_bool)


def _widens(x: Value, y: Value) -> bool:
    a, b = x.type.elem, y.type.elem
    if isinstance(a, Pointer) or isinstance(b, Pointer):
        return False
    return a.is_int and b.is_int and not a.is_bool and b.bits >= a.bits and a.is_signed == b.is_signed
