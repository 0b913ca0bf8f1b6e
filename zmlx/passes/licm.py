"""Loop-invariant code motion: pure ops whose operands come from outside of a loop move in front of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.passes.structure import is_loop


@dataclass
class _Frame:
    """One nested block being read: its ops so far. Ops do not leave a branch, since it may not be taken."""

    ops: list[Op] = field(default_factory=list)
    floor: int = 0  # the outermost frame that ops in here may move to


class _Mover:
    def __init__(self) -> None:
        self.frames: list[_Frame] = []
        self.home: dict[Value, int] = {}  # the frame in which a value is defined
        self.moved = False

    def block(self, block: Block, floor: int) -> None:
        depth = len(self.frames)
        self.frames.append(_Frame(floor=floor))
        home = self.home
        for a in block.args:
            home[a] = depth
        for op in block.ops:
            target = depth
            if "structured" in op.traits:
                for region in op.regions:
                    self.block(region, floor if is_loop(op) else depth + 1)
            elif floor < depth and "pure" in op.traits:
                target = max([floor, *[home[v] for v in op.operands if v in home]])
                for region in op.regions:
                    target = max([target, *(home.get(v, 0) for inner in region.walk() for v in inner.operands)])
                self.moved |= target < depth
            self.frames[target].ops.append(op)
            for r in op.results:
                home[r] = target
        block.ops = self.frames.pop().ops


def run(fn: Function) -> bool:
    """Hoists pure ops out of loops (loads stay: another access may write what they read); whether any moved."""
    mover = _Mover()
    mover.block(fn.body, 0)
    return mover.moved
