"""What passes ask of structured ops, read off their records: a loop takes a variable number of initial values."""

from __future__ import annotations

from collections.abc import Sequence

from zmlx.ir.core import Block, Op, Value


def is_loop(op: Op) -> bool:
    """Whether a structured op repeats its regions and carries values; else it is a branch, which runs one of them."""
    return op.has("structured") and op.defn.operands[-1].startswith("*")


def bounds(op: Op) -> int:
    """How many operands of a loop come before the initial values (lo, hi, step of a counted loop)."""
    return len(op.defn.operands) - 1


def inits(op: Op) -> Sequence[Value]:
    return op.operands[bounds(op) :]


def carried(op: Op, region: Block) -> Sequence[Value]:
    """The arguments of a loop's region that hold the carried values (a counted loop's index comes before them)."""
    return region.args[len(region.args) - len(op.results) :]


def yields(op: Op) -> list[Value]:
    """The next carried values of a loop: what its last region yields."""
    return op.regions[-1].terminator.operands


def defined(block: Block) -> set[Value]:
    """The values that belong to a block: its arguments and results, those of regions in it included."""
    out = set(block.args)
    for op in block.ops:
        out |= set(op.results).union(*map(defined, op.regions))
    return out
