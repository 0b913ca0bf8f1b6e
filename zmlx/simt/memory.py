"""Loads, stores, atomics and debug output of tiles.

Where the innermost loop walks neighbouring elements of memory, its address is computed once, before the loop; a GPU thread
moves them as vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import memory
from zmlx.simt import vectors
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Layout
from zmlx.simt.vectors import Run, item

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def lower_load(low: Lowering, op: Op) -> None:
    if not op.results[0].type.shape:  # type: ignore[union-attr]
        low.hazards.access(op, None)
        low.lower_scalar(op)
        return
    value = op.results[0]
    if low.plan.sink.get(value) is None or value in low.homes:
        return
    early = low.home.early(op) if value not in low.plan.kept else None
    layout = early or low.home.of(value)
    low.hazards.access(op, layout)
    if early:
        low.decided("early", op)
    if (early or value in low.plan.kept) and not vectors.load_tile(low, op, layout):
        low.materialise(value, layout)


def load_element(low: Lowering, frame: Frame, op: Op, layout: Layout) -> Value:
    """The current element of a load; its vector, if it has one, is loaded before the frame's loop."""
    e, run = low.e, Run(low, frame, op.operands[0], layout)
    run.note(op)
    if run.width > 1:
        assert frame.parent is not None
        with e.at(frame.parent.block):
            array = e.alloc(item(op.operands[0]), run.length, "register", op.results[0].name)
            vectors.load(run, op, array)
        return e.get(array, frame.as_index())
    address = e.advance(run.base, frame.as_index()) if run.length else frame.eval(op.operands[0], layout)
    value = e.create(memory.load, [address, *(frame.eval(v, layout) for v in op.operands[1:])]).results[0]
    value.name = op.results[0].name
    return value


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
        run = Run(low, frame, pointer, layout)
        run.note(op)
        if run.width > 1:
            assert frame.parent is not None
            with e.at(frame.parent.block):
                array = e.alloc(item(pointer), run.length, "register", value.name)
            e.set(array, frame.as_index(), frame.eval(value, layout))
            frame.after.append(lambda: vectors.store(run, op, array))
            return
        address = e.advance(run.base, frame.as_index()) if run.length else frame.eval(pointer, layout)
        e.create(memory.store, [address, *(frame.eval(v, layout) for v in op.operands[1:])])


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
    shape, elem = pointer.type.shape, item(pointer)
    used = bool(low.plan.users.get(op.results[0]))
    if not shape:
        low.decided("atomic", op, layout=None, used=used)
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
