"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zmlx.simulator.lint.text import Text

Found = Iterator[tuple[int, str]]  # (token, what stands there)


@dataclass(frozen=True)
class Finding:
    """One place of the text: 1-based line and column, what is wrong there, what to write instead."""

    rule: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.message} [{self.rule}]; instead: {self.remedy}"


@dataclass(frozen=True)
class Rule:
    """`find` yields the tokens where the rule is broken, each with a message."""

    name: str
    why: str
    remedy: str
    bad: str
    good: str
    find: Callable[[Text], Found]
    on_directives: bool = False  # looks at preprocessor lines, and at nothing else


def words(names: str, message: str) -> Callable[[Text], Found]:
    """The words, wherever they are not a member's name."""
    wanted = frozenset(names.split())

    def find(text: Text) -> Found:
        for k, word in enumerate(text.words):
            if word in wanted and text.is_name(k) and text.word(k - 1) not in (".", "->", "::"):
                yield k, message.format(word)

    return find


def calls(names: str, message: str) -> Callable[[Text], Found]:
    """Calls of the functions, unless the text defines them itself."""
    wanted = frozenset(names.split())

    def find(text: Text) -> Found:
        own = {text.words[f.name] for f in text.functions}
        for k, word in enumerate(text.words):
            if word in wanted - own and text.is_name(k) and text.word(k + 1) == "(" and text.word(k - 1) not in (".", "->"):
                yield k, message.format(word)

    return find
