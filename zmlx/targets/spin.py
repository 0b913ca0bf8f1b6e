"""Finds loops that wait for another program: a GPU without forward progress between threadgroups may never leave them."""

from __future__ import annotations

from zmlx.errors import TargetError
from zmlx.ir.core import Function, Op, Value
from zmlx.targets.target import Target


def refuse_spinning(fn: Function, target: Target) -> None:
    """Raises a TargetError at a `while` whose condition depends on reading one unchanging address again and again."""
    for op in fn.walk():
        if op.name == "while":
            poll = _poll(op)
            if poll is not None:
                raise TargetError(
                    f"this loop waits for a value in memory to change, which need never happen on {target.name}",
                    target.refuse["spin"],
                    poll.loc,
                )


def _poll(loop: Op) -> Op | None:
    """The read of a loop-invariant address that feeds the loop's condition."""
    inside: dict[Value, Op] = {}
    carried: dict[Value, list[Value]] = {}
    test, body = loop.regions
    for region in loop.regions:
        for op in region.walk():
            inside.update(dict.fromkeys(op.results, op))
        for i, arg in enumerate(region.args):
            carried[arg] = [body.terminator.operands[i]]
    seen: set[Value] = set()
    stack = list(test.terminator.operands)
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        stack += carried.get(v, [])
        source = inside.get(v)
        if source is None:
            continue
        if source.has("reads") and not _varies(source.operands[0], inside, carried):
            return source
        stack += source.operands
    return None


def _varies(pointer: Value, inside: dict[Value, Op], carried: dict[Value, list[Value]]) -> bool:
    """Whether an address is computed from something that the loop changes."""
    stack, seen = [pointer], set()
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        if v in carried:
            if carried[v] != [v]:
                return True
        elif v in inside:
            if inside[v].has("reads"):
                return True
            stack += inside[v].operands
    return False
