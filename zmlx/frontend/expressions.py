"""Expressions: Python's own values between constants, ops as soon as a tensor takes part."""

from __future__ import annotations

import ast
import types
from collections.abc import Callable
from enum import Enum
from typing import Any

from zmlx.errors import (
    CompilationError,
    DtypeError,
    IndexingError,
    NotCallableError,
    UnknownAttributeError,
    UnsupportedSyntaxError,
)
from zmlx.frontend import constexpr
from zmlx.frontend.constexpr import NUMBERS, describe, is_constant
from zmlx.frontend.frame import Frame
from zmlx.frontend.scope import module_attribute, suggest
from zmlx.frontend.syntax import describe_syntax
from zmlx.intrinsics.builtin import METHODS
from zmlx.ir.core import Value
from zmlx.language import ATTRIBUTES, remedy_for
from zmlx.ops import shape as shape_ops
from zmlx.ops.device import DeviceFunction


class Bound:
    """A method of a tensor: a builtin or library function that gets the tensor as its first argument."""

    __slots__ = ("fn", "value")

    def __init__(self, fn: Any, value: Any) -> None:
        self.fn, self.value = fn, value


class Expressions(Frame):
    """Visitors of expressions."""

    def expr(self, node: ast.expr) -> Any:
        """The value of an expression; errors without a place get this one."""
        try:
            visit = _VISIT.get(type(node))
            if visit is None:
                what, remedy = describe_syntax(node)
                raise UnsupportedSyntaxError(f"{what} is not supported in kernels", remedy)
            return visit(self, node)
        except CompilationError as e:
            raise e.at(self.loc(node)) from None

    def constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, (bytes, complex)):
            raise UnsupportedSyntaxError(f"{type(node.value).__name__} constants are not supported in kernels", "use numbers and strings")
        return node.value

    def name(self, node: ast.Name) -> Any:
        return self.lookup(node)

    def tuple_(self, node: ast.Tuple | ast.List) -> Any:
        return tuple([x for element in node.elts for x in self.spread(element)])

    def spread(self, node: ast.expr) -> tuple[Any, ...]:
        """An element of a tuple or argument list; `*t` gives those of t."""
        if not isinstance(node, ast.Starred):
            return (self.expr(node),)
        value = self.expr(node.value)
        if type(value) is not tuple:
            raise UnsupportedSyntaxError(f"`*` takes a tuple, got {describe(value)}", "name each element", self.loc(node))
        return value

    def joined(self, node: ast.JoinedStr) -> str:
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                value = self.expr(part.value)
                value = value if is_constant(value) else describe(value)
                if part.conversion != -1:
                    value = _CONVERSIONS[chr(part.conversion)](value)
                spec = self.joined(part.format_spec) if isinstance(part.format_spec, ast.JoinedStr) else ""
                parts.append(constexpr.evaluate(format, value, spec) if spec else str(value))
        return "".join(parts)

    # Operators.

    def binary(self, node: ast.BinOp) -> Any:
        return self.operate(type(node.op), self.expr(node.left), self.expr(node.right), node)

    def operate(self, op: type, a: Any, b: Any, node: ast.AST) -> Any:
        """A binary operator applied to values."""
        if op not in constexpr.BINARY:
            raise UnsupportedSyntaxError("`@` is not supported in kernels", "write tl.dot(a, b)")
        if not isinstance(a, Value) and not isinstance(b, Value):
            return constexpr.binary(op, a, b)
        self._computable(a, b)
        self.mark(node)
        return self.b.binary(constexpr.BINARY[op][0], a, b)

    @staticmethod
    def _computable(*operands: Any) -> None:
        for x in operands:
            if not isinstance(x, (Value, *NUMBERS)):
                raise DtypeError(
                    f"{describe(x)} where a tensor or a number is meant",
                    "test it first: `if x is not None:`" if x is None else "compute with tensors and numbers",
                )

    def unary(self, node: ast.UnaryOp) -> Any:
        value = self.expr(node.operand)
        if isinstance(node.op, ast.Not):
            if not isinstance(value, Value):
                return not value
            self.mark(node)
            return self.b.logical_not(value)
        name, fn = constexpr.UNARY[type(node.op)]
        if not isinstance(value, Value):
            return constexpr.evaluate(fn, value)
        self.mark(node)
        return self.b.unary(name, value)

    def logical(self, node: ast.BoolOp) -> Any:
        """`and`, `or`: between constants as Python has it; with a scalar tensor a deciding constant still decides."""
        is_and = isinstance(node.op, ast.And)
        result: Any = is_and
        for operand in node.values:
            value = self.expr(operand)
            if not isinstance(value, Value):
                if bool(value) is not is_and and not (isinstance(result, Value) and result.shape):
                    return value if not isinstance(result, Value) else not is_and
                if not isinstance(result, Value):
                    result = value
                    continue
                value = bool(value)
            if not isinstance(result, Value):
                result = value
                continue
            self.mark(node)
            result = self.b.logical_and(result, value) if is_and else self.b.logical_or(result, value)
        return result

    def compare(self, node: ast.Compare) -> Any:
        left, result = self.expr(node.left), None
        for i, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
            right = self.expr(right_node)
            one = self._compare(op, left, right, node)
            if i == 0:
                result = one
            elif isinstance(one, Value) and isinstance(result, Value):
                self.mark(node)
                result = self.b.logical_and(result, one)
            else:  # one of them is a constant that holds or decides
                result = one if not isinstance(result, Value) else (result if one else False)
            if not isinstance(result, Value) and not result:
                return result
            left = right
        return result

    def _compare(self, op: ast.cmpop, a: Any, b: Any, node: ast.Compare) -> Any:
        kind = type(op)
        if kind in (ast.Is, ast.IsNot):
            if not (a is None or b is None or _same_singleton(a, b)) and not (is_constant(a) and is_constant(b)):
                raise UnsupportedSyntaxError("`is` compares with None", "use == to compare values")
            return (a is b or _same_singleton(a, b)) == (kind is ast.Is)
        if kind in (ast.In, ast.NotIn):
            if not is_constant(a) or not is_constant(b):
                raise UnsupportedSyntaxError(
                    "`in` looks constants up in constants", "compare run-time values one by one: (x == a) | (x == b)"
                )
            return constexpr.evaluate(lambda: (a in b) == (kind is ast.In))
        name, fn = constexpr.COMPARE[kind]
        if isinstance(a, Value) or isinstance(b, Value):
            if (a is None or b is None) and name in ("eq", "ne"):
                return name == "ne"
            self._computable(a, b)
            self.mark(node)
            return self.b.binary(name, a, b)
        if not is_constant(a) or not is_constant(b):
            raise DtypeError(f"{describe(a)} and {describe(b)} cannot be compared", "compare the elements of tuples one by one")
        return constexpr.evaluate(fn, a, b)

    # Attributes and subscripts.

    def attribute(self, node: ast.Attribute, called: bool = False) -> Any:
        base = self.expr(node.value)
        attr = node.attr
        if isinstance(base, Value):
            if attr in METHODS:
                return Bound(METHODS[attr], base)
            if attr in ATTRIBUTES:
                self.mark(node)
                return constexpr.plain(ATTRIBUTES[attr](self.b, base))
            raise UnknownAttributeError(f"a tensor ({base.type}) has no attribute `{attr}`", remedy_for(attr, of_tensor=True))
        if isinstance(base, (types.ModuleType, types.SimpleNamespace)):
            return module_attribute(base, ast.unparse(node.value), attr, called)
        if isinstance(base, type) and issubclass(base, Enum):
            return module_attribute(base, ast.unparse(node.value), attr, called)
        if isinstance(base, NUMBERS) and attr in METHODS:
            return Bound(METHODS[attr], self.b.to_value(base))
        if isinstance(base, NUMBERS) and attr in ATTRIBUTES:  # arguments that are 1 become constants, and still have a dtype
            return constexpr.plain(ATTRIBUTES[attr](self.b, self.b.to_value(base)))
        try:
            return constexpr.attribute(base, attr)
        except UnknownAttributeError as e:
            e.remedy = suggest(attr, constexpr.attribute_names(base)) or "constants have no attributes; compute with them directly"
            raise

    def subscript(self, node: ast.Subscript) -> Any:
        value = self.expr(node.value)
        if isinstance(value, Value):
            return self._index_tile(value, node)
        if isinstance(value, DeviceFunction):
            raise NotCallableError(f"a kernel cannot launch a kernel ({value.name}[…])", f"call it as a function: {value.name}(…)")
        key = self._slice(node.slice) if isinstance(node.slice, ast.Slice) else self.expr(node.slice)
        if isinstance(key, Value):
            raise IndexingError(
                f"the index of a tuple must be known at compile time, got a run-time {key.type}", "use tl.static_range for the index"
            )
        if type(value) is tuple:
            if isinstance(key, int) and not -len(value) <= key < len(value):
                raise IndexingError(f"index {key} is out of range for a tuple of {len(value)}", f"use {-len(value)} … {len(value) - 1}")
            if isinstance(key, (int, slice)):
                return value[key]
        elif isinstance(value, str) and isinstance(key, (int, slice)):
            return constexpr.evaluate(lambda: value[key])
        raise IndexingError(
            f"{describe(value)} cannot be subscripted with {describe(key)}", "subscript tuples with integers, tiles with `:` and None"
        )

    def _slice(self, node: ast.Slice) -> slice:
        parts = [None if p is None else self.expr(p) for p in (node.lower, node.upper, node.step)]
        for p in parts:
            if p is not None and not isinstance(p, int):
                raise IndexingError(f"a slice has constant integer bounds, got {describe(p)}", "use constants")
        return slice(*parts)

    def _index_tile(self, value: Value, node: ast.Subscript) -> Value:
        """x[:, None]: `:` keeps a dimension, None adds one."""
        if value.type.is_pointer and not value.shape:  # type: ignore[union-attr]
            raise IndexingError(
                "a pointer has no elements to name",
                f"load them: tl.load({ast.unparse(node.value)} + {ast.unparse(node.slice)})",
            )
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        keys: list[Any] = []
        for part in parts:
            if isinstance(part, ast.Slice):
                if part.lower is not None or part.upper is not None or part.step is not None:
                    raise IndexingError(
                        "a tile cannot be sliced", "load the part you need with its own offsets, or mask it", self.loc(part)
                    )
                keys.append(":")
                continue
            key = self.expr(part)
            if key is not None and key is not Ellipsis:
                raise IndexingError(
                    f"a tile has no element access: {ast.unparse(node)}",
                    "load the element from memory, reduce (tl.sum(tl.where(offsets == i, x, 0))), or use `:` and None",
                    self.loc(part),
                )
            keys.append("..." if key is Ellipsis else None)
        given, rank = keys.count(":"), len(value.shape)
        if given > rank or keys.count("...") > 1:
            raise IndexingError(f"{ast.unparse(node)} names {given} dimensions of a tensor that has {rank}", "write one `:` a dimension")
        fill = [":"] * (rank - given)
        if "..." in keys:
            at = keys.index("...")
            keys[at : at + 1] = fill
        else:
            keys += fill
        self.mark(node)
        for axis, key in enumerate(keys):
            if key is None:
                value = self.b.value(shape_ops.expand_dims, value, axis=axis) if value.shape else self.b.splat(value, (1,))
        return value


def _same_singleton(a: Any, b: Any) -> bool:
    """`is` between constants: None, booleans, dtypes and functions are one object each; so are equal small constants."""
    return not isinstance(a, Value) and not isinstance(b, Value) and constexpr.same_constant(a, b)


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
_VISIT: dict[type, Callable[[Any, Any], Any]] = {
    ast.Constant: Expressions.constant, ast.Name: Expressions.name, ast.Tuple: Expressions.tuple_, ast.List: Expressions.tuple_,
    ast.JoinedStr: Expressions.joined, ast.BinOp: Expressions.binary, ast.UnaryOp: Expressions.unary, ast.BoolOp: Expressions.logical,
    ast.Compare: Expressions.compare, ast.Attribute: Expressions.attribute, ast.Subscript: Expressions.subscript,
    ast.IfExp: lambda self, node: self.if_exp(node), ast.Call: lambda self, node: self.call(node),
}  # fmt: skip
