"""What the runtime reports and traces, with the lines of MSL and Python in place of addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping

from zmlx.simulator.diagnostics import FILE, Layout, Place
from zmlx.simulator.process import RawReport
from zmlx.simulator.report import Line, Report

_AT = re.compile(rf"@(?:\S*/)?{FILE}:(\d+)")


def report(raw: RawReport, kernel: str, element_bytes: Mapping[str, int], where: Layout, place: Place | None) -> Report:
    line, inner = _line(raw.lines, raw.line, where, place)
    other_line, _ = _line(raw.other_lines, raw.other_line, where, place)
    nowhere = raw.kind == "unwritten-output"  # found when all threads are done
    return Report(
        kind=raw.kind,
        message=raw.message,
        kernel=kernel,
        buffer=raw.buffer,
        space=raw.space,
        access=raw.access,
        bytes=raw.bytes,
        offset=raw.offset,
        length=raw.length,
        element_bytes=element_bytes.get(raw.buffer, 0) if raw.space != "threadgroup" else 0,
        thread=None if nowhere else raw.thread,
        other=raw.other,
        line=line,
        other_line=other_line,
        callers=inner,
        count=raw.count,
    )


def _line(frames: tuple[tuple[str, int], ...], hint: int, where: Layout, place: Place | None) -> tuple[Line | None, tuple[Line, ...]]:
    """The line to name, and those that it was reached from: the innermost of the user's, or of MLX's where there is none.

    Of a kernel written in Python, the source alone is the user's.
    """
    numbers = [hint] if hint else []
    numbers += [number for file, number in frames if file.rpartition("/")[2] == FILE]
    lines = [where.line(n, place) for n in dict.fromkeys(numbers)]
    for origins in (("source",), ("header",)) if place is not None else (("source", "header"),):
        own = [x for x in lines if x.origin in origins]
        if own:
            return own[0], tuple(own[1:])
    return next(((x, ()) for x in lines if x.origin == "preamble"), (None, ()))


def trace_line(text: str, where: Layout, place: Place | None) -> str:
    """A line of a trace with the MSL behind it."""
    at = _AT.search(text)
    if at is not None:
        line = where.line(int(at[1]), place)
        return f"{text[: at.start()].rstrip():<44} {line}"
    words = text.split()
    if words[:1] == ["collective"] and words[-1].isdigit():
        return f"{words[1]:<44} {where.line(int(words[-1]), place)}"
    return text
