"""Casts to pointers, by tokens."""

from __future__ import annotations

from collections.abc import Iterator

from zmlx.simulator.translate.tokens import closing_angle, is_word

_NO_CALL = frozenset({"return", "case", "else", "do"})  # words before a parenthesis that is not a call's
PREFIX = frozenset("* & - + ! ~ ++ --".split())


def pointer_casts(words: list[str]) -> Iterator[tuple[int, int]]:
    """Where the parentheses of casts to pointers stand."""
    for k, word in enumerate(words):
        if word == "(" and not _called(words, k) and (close := type_end(words, k + 1)) and begins_operand(words, close + 1):
            yield k, close


def _called(words: list[str], k: int) -> bool:
    before = words[k - 1] if k else ""
    return (is_word(before) and before not in _NO_CALL) or before in (")", "]", ">")


def type_end(words: list[str], at: int) -> int | None:
    """The `)` behind a pointer's type that begins at `at`."""
    stars = 0
    while at < len(words):
        word = words[at]
        if word == ")":
            return at if stars else None
        if word == "*":
            stars += 1
        elif word == "<":
            at = closing_angle(words, at)
        elif not (word == "::" or (is_word(word) and (not stars or word in ("const", "volatile")))):
            return None
        at += 1
    return None


def begins_operand(words: list[str], at: int) -> bool:
    return at < len(words) and (is_word(words[at]) or words[at][0].isdigit() or words[at] == "(" or words[at] in PREFIX)
