"""Reductions: within a thread's registers, then across lanes by shuffles, then across warps through shared memory.

On the host there is only the first step; along a contiguous axis it keeps several partial results side by side, so that
the C++ compiler vectorises any combine function without reassociating floats on its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.ir.types import Elem, Type
from zmlx.ops import simt
from zmlx.passes.gather import alike
from zmlx.simt.combine import combine, identity, single_op
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.frame import walk as walk_bits
from zmlx.simt.layout import Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

HOST_LANES = 32  # partial results side by side
MOST_READ = 8  # warps' results that every thread reads itself; of more, each lane reads one


@dataclass
class Reduction:
    """One of the reductions that are lowered together, and its accumulators."""

    op: Op
    accs: list[Value]

    @property
    def axis(self) -> int:
        return int(self.op.attrs["axis"])


def lower_reduce(low: Lowering, op: Op) -> None:
    """Lowers a reduction and, on a GPU, its neighbours of the same layout that have not been yet."""
    if op.results[0] in low.scalars or op.results[0] in low.homes:
        return
    layout = low.place.reduced(op)
    axis = op.attrs["axis"]
    result = layout.slice(axis)
    walk = [b for b, basis in enumerate(layout.reg) if basis[axis]]
    keep = [b for b, basis in enumerate(layout.reg) if not basis[axis]]
    ops = _neighbours(low, op, layout)
    for o in reversed(ops):  # the first, which comes last, is the one that has their barriers
        low.decided("reduce", o, layout=layout, group=ops)
    for o in ops:
        if not _has_neutral(o):
            _keep_operands(low, o, layout)
    prepare(low, [(v, layout) for o in ops for v in o.operands])
    group = [Reduction(o, [low.e.alloc(_elem(v), result.registers, "register", r.name or "acc") for v, r in _pairs(o)]) for o in ops]
    if low.target.is_simt or not walk or walk[0] != 0:
        for neutral in (True, False):
            some = [one for one in group if _has_neutral(one.op) == neutral]
            if some:
                _walk_registers(low, some, layout, walk, keep)
    else:
        _walk_side_by_side(low, op, layout, group[0].accs, walk, keep)
    if low.target.is_simt:
        _across_lanes(low, group, layout, result)
        _across_warps(low, group, layout, result)
    for one in group:
        _finish(low, one.op, one.accs, result)


def _pairs(op: Op) -> list[tuple[Value, Value]]:
    return list(zip(op.operands, op.results, strict=True))


def _has_neutral(op: Op) -> bool:
    return identity(op, op.operands[0].type.dtype) is not None  # type: ignore[union-attr]


def _neighbours(low: Lowering, op: Op, layout: Layout) -> list[Op]:
    """The reduction and those right behind it that share its layout, so that threads meet once for all of them."""
    out = [op]
    if low.target.is_simt:
        for other in low.plan.block_of[op].ops[low.plan.position[op] + 1 :]:
            if other.name != "reduce" or not alike(op, other) or low.place.reduced(other) != layout:
                break
            if any(v in o.results for v in other.operands for o in out):
                break
            out.append(other)
    return out


def _elem(v: Value) -> Elem:
    return v.type.elem


def _keep_operands(low: Lowering, op: Op, layout: Layout) -> None:
    """A fold that starts from its first element reads it apart: what is dear to compute is computed once, before."""
    for v in op.operands:
        if v not in low.homes:
            low.materialise(v, layout)


def _finish(low: Lowering, op: Op, accs: list[Value], result: Layout) -> None:
    for r, array in zip(op.results, accs, strict=True):
        if result.shape:
            low.homes[r] = [(result, array)]
        else:
            value = low.e.get(array, 0)
            value.name = r.name
            low.scalars[r] = value


def _slot(keep: list[int], bit: int) -> int:
    return 1 << keep.index(bit) if bit in keep else 0


def _index(low: Lowering, frame: Frame, layout: Layout, keep: list[int]) -> Value | int:
    """Which accumulator the current element belongs to."""
    return frame.register((tuple(_slot(keep, b) for b in range(len(layout.reg))), 0))


def _start(low: Lowering, op: Op, accs: list[Value], n: int) -> bool:
    """Fills the accumulators with the neutral element, if there is an exact one."""
    e = low.e
    neutral = [identity(op, v.type.dtype) for v in op.operands]  # type: ignore[union-attr]
    if any(x is None for x in neutral):
        return False
    for array, value, v in zip(accs, neutral, op.operands, strict=True):
        with e.loop(0, n, low.inner_kind()) as i:
            e.set(array, i, e.constant(value, v.type.dtype))  # type: ignore[union-attr]
    return True


def _fold(low: Lowering, op: Op, frame: Frame, layout: Layout, accs: list[Value], at: Value | int) -> None:
    e = low.e
    old = [e.get(a, at) for a in accs]
    new = [frame.eval(v, layout) for v in op.operands]
    for array, value in zip(accs, combine(low, op, old, new), strict=True):
        e.set(array, at, value)


def _walk_registers(low: Lowering, group: list[Reduction], layout: Layout, walk: list[int], keep: list[int]) -> None:
    """acc[kept] = combine(acc[kept], x[axis, kept]), the kept registers innermost where they are contiguous."""
    e = low.e
    n = 1 << len(keep)
    started = all(_start(low, one.op, one.accs, n) for one in group)
    root = Frame(low, None, 0, (), e.block)
    runs = [[b for b in run if b in keep] for run in layout.runs]
    kept_runs = [r for r in runs if r]
    if started and walk[:1] == [0]:  # neighbours in memory are innermost: they are loaded as vectors
        with low.levels(root, kept_runs + [list(run) for run in layout.runs if run[0] in walk]) as frame:
            for one in group:
                _fold(low, one.op, frame, layout, one.accs, _index(low, frame, layout, keep))
        return
    if not started:
        first = Frame(low, root, 0, walk, e.block)
        with low.levels(first, kept_runs) as frame:
            for one in group:
                for array, v in zip(one.accs, one.op.operands, strict=True):
                    e.set(array, _index(low, frame, layout, keep), frame.eval(v, layout))
    lead = 0 if started else 1
    if 1 << len(walk) > lead:
        with e.loop(lead, 1 << len(walk), low.outer_kind(), "k") as k:
            over = Frame(low, root, k, walk, e.block)
            with low.levels(over, kept_runs) as frame:
                for one in group:
                    _fold(low, one.op, frame, layout, one.accs, _index(low, frame, layout, keep))
        for emit in over.after:
            emit()


def _walk_side_by_side(low: Lowering, op: Op, layout: Layout, accs: list[Value], walk: list[int], keep: list[int]) -> None:
    """The host's walk along a contiguous axis: `lanes` partial results, folded into one at the end."""
    e = low.e
    bits = min(len(walk), HOST_LANES.bit_length() - 1)
    while bits and walk[:bits] != list(range(bits)):
        bits -= 1
    lanes, chunks = 1 << bits, 1 << (len(walk) - bits)
    kept_runs = [r for r in ([b for b in run if b in keep] for run in layout.runs) if r]
    root = Frame(low, None, 0, (), e.block)
    with low.levels(root, kept_runs, independent=False) as outer:
        parts = [e.alloc(_elem(v), lanes, "register", "part") for v in op.operands]
        started = _start(low, op, parts, lanes)
        if not started:
            first = Frame(low, outer, 0, walk[bits:], outer.block)
            with low.levels(first, [walk[:bits]]) as frame:
                for array, v in zip(parts, op.operands, strict=True):
                    e.set(array, frame.as_index(), frame.eval(v, layout))
        lead = 0 if started else 1
        if chunks > lead:
            with e.loop(lead, chunks, "serial", "c") as c:
                over = Frame(low, outer, c, walk[bits:], e.block)
                with low.levels(over, [walk[:bits]]) as frame:
                    _fold(low, op, frame, layout, parts, frame.as_index())
        half = lanes // 2
        while half:
            with e.loop(0, half, "simd") as i:
                left = [e.get(p, i) for p in parts]
                right = [e.get(p, e.add(i, half)) for p in parts]
                for array, value in zip(parts, combine(low, op, left, right), strict=True):
                    e.set(array, i, value)
            half //= 2
        at = _index(low, outer, layout, keep)
        for array, part in zip(accs, parts, strict=True):
            e.set(array, at, e.get(part, 0))


def _across_lanes(low: Lowering, group: list[Reduction], layout: Layout, result: Layout) -> None:
    masks = [1 << i for i, b in enumerate(layout.lane) if b[group[0].axis]]
    if not masks:
        return
    with low.e.loop(0, result.registers, "unroll") as i:
        values = [[low.e.get(a, i) for a in one.accs] for one in group]
        _shuffle(low, group, values, masks)
        for one, mine in zip(group, values, strict=True):
            for array, value in zip(one.accs, mine, strict=True):
                low.e.set(array, i, value)


def _is_instruction(low: Lowering, op: Op) -> bool:
    """Whether the target combines the values of all lanes by an instruction: integers of 32 bits, or the extremes of 64."""
    one, dtype = single_op(op), op.operands[0].type.dtype  # type: ignore[union-attr]
    if one is None or one.name not in low.target.lane_reduce or not dtype.is_int:
        return False
    return dtype.bits == 32 or (dtype.bits == 64 and one.name in ("minimum", "maximum"))


def _shuffle(low: Lowering, group: list[Reduction], values: list[list[Value]], masks: list[int]) -> None:
    """Every lane's values become those of all lanes that differ from it in some of the masks' bits."""
    if len(masks) == low.place.lane_bits and all(_is_instruction(low, one.op) for one in group):
        for i, one in enumerate(group):
            kind = single_op(one.op).name  # type: ignore[union-attr]
            values[i] = [low.e.value(simt.reduce_lanes, v, kind=kind) for v in values[i]]
        return
    for mask in masks:
        for i, one in enumerate(group):
            values[i] = combine(low, one.op, values[i], [low.e.value(simt.shuffle_xor, v, mask=mask) for v in values[i]])


def _across_warps(low: Lowering, group: list[Reduction], layout: Layout, result: Layout) -> None:
    """Each warp writes its results; all threads fold all of them, in the same order."""
    e, axis = low.e, group[0].axis
    bits = [i for i, b in enumerate(layout.warp) if b[axis]]
    if not bits:
        return
    r = group[0].op.results[0].type
    assert isinstance(r, Type)
    lane, warp = low.thread()
    assert isinstance(warp, Value) and isinstance(lane, Value)
    count = 1 << len(bits)
    places = [1 << bits.index(i) if i in bits else 0 for i in range(len(layout.warp))]
    mine: Value | int = 0
    for part in walk_bits(e, warp, places):
        mine = e.add(mine, part)
    identity_map = (tuple(1 << b for b in range(len(result.reg))), 0)
    with low.scratch.arrays([(_elem(v), count * r.size, "partial") for one in group for v in one.op.operands]) as shared:
        rest = iter(shared)
        partial = [[next(rest) for _ in one.accs] for one in group]
        with e.guard(low.first(result.lane, layout.warp)), low.nest(result) as frame:
            slot = e.add(e.mul(mine, r.size), flat_index(low, frame, result))
            for one, arrays in zip(group, partial, strict=True):
                for acc, s in zip(one.accs, arrays, strict=True):
                    e.set(s, slot, e.get(acc, frame.register(identity_map)))
        low.barrier("shared")
        if count > MOST_READ and r.size == 1:
            own = e.bits(lane, 0, len(bits), low.place.lane_bits)
            values = [[e.get(s, own) for s in arrays] for arrays in partial]
            _shuffle(low, group, values, [1 << i for i in range(len(bits))])
            for one, mine_all in zip(group, values, strict=True):
                for acc, value in zip(one.accs, mine_all, strict=True):
                    e.set(acc, 0, value)
            return
        with low.nest(result) as frame:
            at = flat_index(low, frame, result)
            for one, arrays in zip(group, partial, strict=True):
                parts = [[e.get(s, e.add(at, k * r.size)) for s in arrays] for k in range(count)]
                while len(parts) > 1:
                    parts = [combine(low, one.op, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
                for acc, value in zip(one.accs, parts[0], strict=True):
                    e.set(acc, frame.register(identity_map), value)
