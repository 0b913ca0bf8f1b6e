"""Array elements that are initialised by index, as clang takes them and g++ does not: `float x[8] = {[0 ... 7] = 1};`."""

from __future__ import annotations

from zmlx.simulator.translate.tokens import OPEN, Segment, Tokens, is_word, matching, opening


def expand(tokens: Tokens) -> None:
    """The elements are stored by loops behind the declaration."""
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for k in range(2, len(words) - 2):
            if words[k] == "{" and words[k - 1] == "=" and words[k + 1] == "[":
                _expand_at(tokens, segment, words, k)
    tokens.settle()


def _expand_at(tokens: Tokens, segment: Segment, words: list[str], k: int) -> None:
    close = matching(words, k)
    name = k - 2
    while name > 0 and words[name] == "]":
        name = opening(words, name) - 1
    parts = _elements(words, k + 1, close)
    if close >= len(words) or parts is None or not is_word(words[name]):
        return
    loops = [f"for (int zm_at = ({first}); zm_at <= ({last}); ++zm_at) {words[name]}[zm_at] = ({value})" for first, last, value in parts]
    tokens.blank(segment[k + 1 : close + 1])
    tokens.texts[segment[k]] = "{}; " + "; ".join(loops)


def _elements(words: list[str], start: int, end: int) -> list[tuple[str, str, str]] | None:
    """(first index, last index, value) of each, or None if an element has no index."""
    found, at = [], start
    while at < end:
        if words[at] != "[":
            return None
        bracket = matching(words, at)
        if words[bracket + 1 : bracket + 2] != ["="]:
            return None
        index = words[at + 1 : bracket]
        dots = index.index("...") if "..." in index else len(index)
        stop = bracket + 2
        while stop < end and words[stop] != ",":
            stop = matching(words, stop) + 1 if words[stop] in OPEN else stop + 1
        first = " ".join(index[:dots])
        found.append((first, " ".join(index[dots + 1 :]) or first, " ".join(words[bracket + 2 : stop])))
        at = stop + 1
    return found
