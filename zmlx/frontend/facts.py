"""What a function's text says by itself, before anybody asks what its names mean: kept on disk, so that a warm start
parses nothing.

The key is the text and the build of zmlx. What the names stand for (constants, other functions) is looked up in every
process, so a change outside of the text is seen as before.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from zmlx.frontend.syntax import Names, is_constexpr_annotation
from zmlx.runtime import cache


@dataclass(frozen=True, slots=True)
class Facts:
    """What is read off a syntax tree.

    name, args  the function's name and its parameters, positional ones first
    definition  the `def` line's place below the first decorator, in lines
    constexprs  parameters that are annotated `tl.constexpr`
    names       what the body refers to outside of itself, as written ("C", "tl.load"), in order of appearance
    """

    name: str
    args: tuple[str, ...]
    definition: int
    constexprs: tuple[str, ...]
    names: tuple[str, ...]


def all_args(args: ast.arguments) -> list[ast.arg]:
    """Every parameter, in the order of the code object's variables."""
    return [*args.posonlyargs, *args.args, *args.kwonlyargs]


def facts_of(tree: ast.FunctionDef, definition: int, local: Names) -> Facts:
    """The facts of a parsed function, of which `local` are parameters and assigned names."""
    args = all_args(tree.args)
    constexprs = tuple(a.arg for a in args if is_constexpr_annotation(a.annotation))
    return Facts(tree.name, tuple(a.arg for a in args), definition, constexprs, tuple(_outside(tree.body, local)))


def _key(text: str) -> str:
    return cache.digest("facts-1", cache.fingerprint(), str(sys.version_info[:2]), text)


def remembered(text: str) -> Facts | None:
    """The facts stored for a function's lines, if there are any."""
    stored = cache.get("facts", _key(text))
    if stored is None:
        return None
    name, args, definition, constexprs, names = json.loads(stored)
    return Facts(name, tuple(args), definition, tuple(constexprs), tuple(names))


def remember(text: str, facts: Facts) -> None:
    """Stores the facts of lines that parse alone."""
    row = [facts.name, facts.args, facts.definition, facts.constexprs, facts.names]
    cache.put("facts", _key(text), json.dumps(row, separators=(",", ":")).encode())


def _outside(body: list[ast.stmt], local: Collection[str]) -> Iterator[str]:
    """Names and dotted names below some statements that do not begin with a local name, once each."""
    seen = set()
    for node in _references(body):
        name = _dotted(node)
        if name is not None and name not in seen and name.partition(".")[0] not in local:
            seen.add(name)
            yield name


# Nodes that have others below them, and names.
_NODES = [kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST)]
_INNER = frozenset(kind for kind in _NODES if kind._fields) - {ast.Constant}


def _references(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The names and attributes below some statements: what ast.walk finds, in a fraction of its time."""
    stack: list[ast.AST] = [*reversed(body)]
    while stack:
        node = stack.pop()
        kind = node.__class__
        if kind is ast.Name:
            yield node
            continue
        if kind is ast.Attribute:
            yield node
        for field in node.__dict__.values():
            if field.__class__ is list:
                stack += [item for item in field[::-1] if item.__class__ in _INNER]
            elif field.__class__ in _INNER:
                stack.append(field)


def _dotted(node: ast.AST) -> str | None:
    kind = node.__class__
    if kind is ast.Name:
        return node.id  # type: ignore[attr-defined]
    if kind is ast.Attribute:
        base = _dotted(node.value)  # type: ignore[attr-defined]
        return f"{base}.{node.attr}" if base else None  # type: ignore[attr-defined]
    return None
