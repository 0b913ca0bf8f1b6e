"""Host loops with a masked store, cut where the mask ends.

Masked vector stores are slow on many CPUs. A mask such as `cols < n` is true for a first part of the loop only, so the
loop runs for that part, unmasked; nothing is stored in the rest, so there is nothing else to do in it.
"""

from __future__ import annotations

from zmlx import dtypes as dt
from zmlx.ir.core import Block, Function, Op, Value
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
        block.ops.append(op)


def _cut(e: Emit, loop: Op) -> None:
    body = loop.regions[0]
    stores = [op for op in body.ops if op.has("writes") or op.name == "set"]
    masks = {op.operands[2] for op in stores if op.name == "store" and len(op.operands) == 3}
    if len(masks) != 1 or any(op.name != "store" or len(op.operands) != 3 for op in stores) or any(op.regions for op in body.ops):
        return
    (mask,) = masks
    inside = {v: op for op in body.ops for v in op.results}
    terms = _terms(mask, inside)
    bounds = [_bound(t, body.args[0], inside) for t in terms]
    if any(b is None for b in bounds):
        return
    e.loc = loop.loc
    end: Value | None = None
    for bound in bounds:
        assert bound is not None
        value = _emit_bound(e, bound, loop)
        end = value if end is None else e.value(arith.minimum, end, value)
    assert end is not None
    zero, full = (e.constant(loop.attrs[k], dt.int64) for k in ("start", "end"))
    end = e.value(arith.maximum, zero, e.value(arith.minimum, end, full))
    count = e.convert(end, dt.int32)
    count.name = "count"
    loop.operands = [count]
    for op in body.ops:
        if op.name == "store":
            op.operands = op.operands[:2]
        elif op.name == "load" and len(op.operands) == 3 and op.operands[1] is mask:
            op.operands = op.operands[:1]


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


