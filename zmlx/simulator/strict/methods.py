"""Classes and functions as clang's C++ takes them: methods for objects in other spaces, and copies between spaces.

Metal calls a method without a space on objects of a thread only, as clang's C++ does. One for another space,
`float get() const device { … }`, becomes a declaration with the object written out: `float get(this const device auto&);`. Its
body is that of the method without a space, as a rule, and goes. Metal copies objects between spaces of its own accord; here
classes get the constructors and assignments for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from zmlx.simulator.translate.declarations import Declaration, Kind, walk
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import Segment, Tokens, closing_angle, is_word, matching, opening

ELSEWHERE = frozenset({"device", "threadgroup", "constant"})
_BEHIND = ELSEWHERE | {"thread", "const", "volatile", "noexcept", "METAL_CONST"}
_BEFORE_NAME = frozenset({"constexpr", "inline", "explicit", "METAL_FUNC", "~"})


def convert(tokens: Tokens) -> None:
    macros = frozenset(m.name for m in tokens.macros if m.parameters is not None)
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for found in walk(words, macros):
            if found.kind is Kind.CLASS and found.body is not None:
                _copies(tokens, segment, words, found)
            elif found.kind is Kind.FUNCTION:
                _array_parameters(tokens, segment, words, found)
                _plain_templates(tokens, segment, words, found)
                if found.in_class:
                    _method(tokens, segment, words, found)
    tokens.settle()


def _method(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    close = found.head - 1
    while close > found.name_at and words[close] in _BEHIND:
        close -= 1
    behind = words[close + 1 : found.head]
    if words[close] != ")" or SPACES.isdisjoint(behind):
        return
    if ELSEWHERE.isdisjoint(behind):
        tokens.blank([segment[at] for at in range(close + 1, found.head) if words[at] == "thread"])
        return
    bracket = opening(words, close)
    if _is_constructor(words, found) or words[found.head : found.head + 1] == ["="] or bracket < found.name_at:
        tokens.blank(segment[found.start : found.end])
        return
    first = " ".join(["this", *behind, "auto& zm_self"]) + ("," if close > bracket + 1 else "")
    tokens.texts[segment[bracket]] = f"({first}"
    tokens.blank(segment[close + 1 : found.end])
    tokens.texts[segment[close]] = ");"


def _array_parameters(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    """`constant int x[3]` as a parameter is a pointer, which clang wants to be written as one."""
    for at in range(found.name_at, found.head):
        if words[at] not in SPACES:
            continue
        end = at
        while end < found.head and words[end] not in (",", ")", "(", "*", "&"):
            end = (closing_angle(words, end) if words[end] == "<" else matching(words, end) if words[end] == "[" else end) + 1
        dimension = words.index("[", at) if "[" in words[at:end] else end
        if words[end : end + 1] in ([","], [")"]) and dimension < end and is_word(words[dimension - 1]):
            tokens.texts[segment[dimension - 1]] = f"(*{words[dimension - 1]})"
            tokens.blank(segment[dimension : matching(words, dimension) + 1])


def _plain_templates(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    """`const thread T& x` deduces a T without a space, as Metal does: thread's own space is none for clang's C++."""
    for at in range(found.start, found.name_at - 2):
        if words[at] in ("typename", "class") and words[at - 1] in ("<", ",") and words[at + 2] != "::":
            if is_word(words[at + 1]) or words[at + 1] == "...":
                tokens.texts[segment[at]] = "::zm::Plain"


def _is_constructor(words: list[str], found: Declaration) -> bool:
    at = found.name_at
    while words[at] in _BEFORE_NAME:
        at += 1
    return words[at] in found.path[-1].split() and words[at + 1] in ("(", "<")


def _copies(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    assert found.body is not None
    name = _class_name(words, found)
    if not name:
        return
    made = f"{{ ZM_ASSIGNED({name})"
    if name in _constructed(words, found.body):  # an aggregate must stay one
        made += f" ZM_COPIED({name})"
    tokens.texts[segment[found.body]] = made


def _class_name(words: list[str], found: Declaration) -> str:
    at = found.name_at + 1
    while at < (found.body or 0) and words[at] == "alignas":
        at = matching(words, at + 1) + 1
    return words[at] if is_word(words[at]) and words[found.name_at] != "union" else ""


def _constructed(words: list[str], body: int) -> Iterator[str]:
    """Names that are followed by a parenthesis at the beginning of a member's declaration."""
    at = body + 1
    end = matching(words, body)
    while at < end:
        if words[at] in "({[":
            at = matching(words, at)
        elif words[at + 1] == "(" and (words[at - 1] in ("{", "}", ";", ":", ">") or words[at - 1] in _BEFORE_NAME):
            yield words[at]
        at += 1
