"""The names a kernel sees outside of itself, and which of them it may read.

A trace is cached by the source and the arguments, so whatever else it reads must not change: only constants marked as
such, modules, jit functions, dtypes and builtins. Free variables of nested functions follow the same rule.
"""

from __future__ import annotations

import builtins
import difflib
import types
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import Any

from zmlx import language
from zmlx.dtypes import DType
from zmlx.errors import CompilationError, GlobalNameError, UndefinedNameError, UnknownAttributeError
from zmlx.frontend.constexpr import PYTHON_BUILTINS, plain
from zmlx.intrinsics.builtin import Builtin
from zmlx.intrinsics.markers import PropagateNan, constexpr
from zmlx.ir.types import Pointer
from zmlx.ops.device import DeviceFunction

NUMBER_MODULES = frozenset({"math", "numpy"})  # their numbers are constants of nature
_MISSING = object()


class Scope:
    """Free variables, then globals, then Python's builtins."""

    def __init__(self, fn: types.FunctionType) -> None:
        self.fn = fn
        self.globals = fn.__globals__
        self.free = dict(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True))

    def find(self, name: str, default: Any = None) -> Any:
        """The object behind a name, whether a kernel may read it or not."""
        if name in self.free:
            try:
                return self.free[name].cell_contents
            except ValueError:
                return default
        if name in self.globals:
            return self.globals[name]
        return getattr(builtins, name, default)

    def is_annotated(self, name: str) -> bool:
        """Whether a module global is declared as `name: tl.constexpr = …`."""
        if name in self.free or name not in self.globals:
            return False
        found = self.globals.get("__annotations__")
        if found is None and callable(self.globals.get("__annotate__")):
            try:  # Python 3.14 evaluates annotations lazily
                found = self.globals["__annotate__"](1)
            except Exception:
                return False
        note = (found or {}).get(name)
        return note is constexpr or (isinstance(note, str) and note.rpartition(".")[2].strip() == "constexpr")

    def read(self, name: str, called: bool = False, others: Iterable[str] = ()) -> Any:
        """What a kernel gets for a name; `called` admits any callable, so that the call can say what is wrong with it."""
        value = self.find(name, _MISSING)
        if value is _MISSING:
            known = {*others, *self.free, *self.globals, *PYTHON_BUILTINS}
            of_language = f"did you mean `tl.{name}`?" if name in public_names(language) else ""
            raise UndefinedNameError(
                f"`{name}` is not defined", of_language or suggest(name, known) or "assign it first, or pass it as an argument"
            )
        if self.is_annotated(name):
            return plain(value.value if isinstance(value, constexpr) else value)
        return admit(name, value, called)


def admit(name: str, value: Any, called: bool = False) -> Any:
    """A global, module attribute or default value as a kernel sees it, if it may."""
    if isinstance(value, constexpr):
        return plain(value.value)
    if value is None and "." in name:
        return value
    if isinstance(value, (types.ModuleType, types.SimpleNamespace, DeviceFunction, Builtin, DType, Pointer, PropagateNan)):
        return value
    if isinstance(value, Enum) or (isinstance(value, type) and (issubclass(value, Enum) or (value.__module__ or "").startswith("zmlx."))):
        return value
    if name in PYTHON_BUILTINS and value is getattr(builtins, name, None):
        return value
    if called and callable(value):
        return value
    raise _refused(name, value)


def _refused(name: str, value: Any) -> CompilationError:
    short = name.rpartition(".")[2]
    if isinstance(value, (bool, int, float, str, tuple)) or value is None:
        return GlobalNameError(
            f"`{name}` is a Python global ({_brief(value)}), which a kernel may not read: it could change after compilation",
            f"make it a constant, {short} = tl.constexpr({_brief(value)}), or pass it as an argument",
        )
    if callable(value):
        return GlobalNameError(
            f"`{name}` is a Python {_kind(value)}, which means nothing in a kernel", "use tl functions or @zmlx.jit functions"
        )
    return GlobalNameError(f"`{name}` is a Python object ({type(value).__name__}) from outside the kernel", "pass it as an argument")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _kind(value: Any) -> str:
    return "class" if isinstance(value, type) else "function"


def module_attribute(module: Any, path: str, attr: str, called: bool = False) -> Any:
    """`module.attr` as a kernel sees it; `path` is how the user wrote the module."""
    value = getattr(module, attr, _MISSING)
    name = getattr(module, "__name__", path)
    if value is _MISSING or (attr.startswith("_") and name.startswith("zmlx")):
        if name in ("zmlx.language", "zmlx.intrinsics"):
            raise UnknownAttributeError(f"`{path}` has no `{attr}`", language.remedy_for(attr))
        raise UnknownAttributeError(f"`{path}` has no `{attr}`", suggest(attr, public_names(module), f"{path}.") or "check the name")
    if name.partition(".")[0] in NUMBER_MODULES and isinstance(value, (int, float)):
        return plain(value)
    note = getattr(module, "__dict__", {}).get("__annotations__", {}).get(attr)
    if note is constexpr or (isinstance(note, str) and note.rpartition(".")[2] == "constexpr"):
        return plain(value.value if isinstance(value, constexpr) else value)
    return admit(f"{path}.{attr}", value, called)


def public_names(obj: Any) -> list[str]:
    """The names a user may mean after the dot."""
    listed = getattr(obj, "__all__", None)
    return list(listed) if listed else [n for n in dir(obj) if not n.startswith("_")]


def suggest(name: str, known: Collection[str], prefix: str = "") -> str:
    """A remedy that names the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, [k for k in known if k != name], 1, 0.6)
    if not near:
        lower = {k.lower(): k for k in known}
        near = [lower[name.lower()]] if name.lower() in lower and lower[name.lower()] != name else []
    return f"did you mean `{prefix}{near[0]}`?" if near else ""


def dependencies(names: Iterable[str], scope: Scope) -> Iterator[tuple[str, Any]]:
    """What a function's names stand for, where that could change a trace: (name as written, value), in order."""
    for name in names:
        first, *rest = name.split(".")
        value = scope.find(first, _MISSING)
        for part in rest:
            holds_names = isinstance(value, (types.ModuleType, types.SimpleNamespace)) or (
                isinstance(value, type) and issubclass(value, Enum)
            )
            value = getattr(value, part, _MISSING) if holds_names else _MISSING
        if isinstance(value, constexpr):
            value = value.value
        if isinstance(value, (bool, int, float, str, tuple, Enum, DType, DeviceFunction)) or value is None:
            yield name, value
