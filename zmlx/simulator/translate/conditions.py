"""Which parts of a text are certainly not compiled: `#if 0`, other Metal versions, features that are not there.

A name that neither this text nor the one before it defines is undefined, unless Metal's own headers might define it: what
depends on such a one is unknown, and counts as compiled.
"""

from __future__ import annotations

from collections.abc import Callable

from zmlx.simulator.translate.tokens import Tokens, is_word

METAL_VERSION = 320  # what the simulator's headers implement: Metal 3.2
_PREDEFINED = {"__METAL__": 1, "__METAL_VERSION__": METAL_VERSION, "__METAL_MACOS__": 1}
_ABSENT_HEADERS = ("tensor", "raytracing")
_LEVELS: tuple[tuple[str, ...], ...] = (("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))


Defined = dict[str, int | None]  # macros and their values, where those are plain numbers


def inactive(tokens: Tokens, defined: Defined) -> Callable[[int], bool]:
    """A test whether the token at an index is in a branch that is certainly not compiled.

    `defined` are the macros of the text before this one; this one's are added.
    """
    dead = _dead_branches(tokens, defined)
    if not dead:
        return lambda index: False
    return lambda index: not dead.isdisjoint(tokens.branches(index))


def _dead_branches(tokens: Tokens, defined: Defined) -> set[int]:
    defined |= {name: number for name, number in _PREDEFINED.items() if name not in defined}
    dead: set[int] = set()
    open_: list[tuple[int, bool | None, bool]] = []  # (branch, whether an earlier branch is taken, whether dead from outside)
    branch = 0
    for directive in tokens.directives:
        name = directive.name
        words = [tokens.texts[i] for i in directive.rest]
        if name in ("if", "ifdef", "ifndef"):
            branch += 1
            outside = bool(open_) and open_[-1][0] in dead
            value = _truth(name, words, defined)
            if outside or value is False:
                dead.add(branch)
            open_.append((branch, value, outside))
        elif name in ("else", "elif", "elifdef", "elifndef") and open_:
            branch += 1
            _, taken, outside = open_[-1]
            value = True if name == "else" else _truth(name.removeprefix("el"), words, defined)
            if outside or taken is True or value is False:
                dead.add(branch)
            open_[-1] = (branch, True if True in (taken, value) else None if None in (taken, value) else False, outside)
        elif name == "endif" and open_:
            open_.pop()
        elif name == "define" and words and not (open_ and open_[-1][0] in dead):
            defined[words[0]] = _number(words[1]) if len(words) == 2 else None
        elif name == "undef" and words:
            defined.pop(words[0], None)
    return dead


def _truth(name: str, words: list[str], defined: Defined) -> bool | None:
    if name == "if":
        value = _Expression(words, defined).value()
        return None if value is None else bool(value)
    known = _is_defined(words[0], defined) if words else None
    return None if known is None else known == (name == "ifdef")


def _is_defined(name: str, defined: Defined) -> bool | None:
    if name in defined:
        return True
    return None if name.startswith(("_", "M_", "METAL_", "TARGET_")) else False


def _number(word: str) -> int | None:
    try:
        return int(word.rstrip("uUlL"), 0)
    except ValueError:
        return None


class _Expression:
    """A preprocessor condition; None stands for an unknown value."""

    def __init__(self, words: list[str], defined: Defined) -> None:
        self.words, self.defined, self.at = words, defined, 0

    def value(self) -> int | None:
        try:
            value = self.binary(0)
        except (IndexError, ValueError):  # the compiler will say what is wrong with it
            return None
        return value if self.at == len(self.words) else None

    def binary(self, level: int) -> int | None:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while (operator := self.operator(level)) is not None:
            left = _apply(operator, left, self.binary(level + 1))
        return left

    def operator(self, level: int) -> str | None:
        for operator in sorted(_LEVELS[level], key=len, reverse=True):
            for parts in ([operator], list(operator)):  # `>=` is two tokens
                if self.words[self.at : self.at + len(parts)] == parts:
                    self.at += len(parts)
                    return operator
        return None

    def unary(self) -> int | None:
        word = self.words[self.at]
        self.at += 1
        if word == "!":
            value = self.unary()
            return None if value is None else int(not value)
        if word == "(":
            value = self.binary(0)
            self.at += 1
            return value
        if word == "defined":
            bracket = self.words[self.at] == "("
            name = self.words[self.at + bracket]
            self.at += 3 if bracket else 1
            known = _is_defined(name, self.defined)
            return None if known is None else int(known)
        if self.words[self.at : self.at + 1] == ["("]:  # __has_include(<metal_tensor>), __has_feature(x), M(x)
            close = self.words.index(")", self.at)
            argument = "".join(self.words[self.at : close])
            self.at = close + 1
            return 0 if word == "__has_include" and any(h in argument for h in _ABSENT_HEADERS) else None
        if is_word(word) and word not in self.defined:
            return 0 if _is_defined(word, self.defined) is False else None
        return self.defined[word] if is_word(word) else _number(word)


def _apply(operator: str, a: int | None, b: int | None) -> int | None:
    if operator == "&&":
        return 0 if 0 in (a, b) else None if None in (a, b) else 1
    if operator == "||":
        return 1 if any(v for v in (a, b)) else None if None in (a, b) else 0
    if a is None or b is None or (operator in "/%" and b == 0):
        return None
    return {
        "==": lambda: int(a == b), "!=": lambda: int(a != b), "<": lambda: int(a < b), ">": lambda: int(a > b),
        "<=": lambda: int(a <= b), ">=": lambda: int(a >= b), "+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b,
        "/": lambda: a // b, "%": lambda: a % b,
    }[operator]()  # fmt: skip
