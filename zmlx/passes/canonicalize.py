"""Brings ops into canonical form and folds what is known; every rule keeps results bit for bit."""

from __future__ import annotations

from zmlx.ir.core import Function
from zmlx.ir.rewrite import Rules, rewrite
from zmlx.passes import rules_arith, rules_control, rules_shape

RULES = Rules()
for _table in (rules_arith.RULES, rules_shape.RULES, rules_control.RULES):
    for _name, _rules in _table.items():
        RULES.setdefault(_name, []).extend(_rules)


def run(fn: Function) -> bool:
    """Applies the rules to a fixpoint; whether anything changed."""
    return rewrite(fn, RULES)
