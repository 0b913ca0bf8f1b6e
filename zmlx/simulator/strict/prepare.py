"""MSL as clang's C++ takes it, line by line, with its address spaces."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zmlx.simulator.lint import Finding
from zmlx.simulator.strict import casts, methods, scratch
from zmlx.simulator.translate import attributes, directives, function_constants, literals, spaces, threadgroup, unsupported
from zmlx.simulator.translate.tokens import tokenize

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<(?:metal_\w+|MetalPerformancePrimitives/\w+\.h)>", re.MULTILINE)
_DECLARED = frozenset(("__metal_get_thread_index_in_simdgroup", "__metal_get_simdgroup_size"))


@dataclass(frozen=True, slots=True)
class Prepared:
    text: str
    before: str  # declarations of Apple's internal functions that the text names
    spaces: frozenset[str]  # the words for address spaces, macros among them
    findings: list[Finding]


def prepare(msl: str) -> Prepared:
    tokens = tokenize(msl)
    unsupported.check(tokens, frozenset(), {})
    named = spaces.SPACES | {m.name for m in tokens.macros if not spaces.SPACES.isdisjoint(tokens.words(m.body))}
    directives.tidy(tokens)
    threadgroup.expand_aliases(tokens, {})
    found = scratch.check(tokens)
    function_constants.convert(tokens, ())
    attributes.strip(tokens)
    literals.convert(tokens)
    threadgroup.convert(tokens)
    methods.convert(tokens)
    casts.construct_vectors(tokens)
    casts.convert(tokens)
    spaces.rename_reserved(tokens)
    text = _INCLUDE.sub("", tokens.text)
    internal = sorted(set(re.findall(r"__metal_\w+", text)) - _DECLARED)
    before = "".join(f"template <class A, class... B> A {n}(A, B...);\n" for n in internal)
    return Prepared(text, before, frozenset(named), found)
