"""What the sanitizer found, in words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

SPACES = ("", "device", "threadgroup")
ACCESSES = ("", "read", "write", "atomic access")

# Each kind of report: what it means, and what to do about it.
KINDS = {
    "out-of-bounds": "guard the access with the array's size, or make the array larger",
    "race": "put threadgroup_barrier(mem_flags::mem_threadgroup) between the two accesses",
    "device-race": "let each element be written by one thread, use atomics, or split the work into two launches",
    "uninitialised-threadgroup": "write every element before it is read, and put a barrier between",
    "uninitialised-output": "outputs start with unspecified content: write before reading, or pass init_value",
    "unwritten-output": "let the grid cover the whole output, or pass init_value",
    "divergent-barrier": "move the barrier out of the branch: every thread of the threadgroup must reach it",
    "divergent-simd": "move the operation out of the branch: lanes that do not take part give no value",
    "misaligned": "access vectors at multiples of their size, or use packed vectors or single elements",
    "write-to-const": "inputs are constant: write to an output",
    "limit": "stay within Metal's limits: 1024 threads, 32 KB of threadgroup memory, 31 buffers",
    "crash": "check the index or the divisor",
    "endless": "check what ends the loop; Metal promises no progress to threads that wait for others",
    "unsupported": "the simulator cannot run this; it needs a Mac",
}


@dataclass(frozen=True)
class Thread:
    """A thread of the grid."""

    group: tuple[int, int, int]
    position: tuple[int, int, int]
    simdgroup: int
    lane: int

    def __str__(self) -> str:
        return f"thread {_short(self.position)} of threadgroup {_short(self.group)} (simdgroup {self.simdgroup}, lane {self.lane})"


def _short(p: Sequence[int]) -> str:
    return str(p[0]) if not (p[1] or p[2]) else f"({p[0]}, {p[1]}, {p[2]})"


@dataclass(frozen=True)
class Line:
    """A line of the text that ran, and where it came from: `number` counts lines of `origin` ("source", "header", "preamble")."""

    origin: str
    number: int
    text: str = ""
    python: str = ""  # the excerpt of the user's Python line, for kernels written in Python

    def __str__(self) -> str:
        return f"{self.origin}:{self.number}: {self.text.strip()}" if self.text else f"{self.origin}:{self.number}"


@dataclass(frozen=True)
class Report:
    """One finding. `index` counts elements of `element_bytes` from the buffer's start, and may be negative or beyond its end."""

    kind: str
    message: str
    kernel: str = ""
    buffer: str = ""
    space: str = ""
    access: str = ""
    bytes: int = 0
    offset: int = 0
    length: int = 0
    element_bytes: int = 0
    thread: Thread | None = None
    other: Thread | None = None
    line: Line | None = None
    other_line: Line | None = None
    callers: tuple[Line, ...] = field(default=())
    count: int = 1

    @property
    def index(self) -> int:
        return self.offset // (self.element_bytes or 1)

    def __str__(self) -> str:
        head = f"{self.kind}: {self.message}"
        if self.buffer:
            unit = "element" if self.element_bytes else "byte"
            size = self.length // (self.element_bytes or 1)
            where = f"{self.space + ' ' if self.space else ''}{self.buffer}[{self.index}] ({unit}s: {size})"
            head += f"\n  {self.access + ' of ' + str(self.bytes) + ' bytes at ' if self.access else 'at '}{where}"
        lines = [head]
        if self.line is not None:
            lines.append(f"  {self.line}")
            if self.line.python:
                lines.append(_indent(self.line.python))
        lines += [f"  called from {c}" for c in self.callers]
        if self.thread is not None:
            lines.append(f"  by {self.thread}")
        if self.other is not None:
            lines.append(f"  and {self.other}")
        if self.other_line is not None:
            lines.append(f"  {self.other_line}")
            if self.other_line.python:
                lines.append(_indent(self.other_line.python))
        if self.count > 1:
            lines.append(f"  ({self.count} times here)")
        lines.append(f"  instead: {KINDS.get(self.kind, '')}")
        return "\n".join(lines)


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


@lru_cache(maxsize=1)
def _symbolizer() -> tuple[str, ...] | None:
    for names in (("addr2line", "-i", "-e"), ("llvm-symbolizer", "--output-style=GNU", "--no-demangle", "-i", "-f=none", "-e")):
        path = shutil.which(names[0])
        if path is not None:
            return (path, *names[1:])
    return None


def locate(library: Path, addresses: Iterable[int]) -> dict[int, list[tuple[str, int]]]:
    """For each address of a library: (file, line), innermost first, with the calls that were inlined. Empty where unknown."""
    wanted = sorted(set(addresses))
    command = _symbolizer()
    if not wanted or command is None:
        return {}
    # A marker address between the wanted ones tells where each answer ends, as -i gives several lines.
    found: dict[int, list[tuple[str, int]]] = {}
    done = subprocess.run(
        [*command, str(library), "-a", *(hex(a) for a in wanted)]
        if command[0].endswith("addr2line")
        else [*command, str(library), *(hex(a) for a in wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    current: list[tuple[str, int]] | None = None
    for row in done.stdout.splitlines():
        if row.startswith("0x"):
            current = found.setdefault(int(row, 16), [])
            continue
        file, _, number = row.split(" (discriminator", 1)[0].rpartition(":")
        if current is not None and number.isdigit() and int(number) and file != "??":
            current.append((file, int(number)))
    return found
