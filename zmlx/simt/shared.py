"""Threadgroup memory: every exchange between threads uses it for a moment, so all exchanges share one region.

An exchange is: write, barrier, read. Before the next one writes, another barrier lets the readers finish.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zmlx.ir.core import Value
from zmlx.ir.types import Elem

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


class Scratch:
    """`used` says whether an exchange may still be reading when the next one wants to write."""

    def __init__(self, low: Lowering) -> None:
        self.low, self.used = low, False

    @contextmanager
    def array(self, elem: Elem, size: int, name: str = "shared") -> Iterator[Value]:
        """An array for one exchange; the caller puts a barrier between its writes and its reads."""
        with self.arrays([(elem, size, name)]) as (one,):
            yield one

    @contextmanager
    def arrays(self, wanted: list[tuple[Elem, int, str]]) -> Iterator[list[Value]]:
        """Several arrays that live at the same time."""
        if self.used:
            self.low.barrier("shared")
        self.used = True
        out, offset = [], 0
        for elem, size, name in wanted:
            array = self.low.e.alloc(elem, size, "shared", name)
            assert array.op is not None
            array.op.attrs["offset"] = offset
            offset += -(-size * element_bytes(elem) // 16) * 16
            out.append(array)
        yield out


def element_bytes(elem: Elem) -> int:
    """Bytes of an element in an array of one thread or program."""
    return max(1, elem.bits // 8)
