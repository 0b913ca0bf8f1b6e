"""From a kernel's syntax tree and its arguments to Tile IR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zmlx import knobs
from zmlx.errors import CallError, CompilationError, ConstexprError, InternalCompilerError, UnsupportedSyntaxError, ZmlxError
from zmlx.frontend.constexpr import plain
from zmlx.frontend.frame import Trace
from zmlx.frontend.inline import inline_values, run
from zmlx.frontend.source import NO_DEFAULT, ArrayArg, ConstexprArg, JitCallable, ScalarArg, Source
from zmlx.frontend.statements import Statements
from zmlx.ir.core import Block, Function, Param, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops import control
from zmlx.ops.coerce import TileBuilder

Argument = ArrayArg | ScalarArg | ConstexprArg


def trace(fn: JitCallable, args: Mapping[str, Argument]) -> Function:
    """The Tile IR of a kernel for one combination of argument types and constants.

    args maps each parameter to an ArrayArg, ScalarArg or ConstexprArg; those with a default may be left out. The
    function's params are the run-time ones, in order, under their own names.
    Raises CompilationError for what is wrong with the kernel, InternalCompilerError for what is wrong with zmlx.
    """
    source = fn.source
    block = Block()
    builder = TileBuilder(block)
    shared = Trace(builder)
    frame = Statements(shared, source)
    builder.inline = lambda function, values: inline_values(shared.frames[-1], function, values)
    params = _parameters(fn, source, args, frame)
    block.args = [p.value for p in params]
    for p in params:
        if isinstance(p.value.type, Type) and isinstance(p.value.type.elem, Pointer):
            shared.pointers.setdefault(p.value.type.elem, p.value)
    try:
        run(frame)
        builder.create(control.return_)
    except CompilationError as e:
        raise e.with_traceback(None) from None  # the kernel's place is in the message; the compiler's frames only hide it
    except ZmlxError:
        raise
    except RecursionError:
        raise UnsupportedSyntaxError(
            "an expression or a chain of `elif` is nested too deep", "assign parts of it to names", builder.loc
        ) from None
    except Exception as e:
        raise InternalCompilerError(
            f"zmlx failed while compiling `{source.name}` at {builder.loc}: {type(e).__name__}: {e}\n"
            "This is a bug of zmlx, not of your kernel. Please report it with this traceback, the kernel's source, and "
            + _dump(Function(source.name, params, block))
        ) from e
    return Function(source.name, params, block)


def _dump(partial: Function) -> str:
    """Writes what there is of a kernel to the dump folder; says where it lies, or how to get it."""
    folder = knobs.DUMP_DIR.get()
    if not folder:
        return f"the IR so far, which {knobs.DUMP_DIR.name}=FOLDER writes."
    path = Path(folder).expanduser() / f"{partial.name}.partial.tile"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(partial))
    except OSError as e:
        return f"the IR so far ({path} could not be written: {e})."
    return f"the IR so far: {path}"


def _parameters(fn: JitCallable, source: Source, args: Mapping[str, Argument], frame: Statements) -> list[Param]:
    """The run-time parameters; constants are bound in the frame at once."""
    unknown = [name for name in args if name not in source.signature.parameters]
    if unknown:
        raise CallError(f"`{fn.name}` has no parameter `{unknown[0]}`", f"the signature is {fn.name}{source.signature}")
    nodes = {a.arg: a for a in [*source.tree.args.posonlyargs, *source.tree.args.args, *source.tree.args.kwonlyargs]}
    params = []
    for p in fn.params:
        node = nodes[p.name]
        arg = args.get(p.name)
        if arg is None:
            if p.default is NO_DEFAULT:
                raise CallError(f"the argument `{p.name}` of `{fn.name}` is missing", f"pass it: {p.name}=…", frame.loc(node))
            arg = ConstexprArg(p.default)
        if isinstance(arg, ConstexprArg):
            frame.names.set(p.name, plain(arg.value), node)
            continue
        if p.is_constexpr:
            raise ConstexprError(
                f"`{p.name}` is a tl.constexpr, but the launch passes a run-time {arg.dtype}", "pass a Python constant", frame.loc(node)
            )
        elem = Pointer(arg.dtype) if isinstance(arg, ArrayArg) else arg.dtype
        value = Value(Type(elem), None, p.name)
        frame.names.set(p.name, value, node)
        params.append(Param(value, arg.divisibility, frame.loc(node)))
    return params


__all__ = ["ArrayArg", "CompilationError", "ConstexprArg", "JitCallable", "ScalarArg", "trace"]
