"""The loop nests in which a sink evaluates tiles element by element.

A `Frame` is one level of a nest over a thread's registers: its loop index stands for some register bits. `eval` emits the
code for one element of a tile in a wanted layout, at the outermost level on which the element does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zmlx.ir.core import Block, Op, Value
from zmlx.ops import compare
from zmlx.simt.layout import Coords, Layout, register_map

if TYPE_CHECKING:
    from zmlx.simt.emit import Emit
    from zmlx.simt.lower import Lowering


class Frame:
    """`bits`: the register bits that `index` walks, least significant first; `block`: where this level's code goes."""

    def __init__(self, low: Lowering, parent: Frame | None, index: Value | int, bits: Sequence[int], block: Block) -> None:
        self.low, self.parent, self.index, self.bits, self.block = low, parent, index, tuple(bits), block
        self.memo: dict[tuple[Value, Layout], Value] = {}
        self.after: list[Callable[[], None]] = []  # emitted behind this level's loop

    def as_index(self) -> Value:
        """This level's loop index."""
        return self.low.e.as_value(self.index)

    def level(self, layout: Layout) -> Frame:
        """The outermost frame that knows every register bit on which the layout's coordinates depend."""
        frame, moving = self, layout.moving
        while frame.parent is not None and moving.isdisjoint(frame.bits):
            frame = frame.parent
        return frame

    def chain(self) -> list[Frame]:
        return [*(self.parent.chain() if self.parent else []), self]

    def coordinate(self, layout: Layout, dim: int) -> Value | int:
        """One coordinate of this thread's current element."""
        e = self.low.e
        bases = [b[dim] for group in (layout.reg, layout.lane, layout.warp) for b in group]
        combine = e.add if sum(bases) == _union(bases) else e.xor
        total: Value | int = self.low.thread_part(layout, dim)
        for frame in self.chain():
            for value in frame.pieces([layout.reg[b][dim] if b < len(layout.reg) else 0 for b in frame.bits]):
                total = combine(total, value)
        flip = layout.flip[dim]
        if not flip:
            return total
        if isinstance(total, int):
            return total ^ flip
        return e.xor(total, flip)

    def linear(self, layout: Layout, f: Callable[[Coords], int]) -> Value | int:
        """f of this thread's current element; f is linear: of an XOR of coordinates, it is the XOR of what it is of each.

        Bits that one basis alone contributes are added, so that they end up in the address of an access.
        """
        e = self.low.e
        reg, lane, warp = (tuple(map(f, group)) for group in (layout.reg, layout.lane, layout.warp))
        once = several = 0
        for basis in (*reg, *lane, *warp):
            several |= once & basis
            once |= basis

        def part(clean: bool) -> Value | int:
            def keep(bases: tuple[int, ...]) -> tuple[int, ...]:
                return tuple(b if bool(b & several) != clean else 0 for b in bases)

            total = self.low.thread_sum(keep(lane), keep(warp), e.add if clean else e.xor)
            kept = keep(reg)
            for frame in self.chain():
                for value in frame.pieces([kept[b] if b < len(kept) else 0 for b in frame.bits]):
                    total = e.add(total, value) if clean else e.xor(total, value)
            return total

        total = e.add(part(False), part(True))
        flip = f(layout.flip)
        return e.xor(total, flip) if flip else total

    def pieces(self, bases: Sequence[int]) -> list[Value | int]:
        """What this level's index contributes when its bits contribute `bases`."""
        return walk(self.low.e, self.index, bases)

    def register(self, table: tuple[tuple[int, ...], int]) -> Value | int:
        """The index into a home array, from `register_map`'s answer."""
        e = self.low.e
        contributions, constant = table
        total: Value | int = 0
        combine = e.add if sum(contributions) == _union(contributions) else e.xor
        for frame in self.chain():
            for value in frame.pieces([contributions[b] if b < len(contributions) else 0 for b in frame.bits]):
                total = combine(total, value)
        return e.xor(total, constant) if constant else total

    def eval(self, value: Value, layout: Layout) -> Value:
        """The current element of a tile, were it laid out so; scalars are themselves."""
        if not value.type.shape:  # type: ignore[union-attr]
            return self.low.scalar(value)
        frame = self.level(layout)
        key = (value, layout)
        found = frame.memo.get(key)
        if found is None:
            e, op = self.low.e, value.op
            saved = e.block, e.loc
            if frame is not self:
                e.block = frame.block
            if op is not None and op.loc is not None:
                e.loc = op.loc
            try:
                found = frame.memo[key] = frame._compute(value, layout)
            finally:
                e.block, e.loc = saved
        return found

    def _compute(self, value: Value, layout: Layout) -> Value:
        low, e, op = self.low, self.low.e, value.op
        homes = low.homes.get(value)
        if homes is not None:
            for home, array in homes:
                table = register_map(home, layout)
                if table is not None:
                    return e.get(array, self.register(table))
            raise AssertionError(f"{value} was not converted to {layout} before the loop")
        assert op is not None
        if (value, layout) in low.fetched:
            array, places = low.fetched[value, layout]
            return e.get(array, self.register(places))
        if op.name == "load":
            return low.load_element(self, op, layout)
        if op.name == "splat":
            return low.scalar(op.operands[0])
        if op.name == "arange":
            out = e.add(self.coordinate(layout, 0), op.attrs["start"])
            return self._named(e.as_value(out), value)
        if op.name in ("join", "cat"):
            return self._choose(op, layout, value)
        if "view" in op.traits:
            return self.eval(op.operands[0], low.pull_back(op, layout, value))
        if op.name == "hint":
            return self.eval(op.operands[0], layout)
        operands = [self.eval(v, layout) for v in op.operands]
        if op.name in ("add", "addptr") and _is_zero(operands[1]):
            return operands[0]
        if op.name == "add" and _is_zero(operands[0]):
            return operands[1]
        return self._named(e.create(op.defn, operands, op.attrs).results[0], value)

    def _choose(self, op: Op, layout: Layout, value: Value) -> Value:
        """One of two tiles, by the coordinate that tells them apart."""
        e = self.low.e
        axis = len(layout.shape) - 1 if op.name == "join" else op.attrs["axis"] % len(layout.shape)
        inner = self.low.pull_back(op, layout, value)
        half = 1 if op.name == "join" else op.operands[0].type.shape[axis]  # type: ignore[union-attr]
        where = e.as_value(self.coordinate(layout, axis))
        first = e.value(compare.lt, where, e.constant(half))
        return e.value(compare.select, first, self.eval(op.operands[0], inner), self.eval(op.operands[1], inner))

    @staticmethod
    def _named(new: Value, old: Value) -> Value:
        if not new.name:
            new.name = old.name
        return new


def _is_zero(v: Value) -> bool:
    """An integer 0: what an index is at the start of a loop whose address is computed before it."""
    return v.op is not None and v.op.has("constant") and v.op.attrs["type"].is_int and v.op.attrs["value"] == 0


def walk(e: Emit, index: Value | int, bases: Sequence[int]) -> list[Value | int]:
    """The contributions of an index whose bits contribute `bases`: one product for each run of doubling bases."""
    out: list[Value | int] = []
    i, n = 0, len(bases)
    while i < n:
        j = i + 1
        if bases[i]:
            while j < n and bases[j] == 2 * bases[j - 1]:
                j += 1
            if isinstance(index, int):
                part: Value | int = (index >> i) & ((1 << (j - i)) - 1)
            else:
                part = e.bits(index, i, j - i, n)
            out.append(e.mul(part, bases[i]))
        i = j
    return out


def _union(numbers: Sequence[int]) -> int:
    out = 0
    for n in numbers:
        out |= n
    return out
