"""The tile product on the host: operands become row-major arrays of the accumulator's type, and one call multiplies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import knobs
from zmlx.dtypes import DType
from zmlx.ir.core import Block, Op, Value
from zmlx.ops import simt
from zmlx.simt.control import low_reads
from zmlx.simt.convert import prepare
from zmlx.simt.layout import Layout, row_major

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def lower_dot(low: Lowering, op: Op) -> None:
    """Emits a product; its result lives in a row-major array."""
    e = low.e
    a, b, acc = op.operands
    result = op.results[0]
    kind = result.type.dtype  # type: ignore[union-attr]
    (m, depth), (_, n) = a.type.shape, b.type.shape  # type: ignore[union-attr]
    layout = low.place.product(op)
    carried = in_place(low, op, layout)
    low.decided("dot", op, layout=layout, path="plain" if knobs.plain_dot() else "host", in_place=carried is not None)
    out = carried or e.alloc(kind, layout.registers, "register", result.name or "acc")
    if carried is None or acc.op is not None:  # else the accumulator is the carried tile itself
        low.materialise(acc, layout, into=out)
    low.homes[result] = [(layout, out)]
    x, y = (_widened(low, v, kind) for v in (a, b))
    if not knobs.plain_dot():
        e.create(simt.tile_dot, [out, x, y], {"m": m, "n": n, "k": depth})
        return
    with e.loop(0, m, "serial", "i") as i, e.loop(0, depth, "serial", "k") as k:
        factor = e.get(x, e.add(e.mul(i, depth), k))
        with e.loop(0, n, "simd", "j") as j:
            at = e.add(e.mul(i, n), j)
            e.set(out, at, e.value(simt.mac, factor, e.get(y, e.add(e.mul(k, n), j)), e.get(out, at)))


def in_place(low: Lowering, op: Op, layout: Layout) -> Value | None:
    """The array of a loop's carried tile, where the product is its next value and nothing else needs the present one."""
    block, acc = low.plan.block_of[op], op.operands[2]
    if not block.args or not block.ops or block.ops[-1].name != "yield":
        return None
    ends = block.ops[-1].operands
    if op.results[0] not in ends or len(block.args) < len(ends):
        return None
    carried = block.args[len(block.args) - len(ends) + ends.index(op.results[0])]
    homes = low.homes.get(carried)
    if not homes or homes[0][0] != layout or not _only_feeds(low, carried, op, block):
        return None
    array = homes[0][1]
    return array if all(wanted == layout for a, wanted in low_reads(low, acc, layout) if a is array) else None


def _only_feeds(low: Lowering, v: Value, op: Op, block: Block) -> bool:
    """Whether all uses of a value end in a product's accumulator."""
    for user in low.plan.users.get(v, ()):
        if user is op:
            if v in op.operands[:2]:
                return False
        elif (
            low.plan.block_of[user] is not block
            or not user.results
            or not all(low.plan.is_deferred(r) and _only_feeds(low, r, op, block) for r in user.results)
        ):
            return False
    return True


def _widened(low: Lowering, v: Value, kind: DType) -> Value:
    """A row-major array of a tile in the accumulator's type: the tile's own, where it is that already.

    A tile that lies in memory column after column is read that way and then transposed.
    """
    e = low.e
    rows, cols = v.type.shape  # type: ignore[union-attr]
    plain = low.place.default((rows, cols))
    for home, array in low.homes.get(v, ()):
        if home == plain and v.type.elem is kind:
            return array
    by_column = not knobs.plain_dot() and _neighbours(low, v) == {0}
    layout = row_major((cols, rows)).map((rows, cols), lambda c: (c[1], c[0])) if by_column else plain
    prepare(low, [(v, layout)])
    array = e.alloc(kind, layout.registers, "register", v.name)
    with low.nest(layout) as frame:
        at = frame.register((tuple(1 << i for i in range(len(layout.reg))), 0))
        e.set(array, at, e.convert(frame.eval(v, layout), kind))
    if not by_column:
        return array
    turned = e.alloc(kind, layout.registers, "register", v.name)
    e.create(simt.tile_transpose, [turned, array], {"rows": cols, "cols": rows})
    return turned


def _neighbours(low: Lowering, v: Value, swapped: bool = False) -> set[int]:
    """The dimensions of a 2-D tile along which the loads behind it read neighbours, or the same place again."""
    op = v.op
    if op is None or v.type.shape is None or len(v.type.shape) != 2 or v in low.homes:  # type: ignore[union-attr]
        return set()
    if op.name == "load":
        pointer = op.operands[0]
        axis = low.axes.get(pointer)
        runs = [d for d in range(2) if axis is not None and (axis.contiguity[d] > 1 or axis.constancy[d] > 1)]
        return {1 - d if swapped else d for d in runs}
    if op.name == "trans":
        return _neighbours(low, op.operands[0], swapped ^ (tuple(op.attrs["order"]) == (1, 0)))
    return set().union(*(_neighbours(low, x, swapped) for x in op.operands)) if op.has("elementwise") else set()
