"""Loops and branches. Scalars are carried as values; carried tiles live in arrays that the body updates in place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zmlx.ir.core import Block, Op, Value
from zmlx.ir.types import Type
from zmlx.ops import control
from zmlx.simt.convert import prepare
from zmlx.simt.halves import Halves
from zmlx.simt.layout import Layout
from zmlx.simt.pipeline import Pipeline
from zmlx.simt.prefetch import Prefetch

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def _is_tile(v: Value) -> bool:
    return isinstance(v.type, Type) and v.type.is_tile


class _Carried:
    """The carried values of one loop: which are tiles, and their arrays."""

    def __init__(self, low: Lowering, op: Op, inits: list[Value]) -> None:
        self.low, self.inits = low, inits
        self.arrays: dict[int, tuple[Layout, Value]] = {}
        for i, (init, result) in enumerate(zip(inits, op.results, strict=True)):
            if _is_tile(init):
                layout = low.place.of(result)
                array = low.e.alloc(init.type.elem, layout.registers, "register", result.name or "carried")
                low.materialise(init, layout, into=array)
                self.arrays[i] = (layout, array)

    def scalars(self, values: list[Value]) -> list[Value]:
        return [self.low.scalar(v) for i, v in enumerate(values) if i not in self.arrays]

    def bind(self, values: list[Value], scalars: list[Value]) -> None:
        """Makes region arguments (or results) stand for the arrays and SIMT scalars."""
        rest = iter(scalars)
        for i, v in enumerate(values):
            if i in self.arrays:
                self.low.homes[v] = [self.arrays[i]]
            else:
                self.low.scalars[v] = next(rest)
                self.low.scalars[v].name = self.low.scalars[v].name or v.name

    def _in_place(self, i: int, end: Value) -> bool:
        """Whether a product has already written its result where the next iteration looks for it."""
        return end in self.low.homes and self.low.homes[end][0] == self.arrays[i]

    def advance(self, args: list[Value], ends: list[Value]) -> None:
        """Writes the next values into the arrays, as if all at once.

        A tile is written in place when no other next value reads its old content; the others go through a copy.
        """
        low = self.low
        tiles = [i for i in self.arrays if ends[i] is not args[i] and not self._in_place(i, ends[i])]
        prepare(low, [(ends[i], self.arrays[i][0]) for i in tiles])
        reads = {i: low_reads(low, ends[i], self.arrays[i][0]) for i in tiles}
        copied = []
        for i in tiles:
            layout, array = self.arrays[i]
            others = any(array in {a for a, _ in reads[j]} for j in tiles if j != i)
            moved = any(a is array and wanted != layout for a, wanted in reads[i])
            if others or moved:
                temp = low.e.alloc(ends[i].type.elem, layout.registers, "register", "next")
                copied.append((i, low.materialise(ends[i], layout, into=temp)))
        for i in tiles:
            if i not in {k for k, _ in copied}:
                low.materialise(ends[i], self.arrays[i][0], into=self.arrays[i][1])
        for i, temp in copied:
            layout, array = self.arrays[i]
            with low.e.loop(0, layout.registers, low.inner_kind()) as r:
                low.e.set(array, r, low.e.get(temp, r))
        for v in args:
            if v in low.homes:
                low.homes[v] = low.homes[v][:1]


def low_reads(low: Lowering, value: Value, layout: Layout) -> list[tuple[Value, Layout]]:
    """The arrays that evaluating a value in a layout reads, and in which layouts."""
    out: list[tuple[Value, Layout]] = []
    seen: set[tuple[Value, Layout]] = set()
    stack = [(value, layout)]
    while stack:
        v, wanted = stack.pop()
        if (v, wanted) in seen or not _is_tile(v):
            continue
        seen.add((v, wanted))
        if v in low.homes:
            out += [(array, wanted) for _, array in low.homes[v]]
        elif v.op is not None and v.op.name != "splat":
            inner = low.pull_back(v.op, wanted, v) if v.op.has("view") else wanted
            stack += [(x, inner) for x in v.op.operands]
    return out


@dataclass(frozen=True)
class _Around:
    """What the lowering adds to a loop: it starts and ends an iteration, and gives the next values of scalars of its own."""

    begin: Callable[[], None]
    end: Callable[[], None]
    following: Callable[[], list[Value]]


def _loop_body(
    low: Lowering,
    region: Block,
    args: list[Value],
    carried: _Carried,
    body: Block,
    scalars: list[Value],
    around: _Around | None = None,
    begin: Callable[[], None] | None = None,
) -> None:
    before = list(low.hazards.pending)
    with low.e.at(body), low.inner_homes():
        carried.bind(args, scalars)
        if begin is not None:
            begin()
        if around is not None:
            around.begin()
        low.lower_block(region)
        ends = region.terminator.operands
        carried.advance(args, ends)
        if around is not None:
            around.end()
        else:
            low.flight.leave(0)
        low.hazards.loop_end(region)
        low.hazards.may_skip(before)
        low.scratch.leave()
        low.e.create(control.yield_, [*carried.scalars(ends), *(around.following() if around is not None else ())])


def _enter(low: Lowering) -> None:
    """An iteration follows another: its exchanges through shared memory may meet readers of the one before."""
    low.flight.leave(0)
    low.scratch.enter()


def lower_for(low: Lowering, op: Op) -> None:
    bounds = [low.scalar(v) for v in op.operands[:3]]
    pipe = (Halves if low.target.matrix else Pipeline)(low, op) if low.target.is_simt else None
    carried = _Carried(low, op, op.operands[3:])
    inits = carried.scalars(op.operands[3:])
    region, ahead = op.regions[0], Prefetch(low, op)
    ahead.start(bounds, inits)
    with pipe.around(bounds, inits) if pipe else nullcontext():
        _enter(low)
        ring = [low.e.constant(0) for _ in pipe.names] if pipe and pipe.ahead else []
        names = [region.args[0].name or "i", *(v.name for v in inits), *(pipe.names if ring and pipe else ())]
        body = Block([bounds[0].type, *(v.type for v in (*inits, *ring))], names)
        low.scalars[region.args[0]] = body.args[0]
        args, place = body.args[1 : 1 + len(inits)], body.args[1 + len(inits) :]
        around = None
        if pipe and pipe.ahead:
            index = [body.args[0], *args]
            around = _Around(
                begin=lambda: pipe.begin(bounds, index, place),
                end=lambda: pipe.end(bounds, index, place),
                following=lambda: pipe.advance(place, 1),
            )
        begin = lambda: ahead.begin(bounds, [body.args[0], *args])  # noqa: E731
        _loop_body(low, region, region.args[1:], carried, body, args, around, begin)
        low.e.loc = op.loc
        new = low.e.create(control.for_, [*bounds, *inits, *ring], op.attrs, [body])
        carried.bind(op.results, new.results[: len(inits)])
        for v, name in zip(new.results[len(inits) :], names[1 + len(inits) :], strict=True):
            v.name = name


def lower_while(low: Lowering, op: Op) -> None:
    carried = _Carried(low, op, op.operands)
    inits = carried.scalars(op.operands)
    test, region = op.regions
    _enter(low)
    condition, body = Block([v.type for v in inits]), Block([v.type for v in inits])
    with low.e.at(condition), low.inner_homes():
        carried.bind(test.args, condition.args)
        low.lower_block(test)
        low.e.create(control.yield_, [low.scalar(test.terminator.operands[0])])
    tested = low.scratch.state()
    _loop_body(low, region, region.args, carried, body, body.args)
    low.scratch.restore(tested, low.scratch.state())  # the test comes last
    low.e.loc = op.loc
    new = low.e.create(control.while_, inits, op.attrs, [condition, body])
    carried.bind(op.results, new.results)


def lower_if(low: Lowering, op: Op) -> None:
    arrays: dict[int, tuple[Layout, Value]] = {}
    for i, r in enumerate(op.results):
        if _is_tile(r):
            layout = low.place.of(r)
            arrays[i] = (layout, low.e.alloc(r.type.elem, layout.registers, "register", r.name or "chosen"))
    blocks = []
    low.flight.leave(0)
    start, pending = low.scratch.state(), list(low.hazards.pending)
    after: list[tuple[Any, list[Any]]] = []
    for region in op.regions:
        block = Block()
        low.scratch.restore(start)
        low.hazards.pending = list(pending)
        with low.e.at(block), low.inner_homes():
            low.lower_block(region)
            ends = region.terminator.operands if region.terminator.name == "yield" else []
            for i, (layout, array) in arrays.items():
                low.materialise(ends[i], layout, into=array)
            low.flight.leave(0)
            if region.terminator.name == "yield":
                low.e.create(control.yield_, [low.scalar(v) for i, v in enumerate(ends) if i not in arrays])
        after.append((low.scratch.state(), low.hazards.pending))
        blocks.append(block)
    low.scratch.restore(*(state for state, _ in after))
    low.hazards.pending = list(dict.fromkeys(x for _, p in after for x in p))  # both hold what came before
    low.e.loc = op.loc
    new = low.e.create(control.if_, [low.scalar(op.operands[0])], op.attrs, blocks)
    rest = iter(new.results)
    for i, r in enumerate(op.results):
        if i in arrays:
            low.homes[r] = [arrays[i]]
        else:
            low.scalars[r] = next(rest)
            low.scalars[r].name = r.name
