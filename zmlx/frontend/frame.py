"""The state of one function being traced: its names, its place in the source, the calls that led to it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from zmlx.errors import CompilationError, Loc, UndefinedNameError
from zmlx.frontend.constexpr import NUMBERS, leaves, rebuild
from zmlx.frontend.scope import suggest
from zmlx.frontend.source import Source
from zmlx.frontend.syntax import first_assignment
from zmlx.ir.core import Block, Value
from zmlx.ir.types import Elem
from zmlx.ops.coerce import TileBuilder

MISSING = object()


@dataclass
class Trace:
    """What all frames of one kernel share."""

    builder: TileBuilder
    pointers: dict[Elem, Value] = field(default_factory=dict)  # a parameter of each pointer type
    frames: list[Frame] = field(default_factory=list)  # innermost last


@dataclass(frozen=True, slots=True)
class Exit:
    """How control leaves a block: falls through, returns, or returns if `flag` holds.

    `value` is what is returned (if it is); only "returns" and "maybe" have one, only "maybe" has a flag.
    """

    kind: str = "falls"
    value: Any = None
    flag: Value | None = None


FALLS = Exit()


@dataclass
class Names:
    """Bindings at one point: values, the nodes that assigned them, and why other names have none."""

    values: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, ast.AST] = field(default_factory=dict)
    missing: dict[str, Callable[[], CompilationError]] = field(default_factory=dict)

    def copy(self) -> Names:
        return Names(dict(self.values), dict(self.nodes), dict(self.missing))

    def set(self, name: str, value: Any, node: ast.AST) -> None:
        self.values[name], self.nodes[name] = value, node
        self.missing.pop(name, None)

    def drop(self, name: str, why: Callable[[], CompilationError] | None) -> None:
        self.values.pop(name, None)
        if why is not None:
            self.missing[name] = why


class Frame:
    """One activation of a function. The visitors are mixed in by `codegen.Codegen`."""

    def __init__(self, trace: Trace, source: Source, caller: Loc | None = None) -> None:
        self.trace, self.b, self.source, self.caller = trace, trace.builder, source, caller
        self.names = Names()
        self.loops = 0
        self.locs: dict[int, Loc] = {}
        self.is_kernel = caller is None
        self.opaque = caller if source.is_library else None

    # The visitors, given by the mixins.

    def expr(self, node: ast.expr) -> Any:
        raise NotImplementedError

    def body(self, stmts: list[ast.stmt], tail: bool) -> Exit:
        raise NotImplementedError

    def truth(self, value: Any, node: ast.expr) -> Value:
        raise NotImplementedError

    # Places.

    def loc(self, node: ast.AST) -> Loc:
        """Where a node stands, with the calls that led here. In a library function: the user's call."""
        if self.opaque is not None:
            return self.opaque
        found = self.locs.get(id(node))
        if found is None:
            found = self.locs[id(node)] = self.source.loc(node, self.caller)
        return found

    def header(self, stmt: ast.stmt) -> Loc:
        """Where a statement stands, without the block below it."""
        loc = self.loc(stmt)
        if loc.line == loc.end_line or self.opaque is not None:
            return loc
        text = self.source.lines[loc.line - self.source.first].partition("#")[0].rstrip()
        return replace(loc, end_line=loc.line, end_col=len(text))

    def line(self, node: ast.AST | None) -> str:
        """ "line 7", for messages."""
        return f"line {node.lineno + self.source.offset}" if node is not None else "the call"  # type: ignore[attr-defined]

    def mark(self, node: ast.AST) -> None:
        """The ops that follow belong to this node."""
        self.b.loc = self.loc(node)

    # Names.

    def assign(self, name: str, value: Any, node: ast.AST) -> None:
        """Binds a name, and lends it to the values that have none."""
        for i, leaf in enumerate(leaves(value)):
            if isinstance(leaf, Value) and not leaf.name:
                leaf.name = f"{name}_{i}" if type(value) is tuple else name
        self.names.set(name, value, node)

    def lookup(self, node: ast.Name, called: bool = False) -> Any:
        """What a name means here; raises the error that tells why it means nothing."""
        name = node.id
        value = self.names.values.get(name, MISSING)
        if value is not MISSING:
            return value
        if name in self.names.missing:
            raise self.names.missing[name]()
        if name in self.source.locals:
            raise self._unassigned(name, node)
        return self.source.scope.read(name, called, self.names.values)

    def _unassigned(self, name: str, use: ast.Name) -> CompilationError:
        node = first_assignment(self.source.tree.body, name)
        if node is not None and node.lineno < use.lineno:
            return UndefinedNameError(
                f"`{name}` has no value here: {self.line(node)} assigns it, under a condition that does not hold for these constants",
                f"assign `{name}` before the condition too",
            )
        near = suggest(name, [n for n in self.names.values if n != name])
        return UndefinedNameError(f"`{name}` is read before it is assigned ({self.line(node)})", near or f"assign `{name}` first")

    # Values.

    def tensors(self, tree: Any) -> Any:
        """Numbers become tensors, in tuples too; strings, None, dtypes and functions stay."""
        if isinstance(tree, Value):
            return tree
        if type(tree) is tuple:
            return tuple(map(self.tensors, tree))
        return self.b.to_value(tree) if isinstance(tree, NUMBERS) else tree

    def zero(self, value: Value) -> Value:
        """Some value of the same type, for paths on which it does not matter."""
        t = value.type
        if t.is_pointer:  # type: ignore[union-attr]
            scalar = self.trace.pointers[t.elem]
        else:
            scalar = self.b.constant(0, t.dtype)  # type: ignore[union-attr]
        return self.b.splat(scalar, value.shape)

    @contextmanager
    def region(self, block: Block, names: Names) -> Iterator[Block]:
        """Traces into another block with other names for a while."""
        saved, self.names = self.names, names
        try:
            with self.b.at(block):
                yield block
        finally:
            self.names = saved


def relabel(tree: Any, values: Iterable[Value]) -> Any:
    """A tree whose `Value` leaves are replaced, in order; constants stay."""
    fresh = iter(values)
    return rebuild(tree, iter([next(fresh) if isinstance(leaf, Value) else leaf for leaf in leaves(tree)]))
