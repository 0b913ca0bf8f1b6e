"""Reductions: within a thread's registers, then across lanes by shuffles, then across warps through shared memory.

On the host there is only the first step; along a contiguous axis it keeps several partial results side by side, so that
the C++ compiler vectorises any combine function without reassociating floats on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.ir.types import Elem, Type
from zmlx.ops import simt
from zmlx.simt.combine import combine, identity
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.frame import walk as walk_bits
from zmlx.simt.layout import Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

HOST_LANES = 32  # partial results side by side


def lower_reduce(low: Lowering, op: Op) -> None:
    layout = low.place.reduced(op)
    axis = op.attrs["axis"]
    result = layout.slice(axis)
    low.decided("reduce", op, layout=layout)
    walk = [b for b, basis in enumerate(layout.reg) if basis[axis]]
    keep = [b for b, basis in enumerate(layout.reg) if not basis[axis]]
    if identity(op, op.operands[0].type.dtype) is None:  # type: ignore[union-attr]
        _keep_operands(low, op, layout)
    prepare(low, [(v, layout) for v in op.operands])
    accs = [low.e.alloc(_elem(v), result.registers, "register", r.name or "acc") for v, r in zip(op.operands, op.results, strict=True)]
    if low.target.is_simt or not walk or walk[0] != 0:
        _walk_registers(low, op, layout, accs, walk, keep)
    else:
        _walk_side_by_side(low, op, layout, accs, walk, keep)
    if low.target.is_simt:
        _across_lanes(low, op, layout, accs, result)
        _across_warps(low, op, layout, accs, result)
    _finish(low, op, accs, result)


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


def _walk_registers(low: Lowering, op: Op, layout: Layout, accs: list[Value], walk: list[int], keep: list[int]) -> None:
    """acc[kept] = combine(acc[kept], x[axis, kept]), the kept registers innermost where they are contiguous."""
    e = low.e
    n = 1 << len(keep)
    started = _start(low, op, accs, n)
    root = Frame(low, None, 0, (), e.block)
    runs = [[b for b in run if b in keep] for run in layout.runs]
    kept_runs = [r for r in runs if r]
    if not started:
        first = Frame(low, root, 0, walk, e.block)
        with low.levels(first, kept_runs) as frame:
            for array, v in zip(accs, op.operands, strict=True):
                e.set(array, _index(low, frame, layout, keep), frame.eval(v, layout))
    lead = 0 if started else 1
    if 1 << len(walk) > lead:
        with e.loop(lead, 1 << len(walk), low.outer_kind(), "k") as k:
            over = Frame(low, root, k, walk, e.block)
            with low.levels(over, kept_runs) as frame:
                _fold(low, op, frame, layout, accs, _index(low, frame, layout, keep))
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


def _across_lanes(low: Lowering, op: Op, layout: Layout, accs: list[Value], result: Layout) -> None:
    e, axis = low.e, op.attrs["axis"]
    masks = [1 << i for i, b in enumerate(layout.lane) if b[axis]]
    if not masks:
        return
    with e.loop(0, result.registers, "unroll") as i:
        values = [e.get(a, i) for a in accs]
        for mask in masks:
            values = combine(low, op, values, [e.value(simt.shuffle_xor, v, mask=mask) for v in values])
        for array, value in zip(accs, values, strict=True):
            e.set(array, i, value)


def _across_warps(low: Lowering, op: Op, layout: Layout, accs: list[Value], result: Layout) -> None:
    """Each warp writes its result; all threads fold all of them, in the same order."""
    e, axis = low.e, op.attrs["axis"]
    bits = [i for i, b in enumerate(layout.warp) if b[axis]]
    if not bits:
        return
    r = op.results[0].type
    assert isinstance(r, Type)
    _, warp = low.thread()
    assert isinstance(warp, Value)
    count = 1 << len(bits)
    places = [1 << bits.index(i) if i in bits else 0 for i in range(len(layout.warp))]
    mine: Value | int = 0
    for part in walk_bits(e, warp, places):
        mine = e.add(mine, part)
    identity_map = (tuple(1 << b for b in range(len(result.reg))), 0)
    with low.scratch.arrays([(_elem(v), count * r.size, "partial") for v in op.operands]) as shared:
        with e.guard(low.first(result.lane, layout.warp)), low.nest(result) as frame:
            slot = e.add(e.mul(mine, r.size), flat_index(low, frame, result))
            for array, s in zip(accs, shared, strict=True):
                e.set(s, slot, e.get(array, frame.register(identity_map)))
        low.barrier("shared")
        with low.nest(result) as frame:
            at = flat_index(low, frame, result)
            values = [e.get(s, at) for s in shared]
            for k in range(1, count):
                values = combine(low, op, values, [e.get(s, e.add(at, k * r.size)) for s in shared])
            for array, value in zip(accs, values, strict=True):
                e.set(array, frame.register(identity_map), value)
