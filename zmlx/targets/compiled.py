"""What a compiled kernel is: texts and facts, no code of the compiler. A warm launch imports this and nothing below it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from zmlx.errors import Loc


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """One run-time parameter of a kernel.

    symbol      its name in the generated text
    dtype_name  element type of an array, type of a scalar ("int1", "int32", "float32" …)
    reads       the kernel loads from it; writes: it stores to it; atomic: it updates it atomically
    word        a scalar's first 32-bit word in the packed buffer of the Metal target
    """

    name: str
    symbol: str
    dtype_name: str
    is_array: bool
    reads: bool = False
    writes: bool = False
    atomic: bool = False
    word: int = 0


@dataclass(frozen=True, slots=True)
class LineMap:
    """Which place in the user's Python each line of a text comes from.

    places  every place once, callers before what they call
    lines   for each line of the text an index into them, -1 for what zmlx added
    """

    places: tuple[Loc, ...] = ()
    lines: tuple[int, ...] = ()

    @staticmethod
    def of(where: Iterable[Loc | None]) -> LineMap:
        numbers: dict[Loc, int] = {}

        def number(loc: Loc | None) -> int:
            if loc is None:
                return -1
            if loc not in numbers:
                number(loc.caller)
                numbers[loc] = len(numbers)
            return numbers[loc]

        lines = tuple(map(number, where))
        return LineMap(tuple(numbers), lines)

    def place(self, line: int) -> Loc | None:
        """The user's place behind a line of the text, counted from 1; in an inlined function it knows its callers."""
        index = self.lines[line - 1] if 0 < line <= len(self.lines) else -1
        return self.places[index] if index >= 0 else None

    def pack(self) -> list[Any]:
        """As JSON holds it: files, places and lines, with numbers for repeated ones."""
        files = {loc.file: 0 for loc in self.places}
        files = {file: i for i, file in enumerate(files)}
        numbers: dict[Loc | None, int] = {None: -1} | {loc: i for i, loc in enumerate(self.places)}
        places = [[files[p.file], p.line, p.col, p.end_line, p.end_col, p.function, numbers[p.caller]] for p in self.places]
        return [list(files), places, self.lines]

    @staticmethod
    def unpack(data: Any) -> LineMap:
        files, packed, lines = data
        places: list[Loc] = []
        for file, line, col, end_line, end_col, function, caller in packed:
            places.append(Loc(files[file], line, col, end_line, end_col, function, places[caller] if caller >= 0 else None))
        return LineMap(tuple(places), tuple(lines))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel compiled for one target, as text; what `kernel.compile(...)` returns.

    source          the generated text (MSL body, CUDA C++, host C++; Tile IR for the interpreter)
    header          text that precedes the kernel on Metal
    threads         threads of one program
    shared_bytes    dynamic shared memory of a launch; scratch_bytes: memory of one host thread
    inout           written arrays whose old content the text carries over
    line_map        the user's line behind each line of the source; of the target metal-sim only
    reports         the kernel prints or asserts
    workspace_bytes device memory that each program needs for itself, in an array that follows the outputs
    """

    target: str
    entry: str
    source: str
    tile_ir: str
    simt_ir: str
    num_warps: int
    threads: int
    shared_bytes: int
    scratch_bytes: int
    params: tuple[ParamInfo, ...]
    header: str = ""
    inout: tuple[str, ...] = ()
    line_map: LineMap = LineMap()
    reports: bool = False
    workspace_bytes: int = 0

    def to_json(self) -> str:
        data = {name: getattr(self, name) for name in _FIELDS}
        data["params"] = [{name: getattr(p, name) for name in _PARAM_FIELDS} for p in self.params]
        data["line_map"] = self.line_map.pack()
        return json.dumps(data, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> Compiled:
        """Raises ValueError, KeyError or TypeError for what `to_json` did not write."""
        data = json.loads(text)
        data["params"] = tuple(ParamInfo(**p) for p in data["params"])
        data["inout"] = tuple(data["inout"])
        data["line_map"] = LineMap.unpack(data["line_map"])
        return Compiled(**{name: data[name] for name in _FIELDS})


_FIELDS = tuple(f.name for f in fields(Compiled))
_PARAM_FIELDS = tuple(f.name for f in fields(ParamInfo))
