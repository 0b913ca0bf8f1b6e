"""The tile product on the host: operands become row-major arrays of the accumulator's type, and one call multiplies them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.dtypes import DType
from zmlx.ir.core import Block, Op, Value
from zmlx.ops import simt
from zmlx.simt.control import low_reads
from zmlx.simt.convert import prepare
from zmlx.simt.layout import Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def lower_dot(low: Lowering, op: Op, layout: Layout, out: Value) -> None:
    """out += a b; `out` holds the accumulator in `layout`, which is row-major."""
    a, b, _ = op.operands
    kind = op.results[0].type.dtype  # type: ignore[union-attr]
    (m, depth), (_, n) = a.type.shape, b.type.shape  # type: ignore[union-attr]
    operands = [_widened(low, v, kind) for v in (a, b)]
    low.e.create(simt.tile_dot, [out, *operands], {"m": m, "n": n, "k": depth})


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
        elif low.plan.block_of[user] is not block or not user.results or not all(
            low.plan.is_deferred(r) and _only_feeds(low, r, op, block) for r in user.results
        ):
            return False
    return True


def _widened(low: Lowering, v: Value, kind: DType) -> Value:
    """A row-major array of a tile in the accumulator's type: the tile's own, where it is that already."""
    e = low.e
    plain = low.place.default(v.type.shape)  # type: ignore[union-attr]
    prepare(low, [(v, plain)])
    for home, array in low.homes.get(v, ()):
        if home == plain and v.type.elem is kind:
            return array
    array = e.alloc(kind, plain.registers, "register", v.name)
    with low.nest(plain) as frame:
        at = frame.register((tuple(1 << i for i in range(len(plain.reg))), 0))
        e.set(array, at, e.convert(frame.eval(v, plain), kind))
    return array
