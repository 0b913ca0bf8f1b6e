"""The kernels of a text: their parameters with what Metal hands to them, and their explicit instantiations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zmlx.simulator.translate import attributes
from zmlx.simulator.translate.attributes import Attribute
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import OPEN, Segment, Tokens, closing_angle, is_word, matching, opening

_QUALIFIERS = SPACES | {"const", "volatile"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """`type` is what is pointed to, without address space, const and `*`; `attribute` is its first, e.g. `buffer(3)`."""

    name: str
    type: str
    space: str | None
    attribute: str | None
    is_const: bool
    is_pointer: bool
    is_reference: bool
    condition: str | None = None  # the function constant without which the argument is absent
    buffer: int | None = None  # the buffer's index, also where the text leaves counting to Metal


@dataclass(frozen=True, slots=True)
class KernelSignature:
    name: str
    template: str  # what stands between the angle brackets of `template <…>`, or ""
    parameters: tuple[Parameter, ...]
    line: int
    host_name: str | None = None
    max_threads: str | None = None  # max_total_threads_per_threadgroup: a constant expression


@dataclass(frozen=True, slots=True)
class Instantiation:
    """`template [[host_name("add_float")]] [[kernel]] decltype(add<float>) add<float>;`"""

    host_name: str
    kernel: str
    arguments: str  # `float`: what stands between the angle brackets
    line: int


def read(tokens: Tokens) -> tuple[tuple[KernelSignature, ...], tuple[Instantiation, ...]]:
    """The kernels that stand in the text; those that only a macro's expansion makes are translated, but not seen here."""
    kernels: list[KernelSignature] = []
    instantiations: list[Instantiation] = []
    for segment in tokens.segments:
        words = tokens.words(segment)
        k = 0
        while k < len(words):
            if words[k] == "kernel" or attributes.starts(words, k):
                k = _read_at(tokens, segment, words, k, kernels, instantiations)
            else:
                k += 1
    return tuple(kernels), tuple(instantiations)


def _read_at(
    tokens: Tokens,
    segment: Segment,
    words: list[str],
    k: int,
    kernels: list[KernelSignature],
    instantiations: list[Instantiation],
) -> int:
    """Reads the kernel whose attributes begin at k, if this is one, and says where to go on."""
    found: list[Attribute] = []
    at = k
    while at < len(words) and (words[at] == "kernel" or attributes.starts(words, at)):
        if words[at] == "kernel":
            found.append(Attribute("kernel"))
            at += 1
        else:
            at, more = attributes.read(words, at)
            found += more
    named = {a.name: a.argument for a in found}
    if "kernel" not in named and "host_name" not in named:
        return at
    line = tokens.line(segment[k])
    if k > 0 and words[k - 1] == "template":
        made = _instantiation(words, at, named.get("host_name", ""), line)
        if made:
            instantiations.append(made)
        return at
    bracket = at
    while bracket < len(words) and words[bracket] not in ("(", ";", "{", "}"):
        if attributes.starts(words, bracket):  # `void [[kernel]] f` and the like
            bracket, more = attributes.read(words, bracket)
            named |= {a.name: a.argument for a in more}
        else:
            bracket = closing_angle(words, bracket) + 1 if words[bracket] == "<" else bracket + 1
    if bracket >= len(words) or words[bracket] != "(":
        return at
    close = matching(words, bracket)
    kernels.append(
        KernelSignature(
            name=words[bracket - 1],
            template=_template_before(words, k),
            parameters=_numbered([_parameter(part) for part in _split(words[bracket + 1 : close])]),
            line=line,
            host_name=_unquoted(named["host_name"]) if "host_name" in named else None,
            max_threads=named.get("max_total_threads_per_threadgroup"),
        )
    )
    return close


def _instantiation(words: list[str], at: int, host_name: str, line: int) -> Instantiation | None:
    while at < len(words) and words[at] not in (";", "("):
        if words[at] == "decltype":
            at = matching(words, at + 1) + 1
        elif words[at + 1 : at + 2] == ["<"]:
            close = closing_angle(words, at + 1)
            if words[close + 1 : close + 2] in ([";"], ["("]):
                return Instantiation(_unquoted(host_name), words[at], spelled(words[at + 2 : close]), line)
            at = close + 1
        else:
            at += 1
    return None


def _template_before(words: list[str], k: int) -> str:
    """The parameters of the `template <…>` that ends right before k."""
    start = k - 1
    while start >= 0 and words[start] not in (";", "}", "{"):
        if words[start] == "template" and words[start + 1] == "<" and closing_angle(words, start + 1) < k:
            close = closing_angle(words, start + 1)
            if all(is_word(w) for w in words[close + 1 : k]):  # `inline`, `static`
                return spelled(words[start + 2 : close])
        start -= 1
    return ""


def _split(words: list[str]) -> list[list[str]]:
    parts, at, start = [], 0, 0
    while at < len(words):
        if words[at] in OPEN:
            at = matching(words, at)
        elif words[at] == "<":
            at = closing_angle(words, at)
        elif words[at] == ",":
            parts.append(words[start:at])
            start = at + 1
        at += 1
    return [p for p in (*parts, words[start:]) if p]


def _parameter(words: list[str]) -> Parameter:
    plain: list[str] = []
    found: list[Attribute] = []
    at = 0
    while at < len(words):
        if attributes.starts(words, at):
            at, more = attributes.read(words, at)
            found += more
        else:
            plain.append(words[at])
            at += 1
    is_array = plain[-1:] == ["]"]  # `constant int x[2]` is a pointer
    while plain[-1:] == ["]"]:
        plain = plain[: max(opening(plain, len(plain) - 1), 0)]
    name = plain[-1] if len(plain) > 1 and is_word(plain[-1]) else ""
    kind = plain[:-1] if name else plain
    mark = next((i for i, w in enumerate(kind) if w in ("*", "&")), len(kind))
    space = next((w for w in kind if w in SPACES), None)
    main = [a for a in found if a.name != "function_constant"]
    return Parameter(
        name=name,
        type=spelled([w for w in kind[:mark] if w not in _QUALIFIERS]),
        space=space,
        attribute=str(main[0]) if main else None,
        is_const="const" in kind[:mark] or space == "constant",
        is_pointer=is_array or "*" in kind,
        is_reference="&" in kind,
        condition=next((a.argument for a in found if a.name == "function_constant"), None),
        buffer=next((int(a.argument) for a in main if a.name == "buffer" and a.argument.isdigit()), None),
    )


def _numbered(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Metal counts buffers without an index in their order, leaving out the indices that are taken."""
    taken = {p.buffer for p in parameters if p.buffer is not None}
    result, following = [], 0
    for p in parameters:
        if p.attribute is None and p.space in ("device", "constant"):
            while following in taken:
                following += 1
            p = replace(p, buffer=following)
            following += 1
        result.append(p)
    return tuple(result)


def _unquoted(text: str) -> str:
    """A string literal's text; several that stand together are one, and a macro's name stays as it is."""
    parts = text.split('" "')
    joined = "".join(parts)
    return joined[1:-1] if len(joined) > 1 and joined[0] == joined[-1] == '"' else text


def spelled(words: list[str]) -> str:
    """Words as a person would space them; between parentheses `<` and `>` compare."""
    text, depth = "", 0
    for word in words:
        depth += (word == "(") - (word == ")")
        before = text[-1:]
        if word in ("<", ">"):
            tight = depth == 0
        else:
            tight = word in (",", ")", "]", "::", "...") or before in "(["
            tight = tight or (before == "<" and depth == 0) or (word in "([" and is_word(before)) or text.endswith("::")
        text += word if tight else f" {word}"
    return text
