"""Overloads and specialisations that differ by address space only are one and the same in C++: the first one stays.

Their bodies must agree but for the address spaces; otherwise the text is refused, since C++ could not choose.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.simulator.translate.declarations import Declaration, Kind, walk
from zmlx.simulator.translate.errors import UnsupportedFeature
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import Segment, Tokens, closing_angle, is_word

_TYPE_WORDS = frozenset("const volatile unsigned signed struct class typename int char short long bool float half bfloat void auto".split())
_NO_TYPE = SPACES | {"const", "volatile", "typename"}


@dataclass(frozen=True, slots=True)
class Macros:
    """Names of macros with parameters; a `repeatable` one's expansion does not depend on how its arguments are spelled."""

    names: frozenset[str] = frozenset()
    repeatable: frozenset[str] = frozenset()

    def followed_by(self, tokens: Tokens) -> Macros:
        """With the macros of a text after these."""
        own = {m.name: tokens.words(m.body) for m in tokens.macros if m.parameters is not None}
        names = self.names.union(own)
        if any(body.count("{") != body.count("}") for body in own.values()):
            return Macros(names)  # what looks like a declaration between such macros may be a statement
        plain = {name for name, body in own.items() if "#" not in body and "##" not in body}
        return Macros(names, self.repeatable.difference(own).union(plain))


@dataclass(frozen=True, slots=True)
class Seen:
    branches: tuple[int, ...]
    has_space: bool
    rest: tuple[str, ...]  # what follows the signature


Key = tuple[tuple[str, ...], ...]


def drop(tokens: Tokens, macros: Macros) -> None:
    seen: dict[Key, Seen] = {}
    for segment in tokens.segments:
        words = tokens.words(segment)
        for found in walk(words, macros.names):
            _once(tokens, segment, words, found, _key(words, found, macros.repeatable), seen)
    for macro in tokens.macros:
        seen_here: dict[Key, Seen] = {}
        words = tokens.words(macro.body)
        for found in walk(words, macros.names):
            _once(tokens, macro.body, words, found, _key(words, found, frozenset()), seen_here)
    tokens.settle()


def _key(words: list[str], found: Declaration, repeatable: frozenset[str]) -> Key | None:
    """What two declarations have in common of which one must go; None for a declaration that may be repeated."""
    has_space = not SPACES.isdisjoint(words[found.start : found.head])
    if found.kind is Kind.FUNCTION:
        # Outside of classes a function may be declared as often as one likes, but instantiated explicitly only once.
        if found.body is None and not (found.in_class or (words[found.start] == "template" and found.name_at == found.start)):
            return None
        kept = _signature(words[found.start : found.head])
    elif (found.kind is Kind.CLASS and has_space) or (found.kind is Kind.MACRO and has_space and words[found.start] in repeatable):
        kept = _spaceless(words[found.start : found.head])
    else:
        return None
    return (found.path, kept, ("{" if found.body is not None else ";",))


def _once(tokens: Tokens, segment: Segment, words: list[str], found: Declaration, key: Key | None, seen: dict[Key, Seen]) -> None:
    """Drops the declaration if it repeats an earlier one."""
    if key is None:
        return
    here = Seen(
        tokens.branches(segment[found.start]),
        not SPACES.isdisjoint(words[found.start : found.head]),
        _spaceless(_with_numbered_parameters(words, found)),
    )
    first = seen.setdefault(key, here)
    # The first one must be compiled wherever this one is.
    if first is here or here.branches[: len(first.branches)] != first.branches or not (first.has_space or here.has_space):
        return
    if first.rest != here.rest:
        name = " ".join(words[found.start : min(found.head, found.start + 12)])
        raise UnsupportedFeature(
            f"`{name} …`, which does other things than its overload in another address space",
            tokens.line(segment[found.start]),
            "give the two different names",
        )
    tokens.blank(segment[found.start : found.end])


def _spaceless(words: list[str]) -> tuple[str, ...]:
    return tuple(w for w in words if w not in SPACES)


def _with_numbered_parameters(words: list[str], found: Declaration) -> list[str]:
    """What follows a signature, with the parameters' names as numbers: overloads may name them otherwise."""
    numbers: dict[str, str] = {}
    if found.kind is Kind.FUNCTION:
        head = words[found.start : found.head]
        numbers = {head[at]: f"parameter {n}" for n, at in enumerate(_parameter_names(head))}
    before = words[found.head - 1 : found.end]
    return [w if b in (".", "->", "::") else numbers.get(w, w) for b, w in zip(before, words[found.head : found.end], strict=False)]


def _signature(words: list[str]) -> tuple[str, ...]:
    """A function's head without address spaces and parameter names."""
    names = set(_parameter_names(words))
    return tuple(w for at, w in enumerate(words) if at not in names and w not in SPACES)


def _parameter_names(words: list[str]) -> list[int]:
    """Where the names of a function's parameters stand in its head."""
    k = 0
    while words[k : k + 2] == ["template", "<"]:
        k = closing_angle(words, k + 1) + 1
    found, depth = [], 0
    for at in range(k, len(words) - 1):
        word = words[at]
        depth += (word == "(") - (word == ")")
        if depth == 1 and words[at + 1] in (",", ")", "[", "=") and is_word(word) and word not in _TYPE_WORDS and _follows_type(words, at):
            found.append(at)
    return found


def _follows_type(words: list[str], at: int) -> bool:
    """Whether a type stands before the word at `at`, which then is a parameter's name."""
    for before in reversed(words[:at]):
        if before in ("(", ",", "::"):
            return False
        if before in (">", "*", "&", "...") or (is_word(before) and before not in _NO_TYPE):
            return True
    return False
