"""Where kept tiles live on a GPU, and which loads are made where the user wrote them.

A tile lives in the layout in which it will be needed, if all who need it agree: then it never changes its layout. The two halves of a
pair (`tl.split`) are needed in two layouts that one layout with both in a thread serves.

A load is otherwise part of the loop of its sink. Where threads do something else in between (meet at a barrier, store, loop,
compute what is kept), its latency would come on top of that: a load that is written early is meant to be early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.simt.layout import Coords, Layout, flat
from zmlx.simt.vectors import item

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

ONE, ALL = 128, 256  # bytes of registers: of one load made early, and of all that wait at a time
_MEETING = {"store", "atomic_rmw", "atomic_cas", "reduce", "scan", "dot", "for", "while", "if", "debug_barrier"}
Layouts = frozenset[Layout]


class Homes:
    """`waiting`: for each load that was made early, its sink and its bytes."""

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.waiting: list[tuple[Op, int]] = []
        self._known: dict[Value, Layouts | None] = {}

    def of(self, v: Value) -> Layout:
        """The layout in which a value is kept."""
        return self.low.place.natural(v) or self.agreed(v) or self.low.place.of(v)

    def early(self, op: Op) -> Layout | None:
        """The layout in which to make a load now; None to leave it to its sink."""
        plan, value = self.low.plan, op.results[0]
        sink, layout = plan.sink.get(value), self.agreed(value)
        if not isinstance(sink, Op) or layout is None:
            return None
        block, here = plan.block_of[op], plan.position[op]
        self.waiting = [(s, n) for s, n in self.waiting if plan.block_of[s] is block and plan.position[s] > here]
        between = block.ops[here + 1 : plan.position[sink]]
        if len(self._wanted(value) or ()) < 2 and not any(o.name in _MEETING or self._computes(o) for o in between):
            return None
        size = layout.registers * item(op.operands[0]).itemsize
        if size > ONE or size + sum(n for _, n in self.waiting) > ALL:
            return None
        self.waiting.append((sink, size))
        return layout

    def _computes(self, op: Op) -> bool:
        return op.name != "load" and any(r in self.low.plan.kept for r in op.results)

    def agreed(self, v: Value) -> Layout | None:
        """One layout that serves all in which a value is needed."""
        wanted = self._wanted(v) if self.low.target.is_simt else None
        if not wanted or len(wanted) > 2:
            return None
        first, last = min(wanted, key=_flip), max(wanted, key=_flip)
        if first == last:
            return first
        other = tuple(a ^ b for a, b in zip(first.flip, last.flip, strict=True))
        if (first.reg, first.lane, first.warp) != (last.reg, last.lane, last.warp) or other in (*first.reg, *first.lane, *first.warp):
            return None
        for basis in first.reg:  # the same elements, with neighbours in memory still neighbours in registers
            if any(basis) and all(a & b == a for a, b in zip(basis, other, strict=True)):
                other = tuple(a ^ b for a, b in zip(basis, other, strict=True))
        reg = sorted((*first.reg, other), key=lambda basis: flat(basis, first.shape))
        return Layout(first.shape, tuple(reg), first.lane, first.warp, first.flip)

    def _wanted(self, v: Value) -> Layouts | None:
        """The layouts in which a value is evaluated; None where that is not known before."""
        if v not in self._known:
            self._known[v] = None  # cuts cycles
            self._known[v] = self._look(v)
        return self._known[v]

    def _look(self, v: Value) -> Layouts | None:
        low, found = self.low, set()
        for user in low.plan.users.get(v, ()):
            if user.name == "store":
                found.add(low.place.natural(user.operands[1]) or low.place.default(user.operands[0].type.shape))  # type: ignore[union-attr]
            elif user.name == "reduce":
                found.add(low.place.reduced(user))
            elif user.has("pure") and not user.regions and user.name != "dot" and user.results[0].type.shape:  # type: ignore[union-attr]
                for r in user.results:
                    if low.plan.sink.get(r) is None:
                        continue
                    inner = frozenset([self.of(r)]) if r in low.plan.kept else self._wanted(r)
                    if inner is None:
                        return None
                    found |= {low.pull_back(user, x, r) if user.has("view") else x for x in inner}
            else:
                carried = self._carried(user, v)
                if not carried:
                    return None
                found |= {low.place.of(r) for r in carried}
        return frozenset(map(_compact, found))

    def _carried(self, user: Op, v: Value) -> list[Value]:
        """The results that a value becomes at the start or the end of a loop, or of a branch; none where the op is another."""
        owner = self.low.plan.owner.get(self.low.plan.block_of[user]) if user.name == "yield" else user
        if owner is None or owner.name not in ("for", "while", "if") or (user is owner and owner.name == "if"):
            return []
        ends = user.operands[len(user.operands) - len(owner.results) :]
        return [r for r, x in zip(owner.results, ends, strict=False) if x is v]


def _compact(layout: Layout) -> Layout:
    """Without registers that hold elements again."""
    return Layout(layout.shape, tuple(b for b in layout.reg if any(b)), layout.lane, layout.warp, layout.flip)


def _flip(layout: Layout) -> Coords:
    return layout.flip
