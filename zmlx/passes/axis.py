"""Axis analysis: what is known at compile time about how the elements of a tile lie along each dimension.

For every integer, int1 and pointer value: along dimension d, aligned groups of `contiguity[d]` elements count up by
one (pointers: by one element), aligned groups of `constancy[d]` elements are equal, and the first element of every
contiguity group is a multiple of `divisibility[d]` (pointers: in bytes). All three are powers of two. From this follow
vector accesses, masks that hold for a whole vector, and loads that are shared by lanes.

Two assumptions about the kernel: the values of one contiguous group do not wrap around the range of a 32- or 64-bit
integer, and an index that is non-negative by construction (`program_id * BLOCK + arange`) does not overflow. A kernel
that breaks them addresses memory outside of its arrays.

The lattice is Triton's AxisInfo; the rules differ where those are only true of non-negative or aligned values.
"""

from __future__ import annotations

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.passes.axis_info import AxisInfo, Info, analysed, meet, power, ty, uniform, unit, unknown
from zmlx.passes.axis_rules import RULES, elementwise
from zmlx.passes.structure import carried, inits, is_loop, yields

__all__ = ["AxisInfo", "analyse"]

ROUNDS = 12  # of a loop's fixpoint; after half of them a value that still changes counts as unknown


class _Analysis:
    def __init__(self) -> None:
        self.facts: dict[Value, Info] = {}

    def get(self, v: Value) -> Info:
        info = self.facts.get(v)
        return info if info is not None else unknown(ty(v))

    def put(self, v: Value, info: Info | None = None) -> None:
        if analysed(ty(v)):
            self.facts[v] = info or unknown(ty(v))

    def block(self, block: Block) -> None:
        for op in block.ops:
            if op.has("structured"):
                self.structured(op)
                continue
            for region in op.regions:
                for a in region.args:
                    self.put(a)
                self.block(region)
            if op.results and analysed(ty(op.results[0])):
                step = RULES.get(op.name)
                if step is None:
                    step = elementwise if op.defn.elementwise else None
                infos = [self.get(v) for v in op.operands]
                for r in op.results:
                    self.put(r, step(op, infos) if step else None)

    def structured(self, op: Op) -> None:
        """A branch joins what its regions yield; a loop's carried values start as its inits and meet what it yields."""
        if not is_loop(op):
            for region in op.regions:
                self.block(region)
            for r, a, b in zip(op.results, *(region.terminator.operands for region in op.regions), strict=True):
                if analysed(ty(r)):
                    self.put(r, meet(self.get(a), self.get(b), unit(ty(r))))
            return
        keep = [i for i, r in enumerate(op.results) if analysed(ty(r))]
        state = {i: self.get(inits(op)[i]) for i in keep}
        for turn in range(ROUNDS):
            for region in op.regions:
                if len(region.args) > len(op.results):  # the index of a counted loop: lo + k * step
                    lo, _, step = (self.get(v) for v in op.operands[:3])
                    div = min(lo.divisibility[0], step.divisibility[0])
                    self.put(region.args[0], uniform(ty(region.args[0]), div, None, lo.nonneg))
                for i in keep:
                    self.put(carried(op, region)[i], state[i])
                self.block(region)
            new = {i: meet(state[i], self.get(yields(op)[i]), unit(ty(op.results[i]))) for i in keep}
            if new == state:
                break
            state = {i: new[i] if turn < ROUNDS // 2 or new[i] == state[i] else unknown(ty(op.results[i])) for i in keep}
        for i in keep:
            self.put(op.results[i], state[i])


def analyse(fn: Function, bases: int = 1) -> dict[Value, AxisInfo]:
    """Facts about every integer, int1 and pointer value of Tile IR, those in regions included.

    Constants of int1 are 0 or 1. Loop-carried values are found as a fixpoint from their first values.
    bases: what addresses of arrays are taken to be multiples of, as if none were a view.
    """
    analysis = _Analysis()
    for p in fn.params:
        t = ty(p.value)
        if analysed(t):
            analysis.put(p.value, uniform(t, max(power(p.divisibility), bases if t.is_pointer else 1)))
    analysis.block(fn.body)
    return analysis.facts
