"""Products that are under way: matrix units work on while the program goes on, and are waited for where a result is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx.ir.core import Value
from zmlx.ops import simt_mma

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


class Flight:
    """`groups`: the accumulator of each product that may not have ended, oldest first. They end in this order."""

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.groups: list[Value] = []

    def settle(self, array: Value) -> None:
        """Waits until nothing is added to an array any more."""
        if array in self.groups:
            self.leave(self.groups[::-1].index(array))

    def leave(self, count: int) -> None:
        """Waits until at most the last `count` products are under way."""
        ended = self.groups[: len(self.groups) - count]
        for array in dict.fromkeys(ended):
            self.low.e.create(simt_mma.mma_wait, [array], {"count": count})
        self.groups = self.groups[len(ended) :]
