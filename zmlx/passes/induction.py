"""Loop-carried tiles that only advance by an invariant amount become base + a carried scalar.

    for …, p { …p…; yield addptr(p, splat(s)) }   →   for …, o = 0 { …addptr(p0, splat(o))…; yield o + s }

A carried tile of pointers lives in registers for the whole loop; a scalar offset costs one, and the tile is computed
where it is used. A step that is a tile d, not a splat, is taken times a carried trip count. Integers wrap, so that
the sums agree modulo their width; offsets of pointers are summed in 64 bits, as the pointers themselves are.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmlx import dtypes as dt
from zmlx.ir.builder import Builder
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops import arith, cast, index, shape
from zmlx.passes.structure import bounds, carried, inits, is_loop, yields


@dataclass
class _Step:
    """What one trip adds to a carried tile: splats of scalars, and other tiles."""

    scalars: list[Value]
    tiles: list[Value]


def _type(v: Value) -> Type:
    return v.type  # type: ignore[return-value]


def _advance(arg: Value, end: Value, inside: set[Value]) -> _Step | None:
    """How `end` comes from `arg` by additions of values from outside of the loop, if it does."""
    step, v = _Step([], []), end
    while v is not arg:
        op = v.op
        if op is None or v not in inside or op.defn not in (arith.add, arith.addptr):
            return None
        base, amount = op.operands
        if amount in inside and op.defn is arith.add:
            base, amount = amount, base
        if amount in inside:
            return None
        if amount.op is not None and amount.op.defn is shape.splat:
            step.scalars.append(amount.op.operands[0])
        else:
            step.tiles.append(amount)
        v = base
    return step if step.scalars or step.tiles else None


def _eligible(arg: Value) -> bool:
    t = arg.type
    return isinstance(t, Type) and bool(t.shape) and (t.is_pointer or (t.dtype.is_int and t.dtype is not dt.int1))


class _Loop:
    """One loop being rewritten."""

    def __init__(self, op: Op, before: Block) -> None:
        self.op, self.before = op, before
        self.after = Block()
        self.count: list[Value] | None = None  # the trip count, in each region, then after the loop

    def carry(self, dtype: dt.DType, name: str) -> list[Value]:
        """Adds a carried scalar that starts at 0: its argument in each region, and its result. The yield is still missing."""
        op, b = self.op, Builder(self.before, self.op.loc)
        op.operands.append(b.value(index.constant, value=0, type=dtype))
        for region in op.regions:
            region.args.append(Value(Type(dtype), None, name))
        op.results.append(Value(Type(dtype), op, name))
        return [*(region.args[-1] for region in op.regions), op.results[-1]]

    def advance(self, value: Value, amount: Value) -> Value:
        """Yields value + amount for the carried scalar added last."""
        body = self.op.regions[-1]
        b, end = Builder(Block(), self.op.loc), body.terminator
        end.operands.append(b.value(arith.add, value, amount))
        body.ops[-1:] = [*b.block.ops, end]
        return end.operands[-1]

    def trips(self) -> list[Value]:
        if self.count is None:
            self.count = self.carry(dt.int64, "trip")
            one = Builder(self.before, self.op.loc).value(index.constant, value=1, type=dt.int64)
            self.advance(self.count[-2], one)
        return self.count

    def rewrite(self, i: int, step: _Step, mapping: dict[Value, Value]) -> None:
        op = self.op
        start, places = inits(op)[i], [*(carried(op, r)[i] for r in op.regions), op.results[i]]
        wide = dt.int64 if _type(start).is_pointer else _type(start).dtype
        b = Builder(self.before, op.loc)

        def widen(v: Value) -> Value:
            return v if _type(v).elem is wide else b.value(cast.cast, v, to=wide)

        offsets: list[Value] | None = None
        if step.scalars:
            total = widen(step.scalars[0])
            for s in step.scalars[1:]:
                total = b.value(arith.add, total, widen(s))
            offsets = self.carry(wide, f"{start.name or 'tile'}_offset")
            self.advance(offsets[-2], total)
        tile = None
        if step.tiles:
            tile = widen(step.tiles[0])
            for t in step.tiles[1:]:
                tile = b.value(arith.add, tile, widen(t))
        counts = self.trips() if tile is not None else None
        blocks = [*op.regions, self.after]
        for k, (place, block) in enumerate(zip(places, blocks, strict=True)):
            at = Builder(Block(), op.loc)
            amount: Value | None = None
            if offsets is not None:
                amount = at.value(shape.splat, offsets[k], shape=_type(start).shape)
            if tile is not None and counts is not None:
                count = counts[k] if wide is dt.int64 else at.value(cast.cast, counts[k], to=wide)
                moved = at.value(arith.mul, tile, at.value(shape.splat, count, shape=_type(start).shape))
                amount = moved if amount is None else at.value(arith.add, amount, moved)
            assert amount is not None
            new = at.value(arith.addptr if isinstance(_type(start).elem, Pointer) else arith.add, start, amount)
            new.name = place.name
            mapping[place] = new
            block.ops[:0] = at.block.ops

    def drop(self, gone: set[int]) -> None:
        """Removes carried values that are computed now."""
        op, head = self.op, bounds(self.op)
        first, end = inits(op), op.regions[-1].terminator
        keep = [i for i in range(len(op.results)) if i not in gone]
        for region in op.regions:
            slots = carried(op, region)
            region.args = [*region.args[: len(region.args) - len(slots)], *(slots[i] for i in keep)]
        op.operands = [*op.operands[:head], *(first[i] for i in keep)]
        end.operands = [end.operands[i] for i in keep]
        op.results = [op.results[i] for i in keep]


def _defined(block: Block) -> set[Value]:
    return set(block.args) | {r for op in block.ops for r in op.results}


def _block(block: Block, mapping: dict[Value, Value]) -> None:
    out = Block()
    for op in block.ops:
        for region in op.regions:
            _block(region, mapping)
        if not is_loop(op):
            out.ops.append(op)
            continue
        inside: set[Value] = set()
        for region in op.regions:
            inside |= _defined(region)
        found = {}
        for i, (arg, end) in enumerate(zip(carried(op, op.regions[-1]), yields(op), strict=True)):
            step = _advance(arg, end, inside) if _eligible(arg) else None
            if step is not None:
                found[i] = step
        loop = _Loop(op, out)
        for i, step in found.items():
            loop.rewrite(i, step, mapping)
        if found:
            loop.drop(set(found))
        out.ops += [op, *loop.after.ops]
    block.ops = out.ops


def run(fn: Function) -> bool:
    """Rewrites carried pointer and integer tiles of every loop; whether any was."""
    mapping: dict[Value, Value] = {}
    _block(fn.body, mapping)
    if mapping:
        for op in fn.walk():
            op.operands = [mapping.get(v, v) for v in op.operands]
    return bool(mapping)
