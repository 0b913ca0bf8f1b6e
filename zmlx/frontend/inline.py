"""Device functions are traced at their call: the caller's builder, a frame of their own."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zmlx.errors import CallError, CompilationError, ConstexprError, Loc, NotCallableError, RecursionLimitError
from zmlx.frontend.constexpr import describe, is_constant, plain
from zmlx.frontend.frame import Exit, Frame
from zmlx.frontend.source import Source, source_of
from zmlx.intrinsics.builtin import Builtin
from zmlx.ops.device import DeviceFunction

if TYPE_CHECKING:
    from zmlx.frontend.calls import Calls

MAX_DEPTH = 32


def inline(caller: Calls, function: DeviceFunction, args: list[Any], kwargs: dict[str, Any], node: ast.Call) -> Any:
    """The result of calling a device function: values, constants, or tuples of both."""
    source = source_of(function)
    spelling = f"{source.name}{source.signature}"
    caller.misspelt(source.name, source.signature, lambda: spelling, kwargs, node)
    try:
        bound = source.signature.bind(*args, **kwargs)
    except TypeError as e:
        raise CallError(f"{source.name}(): {e}", f"the signature is {spelling}") from None
    return activate(caller, source, bound.arguments, caller.loc(node), node)


def inline_values(caller: Frame, function: Any, args: list[Any]) -> Any:
    """What builtins call for the functions they are given (combine functions): at the current place."""
    if isinstance(function, Builtin):
        return plain(function.invoke(caller.b, args, {}))
    if not isinstance(function, DeviceFunction):
        raise NotCallableError(f"{describe(function)} is no function of the kernel language", "pass a @zmlx.jit function")
    source = source_of(function)
    try:
        bound = source.signature.bind(*args)
    except TypeError as e:
        raise CallError(
            f"{source.name}() is called with {len(args)} values: {e}", f"the signature is {source.name}{source.signature}"
        ) from None
    assert caller.b.loc is not None
    return activate(caller, source, bound.arguments, caller.b.loc, None)


def activate(caller: Frame, source: Source, given: dict[str, Any], loc: Loc, node: ast.Call | None) -> Any:
    """Traces a function's body with bound arguments; `loc` is the call."""
    _check_depth(caller, source, loc)
    frame = type(caller)(caller.trace, source, loc)
    for name, parameter in source.signature.parameters.items():
        if name in given:
            value = given[name]
            if name in source.constexprs and not is_constant(value):
                raise ConstexprError(
                    f"`{name}` of {source.name} is a tl.constexpr, got a run-time {describe(value)}",
                    f"pass a constant, or drop the annotation of `{name}` in {source.name}",
                    _argument(caller, source, name, node) or loc,
                )
        else:
            value = plain(parameter.default)
        frame.names.set(name, value, source.tree)
    exit = run(frame)
    caller.b.loc = loc
    return exit.value


def run(frame: Frame) -> Exit:
    """Traces the body of a frame's function."""
    frame.trace.frames.append(frame)
    try:
        return frame.body(frame.source.tree.body, True)
    except RecursionError:  # Python's own stack may end before MAX_DEPTH does
        if frame.caller is not None and sum(f.source is frame.source for f in frame.trace.frames) > 3:
            raise _too_deep(frame.source, True, _once_around(frame.trace.frames, frame.source, frame.caller)) from None
        raise
    finally:
        frame.trace.frames.pop()


def _argument(caller: Frame, source: Source, name: str, node: ast.Call | None) -> Loc | None:
    """Where an argument stands in the call."""
    if node is None:
        return None
    for keyword in node.keywords:
        if keyword.arg == name:
            return caller.loc(keyword.value)
    index = list(source.signature.parameters).index(name)
    return caller.loc(node.args[index]) if index < len(node.args) and not any(isinstance(a, ast.Starred) for a in node.args) else None


def _check_depth(caller: Frame, source: Source, loc: Loc) -> None:
    frames = caller.trace.frames
    if len(frames) < MAX_DEPTH:
        return
    recursive = any(f.source is source for f in frames)
    raise _too_deep(source, recursive, _once_around(frames, source, loc))


def _once_around(frames: list[Frame], source: Source, loc: Loc) -> Loc:
    """A call in a recursion, with the chain of calls that led into it instead of all its rounds."""
    first = next((f.caller for f in frames if f.source is source), None)
    return replace(loc, caller=first)


def _too_deep(source: Source, recursive: bool, loc: Loc) -> CompilationError:
    if recursive:
        return RecursionLimitError(
            f"{source.name}() calls itself without end; device functions are inlined",
            "write it as a loop, or end the recursion by a tl.constexpr condition",
            loc,
        )
    return RecursionLimitError(f"calls nest more than {MAX_DEPTH} deep", "merge some of the functions", loc)
