"""Address spaces and the words for functions have no counterpart in C++: they go, once the other passes have read them."""

from __future__ import annotations

from zmlx.simulator.translate.tokens import STRING, Tokens, matching

SPACES = frozenset({"device", "thread", "threadgroup", "constant"})
_DROPPED = SPACES | {"kernel"}
# C++20's words that are plain names in MSL.
_RESERVED = frozenset("concept requires consteval constinit co_await co_return co_yield char8_t".split())


def strip(tokens: Tokens) -> None:
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        gone: list[int] = []
        for k, word in enumerate(words):
            if word in _DROPPED:
                gone.append(segment[k])
            elif word == "coherent" and words[k + 1 : k + 2] == ["("] and words[k + 3 : k + 4] == [")"]:
                gone += segment[k : matching(words, k + 1) + 1]
        tokens.blank(gone)
    tokens.settle()


def rename_reserved(tokens: Tokens) -> None:
    for segment in tokens.all_segments():
        for i in segment:
            if tokens.texts[i] in _RESERVED and tokens.kinds[i] != STRING:
                tokens.texts[i] += "_"
