"""Loops around products: operands that do not change are staged once, the others some iterations ahead.

An iteration's loads can be made early where their addresses and masks follow from the loop's index and from carried scalars
that grow by the same amount each time. Shared memory then holds several iterations' operands (`num_stages` in all): while
one is multiplied, the next are being copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Elem
from zmlx.ops import arith, compare, simt_mma
from zmlx.passes.polynomial import ZERO, Polynomial, plane
from zmlx.simt import bulk, tensor
from zmlx.simt.convert import prepare
from zmlx.simt.staging import Operand, copies_whole, is_load, layout_of, prepare_copy, stage

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

STAGES = 4  # where nothing says how many
BUDGET = 200 * 1024  # bytes of shared memory for all stages, unless the user asks for more


@dataclass
class Ahead:
    """One operand that is staged early: the ops of the body that its addresses and masks come from, and its stages."""

    operand: Operand
    slice: set[Op]
    array: Value | None = None


class Pipeline:
    """The stages of one loop. `increments`: what each carried scalar grows by, None where that is not known."""

    names = ("stage", "phase")  # of the scalars that say where in the ring an iteration is
    ring: Value | None = None
    going_on: Value | None = None  # the accumulator of the product that may still go on when an iteration starts

    def __init__(self, low: Lowering, op: Op) -> None:
        self.low, self.op, self.region = low, op, op.regions[0]
        self.products = [p for p in self.region.ops if p.name == "dot" and tensor.fits(p, low.target.dialect)]
        self.increments = [self._increment(i) for i in range(len(op.results))]
        found: dict[object, Operand] = {x.key: x for p in self.products for x in tensor.staged_operands(low, p)}
        self.fixed = [x for x in found.values() if self._outside(x.tile)]
        self.ahead = [Ahead(x, s) for x in found.values() if not self._outside(x.tile) and (s := self._slice(x)) is not None]
        self.bytes = sum(a.operand.size * a.operand.elem.itemsize for a in self.ahead)
        self.crossing = self._crossing()
        self.stages = self._stages()
        if self.stages < 2:
            self.ahead = []
        if self.stages < (3 if len(self.products) == 1 else 4):
            self.crossing = None
        # One stage is being multiplied. One more lets a warp be an iteration ahead of another: while this one computes, that one
        # multiplies. And a product that goes on in the next iteration still reads its stage there.
        slack = 1 + (self.stages > 2 and len(self.products) > 1) + (self.crossing is not None)
        self.distance = max(1, self.stages - slack)
        self.bulk, why = bulk.plan(low, [a.operand for a in self.ahead], self.distance, self._growth) if self.ahead else (None, "")
        tiles = [a.operand.tile for a in self.ahead]
        low.decided("stages", op, stages=self.stages, distance=self.distance, ahead=tiles, bulk=self.bulk is not None, why=why)

    def _outside(self, v: Value) -> bool:
        """Whether a value is made before the loop."""
        return v not in self.region.args and (v.op is None or self.low.plan.block_of.get(v.op) is not self.region)

    def _increment(self, i: int) -> Value | None:
        arg, end = self.region.args[1 + i], self.region.terminator.operands[i]
        if end.op is None or end.op.defn is not arith.add or end.type.shape or arg not in end.op.operands:  # type: ignore[union-attr]
            return None
        by = end.op.operands[1] if end.op.operands[0] is arg else end.op.operands[0]
        return by if self._outside(by) or (by.op is not None and by.op.has("constant")) else None

    def _growth(self, v: Value) -> Polynomial | None:
        """What a scalar grows by in an iteration."""
        if v is self.region.args[0]:
            by: Value | None = self.op.operands[2]
        elif v in self.region.args:
            by = self.increments[self.region.args.index(v) - 1]
        else:
            return ZERO if self._outside(v) else None
        found = plane(by) if by is not None else None
        return found.start if found is not None else None

    def _slice(self, x: Operand) -> set[Op] | None:
        """The ops of the body that a load follows from, if it can be made early."""
        low = self.low
        load = x.tile.op
        if load is None or not is_load(low, x.tile) or not copies_whole(low, x):
            return None
        roots = low.plan.roots.get(load.operands[0])
        if roots is None or any(w is None or w & roots for w in low.plan.written):
            return None
        out: set[Op] = set()
        stack = list(load.operands)
        while stack:
            v = stack.pop()
            if v is self.region.args[0]:
                continue
            if v in self.region.args:
                if self.increments[self.region.args.index(v) - 1] is None:
                    return None
            elif not self._outside(v):
                op = v.op
                assert op is not None
                if not op.has("pure") or op.regions or op.has("reads") or v in low.plan.kept or op.name == "dot":
                    return None
                out.add(op)
                stack += op.operands
        return out

    def _crossing(self) -> Op | None:
        """The product that may go on in the next iteration: the last one, where only the next accumulator needs its result."""
        users, end = self.low.plan.users, self.region.terminator
        if not self.ahead or any(users.get(r) for r in self.op.results if not r.type.shape):  # type: ignore[union-attr]
            return None
        there = {x.key for x in self.fixed} | {a.operand.key for a in self.ahead}
        last = self.products[-1]
        staged = all(x.key in there for x in tensor.staged_operands(self.low, last))
        return last if staged and users.get(last.results[0]) == [end] else None

    def _stages(self) -> int:
        if not self.ahead:
            return 1
        fixed = sum(x.size * x.elem.itemsize for x in self.fixed)
        wish = self.op.attrs.get("num_stages") or self.low.num_stages
        if wish is not None:
            return int(wish)
        return max(1, min(STAGES, (BUDGET - fixed) // self.bytes))

    # Emission

    @contextmanager
    def around(self, bounds: list[Value], inits: list[Value]) -> Iterator[None]:
        """Stages what is fixed, starts the first copies; ends all of them after the loop."""
        low, e = self.low, self.low.e
        wanted: list[tuple[Elem, int, str]] = [(x.elem, x.size, x.tile.name or "operand") for x in self.fixed]
        wanted += [(a.operand.elem, a.operand.size * self.stages, a.operand.tile.name or "operand") for a in self.ahead]
        if not wanted:
            yield
            return
        if self.ahead:
            wanted.append((dt.int64, 2 * self.stages, "ring"))
        staged, following = dict(low.staged), dict(low.following)
        with low.scratch.held(wanted) as arrays:
            for x, array in zip(self.fixed, arrays, strict=False):
                prepare(low, [(x.tile, layout_of(low, x))])
                stage(low, x, array)
                low.staged[x.key] = (array, 0)
            if self.fixed:
                tensor.publish(low)
            if self.ahead:
                self.ring = arrays[-1]
                for a, array in zip(self.ahead, arrays[len(self.fixed) : -1], strict=True):
                    a.array = array
                    prepare_copy(low, a.operand)
                if self.bulk:
                    with self._bound([bounds[0], *self._carried(inits, lambda v, by: v)]):
                        self.bulk.test(bounds)
                self._ring("make", *([self.bulk.ready] if self.bulk and self.bulk.ready else []))
                if self.bulk:
                    self.bulk.describe([a.array for a in self.ahead])  # type: ignore[misc]
                for s in range(self.distance):
                    self._copies(bounds, [bounds[0], *inits], s, e.constant(s), None)
            # Products end where the loop has run: ptxas gives up overlapping them where the end joins another path.
            with e.guard(e.value(compare.lt, *bounds[:2]) if self.crossing else None):
                yield
                low.flight.leave(0)
            if self.ahead:
                self._ring("end")
        low.staged, low.following = staged, following

    def begin(self, bounds: list[Value], args: list[Value], place: list[Value]) -> None:
        """At the top of an iteration: its operands have arrived, later ones are on their way. place: its stage and phase."""
        low, e = self.low, self.low.e
        self._ring("filled", *place)
        for a in self.ahead:
            assert a.array is not None
            low.staged[a.operand.key] = (a.array, e.mul(place[0], a.operand.size))
        self.going_on = tensor.carried_home(low, self.crossing, low.place.of(self.crossing.results[0])) if self.crossing else None
        low.flight.groups = [self.going_on] if self.going_on else []

        def copies() -> None:
            """Starts the copies of the iteration that is `distance` ahead."""
            stage_, phase = self.advance(place, self.distance)
            self._copies(bounds, args, self.distance, stage_, phase)

        if self.crossing and len(self.products) == 1:
            low.following[self.crossing] = copies  # first the product: it keeps the matrix units busy while the copies are started
        else:
            copies()

    def end(self, bounds: list[Value], args: list[Value], place: list[Value]) -> None:
        """At the end of an iteration: no other products are under way than the next one takes for granted; a stage is free."""
        low, e = self.low, self.low.e
        late = bool(low.flight.groups) and low.flight.groups[-1] is self.going_on
        low.flight.leave(1 if late else 0)
        if self.going_on is None:
            self._ring("free", place[0])
            return
        # The iteration before this one has ended its products by now, unless this is the first.
        with e.guard(e.value(compare.ne, args[0], bounds[0])):
            before = e.value(arith.sub, place[0], e.constant(1))
            self._ring("free", e.value(compare.select, e.equals(place[0], 0), e.constant(self.stages - 1), before))

    def advance(self, place: list[Value], by: int) -> list[Value]:
        """The stage and phase of the iteration that is so many later."""
        e = self.low.e
        stage_ = e.as_value(e.add(place[0], by))
        around = e.value(compare.ge, stage_, e.constant(self.stages))
        wrapped = e.value(compare.select, around, e.value(arith.sub, stage_, e.constant(self.stages)), stage_)
        return [wrapped, e.value(arith.xor, place[1], e.convert(around, dt.int32))]

    def _ring(self, do: str, *operands: Value) -> None:
        assert self.ring is not None
        self.low.e.create(simt_mma.ring, [self.ring, *operands], {"do": do, "stages": self.stages})

    def _copies(self, bounds: list[Value], args: list[Value], ahead: int, slot: Value, phase: Value | None) -> None:
        """Copies the operands of the iteration that comes `ahead` of the one with these arguments, if there is one.

        phase: of the ring then; None where the stage has not been used yet.
        """
        low, e = self.low, self.low.e
        _, high, step = bounds

        def later(v: Value, by: Value) -> Value:
            if not ahead:
                return v
            dtype: dt.DType = v.type.dtype  # type: ignore[union-attr]
            by = e.convert(by, dtype)
            return e.value(arith.add, v, by if ahead == 1 else e.value(arith.mul, by, e.constant(ahead, dtype)))

        index = e.convert(args[0], dt.int64)
        exists = e.value(compare.lt, later(index, step), e.convert(high, dt.int64))
        with e.guard(exists), self._bound([later(args[0], step), *self._carried(args[1:], later)]):
            if self.bulk is None:
                self._by_threads(slot, phase)
                return
            assert self.bulk.ready is not None
            with e.branch(self.bulk.ready) as (then, rest):
                lane, warp = low.thread()
                with e.at(then), e.guard(e.equals(warp, 0)):
                    if phase is not None:
                        self._ring("freed", slot, phase)
                    with e.guard(e.equals(lane, 0)):
                        self.bulk.copy([a.array for a in self.ahead], self.ring, slot, self.stages)  # type: ignore[arg-type,misc]
                with e.at(rest):
                    self._by_threads(slot, phase)

    def _by_threads(self, slot: Value, phase: Value | None) -> None:
        """All threads copy their part of a stage."""
        if phase is not None:
            self._ring("freed", slot, phase)
        for a in self.ahead:
            assert a.array is not None
            stage(self.low, a.operand, a.array, self.low.e.mul(slot, a.operand.size))
        self._ring("fill", slot)

    def _carried(self, args: list[Value], later: object) -> list[Value | None]:
        out: list[Value | None] = []
        rest = iter(args)
        for arg, by in zip(self.region.args[1:], self.increments, strict=True):
            if arg.type.shape:  # type: ignore[union-attr]
                out.append(None)
                continue
            v = next(rest)
            known = by is not None and any(arg in o.operands for a in self.ahead for o in a.slice)
            if not known or by is None:
                out.append(None)
                continue
            if by.op is not None and by.op.has("constant"):
                scalar = self.low.e.constant(by.op.attrs["value"], by.op.attrs["type"])
            else:
                scalar = self.low.scalar(by)
            out.append(later(v, scalar))  # type: ignore[operator]
        return out

    @contextmanager
    def _bound(self, values: list[Value | None]) -> Iterator[None]:
        """The body's scalars as they are in another iteration."""
        low = self.low
        before = dict(low.scalars)
        low.scalars.update({arg: v for arg, v in zip(self.region.args, values, strict=True) if v is not None})
        needed = set().union(*(a.slice for a in self.ahead))
        for op in self.region.ops:
            if op in needed and not any(v.type.shape for v in (*op.operands, *op.results)):  # type: ignore[union-attr]
                low.lower_scalar(op)
        yield
        low.scalars.clear()
        low.scalars.update(before)
