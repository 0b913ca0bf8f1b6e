"""Brings reductions together that do not need each other's results, so that their threads meet once for all of them.

`tl.sum(x)` and `tl.sum(x * x)` become neighbours, with what the second one needs in front of the first. Nothing moves past
an op that writes.
"""

from __future__ import annotations

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Type

# Ops within which reductions are brought together: to look farther for each would take the square of the block's length,
# and would have results wait for long.
FAR = 256


def run(fn: Function) -> None:
    """Reorders the ops of all blocks, in place."""
    _block(fn.body)


def _block(block: Block) -> None:
    for op in block.ops:
        if op.has("structured"):
            for region in op.regions:
                _block(region)
    i = 0
    while i < len(block.ops):
        i += _gather(block.ops, i) if block.ops[i].name == "reduce" else 1


def _gather(ops: list[Op], start: int) -> int:
    """Brings reductions to the one at `start`; returns how many ops are settled from there on."""
    group, between, needed = [ops[start]], [], []
    late: set[Value] = set(ops[start].results)  # what follows from a result of the group
    end = start + 1
    far = min(len(ops), start + FAR)
    while end < far and _may_pass(ops[end]):
        op = ops[end]
        end += 1
        if late.intersection(op.operands):
            late.update(op.results)
            between.append(op)
        elif op.name == "reduce" and alike(op, group[0]):
            early = _cone(op, between)
            needed += [o for o in between if o in early]
            between = [o for o in between if o not in early]
            group.append(op)
            late.update(op.results)
        else:
            between.append(op)
    ops[start:end] = [*needed, *group, *between]
    return len(needed) + len(group)


def alike(a: Op, b: Op) -> bool:
    """Whether two reductions walk tiles of one shape along one axis."""
    x, y = a.operands[0].type, b.operands[0].type
    assert isinstance(x, Type) and isinstance(y, Type)
    return x.shape == y.shape and a.attrs["axis"] == b.attrs["axis"]


def _may_pass(op: Op) -> bool:
    return op.name == "reduce" or op.name == "load" or (op.has("pure") and not op.regions and op.name != "dot")


def _cone(op: Op, between: list[Op]) -> set[Op]:
    """The ops of `between` that an op needs."""
    found: set[Op] = set()
    stack = list(op.operands)
    inside = set(between)
    while stack:
        maker = stack.pop().op
        if maker in inside and maker not in found:
            found.add(maker)
            stack += maker.operands
    return found
