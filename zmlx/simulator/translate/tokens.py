"""MSL text as tokens: every character belongs to one, so that joining them gives the text back.

Passes edit tokens in place and never touch a newline: line n of the C++ comes from line n of the MSL.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

WORD, NUMBER, STRING, OPERATOR, SPACE, NEWLINE = "word", "number", "string", "operator", "space", "newline"

# `>` is always a token of its own, as it may close a template's arguments.
_TOKEN = re.compile(
    r"""
    (?P<newline> \n[ \t\r\f\v\n]* )
  | (?P<space>   [ \t\r\f\v]+ | \\\r?\n | //(?:\\\r?\n|[^\n])* | /\*.*?(?:\*/|\Z) )
  | (?P<string>  (?:u8|[uUL])?R"(?P<fence>[^()\\\s]{0,16})\(.*?\)(?P=fence)"
               | (?:u8|[uUL])?(?:"(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?) )
  | (?P<word>    [^\W\d]\w* )
  | (?P<number>  \.?\d(?:[eEpP][+-]|'?[\w.])* )
  | (?P<operator> ->\*? | :: | <= | << | == | != | && | \|\| | \+\+ | -- | \.\.\. | \#\# | [-+*/%&|^]= | . )
    """,
    re.VERBOSE | re.DOTALL,
)

Segment = list[int]  # indices of tokens that form one text: the file, one branch of an `#if`, one macro's body


@dataclass(frozen=True, slots=True)
class Directive:
    """A preprocessor line: its name and its other tokens."""

    name: str
    at: int
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Macro:
    """A `#define`: parameters are None for one without parentheses."""

    name: str
    parameters: tuple[str, ...] | None
    body: Segment


@dataclass(slots=True)
class Tokens:
    """The tokens of one text. Segments hold only what means something: no spaces, comments or preprocessor lines."""

    source: str
    texts: list[str]
    kinds: list[str]
    starts: list[int]
    segments: list[Segment] = field(default_factory=list)  # the file, and the `#else` branches by themselves
    macros: list[Macro] = field(default_factory=list)
    directives: list[Directive] = field(default_factory=list)
    conditions: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # (from token, branches it lies in)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def line(self, index: int) -> int:
        return self.source.count("\n", 0, self.starts[index]) + 1

    def all_segments(self) -> list[Segment]:
        return self.segments + [m.body for m in self.macros]

    def words(self, segment: Segment) -> list[str]:
        return [self.texts[i] for i in segment]

    def blank(self, indices: list[int]) -> None:
        """Tokens become spaces of the same width: columns stay, too."""
        for i in indices:
            self.texts[i] = re.sub(r"[^\n]", " ", self.texts[i])
            self.kinds[i] = SPACE

    def settle(self) -> None:
        """Drops blanked tokens from the segments."""
        for segment in self.all_segments():
            segment[:] = [i for i in segment if self.kinds[i] != SPACE]

    def branches(self, index: int) -> tuple[int, ...]:
        """The branches of `#if` around a token, outermost first."""
        at = bisect_right(self.conditions, index, key=lambda entry: entry[0])
        return self.conditions[at - 1][1] if at else ()


def tokenize(source: str) -> Tokens:
    texts, kinds, starts = [], [], []
    for match in _TOKEN.finditer(source):
        texts.append(match.group())
        kinds.append(match.lastgroup or STRING)
        starts.append(match.start())
    tokens = Tokens(source, texts, kinds, starts)
    _split(tokens)
    return tokens


def _split(tokens: Tokens) -> None:
    """Finds the preprocessor lines, and what they divide the text into.

    The first branch of an `#if` belongs to the text around it; the others stand alone, so that braces match.
    """
    texts, kinds = tokens.texts, tokens.kinds
    current: Segment = []
    tokens.segments.append(current)
    outer: list[tuple[Segment, tuple[int, ...]]] = []  # what an #endif returns to
    path: tuple[int, ...] = ()
    branch = 0
    fresh = True  # nothing yet on this line
    i, count = 0, len(texts)
    while i < count:
        kind = kinds[i]
        if kind == NEWLINE:
            fresh = True
        elif kind != SPACE:
            if fresh and texts[i] == "#":
                end = i + 1
                while end < count and kinds[end] != NEWLINE:
                    end += 1
                directive = _directive(tokens, i, end)
                i = end
                name = directive.name
                if name in ("if", "ifdef", "ifndef"):
                    outer.append((current, path))
                    branch += 1
                    path = (*path, branch)
                elif name in ("else", "elif", "elifdef", "elifndef") and outer:
                    branch += 1
                    path = (*outer[-1][1], branch)
                    current = []
                    tokens.segments.append(current)
                elif name == "endif" and outer:
                    current, path = outer.pop()
                else:
                    continue
                tokens.conditions.append((i, path))
                continue
            fresh = False
            current.append(i)
        i += 1


def _directive(tokens: Tokens, at: int, end: int) -> Directive:
    texts, kinds = tokens.texts, tokens.kinds
    rest = [i for i in range(at + 1, end) if kinds[i] != SPACE]
    name = texts[rest[0]] if rest else ""
    directive = Directive(name, at, tuple(rest[1:]))
    tokens.directives.append(directive)
    if name == "define" and len(rest) > 1:
        body, parameters = rest[2:], None
        if body and texts[body[0]] == "(" and body[0] == rest[1] + 1:
            close = next((k for k, i in enumerate(body) if texts[i] == ")"), len(body) - 1)
            parameters = tuple(texts[i] for i in body[1:close] if texts[i] != ",")
            body = body[close + 1 :]
        tokens.macros.append(Macro(texts[rest[1]], parameters, body))
    return directive


OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}


def matching(words: list[str], at: int) -> int:
    """The bracket that closes the one at `at`; the end of the text if none does."""
    depth = 0
    for k in range(at, len(words)):
        word = words[k]
        if word in OPEN:
            depth += 1
        elif word in CLOSE:
            depth -= 1
            if depth == 0:
                return k
    return len(words)


def opening(words: list[str], at: int) -> int:
    """The bracket that the one at `at` closes; -1 if none does."""
    depth = 0
    for k in range(at, -1, -1):
        word = words[k]
        if word in CLOSE:
            depth += 1
        elif word in OPEN:
            depth -= 1
            if depth == 0:
                return k
    return -1


def closing_angle(words: list[str], at: int) -> int:
    """The `>` that closes the template arguments opened at `at`; the end of the text if none does."""
    depth, k = 0, at
    while k < len(words):
        word = words[k]
        if word == "<":
            depth += 1
        elif word == ">":
            depth -= 1
            if depth == 0:
                return k
        elif word in OPEN:
            k = matching(words, k)
        elif word in (";", ")", "]", "}"):
            break
        k += 1
    return len(words)


def opening_angle(words: list[str], at: int) -> int:
    """The `<` that the `>` at `at` closes; -1 if none does."""
    depth, k = 0, at
    while k >= 0:
        word = words[k]
        if word == ">":
            depth += 1
        elif word == "<":
            depth -= 1
            if depth == 0:
                return k
        elif word in CLOSE:
            k = opening(words, k)
        elif word in (";", "(", "[", "{"):
            break
        k -= 1
    return -1


def is_word(word: str) -> bool:
    return word[:1].isalpha() or word[:1] == "_"
