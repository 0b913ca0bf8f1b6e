"""Loads, stores, atomics and debug output of tiles.

Where the innermost loop walks neighbouring elements of memory, its address is computed once, before the loop. A GPU
thread moves them as vectors, unless the address turns out not to be aligned; a mask that is not the same for a whole vector is
decided at run time: all on, one vector access; else element by element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops import arith, memory, simt
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def _item(pointer: Value) -> dt.DType:
    elem = pointer.type.elem
    assert isinstance(elem, Pointer)
    return elem.elem


def run_length(low: Lowering, frame: Frame, pointer: Value, layout: Layout) -> tuple[int, int]:
    """How many neighbours in memory the frame's loop walks (0: none that are known), and along which dimension."""
    if frame.parent is None or not isinstance(frame.index, Value) or pointer not in low.axes:
        return 0, 0
    bases = [layout.reg[b] for b in frame.bits if b < len(layout.reg)]
    dims = [d for d in range(len(layout.shape)) if bases and bases[0][d]]
    if len(bases) != len(frame.bits) or len(dims) != 1 or layout.flip[dims[0]]:
        return 0, 0
    d = dims[0]
    if any(b != tuple(1 << i if k == d else 0 for k in range(len(b))) for i, b in enumerate(bases)):
        return 0, 0
    length = 1 << len(bases)
    return (length, d) if low.axes[pointer].contiguity[d] >= length else (0, d)


def vector_width(low: Lowering, pointer: Value, length: int) -> int:
    """Elements that one access can move; whether the address is aligned is tested at run time."""
    return max(1, min(length, low.target.vector_bytes // _item(pointer).itemsize))


def lower_load(low: Lowering, op: Op) -> None:
    if not op.results[0].type.shape:  # type: ignore[union-attr]
        low.hazards.access(op, None)
        low.lower_scalar(op)
        return
    value = op.results[0]
    if low.plan.sink.get(value) is None:
        return
    layout = low.place.of(value)
    low.hazards.access(op, layout)
    if value in low.plan.kept:
        low.materialise(value, layout)


def load_element(low: Lowering, frame: Frame, op: Op, layout: Layout) -> Value:
    """The current element of a load; its vector, if it has one, is loaded before the frame's loop."""
    pointer, e = op.operands[0], low.e
    length, dim = run_length(low, frame, pointer, layout)
    low.decided("load", op, layout=layout, bits=frame.bits, length=length, width=vector_width(low, pointer, length) if length else 1)
    if length:
        assert frame.parent is not None and isinstance(frame.index, Value)
        width = vector_width(low, pointer, length)
        with e.at(frame.parent.block):
            base = frame.parent.eval(pointer, layout)
            array = _load_vectors(low, frame, op, layout, base, length, width, dim) if width > 1 else None
        if array is not None:
            return e.get(array, frame.index)
        address = e.advance(base, frame.index)
    else:
        address = frame.eval(pointer, layout)
    value = e.create(memory.load, [address, *(frame.eval(v, layout) for v in op.operands[1:])]).results[0]
    value.name = op.results[0].name
    return value


def _load_vectors(low: Lowering, frame: Frame, op: Op, layout: Layout, base: Value, length: int, width: int, dim: int) -> Value:
    e, parent = low.e, frame.parent
    assert parent is not None
    array = e.alloc(_item(op.operands[0]), length, "register", op.results[0].name)

    def whole() -> None:
        for k in range(0, length, width):
            e.create(simt.vload, [e.advance(base, k), array], {"offset": k, "width": width})

    if len(op.operands) == 1:
        whole()
        return array
    each = [Frame(low, parent, k, frame.bits, parent.block) for k in range(length)]
    with e.branch(_whole_mask(low, each, op.operands[1], layout, dim)) as (then, rest):
        with e.at(then):
            whole()
        with e.at(rest), e.loop(0, length, "unroll", "k") as k:
            f = Frame(low, parent, k, frame.bits, e.block)
            other = f.eval(op.operands[2], layout)
            if not _is_constant(low, op.operands[1], dim, length):
                other = e.create(memory.load, [e.advance(base, k), f.eval(op.operands[1], layout), other]).results[0]
            e.set(array, k, other)
    return array


def _is_constant(low: Lowering, mask: Value, dim: int, length: int) -> bool:
    """Whether a mask is one and the same along a vector."""
    return mask in low.axes and low.axes[mask].constancy[dim] >= length


def _is_prefix(low: Lowering, mask: Value, dim: int, length: int) -> bool:
    """Whether a mask holds for a first part of a vector only, so that its last element decides: `offsets < n`."""
    op = mask.op
    if _is_constant(low, mask, dim, length):
        return True
    if op is None:
        return False
    if op.name == "and":
        return all(_is_prefix(low, v, dim, length) for v in op.operands)
    small, large = op.operands if op.name in ("lt", "le") else reversed(op.operands) if op.name in ("gt", "ge") else (None, None)
    if small not in low.axes or large not in low.axes:
        return False
    return low.axes[small].contiguity[dim] >= length and low.axes[large].constancy[dim] >= length


def _whole_mask(low: Lowering, each: list[Frame], mask: Value, layout: Layout, dim: int) -> Value:
    """Whether all elements of a vector are on."""
    prefix = _is_prefix(low, mask, dim, len(each))
    low.decided("mask", mask.op, mask=mask, prefix=prefix, constant=_is_constant(low, mask, dim, len(each)))
    if prefix:
        return each[-1].eval(mask, layout)
    total = each[0].eval(mask, layout)
    for f in each[1:]:
        total = low.e.value(arith.and_, total, f.eval(mask, layout))
    return total


def lower_store(low: Lowering, op: Op, wanted: Layout | None = None) -> None:
    """wanted: the layout to store in, if not the one in which the value is made."""
    pointer, value = op.operands[:2]
    e = low.e
    if not pointer.type.shape:  # type: ignore[union-attr]
        low.hazards.access(op, None)
        with e.guard(_first_thread(low)):
            e.create(memory.store, [low.scalar(v) for v in op.operands])
        return
    shape = pointer.type.shape  # type: ignore[union-attr]
    layout = wanted or low.place.natural(value) or low.place.default(shape)
    low.hazards.access(op, layout)
    prepare(low, [(v, layout) for v in op.operands])
    with e.guard(low.owner(layout)), low.nest(layout) as frame:
        length, dim = run_length(low, frame, pointer, layout)
        width = vector_width(low, pointer, length) if length else 1
        low.decided("store", op, layout=layout, bits=frame.bits, length=length, width=width)
        if width > 1:
            assert frame.parent is not None
            with e.at(frame.parent.block):
                array = e.alloc(_item(pointer), length, "register", value.name)
            e.set(array, frame.as_index(), frame.eval(value, layout))
            frame.after.append(lambda: _store_vectors(low, frame, op, layout, array, length, width, dim))
            return
        if length:
            assert frame.parent is not None
            with e.at(frame.parent.block):
                base = frame.parent.eval(pointer, layout)
            address = e.advance(base, frame.as_index())
        else:
            address = frame.eval(pointer, layout)
        e.create(memory.store, [address, *(frame.eval(v, layout) for v in op.operands[1:])])


def _store_vectors(low: Lowering, frame: Frame, op: Op, layout: Layout, array: Value, length: int, width: int, dim: int) -> None:
    e, parent, mask = low.e, frame.parent, op.operands[2:]
    assert parent is not None
    base = parent.eval(op.operands[0], layout)

    def whole() -> None:
        for k in range(0, length, width):
            e.create(simt.vstore, [e.advance(base, k), array], {"offset": k, "width": width})

    if not mask:
        whole()
        return
    each = [Frame(low, parent, k, frame.bits, parent.block) for k in range(length)]
    with e.branch(_whole_mask(low, each, mask[0], layout, dim)) as (then, rest):
        with e.at(then):
            whole()
        if not _is_constant(low, mask[0], dim, length):
            with e.at(rest), e.loop(0, length, "unroll", "k") as k:
                f = Frame(low, parent, k, frame.bits, e.block)
                e.create(memory.store, [e.advance(base, k), e.get(array, k), f.eval(mask[0], layout)])


def _first_thread(low: Lowering) -> Value | None:
    """One thread acts for the program where all hold the same scalar."""
    if not low.target.is_simt:
        return None
    lane, warp = low.thread()
    return low.e.both(low.e.equals(lane, 0), low.e.equals(warp, 0) if isinstance(warp, Value) else None)


def lower_atomic(low: Lowering, op: Op) -> None:
    """Atomics run once an element; threads that hold it too get the old value through shared memory.

    One that releases waits for what all threads of the program wrote; after one that acquires, all of them see more.
    """
    ordered = bool(op.attrs.get("sem")) and low.target.is_simt
    if ordered:
        low.hazards.barrier()
    _lower_atomic(low, op)
    if ordered:
        low.hazards.barrier()


def _lower_atomic(low: Lowering, op: Op) -> None:
    e, pointer = low.e, op.operands[0]
    assert isinstance(pointer.type, Type)
    shape, elem = pointer.type.shape, _item(pointer)
    used = bool(low.plan.users.get(op.results[0]))
    if not shape:
        low.hazards.access(op, None)
        _scalar_atomic(low, op, elem, used)
        return
    layout = low.place.default(shape)
    low.decided("atomic", op, layout=layout, used=used)
    low.hazards.access(op, layout)
    prepare(low, [(v, layout) for v in op.operands])
    array = e.alloc(elem, layout.registers, "register", op.results[0].name or "old") if used else None
    identity = tuple(1 << b for b in range(len(layout.reg)))
    with e.guard(low.owner(layout)), low.nest(layout, independent=False) as frame:
        old = e.create(op.defn, [frame.eval(v, layout) for v in op.operands], op.attrs).results[0]
        if array is not None:
            e.set(array, frame.register((identity, 0)), old)
    if array is None:
        return
    low.homes[op.results[0]] = [(layout, array)]
    if layout.replicated:
        with low.scratch.array(elem, pointer.type.size) as shared:
            with e.guard(low.owner(layout)), low.nest(layout) as frame:
                e.set(shared, flat_index(low, frame, layout), e.get(array, frame.register((identity, 0))))
            low.barrier("shared")
            with low.nest(layout) as frame:
                e.set(array, frame.register((identity, 0)), e.get(shared, flat_index(low, frame, layout)))


def _scalar_atomic(low: Lowering, op: Op, elem: dt.DType, used: bool) -> None:
    e = low.e
    operands = [low.scalar(v) for v in op.operands]
    if not low.target.is_simt or not used:
        with e.guard(_first_thread(low)):
            old = e.create(op.defn, operands, op.attrs).results[0]
        low.scalars[op.results[0]] = old
        return
    with low.scratch.array(elem, 1) as shared:
        with e.guard(_first_thread(low)):
            e.set(shared, 0, e.create(op.defn, operands, op.attrs).results[0])
        low.barrier("shared")
        low.scalars[op.results[0]] = e.get(shared, 0)


def lower_debug(low: Lowering, op: Op) -> None:
    """One call an element, with its coordinates as trailing operands."""
    e = low.e
    tiles = [v for v in op.operands if v.type.shape]  # type: ignore[union-attr]
    if not tiles:
        e.create(op.defn, [low.scalar(v) for v in op.operands], op.attrs | {"rank": 0})
        return
    layout = low.place.default(tiles[0].type.shape)  # type: ignore[union-attr]
    prepare(low, [(v, layout) for v in op.operands])
    with low.nest(layout, independent=False) as frame:
        where = [e.as_value(frame.coordinate(layout, d)) for d in range(len(layout.shape))]
        values = [frame.eval(v, layout) for v in op.operands]
        e.create(op.defn, [*values, *where], op.attrs | {"rank": len(where)})


def lower_debug_barrier(low: Lowering, op: Op) -> None:
    if low.target.is_simt:
        low.hazards.barrier()


