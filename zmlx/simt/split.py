"""Host loops with masked accesses, cut where the mask ends.

Masked vector accesses are slow on many CPUs, stores most of all. A mask such as `cols < n` is true for a first part of a
loop only: the loop runs for that part, unmasked, and then for the rest, in which loads give their `other` and stores do
nothing. Choices by the same mask are known in both parts.
"""

from __future__ import annotations

from zmlx import dtypes as dt
from zmlx.ir.core import Block, Function, Op, Value, clone_op
from zmlx.ops import arith, compare
from zmlx.simt.emit import Emit

_LESS = {"lt": 0, "le": 1}  # what is added to the bound
_GREATER = {"gt": 0, "ge": 1}


def run(fn: Function) -> None:
    """Cuts every loop that can be cut, in place."""
    _block(fn.body)


def _block(block: Block) -> None:
    ops, block.ops = block.ops, []
    e = Emit(block)
    for op in ops:
        for region in op.regions:
            _block(region)
        if op.name == "loop" and op.attrs["kind"] == "simd" and not op.operands:
            _cut(e, op)
        elif op.name == "loop" and op.attrs["kind"] == "serial" and not op.operands:
            _cut_chunks(e, op)
        else:
            block.ops.append(op)


def _cut(e: Emit, loop: Op) -> None:
    """Appends the loop, in one or two pieces."""
    body = loop.regions[0]
    masked, conditions = _masked(body), masks(body)
    inside = {v: op for op in body.ops for v in op.results}
    bounds: list[Bound | None] = [None]
    if len(conditions) == 1 and not any(op.regions or op.has("atomic") for op in body.ops):
        bounds = [_bound(t, body.args[0], inside) for t in _terms(next(iter(conditions)), inside)]
    if any(b is None for b in bounds):
        e.block.ops.append(loop)
        return
    e.loc = loop.loc
    first, last = e.constant(loop.attrs["start"]), e.constant(loop.attrs["end"])
    count = _count(e, [b for b in bounds if b is not None], loop)
    keeps = [op for op in body.ops if op.has("writes") or op.name == "set"]
    if any(op not in masked for op in keeps):  # else the rest would do nothing
        mapping: dict[Value, Value] = {}
        rest = clone_op(loop, mapping)
        rest.operands = [count, last]
        gone = {mapping[v] for op in masked for v in op.results}
        rest.regions[0].ops = _without(rest.regions[0], gone, {mapping.get(v, v) for v in conditions})
    else:
        rest = None
    loop.operands = [first, count]
    _unmask(body, conditions)
    e.block.ops.append(loop)
    if rest is not None:
        e.block.ops.append(rest)


def _cut_chunks(e: Emit, loop: Op) -> None:
    """Appends a loop over chunks, cut where its inner loop's mask ends: whole chunks, without a mask, one with it, and the rest."""
    body = loop.regions[0]
    inner = next((op for op in body.ops if op.regions), None)
    bound = None
    if inner is not None and not any(op.regions or not op.has("pure") for op in body.ops if op is not inner):
        bound = _chunk_bound(inner, body)
    if inner is None or bound is None:
        e.block.ops.append(loop)
        return
    e.loc = loop.loc
    size = e.constant(inner.attrs["end"], dt.int64)
    end = _emit_bound(e, bound, loop)
    low, high = (e.constant(loop.attrs[k], dt.int64) for k in ("start", "end"))
    whole = e.value(arith.floordiv, e.value(arith.maximum, end, e.constant(0, dt.int64)), size)
    whole = e.convert(e.value(arith.maximum, low, e.value(arith.minimum, whole, high)), dt.int32)
    whole.name = "whole"
    # The chunk in which the mask ends, and those behind it.
    after = e.value(arith.minimum, e.value(arith.add, whole, e.constant(1)), e.constant(loop.attrs["end"]))
    after.name = "after"
    rest = clone_op(loop, {})
    rest.operands = [whole, after]
    off = _off(loop, inner)
    off.operands = [after, e.constant(loop.attrs["end"])]
    loop.operands = [e.constant(loop.attrs["start"]), whole]
    _unmask(inner.regions[0], masks(inner.regions[0]))
    e.block.ops += [loop, rest, off]


def _off(loop: Op, inner: Op) -> Op:
    """A loop over chunks in which all masks are off."""
    mapping: dict[Value, Value] = {}
    off = clone_op(loop, mapping)
    body = next(op for op in off.regions[0].ops if op.regions).regions[0]
    gone = {mapping[v] for op in _masked(inner.regions[0]) for v in op.results}
    body.ops = _without(body, gone, {mapping.get(v, v) for v in masks(inner.regions[0])})
    return off


def _chunk_bound(inner: Op, outer: Block) -> Bound | None:
    """(m, n, k) where the masks of a chunk are `m + (chunk * size + i) < n + k`, m (if any) and n the same for all chunks."""
    if inner.name != "loop" or inner.attrs["kind"] != "simd" or inner.operands or inner.attrs["start"] != 0:
        return None
    body, chunk, size = inner.regions[0], outer.args[0], inner.attrs["end"]
    conditions = masks(body)
    if len(conditions) != 1 or any(op.regions or op.has("atomic") for op in body.ops):
        return None
    inside = {v: op for block in (outer, body) for op in block.ops for v in op.results}
    op = inside.get(conditions.pop())
    if op is None or op.name not in (*_LESS, *_GREATER):
        return None
    small, large = op.operands if op.name in _LESS else reversed(op.operands)
    place, base = inside.get(small), None
    if place is not None and place.name == "add" and body.args[0] not in place.operands:
        outside = [v for v in place.operands if v not in inside and v is not chunk]
        if len(outside) == 1:
            base = outside[0]
            place = inside.get(next(v for v in place.operands if v is not base))
    if (large in inside and not _is_constant(inside[large])) or large in (chunk, body.args[0]) or small.type.elem is not dt.int32:
        return None
    if place is None or place.name != "add" or body.args[0] not in place.operands:
        return None
    start = inside.get(place.operands[0] if place.operands[1] is body.args[0] else place.operands[1])
    if start is None or start.name != "mul" or chunk not in start.operands:
        return None
    factor = inside.get(start.operands[0] if start.operands[1] is chunk else start.operands[1])
    if factor is None or not _is_constant(factor) or factor.attrs["value"] != size:
        return None
    return base, large, (_LESS | _GREATER)[op.name]


def _mask(op: Op) -> Value:
    return op.operands[2] if op.name == "store" else op.operands[1]


def _masked(body: Block) -> list[Op]:
    return [op for op in body.ops if op.name in ("load", "store") and len(op.operands) == 3]


def masks(body: Block) -> set[Value]:
    """The masks of a body's accesses; of one that has none, the conditions by which it chooses."""
    return {_mask(op) for op in _masked(body)} or {op.operands[0] for op in body.ops if op.name == "select"}


def _unmask(body: Block, on: set[Value]) -> None:
    """A body where its mask is on, in place: accesses lose it, choices are made."""
    mapping: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in body.ops:
        op.operands = [mapping.get(v, v) for v in op.operands]
        if op.name == "select" and op.operands[0] in on:
            mapping[op.results[0]] = op.operands[1]
            continue
        if op.name in ("load", "store") and len(op.operands) == 3:
            op.operands = op.operands[:2] if op.name == "store" else op.operands[:1]
        ops.append(op)
    body.ops = ops


def _without(body: Block, loads: set[Value], off: set[Value]) -> list[Op]:
    """A body's ops where its mask is off: loads give `other`, stores vanish, choices are made."""
    mapping: dict[Value, Value] = {}
    ops: list[Op] = []
    for op in body.ops:
        op.operands = [mapping.get(v, v) for v in op.operands]
        if (op.name == "load" and op.results[0] in loads) or (op.name == "select" and op.operands[0] in off):
            mapping[op.results[0]] = op.operands[2]
        elif not (op.name == "store" and len(op.operands) == 3 and op.operands[2] in off):
            ops.append(op)
    return ops


def _count(e: Emit, bounds: list[Bound], loop: Op) -> Value:
    """Where the mask ends, within the loop."""
    end: Value | None = None
    for bound in bounds:
        value = _emit_bound(e, bound, loop)
        end = value if end is None else e.value(arith.minimum, end, value)
    assert end is not None
    low, high = (e.constant(loop.attrs[k], dt.int64) for k in ("start", "end"))
    count = e.convert(e.value(arith.maximum, low, e.value(arith.minimum, end, high)), dt.int32)
    count.name = "count"
    return count


def _terms(mask: Value, inside: dict[Value, Op]) -> list[Value]:
    """The conditions whose conjunction a mask is."""
    op = inside.get(mask)
    if op is not None and op.name == "and":
        return [t for v in op.operands for t in _terms(v, inside)]
    return [mask]


Bound = tuple[Value | None, Value | None, int]  # index + first < second + third; or (condition, None, -1)


def _bound(term: Value, index: Value, inside: dict[Value, Op]) -> Bound | None:
    op = inside.get(term)
    if op is None:
        return (term, None, -1)  # the same for the whole loop
    if op.name in _LESS:
        small, large, more = op.operands[0], op.operands[1], _LESS[op.name]
    elif op.name in _GREATER:
        small, large, more = op.operands[1], op.operands[0], _GREATER[op.name]
    else:
        return None
    if large in inside and not _is_constant(inside[large]):
        return None
    if small.type.elem not in (dt.int32, dt.int64):
        return None
    if small is index:
        return (None, large, more)
    step = inside.get(small)
    if step is not None and step.name == "add" and index in step.operands:
        base = step.operands[1] if step.operands[0] is index else step.operands[0]
        if base is not index and (base not in inside or _is_constant(inside[base])):
            return (base, large, more)
    return None


def _is_constant(op: Op) -> bool:
    return op.has("constant")


def _emit_bound(e: Emit, bound: Bound, loop: Op) -> Value:
    base, large, more = bound
    if more < 0:
        assert base is not None
        return e.value(compare.select, base, e.constant(loop.attrs["end"], dt.int64), e.constant(0, dt.int64))
    assert large is not None
    end = e.convert(_outside(e, large), dt.int64)
    if more:
        end = e.value(arith.add, end, e.constant(more, dt.int64))
    if base is not None:
        end = e.value(arith.sub, end, e.convert(_outside(e, base), dt.int64))
    return end


def _outside(e: Emit, v: Value) -> Value:
    """A constant of the loop's body, again before the loop."""
    if v.op is not None and v.op.has("constant"):
        return e.constant(v.op.attrs["value"], v.op.attrs["type"])
    return v
