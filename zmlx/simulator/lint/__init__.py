"""What Metal's compiler refuses although the host's C++ compiler accepts it: a lint over the tokens of MSL text.

`check(msl)` needs nothing but Python. Each rule is one record with an example of either kind; tests and docs come from them.
"""

from __future__ import annotations

from zmlx.simulator.lint import atomics, language, memory, names
from zmlx.simulator.lint.rules import Finding, Rule
from zmlx.simulator.lint.text import Text
from zmlx.simulator.translate.tokens import tokenize

RULES: tuple[Rule, ...] = (*language.RULES, *memory.RULES, *atomics.RULES, *names.RULES)

__all__ = ["RULES", "Finding", "Rule", "Text", "check", "table"]


def check(msl: str) -> list[Finding]:
    """Findings of all rules in a text of MSL (a whole program, a kernel's body or a header), by line."""
    found = set()
    for text in Text.all_of(tokenize(msl)):
        for rule in RULES:
            if rule.on_directives == text.is_directive:
                for k, message in rule.find(text):
                    found.add(Finding(rule.name, *text.place(k), message, rule.remedy))
    return sorted(found, key=lambda f: (f.line, f.column, f.rule))


def table() -> str:
    """The rules as a table of Markdown."""
    rows = [f"| `{r.name}` | {r.why} | {r.remedy} | `{_line(r.bad)}` | `{_line(r.good)}` |" for r in RULES]
    return "\n".join(["| rule | why | instead | refused | taken |", "| --- | --- | --- | --- | --- |", *rows]) + "\n"


def _line(example: str) -> str:
    return example.replace("\n", " ⏎ ").replace("|", "\\|")
