"""Canonical forms of memory accesses and control flow whose masks, conditions or bounds are constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zmlx.ir.core import Op, Value
from zmlx.ir.rewrite import Rewriter, Rules
from zmlx.ir.types import Type
from zmlx.passes.constants import constant, known, number
from zmlx.passes.structure import bounds, carried, inits, yields

RULES = Rules()
Result = Sequence[Value] | None


@RULES.rule("load")
def known_mask_of_load(op: Op, b: Rewriter) -> Result:
    if len(op.operands) != 3 or known(op.operands[1]) is None:
        return None
    return [b.create(op.defn, op.operands[:1], op.attrs).result if known(op.operands[1]) else op.operands[2]]


@RULES.rule("store", "atomic_rmw")
def known_mask_of_store(op: Op, b: Rewriter) -> Result:
    if len(op.operands) != 3 or known(op.operands[2]) is None:
        return None
    if known(op.operands[2]):
        return b.create(op.defn, op.operands[:2], op.attrs).results
    zeros = []
    for r in op.results:
        t = r.type
        assert isinstance(t, Type)
        zeros.append(constant(b, number(np.array(0), t.dtype), t))
    return zeros


@RULES.rule("device_assert", "assume")
def holds(op: Op, b: Rewriter) -> Result:
    return () if known(op.operands[0]) is True else None


@RULES.rule("if")
def known_condition(op: Op, b: Rewriter) -> Result:
    value = known(op.operands[0])
    return None if value is None else b.splice(op.regions[0 if value else 1], ())


@RULES.rule("if")
def equal_branches(op: Op, b: Rewriter) -> Result:
    """A result that both branches take from one value outside is that value."""
    one, two = (r.terminator for r in op.regions)
    keep = [i for i, (x, y) in enumerate(zip(one.operands, two.operands, strict=True)) if x is not y]
    if len(keep) == len(op.results):
        return None
    shared = one.operands
    for end in (one, two):
        end.operands = [end.operands[i] for i in keep]
    new = iter(b.create(op.defn, op.operands, op.attrs, op.regions).results)
    return [next(new) if i in keep else v for i, v in enumerate(shared)]


@RULES.rule("for")
def known_trips(op: Op, b: Rewriter) -> Result:
    """No trip leaves the initial values, a single one is the body."""
    lo, hi, step = (known(v) for v in op.operands[:3])
    if lo is None or hi is None:
        return None
    if lo >= hi:
        return inits(op)
    if step is not None and step > 0 and lo + step >= hi:
        return b.splice(op.regions[0], [op.operands[0], *inits(op)])
    return None


@RULES.rule("for", "while")
def never_changes(op: Op, b: Rewriter) -> Result:
    """A carried value that every trip hands on, or sets to its initial value, is the initial value."""
    start, args, end = inits(op), carried(op, op.regions[-1]), op.regions[-1].terminator
    keep = [i for i, y in enumerate(yields(op)) if y is not args[i] and y is not start[i]]
    if len(keep) == len(op.results):
        return None
    gone = set(range(len(start))) - set(keep)
    for region in op.regions:
        slots = carried(op, region)
        for i in gone:
            b.replace(slots[i], start[i])
        dropped = {slots[i] for i in gone}
        region.args = [a for a in region.args if a not in dropped]
    end.operands = [end.operands[i] for i in keep]
    head = op.operands[: bounds(op)]
    new = iter(b.create(op.defn, [*head, *(start[i] for i in keep)], op.attrs, op.regions).results)
    return [next(new) if i in keep else start[i] for i in range(len(start))]
