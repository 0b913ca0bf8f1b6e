"""The tile product on Apple GPUs, in fragments that a simdgroup multiplies (`fragments` has their kinds and layouts).

An operand is a tile like any other, wanted in the layout that the product asks of it. Where its elements are at hand (in
registers of this layout, or in memory and of use to one simdgroup only) each lane takes its own; else pieces of the operand
along k pass through threadgroup memory, which all simdgroups read: two at a time where there is room, so that the next one is on
its way while one is multiplied. In a loop that is the next iteration's (`halves`).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import simt_matrix
from zmlx.simt.fragments import TENSOR, Fragments, choose, warps, why_no_tensor
from zmlx.simt.operand_metal import Operand

if TYPE_CHECKING:
    from zmlx.simt.halves import Early
    from zmlx.simt.lower import Lowering

WISHED_BYTES = 20 * 1024  # of threadgroup memory at most: a core with more than one program does not wait at barriers
MOST_FETCHED = 128  # bytes of a thread's registers for the pieces that are under way
MOST_UNROLLED = 8  # steps along k, where nothing asks for more


def lower(low: Lowering, op: Op, kind: Fragments) -> bool:
    """Emits the product; False, with nothing emitted, where no piece of it fits into threadgroup memory."""
    e, result = low.e, op.results[0]
    a, _, acc = op.operands
    assert isinstance(result.type, Type) and isinstance(a.type, Type)
    layout, depth = low.place.product(op), a.type.shape[1]
    early = low.early.get(op)
    sides = early.now() if early else operands(low, op)
    staged = [s for s in sides if s.staged]
    chosen = (early.piece, 2) if early else pieces(low, op, staged, depth)
    if chosen is None:
        return False
    piece, halves = chosen
    held = not sides[0].staged and sides[0].kept
    low.decided(
        "dot", op, layout=layout, path=kind.path, warps=warps(layout), registers=held, staged=[s.side for s in staged], piece=piece,
        turned=[s.side for s in sides if s.turned], no_tensor=why_no_tensor(op, low.target), halves=halves,
        early=[s.side for s in early.staged] if early else [],
        held_bytes=sum(n * s.bytes for s, n in early.held) if early else 0, fixed=[s.side for s in early.fixed] if early else [],
    )  # fmt: skip
    total = result.type.dtype
    out = low.materialise(acc, layout, into=e.alloc(total, layout.registers, "register", result.name or "acc"))
    # Integers are summed as floats, exactly, and then added to what was there.
    sums = out if total is dt.float32 else e.alloc(dt.float32, layout.registers, "register", "sums")
    each = tuple(1 << b for b in range(len(layout.reg))), 0
    if sums is not out:
        with low.nest(layout) as frame:
            e.set(sums, frame.register(each), e.constant(0.0, dt.float32))
    for s in sides:
        s.enter()
    own = [s for s in staged if s.shared is None]
    with low.scratch.arrays([(s.elem, s.size * (halves if piece < depth else 1), "ab"[s.side]) for s in own]) as arrays:
        for s, array in zip(own, arrays, strict=True):
            s.shared = array
        if halves == 2:
            _in_halves(low, sides, sums, depth, piece, early)
        else:
            _one_by_one(low, sides, sums, depth, piece)
    if sums is not out:
        with low.nest(layout) as frame:
            r = frame.register(each)
            e.set(out, r, e.as_value(e.add(e.get(out, r), e.convert(e.get(sums, r), total))))
    low.homes[result] = [(layout, out)]
    return True


def operands(low: Lowering, op: Op) -> list[Operand]:
    """Both operands of a product, as they are when this is called."""
    depth: int = op.operands[0].type.shape[1]  # type: ignore[union-attr]
    kind = choose(op, low.target)
    assert kind is not None
    return [Operand(low, v, kind, low.place.product(op), depth, side) for side, v in enumerate(op.operands[:2])]


def pieces(low: Lowering, op: Op, staged: list[Operand], depth: int) -> tuple[int, int] | None:
    """The length of a piece of k, and how many pieces threadgroup memory holds: two where there are several, and it has room."""
    single = single_piece(low, staged, depth)
    if single is None:
        return None
    if not staged or single == depth:
        return single, 1
    double = _piece(low, staged, depth, 2)
    why = ""
    if stages(low, op) == 1 or low.single:
        why = "others" if low.single else "asked"
    elif double is None or 2 * double < single:
        why = "memory"
    elif stages(low, op) is None and sum(s.fetched_bytes for s in staged) > MOST_FETCHED:
        why = "registers"
    elif double is not None:
        low.halves = True
        return double, 2
    low.decided("late", op, side=None, why=why)
    for s in staged:
        s.choose(single)
    return single, 1


def single_piece(low: Lowering, staged: list[Operand], depth: int) -> int | None:
    """The length of a piece where threadgroup memory holds one of them; None where none fits."""
    return _piece(low, staged, depth, 1)


def stages(low: Lowering, op: Op) -> int | None:
    """The user's wish for the innermost loop around a product, or for the whole kernel."""
    owner = low.plan.owner.get(low.plan.block_of[op])
    while owner is not None and owner.name != "for":
        owner = low.plan.owner.get(low.plan.block_of[owner])
    return (owner.attrs.get("num_stages") if owner is not None else None) or low.num_stages


def _piece(low: Lowering, staged: list[Operand], depth: int, halves: int) -> int | None:
    """The longest piece of k that leaves threadgroup memory to other programs, or else one that fits at all."""
    for limit in (min(WISHED_BYTES, low.target.stage_bytes), low.target.stage_bytes):
        piece = depth
        while piece >= (staged[0].kind.depth if staged else 1):
            for s in staged:
                s.choose(piece)
            if halves * sum(s.bytes for s in staged) <= limit:
                return piece
            piece //= 2
    return None


def _in_halves(low: Lowering, sides: list[Operand], out: Value, depth: int, piece: int, early: Early | None) -> None:
    """Threadgroup memory holds two pieces. While one is multiplied the next is fetched, and written to the other half.

    One barrier a piece: whoever passed it has multiplied the piece before, whose half may be written, and has written this one.
    """
    e, count, held = low.e, depth // piece, [s for s, _ in early.held] if early else []
    turning = [s for s in sides if s.staged and not (early and s in early.fixed)]
    late = [s for s in turning if s not in held]
    for s in late:
        s.write(0)
    with e.loop(0, count - 1, _outer_kind(sides), "piece") if count > 1 else nullcontext() as which:
        if which is not None:
            following = e.add(which, 1)
            for s in turning:
                s.room()
                s.fetch(following)
            low.barrier("shared")
            for s in turning:
                s.start = _half(low, which, s.size)
            _multiply(low, sides, out, which, piece)
            for s in turning:
                s.write(following, _half(low, following, s.size), fetched=True)
    for s in turning:
        s.start = early.start(s) if early and s not in late else (count - 1) % 2 * s.size
    if early:
        early.fetch()
    if count > 1 or late or low.scratch.fresh:
        low.barrier("shared")
    _multiply(low, sides, out, count - 1, piece)
    if early:
        early.write()


def _half(low: Lowering, which: Value | int, size: int) -> Value | int:
    """Where a piece begins."""
    return which % 2 * size if isinstance(which, int) else low.e.mul(low.e.bits(which, 0, 1, 32), size)


def _one_by_one(low: Lowering, sides: list[Operand], out: Value, depth: int, piece: int) -> None:
    e, staged = low.e, [s for s in sides if s.staged]
    with e.loop(0, depth // piece, _outer_kind(sides), "piece") as which:
        if staged and piece < depth:
            low.barrier("shared")
        for s in staged:
            s.write(which)
        if staged:
            low.barrier("shared")
        _multiply(low, sides, out, which, piece)


def _outer_kind(sides: list[Operand]) -> str:
    # What is in registers is chosen by known indices: loops over it vanish.
    return "unroll" if any(s.kept for s in sides) else "serial"


def _multiply(low: Lowering, sides: list[Operand], out: Value, which: Value | int, piece: int) -> None:
    e, kind = low.e, sides[0].kind
    steps = piece // kind.depth
    walk = "unroll" if any(s.kept and not s.staged for s in sides) or steps <= MOST_UNROLLED else "serial"
    with e.loop(0, steps, walk, "step") as step:
        if steps > 1:  # else a compiler that unrolls the loop may fetch all steps' fragments first, and run out of registers
            e.create(simt_matrix.fragment_fence)
        left, right = (s.fragments(which, step, piece) for s in sides)
        with e.loop(0, sides[0].count, "unroll", "i") as i, e.loop(0, sides[1].count, "unroll", "j") as j:
            at = e.mul(e.add(e.mul(i, sides[1].count), j), kind.rows * kind.columns // low.target.lanes)
            places = [(out, at), (left, e.mul(i, sides[0].registers)), (right, e.mul(j, sides[1].registers))]
            each = [v for array, index in places for v in (array, e.as_value(index))]
            if kind is TENSOR:
                e.create(simt_matrix.tensor_mac, each, {"left": int(sides[0].turned), "right": int(sides[1].turned)})
            else:
                e.create(simt_matrix.fragment_mac, each)
