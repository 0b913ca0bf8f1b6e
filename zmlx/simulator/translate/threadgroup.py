"""Variables in threadgroup memory become references into the memory that the threads of a group share.

`threadgroup T x[N], y;` turns into `auto& x = ::zm::threadgroup_variable<T[(N)]>([]{}, "x"); auto& y = …`: the closure's
type tells apart the declarations, also those of one declaration in two instantiations of a template.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.simulator.translate.errors import UnsupportedFeature
from zmlx.simulator.translate.tokens import WORD, Segment, Tokens, closing_angle, is_word, matching, opening, opening_angle

VARIABLE = "::zm::threadgroup_variable"
_QUALIFIERS = frozenset({"device", "thread", "threadgroup", "constant", "const", "static", "constexpr", "inline", "volatile"})
_CLASS = frozenset({"struct", "class", "union"})


@dataclass(frozen=True, slots=True)
class Declarator:
    name: list[str]  # more than one word where macros paste
    dimensions: list[str]


def expand_aliases(tokens: Tokens, known: dict[str, str]) -> dict[str, str]:
    """A macro that stands for `threadgroup` and other qualifiers is written out where it is used."""
    aliases = dict(known)
    for macro in tokens.macros:
        words = tokens.words(macro.body)
        if macro.parameters is None and "threadgroup" in words and _QUALIFIERS.issuperset(words):
            aliases[macro.name] = " ".join(words)
    if aliases:
        for segment in tokens.all_segments():
            for i in segment:
                if tokens.texts[i] in aliases:  # one token still, which the passes take for what matters in it
                    tokens.texts[i] = "threadgroup"
    return aliases


def convert(tokens: Tokens) -> None:
    for segment in tokens.segments:
        _convert_segment(tokens, segment)
    for macro in tokens.macros:
        _convert_segment(tokens, macro.body, macro.parameters or (), is_macro=True)
    tokens.settle()


def _convert_segment(tokens: Tokens, segment: Segment, parameters: tuple[str, ...] = (), is_macro: bool = False) -> None:
    words = tokens.words(segment)
    for k, word in enumerate(words):
        if word != "threadgroup":
            continue
        start = _statement_start(words, k)
        if start is None:
            continue
        if words[start] in ("typedef", "using"):
            _refuse_alias(tokens, segment, words, k)
            continue
        end = _statement_end(words, k)
        if end is None or (end == len(words) and not is_macro):
            continue
        if words[end : end + 1] == ["="]:
            raise UnsupportedFeature(
                "a variable in threadgroup memory with an initial value, which Metal has not",
                tokens.line(segment[k]),
                "let a thread store the value, and put a threadgroup_barrier before it is read",
            )
        _rewrite(tokens, segment, words, start, end, parameters)


def _statement_start(words: list[str], k: int) -> int | None:
    """The first word of the declaration, or None inside a parameter list, a cast or template arguments."""
    if words[k - 1 : k] == [")"] and words[k + 1 : k + 2] in (["="], ["{"], [":"], [";"], ["const"], ["noexcept"], ["->"]):
        return None  # `S() threadgroup = default;`: a method
    at = k
    while at > 0:
        before = words[at - 1]
        # A `(` or `,` may begin a statement that is a macro's argument.
        if before in (";", "{", "}", ":", "(", ",") or (before == ")" and words[opening(words, at - 1) - 1] != "alignas"):
            return at
        if is_word(before) or before in ("::", "*") or (before == "=" and "using" in words[max(0, at - 3) : at]):
            at -= 1
        elif before == ")":
            at = opening(words, at - 1)
        elif before == ">":
            at = opening_angle(words, at - 1)
            if at > 0 and words[at - 1] == "template":
                return None
        else:
            return None
    return at if at == 0 else None


def _statement_end(words: list[str], k: int) -> int | None:
    """Where the `;` or `=` stands (or the macro ends), or None if this declares a pointer, reference or function."""
    at = k + 1
    while at < len(words):
        word = words[at]
        if word in (";", "="):
            return at
        if word == "<":
            at = closing_angle(words, at)
        elif (
            word == "["
            or (word == "(" and words[at - 1] in ("alignas", "decltype"))
            or (word == "{" and not _CLASS.isdisjoint(words[k:at]))
        ):
            at = matching(words, at)
        elif not (is_word(word) or word in ("::", ",", "##")):
            return None
        at += 1
    return at if k + 2 < at == len(words) else None  # a macro that ends behind the name


def _refuse_alias(tokens: Tokens, segment: Segment, words: list[str], k: int) -> None:
    end = k
    while end < len(words) and words[end] != ";":
        if words[end] in ("*", "&", "("):
            return
        end += 1
    raise UnsupportedFeature(
        "a name for a type in threadgroup memory", tokens.line(segment[k]), "write `threadgroup` where the variable is declared"
    )


def _rewrite(tokens: Tokens, segment: Segment, words: list[str], start: int, end: int, parameters: tuple[str, ...]) -> None:
    body = next((at for at in range(start, end) if words[at] == "{"), None)
    if body is not None:
        kind, start = _named_struct(tokens, segment, words, start, body)
        name_at = start
    else:
        name_at = _first_name(words, start, end)
        kind = _without_qualifiers(words[start:name_at])
    references = [
        f"auto& {_join(d.name)} = {VARIABLE}<{_join(kind)}{_parenthesised(d.dimensions)}>([]{{}}, {_quoted(d.name, parameters)})"
        for d in _declarators(words[name_at:end])
    ]
    if not references:
        return
    tokens.blank(segment[start:end])
    tokens.texts[segment[start]] = "; ".join(references)
    tokens.kinds[segment[start]] = WORD


def _named_struct(tokens: Tokens, segment: Segment, words: list[str], start: int, body: int) -> tuple[list[str], int]:
    """A struct that is defined where its variables are declared stays, with a name; gives the name and where they begin."""
    close = matching(words, body)
    name = words[body - 1]
    if name in _CLASS:
        name = f"zm_threadgroup_struct_{segment[body]}"
        tokens.texts[segment[body]] = f"{name} {{"
    tokens.texts[segment[close]] += ";"
    tokens.blank([segment[at] for at in range(start, body) if words[at] in _QUALIFIERS])
    return [name], close + 1


def _first_name(words: list[str], at: int, end: int) -> int:
    """Where the type ends and the name of the first variable begins."""
    while at < end and not _ends_type(words, at, end):
        if words[at] == "<":
            at = closing_angle(words, at) + 1
        elif words[at] == "(":
            at = matching(words, at) + 1
        else:
            at += 1
    return at


def _ends_type(words: list[str], at: int, end: int) -> bool:
    """Whether the name of the first declarator begins here: what stands before its `[`, `,` or the end."""
    stop = at + 1
    while stop + 1 < end and words[stop] == "##":
        stop += 2
    return is_word(words[at]) and (stop >= end or words[stop] in ("[", ","))


def _without_qualifiers(words: list[str]) -> list[str]:
    kept, at = [], 0
    while at < len(words):
        if words[at] == "alignas":  # the memory is aligned by its type; what asks for more has a struct
            at = matching(words, at + 1) + 1
            continue
        if words[at] not in _QUALIFIERS or words[at] == "volatile":
            kept.append(words[at])
        at += 1
    return kept


def _declarators(words: list[str]) -> list[Declarator]:
    found, at = [], 0
    while at < len(words):
        name, dimensions = [], []
        while at < len(words) and words[at] != ",":
            if words[at] == "[":
                close = matching(words, at)
                dimensions.append(_join(words[at + 1 : close]))
                at = close
            else:
                name.append(words[at])
            at += 1
        if name:
            found.append(Declarator(name, dimensions))
        at += 1
    return found


def _parenthesised(dimensions: list[str]) -> str:
    return "".join(f"[({d})]" for d in dimensions)  # a bare `>` would end the template's arguments


def _quoted(name: list[str], parameters: tuple[str, ...]) -> str:
    if len(name) == 1 and name[0] in parameters:
        return f"#{name[0]}"
    return f'"{"".join(name)}"'


def _join(words: list[str]) -> str:
    text = ""
    for word in words:
        text += f" {word}" if text and is_word(word) and (is_word(text[-1]) or text[-1].isdigit()) else word
    return text
