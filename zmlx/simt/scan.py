"""Prefix scans. Order matters here: the combine function is associative but need not commute.

On a GPU the tile is first brought into a layout in which each thread holds a contiguous piece of the axis, the pieces
follow each other in lanes, and then in warps. Threads scan their pieces, then the totals are scanned across lanes by
shuffles and across warps through shared memory, and every thread folds what precedes it into its piece. A reverse scan
is the same on a layout whose axis is flipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import arith, compare, simt
from zmlx.simt.combine import combine, single_op
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Coords, Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


GROUP_BITS = 3  # the host's groups have 8 elements


def scan_layout(shape: Coords, axis: int, lane_bits: int, warp_bits: int, reverse: bool) -> Layout:
    """Axis bits first in registers, then lanes, then warps; the other dimensions take the threads that are left."""
    rank = len(shape)

    def bases(dim: int, low: int, high: int) -> list[Coords]:
        return [tuple((1 << i) if d == dim else 0 for d in range(rank)) for i in range(low, high)]

    n = shape[axis].bit_length() - 1
    others = [b for d in reversed(range(rank)) if d != axis for b in bases(d, 0, shape[d].bit_length() - 1)]
    axis_lanes = min(lane_bits, n)
    axis_warps = min(warp_bits, n - axis_lanes) if len(others) < warp_bits + lane_bits - axis_lanes else 0
    piece = n - axis_lanes - axis_warps
    lane = bases(axis, piece, piece + axis_lanes)
    warp = bases(axis, piece + axis_lanes, n)
    spare_lanes, spare_warps = lane_bits - axis_lanes, warp_bits - axis_warps
    lane += others[:spare_lanes]
    warp += others[spare_lanes : spare_lanes + spare_warps]
    reg = bases(axis, 0, piece) + others[spare_lanes + spare_warps :]
    zero = (0,) * rank
    lane += [zero] * (lane_bits - len(lane))
    warp += [zero] * (warp_bits - len(warp))
    flip = tuple(shape[d] - 1 if reverse and d == axis else 0 for d in range(rank))
    return Layout(shape, tuple(reg), tuple(lane), tuple(warp), flip)


def lower_scan(low: Lowering, op: Op) -> None:
    shape: Coords = op.operands[0].type.shape  # type: ignore[union-attr]
    axis, reverse = op.attrs["axis"], bool(op.attrs.get("reverse"))
    if low.target.is_simt:
        layout = scan_layout(shape, axis, low.place.lane_bits, low.place.warp_bits, reverse)
    else:
        plain = low.place.default(shape)
        layout = plain.map(shape, lambda c: c, tuple(shape[d] - 1 if reverse and d == axis else 0 for d in range(len(shape))))
    low.decided("scan", op, layout=layout)
    prepare(low, [(v, layout) for v in op.operands])
    outs = [low.e.alloc(v.type.elem, layout.registers, "register", r.name or "scan") for v, r in zip(op.operands, op.results, strict=True)]
    walk = [b for b, basis in enumerate(layout.reg) if basis[axis]]
    keep = [b for b, basis in enumerate(layout.reg) if not basis[axis]]
    totals = [low.e.alloc(v.type.elem, 1 << len(keep), "register", "total") for v in op.operands]
    _within_thread(low, op, layout, outs, totals, walk, keep)
    if low.target.is_simt:
        _Across(low, op, layout, outs, totals, walk, keep).run()
    for r, array in zip(op.results, outs, strict=True):
        low.homes[r] = [(layout, array)]


def _kept_runs(layout: Layout, keep: list[int]) -> list[list[int]]:
    return [r for r in ([b for b in run if b in keep] for run in layout.runs) if r]


def _kept_index(frame: Frame, layout: Layout, keep: list[int]) -> Value | int:
    return frame.register((tuple(1 << keep.index(b) if b in keep else 0 for b in range(len(layout.reg))), 0))


def _own_index(frame: Frame, layout: Layout) -> Value | int:
    return frame.register((tuple(1 << b for b in range(len(layout.reg))), 0))


def _within_thread(low: Lowering, op: Op, layout: Layout, outs: list[Value], totals: list[Value], walk: list[int], keep: list[int]) -> None:
    """outs = the scan of this thread's piece; totals = its last elements."""
    e = low.e
    root = Frame(low, None, 0, (), e.block)

    def write(frame: Frame, values: Sequence[Value]) -> None:
        at, slot = _own_index(frame, layout), _kept_index(frame, layout, keep)
        for out, total, value in zip(outs, totals, values, strict=True):
            e.set(out, at, value)
            e.set(total, slot, value)

    if not low.target.is_simt and single_op(op) is not None and walk[:GROUP_BITS] == list(range(GROUP_BITS)):
        _by_groups(low, op, layout, outs[0], walk, keep)
        return
    # On the host each kept element's chain is walked on its own unless the kept elements are the contiguous ones.
    kept_inside = low.target.is_simt or not walk or walk[0] != 0
    first = Frame(low, root, 0, walk, e.block)
    with low.levels(first, _kept_runs(layout, keep)) as frame:
        write(frame, [frame.eval(v, layout) for v in op.operands])
    if not walk:
        return

    def step(frame: Frame) -> None:
        slot = _kept_index(frame, layout, keep)
        write(frame, combine(low, op, [e.get(t, slot) for t in totals], [frame.eval(v, layout) for v in op.operands]))

    if kept_inside:
        with e.loop(1, 1 << len(walk), low.outer_kind(), "k") as k:
            with low.levels(Frame(low, root, k, walk, e.block), _kept_runs(layout, keep)) as frame:
                step(frame)
    else:
        with low.levels(root, _kept_runs(layout, keep), independent=False) as outer, e.loop(1, 1 << len(walk), "serial", "k") as k:
            step(Frame(low, outer, k, walk, e.block))


def _by_groups(low: Lowering, op: Op, layout: Layout, out: Value, walk: list[int], keep: list[int]) -> None:
    """The host's scan along a contiguous axis by one op, whose latency would bound a chain of elements: a chain of groups.

    Each group is scanned on its own, by halves (Sklansky, "Conditional-sum addition logic", 1960), before what precedes it is
    folded into all its elements at once. The tile is computed first, in a loop over vectors.
    """
    e, size = low.e, 1 << GROUP_BITS
    with low.levels(Frame(low, None, 0, (), e.block), _kept_runs(layout, keep), independent=False) as outer:
        with low.levels(outer, [walk]) as frame:
            e.set(out, _own_index(frame, layout), frame.eval(op.operands[0], layout))
        total = e.alloc(out.type.elem, 1, "register", "total")

        def group(frame: Frame, follows: bool) -> None:
            at = _own_index(frame, layout)
            values = [e.get(out, e.add(at, j)) for j in range(size)]
            for half in (1 << b for b in range(GROUP_BITS)):
                for j in range(size):
                    if j & half:
                        values[j] = combine(low, op, [values[j // half * half - 1]], [values[j]])[0]
            if follows:
                before = e.get(total, 0)
                values = [combine(low, op, [before], [v])[0] for v in values]
            for j, v in enumerate(values):
                e.set(out, e.add(at, j), v)
            e.set(total, 0, values[-1])

        groups = 1 << (len(walk) - GROUP_BITS)
        group(Frame(low, outer, 0, walk[GROUP_BITS:], e.block), False)
        if groups > 1:
            with e.loop(1, groups, "serial", "k") as k:
                group(Frame(low, outer, k, walk[GROUP_BITS:], e.block), True)


class _Across:
    """Folds the totals of preceding lanes and warps into every thread's piece."""

    def __init__(
        self, low: Lowering, op: Op, layout: Layout, outs: list[Value], totals: list[Value], walk: list[int], keep: list[int]
    ) -> None:
        self.low, self.op, self.layout, self.outs, self.totals, self.walk, self.keep = low, op, layout, outs, totals, walk, keep
        axis = op.attrs["axis"]
        self.lane_bits = sum(1 for b in layout.lane if b[axis])
        self.warp_bits = sum(1 for b in layout.warp if b[axis])

    def run(self) -> None:
        low, e = self.low, self.low.e
        if not self.lane_bits and not self.warp_bits:
            return
        lane, warp = low.thread()
        before = [e.alloc(t.type.elem, t.type.size, "register", "before") for t in self.totals]
        if self.lane_bits:
            assert isinstance(lane, Value)
            place = e.bits(lane, 0, self.lane_bits, len(self.layout.lane))
            with e.loop(0, 1 << len(self.keep), "unroll") as i:
                values = [e.get(t, i) for t in self.totals]
                for bit in range(self.lane_bits):
                    shifted = [e.value(simt.shuffle_up, v, delta=1 << bit) for v in values]
                    joined = combine(low, self.op, shifted, values)
                    reached = e.value(compare.ge, place, e.constant(1 << bit))
                    values = [e.value(compare.select, reached, j, v) for j, v in zip(joined, values, strict=True)]
                for total, b, v in zip(self.totals, before, values, strict=True):
                    e.set(total, i, v)
                    e.set(b, i, e.value(simt.shuffle_up, v, delta=1))
            follows = e.value(compare.ne, place, e.constant(0))
            if not self.warp_bits:
                with e.guard(follows):
                    self._fold(before)
                return
        assert isinstance(warp, Value)
        self._warps(lane, warp, before if self.lane_bits else None)

    def _fold(self, before: list[Value]) -> None:
        """outs = combine(before, outs), for every register."""
        low, e = self.low, self.low.e
        with low.nest(self.layout) as frame:
            at, slot = _own_index(frame, self.layout), _kept_index(frame, self.layout, self.keep)
            new = combine(low, self.op, [e.get(b, slot) for b in before], [e.get(o, at) for o in self.outs])
            for out, value in zip(self.outs, new, strict=True):
                e.set(out, at, value)

    def _warps(self, lane: Value | int, warp: Value, nearer: list[Value] | None) -> None:
        """nearer: what precedes this lane in its warp; it is joined with what precedes the warp, and both are folded in at once."""
        low, e, axis = self.low, self.low.e, self.op.attrs["axis"]
        result = self.layout.slice(axis)
        r = self.op.operands[0].type
        assert isinstance(r, Type)
        rows = r.size // r.shape[axis]
        place = e.bits(warp, 0, self.warp_bits, len(self.layout.warp))
        last: Value | None = None
        if self.lane_bits:
            assert isinstance(lane, Value)
            last = e.equals(e.bits(lane, 0, self.lane_bits, len(self.layout.lane)), (1 << self.lane_bits) - 1)
        own = tuple(1 << b for b in range(len(result.reg)))
        count = 1 << self.warp_bits
        wanted = [(v.type.elem, count * rows, "partial") for v in self.op.operands]
        with low.scratch.arrays(wanted) as shared:
            with e.guard(e.both(last, low.first(self.layout.lane, self.layout.warp))), low.nest(result) as frame:
                slot = e.add(e.mul(place, rows), flat_index(low, frame, result))
                for s, total in zip(shared, self.totals, strict=True):
                    e.set(s, slot, e.get(total, frame.register((own, 0))))
            low.barrier("shared")
            before = [e.alloc(v.type.elem, 1 << len(self.keep), "register", "before") for v in self.op.operands]
            with low.nest(result) as frame:
                at, slot = flat_index(low, frame, result), frame.register((own, 0))
                for b, s in zip(before, shared, strict=True):
                    e.set(b, slot, e.get(s, at))
                for k in range(1, count - 1):
                    with e.guard(e.value(compare.gt, place, e.constant(k))):
                        earlier = [e.get(b, slot) for b in before]
                        new = combine(low, self.op, earlier, [e.get(s, e.add(at, k * rows)) for s in shared])
                        for b, value in zip(before, new, strict=True):
                            e.set(b, slot, value)
            follows = e.value(compare.ne, place, e.constant(0))
            if nearer is not None:
                follows = self._join(lane, follows, nearer, before)
            with e.guard(follows):
                self._fold(before)

    def _join(self, lane: Value | int, has_far: Value, nearer: list[Value], before: list[Value]) -> Value:
        """before = what precedes this thread, from its warp and from the warps before; returns whether anything does."""
        low, e = self.low, self.low.e
        assert isinstance(lane, Value)
        has_near = e.value(compare.ne, e.bits(lane, 0, self.lane_bits, len(self.layout.lane)), e.constant(0))
        with e.loop(0, 1 << len(self.keep), "unroll") as i:
            near, far = [e.get(b, i) for b in nearer], [e.get(b, i) for b in before]
            both = combine(low, self.op, far, near)
            for b, x, y, z in zip(before, far, near, both, strict=True):
                e.set(b, i, e.value(compare.select, has_far, e.value(compare.select, has_near, z, x), y))
        return e.value(arith.or_, has_far, has_near)
