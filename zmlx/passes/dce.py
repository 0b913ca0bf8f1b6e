"""Dead code: ops, branch results and loop-carried values on which no effect depends."""

from __future__ import annotations

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.passes.structure import bounds, carried, inits, is_loop

EFFECTS = frozenset({"effect", "writes", "barrier"})


class _Liveness:
    """Marks what effects need, from the ops that have one back through operands, branches and loops."""

    def __init__(self, fn: Function) -> None:
        self.live: set[Value] = set()
        self.needed: set[Op] = set()
        self.owner: dict[Op, Op | None] = {}
        self.slot: dict[Value, tuple[Op, int]] = {}  # block arguments: the op that owns the block, and their position
        self.work: list[Op | Value] = []
        self.scan(fn.body, None)
        while self.work:
            item = self.work.pop()
            if isinstance(item, Op):
                self.mark_op(item)
            else:
                self.mark_value(item)

    def scan(self, block: Block, owner: Op | None) -> None:
        for i, a in enumerate(block.args):
            if owner is not None:
                self.slot[a] = owner, i
        for op in block.ops:
            self.owner[op] = owner
            for region in op.regions:
                self.scan(region, op)
            if "structured" not in op.traits and (owner is None or "terminator" not in op.traits) and _effect(op):
                self.need(op)

    def need(self, op: Op) -> None:
        if op not in self.needed:
            self.needed.add(op)
            self.work.append(op)

    def want(self, v: Value) -> None:
        if v not in self.live:
            self.live.add(v)
            self.work.append(v)

    def mark_op(self, op: Op) -> None:
        owner = self.owner[op]
        if owner is not None:
            self.need(owner)
        if "structured" not in op.traits:
            for v in op.operands:
                self.want(v)
            for region in op.regions:  # a combine function is needed whole
                for inner in region.walk():
                    self.need(inner)
        elif is_loop(op):
            for v in op.operands[: bounds(op)]:
                self.want(v)
            if len(op.regions) > 1:
                self.want(op.regions[0].terminator.operands[0])
        else:
            self.want(op.operands[0])

    def mark_value(self, v: Value) -> None:
        if v.op is not None:
            op, i = v.op, v.op.results.index(v) if len(v.op.results) > 1 else 0
            if not op.has("structured"):
                self.need(op)
                return
        elif v in self.slot:
            op, i = self.slot[v]
            if not op.has("structured"):
                self.need(op)
                return
            i -= 1 if bounds(op) else 0  # a counted loop's index comes before the carried values
        else:
            return
        self.need(op)
        if not is_loop(op):
            for region in op.regions:
                self.want(region.terminator.operands[i])
        elif i >= 0:
            self.want(inits(op)[i])
            self.want(op.regions[-1].terminator.operands[i])
            self.want(op.results[i])
            for region in op.regions:
                self.want(carried(op, region)[i])

    def sweep(self, block: Block) -> bool:
        changed = False
        kept = []
        for op in block.ops:
            if op not in self.needed and "terminator" not in op.traits:
                changed = True
                continue
            kept.append(op)
            if "structured" in op.traits:
                changed |= self.trim(op)
                for region in op.regions:
                    changed |= self.sweep(region)
        block.ops = kept
        return changed

    def trim(self, op: Op) -> bool:
        """Drops the results, and what carries them, of which nothing depends."""
        keep = [i for i, r in enumerate(op.results) if r in self.live]
        if len(keep) == len(op.results):
            return False
        ends = op.regions if not is_loop(op) else op.regions[-1:]
        for region in ends:
            end = region.terminator
            end.operands = [end.operands[i] for i in keep]
        if is_loop(op):
            head, first = bounds(op), inits(op)
            for region in op.regions:
                slots = carried(op, region)
                region.args = [*region.args[: len(region.args) - len(slots)], *(slots[i] for i in keep)]
            op.operands = [*op.operands[:head], *(first[i] for i in keep)]
        op.results = [op.results[i] for i in keep]
        return True


def _effect(op: Op) -> bool:
    return not EFFECTS.isdisjoint(op.traits)


def run(fn: Function) -> bool:
    """Removes dead code; whether there was any. A loop without effect counts as dead, even one that might not end."""
    return _Liveness(fn).sweep(fn.body)
