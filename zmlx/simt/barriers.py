"""Barriers for device memory: a program's loads see its own earlier stores, whichever of its threads made them.

Threads of a program run in no order between barriers. Two accesses of one array conflict when one of them writes and
they may touch one element from different threads; disjoint tiles do not, and accesses through the very same pointer tile
do not, since an element's thread is the same both times. That needs a tile of which each element has one thread: of a scalar,
and of an element that several threads hold, one thread writes what all of them read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Block, Op, Value
from zmlx.passes.structure import defined

if TYPE_CHECKING:
    from zmlx.simt.layout import Layout
    from zmlx.simt.lower import Lowering

Roots = frozenset[Value] | None


class Hazards:
    """The accesses since the last barrier: (roots, pointer, layout, writes)."""

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.pending: list[tuple[Roots, Value, Layout | None, bool]] = []

    def access(self, op: Op, layout: Layout | None) -> None:
        """Records an access that is about to be emitted, with a barrier before it if it conflicts with an earlier one."""
        if not self.low.target.is_simt:
            return
        pointer, roots, writes = op.operands[0], self.low.plan.roots.get(op.operands[0]), op.has("writes")
        for old_roots, old_pointer, old_layout, wrote in self.pending:
            if not (writes or wrote) or (old_pointer is pointer and old_layout == layout and layout is not None and not layout.replicated):
                continue
            if _meet(roots, old_roots) and not self.low.disjoint.apart(old_pointer, pointer):
                self.low.decided("wait", op, pointer=old_pointer)
                self.barrier()
                break
        self.pending.append((roots, pointer, layout, writes))

    def barrier(self) -> None:
        self.low.barrier("device")
        self.pending.clear()

    def loop_end(self, body: Block) -> None:
        """The next iteration's accesses follow this one's: a barrier if two of the body, one a write, may meet.

        One op's accesses in two iterations are taken not to meet, unless they are of the same elements: a store in a loop is
        assumed to advance by its tile, which symbolic strides and masks seldom let us prove.
        """
        if not self.low.target.is_simt:
            return
        accesses = [(self.low.plan.roots.get(op.operands[0]), op) for op in body.walk() if op.has("reads") or op.has("writes")]
        pairs = [(op, o) for w, op in accesses if op.has("writes") for r, o in accesses if o is not op and _meet(w, r)]
        varies = defined(body) if pairs else set()
        if not all(self.low.disjoint.apart(op.operands[0], o.operands[0], varies) for op, o in pairs):
            self.barrier()

    def may_skip(self, before: list[tuple[Roots, Value, Layout | None, bool]]) -> None:
        """Accesses before a loop wait still after it: a loop of no iteration passes none of its barriers."""
        now = set(self.pending)
        self.pending = [*(a for a in before if a not in now), *self.pending]


def _meet(a: Roots, b: Roots) -> bool:
    return a is None or b is None or bool(a & b)
