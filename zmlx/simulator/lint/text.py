"""A text's meaningful tokens, with the scopes that they stand in: what the rules look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from zmlx.simulator.translate import attributes
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import NEWLINE, SPACE, Segment, Tokens, closing_angle, is_word, matching, opening, opening_angle

STATEMENTS = frozenset(
    "if for while switch return sizeof alignof decltype static_assert operator catch alignas requires do else case".split()
)
_CLASS = frozenset({"struct", "class", "union", "enum"})
# What MLX gives to a kernel's body.
_GIVEN = ("thread_position_in_", "thread_index_in_", "threadgroup_position_in_", "threadgroups_per_", "threads_per_", "simdgroup_index_in_")
_BEHIND = SPACES | {"const", "noexcept", "volatile", "override", "final"}

PROGRAM, CLASS, FUNCTION, KERNEL, VALUE = "program", "class", "function", "kernel", "value"


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition: where its name, the parentheses of its parameters and the braces of its body are."""

    name: int
    opening: int
    closing: int
    body: int
    end: int
    is_kernel: bool


class Text:
    """One segment of a text: the file without its `#else` branches, one of these, a macro's body, or a preprocessor line."""

    def __init__(self, tokens: Tokens, segment: Segment, is_macro: bool = False, is_directive: bool = False) -> None:
        self.tokens, self.segment, self.is_macro, self.is_directive = tokens, segment, is_macro, is_directive
        self.words = tokens.words(segment)
        self.kinds = [tokens.kinds[i] for i in segment]

    @staticmethod
    def all_of(tokens: Tokens) -> list[Text]:
        """The file and its branches, the macros' bodies, and the other preprocessor lines."""
        texts = [Text(tokens, s) for s in tokens.segments] + [Text(tokens, m.body, is_macro=True) for m in tokens.macros]
        for d in tokens.directives:
            end = next((i for i in range(d.at, len(tokens.kinds)) if tokens.kinds[i] == NEWLINE), len(tokens.kinds))
            line = [i for i in range(d.at, end) if tokens.kinds[i] != SPACE]
            texts.append(Text(tokens, line, is_directive=True))
        return texts

    def word(self, k: int) -> str:
        return self.words[k] if 0 <= k < len(self.words) else ""

    def place(self, k: int) -> tuple[int, int]:
        """The token's line and column."""
        start = self.tokens.starts[self.segment[k]]
        return self.tokens.line(self.segment[k]), start - self.tokens.source.rfind("\n", 0, start)

    def is_name(self, k: int) -> bool:
        return 0 <= k < len(self.words) and self.kinds[k] == "word"

    @cached_property
    def functions(self) -> list[Function]:
        found = []
        for k, word in enumerate(self.words):
            if word == "(" and self.is_name(k - 1) and self.word(k - 1) not in STATEMENTS and self._declares(k - 1):
                close = matching(self.words, k)
                body = close + 1
                while self.word(body) in _BEHIND:
                    body += 1
                if self.word(body) == "->":
                    while self.word(body) not in ("{", ";", ""):
                        body += 1
                if self.word(body) == ":":  # a constructor's initialisers
                    while self.word(body) not in ("{", ";", ""):
                        body = matching(self.words, body) + 1 if self.word(body) == "(" else body + 1
                if self.word(body) == "{":
                    found.append(Function(k - 1, k, close, body, matching(self.words, body), self._is_kernel(k - 1)))
        return found

    def _declares(self, name: int) -> bool:
        """Whether what stands before a name can be a type, so that the name is declared here."""
        before = self.word(name - 1)
        return (is_word(before) and before not in STATEMENTS | {"new", "goto", "throw"}) or before in ("*", "&", ">", "]")

    def _is_kernel(self, name: int) -> bool:
        at = name - 1
        while at >= 0 and self.words[at] not in (";", "}", "{"):
            if self.words[at] == "kernel":
                return True
            at -= 1
        return False

    @cached_property
    def scopes(self) -> list[str]:
        """For each token, what is around it: PROGRAM, CLASS, FUNCTION, KERNEL or VALUE (braces of an initial value)."""
        bodies = {f.body: KERNEL if f.is_kernel else FUNCTION for f in self.functions}
        scopes, stack = [], [PROGRAM]
        for k, word in enumerate(self.words):
            if word == "}" and len(stack) > 1:
                stack.pop()
            scopes.append(stack[-1])
            if word == "{":
                stack.append(bodies.get(k) or self._scope(k, stack[-1]))
        return scopes

    def _scope(self, brace: int, around: str) -> str:
        before = self.word(brace - 1)
        if around in (FUNCTION, KERNEL):
            starts = {"else", "do", "try", ")", ";", "{", "}", ":"}
            if before in starts or not _CLASS.isdisjoint(self._head(brace)):
                return CLASS if before not in starts else around
            return VALUE
        head = self._head(brace)
        if "namespace" in head or "extern" in head:
            return PROGRAM
        return CLASS if not _CLASS.isdisjoint(head) and "=" not in head else VALUE

    def _head(self, k: int) -> list[str]:
        start = k - 1
        while start >= 0 and self.words[start] not in (";", "}", "{"):
            start -= 1
        return self.words[start + 1 : k]

    @cached_property
    def is_statements(self) -> bool:
        """Whether this is a kernel's body by itself, as MLX takes it, or a part of one."""
        depth = 0
        for k, word in enumerate(self.words):
            depth += (word in "({[") - (word in ")}]")
            if depth == 0 and (
                word in ("if", "for", "while", "switch", "do", "return", "+=", "-=", "*=", "++", "--")
                or (word == "=" and self.word(k - 1) == "]" and not is_word(self.word(opening(self.words, k - 1) - 2)))
                or (word == ")" and self.word(k + 1) == ";" and self.word(opening(self.words, k) - 2) in ("", ";", "}"))
                or (word == "*" and self.word(k - 1) in (";", ""))
                or word.startswith(_GIVEN)
            ):
                return True
        return False

    def parameters(self, opening: int) -> Iterator[tuple[int, int]]:
        """(first, behind the last) token of each parameter in the parentheses at `opening`."""
        end, start, at = matching(self.words, opening), opening + 1, opening + 1
        while at < end:
            word = self.words[at]
            if word in "([{":
                at = matching(self.words, at)
            elif word == "<" and closing_angle(self.words, at) < end:
                at = closing_angle(self.words, at)
            elif word == ",":
                yield start, at
                start = at + 1
            at += 1
        if start < end:
            yield start, end

    def template_names(self) -> set[str]:
        """What the templates' type parameters are called."""
        return {self.word(k + 1) for k, word in enumerate(self.words) if word in ("typename", "class") and self.word(k - 1) in ("<", ",")}

    def declaration_starts(self) -> Iterator[int]:
        """Where statements and declarations begin, attributes and template heads left out."""
        for k in range(len(self.words)):
            if k and self.words[k - 1] not in (";", "{", "}", ")", ">", "]"):
                continue
            if k and self.words[k - 1] == ")" and self.word(opening(self.words, k - 1) - 1) not in ("if", "for", "while", "switch"):
                continue
            if k and self.words[k - 1] == ">" and self.word(opening_angle(self.words, k - 1) - 1) != "template":
                continue
            if k and self.words[k - 1] == "]" and self.words[k - 2] != "]":
                continue
            if is_word(self.words[k]) or self.words[k] == "::":
                yield k

    def type_end(self, k: int) -> int:
        """Behind the name of a type that begins at k, without `*` and `&`; k itself if none does."""
        at = k
        while self.word(at) in _QUALIFIERS:
            at += 1
        if not (self.is_name(at) or self.word(at) == "::") or self.word(at) in STATEMENTS:
            return k
        while True:
            at += self.word(at) == "::"
            at += 1
            while self.word(at - 1) in ("unsigned", "signed", "long", "short") and self.word(at) in ("int", "long", "char", "short"):
                at += 1
            if self.word(at) == "<":
                close = closing_angle(self.words, at)
                if close >= len(self.words):
                    return k
                at = close + 1
            if self.word(at) != "::":
                break
        while self.word(at) in _QUALIFIERS:
            at += 1
        return at

    def attributes_end(self, k: int) -> int:
        while k < len(self.words) and attributes.starts(self.words, k):
            k = attributes.read(self.words, k)[0]
        return k


_QUALIFIERS = SPACES | {"const", "volatile", "constexpr", "static", "inline", "typename", "struct", "coherent"}
