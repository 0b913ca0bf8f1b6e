"""Threadgroup memory: every exchange between threads uses it for a moment, so exchanges share it.

An exchange is: write, barrier, read. The next one takes other memory where there is some, so that it need not wait for the
readers: its own barrier says that they are done, to the one after it. So exchanges that take turns cost one barrier each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zmlx.ir.core import Value
from zmlx.ir.types import Elem

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

ALIGN = 1024  # of large arrays: what operands of CUDA's matrix units ask for
TURNS = 2048  # bytes in which exchanges take turns; larger ones share what the largest needs
Part = tuple[int, int]  # from one byte up to another
ALL = (0, 1 << 40)


@dataclass
class Iteration:
    """What a loop's body writes before its first barrier, while threads may still be in the iteration before."""

    before: list[Part]  # what was being read when the loop began
    outer: list[bool]  # whether each loop around it had met no barrier then
    written: list[Part] = field(default_factory=list)
    fresh: bool = True  # no barrier yet


class Scratch:
    """`readers`: the parts that threads may still be reading, since there was no barrier behind the exchange.

    `flying`: those of them that products under way read, however many barriers follow.
    """

    def __init__(self, low: Lowering) -> None:
        self.low = low
        self.readers: list[Part] = []
        self.flying: list[Part] = []
        self.loops: list[Iteration] = []
        self.base = 0  # where the region of exchanges starts: behind what is held for longer
        self.peak = 0

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
        part = self._turn(wanted)
        for loop in self.loops:
            if loop.fresh:
                loop.written.append(part)
        yield self._place(wanted, part[0])[0]
        self.readers.append(part)
        if self.low.flight.groups and part[1] - part[0] >= ALIGN:  # what products read is not small
            self.flying.append(part)

    def waits(self, wanted: list[tuple[Elem, int, str]]) -> bool:
        """Whether an exchange has to wait for readers of those before it."""
        return bool(self.readers) and self._free(wanted) is None

    def _free(self, wanted: list[tuple[Elem, int, str]]) -> Part | None:
        """A part that nobody reads."""
        for start in sorted({self.base, *(end for _, end in self.readers if end > self.base)}):
            part = (start, self._layout(wanted, start)[1])
            if part[1] <= max(self.peak, self.base + TURNS) and not _overlap([part], self.readers):
                return part
        return None

    def _turn(self, wanted: list[tuple[Elem, int, str]]) -> Part:
        """A part for an exchange, if need be after a barrier."""
        if self.waits(wanted):
            self.low.flight.leave(0)
            self.low.barrier("shared", "readers")
        return self._free(wanted) or (self.base, self._layout(wanted, self.base)[1])

    @contextmanager
    def held(self, wanted: list[tuple[Elem, int, str]]) -> Iterator[list[Value]]:
        """Several arrays that live through the `with` body, beside its exchanges."""
        if self.readers:
            self.low.flight.leave(0)
            self.low.barrier("shared", "readers")
        before = self.base
        out, self.base = self._place(wanted, before)
        for loop in self.loops:
            if loop.fresh:
                loop.written.append((before, self.base))
        yield out
        self.base = before
        self.readers.append(ALL)

    @property
    def fresh(self) -> bool:
        """Whether this iteration of the loop has met no barrier yet."""
        return not self.loops or self.loops[-1].fresh

    def passed(self) -> None:
        """All threads are at a barrier."""
        self.flying = self.flying if self.low.flight.groups else []
        self.readers = list(self.flying)
        for loop in self.loops:
            loop.fresh = False

    # Control flow. A state is what a branch starts with.

    def state(self) -> tuple[list[Part], list[bool]]:
        return list(self.readers), [loop.fresh for loop in self.loops]

    def restore(self, *states: tuple[list[Part], list[bool]]) -> None:
        """What may be so, where one of several branches was taken."""
        self.readers = list(dict.fromkeys(part for readers, _ in states for part in readers))
        for i, loop in enumerate(self.loops):
            loop.fresh = any(fresh[i] for _, fresh in states)

    def enter(self) -> None:
        """A loop's body begins."""
        self.loops.append(Iteration(list(self.readers), [loop.fresh for loop in self.loops]))

    def leave(self) -> None:
        """It ends: another iteration may follow. A barrier, if that would write what this one may still be reading."""
        if _overlap(self.loops[-1].written, self.readers):
            if _overlap(self.loops[-1].written, self.flying):
                self.low.flight.leave(0)
            self.low.barrier("shared", "iteration")
        loop = self.loops.pop()
        self.restore((loop.before, loop.outer), self.state())

    def _layout(self, wanted: list[tuple[Elem, int, str]], start: int) -> tuple[list[int], int]:
        """Where arrays start that lie one behind the other, and where they end."""
        offsets = []
        for elem, size, _ in wanted:
            if self.low.target.dialect == "cuda" and size * element_bytes(elem) >= ALIGN:
                start = -(-start // ALIGN) * ALIGN
            offsets.append(start)
            start += -(-size * element_bytes(elem) // 16) * 16
        return offsets, start

    def _place(self, wanted: list[tuple[Elem, int, str]], start: int) -> tuple[list[Value], int]:
        """The arrays, one behind the other, and where they end."""
        out = []
        offsets, end = self._layout(wanted, start)
        for (elem, size, name), offset in zip(wanted, offsets, strict=True):
            array = self.low.e.alloc(elem, size, "shared", name)
            assert array.op is not None
            array.op.attrs["offset"] = offset
            out.append(array)
        self.peak = max(self.peak, end)
        return out, end


def _overlap(some: list[Part], others: list[Part]) -> bool:
    return any(a < d and c < b for a, b in some for c, d in others)


def element_bytes(elem: Elem) -> int:
    """Bytes of an element in an array of one thread or program."""
    return max(1, elem.bits // 8)
