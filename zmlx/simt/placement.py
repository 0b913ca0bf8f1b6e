"""Chooses layouts: where a tile lives when it is kept, and how a sink walks its operands.

All tiles of one shape share a default layout, so that most ops need no conversion: lanes along the last dimension (so
that neighbouring lanes touch neighbouring memory), and as many elements side by side in a thread as its accesses can move
at once. Products of `dot` have their own layout, from which results of reductions, loop carries and stores follow.
"""

from __future__ import annotations

from zmlx.ir.core import Function, Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.passes.axis import AxisInfo
from zmlx.simt import fragments, tensor
from zmlx.simt.analysis import Plan
from zmlx.simt.layout import Coords, Layout, blocked, row_major
from zmlx.simt.shared import element_bytes
from zmlx.targets.target import Target

MOST_HELD = 256  # bytes of an operand that a thread holds through a loop


class Placement:
    """Layouts by value; `default` by shape."""

    def __init__(self, fn: Function, plan: Plan, axes: dict[Value, AxisInfo], target: Target, num_warps: int) -> None:
        self.plan, self.axes, self.target = plan, axes, target
        self.lane_bits = target.lanes.bit_length() - 1
        self.warp_bits = num_warps.bit_length() - 1 if target.is_simt else 0
        self._defaults: dict[Coords, Layout] = {}
        self._known: dict[Value, Layout | None] = {}
        self._vector: dict[Coords, int] = {}
        # Products whose rows are summed, as the scores of attention, keep these within few warps.
        ops = list(fn.walk())
        self._rows_first = any(_rank(op.operands[0]) == 2 and op.attrs["axis"] % 2 for op in ops if op.name == "reduce")
        # Tiles of which only rows are reduced: a row stays within a warp, so that warps need not exchange.
        reduced: dict[Coords, set[bool]] = {}
        for op in ops:
            if op.name in ("reduce", "scan"):
                shape: Coords = op.operands[0].type.shape  # type: ignore[union-attr]
                reduced.setdefault(shape, set()).add(op.name == "reduce" and op.attrs["axis"] % len(shape) == len(shape) - 1)
        self._by_rows = {shape for shape, rows in reduced.items() if rows == {True} and len(shape) > 1}
        if target.is_simt:
            for op in ops:
                if "reads" in op.traits or "writes" in op.traits:
                    self._note_vector(op.operands[0])
            for op in ops:
                if op.regions:
                    self._carries(op)

    def _note_vector(self, pointer: Value) -> None:
        t = pointer.type
        if not isinstance(t, Type) or not t.is_tile or pointer not in self.axes:
            return
        assert isinstance(t.elem, Pointer)
        most = max(1, self.target.vector_bytes // t.elem.elem.itemsize)
        wide = min(self.axes[pointer].contiguity[-1], most)
        self._vector[t.shape] = max(self._vector.get(t.shape, 1), wide)

    def default(self, shape: Coords) -> Layout:
        """The layout that tiles of a shape have unless something speaks for another."""
        if shape not in self._defaults:
            if not self.target.is_simt:
                self._defaults[shape] = row_major(shape)
            else:
                threads = 1 << (self.lane_bits + self.warp_bits)
                size = 1
                for n in shape:
                    size *= n
                vector = min(self._vector.get(shape, 1), max(1, size // threads))
                wide = (*(1 for _ in shape[:-1]), vector) if shape else ()
                rows_first = shape in self._by_rows
                self._defaults[shape] = blocked(shape, wide, (32,) * len(shape), self.lane_bits, self.warp_bits, rows_first)
        return self._defaults[shape]

    def product(self, op: Op) -> Layout:
        """The layout of a dot's result: as matrix units hold it, or a few rows and columns a thread, a row within one warp."""
        shape: Coords = op.results[0].type.shape  # type: ignore[union-attr]
        if not self.target.is_simt:
            return row_major(shape)
        if tensor.fits(op, self.target.dialect):
            return tensor.result_layout(op, self.lane_bits, self.warp_bits)
        matrices = fragments.choose(op, self.target)
        if matrices is not None:
            return matrices.product(shape, self.warp_bits, self._rows_first)
        threads = 1 << (self.lane_bits + self.warp_bits)
        columns = 4 if shape[0] * shape[1] >= 16 * threads else 1
        rows = 4 if columns == 4 and shape[0] >= 4 * 4 << self.warp_bits else 1
        return blocked(shape, (rows, columns), (32, 8), self.lane_bits, self.warp_bits)

    def of(self, v: Value) -> Layout:
        """The layout in which a value is kept."""
        return self.natural(v) or self.default(v.type.shape)  # type: ignore[union-attr]

    def natural(self, v: Value) -> Layout | None:
        """The layout that follows from how a value is made; None when any would do."""
        if not isinstance(v.type, Type) or not v.type.is_tile or not self.target.is_simt:
            return None
        if v not in self._known:
            self._known[v] = None  # cuts cycles through loop carries
            self._known[v] = self._natural(v)
        return self._known[v]

    def _natural(self, v: Value) -> Layout | None:
        op = v.op
        if op is None:
            return None
        if op.name == "dot":
            return self.product(op)
        if op.name == "reduce":
            return self.reduced(op).slice(op.attrs["axis"])
        if op.has("structured"):
            return self._carry(op, op.results.index(v))
        if op.has("elementwise") and op.name != "load":
            for x in op.operands:
                layout = self.natural(x)
                if layout is not None:
                    return layout
        return self._asked(v) if v in self.plan.kept and (op.name == "load" or op.has("elementwise")) else None

    def _asked(self, v: Value) -> Layout | None:
        """The one layout that products ask of a tile which nothing else reads, if a thread can hold its part of it."""
        asked: set[Layout | None] = set()
        for user in self.plan.users[v]:
            matrices = fragments.choose(user, self.target) if user.name == "dot" else None
            if matrices is not None and user.operands[2] is not v:
                depth = user.operands[0].type.shape[1]  # type: ignore[union-attr]
                product = self.product(user)
                asked |= {matrices.operand(product, depth, side) for side in range(2) if user.operands[side] is v}
            elif user.name == "cast":
                asked.add(self._asked(user.results[0]))
            else:
                return None
        layout = asked.pop() if len(asked) == 1 else None
        return layout if layout and layout.registers * element_bytes(v.type.elem) <= MOST_HELD else None

    def reduced(self, op: Op) -> Layout:
        """The layout in which a reduction reads its operands: each bit must walk one dimension only."""
        for x in op.operands:
            layout = self.natural(x)
            if layout is not None and all(sum(map(bool, b)) <= 1 for g in (layout.reg, layout.lane, layout.warp) for b in g):
                return layout
        return self.default(op.operands[0].type.shape)  # type: ignore[union-attr]

    def _carry(self, op: Op, i: int) -> Layout | None:
        """A loop's carried tile: as its next value is made, or else as its first."""
        for region in reversed(op.regions):
            ends = region.terminator.operands
            if len(ends) == len(op.results):
                layout = self.natural(ends[i])
                if layout is not None:
                    return layout
        return self.natural(op.operands[len(op.operands) - len(op.results) + i]) if op.name != "if" else None

    def _carries(self, op: Op) -> None:
        """Settles the layouts of a loop's region arguments from its results."""
        if not op.has("structured") or op.name == "if":
            return
        for region in op.regions:
            for i, arg in enumerate(region.args[len(region.args) - len(op.results) :]):
                if isinstance(arg.type, Type) and arg.type.is_tile:
                    self._known[arg] = self.natural(op.results[i]) or self.default(arg.type.shape)


def _rank(v: Value) -> int:
    return len(v.type.shape)  # type: ignore[union-attr]
