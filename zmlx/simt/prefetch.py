"""Loops whose loads are made one iteration ahead, into registers, so that their latency passes beside an iteration's work.

A load can be made ahead where its address and mask follow from the loop's index and from carried scalars that grow by the same
amount each time, and nothing in the kernel writes what it reads. `num_stages` asks for it (2 and more) or against it (1);
by default CUDA kernels do it where few registers suffice. Loops around products have a pipeline of their own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.ops import compare
from zmlx.simt import vectors
from zmlx.simt.convert import prepare
from zmlx.simt.later import Later
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
    """The loads of one `for` loop that are made ahead."""

    def __init__(self, low: Lowering, op: Op) -> None:
        self.low, self.op, self.region = low, op, op.regions[0]
        self.later = Later(low, op)
        self.loads = self._choose()

    def _choose(self) -> list[Ahead]:
        low, stages = self.low, self.op.attrs.get("num_stages") or self.low.num_stages
        asked, products = stages is not None and stages > 1, any(o.name == "dot" for o in self.region.walk())
        if products or not low.target.is_simt or not (asked or (stages is None and low.target.dialect == "cuda")):
            return []
        found = [a for o in self.region.ops if o.name == "load" and (a := self._ahead(o)) is not None]
        size = sum(a.layout.registers * item(a.op.operands[0]).itemsize for a in found)
        return found if asked or size <= FEW else []

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
                if v not in self.later.grows:
                    return None
            elif self.later.inside(v):
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
        with e.guard(self.later.exists(bounds, args[0])), self._bound(self.later.next(args)):
            self._fetch()
        for a, array in here:
            low.homes[a.op.results[0]] = [(a.layout, array)]
            low.decided("ahead", a.op)

    def _fetch(self) -> None:
        for a in self.loads:
            if not vectors.load_tile(self.low, a.op, a.layout, a.array):
                self.low.materialise(a.op.results[0], a.layout, into=a.array)

    def _bound(self, values: list[Value]) -> AbstractContextManager[None]:
        return self.later.bound(values, set().union(*(a.slice for a in self.loads)))
