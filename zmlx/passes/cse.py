"""Common subexpressions: a pure op whose equal stands earlier in an enclosing scope is that op."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from zmlx.dtypes import DType
from zmlx.ir.core import Block, Function, Op, Value


def _attrs(attrs: Mapping[str, Any]) -> Hashable:
    """Attributes as a key that tells 0.0 from -0.0, and True from 1."""
    if not attrs:
        return ()
    return tuple([(k, repr(v) if isinstance(v, (bool, float)) else v) for k, v in sorted(attrs.items())])


def _region(block: Block) -> Hashable:
    """A region's structure, the same for regions that differ only in their values' identities."""
    local: dict[Value, int] = {}
    for a in block.args:
        local[a] = len(local)
    rows = []
    for op in block.ops:
        operands = tuple(local.get(v, v) for v in op.operands)
        rows.append((op.defn, operands, _attrs(op.attrs), tuple(map(_region, op.regions)), tuple(r.type for r in op.results)))
        for r in op.results:
            local[r] = len(local)
    return tuple(a.type for a in block.args), tuple(rows)


def _ordered(op: Op) -> bool:
    """Whether swapped operands give the same bits: of floats min(0.0, -0.0) and NaNs do not."""
    elem = op.results[0].type.elem
    return not (isinstance(elem, DType) and elem.is_float)


class _Eliminator:
    def __init__(self) -> None:
        self.table: dict[Hashable, Op] = {}
        self.mapping: dict[Value, Value] = {}

    def key(self, op: Op) -> Hashable:
        operands = op.operands
        if "commutative" in op.traits and len(operands) > 1 and _ordered(op) and id(operands[0]) > id(operands[1]):
            operands = [operands[1], operands[0], *operands[2:]]
        regions = tuple(map(_region, op.regions)) if op.regions else ()
        return op.defn, tuple(operands), _attrs(op.attrs), regions

    def block(self, block: Block) -> None:
        table, mapping, out, added = self.table, self.mapping, [], []
        for op in block.ops:
            if mapping:
                op.operands = list(map(mapping.get, op.operands, op.operands))
            for region in op.regions:
                if op.has("structured"):
                    self.block(region)
                else:  # a combine function uses nothing from outside that it did not use before
                    self.table = {}
                    self.block(region)
                    self.table = table
            if "pure" in op.traits:
                key = self.key(op)
                earlier = table.get(key)
                if earlier is not None:
                    for old, new in zip(op.results, earlier.results, strict=True):
                        mapping[old] = new
                        new.name = new.name or old.name
                    continue
                table[key] = op
                added.append(key)
            out.append(op)
        block.ops = out
        for key in added:  # what a region defines is not visible after it
            del table[key]


def run(fn: Function) -> bool:
    """Merges equal pure ops; whether anything changed."""
    eliminator = _Eliminator()
    eliminator.block(fn.body)
    return bool(eliminator.mapping)
