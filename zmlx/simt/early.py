"""Loads of a GPU program that are made where the user wrote them, although only one later op needs them.

A load is otherwise part of the loop of its sink. Where threads do something else in between (meet at a barrier, store, loop,
compute what is kept), its latency would come on top of that: a load that is written early is meant to be early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.simt.layout import Layout
from zmlx.simt.vectors import item

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

ONE, ALL = 128, 256  # bytes of registers: of one load, and of all that wait at a time
_MEETING = {"store", "atomic_rmw", "atomic_cas", "reduce", "scan", "dot", "for", "while", "if", "debug_barrier"}


class Early:
    """`waiting`: for each load that was made early, its sink and its bytes."""

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.waiting: list[tuple[Op, int]] = []

    def layout(self, op: Op) -> Layout | None:
        """The layout in which to make a load now; None to leave it to its sink."""
        low, plan = self.low, self.low.plan
        value = op.results[0]
        sink = plan.sink.get(value)
        if not low.target.is_simt or not isinstance(sink, Op):
            return None
        block, here = plan.block_of[op], plan.position[op]
        self.waiting = [(s, n) for s, n in self.waiting if plan.block_of[s] is block and plan.position[s] > here]
        if not any(o.name in _MEETING or self._computes(o) for o in block.ops[here + 1 : plan.position[sink]]):
            return None
        layout = self._wanted(value, sink)
        if layout is None:
            return None
        size = layout.registers * item(op.operands[0]).itemsize
        if size > ONE or size + sum(n for _, n in self.waiting) > ALL:
            return None
        self.waiting.append((sink, size))
        return layout

    def _computes(self, op: Op) -> bool:
        return op.name != "load" and any(r in self.low.plan.kept for r in op.results)

    def _wanted(self, v: Value, sink: Op) -> Layout | None:
        """The layout in which a sink evaluates a value; None where that is not one, or not known before."""
        low = self.low
        found: set[Layout | None] = set()
        for user in low.plan.users[v]:
            if user is sink and user.name == "store":
                shape = user.operands[0].type.shape  # type: ignore[union-attr]
                found.add(low.place.natural(user.operands[1]) or low.place.default(shape))
            elif user is sink and user.name == "reduce":
                found.add(low.place.reduced(user))
            elif user.has("pure") and not user.regions and user.name != "dot":
                for r in user.results:
                    if r.type.shape and low.plan.sink.get(r) is not None:  # type: ignore[union-attr]
                        inner = low.place.of(r) if r in low.plan.kept else self._wanted(r, sink)
                        found.add(inner and (low.pull_back(user, inner, r) if user.has("view") else inner))
            else:
                return None
        return found.pop() if len(found) == 1 else None
