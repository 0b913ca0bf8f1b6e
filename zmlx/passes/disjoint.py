"""Disjoint accesses: pointer tiles of one array that provably never meet, whichever of their elements are compared.

A pointer tile is written as a base, one pointer for all of it, plus an offset in elements: an integer polynomial in
atoms. An atom is a scalar that is not looked into, the index along a dimension of the tile, or a tile whose elements
are unknown. The difference of two offsets of one base is then

    c  +  sum of stride · index, each index within its extent  +  unknown multiples of some integers

since the monomials in scalars that both have cancel, and every other one is an unknown multiple of its coefficient.
The tiles are disjoint if that is never 0: shown by its bounds, or by its remainder for a divisor of the larger strides.

All of this is modulo 2^32. Sums and products of 32- and 64-bit integers, and conversions among them, give the same
result modulo 2^32 whether or not they wrap, so the offset of an element is congruent to its polynomial. Offsets that
differ modulo 2^32 differ; and times the item size, at most 8, they still differ modulo the 2^64 of addresses. Thus
multiples of 2^32 are one more unknown, save where the bounds leave no such multiple but 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import gcd

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.passes.axis_info import AxisInfo, analysed, ty

__all__ = ["Disjoint"]

WRAP = 1 << 32
MOST_TERMS = 32  # of a polynomial; a larger one counts as an atom


@dataclass(frozen=True)
class Index:
    """The index along dimension `dim`; or one of its own, no dimension of the tile, where `of` says whose it is."""

    dim: int
    extent: int
    of: Value | None = None


Atom = Value | Index
Monomial = tuple[Atom, ...]  # sorted; () is the constant's
Poly = dict[Monomial, int]


def _add(x: Poly, y: Poly, factor: int = 1) -> Poly:
    out = dict(x)
    for m, c in y.items():
        out[m] = out.get(m, 0) + factor * c
    return {m: c for m, c in out.items() if c % WRAP}


def _mul(x: Poly, y: Poly) -> Poly:
    out: Poly = {}
    for mx, cx in x.items():
        out = _add(out, {tuple(sorted((*mx, *my), key=hash)): cx * cy for my, cy in y.items()})
    return out


def _signed(n: int) -> int:
    """The number nearest to 0 that is congruent to n."""
    return (n + WRAP // 2) % WRAP - WRAP // 2


def _is_ring(v: Value) -> bool:
    """Whether arithmetic on the value keeps its meaning modulo 2^32."""
    t = ty(v)
    return not t.is_pointer and t.dtype.is_int and t.dtype.bits >= 32


class Disjoint:
    """`facts`: the axis analysis of the same function, for what unknown numbers are multiples of."""

    def __init__(self, fn: Function, facts: Mapping[Value, AxisInfo]) -> None:
        self.facts = facts
        self.offsets: dict[Value, Poly] = {}
        self.bases: dict[Value, Value] = {}
        self._block(fn.body)

    def apart(self, p: Value, q: Value, variant: Collection[Value] = ()) -> bool:
        """Whether no element of pointer (tile) p is an element of q. False where that is not known.

        variant: values that may differ between the time of p and that of q, as those of a loop's body do between
        iterations.
        """
        base = self.bases.get(p)
        if base is None or base is not self.bases.get(q) or base in variant:
            return False
        x, y = self.offsets[p], self.offsets[q]
        constant, ranges, multiples = 0, [], 0
        for m in x.keys() | y.keys():
            a, b = x.get(m, 0), y.get(m, 0)
            if all(isinstance(v, Value) and not ty(v).shape and v not in variant for v in m):
                if not m:
                    constant = _signed(a - b)
                else:
                    multiples = gcd(multiples, (a - b) % WRAP * self._factor(m))
            elif len(m) == 1 and isinstance(m[0], Index):
                ranges += [(_signed(c), m[0].extent - 1) for c in (a, -b) if c]
            else:
                multiples = gcd(multiples, a * self._factor(m), b * self._factor(m))
        return _never_zero(constant, ranges, multiples)

    def _factor(self, m: Monomial) -> int:
        """What every value of a monomial is a multiple of."""
        out = 1
        for v in m:
            if isinstance(v, Value) and v in self.facts:
                out *= self.facts[v].everywhere()
        return out

    def _block(self, block: Block) -> None:
        for v in block.args:
            self._opaque(v)
        for op in block.ops:
            for region in op.regions:
                self._block(region)
            for v in op.results:
                self._opaque(v)
            self._step(op)

    def _opaque(self, v: Value) -> None:
        if not analysed(v.type):
            return
        if _is_ring(v):
            self.offsets[v] = {(v,): 1}
        elif ty(v).is_pointer and not ty(v).shape:
            self.bases[v], self.offsets[v] = v, {}

    def _step(self, op: Op) -> None:
        """What is known of the result of an op, from what is known of its operands."""
        if len(op.results) != 1 or not all(v in self.offsets for v in op.operands):
            return
        result = op.results[0]
        if not analysed(result.type) or not (ty(result).is_pointer or _is_ring(result)):
            return
        poly = self._poly(op)
        if poly is not None and len(poly) <= MOST_TERMS:
            self.offsets[result] = poly
            if ty(result).is_pointer:
                self.bases[result] = self.bases[op.operands[0]]

    def _poly(self, op: Op) -> Poly | None:
        args = [self.offsets[v] for v in op.operands]
        match op.name:
            case "constant":
                return {(): op.attrs["value"]} if op.attrs["value"] % WRAP else {}
            case "arange":
                n = op.attrs["end"] - op.attrs["start"]
                return _add({(): op.attrs["start"]}, {(Index(0, n),): int(n > 1)})
            case "add" | "addptr":
                return _add(args[0], args[1])
            case "sub":
                return _add(args[0], args[1], -1)
            case "neg":
                return _add({}, args[0], -1)
            case "mul":
                return _mul(args[0], args[1])
            case "shl":
                shift = args[1].get((), 0)
                constant = not args[1].keys() - {()} and 0 <= shift < ty(op.result).dtype.bits
                return _mul(args[0], {(): 1 << shift}) if constant else None
            case "cast" | "hint" | "splat":
                return args[0]
            case "expand_dims" | "broadcast" | "trans" | "reshape":
                return _moved(op, args[0])
        return None


def _moved(op: Op, x: Poly) -> Poly | None:
    """The polynomial of a view. An index that becomes none of the result's own turns into one that varies by itself.

    That gives up how it goes with other tiles' indices, and so allows for more elements than there are, never for
    fewer. An atom that varies from element to element has no name for its element elsewhere: it is given up.
    """
    if any(a.of is not None if isinstance(a, Index) else ty(a).shape for m in x for a in m):
        return None
    shape, new = ty(op.operands[0]).shape, ty(op.result).shape
    place: dict[int, int] = {}
    if op.name == "trans":
        place = {old: k for k, old in enumerate(op.attrs["order"])}
    else:
        old_dims, new_dims = ([d for d, n in enumerate(s) if n > 1] for s in (shape, new))
        if op.name == "broadcast":
            place = {d: d for d in old_dims}
        elif [shape[d] for d in old_dims] == [new[d] for d in new_dims]:
            place = dict(zip(old_dims, new_dims, strict=True))

    def atom(a: Atom) -> Atom:
        if not isinstance(a, Index):
            return a
        return Index(place[a.dim], a.extent) if a.dim in place else Index(a.dim, a.extent, op.result)

    return {tuple(sorted(map(atom, m), key=hash)): c for m, c in x.items()}


def _never_zero(constant: int, ranges: list[tuple[int, int]], multiples: int) -> bool:
    """Whether constant + Σ stride · k + any multiple of `multiples` is never 0 modulo 2^32, k from 0 to its range's end."""
    low, high = _bounds(constant, ranges)
    modulus = 0 if not multiples and low > -WRAP and high < WRAP else gcd(multiples, WRAP)
    for stride in (0, *sorted((abs(s) for s, _ in ranges), reverse=True)):
        modulus = gcd(modulus, stride)
        low, high = _bounds(constant, [r for r in ranges if not modulus or r[0] % modulus])
        if low > 0 or high < 0 if not modulus else low % modulus and low // modulus == high // modulus:
            return True
    return False


def _bounds(constant: int, ranges: list[tuple[int, int]]) -> tuple[int, int]:
    ends = [stride * last for stride, last in ranges]
    return constant + sum(e for e in ends if e < 0), constant + sum(e for e in ends if e > 0)
