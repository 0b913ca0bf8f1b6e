"""Calls: builtins of the language, device functions (inlined), methods, Python builtins and functions of constants."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from zmlx import language
from zmlx.dtypes import DType
from zmlx.errors import CallError, CompilationError, ConstexprError, NotCallableError
from zmlx.frontend import constexpr
from zmlx.frontend.constexpr import PYTHON_BUILTINS, Method, describe, is_constant
from zmlx.frontend.expressions import Bound, Expressions
from zmlx.frontend.inline import inline
from zmlx.frontend.scope import suggest
from zmlx.intrinsics import BUILTINS, markers
from zmlx.intrinsics.builtin import Builtin
from zmlx.ir.core import Value
from zmlx.ops.device import DeviceFunction


class Calls(Expressions):
    """Visitors of calls."""

    def callee(self, node: ast.expr) -> Any:
        """What is called; unlike any other use of a name, this admits plain Python functions, to say more about them."""
        if isinstance(node, ast.Name):
            try:
                return self.lookup(node, called=True)
            except CompilationError as e:
                raise e.at(self.loc(node)) from None
        if isinstance(node, ast.Attribute):
            try:
                return self.attribute(node, called=True)
            except CompilationError as e:
                raise e.at(self.loc(node)) from None
        return self.expr(node)

    def call(self, node: ast.Call) -> Any:
        callee = self.callee(node.func)
        args = [x for arg in node.args for x in self.spread(arg)]
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise CallError("`**` is not supported in calls", "name each argument", self.loc(keyword.value))
            kwargs[keyword.arg] = self.expr(keyword.value)
        self.mark(node)
        return self.invoke(callee, args, kwargs, node)

    def invoke(self, callee: Any, args: list[Any], kwargs: dict[str, Any], node: ast.Call) -> Any:
        """Calls with evaluated arguments."""
        if isinstance(callee, Bound):
            callee, args = callee.fn, [callee.value, *args]
        if isinstance(callee, DeviceFunction):
            return inline(self, callee, args, kwargs, node)
        if isinstance(callee, Builtin):
            return self._builtin(callee, args, kwargs, node)
        if isinstance(callee, Method):
            return self._constant_call(callee.name, callee.fn, args, kwargs)
        if callee is markers.constexpr:
            return self._constant_call("tl.constexpr", lambda value: value, args, kwargs)
        name = ast.unparse(node.func)
        if callee in (markers.range, markers.static_range) or callee is range:
            raise NotCallableError(f"`{name}(…)` stands only in the header of a loop", f"for i in {name}(n): …", self.loc(node.func))
        if isinstance(callee, (type(len), type)):
            python = getattr(callee, "__name__", "")
            if python in PYTHON_BUILTINS and getattr(callee, "__module__", "") == "builtins":
                return self._python_builtin(python, args, kwargs, node)
        if isinstance(callee, DType):  # tl.float32(0) is a cast
            if len(args) != 1 or kwargs:
                raise CallError(f"{name} takes one value, got {len(args) + len(kwargs)}", f"{name}(x) is x.to({name})")
            return self._builtin(BUILTINS["cast"], [args[0], callee], {}, node)
        module = getattr(callee, "__module__", None) or ""
        if module == "math":
            return self._constant_call(name, callee, args, kwargs)
        if module.partition(".")[0] == "zmlx" and inspect.isfunction(callee):  # zmlx.cdiv: the same as tl.cdiv, or a function of constants
            same = getattr(language, callee.__name__, None)
            return self._builtin(same, args, kwargs, node) if isinstance(same, Builtin) else self._constant_call(name, callee, args, kwargs)
        raise self._not_callable(name, callee, node)

    def _not_callable(self, name: str, callee: Any, node: ast.Call) -> CompilationError:
        loc = self.loc(node.func)
        if isinstance(callee, Value):
            return NotCallableError(
                f"`{name}` is a tensor ({callee.type}), not a function", "check the name; tl functions start with `tl.`", loc
            )
        if name == "isinstance":
            return NotCallableError(
                "isinstance() has no meaning in a kernel", "test dtypes (x.dtype == tl.float32) or None (x is None)", loc
            )
        if name in ("sum", "any", "all", "sorted", "zip", "map", "enumerate", "list", "dict", "set", "type", "getattr", "hasattr"):
            near = {
                "sum": "tl.sum(x, axis=0)",
                "any": "tl.max(x, axis=0)",
                "all": "tl.min(x, axis=0)",
                "list": "a tuple",
                "sorted": "tl.sort(x)",
            }
            return NotCallableError(f"Python's {name}() is not part of the kernel language", f"use {near.get(name, 'tl functions')}", loc)
        if callable(callee):
            module = getattr(callee, "__module__", "") or ""
            near_tl = getattr(callee, "__name__", "")
            if module.partition(".")[0] in ("numpy", "mlx", "math", "builtins") or not inspect.isfunction(callee):
                remedy = (
                    f"use tl.{near_tl}"
                    if hasattr(language, near_tl)
                    else "use tl functions on tensors, or compute it outside and pass the result"
                )
                return NotCallableError(f"`{name}` is not part of the kernel language", remedy, loc)
            return NotCallableError(f"`{name}` is a plain Python function, which a kernel cannot call", "decorate it with @zmlx.jit", loc)
        return NotCallableError(f"{describe(callee)} cannot be called", "call tl functions and @zmlx.jit functions", loc)

    def _builtin(self, fn: Builtin, args: Sequence[Any], kwargs: dict[str, Any], node: ast.Call) -> Any:
        if kwargs:
            self.misspelt(f"tl.{fn.name}", fn.signature, fn.spelling, kwargs, node)
        result = fn.invoke(self.b, args, kwargs)
        self.b.loc = self.loc(node)
        return tuple(result) if isinstance(result, list) else constexpr.plain(result)

    def misspelt(
        self, name: str, signature: inspect.Signature, spelling: Callable[[], str], kwargs: dict[str, Any], node: ast.Call
    ) -> None:
        """Raises for the first keyword argument that a signature lacks, with the nearest that it has."""
        known = signature.parameters
        if kwargs and not kwargs.keys() <= known.keys() and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            bad = next(k for k in node.keywords if k.arg not in known)
            near = suggest(bad.arg or "", list(known))
            remedy = f"{near} The signature is {spelling()}" if near else f"the signature is {spelling()}"
            raise CallError(f"{name} has no parameter `{bad.arg}`", remedy, self.loc(bad))

    def _constant_call(self, name: str, fn: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        for value in (*args, *kwargs.values()):
            if not is_constant(value):
                short = name.rpartition(".")[2]
                raise ConstexprError(
                    f"{name} computes with constants, got a run-time {describe(value)}",
                    f"use tl.{short}" if hasattr(language, short) and short != "constexpr" else "make the argument a tl.constexpr",
                )
        return constexpr.evaluate(fn, *args, **kwargs)

    def _python_builtin(self, name: str, args: list[Any], kwargs: dict[str, Any], node: ast.Call) -> Any:
        fn = PYTHON_BUILTINS[name]
        if fn is not None:
            try:
                return fn(*args, **kwargs)
            except TypeError as e:
                raise CallError(f"{name}(): {e}", "check the arguments") from None
        if name == "print":
            return self._print(args, kwargs)
        if kwargs:
            raise CallError(f"{name}() takes no keyword arguments in a kernel", f"call {name}(a, b)")
        if name in ("min", "max") and len(args) == 1 and type(args[0]) is tuple:
            args = list(args[0])
        if all(is_constant(a) for a in args) and args:
            return constexpr.evaluate(getattr(builtins, name), *args)
        if name == "abs":
            return self._builtin(BUILTINS["abs"], args, {}, node)
        if len(args) < 2:
            raise CallError(f"{name}() of one tensor", f"reduce it with tl.{name}(x, axis=0)")
        result = args[0]
        for arg in args[1:]:
            result = self._builtin(BUILTINS["minimum" if name == "min" else "maximum"], [result, arg], {}, node)
        return result

    def _print(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        if kwargs:
            raise CallError("print() takes no keyword arguments in a kernel", "print('text', x) is tl.device_print('text', x)")
        prefix = args.pop(0) if args and isinstance(args[0], str) else ""
        BUILTINS["device_print"].fn(self.b, prefix, *args)
