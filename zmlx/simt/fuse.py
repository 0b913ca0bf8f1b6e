"""Host loops that read the same elements, made one.

Each store has a loop of its own, which computes what it stores: two that need the same tile would load and convert it twice.
The earlier moves down into the later one, where nothing on the way writes what it reads or touches what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from zmlx.ir.core import Block, Function, Op, Value, clone_op
from zmlx.ir.types import ArrayType
from zmlx.simt.split import masks

_KNOWN = frozenset({"load", "store", "get", "set", "alloc", "loop", "for", "if", "yield"})
_READS = frozenset({"load", "get"})


def run(fn: Function) -> None:
    """Fuses every pair of loops that can be fused, in place."""
    _block(fn.body)


def _block(block: Block) -> None:
    for op in block.ops:
        for region in op.regions:
            _block(region)
    for loop in [op for op in reversed(block.ops) if _plain(op)]:
        at = block.ops.index(loop)
        later = _partner(loop, block.ops[at + 1 :])
        fused = _fused(loop, later) if later is not None else None
        if later is not None and fused is not None:
            later.regions = [fused]
            del block.ops[at]


def _plain(op: Op) -> bool:
    return op.name == "loop" and op.attrs["kind"] == "simd" and not op.operands and not any(o.regions for o in op.regions[0].ops)


def _partner(loop: Op, following: Iterable[Op]) -> Op | None:
    """The next loop over the same indices, if `loop` stores and may move there."""
    mine = _touched([loop])
    if mine is None or not any(o.name == "store" for o in loop.regions[0].ops):
        return None
    read, written = mine
    for op in following:
        other = _touched([op])
        if other is None or written & (other[0] | other[1]) or read & other[1]:
            return None
        if _plain(op) and all(op.attrs[k] == loop.attrs[k] for k in ("start", "end")):
            return op
    return None


def _touched(ops: Iterable[Op]) -> tuple[set[Value], set[Value]] | None:
    """The arrays, of the thread and of the kernel, that ops read and write; None where that is not known.

    Arrays of the kernel that it writes are no other parameter's memory, as everywhere on the host (`__restrict__`).
    """
    read: set[Value] = set()
    written: set[Value] = set()
    for op in ops:
        if op.name not in _KNOWN and not op.has("pure"):
            return None
        if op.name in ("load", "store", "get", "set"):
            root = _root(op.operands[0])
            if root is None:
                return None
            (read if op.name in _READS else written).add(root)
        for region in op.regions:
            inner = _touched(region.ops)
            if inner is None:
                return None
            read |= inner[0]
            written |= inner[1]
    return read, written


def _root(v: Value) -> Value | None:
    """The kernel's parameter that a pointer points into, or the array itself."""
    while v.op is not None and v.op.name == "addptr":
        v = v.op.operands[0]
    return v if v.op is None or isinstance(v.type, ArrayType) else None


def _fused(loop: Op, later: Op) -> Block | None:
    """Both bodies in one, what both compute computed once; None where they read nothing in common, or under different masks."""
    touched = _touched([loop, later])
    assert touched is not None
    fused = Block([a.type for a in later.regions[0].args], [a.name for a in later.regions[0].args])
    mapping: dict[Value, Value] = {loop.regions[0].args[0]: fused.args[0], later.regions[0].args[0]: fused.args[0]}
    known: dict[object, Op] = {}
    shared = False
    for old in (*loop.regions[0].ops, *later.regions[0].ops):
        op = clone_op(old, mapping)
        # An element of an array that one of them writes may differ from one read to the next.
        if op.has("pure") or (op.name in _READS and _root(op.operands[0]) not in touched[1]):
            key = (op.defn, tuple(op.operands), tuple((k, repr(v)) for k, v in sorted(op.attrs.items())))
            first = known.setdefault(key, op)
            if first is not op:
                mapping.update(zip(old.results, first.results, strict=True))
                shared |= op.name in _READS
                continue
        fused.ops.append(op)
    return fused if shared and len(masks(fused)) <= 1 else None
