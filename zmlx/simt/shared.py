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

ALIGN = 1024  # of large arrays: what operands of CUDA's matrix units ask for


class Scratch:
    """`used` says whether an exchange may still be reading when the next one wants to write."""

    def __init__(self, low: Lowering) -> None:
        self.low, self.used = low, False
        self.base = 0  # where the region of exchanges starts: behind what is held for longer

    @contextmanager
    def array(self, elem: Elem, size: int, name: str = "shared") -> Iterator[Value]:
        """An array for one exchange; the caller puts a barrier between its writes and its reads."""
        with self.arrays([(elem, size, name)]) as (one,):
            yield one

    @contextmanager
    def arrays(self, wanted: list[tuple[Elem, int, str]]) -> Iterator[list[Value]]:
        """Several arrays that live at the same time."""
        if not wanted:
            yield []
            return
        if self.used:
            self.low.flight.leave(0)
            self.low.barrier("shared")
        self.used = True
        yield self._place(wanted)[0]

    @contextmanager
    def held(self, wanted: list[tuple[Elem, int, str]]) -> Iterator[list[Value]]:
        """Several arrays that live through the `with` body, beside its exchanges."""
        if self.used:
            self.low.flight.leave(0)
            self.low.barrier("shared")
        before = self.base
        out, self.base = self._place(wanted)
        yield out
        self.base, self.used = before, True

    def _place(self, wanted: list[tuple[Elem, int, str]]) -> tuple[list[Value], int]:
        """The arrays, one behind the other, and where they end."""
        out, offset = [], self.base
        for elem, size, name in wanted:
            if self.low.target.dialect == "cuda" and size * element_bytes(elem) >= ALIGN:
                offset = -(-offset // ALIGN) * ALIGN
            array = self.low.e.alloc(elem, size, "shared", name)
            assert array.op is not None
            array.op.attrs["offset"] = offset
            offset += -(-size * element_bytes(elem) // 16) * 16
            out.append(array)
        return out, offset


def element_bytes(elem: Elem) -> int:
    """Bytes of an element in an array of one thread or program."""
    return max(1, elem.bits // 8)
