"""The tile product on Apple GPUs, in 8×8 fragments that a simdgroup multiplies (`fragments` has their layouts).

An operand is a tile like any other, wanted in the layout that the product asks of it. Where its elements are at hand (in
registers of this layout, or in memory and of use to one simdgroup only) each lane takes its own; else pieces of the operand
along k pass through threadgroup memory, which all simdgroups read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import simt_matrix
from zmlx.simt.fragments import SIZE, warps
from zmlx.simt.operand_metal import Operand

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

WISHED_BYTES = 20 * 1024  # of threadgroup memory at most: a core with more than one program does not wait at barriers
MOST_UNROLLED = 8  # steps along k, where nothing asks for more


def lower(low: Lowering, op: Op) -> bool:
    """Emits the product; False, with nothing emitted, where no piece of it fits into threadgroup memory."""
    e, result = low.e, op.results[0]
    a, b, acc = op.operands
    assert isinstance(result.type, Type) and isinstance(a.type, Type)
    layout, depth = low.place.product(op), a.type.shape[1]
    sides = [Operand(low, v, layout, depth, side) for side, v in enumerate((a, b))]
    staged = [s for s in sides if s.staged]
    piece = _piece(low, staged, depth)
    if piece is None:
        return False
    held = not sides[0].staged and sides[0].kept
    low.decided(
        "dot", op, layout=layout, path="simdgroup", warps=warps(layout), registers=held, staged=[s.side for s in staged], piece=piece
    )
    kind = result.type.dtype
    out = low.materialise(acc, layout, into=e.alloc(kind, layout.registers, "register", result.name or "acc"))
    # Integers are summed as floats, exactly, and then added to what was there.
    sums = out if kind is dt.float32 else e.alloc(dt.float32, layout.registers, "register", "sums")
    each = tuple(1 << b for b in range(len(layout.reg))), 0
    if sums is not out:
        with low.nest(layout) as frame:
            e.set(sums, frame.register(each), e.constant(0.0, dt.float32))
    for s in sides:
        s.enter()
    with low.scratch.arrays([(s.elem, s.size, "ab"[s.side]) for s in staged]) as arrays:
        for s, array in zip(staged, arrays, strict=True):
            s.shared = array
        _pieces(low, sides, sums, depth, piece)
    if sums is not out:
        with low.nest(layout) as frame:
            r = frame.register(each)
            e.set(out, r, e.as_value(e.add(e.get(out, r), e.convert(e.get(sums, r), kind))))
    low.homes[result] = [(layout, out)]
    return True


def _piece(low: Lowering, staged: list[Operand], depth: int) -> int | None:
    """The longest piece of k that leaves threadgroup memory to other programs, or else one that fits at all."""
    for limit in (min(WISHED_BYTES, low.target.stage_bytes), low.target.stage_bytes):
        piece = depth
        while piece >= SIZE:
            for s in staged:
                s.choose(piece)
            if sum(s.bytes for s in staged) <= limit:
                return piece
            piece //= 2
    return None


def _pieces(low: Lowering, sides: list[Operand], out: Value, depth: int, piece: int) -> None:
    e, staged = low.e, [s for s in sides if s.staged]
    steps = piece // SIZE
    # What is in registers is chosen by known indices: loops over it vanish.
    kind = "unroll" if any(s.kept and not s.staged for s in sides) or steps <= MOST_UNROLLED else "serial"
    with e.loop(0, depth // piece, "unroll" if any(s.kept for s in sides) else "serial", "piece") as which:
        if staged and piece < depth:
            low.barrier("shared")
        for s in staged:
            s.write(which)
        if staged:
            low.barrier("shared")
        with e.loop(0, steps, kind, "step") as step:
            if steps > 1:  # else a compiler that unrolls the loop may fetch all steps' fragments first, and run out of registers
                e.create(simt_matrix.fragment_fence)
            left, right = (s.fragments(which, step, piece) for s in sides)
            with e.loop(0, sides[0].count, "unroll", "i") as i, e.loop(0, sides[1].count, "unroll", "j") as j:
                at = e.add(e.mul(i, 2 * sides[1].count), e.mul(j, 2))
                places = [(out, at), (left, e.mul(i, 2)), (right, e.mul(j, 2))]
                e.create(simt_matrix.fragment_mac, [v for array, index in places for v in (array, e.as_value(index))])
