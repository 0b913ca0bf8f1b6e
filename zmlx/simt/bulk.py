"""Operands of products that the hardware copies by itself: boxes of a matrix, asked for by one thread.

It takes a tile of addresses that is a plane, with masks that are edges of a matrix: `base + row * stride + column` where
`row < rows` and `column < columns`. Whether base and stride are multiples of 16 bytes is tested when the program runs,
which falls back on copies by all threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.ir.core import Value
from zmlx.ops import arith, compare, simt_mma
from zmlx.passes.polynomial import ZERO, Polynomial, plane
from zmlx.simt.staging import ALIGN, Operand, terms

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

LEAST_BYTES = 24 * 1024  # of an iteration's operands, and
LEAST_DISTANCE = 2  # iterations that copies are ahead: one thread waits for all warps before it asks, which must not be felt
LEAST_TRIPS = 4  # of the loop: for less, to describe the matrices takes longer than it saves
MOST_ROWS = 256  # of a box
MOST_STRIDE = 1 << 40  # bytes
NO_END = (1 << 31) - 1  # of a dimension without an edge

Growth = Callable[[Value], Polynomial | None]


@dataclass(frozen=True)
class Box:
    """A tile of a matrix. Along each dimension of the tile: where it starts in the matrix, and where the matrix ends (one of these)."""

    operand: Operand
    root: Value
    base: Polynomial  # of the matrix, in elements beyond the root
    stride: Polynomial  # elements from a row of the matrix to the next
    starts: tuple[Polynomial, Polynomial]
    ends: tuple[tuple[Polynomial, ...], ...]

    @property
    def panels(self) -> int:
        """Boxes that the copying hardware takes at once, side by side."""
        return self.operand.shape[self.operand.along] * self.operand.elem.itemsize // self.operand.row_bytes

    @property
    def attrs(self) -> dict[str, int]:
        return {"row_bytes": self.operand.row_bytes, "box": self.operand.shape[1 - self.operand.along]}


def box(x: Operand, growth: Growth) -> Box | None:
    """A load as a box, if it is one in every iteration of a loop, and of one matrix. growth: of a scalar in an iteration."""
    load = x.tile.op
    assert load is not None
    address = plane(load.operands[0])
    rows = x.shape[1 - x.along]
    if address is None or address.root is None or rows > MOST_ROWS or x.row_bytes < 32 or x.size * x.elem.itemsize % ALIGN:
        return None
    if len(load.operands) == 3 and not _is_zero(load.operands[2]):
        return None
    edges = _edges(load.operands[1], growth) if len(load.operands) > 1 else {}
    if edges is None or address.steps[x.along].known != 1:
        return None
    starts = [ZERO, ZERO]
    ends: list[tuple[Polynomial, ...]] = [(Polynomial.constant(n),) for n in x.shape]
    for d, (start, found) in edges.items():
        starts[d], ends[d] = start, tuple(found)
    stride = address.steps[1 - x.along]
    base = address.start - sum((s * starts[d] for d, s in enumerate(address.steps)), ZERO)
    for d in (1 - x.along, x.along):  # what still moves goes along a dimension without an edge
        moves = _quotient(base.moving(growth), address.steps[d]) if d not in edges else ZERO
        grows = moves.growth(growth)
        if moves.terms and grows is not None and grows.known is not None and grows.known > 0:
            starts[d], ends[d] = moves, (Polynomial.constant(NO_END),)
            base -= moves * address.steps[d]
    fixed = all((g := p.growth(growth)) is not None and not g.terms for p in (base, stride))
    return Box(x, address.root, base, stride, (starts[0], starts[1]), tuple(ends)) if fixed else None


def _quotient(p: Polynomial, by: Polynomial) -> Polynomial:
    """How often a product of scalars is in the terms that are multiples of it."""
    if len(by.terms) != 1:
        return ZERO
    (monomial, factor), found = next(iter(by.terms.items())), []
    for m, f in p.terms.items():
        rest = Counter(m)
        rest.subtract(monomial)
        if f % factor == 0 and min(rest.values(), default=0) >= 0:
            found.append((tuple(rest.elements()), f // factor))
    return Polynomial.of(found)


def _is_zero(v: Value) -> bool:
    while v.op is not None and v.op.has("view"):
        v = v.op.operands[0]
    return v.op is not None and v.op.name == "constant" and v.op.attrs["value"] == 0


def _edges(mask: Value, growth: Growth) -> dict[int, tuple[Polynomial, list[Polynomial]]] | None:
    """For each dimension that a mask bounds: the first index of the tile, and what it is to stay below (the least of them)."""
    edges: dict[int, tuple[Polynomial, list[Polynomial]]] = {}
    for term in terms(mask):
        found = _edge(term)
        if found is None:
            return None
        d, start, end = found
        grows, moves = start.growth(growth), end.growth(growth)
        if grows is None or grows.known is None or grows.known < 0 or moves is None or moves.terms:
            return None
        if d in edges and (edges[d][0] - start).terms:
            return None
        edges.setdefault(d, (start, []))[1].append(end)
    return edges


def _edge(term: Value) -> tuple[int, Polynomial, Polynomial] | None:
    """`start + index < end` along one dimension."""
    views = []
    while term.op is not None and term.op.has("view"):
        views.append(term.op)
        term = term.op.operands[0]
    op = term.op
    if op is None or op.name not in ("lt", "le", "gt", "ge"):
        return None
    sides = [plane(v) for v in op.operands]
    if op.name in ("gt", "ge"):
        sides.reverse()
    small, large = sides
    if small is None or large is None or small.root is not None or any(s.terms for s in large.steps):
        return None
    steps = small.steps
    for view in reversed(views):
        seen = _seen_through(view.name, view.attrs, view.operands[0], steps)
        if seen is None:
            return None
        steps = seen
    moving = [d for d, s in enumerate(steps) if s.terms]
    if len(moving) != 1 or steps[moving[0]].known != 1:
        return None
    end = large.start if op.name in ("lt", "gt") else large.start + Polynomial.constant(1)
    return moving[0], small.start, end


def _seen_through(name: str, attrs: object, operand: Value, steps: tuple[Polynomial, ...]) -> tuple[Polynomial, ...] | None:
    if name == "expand_dims":
        at = attrs["axis"]  # type: ignore[index]
        return (*steps[:at], ZERO, *steps[at:])
    if name == "broadcast":
        return tuple(ZERO if n == 1 else s for n, s in zip(operand.type.shape, steps, strict=True))  # type: ignore[union-attr]
    if name == "trans":
        return tuple(steps[i] for i in attrs["order"])  # type: ignore[index]
    return None


class Bulk:
    """The boxes of a loop's operands, and whether this machine and these arrays let them be copied so (`ready`)."""

    def __init__(self, low: Lowering, boxes: list[Box]) -> None:
        self.low, self.boxes = low, boxes
        self.ready: Value | None = None

    def number(self, value: Polynomial) -> Value:
        """The value of a polynomial, in 64 bits."""
        low, e = self.low, self.low.e
        total: Value | None = None
        for monomial, factor in value.terms.items():
            product: Value | None = None if factor != 1 or not monomial else e.convert(low.scalar(monomial[0]), dt.int64)
            rest = monomial[1:] if product is not None else monomial
            product = product if product is not None else e.constant(factor, dt.int64)
            for v in rest:
                product = e.value(arith.mul, product, e.convert(low.scalar(v), dt.int64))
            total = product if total is None else e.value(arith.add, total, product)
        return total if total is not None else e.constant(0, dt.int64)

    def test(self, bounds: list[Value]) -> None:
        """Before the loop, with the scalars of its first iteration: decides."""
        e = self.low.e
        low, high, step = (e.convert(v, dt.int64) for v in bounds)
        ready: Value = e.value(simt_mma.bulk_ready)

        def need(condition: Value) -> None:
            nonlocal ready
            ready = e.value(arith.and_, ready, condition)

        def is_multiple(v: Value) -> Value:
            return e.value(compare.eq, e.value(arith.and_, v, e.constant(15, dt.int64)), e.constant(0, dt.int64))

        need(e.value(compare.lt, e.value(arith.add, low, e.value(arith.mul, step, e.constant(LEAST_TRIPS - 1, dt.int64))), high))
        self._made: list[tuple[Value, Value, list[Value]]] = []
        for b in self.boxes:
            base = e.advance(self.low.scalar(b.root), self.number(b.base))
            stride = e.value(arith.mul, self.number(b.stride), e.constant(b.operand.elem.itemsize, dt.int64))
            need(e.value(simt_mma.is_aligned, base, bytes=16))
            need(is_multiple(stride))
            need(e.value(compare.gt, stride, e.constant(0, dt.int64)))
            need(e.value(compare.lt, stride, e.constant(MOST_STRIDE, dt.int64)))
            ends = []
            for start, options in zip(b.starts, b.ends, strict=True):
                if start.known is None or start.known < 0:
                    need(e.value(compare.ge, self.number(start), e.constant(0, dt.int64)))
                end = self.number(options[0])
                for other in options[1:]:
                    end = e.value(arith.minimum, end, self.number(other))
                if any(o.known is None for o in options):
                    need(e.value(compare.gt, end, e.constant(0, dt.int64)))
                    need(e.value(compare.lt, end, e.constant(1 << 31, dt.int64)))
                ends.append(end)
            self._made.append((base, stride, ends))
        ready.name = "bulk"
        self.ready = ready

    def describe(self, arrays: list[Value]) -> None:
        """Makes the maps; arrays: of the operands, whose shared memory is free still."""
        e = self.low.e
        with e.guard(self.ready):
            for i, (b, (base, stride, ends), array) in enumerate(zip(self.boxes, self._made, arrays, strict=True)):
                along = b.operand.along
                attrs = {"number": i, "count": len(self.boxes), **b.attrs}
                e.create(simt_mma.bulk_map, [base, stride, ends[along], ends[1 - along], array], attrs)

    def copy(self, arrays: list[Value], ring: Value, stage: Value, stages: int) -> None:
        """One thread starts the copies of an iteration, whose scalars are bound, into a stage that is free."""
        e = self.low.e
        size = sum(b.operand.size * b.operand.elem.itemsize for b in self.boxes)
        e.create(simt_mma.ring, [ring, stage], {"do": "expect", "stages": stages, "bytes": size})
        for i, (b, array) in enumerate(zip(self.boxes, arrays, strict=True)):
            along = b.operand.along
            column, row = (e.convert(self.number(b.starts[d]), dt.int32) for d in (along, 1 - along))
            attrs = {"number": i, "count": len(self.boxes), "panels": b.panels, **b.attrs}
            at = e.as_value(e.mul(stage, b.operand.size))
            e.create(simt_mma.bulk_copy, [column, row, array, at, ring, stage], attrs)


def plan(low: Lowering, operands: list[Operand], distance: int, growth: Growth) -> tuple[Bulk | None, str]:
    """Bulk copies for the operands of a loop, if all of them are boxes, and large; else why not."""
    if knobs.dot() == "threads":
        return None, f"{knobs.DOT.name}=threads is set"
    if sum(x.size * x.elem.itemsize for x in operands) < LEAST_BYTES:
        return None, f"an iteration has less than {LEAST_BYTES // 1024} KB of them"
    if distance < LEAST_DISTANCE:
        return None, "they are one iteration ahead, and one thread that waits for all would be late"
    boxes = [box(x, growth) for x in operands]
    found = [b for b in boxes if b is not None]
    if len(found) < len(boxes):
        names = ", ".join(x.tile.name or "one" for x, b in zip(operands, boxes, strict=True) if b is None)
        return None, f"not all are boxes of a matrix with masks at its edges and 0 beyond ({names})"
    return Bulk(low, found), ""
