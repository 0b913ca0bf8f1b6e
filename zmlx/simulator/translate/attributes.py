"""`[[…]]`: read for the kernels' signatures, then removed; the ones that C++ has too stay."""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.simulator.translate.tokens import Tokens, matching

STANDARD = {"maybe_unused", "nodiscard", "fallthrough", "likely", "unlikely", "no_unique_address", "deprecated", "noreturn"}


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.argument})" if self.argument else self.name


def starts(words: list[str], k: int) -> bool:
    return words[k] == "[" and k + 1 < len(words) and words[k + 1] == "["


def read(words: list[str], k: int) -> tuple[int, list[Attribute]]:
    """The attributes that `[[` at k opens, and where the text goes on behind `]]`."""
    end = matching(words, k)
    inner = words[k + 2 : end - 1]
    found, at = [], 0
    while at < len(inner):
        stop = at
        while stop < len(inner) and inner[stop] != ",":
            stop = matching(inner, stop) + 1 if inner[stop] in "([{" else stop + 1
        part = inner[at:stop]
        if part:
            bracket = part.index("(") if "(" in part else len(part)
            found.append(Attribute("".join(part[:bracket]), " ".join(part[bracket + 1 : -1])))
        at = stop + 1
    return min(end + 1, len(words)), found


def strip(tokens: Tokens) -> None:
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        k = 0
        while k < len(words):
            if starts(words, k):
                end, found = read(words, k)
                if not all(a.name in STANDARD for a in found):
                    tokens.blank(segment[k:end])
                k = end
            else:
                k += 1
    tokens.settle()
