"""Vector accesses of a GPU thread: the innermost loop of a nest walks neighbours in memory, which move 16 bytes at once.

A mask that is not the same for a whole vector is decided at run time: all on, one vector access; else element by element.
Where offsets are multiples of a vector, an address that is not aligned is rare (an array that is a view) and slow. Where
they are not (rows of odd length), a target that `shifts` assembles vectors from aligned words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Pointer
from zmlx.ops import arith, compare, memory, simt
from zmlx.simt.convert import prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Layout

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

FEWEST_LANES = 4  # neighbours that a store at odd addresses needs to be worth an exchange


def item(pointer: Value) -> dt.DType:
    """The type of the elements behind a pointer, or a tile of pointers."""
    elem = pointer.type.elem
    assert isinstance(elem, Pointer)
    return elem.elem


class Run:
    """The neighbours in memory that a frame's loop walks: `length` of them along dimension `dim` (0: none that are known)."""

    def __init__(self, low: Lowering, frame: Frame, pointer: Value, layout: Layout) -> None:
        self.low, self.frame, self.pointer, self.layout = low, frame, pointer, layout
        self.length, self.dim = _run(low, frame, pointer, layout)
        # Elements that one access can move; whether the address is aligned is tested at run time.
        self.width = max(1, min(self.length, low.target.vector_bytes // item(pointer).itemsize))

    def note(self, op: Op) -> None:
        """Notes how an op accesses the run, for `kernel.explain`."""
        facts = {"layout": self.layout, "bits": self.frame.bits, "length": self.length, "width": self.width}
        self.low.decided(op.name, op, **facts, shifted=self.assembled(op))

    @property
    def base(self) -> Value:
        """The address of the first, computed before the loop."""
        parent = self.frame.parent
        assert parent is not None
        with self.low.e.at(parent.block):
            return parent.eval(self.pointer, self.layout)

    def each(self, k: Value | int) -> Frame:
        """Stands for element k, before (or behind) the loop."""
        parent = self.frame.parent
        assert parent is not None
        return Frame(self.low, parent, k, self.frame.bits, self.low.e.block)

    @property
    def shifted(self) -> bool:
        """Whether addresses are to be expected that are not aligned."""
        return self.low.target.shifts and self.width * item(self.pointer).itemsize >= 4 and not self.even

    @property
    def even(self) -> bool:
        """Whether each vector is at a multiple of its size from the start of its array."""
        size = item(self.pointer).itemsize
        return self.low.axes[self.pointer].at(self.dim, self.length, size) % (self.width * size) == 0

    def assembled(self, op: Op) -> bool:
        """Whether an op moves aligned words, from which vectors are put together, or into which they are taken apart."""
        if not self.shifted:
            return False
        if op.name == "load":
            return len(op.operands) == 1 or self.is_prefix(op.operands[1])
        return self.lanes >= FEWEST_LANES and self.length <= 32 and self.low.owner(self.layout) is None

    @property
    def lanes(self) -> int:
        """How many lanes, each with one run, follow each other in memory."""
        n, most = 1, self.low.axes[self.pointer].contiguity[self.dim]
        for basis in self.layout.lane:
            step = self.length * n
            if 2 * step > most or basis != tuple(step if d == self.dim else 0 for d in range(len(basis))):
                break
            n *= 2
        return n

    def is_constant(self, mask: Value) -> bool:
        """Whether a mask is one and the same along the run."""
        return is_constant(self.low, mask, self.dim, self.length)

    def is_prefix(self, mask: Value) -> bool:
        """Whether a mask holds for a first part of the run only."""
        return is_prefix(self.low, mask, self.dim, self.length)

    def some(self, mask: Value) -> Value | None:
        """Whether any element is on; None where that takes as long to find out as to test each."""
        return self.each(0).eval(mask, self.layout) if self.is_prefix(mask) else None

    def whole(self, mask: Value) -> Value:
        """Whether all elements are on."""
        return whole_mask(self.low, [self.each(k) for k in range(self.length)], mask, self.layout, self.dim)


def is_constant(low: Lowering, mask: Value, dim: int, length: int) -> bool:
    """Whether a mask is one and the same along a vector."""
    return mask in low.axes and low.axes[mask].constancy[dim] >= length


def is_prefix(low: Lowering, mask: Value, dim: int, length: int) -> bool:
    """Whether a mask holds for a first part of a vector only, so that its last element decides: `offsets < n`."""
    axes, op = low.axes, mask.op
    if is_constant(low, mask, dim, length):
        return True
    if op is None:
        return False
    if op.name == "and":
        return all(is_prefix(low, v, dim, length) for v in op.operands)
    if op.name == "broadcast":
        return is_prefix(low, op.operands[0], dim, length)
    if op.name == "expand_dims":
        rank = len(op.results[0].type.shape)  # type: ignore[union-attr]
        return is_prefix(low, op.operands[0], dim - (dim > op.attrs["axis"] % rank), length)
    pair = op.operands if op.name in ("lt", "le") else reversed(op.operands) if op.name in ("gt", "ge") else (None, None)
    small, large = pair
    if small not in axes or large not in axes:
        return False
    return axes[small].contiguity[dim] >= length and axes[large].constancy[dim] >= length


def whole_mask(low: Lowering, each: list[Frame], mask: Value, layout: Layout, dim: int) -> Value:
    """Whether all elements of a vector are on; `each` stands for one of them after the other."""
    prefix = is_prefix(low, mask, dim, len(each))
    low.decided("mask", mask.op, mask=mask, prefix=prefix, constant=is_constant(low, mask, dim, len(each)))
    if prefix:
        return each[-1].eval(mask, layout)
    total = each[0].eval(mask, layout)
    for f in each[1:]:
        total = low.e.value(arith.and_, total, f.eval(mask, layout))
    return total


def _run(low: Lowering, frame: Frame, pointer: Value, layout: Layout) -> tuple[int, int]:
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
    outside = [b for i, b in enumerate(layout.reg) if i not in frame.bits]
    if any(b[d] % length for b in (*outside, *layout.lane, *layout.warp)):
        return 0, 0  # it walks up from some places and down from others
    return (length, d) if low.axes[pointer].contiguity[d] >= length else (0, d)


def load(run: Run, op: Op, array: Value) -> None:
    """Loads the run's elements, before its loop, or what the load gives where its mask is off."""
    e, base = run.low.e, run.base
    mask = op.operands[1] if len(op.operands) > 1 else None
    if run.assembled(op):
        _words(run, op, array, 0)
        if mask is not None:
            _fill(run, op, array, 0)
        return

    def whole() -> None:
        for k in range(0, run.length, run.width):
            e.create(simt.vload, [e.advance(base, k), array], {"offset": k, "width": run.width, "even": run.even})

    if mask is None:
        whole()
        return
    with e.branch(run.whole(mask)) as (then, rest):
        with e.at(then):
            whole()
        with e.at(rest):
            with e.loop(0, run.length, "unroll", "k") as k:
                e.set(array, k, run.each(k).eval(op.operands[2], run.layout))
            if not run.is_constant(mask):
                with e.guard(run.some(mask)), e.loop(0, run.length, "unroll", "k") as k:
                    loaded = [e.advance(base, k), run.each(k).eval(mask, run.layout), e.get(array, k)]
                    e.set(array, k, e.create(memory.load, loaded).results[0])


def load_tile(low: Lowering, op: Op, layout: Layout, into: Value | None = None) -> bool:
    """Loads a whole tile that is kept (into an array of its own, its home, unless `into` is given), where its addresses are shifted.

    First all words, so that none waits for another. False where this is not the way.
    """
    root = Frame(low, None, 0, (), low.e.block)
    if not layout.runs or not _innermost(low, root, op, layout).assembled(op):
        return False
    prepare(low, [(v, layout) for v in op.operands])
    _innermost(low, root, op, layout).note(op)
    array = into or low.e.alloc(item(op.operands[0]), layout.registers, "register", op.results[0].name)
    own = (tuple(1 << b for b in range(len(layout.reg))), 0)
    outer = [list(run) for run in layout.runs[:-1]]
    for step in (_words, _fill)[: len(op.operands)]:
        with low.levels(Frame(low, None, 0, (), low.e.block), outer) as frame:
            step(_innermost(low, frame, op, layout), op, array, frame.register(own))
    if into is None:
        low.homes.setdefault(op.results[0], []).append((layout, array))
    return True


def _innermost(low: Lowering, frame: Frame, op: Op, layout: Layout) -> Run:
    return Run(low, Frame(low, frame, low.e.constant(0), layout.runs[-1], low.e.block), op.operands[0], layout)


def _words(run: Run, op: Op, array: Value, at: Value | int) -> None:
    """Loads the words that hold elements which are on; what lies beside these is anything."""
    e, base, width = run.low.e, run.base, run.width
    mask = op.operands[1] if len(op.operands) > 1 else None
    ahead = None if mask is None or run.is_constant(mask) else e.value(simt.to_aligned, base, width=width)
    for k in range(0, run.length, width):
        on = [e.constant(True, dt.int1)] * 2
        if mask is not None:
            on = [run.each(x).eval(mask, run.layout) for x in (k, k if ahead is None else e.add(ahead, k))]
        e.create(simt.vload, [e.advance(base, k), array, e.as_value(e.add(at, k)), *on], {"offset": 0, "width": width, "shifted": True})


def _fill(run: Run, op: Op, array: Value, at: Value | int) -> None:
    """Behind `_words`: what the load gives where its mask is off."""
    e, mask = run.low.e, op.operands[1]
    with e.branch(run.whole(mask)) as (_, rest):
        with e.at(rest), e.loop(0, run.length, "unroll", "k") as k:
            f, place = run.each(k), e.add(at, k)
            other = f.eval(op.operands[2], run.layout)
            if not run.is_constant(mask):
                other = e.value(compare.select, f.eval(mask, run.layout), e.get(array, place), other)
            e.set(array, place, other)


def store(run: Run, op: Op, array: Value) -> None:
    """Stores an array of the run's elements, behind its loop."""
    e, base = run.low.e, run.base
    mask = op.operands[2] if len(op.operands) > 2 else None
    if run.assembled(op):
        _store_shifted(run, array, mask)
        return

    def whole() -> None:
        for k in range(0, run.length, run.width):
            e.create(simt.vstore, [e.advance(base, k), array], {"offset": k, "width": run.width, "even": run.even})

    if mask is None:
        whole()
        return
    with e.branch(run.whole(mask)) as (then, rest):
        with e.at(then):
            whole()
        if not run.is_constant(mask):
            with e.at(rest), e.guard(run.some(mask)), e.loop(0, run.length, "unroll", "k") as k:
                e.create(memory.store, [e.advance(base, k), e.get(array, k), run.each(k).eval(mask, run.layout)])


def _store_shifted(run: Run, array: Value, mask: Value | None) -> None:
    """Vectors that lie across lanes are exchanged; what belongs to none that is whole goes element by element."""
    e, base = run.low.e, run.base
    whole = e.constant(True, dt.int1) if mask is None else run.whole(mask)
    sizes = {"width": run.width, "count": run.length, "lanes": run.lanes}
    left = e.value(simt.vstore_shifted, base, array, whole, **sizes)
    left.name = "left"
    with e.guard(e.value(compare.ne, left, e.constant(0))), e.loop(0, run.length, "unroll", "k") as k:
        bit = e.value(arith.and_, e.value(arith.shr, left, e.as_value(k)), e.constant(1))
        on = e.value(compare.ne, bit, e.constant(0))
        if mask is not None:
            on = e.value(arith.and_, on, run.each(k).eval(mask, run.layout))
        e.create(memory.store, [e.advance(base, k), e.get(array, k), on])
