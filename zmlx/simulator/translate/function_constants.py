"""Function constants: `constant bool x [[function_constant(3)]];` takes its value from the launch.

The variable is set from `::zm::function_constant<3, bool>`, which whoever compiles the text specialises.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.simulator.translate import attributes
from zmlx.simulator.translate.tokens import Segment, Tokens, is_word

_NOT_TYPE = frozenset({"constant", "const", "static", "constexpr", "inline", "device"})


@dataclass(frozen=True, slots=True)
class FunctionConstant:
    name: str
    type: str
    index: str  # a number, or the constant expression that stands in the text
    line: int


def convert(tokens: Tokens, known: tuple[FunctionConstant, ...]) -> tuple[FunctionConstant, ...]:
    """Gives the variables their values; runs before attributes are stripped."""
    macros = {m.name for m in tokens.macros}
    found: list[FunctionConstant] = []
    for segment in tokens.all_segments():
        _convert_segment(tokens, segment, macros, found)
    indices = {c.name: c.index for c in (*known, *found)}
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for k, word in enumerate(words):
            if word == "is_function_constant_defined" and words[k + 1 : k + 2] == ["("] and words[k + 2 : k + 3] != []:
                if words[k + 2] in indices:
                    tokens.blank(segment[k + 1 : k + 4])
                    tokens.texts[segment[k]] = f"::zm::function_constant_defined<{indices[words[k + 2]]}>"
    tokens.settle()
    return tuple(found)


def _convert_segment(tokens: Tokens, segment: Segment, macros: set[str], found: list[FunctionConstant]) -> None:
    words = tokens.words(segment)
    k = 0
    while k < len(words):
        if not attributes.starts(words, k):
            k += 1
            continue
        end, read = attributes.read(words, k)
        index = next((a.argument for a in read if a.name == "function_constant"), None)
        # A parameter may depend on a function constant, too: there the attribute is followed by `,` or `)`.
        if index is not None and (end == len(words) or words[end] == ";") and k >= 2:
            start = k - 1
            while start > 0 and (is_word(words[start - 1]) or words[start - 1] == "::"):
                start -= 1
            kind = "".join(w for w in words[start : k - 1] if w not in _NOT_TYPE and w not in macros)
            found.append(FunctionConstant(words[k - 1], kind, index, tokens.line(segment[k])))
            tokens.blank(segment[k:end])
            tokens.texts[segment[k]] = f"= ::zm::function_constant<{index}, {kind}>"
            tokens.kinds[segment[k]] = "word"
        k = end
