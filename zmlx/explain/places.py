"""Places in the user's source, and what is written there."""

from __future__ import annotations

import linecache
import os

from zmlx.errors import Loc
from zmlx.ir.core import Value

_LONGEST = 60  # characters of code quoted in a sentence


def chain(loc: Loc) -> list[Loc]:
    """A place and the calls that led there, innermost first."""
    out = [loc]
    while out[-1].caller is not None:
        out.append(out[-1].caller)
    return out


def line(loc: Loc) -> str:
    """The text of a place's first line."""
    return linecache.getline(loc.file, loc.line).strip()


def short(loc: Loc) -> str:
    """file:line, without the folders."""
    return f"{os.path.basename(loc.file)}:{loc.line}"


def quote(value: Value) -> str:
    """How the user wrote a value, in backquotes: its expression where that is short, else its name."""
    while value.op is not None and value.op.name in ("splat", "broadcast", "cast"):  # what an operator does to its operands
        value = value.op.operands[0]
    if value.op is not None and value.op.has("constant"):
        return str(value.op.attrs["value"])
    loc = value.op.loc if value.op is not None else None
    if loc is not None and loc.line == loc.end_line:
        text = linecache.getline(loc.file, loc.line)[loc.col : loc.end_col]
        if text and len(text) <= _LONGEST:
            return f"`{text}`"
    return f"`{value.name}`" if value.name else "a value"
