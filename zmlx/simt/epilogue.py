"""Stores of products: a matrix unit's fragments hold two neighbours a thread, memory wants 16 bytes of a row at once.

The tile is written to swizzled shared memory in its final type, and read back row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Op
from zmlx.ops import simt_mma
from zmlx.simt import memory
from zmlx.simt.convert import prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Layout
from zmlx.simt.staging import CHUNK, Operand, copy_layout, stage

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

MOST_BYTES = 128 * 1024


def lower_store(low: Lowering, op: Op) -> None:
    """A store, of a product by rows."""
    memory.lower_store(low, op, rows(low, op) if op.operands[0].type.shape else None)  # type: ignore[union-attr]


def rows(low: Lowering, op: Op) -> Layout | None:
    """The layout in which a product's tile is stored, once it has been brought there; None where that does not pay."""
    pointer, value = op.operands[:2]
    layout = low.place.natural(value)
    if low.target.dialect != "cuda" or layout is None or len(layout.shape) != 2 or layout.registers < 16:
        return None
    if low.plan.sink.get(value) is not op or value in low.homes:
        return None
    if layout.reg[0] != (0, 1) or layout.lane[:2] != ((0, 2), (0, 4)) or layout.replicated or pointer not in low.axes:
        return None
    x = Operand(value, False, 1)
    chunk = CHUNK // x.elem.itemsize
    if x.elem.bits < 16 or min(low.axes[pointer].contiguity[1], layout.shape[1]) < chunk or x.size * x.elem.itemsize > MOST_BYTES:
        return None
    wide = copy_layout(low, x)
    if wide.replicated:
        return None
    e = low.e
    prepare(low, [(value, layout)])
    low.decided("rows", op, bytes=x.size * x.elem.itemsize)
    with low.scratch.array(x.elem, x.size, "tile") as shared:
        stage(low, x, shared)
        low.barrier("shared")
        array = e.alloc(x.elem, wide.registers, "register", value.name)
        inner = list(range(chunk.bit_length() - 1))
        outer = [r for r in ([b for b in run if b not in inner] for run in wide.runs) if r]
        with low.levels(Frame(low, None, 0, (), e.block), outer) as frame:
            at = frame.register((tuple(1 << b for b in range(len(wide.reg))), 0))
            place = e.as_value(frame.linear(wide, x.place))
            e.create(simt_mma.take, [shared, place, array, e.as_value(at)], {"width": chunk})
    low.homes[value] = [(wide, array)]
    return wide
