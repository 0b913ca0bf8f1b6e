"""Operands of matrix units in shared memory: swizzled rows, as prelude/cuda_mma.h reads them.

A plain load whose neighbours lie side by side is copied there without passing through registers, 16 bytes at once, while
the program goes on; what is computed, or cannot be copied so, is stored by the threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Value
from zmlx.ops import arith, simt, simt_mma
from zmlx.ops import memory as memory_ops
from zmlx.simt import vectors
from zmlx.simt.convert import prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Coords, Layout, blocked

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

ROW = 128  # bytes of a row at most: the widest swizzle
CHUNK = 16  # bytes that are copied, and swapped, as one
ALIGN = 1024  # of an operand: eight rows, after which the swizzle repeats


Image = tuple[Value, Value | int]  # a shared array, and the element of it where an operand starts


@dataclass(frozen=True)
class Operand:
    """A tile, or its transpose, as an operand. along: the dimension of the tile whose neighbours are neighbours in shared memory."""

    tile: Value
    transposed: bool
    along: int

    @property
    def elem(self) -> dt.DType:
        return self.tile.type.dtype  # type: ignore[union-attr]

    @property
    def shape(self) -> Coords:
        """The tile's."""
        return self.tile.type.shape  # type: ignore[union-attr]

    @property
    def key(self) -> tuple[Value, int]:
        """What it is staged as: a transpose is the tile itself, read otherwise."""
        return self.tile, self.along

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def row_bytes(self) -> int:
        return min(ROW, self.shape[self.along] * self.elem.itemsize)

    def contiguous(self, dim: int) -> bool:
        """Whether rows run along a dimension of the operand (not of the tile)."""
        return (self.along == dim) != self.transposed

    def place(self, c: Coords) -> int:
        """Where an element lies; linear over bits. The same as zm_place."""
        width, height, swap = self._rows
        fast, row = c[self.along], c[1 - self.along]
        at = fast // width * (height * width) + row * width + fast % width
        return at ^ (at >> 3 & swap)

    @cached_property
    def _rows(self) -> tuple[int, int, int]:
        """Elements of a row, rows, and which bits of an element's place the row's number is XORed to."""
        swap = {128: 0x70, 64: 0x30, 32: 0x10}.get(self.row_bytes, 0)
        return self.row_bytes // self.elem.itemsize, self.shape[1 - self.along], swap // self.elem.itemsize


def peel(v: Value) -> tuple[Value, bool]:
    """The tile behind transpositions, and whether it is transposed."""
    transposed = False
    while v.op is not None and (v.op.name == "hint" or (v.op.name == "trans" and v.op.attrs["order"] in ((1, 0), [1, 0]))):
        transposed ^= v.op.name == "trans"
        v = v.op.operands[0]
    return v, transposed


def operand(low: Lowering, v: Value, inner: int) -> Operand:
    """How an operand of a product is staged; `inner` is its dimension that is summed over.

    Rows run along memory where the load's neighbours do, but only 16-bit elements can be read across rows.
    """
    tile, transposed = peel(v)
    along = inner ^ 1 if transposed else inner
    elem: dt.DType = tile.type.dtype  # type: ignore[union-attr]
    if elem.bits == 16:
        op = tile.op
        if is_load(low, tile) and op is not None and op.operands[0] in low.axes:
            near = low.axes[op.operands[0]].contiguity
            along = along if near[along] >= near[1 - along] else 1 - along
        else:
            along = 1
    return Operand(tile, transposed, along)


def is_load(low: Lowering, tile: Value) -> bool:
    return tile.op is not None and tile.op.name == "load" and tile not in low.plan.kept


def copies_whole(low: Lowering, x: Operand) -> bool:
    """Whether a load's chunks are chunks in memory too, so that they can be copied there."""
    if not is_load(low, x.tile):
        return False
    pointer = x.tile.op.operands[0]  # type: ignore[union-attr]
    chunk = CHUNK // x.elem.itemsize
    return pointer in low.axes and low.axes[pointer].contiguity[x.along] >= chunk and x.shape[x.along] >= chunk


def copy_layout(low: Lowering, x: Operand) -> Layout:
    """Threads along rows, a chunk each."""
    chunk = min(CHUNK // x.elem.itemsize, x.shape[x.along])
    flat = blocked((x.shape[1 - x.along], x.shape[x.along]), (1, chunk), (32, 32), low.place.lane_bits, low.place.warp_bits)
    return flat if x.along == 1 else flat.map(x.shape, lambda c: (c[1], c[0]))


def layout_of(low: Lowering, x: Operand) -> Layout:
    """The layout in which threads write an operand: as it is made, if it says so."""
    if copies_whole(low, x):
        return copy_layout(low, x)
    return low.place.natural(x.tile) or (low.homes[x.tile][0][0] if x.tile in low.homes else copy_layout(low, x))


def stage(low: Lowering, x: Operand, shared: Value, at: Value | int = 0) -> None:
    """Writes an operand to shared memory, from element `at` on. The caller waits for copies and threads."""
    layout = layout_of(low, x)
    chunk = CHUNK // x.elem.itemsize
    inner: list[int] = []
    for bit, basis in enumerate(layout.reg):
        if basis[x.along] != 1 << bit or basis[1 - x.along] or 1 << bit >= chunk:
            break
        inner.append(bit)
    others = (*layout.reg[len(inner) :], *layout.lane, *layout.warp, layout.flip)
    if any(b[x.along] % (1 << len(inner)) for b in others):
        inner = []  # neighbours in registers are not always neighbours in a row
    outer = [r for r in ([b for b in run if b not in inner] for run in layout.runs) if r]
    e = low.e
    with e.guard(low.owner(layout)):
        if not copies_whole(low, x):
            with low.levels(Frame(low, None, 0, (), e.block), outer) as frame:
                _store(low, x, layout, frame, inner, shared, e.add(frame.linear(layout, x.place), at))
            e.create(simt_mma.publish)
            return
        # One test for all chunks of a thread: copies without branches between them are started together.
        with e.branch(_all_whole(low, x, layout, inner, outer, aligned=True)) as (then, rest):
            with e.at(then), low.levels(Frame(low, None, 0, (), e.block), outer) as frame:
                base = frame.eval(x.tile.op.operands[0], layout)  # type: ignore[union-attr]
                e.create(simt_mma.copy_async, [base, shared, e.as_value(e.add(frame.linear(layout, x.place), at))])
            with e.at(rest):
                if len(inner) < 2 or 1 << len(inner) < chunk:
                    _by_chunk(low, x, layout, inner, outer, shared, at)
                else:  # rows that start anywhere: through registers
                    with e.branch(_all_whole(low, x, layout, inner, outer, aligned=False)) as (through, apart):
                        with e.at(through), low.levels(Frame(low, None, 0, (), e.block), outer) as frame:
                            array = e.alloc(x.elem, chunk, "register", x.tile.name)
                            base = frame.eval(x.tile.op.operands[0], layout)  # type: ignore[union-attr]
                            wide = {"layout": layout, "bits": tuple(inner), "length": chunk, "width": chunk}
                            low.decided("load", x.tile.op, **wide, copied=True, shifted=True)
                            # Branches at each would keep the loads from being in flight together.
                            on = [e.constant(True, dt.int1)] * 2
                            e.create(simt.vload, [base, array, e.constant(0), *on], {"offset": 0, "width": chunk, "shifted": True})
                            place = e.as_value(e.add(frame.linear(layout, x.place), at))
                            e.create(simt_mma.put, [shared, place, array], {"width": chunk})
                        with e.at(apart):
                            _by_chunk(low, x, layout, inner, outer, shared, at)
                e.create(simt_mma.publish)


def _by_chunk(
    low: Lowering, x: Operand, layout: Layout, inner: Sequence[int], outer: list[list[int]], shared: Value, at: Value | int
) -> None:
    """At the edges: each chunk as it can be copied. Kept short, since few programs run it."""
    with low.levels(Frame(low, None, 0, (), low.e.block), outer, kind="rolled") as frame:
        _copy(low, x, layout, frame, inner, shared, low.e.add(frame.linear(layout, x.place), at))


def _all_whole(low: Lowering, x: Operand, layout: Layout, inner: Sequence[int], outer: list[list[int]], aligned: bool) -> Value:
    """Whether all chunks of a thread are unmasked and, if asked, `aligned`, so that they can be copied as they are."""
    e, op = low.e, x.tile.op
    assert op is not None
    start = _start(low, op.operands[0], x.along)
    whole = e.value(simt_mma.is_aligned, start, bytes=CHUNK) if start is not None and aligned else None
    # Of `offsets < n`, with offsets that grow, a thread's last element speaks for all of them.
    last = Frame(low, Frame(low, None, 0, (), e.block), layout.registers - 1, range(len(layout.reg)), e.block)
    rest: list[Value] = []
    for term in terms(op.operands[1]) if len(op.operands) == 3 else ():
        if grows(low, term):
            whole = e.both(whole, last.eval(term, layout))
        else:
            rest.append(term)
    if not rest and (start is not None or not aligned):
        return whole if whole is not None else e.constant(True, dt.int1)
    all_whole = e.alloc(dt.int1, 1, "register", "whole")
    e.set(all_whole, 0, whole if whole is not None else e.constant(True, dt.int1))
    with low.levels(Frame(low, None, 0, (), e.block), outer) as frame:
        base = frame.eval(op.operands[0], layout) if start is None and aligned else None
        e.set(all_whole, 0, e.value(arith.and_, e.get(all_whole, 0), _whole(low, layout, frame, inner, base, rest, x.along)))
    return e.get(all_whole, 0)


def terms(mask: Value) -> list[Value]:
    """The conditions whose conjunction a mask is."""
    op = mask.op
    if op is not None and op.name == "and":
        return [t for v in op.operands for t in terms(v)]
    return [mask]


def grows(low: Lowering, term: Value) -> bool:
    """Whether a condition that holds for an element holds for all before it, in each dimension: `offsets < n`."""
    shape, op = term.type.shape, term.op  # type: ignore[union-attr]
    while op is not None and op.has("view"):
        if op.name not in ("broadcast", "expand_dims"):
            return False
        op = op.operands[0].op
    if op is None or op.name not in ("lt", "le", "gt", "ge"):
        return False
    small, large = op.operands if op.name in ("lt", "le") else reversed(op.operands)
    if small not in low.axes or large not in low.axes or not shape:
        return False
    sizes = small.type.shape  # type: ignore[union-attr]
    up, flat = low.axes[small], low.axes[large]
    return all((up.contiguity[d] >= n or up.constancy[d] >= n) and flat.constancy[d] >= n for d, n in enumerate(sizes))


def _whole(low: Lowering, layout: Layout, frame: Frame, inner: Sequence[int], base: Value | None, masks: list[Value], along: int) -> Value:
    """Whether a chunk is aligned (where `base` is to be tested) and not masked."""
    e = low.e
    whole = None if base is None else e.value(simt_mma.is_aligned, base, bytes=CHUNK)
    each = [Frame(low, frame, k, inner, e.block) for k in range(1 << len(inner))]
    for mask in masks:
        whole = e.both(whole, vectors.whole_mask(low, each, mask, layout, along))
    return whole if whole is not None else e.constant(True, dt.int1)


def _store(low: Lowering, x: Operand, layout: Layout, frame: Frame, inner: Sequence[int], shared: Value, place: Value | int) -> None:
    e, width = low.e, 1 << len(inner)
    if width == 1:
        e.set(shared, place, frame.eval(x.tile, layout))
        return
    array = e.alloc(x.elem, width, "register", x.tile.name)
    with low.levels(frame, [list(inner)]) as each:
        e.set(array, each.as_index(), each.eval(x.tile, layout))
    e.create(simt_mma.put, [shared, e.as_value(place), array], {"width": width})


def _copy(low: Lowering, x: Operand, layout: Layout, frame: Frame, inner: Sequence[int], shared: Value, place: Value | int) -> None:
    """A chunk that is masked in part, or not aligned, goes element by element."""
    e, op = low.e, x.tile.op
    assert op is not None
    low.decided("load", op, layout=layout, bits=tuple(inner), length=1 << len(inner), width=1 << len(inner), copied=True)
    base = frame.eval(op.operands[0], layout)
    with e.branch(_whole(low, layout, frame, inner, base, op.operands[1:2], x.along)) as (then, rest):
        with e.at(then):
            e.create(simt_mma.copy_async, [base, shared, e.as_value(place)])
        with e.at(rest), e.loop(0, 1 << len(inner), "rolled", "k") as k:
            one = Frame(low, frame, k, inner, e.block)
            operands = [e.advance(base, k), *(one.eval(v, layout) for v in op.operands[1:])]
            e.set(shared, e.add(place, k), e.create(memory_ops.load, operands).results[0])


def _start(low: Lowering, pointer: Value, along: int) -> Value | None:
    """The array whose own alignment decides that of all its chunks, where their distances from its start are known to be whole."""
    roots = low.plan.roots.get(pointer)
    if roots is None or len(roots) != 1 or low.axes[pointer].divisibility[along] < CHUNK:
        return None
    return low.scalar(next(iter(roots)))


def prepare_copy(low: Lowering, x: Operand) -> None:
    """Brings what a copy's addresses and masks need into its layout, once, before a loop."""
    assert x.tile.op is not None
    prepare(low, [(v, layout_of(low, x)) for v in x.tile.op.operands])
