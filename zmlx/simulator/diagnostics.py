"""What goes wrong, at the user's line: numbers of the whole text become lines of `source`, `header` or MLX's preamble."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from zmlx.errors import ArgumentError, Loc, ZmlxError, excerpt
from zmlx.simulator.report import Line, Report
from zmlx.simulator.source import Program
from zmlx.simulator.translate import UnsupportedFeature

FILE = "program_source"  # Metal's name of a text that is compiled from memory
HEADER_FILE, ENTRY_FILE = "zm_prelude.h", "zm_entry"

Place = Callable[[int], Loc | None]  # the Python line behind a line of `source`


class MetalKernelError(ArgumentError, ValueError):
    """A call that MLX would refuse, too."""


class MetalKernelTypeError(MetalKernelError, TypeError):
    """An argument of a kind that MLX does not take."""


class SanitizerError(ZmlxError, RuntimeError):
    """A kernel did what it may not do; `reports` says what, where and by which threads."""

    def __init__(self, reports: list[Report], lost: int = 0) -> None:
        self.reports = reports
        shown = "\n\n".join(map(str, reports))
        more = f"\n\nand {lost} more places" if lost else ""
        super().__init__(f"{reports[0].kernel}\n{shown}{more}" if reports else shown)


@dataclass(frozen=True)
class Diagnostic:
    """One error of the compiler. `line` and `column` count from 1 in `origin`."""

    origin: str
    line: int
    column: int
    message: str
    text: str = ""
    remedy: str = ""
    callers: tuple[Line, ...] = ()

    def __str__(self) -> str:
        name = FILE if self.origin == "source" else self.origin
        rows = [f"{name}:{self.line}:{self.column}: error: {self.message}"]
        if self.text.strip():
            rows += _underlined(self.text, self.column)
        if self.remedy:
            rows.append(f"  instead: {self.remedy}")
        return "\n".join([*rows, *(f"  needed by {c}" for c in self.callers)])


class MetalCompileError(ZmlxError, RuntimeError):
    """MSL that does not compile; `diagnostics` holds each error with its place."""

    def __init__(self, diagnostics: list[Diagnostic], message: str = "", remedy: str = "") -> None:
        self.diagnostics = diagnostics
        parts = [message] if message else []
        if remedy:
            parts.append(f"  instead: {remedy}")
        super().__init__("Unable to build metal library from source\n" + "\n".join([*parts, *map(str, diagnostics)]))


@dataclass(frozen=True)
class Layout:
    """Where the lines of the whole text (preamble, header, signature, source) come from."""

    preamble: str
    program: Program

    @cached_property
    def preamble_lines(self) -> int:
        return self.preamble.count("\n")

    def part(self, line: int) -> tuple[str, int]:
        """(`preamble`, `header`, `signature`, `source` or `ending`, the line in it) of a line of the whole text."""
        p = self.program
        line -= self.preamble_lines
        if line < 1:
            return "preamble", line + self.preamble_lines
        if line >= p.source_start + p.source_lines:
            return "ending", line - p.source_start - p.source_lines + 2
        if line >= p.source_start:
            return "source", line - p.source_start + 1
        if line <= p.header_lines or (line == p.header_lines + 1 and not p.header.endswith("\n") and p.header):
            return "header", line
        return "signature", line - p.header_lines

    def text(self, origin: str, line: int) -> str:
        p = self.program
        parts = {"preamble": self.preamble, "header": p.header, "signature": p.signature, "source": p.source, "ending": p.ending}
        rows = parts[origin].split("\n")
        return rows[line - 1] if 0 < line <= len(rows) else ""

    def line(self, number: int, place: Place | None = None) -> Line:
        origin, local = self.part(number)
        found = place(local) if place is not None and origin == "source" else None
        return Line(origin, local, self.text(origin, local), _python(found))


def _python(loc: Loc | None) -> str:
    """A place in Python with its line, and the calls that led there."""
    if loc is None:
        return ""
    rows = [str(loc), excerpt(loc)]
    inner, caller = loc.function, loc.caller
    while caller is not None:
        rows += [f"{inner}() was called from {caller}:", excerpt(caller)]
        inner, caller = caller.function, caller.caller
    return "\n".join(rows)


# ---- compiler messages ------------------------------------------------------------------------------------------------

_MESSAGE = re.compile(r"(?P<file>[^\s:][^:]*):(?P<line>\d+):(?:(?P<column>\d+):)? (?P<kind>fatal error|error|warning|note): (?P<text>.*)")
_FRAME = re.compile(r"(?P<file>[^\s:][^:]*):(?P<line>\d+):(?:(?P<column>\d+):)? +(?:recursively )?required (?:from|by)")
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\S")
_UNPAIRED = "the braces of the source do not pair"
_MOST = 8  # errors shown: later ones mostly follow from these


@dataclass
class _Raw:
    file: str
    line: int
    column: int
    text: str
    frames: list[tuple[str, int, int]]  # what instantiated the template, innermost first


def metal_errors(output: str, where: Layout) -> MetalCompileError | None:
    """The compiler's messages as Metal would give them, or None where they hold no error."""
    found: list[Diagnostic] = []
    for raw in _read(output):
        diagnostic = _placed(raw, where)
        if diagnostic not in found:
            found.append(diagnostic)
    inside = [d for d in found if d.message != _UNPAIRED]
    found = inside or found
    return MetalCompileError(found[:_MOST], "" if len(found) <= _MOST else f"{len(found)} errors; the first {_MOST}:") if found else None


def _read(output: str) -> list[_Raw]:
    """Errors with their template frames, which g++ puts before the error and clang after it."""
    errors: list[_Raw] = []
    before: list[tuple[str, int, int]] = []
    for row in output.splitlines():
        if frame := _FRAME.match(row.strip()):
            before.append((frame["file"], int(frame["line"]), int(frame["column"] or 1)))
        elif message := _MESSAGE.match(row.strip()):
            place = (message["file"], int(message["line"]), int(message["column"] or 1))
            if "error" in message["kind"]:
                errors.append(_Raw(*place, message["text"], before))
                before = []
            elif errors and message["kind"] == "note" and ("requested here" in row or "in instantiation of" in row):
                errors[-1].frames.append(place)
    return errors


def _placed(raw: _Raw, where: Layout) -> Diagnostic:
    """An error at the innermost place that is in the user's text, or else in MLX's."""
    places = [p for p in ((raw.file, raw.line, raw.column), *raw.frames) if p[0] == FILE]
    mapped = [(*where.part(line), column) for _, line, column in places]
    chosen = next((m for m in mapped if m[0] in ("source", "header")), mapped[0] if mapped else None)
    if raw.file == ENTRY_FILE or (chosen is not None and chosen[0] == "ending"):
        last = where.program.source.rstrip().count("\n") + 1
        text = where.text("source", last)
        return Diagnostic("source", last, len(text.rstrip()) or 1, _UNPAIRED, text, "look for a brace or parenthesis too many or too few")
    if chosen is None:
        return Diagnostic("simulator", raw.line, raw.column, f"{raw.file.rpartition('/')[2]}: {_worded(raw.text)}")
    origin, line, column = chosen
    outer = [(o, n) for o, n, _ in mapped[mapped.index(chosen) + 1 :] if o in ("source", "header") and (o, n) != (origin, line)]
    callers = tuple(Line(o, n, where.text(o, n)) for o, n in outer)
    text = where.text(origin, line)
    message = _worded(raw.text)
    return Diagnostic(origin, line, column, message, text, _remedy(message, where), callers)


_WORDS = (
    (re.compile(r"'([^']+)' was not declared in this scope.*"), r"use of undeclared identifier '\1'"),
    (re.compile(r"'([^']+)' has not been declared"), r"unknown type name '\1'"),
    (re.compile(r"'([^']+)' does not name a type.*"), r"unknown type name '\1'"),
    (re.compile(r"'([^']+)' is not a member of '([^']+)'.*"), r"no member named '\1' in namespace '\2'"),
    (re.compile(r"expected '([^']+)' before .*"), r"expected '\1'"),
    (re.compile(r"::?zm::"), ""),
)


def _worded(text: str) -> str:
    """g++'s common sentences in clang's words, which are Metal's."""
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return re.sub(r" \[-f?[\w-]+=?\]$", "", text)


def _remedy(message: str, where: Layout) -> str:
    name = re.search(r"(?:undeclared identifier|unknown type name) '(\w+)'", message)
    if name is None:
        return ""
    word, p = name[1], where.program
    if word in ("double", "long double"):
        return "Metal has no double; use float"
    for suffix in ("_shape", "_strides", "_ndim"):
        if word.endswith(suffix):
            owner = word.removesuffix(suffix)
            if f" {owner} [[buffer(" in p.signature:
                return f"{owner} is passed without {suffix[1:]}, which only inputs with at least one dimension have: reshape it to (1,)"
    if re.fullmatch(r"[A-Z]\w{0,3}", word) and f" {word}" not in p.signature.split("\n")[0]:
        return f'if {word} is a template parameter, pass it at the call: template=[("{word}", mx.float32)]'
    return ""


def _underlined(text: str, column: int) -> list[str]:
    """A line with the token that begins at a column marked."""
    start = min(max(column - 1, 0), len(text))
    token = _TOKEN.match(text, start)
    before = "".join(c if c == "\t" else " " for c in text[:start])
    return [f"  {text}", f"  {before}{'^' * (len(token[0]) if token else 1)}"]


# ---- refused features -------------------------------------------------------------------------------------------------


def unsupported(error: UnsupportedFeature, where: Layout, start: int) -> UnsupportedFeature:
    """The refusal with the line in the user's text; `start` is the whole text's line on which the translated one began."""
    origin, line = where.part(error.line + start - 1)
    text = where.text(origin, line)
    new = UnsupportedFeature(error.name, line, error.remedy)
    column = len(text) - len(text.lstrip()) + 1
    stripped = text.strip()
    remedy = f"\n  instead: {error.remedy}" if error.remedy else "\n  instead: run this kernel on a Mac, or write it without"
    name = FILE if origin == "source" else origin
    new.args = (f"{name}:{line}:{column}: the simulator does not run {error.name}\n  {stripped}{remedy}",)
    return new
