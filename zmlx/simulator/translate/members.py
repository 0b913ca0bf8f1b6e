"""What MSL takes in a class and C++20, or g++, does not."""

from __future__ import annotations

from zmlx.simulator.translate.declarations import Declaration, Kind, walk
from zmlx.simulator.translate.tokens import Segment, Tokens, closing_angle, opening_angle

_BEFORE_CONSTRUCTOR = frozenset({"constexpr", "inline", "explicit", "METAL_FUNC", "~"})


def rewrite(tokens: Tokens, macros: frozenset[str]) -> None:
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for found in walk(words, macros):
            if not found.in_class or found.kind is Kind.MACRO:
                continue
            if found.kind is Kind.FUNCTION:
                _specialisation(tokens, segment, words, found)
                _constructor(tokens, segment, words, found)
            elif words[found.head : found.head + 1] == ["="]:
                _constant(tokens, segment, words, found)
    tokens.settle()


def _specialisation(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    """A member template's specialisation inside its class, which g++ refuses before version 14: an overload instead."""
    if words[found.start : found.start + 3] != ["template", "<", ">"]:
        return
    tokens.blank(segment[found.start : found.start + 3])
    bracket = next(at for at in range(found.name_at, found.head) if words[at] == "(" and words[at - 1] != "operator")
    if words[bracket - 1] == ">":
        tokens.blank(segment[opening_angle(words, bracket - 1) : bracket])


def _constructor(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    """`S<T>(…)` as a constructor's name, which C++20 no longer takes, becomes `S(…)`."""
    at = found.name_at
    while at < found.head and words[at] in _BEFORE_CONSTRUCTOR:
        at += 1
    if words[at + 1 : at + 2] == ["<"] and words[at] in found.path[-1].split():
        close = closing_angle(words, at + 1)
        if words[close + 1 : close + 2] == ["("]:
            tokens.blank(segment[at + 1 : close + 1])


def _constant(tokens: Tokens, segment: Segment, words: list[str], found: Declaration) -> None:
    """`static constant float x = 1;` in a class: C++ wants it inline, unless it is of an integral type and only read."""
    head = words[found.start : found.head]
    if "static" in head and "const" in head and "constexpr" not in head and "inline" not in head:
        tokens.texts[segment[found.start + head.index("static")]] = "static inline"
