"""`if`, early return, and the conditional expression.

A block ends by falling through, by returning, or by returning under a flag (`Exit`). When one branch of an `if` returns
and the other does not, the statements that follow are traced into the other branch, so the usual early return costs
nothing. Only a return nested in further conditions needs the flag: what follows then runs under its opposite.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import CarriedTypeError, CompilationError, ControlFlowError, Loc, NotCallableError, PointerError, UndefinedNameError
from zmlx.frontend.constexpr import NUMBERS, Method, describe, same_constant
from zmlx.frontend.frame import FALLS, MISSING, Exit, Frame, Names
from zmlx.ir.core import Block, Op, Value
from zmlx.ops import control
from zmlx.ops.arith import invert


@dataclass
class Path:
    """One branch: its ops, the names at its end, and how it ends."""

    block: Block
    names: Names
    exit: Exit = FALLS


class _Slot:
    """The place of a value that an `if` is going to yield."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class _MismatchError(Exception):
    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Join:
    """Collects what two branches yield, then makes the `if`."""

    def __init__(self, frame: Frame, then: Block, other: Block) -> None:
        self.frame, self.b = frame, frame.b
        self.then, self.other = then, other
        self.pairs: list[tuple[Value, Value]] = []

    def slot(self, a: Value, b: Value) -> _Slot:
        self.pairs.append((a, b))
        return _Slot(len(self.pairs) - 1)

    def merge(self, a: Any, b: Any) -> Any:
        """One tree for two: equal constants stay, other numbers become tensors, values of one type are yielded."""
        if a is b:
            return a
        if type(a) is tuple and type(b) is tuple and len(a) == len(b):
            return tuple(map(self.merge, a, b))
        va, vb = isinstance(a, Value), isinstance(b, Value)
        if not va and not vb and same_constant(a, b):
            return a
        x = self._tensor(self.then, a, b)
        y = self._tensor(self.other, b, a)
        if x is None or y is None or x.type != y.type:
            raise _MismatchError(a, b)
        return self.slot(x, y)

    def _tensor(self, block: Block, x: Any, partner: Any) -> Value | None:
        if isinstance(x, Value) or not isinstance(x, NUMBERS):
            return x if isinstance(x, Value) else None
        like = partner.type.elem if isinstance(partner, Value) and isinstance(partner.type.elem, dt.DType) else None
        with self.b.at(block):
            return self.b.to_value(x, like)

    def with_zero(self, tree: Any, side: Block) -> Any:
        """A tree that exists in the other block alone; `side` yields something of the same types."""
        if type(tree) is tuple:
            return tuple(self.with_zero(t, side) for t in tree)
        if not isinstance(tree, Value):
            return tree
        with self.b.at(side):
            zero = self.frame.zero(tree)
        return self.slot(zero, tree) if side is self.then else self.slot(tree, zero)

    def finish(self, condition: Value, loc: Loc) -> Op:
        for block, side in ((self.then, 0), (self.other, 1)):
            with self.b.at(block):
                self.b.create(control.yield_, [pair[side] for pair in self.pairs])
        self.b.loc = loc
        return self.b.create(control.if_, [condition], regions=[self.then, self.other])


def _fill(tree: Any, results: list[Value]) -> Any:
    if type(tree) is tuple:
        return tuple(_fill(t, results) for t in tree)
    return results[tree.index] if isinstance(tree, _Slot) else tree


class Branches(Frame):
    """Visitors of conditions."""

    def if_(self, node: ast.If, rest: list[ast.stmt], tail: bool) -> tuple[Exit, bool]:
        """Traces an `if`, and the statements after it where they belong to one branch.

        Returns how the block ends, and whether `rest` has been traced. `tail`: nothing of the function follows `rest`.
        """
        test = self.expr(node.test)
        if not isinstance(test, Value):
            exit = self.body(node.body if self.holds(test, node.test) else node.orelse, tail and not rest)
            return self._go_on(exit, node, rest, tail)
        condition = self.truth(test, node.test)
        then = self._path(node.body, tail and not rest)
        other = self._path(node.orelse, tail and not rest)
        names = self.source.names([node])
        done = {then.exit.kind, other.exit.kind}
        if "returns" in done and len(done) == 2 and rest:
            names = self.source.names([node, *rest])
            live = other if then.exit.kind == "returns" else then
            with self.region(live.block, live.names):
                live.exit = self._go_on(live.exit, node, rest, tail, True)[0]
            return self._join(node, condition, then, other, names), True
        exit = self._join(node, condition, then, other, names)
        return self._go_on(exit, node, rest, tail)

    def _go_on(self, exit: Exit, node: ast.If, rest: list[ast.stmt], tail: bool, trace: bool = False) -> tuple[Exit, bool]:
        """After an `if` that ended with `exit`: traces the rest where it is conditional (or with `trace`, always)."""
        if exit.kind == "falls":
            return (self.body(rest, tail), True) if trace else (exit, False)
        if exit.kind == "returns" or not rest:
            return exit, exit.kind == "returns"
        assert exit.flag is not None
        then = Path(Block(), self.names.copy(), Exit("returns", exit.value))
        other = self._path(rest, tail)
        return self._join(node, exit.flag, then, other, self.source.names(rest)), True

    def _path(self, stmts: list[ast.stmt], tail: bool) -> Path:
        path = Path(Block(), self.names.copy())
        with self.region(path.block, path.names):
            path.exit = self.body(stmts, tail)
        return path

    def _join(self, node: ast.If, condition: Value, then: Path, other: Path, assigned: Iterable[str]) -> Exit:
        loc = self.loc(node.test)
        join = Join(self, then.block, other.block)
        kinds = then.exit.kind, other.exit.kind
        result = kinds[0] if kinds[0] == kinds[1] else "maybe"
        plans: dict[str, Any] = {}
        fresh = Names()
        if kinds == ("returns", "returns"):
            pass
        elif "returns" in kinds:
            live, side = (other, then.block) if kinds[0] == "returns" else (then, other.block)
            for name in assigned:
                if name in live.names.values:
                    value = live.names.values[name]
                    plans[name] = value if value is self.names.values.get(name) else join.with_zero(value, side)
                    fresh.nodes[name] = live.names.nodes.get(name, node)
                else:
                    fresh.drop(name, live.names.missing.get(name))
        else:
            for name in assigned:
                self._merge_name(node, name, then, other, join, plans, fresh)
        returned = self._merge_returns(node, then, other, join)
        flag = self._merge_flags(condition, then, other, join) if result == "maybe" else None
        op = join.finish(condition, loc)
        for name, plan in plans.items():
            value = _fill(plan, op.results)
            self.assign(name, value, fresh.nodes[name])
        for name, why in fresh.missing.items():
            self.names.drop(name, why)
        if isinstance(flag, _Slot):
            flag = op.results[flag.index]
        return Exit(result, _fill(returned, op.results), flag)

    def _merge_name(self, node: ast.If, name: str, then: Path, other: Path, join: Join, plans: dict[str, Any], fresh: Names) -> None:
        a, b = then.names.values.get(name, MISSING), other.names.values.get(name, MISSING)
        na, nb = then.names.nodes.get(name), other.names.nodes.get(name)
        fresh.nodes[name] = (na if na is not self.names.nodes.get(name) else nb) or node
        if a is MISSING or b is MISSING:
            if a is MISSING and b is MISSING:
                fresh.drop(name, then.names.missing.get(name) or other.names.missing.get(name))
            else:
                why = then.names.missing.get(name) or other.names.missing.get(name)
                fresh.drop(name, why or partial(self._one_path, name, node, na if b is MISSING else nb, b is MISSING))
            return
        before = len(join.pairs)
        try:
            plans[name] = join.merge(a, b)
        except _MismatchError:
            del join.pairs[before:]
            fresh.drop(name, partial(self._two_types, name, a, b, na, nb, nb if nb is not self.names.nodes.get(name) else na))

    def _one_path(self, name: str, node: ast.If, where: ast.AST | None, holds: bool) -> CompilationError:
        return UndefinedNameError(
            f"`{name}` may have no value here: it is assigned ({self.line(where)}) only if the condition of {self.line(node)} "
            f"{'holds' if holds else 'does not hold'}",
            f"assign `{name}` before the `if`, or in both branches",
        )

    def _two_types(self, name: str, a: Any, b: Any, na: ast.AST | None, nb: ast.AST | None, where: ast.AST | None) -> CompilationError:
        return CarriedTypeError(
            f"`{name}` is {describe(a)} if the condition holds ({self.line(na)}) and {describe(b)} otherwise ({self.line(nb)}), "
            "and is used afterwards",
            (_to_one_type(a, b) if where is nb else _to_one_type(b, a))
            or f"give `{name}` one type in both branches, or use another name in one of them",
            self.loc(where) if where is not None else None,
        )

    def _merge_returns(self, node: ast.If, then: Path, other: Path, join: Join) -> Any:
        a, b = then.exit, other.exit
        if a.kind == "falls" and b.kind == "falls":
            return None
        if a.kind == "falls":
            return join.with_zero(b.value, join.then)
        if b.kind == "falls":
            return join.with_zero(a.value, join.other)
        try:
            return join.merge(a.value, b.value)
        except _MismatchError:
            pass
        if (a.value is None) != (b.value is None):
            raise ControlFlowError(
                f"`{self.source.name}` returns a value on one path and nothing on the other",
                "return a value of the same type on both paths",
                self.loc(node.test),
            )
        raise CarriedTypeError(
            f"`{self.source.name}` returns {describe(a.value)} if this holds and {describe(b.value)} otherwise",
            _to_one_type(a.value, b.value) or "return values of the same types on both paths",
            self.loc(node.test),
        )

    def _merge_flags(self, condition: Value, then: Path, other: Path, join: Join) -> Any:
        """An int1 that tells whether the function has returned: a value here, or a slot of the `if`."""
        kinds = then.exit.kind, other.exit.kind
        if kinds == ("returns", "falls"):
            return condition
        if kinds == ("falls", "returns"):
            return self.b.value(invert, condition)
        sides = []
        for path in (then, other):
            with self.b.at(path.block):
                sides.append(path.exit.flag if path.exit.flag is not None else self.b.constant(path.exit.kind == "returns", dt.int1))
        return join.slot(sides[0], sides[1])

    # Conditions.

    def holds(self, value: Any, node: ast.expr) -> bool:
        """The truth of a constant condition."""
        if isinstance(value, Method):
            raise NotCallableError(f"`{value.name}` is a method, which is always true", f"call it: {ast.unparse(node)}()", self.loc(node))
        return bool(value)

    def truth(self, value: Any, node: ast.expr) -> Value:
        """A run-time condition as a scalar int1."""
        if isinstance(value, Value) and value.shape:
            raise ControlFlowError(
                f"a condition must be one value, got a tile of type {value.type}",
                "choose per element with tl.where(condition, a, b), mask the load or store, or reduce it: tl.max(condition, axis=0)",
                self.loc(node),
            )
        if isinstance(value, Value) and value.type.is_pointer:  # type: ignore[union-attr]
            raise PointerError("a pointer is no condition", "test what it points to, or `ptr is not None`", self.loc(node))
        self.mark(node)
        return self.b.truth(value)

    def if_exp(self, node: ast.IfExp) -> Any:
        """`a if condition else b`; only one side runs."""
        test = self.expr(node.test)
        if not isinstance(test, Value):
            return self.expr(node.body if self.holds(test, node.test) else node.orelse)
        condition = self.truth(test, node.test)
        join = Join(self, Block(), Block())
        sides = []
        for block, side in ((join.then, node.body), (join.other, node.orelse)):
            with self.b.at(block):
                sides.append(self.expr(side))
        self.mark(node)
        try:
            plan = join.merge(*sides)
        except _MismatchError as e:
            raise CarriedTypeError(
                f"the two sides have different types: {describe(e.a)} and {describe(e.b)}",
                _to_one_type(e.a, e.b) or "give both sides one type",
                self.loc(node),
            ) from None
        op = join.finish(condition, self.loc(node))
        return _fill(plan, op.results)


def _to_one_type(a: Any, b: Any) -> str:
    """The remedy for two values of different types, if a cast or a broadcast is one."""
    a, b = (v if isinstance(v, Value) else None for v in (a, b))
    if a is None or b is None:
        return ""
    if a.shape == b.shape and not a.type.is_pointer and not b.type.is_pointer:
        return f"cast one of them: .to(tl.{a.type.dtype})"
    if not a.type.is_pointer and not b.type.is_pointer:
        return "give both one shape: tl.broadcast_to(x, shape), or tl.full(shape, value, dtype) for a constant"
    return ""
