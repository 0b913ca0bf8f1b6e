"""An operand of a product on Apple GPUs, on its way into fragments: from registers, memory, or threadgroup memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ops import compare, simt_mma
from zmlx.simt.convert import prepare
from zmlx.simt.fragments import TENSOR, Fragments
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Coords, Layout, blocked, register_map
from zmlx.simt.shared import element_bytes
from zmlx.simt.vectors import item

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

PAD_BYTES = 16  # behind each staged row: rows begin at different banks, and vectors stay aligned


class Operand:
    """One operand on its way into fragments.

    at      the layout in which its elements are multiplied
    kept    whether some of them are in registers already
    staged  whether they pass through threadgroup memory; then `home` says how threads share the writing
    turned  whether its fragments are transposes: a lane's neighbours lie down its columns then, as they do in memory
    count   instructions of a warp across the product
    size    elements of threadgroup memory that a piece takes, `start` where the piece to multiply begins
    """

    def __init__(self, low: Lowering, value: Value, kind: Fragments, product: Layout, depth: int, side: int) -> None:
        self.low, self.value, self.kind, self.side, self.k = low, value, kind, side, 1 - side
        self.elem: dt.DType = value.type.dtype  # type: ignore[union-attr]
        self.shape: Coords = value.type.shape  # type: ignore[union-attr]
        self.at = kind.operand(product, depth, side)
        inner = len(kind.inner)
        self.across = [i for i, b in enumerate(self.at.reg) if i >= inner and b[side]]
        self.along = [i for i, b in enumerate(self.at.reg) if i >= inner and b[self.k]]
        self.registers = kind.depth * (kind.columns if side else kind.rows) // low.target.lanes  # of one instruction
        self.count = (1 << inner + len(self.across)) // self.registers
        self.loads, kept = reach(low, value, self.at)
        self.kept = bool(kept)
        readers = 1 << sum(not any(b) for b in self.at.warp)
        self.staged = not all(kept) or (bool(self.loads) and readers > 1)
        self.neighbours = [_run(low, value, d) for d in range(2)]
        self.fast = 0 if self.neighbours[0] > self.neighbours[1] else 1  # along which rows of threadgroup memory lie: as in memory
        self.turned = kind is TENSOR and self.fast == 0 and (self.staged or not self.kept)
        if self.turned:
            self.at = kind.operand(product, depth, side, turned=True)
        self.shared: Value | None = None
        self.start: Value | int = 0
        self.rooms: list[Value] = []

    @property
    def bytes(self) -> int:
        """Threadgroup memory of a piece, which ends where a vector may begin."""
        return -(-self.size * element_bytes(self.elem) // PAD_BYTES) * PAD_BYTES

    def choose(self, piece: int) -> None:
        """Fixes how a piece of this length is staged."""
        self.piece = piece
        extent = [piece if d == self.k else n for d, n in enumerate(self.shape)]
        self.width = extent[self.fast] + PAD_BYTES // element_bytes(self.elem)
        self.size = extent[1 - self.fast] * self.width
        held = _kept_layout(self.low, self.value) if self.kept else None
        home = held or self._spread((extent[0], extent[1]), self.neighbours[self.fast])
        most = PAD_BYTES // element_bytes(self.elem)
        self.inner = [i for i in range(_walked(home.reg, self.fast)) if 1 << i < min(most, extent[self.fast]) and not any(home.flip)]
        self.runs = [r for r in ([i for i in run if i not in self.inner] for run in home.runs) if r]
        top = [b for b in (self.at.reg[i] for i in self.along) if b[self.k] >= piece] if held is None else []
        self.guarded = held is not None and piece < self.shape[self.k]
        self.chosen = list(range(len(home.reg), len(home.reg) + len(top)))
        self.home = Layout(self.shape, (*home.reg, *top), home.lane, home.warp, home.flip)
        self.size = self.bytes // element_bytes(self.elem)

    @property
    def outer_loads(self) -> list[tuple[Op, Layout]]:
        """The loads that a piece is computed from, but for those that give addresses or masks of others."""
        return [] if self.guarded else reach(self.low, self.value, self.home, through_loads=False)[0]

    @property
    def fetched_bytes(self) -> int:
        """Registers of a thread that `fetch` takes."""
        return sum(item(load.operands[0]).itemsize << len(self._walks(load, layout)) for load, layout in self.outer_loads)

    def _walks(self, load: Op, layout: Layout) -> list[int]:
        """The register bits that tell apart the elements of a piece which a load gives a thread."""
        return [i for i, b in enumerate(layout.reg) if any(b) and i not in self.chosen and not self._same(load, layout, b)]

    def _same(self, load: Op, layout: Layout, basis: Coords) -> bool:
        """Whether what is loaded is known to be the same along a basis vector, as are the 8 numbers of a word, or a scale's group."""
        dims = [d for d, c in enumerate(basis) if c]
        if len(dims) != 1 or any(layout.flip):
            return False
        need, axes = 2 * basis[dims[0]], self.low.axes
        return all(
            (v.op is not None and v.op.name == "splat") or (v in axes and axes[v].constancy[dims[0]] >= need) for v in load.operands
        )

    def _spread(self, extent: tuple[int, int], run: int) -> Layout:
        """A piece over all threads, with vectors and neighbouring lanes along its rows in memory."""
        low, flipped = self.low, self.fast == 0
        lane_bits, warp_bits = low.place.lane_bits, low.place.warp_bits
        most = max(1, low.target.vector_bytes // element_bytes(self.elem))
        wide = min(run, most, max(1, extent[0] * extent[1] >> (lane_bits + warp_bits)))
        shape = extent[::-1] if flipped else extent
        layout = blocked(shape, (1, wide), (32, 32), lane_bits, warp_bits)
        return layout.map(extent, lambda c: c[::-1]) if flipped else layout

    def enter(self) -> None:
        """Before the loops: the order of memory accesses, and conversions of what is kept."""
        for load, _ in self.loads:
            self.low.hazards.access(load, None)
        prepare(self.low, [(self.value, self.home if self.staged else self.at)])
        self.anchor()

    def anchor(self) -> None:
        """What stays the same through the loops that follow is computed here."""
        self.root = Frame(self.low, None, 0, (), self.low.e.block)

    def _place(self, frame: Frame, layout: Layout) -> Value | int:
        """Where the current element of a piece is in threadgroup memory."""
        local = layout.map(layout.shape, lambda c: tuple(x % self.piece if d == self.k else x for d, x in enumerate(c)))
        e = self.low.e
        return e.add(e.mul(frame.coordinate(local, 1 - self.fast), self.width), frame.coordinate(local, self.fast))

    def room(self) -> None:
        """Registers for a piece that is to be fetched."""
        e = self.low.e
        self.rooms = [
            e.alloc(item(load.operands[0]), 1 << len(self._walks(load, layout)), "register", load.results[0].name or "fetched")
            for load, layout in self.outer_loads
        ]

    def fetch(self, which: Value | int) -> None:
        """Begins the loads of a piece, into its room."""
        low, e = self.low, self.low.e
        with e.guard(low.owner(self.home)):
            for (load, layout), array in zip(self.outer_loads, self.rooms, strict=True):
                walks = self._walks(load, layout)
                runs = [kept for run in (*self.runs, self.inner) if (kept := [i for i in run if i in walks])]
                outer = Frame(low, self.root, which, self.chosen, e.block)
                with low.levels(outer, runs) as frame, e.on_behalf_of(load.results[0]):
                    e.set(array, frame.register(_places(layout, walks)), frame.eval(load.results[0], layout))

    def write(self, which: Value | int, start: Value | int = 0, fetched: bool = False) -> None:
        """Writes a piece to threadgroup memory, from `start` on; what was fetched is in registers."""
        low = self.low
        if fetched:
            places = [_places(layout, self._walks(load, layout)) for load, layout in self.outer_loads]
            keys = [(load.results[0], layout) for load, layout in self.outer_loads]
            low.fetched = dict(zip(keys, zip(self.rooms, places, strict=True), strict=True))
        self._write(which, start)
        low.fetched = {}

    def _write(self, which: Value | int, start: Value | int) -> None:
        low, e = self.low, self.low.e
        assert self.shared is not None
        with e.guard(low.owner(self.home)):
            outer = Frame(low, self.root, which, self.chosen, e.block)
            with low.levels(outer, self.runs) as frame, e.on_behalf_of(self.value), e.guard(self._inside(frame, which)):
                if not self.inner:
                    e.set(self.shared, e.add(start, self._place(frame, self.home)), frame.eval(self.value, self.home))
                    return
                vector = e.alloc(self.elem, 1 << len(self.inner), "register", self.value.name)
                with low.levels(frame, [self.inner]) as each:
                    e.set(vector, each.as_index(), each.eval(self.value, self.home))
                at = e.as_value(e.add(start, self._place(frame, self.home)))
                e.create(simt_mma.put, [self.shared, at, vector], {"width": 1 << len(self.inner)})

    def _inside(self, frame: Frame, which: Value | int) -> Value | None:
        """Whether the current element of a tile that threads hold whole lies in the piece."""
        if not self.guarded:
            return None
        e, k = self.low.e, self.low.e.as_value(frame.coordinate(self.home, self.k))
        bits = self.shape[self.k].bit_length() - 1
        first = self.piece.bit_length() - 1
        return e.value(compare.eq, e.bits(k, first, bits - first, bits), e.as_value(which))

    def fragments(self, which: Value | int, step: Value | int, piece: int) -> Value:
        """The warp's fragments at one step along k, one after the other across the product."""
        low, e, at = self.low, self.low.e, self.at
        array = e.alloc(self.elem, self.registers * self.count, "register", "ab"[self.side])
        first = len(self.kind.inner)
        wide = _walked(at.reg[:first], self.fast)
        inside = (piece // self.kind.depth).bit_length() - 1
        outer = Frame(low, self.root, which, self.along[inside:], e.block)
        outer = Frame(low, outer, step, self.along[:inside], e.block)
        held = [*range(first), *self.across]  # register bits in the order of the array
        places = tuple(1 << held.index(i) if i in held else 0 for i in range(len(at.reg)))
        with low.levels(outer, [[*self.across, *range(wide, first)]]) as frame, e.on_behalf_of(self.value):
            if self.shared is not None and wide:
                operands = [self.shared, e.add(self.start, self._place(frame, at)), array, frame.register((places, 0))]
                e.create(simt_mma.take, [e.as_value(x) for x in operands], {"width": 1 << wide})
                return array
            with low.levels(frame, [list(range(wide))]) as each:
                value = each.eval(self.value, at) if self.shared is None else e.get(self.shared, e.add(self.start, self._place(each, at)))
                e.set(array, each.register((places, 0)), value)
        return array


def _places(layout: Layout, walks: list[int]) -> tuple[tuple[int, ...], int]:
    """Where a thread has the elements of a fetched load, in terms of its register bits."""
    return tuple(1 << walks.index(i) if i in walks else 0 for i in range(len(layout.reg))), 0


def reach(
    low: Lowering, value: Value, layout: Layout, through_loads: bool = True
) -> tuple[list[tuple[Op, Layout]], list[bool]]:
    """The loads below a tile, with the layouts that it asks of them, and for each kept tile whether its registers serve.

    through_loads: also what those loads' addresses and masks come from.
    """
    loads: list[tuple[Op, Layout]] = []
    kept: list[bool] = []
    seen: set[tuple[Value, Layout]] = set()
    stack = [(value, layout)]
    while stack:
        item = stack.pop()
        v, wanted = item
        if item in seen or not v.type.shape:  # type: ignore[union-attr]
            continue
        seen.add(item)
        op = v.op
        if v in low.homes:
            kept.append(any(register_map(home, wanted) is not None for home, _ in low.homes[v]))
        elif op is None or op.regions or op.name == "dot":  # it will be kept, where its turn has come
            kept.append(False)
        elif op.name != "splat":
            if op.name == "load":
                loads.append((op, wanted))
                if not through_loads:
                    continue
            inner = low.pull_back(op, wanted, v) if op.has("view") else wanted
            stack += [(x, inner) for x in op.operands]
    return loads, kept


def _run(low: Lowering, value: Value, dim: int) -> int:
    """How many neighbours in memory some load below a tile finds along one of its dimensions."""
    shape: Coords = value.type.shape  # type: ignore[union-attr]
    bits = tuple(tuple(1 << i if d == dim else 0 for d in range(2)) for i in range(shape[dim].bit_length() - 1))
    return max((_neighbours(low, op, layout) for op, layout in reach(low, value, Layout(shape, bits, (), ()))[0]), default=1)


def _neighbours(low: Lowering, load: Op, layout: Layout) -> int:
    pointer, best = load.operands[0], 1
    if pointer not in low.axes:
        return best
    for d in range(len(layout.shape)):
        best = max(best, min(1 << _walked(layout.reg, d), low.axes[pointer].contiguity[d]))
    return best


def _walked(reg: tuple[Coords, ...], dim: int) -> int:
    """How many of the first register bits walk one dimension element by element."""
    count = 0
    while count < len(reg) and reg[count] == tuple(1 << count if d == dim else 0 for d in range(len(reg[count]))):
        count += 1
    return count


def _kept_layout(low: Lowering, value: Value) -> Layout | None:
    """A layout of a tile that asks for no conversion of what is kept below it; None where none is known."""
    if value in low.homes:
        return low.homes[value][0][0]
    op = value.op
    if op is None or op.regions or op.name == "dot" or (op.has("view") and op.name != "trans"):
        return None
    for x in op.operands:
        layout = _kept_layout(low, x) if x.type.shape == op.operands[0].type.shape else None  # type: ignore[union-attr]
        if layout is not None:
            return layout.map(layout.shape[::-1], lambda c: c[::-1]) if op.name == "trans" else layout
    return None
