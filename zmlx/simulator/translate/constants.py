"""`constant` is an address space that also means const: the word becomes `const`, or goes where the type has one."""

from __future__ import annotations

from zmlx.simulator.translate.tokens import Tokens, closing_angle, is_word, opening, opening_angle

_AFTER_METHOD = {"{", ":", ";", "=", "const", "noexcept", "override", "thread", "device", "threadgroup", "->"}


def qualify(tokens: Tokens, classes: frozenset[str]) -> None:
    """`classes` are the names of classes: by them a constructor is known."""
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for k, word in enumerate(words):
            if word != "constant":
                continue
            if _is_const_already(words, k) or _is_constructor(words, k, classes):
                tokens.blank([segment[k]])
                words[k] = ""  # keeps its place, so that the indices of the others hold
            else:
                tokens.texts[segment[k]] = words[k] = "const"
    tokens.settle()


def _is_const_already(words: list[str], k: int) -> bool:
    """Whether the run of specifiers around the word at k holds `const`; a `*`, `&` or bracket ends the run."""
    at = k - 1
    while at >= 0 and (is_word(words[at]) or words[at] in ("::", ">", "")):
        if words[at] == "const":
            return True
        at = opening_angle(words, at) - 1 if words[at] == ">" else at - 1
    at = k + 1
    while at < len(words) and (is_word(words[at]) or words[at] in ("::", "<", "")):
        if words[at] == "const":
            return True
        at = closing_angle(words, at) + 1 if words[at] == "<" else at + 1
    return False


def _is_constructor(words: list[str], k: int, classes: frozenset[str]) -> bool:
    """`X(…) constant`: a constructor for objects in that space; other methods become const."""
    if k == 0 or words[k - 1] != ")" or not (k + 1 == len(words) or words[k + 1] in _AFTER_METHOD):
        return False
    name = opening(words, k - 1) - 1
    return name >= 0 and words[name] in classes and (name == 0 or words[name - 1] != "operator")
