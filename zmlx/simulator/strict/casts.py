"""`(device T*)x`, which clang's C++ takes from any space to any other, becomes a call that keeps the space."""

from __future__ import annotations

from itertools import pairwise

from zmlx.simulator.lint.casts import PREFIX, begins_operand, pointer_casts, type_end
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import Tokens, closing_angle, is_word, matching


def convert(tokens: Tokens) -> None:
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for first, last in pointer_casts(words):
            if SPACES.isdisjoint(words[first:last]):
                continue
            end = _operand_end(words, last + 1)
            if end is not None:
                tokens.texts[segment[first]] = "::zm::cast<"
                tokens.texts[segment[last]] = ">("
                tokens.texts[segment[end]] += ")"
        for k, word in enumerate(words):  # `(half4)x`
            if word in _VECTORS and words[k - 1 : k] == ["("] and words[k + 1 : k + 2] == [")"] and begins_operand(words, k + 2):
                end = _operand_end(words, k + 2)
                if end is not None and not is_word(words[k - 2]):
                    tokens.texts[segment[k - 1]] = "::zm::make<"
                    tokens.texts[segment[k + 1]] = ">("
                    tokens.texts[segment[end]] += ")"


def _operand_end(words: list[str], at: int) -> int | None:
    """The last token of the unary expression that begins at `at`."""
    while at < len(words) and words[at] in PREFIX:
        at += 1
    while at < len(words) and words[at] == "(" and (close := type_end(words, at + 1)) and begins_operand(words, close + 1):
        at = close + 1
    if at >= len(words):
        return None
    end = matching(words, at) if words[at] == "(" else at
    while end + 1 < len(words):
        following = words[end + 1]
        if following in ("(", "["):
            end = matching(words, end + 1)
        elif following in (".", "->", "::"):
            end += 2
        elif following in ("++", "--"):
            end += 1
        elif following == "<" and words[closing_angle(words, end + 1) + 1 : closing_angle(words, end + 1) + 2] in (["("], ["::"]):
            end = closing_angle(words, end + 1)
        else:
            break
    return end if end < len(words) else None


_ELEMENTS = "bool char uchar short ushort int uint long ulong half bfloat float".split()
_VECTORS = frozenset(f"{packed}{t}{n}" for packed in ("", "packed_") for t in _ELEMENTS for n in (2, 3, 4))


def construct_vectors(tokens: Tokens) -> None:
    """`float4(xy, z, w)`, which a vector of clang's cannot be made by, becomes a call."""
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for k, word in enumerate(words):
            last = k
            if word == "vec" and words[k + 1 : k + 2] == ["<"]:
                last = closing_angle(words, k + 1)
            elif word not in _VECTORS:
                continue
            first = k - 2 if words[max(0, k - 2) : k] == ["metal", "::"] else k
            name = words[last + 1] if last + 2 < len(words) else ""
            if name == "(" and words[k - 1] not in ("operator", ".", "->"):
                tokens.texts[segment[first]] = f"::zm::make<{words[first]}"
                tokens.texts[segment[last]] += ">"
            elif is_word(name) and words[last + 2] == "(" and _are_values(words, last + 2):
                tokens.texts[segment[last + 2]] = f" = ::zm::make<{''.join(words[k : last + 1])}>("


def _are_values(words: list[str], k: int) -> bool:
    """Whether `int2 x(…);` makes a variable: a function's parameters would have types and names."""
    close = matching(words, k)
    inner = words[k + 1 : close]
    typed = any(is_word(a) and is_word(b) for a, b in pairwise(inner))
    return bool(inner) and words[close + 1 : close + 2] == [";"] and not typed
