"""What can be told from the syntax tree alone: assigned names, annotations, Python that kernels do not have."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Literal

Kind = Literal["plain", "constexpr", "index"]  # how a name is assigned; "index" by a `for` alone
Names = dict[str, Kind]


def is_constexpr_annotation(node: ast.expr | None) -> bool:
    """Whether an annotation says `tl.constexpr` (or `tl.constexpr[int]`), as an expression or a string."""
    if isinstance(node, ast.Subscript):
        return is_constexpr_annotation(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr == "constexpr"
    if isinstance(node, ast.Name):
        return node.id == "constexpr"
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return text.partition("[")[0].rpartition(".")[2].strip() == "constexpr"


def assigned(body: Iterable[ast.stmt], cache: dict[int, Names]) -> Names:
    """The names that statements assign, in order of appearance; `cache` keeps the answer for each statement."""
    out: Names = {}
    for stmt in body:
        found = cache.get(id(stmt))
        if found is None:
            found = cache[id(stmt)] = _assigned(stmt, cache)
        for name, kind in found.items():
            _add(out, name, kind)
    return out


def _add(out: Names, name: str, kind: Kind) -> None:
    if out.setdefault(name, kind) != kind:
        out[name] = "plain"


def _assigned(stmt: ast.stmt, cache: dict[int, Names]) -> Names:
    out: Names = {}
    match stmt:
        case ast.Assign():
            for target in stmt.targets:
                _targets(target, "plain", out)
        case ast.AugAssign():
            _targets(stmt.target, "plain", out)
        case ast.AnnAssign():
            if stmt.value is not None:
                _targets(stmt.target, "constexpr" if is_constexpr_annotation(stmt.annotation) else "plain", out)
        case ast.If():
            out = assigned([*stmt.body, *stmt.orelse], cache)
        case ast.While():
            out = assigned(stmt.body, cache)
        case ast.For():
            _targets(stmt.target, "index", out)
            for name, kind in assigned(stmt.body, cache).items():
                _add(out, name, kind)
    return out


def _targets(node: ast.expr, kind: Kind, out: Names) -> None:
    if isinstance(node, ast.Name):
        _add(out, node.id, kind)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for element in node.elts:
            _targets(element, kind, out)
    elif isinstance(node, ast.Starred):
        _targets(node.value, kind, out)


def first_assignment(body: Iterable[ast.stmt], name: str) -> ast.stmt | None:
    """The first statement that assigns a name; loops and branches are looked into."""
    for stmt in body:
        inner = [*getattr(stmt, "body", ()), *getattr(stmt, "orelse", ())]
        own = [stmt.target] if isinstance(stmt, ast.For) else []
        if inner:
            if any(name in _names(t) for t in own):
                return stmt
            found = first_assignment(inner, name)
            if found is not None:
                return found
        elif name in _assigned(stmt, {}):
            return stmt
    return None


def _names(target: ast.expr) -> Names:
    out: Names = {}
    _targets(target, "index", out)
    return out


# Python that kernels do not have: what it is called, and what to write.
UNSUPPORTED: dict[type, tuple[str, str]] = {
    ast.Lambda: ("a lambda", "write a @zmlx.jit function"),
    ast.ListComp: ("a comprehension", "write a `for` over tl.static_range, or work on whole tiles"),
    ast.SetComp: ("a comprehension", "write a `for` over tl.static_range, or work on whole tiles"),
    ast.DictComp: ("a comprehension", "write a `for` over tl.static_range, or work on whole tiles"),
    ast.GeneratorExp: ("a generator expression", "write a `for` over tl.static_range, or work on whole tiles"),
    ast.NamedExpr: ("an assignment inside an expression", "assign on a line of its own"),
    ast.Dict: ("a dict", "use separate variables or a tuple"),
    ast.Set: ("a set", "use a tuple"),
    ast.Starred: ("a starred expression", "name each element"),
    ast.Slice: ("a slice", "slices only stand in subscripts"),
    ast.Await: ("await", "kernels run to their end; remove it"),
    ast.Yield: ("yield", "store results with tl.store, or return a tuple from a device function"),
    ast.YieldFrom: ("yield", "store results with tl.store, or return a tuple from a device function"),
    ast.FunctionDef: ("a nested function", "write a @zmlx.jit function outside and call it"),
    ast.AsyncFunctionDef: ("an async function", "write a @zmlx.jit function outside and call it"),
    ast.ClassDef: ("a class", "use tuples to group values"),
    ast.Delete: ("del", "leave the name; an unused value costs nothing"),
    ast.With: ("a `with` block", "write the body without it"),
    ast.AsyncWith: ("a `with` block", "write the body without it"),
    ast.AsyncFor: ("an async loop", "use a plain `for`"),
    ast.Raise: ("raise", "use tl.static_assert on constants, tl.device_assert on values"),
    ast.Try: ("try", "kernels raise nothing; use masks and tl.where"),
    ast.Import: ("an import", "import at the top of the file"),
    ast.ImportFrom: ("an import", "import at the top of the file"),
    ast.Global: ("global", "pass the value as an argument, or use a tl.constexpr global"),
    ast.Nonlocal: ("nonlocal", "return the value instead"),
    ast.Break: ("break", "loop with `while condition:`, or mask the rest of the iterations"),
    ast.Continue: ("continue", "put the rest of the loop body under `if not condition:`"),
    ast.Match: ("match", "use if / elif"),
}


def describe_syntax(node: ast.AST) -> tuple[str, str]:
    """The name of an unsupported construct, and the remedy."""
    return UNSUPPORTED.get(type(node), (f"`{type(node).__name__}`", "use the statements and expressions that docs/language.md lists"))
