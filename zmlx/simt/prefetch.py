"""Loops whose loads are made one iteration ahead, into registers, so that their latency passes beside an iteration's work.

A load can be made ahead where its address and mask follow from the loop's index and from carried scalars that grow by the same
amount each time, and nothing in the kernel writes what it reads. `num_stages` asks for it (2 and more) or against it (1);
by default CUDA kernels do it where few registers suffice. Loops around products have a pipeline of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ops import arith, compare
from zmlx.simt import vectors
from zmlx.simt.convert import prepare
from zmlx.simt.layout import Layout
from zmlx.simt.vectors import item

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

FEW = 64  # bytes of registers that a loop takes without being asked


@dataclass
class Ahead:
    """One load: its layout, the ops of the body that it follows from, and where the next iteration's elements are."""

    op: Op
    layout: Layout
    slice: set[Op]
    array: Value | None = None


class Prefetch:
    """The loads of one `for` loop that are made ahead. `grows`: what each argument of the body grows by, where that is known."""

    def __init__(self, low: Lowering, op: Op) -> None:
        self.low, self.op, self.region = low, op, op.regions[0]
        self.grows: dict[Value, Value] = {self.region.args[0]: op.operands[2]}
        for arg, end in zip(self.region.args[1:], self.region.terminator.operands, strict=True):
            if end.op is not None and end.op.defn is arith.add and not end.type.shape and arg in end.op.operands:  # type: ignore[union-attr]
                by = end.op.operands[1] if end.op.operands[0] is arg else end.op.operands[0]
                if not self._inside(by) or (by.op is not None and by.op.has("constant")):
                    self.grows[arg] = by
        self.loads = self._choose()

    def _choose(self) -> list[Ahead]:
        low, stages = self.low, self.op.attrs.get("num_stages") or self.low.num_stages
        asked, products = stages is not None and stages > 1, any(o.name == "dot" for o in self.region.walk())
        if products or not low.target.is_simt or not (asked or (stages is None and low.target.dialect == "cuda")):
            return []
        found = [a for o in self.region.ops if o.name == "load" and (a := self._ahead(o)) is not None]
        size = sum(a.layout.registers * item(a.op.operands[0]).itemsize for a in found)
        return found if asked or size <= FEW else []

    def _inside(self, v: Value) -> bool:
        return v in self.region.args or (v.op is not None and self.low.plan.block_of.get(v.op) is self.region)

    def _ahead(self, op: Op) -> Ahead | None:
        low, value = self.low, op.results[0]
        roots = low.plan.roots.get(op.operands[0])
        if not value.type.shape or low.plan.sink.get(value) is None:  # type: ignore[union-attr]
            return None
        if roots is None or any(w is None or w & roots for w in low.plan.written):
            return None
        layout = low.home.of(value) if value in low.plan.kept else low.home.agreed(value)
        needed = self._slice(op)
        return Ahead(op, layout, needed) if layout is not None and needed is not None else None

    def _slice(self, load: Op) -> set[Op] | None:
        """The ops of the body that a load follows from, if it can be made ahead."""
        out: set[Op] = set()
        stack = list(load.operands)
        while stack:
            v = stack.pop()
            if v in self.region.args:
                if v not in self.grows:
                    return None
            elif self._inside(v):
                op = v.op
                assert op is not None
                if not op.has("pure") or op.regions or op.name == "dot" or v in self.low.plan.kept:
                    return None
                out.add(op)
                stack += op.operands
        return out

    # Emission

    def start(self, bounds: list[Value], inits: list[Value]) -> None:
        """Before the loop: the first iteration's loads, if there is one."""
        if not self.loads:
            return
        low, e = self.low, self.low.e
        for a in self.loads:
            prepare(low, [(v, a.layout) for v in a.op.operands])
            a.array = e.alloc(item(a.op.operands[0]), a.layout.registers, "register", a.op.results[0].name or "ahead")
        with e.guard(e.value(compare.lt, bounds[0], bounds[1])), self._bound([bounds[0], *inits]):
            self._fetch()

    def begin(self, bounds: list[Value], args: list[Value]) -> None:
        """At the top of an iteration: its elements are there; the next one's loads begin."""
        if not self.loads:
            return
        low, e = self.low, self.low.e
        here: list[tuple[Ahead, Value]] = []
        for a in self.loads:
            assert a.array is not None
            array = e.alloc(item(a.op.operands[0]), a.layout.registers, "register", a.op.results[0].name)
            with e.loop(0, a.layout.registers, "unroll") as i:
                e.set(array, i, e.get(a.array, i))
            here.append((a, array))
        # In 64 bits: the step behind the last one may not fit.
        index, high, step = (e.convert(v, dt.int64) for v in (args[0], bounds[1], bounds[2]))
        with e.guard(e.value(compare.lt, e.value(arith.add, index, step), high)):
            scalars = [v for v in self.region.args if not v.type.shape]  # type: ignore[union-attr]
            later = [self._later(arg, v) for arg, v in zip(scalars, args, strict=True)]
            with self._bound(later):
                self._fetch()
        for a, array in here:
            low.homes[a.op.results[0]] = [(a.layout, array)]
            low.decided("ahead", a.op)

    def _later(self, arg: Value, v: Value) -> Value:
        by = self.grows.get(arg)
        if by is None:
            return v  # nothing that is loaded ahead follows from it
        e = self.low.e
        constant = by.op is not None and by.op.has("constant")
        step = e.constant(by.op.attrs["value"], by.op.attrs["type"]) if constant else self.low.scalar(by)  # type: ignore[union-attr]
        return e.value(arith.add, v, e.convert(step, v.type.dtype))  # type: ignore[union-attr]

    def _fetch(self) -> None:
        for a in self.loads:
            if not vectors.load_tile(self.low, a.op, a.layout, a.array):
                self.low.materialise(a.op.results[0], a.layout, into=a.array)

    @contextmanager
    def _bound(self, values: list[Value]) -> Iterator[None]:
        """The body's scalars as they are in another iteration."""
        low, before = self.low, dict(self.low.scalars)
        scalars = [v for v in self.region.args if not v.type.shape]  # type: ignore[union-attr]
        low.scalars.update(zip(scalars, values, strict=True))
        needed = set().union(*(a.slice for a in self.loads))
        for op in self.region.ops:
            if op in needed and not any(v.type.shape for v in (*op.operands, *op.results)):  # type: ignore[union-attr]
                low.lower_scalar(op)
        yield
        low.scalars.clear()
        low.scalars.update(before)
