"""`for` and `while`. Names that a loop assigns and that exist before it are carried; they keep their exact type."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import (
    CallError,
    CarriedTypeError,
    CompilationError,
    ConstexprError,
    ControlFlowError,
    DtypeError,
    UndefinedNameError,
    UnsupportedSyntaxError,
)
from zmlx.frontend.constexpr import NUMBERS, describe, leaves, plain, same_constant
from zmlx.frontend.frame import MISSING, Frame, Names, relabel
from zmlx.intrinsics import markers
from zmlx.ir.core import Block, Op, Value
from zmlx.ops import arith, control
from zmlx.ops.coerce import literal_dtype
from zmlx.ops.typing import promote

MAX_UNROLL = 4096
RANGE_POSITIONS = ("arg1", "arg2", "step", "num_stages", "loop_unroll_factor")
RANGE_OPTIONS = frozenset({"num_stages", "loop_unroll_factor", "disallow_acc_multi_buffer", "flatten", "warp_specialize", "disable_licm"})


@dataclass
class Carried:
    """What a loop carries: for each name its value before (as tensors); the leaves are the loop's operands."""

    before: Names
    trees: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    indices: list[str] = field(default_factory=list)  # of inner loops: without a value at the start of an iteration

    def inits(self) -> list[Value]:
        return [v for tree in self.trees.values() for v in _values(tree)]


def _values(tree: Any) -> list[Value]:
    return [v for v in leaves(tree) if isinstance(v, Value)]


class Loops(Frame):
    """Visitors of loops."""

    def for_(self, node: ast.For) -> None:
        if node.orelse:
            raise UnsupportedSyntaxError(
                "`else` after a loop is not supported", "write its statements after the loop", self.loc(node.orelse[0])
            )
        try:
            kind, items = self._iterable(node.iter)
        except CompilationError as e:
            raise e.at(self.loc(node.iter)) from None
        if kind == "each":
            self._unrolled(node, items)
        else:
            self._runtime_for(node, *items)

    def _iterable(self, node: ast.expr) -> tuple[str, Any]:
        """("each", constants to unroll over) or ("range", (bounds, num_stages))."""
        callee: Any = None
        if isinstance(node, ast.Call):
            callee = self.callee(node.func)  # type: ignore[attr-defined]
        if not any(callee is r for r in (builtins.range, markers.range, markers.static_range)):
            value = self.expr(node)
            if type(value) is tuple:
                return "each", value
            raise ControlFlowError(
                f"a loop runs over a range or a tuple, not over {describe(value)}", "for i in range(n): …", self.loc(node)
            )
        assert isinstance(node, ast.Call)
        given, options = self._range_arguments(node, callee)
        if callee is not markers.static_range:
            return "range", (given, options.get("num_stages"))
        for value, arg in given:
            if isinstance(value, Value):
                raise ConstexprError(
                    f"a bound of tl.static_range must be known at compile time, got a run-time {value.type}",
                    "use range(...), which loops at run time, or make it a tl.constexpr parameter",
                    self.loc(arg),
                )
            _integer(value, self, arg)
        lo, hi, step = self._three([v for v, _ in given])
        if step == 0:
            raise ConstexprError("the step of a range is 0", "use a step other than 0", self.loc(given[2][1]))
        indices = builtins.range(lo, hi, step)
        if len(indices) > MAX_UNROLL:
            raise ConstexprError(
                f"tl.static_range would unroll {len(indices)} iterations; the most is {MAX_UNROLL}",
                "use range(...), which loops at run time",
                self.loc(node),
            )
        return "each", tuple(indices)

    def _range_arguments(self, node: ast.Call, callee: Any) -> tuple[list[tuple[Any, ast.expr]], dict[str, Any]]:
        """(start, stop, step) as given, with their nodes, and the options."""
        python = callee is builtins.range
        name = "range" if python else f"tl.{callee.__name__}"
        signature = "range(stop) or range(start, stop[, step])" if python else f"{name}(start, stop=None, step=None, num_stages=None)"
        if callee is markers.static_range:
            signature = f"{name}(start, stop=None, step=None)"
        values: dict[str, tuple[Any, ast.expr]] = {}
        for position, arg in zip(RANGE_POSITIONS[: 3 if python or callee is markers.static_range else 5], node.args, strict=False):
            values[position] = (self.expr(arg), arg)
        if len(node.args) > len(values):
            raise CallError(
                f"{name} takes at most {len(values)} positional arguments, got {len(node.args)}", f"its signature is {signature}"
            )
        options: dict[str, Any] = {}
        for keyword in node.keywords:
            key = keyword.arg or "**"
            if python or key not in RANGE_OPTIONS | {"arg1", "arg2", "step"} or key in values:
                raise CallError(f"{name} has no keyword argument `{key}`", f"its signature is {signature}", self.loc(keyword))
            values[key] = (self.expr(keyword.value), keyword.value)
        for key in RANGE_OPTIONS & values.keys():
            option = values.pop(key)
            if isinstance(option[0], Value):
                raise ConstexprError(
                    f"{key} must be known at compile time", "pass a Python integer or a tl.constexpr parameter", self.loc(option[1])
                )
            options[key] = option[0]
        if "arg1" not in values:
            raise CallError(f"{name} takes at least one argument", f"its signature is {signature}")
        if "step" in values and values["step"][0] is None:
            del values["step"]
        if "arg2" not in values or values["arg2"][0] is None:
            zero = (0, values["arg1"][1])
            given = [zero, values["arg1"], *([values["step"]] if "step" in values else [])]
        else:
            given = [values[k] for k in ("arg1", "arg2", "step") if k in values]
        return given, options

    @staticmethod
    def _three(values: list[Any]) -> tuple[Any, Any, Any]:
        return values[0], values[1], values[2] if len(values) == 3 else 1

    def _unrolled(self, node: ast.For, items: tuple[Any, ...]) -> None:
        self.loops += 1
        for item in items:
            self.bind(node.target, item, node.iter, constant=True)  # type: ignore[attr-defined]
            self.body(node.body, False)
        self.loops -= 1

    # Loops at run time.

    def _runtime_for(self, node: ast.For, given: list[tuple[Any, ast.expr]], num_stages: Any) -> None:
        if not isinstance(node.target, ast.Name):
            raise UnsupportedSyntaxError("a range yields one index", "for i in range(n): …", self.loc(node.target))
        index = node.target.id
        self.mark(node.iter)
        bounds, negative = self._bounds(given)
        lo, hi, step = bounds
        carried = self._carry(node, node.body, index)
        block = Block([lo.type, *[v.type for v in carried.inits()]], [index])
        with self.region(block, self._inside(carried, block.args[1:])):
            position = block.args[0]
            if negative:  # counts up over the reversed range
                position.name = ""
                position = self.b.value(arith.sub, self.b.value(arith.add, negative, lo), position)
            self.assign(index, position, node.target)
            self._loop_body(node)
            end = self.names
            nexts = self._nexts(node, carried, end, [block])
            self.mark(node)
            self.b.create(control.yield_, nexts)
        self.mark(node.iter)
        attrs = {"num_stages": num_stages} if num_stages is not None else {}
        op = self.b.create(control.for_, [lo, hi, step, *carried.inits()], attrs, [block])
        self._after(node, carried, op, end, index)

    def while_(self, node: ast.While) -> None:
        if node.orelse:
            raise UnsupportedSyntaxError(
                "`else` after a loop is not supported", "write its statements after the loop", self.loc(node.orelse[0])
            )
        carried = self._carry(node, node.body)
        types = [v.type for v in carried.inits()]
        head, block = Block(types), Block(types)
        with self.region(head, self._inside(carried, head.args)):
            test = self.expr(node.test)
            if isinstance(test, Value):
                test = self.truth(test, node.test)
                self.b.create(control.yield_, [test])
        if not isinstance(test, Value):
            if not test:
                return
            raise ControlFlowError(
                "this loop never ends: its condition is a constant that holds",
                "loop while a value that the body changes fulfils a condition; a constexpr cannot change in a run-time loop",
                self.loc(node.test),
            )
        with self.region(block, self._inside(carried, block.args)):
            self._loop_body(node)
            end = self.names
            nexts = self._nexts(node, carried, end, [head, block])
            self.mark(node)
            self.b.create(control.yield_, nexts)
        self.mark(node.test)
        op = self.b.create(control.while_, carried.inits(), regions=[head, block])
        self._after(node, carried, op, end)

    def _loop_body(self, node: ast.For | ast.While) -> None:
        self.loops += 1
        self.body(node.body, False)
        self.loops -= 1

    def _bounds(self, given: list[tuple[Any, ast.expr]]) -> tuple[tuple[Value, Value, Value], Value | None]:
        """lo, hi, step in one integer type with a positive step; and the start, if the range counts down."""
        values = [v for v, _ in given]
        dtype = dt.int32
        for value, arg in given:
            if isinstance(value, Value):
                if value.shape or value.type.is_pointer or not value.type.dtype.is_int:  # type: ignore[union-attr]
                    raise DtypeError(
                        f"a bound of a range must be an integer scalar, got {value.type}",
                        "cast or reduce it to one integer: n.to(tl.int32)",
                        self.loc(arg),
                    )
                dtype = promote(dtype, value.type.dtype)  # type: ignore[union-attr]
            else:
                natural = literal_dtype(_integer(value, self, arg))
                dtype = promote(dtype, dt.int64 if natural is dt.uint32 else natural)
        if not dtype.is_signed and dtype.bits == 32 and any(not isinstance(v, Value) and v < 0 for v in values):
            dtype = dt.int64
        lo, hi, step = self._three(values)
        if not isinstance(step, Value) and step == 0:
            raise ConstexprError("the step of a range is 0", "use a step other than 0", self.loc(given[2][1]))

        def scalar(x: Any) -> Value:
            return self.b.cast(x, dtype) if isinstance(x, Value) else self.b.constant(x, dtype)

        if isinstance(step, Value) or step > 0:
            return (scalar(lo), scalar(hi), scalar(step)), None
        start = scalar(lo)
        return (scalar(hi), start, scalar(-step)), start

    def _carry(self, node: ast.For | ast.While, body: list[ast.stmt], index: str = "") -> Carried:
        carried = Carried(self.names.copy())
        for name, kind in self.source.names(body).items():
            value = self.names.values.get(name, MISSING)
            if name == index or value is MISSING:
                continue
            if kind == "index":
                carried.indices.append(name)
                continue
            self.mark(self.names.nodes.get(name, node))
            if kind == "constexpr" and not _values(value):
                carried.constants[name] = value
            else:
                carried.trees[name] = self.tensors(value)
        self.mark(node)
        return carried

    def _inside(self, carried: Carried, args: list[Value]) -> Names:
        """The names at the start of the body."""
        names = self.names.copy()
        rest = iter(args)
        for name in carried.indices:
            names.drop(name, partial(self._index_only, name, names.nodes[name]))
        for name, tree in carried.trees.items():
            names.values[name] = relabel(tree, rest)
            for leaf in _values(names.values[name]):
                leaf.name = name
        return names

    def _nexts(self, node: ast.For | ast.While, carried: Carried, end: Names, blocks: list[Block]) -> list[Value]:
        """The values for the next iteration. Names that change their type are no longer carried if nothing reads them."""
        nexts: list[Value] = []
        used: set[Value] | None = None
        skip = 1 if isinstance(node, ast.For) else 0
        for name in list(carried.trees):
            tree = carried.trees[name]
            value = end.values.get(name, MISSING)
            adapted = self._adapt(tree, value)
            if adapted is not None:
                nexts += _values(adapted)
                continue
            if used is None:
                used = {v for block in blocks for op in block.walk() for v in op.operands}
            start = skip + len(nexts)
            stop = start + len(_values(tree))
            why = (
                end.missing.get(name) if value is MISSING else partial(self._changed, node, carried, name, tree, value, end.nodes.get(name))
            )
            if why is None or not _values(tree) or any(a in used for block in blocks for a in block.args[start:stop]):
                raise why() if why is not None else self._changed(node, carried, name, tree, None, None)
            for block in blocks:
                del block.args[start:stop]
            del carried.trees[name]
            end.drop(name, why)
        for name, constant in carried.constants.items():
            now = end.values.get(name, MISSING)
            if now is MISSING or not _equal_constants(constant, now):
                raise ConstexprError(
                    f"the constexpr `{name}` is {describe(constant)} before the loop and {describe(now)} after an iteration",
                    "unroll with tl.static_range, or make it a tensor by assigning it without `: tl.constexpr`",
                    self.loc(end.nodes.get(name, node)),
                )
        return nexts

    def _adapt(self, before: Any, after: Any) -> Any:
        """The value after an iteration with the types of the one before, or None if they differ."""
        if type(before) is tuple:
            if type(after) is not tuple or len(before) != len(after):
                return None
            parts = tuple(map(self._adapt, before, after))
            return None if any(p is None and q is not None for p, q in zip(parts, after, strict=True)) else parts
        if not isinstance(before, Value):
            return after if not isinstance(after, Value) and _equal_constants(before, after) else None
        if isinstance(after, NUMBERS) and not before.shape and not before.type.is_pointer:  # type: ignore[union-attr]
            after = self.b.to_value(after, before.type.dtype)  # type: ignore[union-attr]
        return after if isinstance(after, Value) and after.type == before.type else None

    def _changed(
        self, node: ast.For | ast.While, carried: Carried, name: str, before: Any, after: Any, where: ast.AST | None
    ) -> CompilationError:
        was = carried.before.nodes.get(name)
        remedy = f"give `{name}` one type: choose it before the loop ({self.line(was)})"
        a, b = before, after
        if isinstance(a, Value) and isinstance(b, Value) and not (a.type.is_pointer or b.type.is_pointer):  # type: ignore[union-attr]
            old, new = a.type.dtype, b.type.dtype  # type: ignore[union-attr]
            if a.shape == b.shape:
                start = f"tl.full({a.shape}, …, tl.{new})" if a.shape else f"{name}.to(tl.{new})"
                remedy = f"cast in the loop, `{name} = (…).to(tl.{old})`, or start with that type, {start} ({self.line(was)})"
            else:
                remedy = f"start with the shape it has in the loop: tl.zeros({b.shape}, tl.{new}) ({self.line(was)})"
        return CarriedTypeError(
            f"`{name}` is {describe(before)} before the loop of {self.line(node)} and {describe(after)} after an iteration; "
            "a name that lives through a loop keeps its type",
            remedy,
            self.loc(where) if where is not None else self.loc(node),
        )

    def _after(self, node: ast.For | ast.While, carried: Carried, op: Op, end: Names, index: str = "") -> None:
        """The names behind the loop."""
        results: Iterator[Value] = iter(op.results)
        names = self.names
        for name, tree in carried.trees.items():
            where = end.nodes.get(name, node)
            value = relabel(tree, results)
            self.assign(name, value, where)
        for name in self.source.names(node.body):
            if name in carried.trees or name in carried.constants or name == index:
                continue
            why = end.missing.get(name)
            names.drop(name, why or partial(self._inside_only, name, node, end.nodes.get(name)))
        if index:
            names.drop(index, partial(self._index_only, index, node))

    def _inside_only(self, name: str, node: ast.AST, where: ast.AST | None) -> CompilationError:
        return UndefinedNameError(
            f"`{name}` may have no value here: it is assigned ({self.line(where)}) only inside the loop of {self.line(node)}, "
            "which may run zero times",
            f"assign `{name}` before the loop, with the same type",
        )

    def _index_only(self, name: str, node: ast.AST) -> CompilationError:
        return UndefinedNameError(
            f"`{name}` is the index of the loop of {self.line(node)} and has no value after it",
            "assign it to another name inside the loop, one that has a value before",
        )


def _equal_constants(a: Any, b: Any) -> bool:
    xs, ys = list(leaves(a)), list(leaves(b))
    return len(xs) == len(ys) and all(not isinstance(y, Value) and same_constant(x, y) for x, y in zip(xs, ys, strict=True))


def _integer(value: Any, frame: Frame, node: ast.expr) -> int:
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConstexprError(
            f"a bound of a range must be an integer, got {describe(value)}", "use `//` to divide integers", frame.loc(node)
        )
    return value
