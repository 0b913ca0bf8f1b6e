"""What a user promises, checks and prints."""

from __future__ import annotations

from typing import Any

from zmlx.errors import CallError, ConstexprError, ShapeError, StaticAssertError
from zmlx.intrinsics.builtin import Builtin, builtin
from zmlx.ir.core import Value
from zmlx.ops import debug, index
from zmlx.ops.coerce import TileBuilder, constant_shape


def _hint(kind: str, doc: str) -> Builtin:
    def fn(b: TileBuilder, input: Any, values: Any) -> Value:
        v, numbers = b.to_value(input), constant_shape(values, f"the values of tl.{kind}")
        if len(numbers) != max(1, len(v.shape)):
            raise ShapeError(f"tl.{kind} of {v.type} takes {max(1, len(v.shape))} values, got {len(numbers)}", "give one a dimension")
        if any(n < 1 for n in numbers):
            raise ConstexprError(f"the values of tl.{kind} are positive, got {numbers}", "give powers of two")
        return b.value(index.hint, v, kind=kind, values=numbers)

    return builtin(fn, name=kind, method=True, doc=doc + " A promise of yours, unchecked: the compiler relies on it.", group="hints")


multiple_of = _hint("multiple_of", "x, whose first element of every run is a multiple of `values` (one number a dimension).")
max_contiguous = _hint("max_contiguous", "x, whose elements come in runs of `values` consecutive numbers (one number a dimension).")
max_constancy = _hint("max_constancy", "x, whose elements come in runs of `values` equal numbers (one number a dimension).")


@builtin
def assume(b: TileBuilder, cond: Any) -> None:
    """Promises that a scalar condition holds; the compiler may rely on it."""
    if isinstance(cond, Value):
        b.create(index.assume, [b.truth(cond)])
    elif not cond:
        raise StaticAssertError("tl.assume of a condition that is False", "assume what holds")


@builtin
def static_assert(b: TileBuilder, cond: Any, msg: Any = "") -> None:
    """Stops the compilation with `msg` unless a compile-time condition holds."""
    if isinstance(cond, Value):
        raise ConstexprError("tl.static_assert of a run-time condition", "use tl.device_assert, or pass what it tests as tl.constexpr")
    if not cond:
        text = f": {msg}" if msg else ""
        raise StaticAssertError(f"static assertion failed{text}", "call the kernel with values for which it holds")


@builtin
def static_print(b: TileBuilder, *values: Any, sep: Any = " ", end: Any = "\n") -> None:
    """Prints while the kernel is compiled: constants as they are, tensors as their type."""
    print(*(f"{v.name or 'tensor'}: {v.type}" if isinstance(v, Value) else v for v in values), sep=sep, end=end)


@builtin
def device_print(b: TileBuilder, prefix: Any, *args: Any, hex: Any = False) -> None:
    """Prints while the kernel runs (targets cpu and interpret): `prefix`, then each element with its program and index."""
    if not isinstance(prefix, str):
        raise CallError(f"the prefix of tl.device_print is a string, got {prefix!r}", 'write tl.device_print("x", x)')
    b.create(debug.device_print, b.broadcast(*map(b.to_value, args)), {"prefix": prefix, "hex": bool(hex)})


@builtin
def device_assert(b: TileBuilder, cond: Any, msg: Any = "", mask: Any = None) -> None:
    """Checks while the kernel runs (targets cpu and interpret) that a condition holds, where `mask` does."""
    if not isinstance(msg, str):
        raise CallError(f"the message of tl.device_assert is a string, got {msg!r}", 'write tl.device_assert(x > 0, "x is positive")')
    operands = [b.truth(cond)] if mask is None else list(b.broadcast(b.truth(cond), b.truth(mask)))
    b.create(debug.device_assert, operands, {"message": msg})


@builtin
def debug_barrier(b: TileBuilder) -> None:
    """Orders the memory accesses of all threads of a program."""
    b.create(debug.debug_barrier)
