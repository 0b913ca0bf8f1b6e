"""An explanation as data, as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

from zmlx.explain.layouts import count

WIDTH = 110


@dataclass(frozen=True)
class Entry:
    """What became of one operation.

    kind    "load", "store", "atomic", "reduce", "scan", "dot" or "convert"
    file    the user's file; line: counted from 1; text: the line's text
    title   the gist, e.g. "16 bytes a thread at once"
    words   sentences: how, and why
    remedy  what to write instead where something is slow and can be helped; else ""
    calls   where that place was called from, "file:line function" innermost first, if it is in a device function
    facts   numbers and names behind the words; by kind
    """

    kind: str
    file: str
    line: int
    text: str
    title: str
    words: tuple[str, ...]
    remedy: str = ""
    calls: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """A program's resources: sentences, and the numbers behind them."""

    words: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """What the compiler made of a kernel for a target and the types and constants of some arguments.

    entries  one for each memory access, reduction, scan, product and layout conversion, in the order of the source
    totals   barriers, threadgroup memory, registers, traffic
    """

    kernel: str
    target: str
    num_warps: int
    threads: int
    entries: tuple[Entry, ...]
    totals: Totals

    def __str__(self) -> str:
        warps = f"{count(self.num_warps, 'warp')}, {self.threads} threads a program"
        threads = "one thread owns a program's tiles" if self.threads == 1 else warps
        out = [f"{self.kernel} on {self.target}: {threads}"]
        # What is said in the same words of the same line is said once, with all the calls it is said of.
        places: dict[tuple[str, int], dict[tuple[str, ...], list[Entry]]] = {}
        for e in self.entries:
            places.setdefault((e.file, e.line), {}).setdefault(_body(e), []).append(e)
        for (file, line), bodies in places.items():
            first = next(iter(bodies.values()))[0]
            out += ["", f"{_base(file)}:{line}  {_cut(first.text)}"]
            for body, entries in bodies.items():
                out += body
                calls = [" in turn from ".join(e.calls) for e in entries if e.calls]
                if calls:
                    out += _item(f"Called from {', '.join(calls)}.", "      ")
                elif len(entries) > 1:
                    out += _item(f"{len(entries)} times.", "      ")
        out += ["", "in all"]
        for sentence in self.totals.words:
            out += _item(sentence, "  ")
        return "\n".join(out)

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def at(self, line: int) -> tuple[Entry, ...]:
        """The entries of one line of the source."""
        return tuple(e for e in self.entries if e.line == line)


def _body(e: Entry) -> tuple[str, ...]:
    out = _item(f"{e.kind}: {e.title}", "  ")
    for sentence in (*e.words, *([f"instead: {e.remedy}"] if e.remedy else [])):
        out += _item(sentence, "      ")
    return tuple(out)


def _base(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2]


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH - 20 else text[: WIDTH - 21] + "…"


def _item(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
    )
