"""A text's declarations, one after the other: where each begins, where its signature and its body are, and its scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import closing_angle, is_word, matching

_CLASS = frozenset({"struct", "class", "union"})
_NO_FUNCTION = frozenset("using typedef static_assert struct class union enum if for while switch do else return case".split())


class Kind(Enum):
    NAMESPACE = "namespace"
    CLASS = "class"
    FUNCTION = "function"
    MACRO = "a macro with arguments"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Declaration:
    """words[start:end]; the template head ends before `name_at`, the signature before `head`; `body` is where `{` stands."""

    kind: Kind
    start: int
    name_at: int
    head: int
    body: int | None
    end: int
    path: tuple[str, ...]  # the namespaces and classes around it
    in_class: bool


def walk(
    words: list[str], macros: frozenset[str], start: int = 0, end: int | None = None, path: tuple[str, ...] = (), in_class: bool = False
) -> Iterator[Declaration]:
    """The declarations of a scope, those within its namespaces and classes included. `macros` are those with arguments."""
    k, end = start, len(words) if end is None else end
    while k < end:
        if words[k] in (";", "}"):
            k += 1
        elif words[k] in ("public", "private", "protected") and words[k + 1 : k + 2] == [":"]:
            k += 2
        elif words[k] in macros and words[k + 1 : k + 2] == ["("]:
            stop = min(matching(words, k + 1) + 1, end)
            yield Declaration(Kind.MACRO, k, k, stop, None, stop, path, in_class)
            k = stop
        else:
            found = _declaration(words, k, end, path, in_class)
            yield found
            if found.body is not None and found.kind in (Kind.NAMESPACE, Kind.CLASS):
                name = " ".join(words[k : found.body])
                # A namespace that is opened again goes on; a class that is written again is the compiler's to refuse.
                inner = (*path, name if found.kind is Kind.NAMESPACE else f"{name} {k}")
                yield from walk(words, macros, found.body + 1, min(found.end - 1, end), inner, found.kind is Kind.CLASS)
            k = found.end


def _declaration(words: list[str], start: int, end: int, path: tuple[str, ...], in_class: bool) -> Declaration:
    name_at = start
    while words[name_at : name_at + 2] == ["template", "<"]:
        name_at = closing_angle(words, name_at + 1) + 1
    head, body, stop = _extent(words, name_at, end)
    first = words[name_at] if name_at < end else ""
    kind = Kind.OTHER
    if body is not None and ("namespace" in words[start : min(start + 2, end)] or first == "extern"):
        kind = Kind.NAMESPACE
    elif body is not None and first in _CLASS and "(" not in _without_alignas(words[name_at:body]):
        kind = Kind.CLASS
    elif "(" in words[name_at:head] and first not in _NO_FUNCTION:
        kind = Kind.FUNCTION
    return Declaration(kind, start, name_at, head, body, stop, path, in_class)


def _extent(words: list[str], k: int, end: int) -> tuple[int, int | None, int]:
    """Where the signature ends, where the body begins, and where the declaration ends."""
    head = None
    while k < end:
        word = words[k]
        if word == "operator":
            k += 1 + (words[k + 1 : k + 3] in (["(", ")"], ["[", "]"]))
            while k + 1 < end and words[k + 1] != "(":
                k += 1
        elif word in ("(", "["):
            k = min(matching(words, k), end)
        elif word == ";":
            return k if head is None else head, None, k + 1
        elif word == "=" and head is None:
            head = k
        elif word == ":" and head is None and k > 0 and (words[k - 1] in (")", "const", "noexcept") or words[k - 1] in SPACES):
            head = k  # a constructor's initialisers
        elif word == "{":
            close = min(matching(words, k), end)
            if head is not None and (words[head] == "=" or is_word(words[k - 1]) or words[k - 1] == ">"):
                k = close + 1  # an initialiser in braces
                continue
            return k if head is None else head, k, min(close + 1, end)
        k += 1
    return end if head is None else min(head, end), None, end


def _without_alignas(words: list[str]) -> list[str]:
    if "alignas" not in words:
        return words
    at = words.index("alignas")
    return words[:at] + words[matching(words, at + 1) + 1 :]
