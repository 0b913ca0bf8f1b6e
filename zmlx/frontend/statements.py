"""Statements: assignment, assertion, return, and blocks of them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, NoReturn

from zmlx.errors import (
    CompilationError,
    ConstexprError,
    ControlFlowError,
    IndexingError,
    StaticAssertError,
    UnsupportedSyntaxError,
)
from zmlx.frontend.branches import Branches
from zmlx.frontend.calls import Calls
from zmlx.frontend.constexpr import describe, is_constant
from zmlx.frontend.frame import FALLS, Exit
from zmlx.frontend.loops import Loops
from zmlx.frontend.syntax import describe_syntax, is_constexpr_annotation
from zmlx.intrinsics import BUILTINS
from zmlx.ir.core import Value


class Statements(Calls, Branches, Loops):
    """Visitors of statements."""

    def body(self, stmts: list[ast.stmt], tail: bool) -> Exit:
        """Traces statements in order. `tail`: the function ends behind them, so falling through returns None."""
        for i, stmt in enumerate(stmts):
            kind = type(stmt)
            try:
                if kind is ast.If:
                    exit, traced = self.if_(stmt, stmts[i + 1 :], tail)  # type: ignore[arg-type]
                    if traced or exit.kind != "falls":
                        return exit
                elif kind is ast.Return:
                    return self.return_(stmt)  # type: ignore[arg-type]
                else:
                    visit = _VISIT.get(kind)
                    if visit is None:
                        what, remedy = describe_syntax(stmt)
                        raise UnsupportedSyntaxError(f"{what} is not supported in kernels", remedy, self.header(stmt))
                    visit(self, stmt)
            except CompilationError as e:
                raise e.at(self.loc(stmt)) from None
        return Exit("returns") if tail else FALLS

    def return_(self, node: ast.Return) -> Exit:
        if self.loops:
            raise UnsupportedSyntaxError(
                "return inside a loop is not supported", "assign the result to a name that has a value before the loop, and return after it"
            )
        value = None if node.value is None else self.expr(node.value)
        if self.is_kernel and value is not None:
            assert node.value is not None
            raise ControlFlowError("a kernel returns nothing", "store the result: tl.store(out_ptr + offsets, value)", self.loc(node.value))
        return Exit("returns", value)

    # Assignment.

    def assign_(self, node: ast.Assign) -> None:
        value = self.expr(node.value)
        for target in node.targets:
            self.bind(target, value, node)

    def aug_assign(self, node: ast.AugAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self._refuse_target(node.target)
        try:
            before = self.lookup(node.target)
        except CompilationError as e:
            raise e.at(self.loc(node.target)) from None
        self.bind(node.target, self.operate(type(node.op), before, self.expr(node.value), node), node)

    def ann_assign(self, node: ast.AnnAssign) -> None:
        if node.value is None:
            return
        value = self.expr(node.value)
        if not is_constexpr_annotation(node.annotation):
            self.bind(node.target, value, node)
            return
        if not is_constant(value):
            raise ConstexprError(
                f"a tl.constexpr must be known at compile time, got a run-time {describe(value)}",
                "drop the annotation, or compute it from constants only",
                self.loc(node.value),
            )
        if not isinstance(node.target, ast.Name):
            self._refuse_target(node.target)
        self.assign(node.target.id, value, node)

    def bind(self, target: ast.expr, value: Any, node: ast.AST, constant: bool = False) -> None:
        """Assigns to a name or to a tuple of targets; numbers become tensors unless `constant`."""
        if isinstance(target, ast.Name):
            if not constant:
                self.mark(node)
                value = self.tensors(value)
            self.assign(target.id, value, node)
        elif isinstance(target, (ast.Tuple, ast.List)):
            if type(value) is not tuple:
                raise ControlFlowError(
                    f"{len(target.elts)} names on the left, one value ({describe(value)}) on the right",
                    "return or write a tuple of as many values",
                    self.loc(target),
                )
            if len(value) != len(target.elts):
                raise ControlFlowError(
                    f"{len(target.elts)} names on the left, {len(value)} values on the right",
                    "make both sides equally long",
                    self.loc(target),
                )
            for element, part in zip(target.elts, value, strict=True):
                self.bind(element, part, node, constant)
        else:
            self._refuse_target(target)

    def _refuse_target(self, target: ast.expr) -> NoReturn:
        if isinstance(target, ast.Subscript):
            raise IndexingError(
                "tiles and tuples cannot be assigned to in place",
                "make a new value: x = tl.where(offsets == i, value, x)",
                self.loc(target),
            )
        if isinstance(target, ast.Starred):
            raise UnsupportedSyntaxError("a starred target is not supported", "name each element", self.loc(target))
        raise UnsupportedSyntaxError("only names can be assigned to", "assign to a name", self.loc(target))

    # The rest.

    def expression(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expr(node.value)

    def assert_(self, node: ast.Assert) -> None:
        test = self.expr(node.test)
        message = "" if node.msg is None else self.expr(node.msg)
        if not isinstance(message, str):
            raise ConstexprError(
                f"the message of an assertion is a string, got {describe(message)}",
                "write a string or an f-string",
                self.loc(node.msg or node),
            )
        if isinstance(test, Value):
            self.mark(node)
            BUILTINS["device_assert"].fn(self.b, test, message or f"assert {ast.unparse(node.test)}")
        elif not test:
            raise StaticAssertError(
                f"the assertion does not hold{': ' + message if message else ''}",
                f"launch with constants for which `{ast.unparse(node.test)}` holds",
                self.loc(node.test),
            )


_VISIT: dict[type, Callable[[Any, Any], None]] = {
    ast.Assign: Statements.assign_, ast.AugAssign: Statements.aug_assign, ast.AnnAssign: Statements.ann_assign,
    ast.Expr: Statements.expression, ast.Assert: Statements.assert_, ast.For: Statements.for_, ast.While: Statements.while_,
    ast.Pass: lambda self, node: None,
}  # fmt: skip
