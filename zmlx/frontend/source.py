"""Kernels and device functions as source: their text, syntax tree, parameters and hash."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from zmlx.dtypes import DType
from zmlx.errors import CallError, CompilationError, Loc, UnsupportedSyntaxError
from zmlx.frontend.facts import Facts, all_args, facts_of, remember, remembered
from zmlx.frontend.scope import Scope, dependencies
from zmlx.frontend.syntax import Names, assigned
from zmlx.ops.device import DeviceFunction

NO_DEFAULT = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class ArrayArg:
    """An array argument: `divisibility` promises that the address is a multiple of so many bytes."""

    dtype: DType
    divisibility: int = 1


@dataclass(frozen=True, slots=True)
class ScalarArg:
    """A number passed at run time: `divisibility` promises that an integer is a multiple of it."""

    dtype: DType
    divisibility: int = 1


@dataclass(frozen=True, slots=True)
class ConstexprArg:
    """A constant: number, string, None, dtype, jit function, or a tuple of these."""

    value: Any


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel; `default` is NO_DEFAULT where there is none."""

    name: str
    is_constexpr: bool = False
    default: Any = NO_DEFAULT
    do_not_specialize: bool = False
    keyword_only: bool = False


class Source:
    """A Python function's text and where it stands. Its syntax tree is made when it is asked for.

    Raises UnsupportedSyntaxError for a function without a file, or whose file is another by now.
    """

    def __init__(self, fn: types.FunctionType) -> None:
        self.fn = fn
        self.name = fn.__name__
        self.file = fn.__code__.co_filename
        # Errors in the library's own functions are shown at the user's call.
        self.is_library = (fn.__module__ or "").startswith("zmlx.library")
        self.first = fn.__code__.co_firstlineno
        self.lines = _block(fn, _from_first_line(fn))
        # An indented function is parsed as the body of an `if`, so that columns stay what they are in the file.
        self.indented = self.lines[0][:1] in (" ", "\t")
        self.offset = self.first - 1 - self.indented  # added to a node's line gives the line in the file
        self.scope = Scope(fn)
        self.assigned: dict[int, Names] = {}
        self.signature = _signature(fn)

    @cached_property
    def tree(self) -> ast.FunctionDef:
        """The syntax tree of the `def`."""
        try:
            module = self._parse()
        except SyntaxError:
            self.lines = inspect.getblock(_from_first_line(self.fn))  # slower, and never fooled
            try:
                module = self._parse()
            except SyntaxError as e:
                raise _unreadable(self.fn, f"its source does not parse alone ({e.msg})") from None
        node = module.body[0].body[0] if isinstance(module.body[0], ast.If) else module.body[0]
        if not isinstance(node, ast.FunctionDef):
            raise _unreadable(self.fn, "no function stands where it was when it was imported")
        self._check(node.name, [a.arg for a in all_args(node.args)])
        return node

    def _parse(self) -> ast.Module:
        return ast.parse("if 1:\n" * self.indented + "".join(self.lines))

    @cached_property
    def facts(self) -> Facts:
        """What the text says by itself, from the disk or the tree."""
        block = "".join(self.lines)
        found = remembered(block)
        if found is None:
            tree = self.tree
            found = facts_of(tree, tree.lineno + self.offset - self.first, self.locals)
            if block == "".join(self.lines):  # else it was cut short, and says less than the whole
                remember(block, found)
        self._check(found.name, list(found.args))
        return found

    def _check(self, name: str, args: list[str]) -> None:
        if name != self.name or args != _code_args(self.fn):
            raise _unreadable(self.fn, "the file has changed since it was imported")

    @cached_property
    def text(self) -> str:
        """The lines from `def` on."""
        definition = self.facts.definition  # which may find that there are more lines
        return "".join(self.lines[definition:])

    @cached_property
    def constexprs(self) -> frozenset[str]:
        """The parameters annotated `tl.constexpr`."""
        return frozenset(self.facts.constexprs)

    @cached_property
    def locals(self) -> dict[str, Any]:
        """The names that are the function's own: parameters, then what it assigns, in order."""
        return dict.fromkeys(_code_args(self.fn)) | dict.fromkeys(self.names(self.tree.body))

    def names(self, body: Iterable[ast.stmt]) -> Names:
        """The names that statements assign, in order of appearance."""
        return assigned(body, self.assigned)

    def loc(self, node: ast.AST, caller: Loc | None = None) -> Loc:
        """Where a node stands in its file; columns count characters."""
        line, col = node.lineno, node.col_offset  # type: ignore[attr-defined]
        end_line, end_col = node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        line, end_line = line + self.offset, end_line + self.offset
        if self.ascii:
            return Loc(self.file, line, col, end_line, end_col, self.name, caller)
        return Loc(self.file, line, self._chars(line, col), end_line, self._chars(end_line, end_col), self.name, caller)

    @cached_property
    def ascii(self) -> bool:
        """Whether columns of bytes are columns of characters throughout."""
        return "".join(self.lines).isascii()

    def _chars(self, line: int, col: int) -> int:
        if not 0 <= line - self.first < len(self.lines):  # before Python 3.12 parts of f-strings are misplaced
            return col
        text = self.lines[line - self.first]
        return col if text.isascii() else len(text.encode()[:col].decode(errors="replace"))


def _code_args(fn: types.FunctionType) -> list[str]:
    code = fn.__code__
    return list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])


def _signature(fn: types.FunctionType) -> inspect.Signature:
    """The signature without annotations: those of a kernel need not evaluate."""
    code, kinds, names = fn.__code__, inspect.Parameter, _code_args(fn)
    positional, defaults = names[: code.co_argcount], fn.__defaults__ or ()
    start = len(positional) - len(defaults)
    params = []
    for i, name in enumerate(positional):
        kind = kinds.POSITIONAL_ONLY if i < code.co_posonlyargcount else kinds.POSITIONAL_OR_KEYWORD
        params.append(kinds(name, kind, default=defaults[i - start] if i >= start else NO_DEFAULT))
    for name in names[code.co_argcount :]:
        params.append(kinds(name, kinds.KEYWORD_ONLY, default=(fn.__kwdefaults__ or {}).get(name, NO_DEFAULT)))
    return inspect.Signature(params)


def _unreadable(fn: types.FunctionType, why: str) -> CompilationError:
    return UnsupportedSyntaxError(
        f"the source of `{fn.__name__}` cannot be read ({fn.__code__.co_filename}:{fn.__code__.co_firstlineno}): {why}",
        "define kernels in a file or a notebook cell, and restart Python after editing the file",
    )


def _from_first_line(fn: types.FunctionType) -> list[str]:
    """The lines of a function's file from its first decorator on."""
    code = fn.__code__
    lines = linecache.getlines(code.co_filename, fn.__globals__)
    if len(lines) < code.co_firstlineno:
        linecache.checkcache(code.co_filename)
        lines = linecache.getlines(code.co_filename, fn.__globals__)
    if len(lines) < code.co_firstlineno:
        raise _unreadable(fn, "there is no source file behind it")
    return lines[code.co_firstlineno - 1 :]


def _block(fn: types.FunctionType, lines: list[str]) -> list[str]:
    """The lines of a function: from its body on, to the first that is not indented deeper than its `def`.

    A string with lines at the margin fools this; what comes out then does not parse.
    """
    first = fn.__code__.co_firstlineno
    body = min([n for _, _, n in fn.__code__.co_lines() if n is not None and n > first], default=first) - first
    margin = len(lines[0]) - len(lines[0].lstrip())
    last = body
    for i in range(body + 1, len(lines)):
        text = lines[i].lstrip()
        if text and not text.startswith("#"):
            if len(lines[i]) - len(text) <= margin:
                break
            last = i
    return lines[: last + 1]


_SOURCES: WeakKeyDictionary[Any, Source] = WeakKeyDictionary()


def source_of(device_function: DeviceFunction) -> Source:
    """The source of a jit or library function."""
    fn = device_function.fn
    found = _SOURCES.get(fn)
    if found is None:
        found = _SOURCES[fn] = Source(fn)  # type: ignore[arg-type]
    return found


class JitCallable(DeviceFunction):
    """A function written in the kernel language. Calling one from Python is the runtime's business.

    do_not_specialize: names or positions of parameters whose value must not become part of the compiled kernel.
    Raises UnsupportedSyntaxError for what is no plain function: a lambda, a method, a generator, `*args`.
    """

    def __init__(self, fn: Callable[..., Any], *, do_not_specialize: Iterable[str | int] = ()) -> None:
        super().__init__(_plain_function(fn))
        self.__name__, self.__qualname__, self.__module__ = self.fn.__name__, self.fn.__qualname__, self.fn.__module__
        self.__doc__, self.__wrapped__ = self.fn.__doc__, self.fn
        names = _code_args(self.fn)  # type: ignore[arg-type]
        held = set()
        for item in do_not_specialize:
            if (item not in names) if isinstance(item, str) else not -len(names) <= item < len(names):
                raise CallError(f"do_not_specialize names {item!r}, but `{self.__name__}` has the parameters {', '.join(names)}")
            held.add(item if isinstance(item, str) else names[item])
        self.do_not_specialize = frozenset(held)

    def __repr__(self) -> str:
        return f"<jit function {self.__qualname__}>"

    @property
    def source(self) -> Source:
        """Text, tree and places."""
        return source_of(self)

    @cached_property
    def params(self) -> tuple[Parameter, ...]:
        """The parameters, in order."""
        src = self.source
        return tuple(
            Parameter(n, n in src.constexprs, p.default, n in self.do_not_specialize, p.kind is inspect.Parameter.KEYWORD_ONLY)
            for n, p in src.signature.parameters.items()
        )

    @cached_property
    def source_hash(self) -> str:
        """Identifies what a trace can see: this text, that of every function reached, and the constants used. It is
        stable across processes; constants are read when it is first asked for."""
        return source_hash(self)


def _plain_function(fn: Any) -> types.FunctionType:
    if isinstance(fn, DeviceFunction):
        raise UnsupportedSyntaxError(f"{fn!r} is a jit function already", "decorate it once")
    if isinstance(fn, (staticmethod, classmethod, types.MethodType)):
        raise UnsupportedSyntaxError("a method cannot be a kernel", "write a module-level function and pass what it needs as arguments")
    fn = inspect.unwrap(fn) if callable(fn) else fn
    if not isinstance(fn, types.FunctionType):
        raise UnsupportedSyntaxError(f"a kernel is a Python function, got {type(fn).__name__}", "decorate a `def`")
    code = fn.__code__
    if fn.__name__ == "<lambda>":
        raise UnsupportedSyntaxError("a lambda cannot be a kernel", "write it as a `def`")
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise UnsupportedSyntaxError(f"`{fn.__name__}` is a generator or async function", "write a plain `def` without yield or await")
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        raise UnsupportedSyntaxError(f"`{fn.__name__}` takes *args or **kwargs", "name each parameter; several values can be one tuple")
    owner = fn.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>") and code.co_varnames[:1] in (("self",), ("cls",)) and code.co_argcount:
        raise UnsupportedSyntaxError(
            f"`{fn.__qualname__}` is a method", "write a module-level function and pass what it needs as arguments"
        )
    return fn


def source_hash(root: DeviceFunction) -> str:
    """The hash behind `JitCallable.source_hash`, for any device function. What the library's functions are is a part of
    the build of zmlx, with which every use of this hash goes; they count by name."""
    digest = hashlib.sha256()
    for src, used in _reached(root, library=False):
        digest.update(f"{src.fn.__module__}.{src.fn.__qualname__}\n{src.text}\n{src.signature}\n".encode())
        for name, value in used:
            shown = f"{value.fn.__module__}.{value.fn.__qualname__}" if isinstance(value, DeviceFunction) else value
            digest.update(f"{name} = {shown!r}\n".encode())
    return digest.hexdigest()


def source_places(root: DeviceFunction) -> str:
    """Where a function and all that it reaches stand, which the hash does not say: files and first lines."""
    return "\n".join(f"{src.file}:{src.first}" for src, _ in _reached(root, library=True))


def _reached(root: DeviceFunction, library: bool) -> Iterator[tuple[Source, list[tuple[str, Any]]]]:
    """A function and every other that it may call, each with what it uses from outside; library: zmlx's own, too."""
    seen: set[Any] = set()
    todo = [root]
    while todo:  # in order of appearance, so that the hash does not depend on anything else
        function = todo.pop()
        if function.fn in seen:
            continue
        seen.add(function.fn)
        src = source_of(function)
        used = list(dependencies(src.facts.names, src.scope))
        called = [value for _, value in used] + [p.default for p in src.signature.parameters.values()]
        todo += [f for f in called if isinstance(f, DeviceFunction) and (library or not source_of(f).is_library)]
        yield src, used
