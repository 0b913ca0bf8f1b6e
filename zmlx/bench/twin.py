"""The same kernel source under Triton: a module text in which `@zmlx.jit` is `@triton.jit` and `tl` is `triton.language`.

The text holds the kernel and every jit function that it reaches. `zmlx.bench.twin_launch` launches it.
"""

from __future__ import annotations

import ast
import builtins
import copy
import importlib.util
import math
import sys
import tempfile
import types
from enum import Enum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import zmlx
from zmlx import language
from zmlx.dtypes import DType
from zmlx.errors import ZmlxError
from zmlx.frontend.source import JitCallable
from zmlx.intrinsics.markers import constexpr

HEADER = "import triton\nimport triton.language as tl\n"


class TwinError(ZmlxError):
    """A kernel that Triton cannot have: it names something that Triton lacks."""


def text(root: JitCallable) -> str:
    """The module text of a kernel's twin. Raises TwinError for a reference that has no counterpart in Triton."""
    return Writer(root).text


def name(root: JitCallable) -> str:
    """What the kernel is called in its twin's module."""
    return root.__name__


@cache
def load(root: JitCallable) -> Any:
    """The Triton function. Raises ImportError without Triton, TwinError as `text` does."""
    import triton  # noqa: F401  # a missing Triton is told here, not from a file in a temporary folder

    path = Path(_folder().name) / f"{root.__module__.replace('.', '_')}_{root.__name__}_{root.source_hash[:12]}.py"
    path.write_text(text(root))
    spec = importlib.util.spec_from_file_location(f"zmlx_twin_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Triton looks a function's module up by its name
    spec.loader.exec_module(module)
    return getattr(module, name(root))


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the texts lie while the process lives: Triton reads a function's source from its file."""
    return tempfile.TemporaryDirectory(prefix="zmlx-twin-")


class Writer:
    """Collects the functions that a kernel reaches, and the module-level names that they need."""

    def __init__(self, root: JitCallable) -> None:
        self.names: dict[Any, str] = {}  # function -> its name in the module
        self.globals: dict[str, str] = {}  # module-level name -> the expression behind it
        self.functions: list[str] = []
        self.function(root)
        lines = [f"{name} = {value}\n" for name, value in self.globals.items()]
        self.text = HEADER + "".join(lines) + "\n\n" + "\n\n".join(self.functions) + "\n"

    def function(self, fn: JitCallable) -> str:
        """The name of a function in the module; its text is written when it is first asked for."""
        if fn.fn in self.names:
            return self.names[fn.fn]
        own = fn.__name__
        while own in self.names.values() or own in self.globals:
            own += "_"
        self.names[fn.fn] = own
        src = fn.source
        tree = copy.deepcopy(src.tree)
        tree.name, tree.returns = own, None
        tree.decorator_list = [_expression("triton.jit")]
        for arg in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs):
            arg.annotation = _expression("tl.constexpr") if arg.arg in src.constexprs else None
        tree = _References(self, src.scope, frozenset(src.locals)).visit(tree)
        self.functions.append(ast.unparse(ast.fix_missing_locations(tree)))
        return own

    def reference(self, value: Any, written: str) -> ast.expr:
        """What stands for a value that a kernel refers to as `written`."""
        if isinstance(value, constexpr):
            value = value.value
        if isinstance(value, JitCallable):
            return _expression(self.function(value))
        if isinstance(value, (bool, int, float, str, tuple)) or value is None:
            return _expression(literal(value))
        if isinstance(value, DType):
            return _expression(f"tl.{value.name}")
        raise TwinError(f"`{written}` ({type(value).__name__}) has no counterpart in Triton")

    def module(self, value: types.ModuleType, alias: str) -> ast.expr:
        """The counterpart of a module."""
        of = {language.__name__: "tl", zmlx.__name__: "triton"}
        if value.__name__ not in of:
            raise TwinError(f"the module `{alias}` ({value.__name__}) has no counterpart in Triton")
        return _expression(of[value.__name__])


class _References(ast.NodeTransformer):
    """Rewrites what a function refers to outside of itself."""

    def __init__(self, writer: Writer, scope: Any, local: frozenset[str]) -> None:
        self.writer, self.scope, self.local = writer, scope, local

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        path = _dotted(node)
        if path is None or path[0] in self.local or isinstance(node.ctx, ast.Store):
            return self.generic_visit(node)
        value = self.scope.find(path[0])
        for k, part in enumerate(path[1:], 1):
            if isinstance(value, types.ModuleType) and value.__name__ in (language.__name__, zmlx.__name__):
                base = self.writer.module(value, ".".join(path[:k]))
                return _attributes(base, path[k:])
            if not isinstance(value, (types.ModuleType, types.SimpleNamespace)) and not (
                isinstance(value, type) and issubclass(value, Enum)
            ):
                return self.generic_visit(node)
            value = getattr(value, part)
        return self.writer.reference(value, ".".join(path))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.local or isinstance(node.ctx, ast.Store):
            return node
        value = self.scope.find(node.id, self)
        if value is getattr(builtins, node.id, self):
            return node
        if isinstance(value, types.ModuleType):
            return self.writer.module(value, node.id)
        if not isinstance(value, JitCallable) and getattr(language, node.id, None) is value:  # from zmlx.language import load
            return _expression(f"tl.{node.id}")
        if isinstance(value, constexpr) and isinstance(value.value, (bool, int, float, str)):  # a named constant stays readable
            self.writer.globals[node.id] = f"tl.constexpr({literal(value.value)})"
            return node
        return self.writer.reference(value, node.id)


def literal(value: Any) -> str:
    """Python text of a constant."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        return "(" + "".join(f"{literal(v)}, " for v in value) + ")"
    return repr(value)


def _dotted(node: ast.expr) -> list[str] | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def _attributes(base: ast.expr, parts: list[str]) -> ast.expr:
    for part in parts:
        base = ast.Attribute(base, part, ast.Load())
    return base


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body
