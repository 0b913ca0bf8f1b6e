"""Threadgroup variables where Metal has none: with an initial value, or outside of kernels."""

from __future__ import annotations

from collections.abc import Iterator

from zmlx.simulator.lint import RULES, Finding, Text
from zmlx.simulator.lint.memory import threadgroup_variables
from zmlx.simulator.translate.tokens import Tokens, matching

_RULES = [r for r in RULES if r.name in ("threadgroup-value", "threadgroup-scope")]


def check(tokens: Tokens) -> list[Finding]:
    """What there is of them; initial values go, so that the rest can be read."""
    return list(_check(tokens))


def _check(tokens: Tokens) -> Iterator[Finding]:
    texts = [t for t in Text.all_of(tokens) if not t.is_directive]
    for text in texts:
        for rule in _RULES:
            for k, message in rule.find(text):
                yield Finding(rule.name, *text.place(k), message, rule.remedy)
        for _, _, value in threadgroup_variables(text):
            if value is not None:
                end = value
                while text.word(end) not in (";", ",", ""):
                    end = matching(text.words, end) + 1 if text.words[end] in "([{" else end + 1
                tokens.blank(text.segment[value:end])
    tokens.settle()
