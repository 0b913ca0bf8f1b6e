"""Computing with compile-time constants: Python's own operators on Python's own values.

In a frame, a value is either an IR `Value` or a constant: a plain Python object (number, string, None, dtype, jit
function …). A tuple holds both and is taken apart by `leaves` and put together by `rebuild`.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import numpy as np

from zmlx import dtypes
from zmlx.dtypes import DType
from zmlx.errors import CompilationError, ConstexprError, DtypeError, UnknownAttributeError
from zmlx.intrinsics.markers import constexpr
from zmlx.ir.core import Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops.device import DeviceFunction

NUMBERS = (bool, int, float)
MAX_BITS = 1 << 14  # of an integer constant; more is a mistake that would only eat memory

# AST operator -> (the builder's name, Python's function)
BINARY: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add), ast.Sub: ("sub", operator.sub), ast.Mult: ("mul", operator.mul),
    ast.Div: ("truediv", operator.truediv), ast.FloorDiv: ("floordiv", operator.floordiv), ast.Mod: ("mod", operator.mod),
    ast.Pow: ("pow", operator.pow), ast.BitAnd: ("and", operator.and_), ast.BitOr: ("or", operator.or_),
    ast.BitXor: ("xor", operator.xor), ast.LShift: ("lshift", operator.lshift), ast.RShift: ("rshift", operator.rshift),
}  # fmt: skip
COMPARE: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("eq", operator.eq), ast.NotEq: ("ne", operator.ne), ast.Lt: ("lt", operator.lt), ast.LtE: ("le", operator.le),
    ast.Gt: ("gt", operator.gt), ast.GtE: ("ge", operator.ge),
}  # fmt: skip
UNARY: dict[type, tuple[str, Callable[[Any], Any]]] = {
    ast.USub: ("neg", operator.neg), ast.UAdd: ("pos", operator.pos), ast.Invert: ("invert", operator.invert),
}  # fmt: skip


def plain(value: Any) -> Any:
    """A constant without wrappers: constexpr, NumPy scalars and lists become what they hold."""
    if isinstance(value, constexpr):
        return plain(value.value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    return value


def is_constant(value: Any) -> bool:
    """Whether nothing in a value is known at run time only."""
    return not any(isinstance(v, Value) for v in leaves(value))


def leaves(tree: Any) -> Iterator[Any]:
    """What a tuple holds, nested ones taken apart; anything else is its own leaf."""
    if type(tree) is tuple:
        for element in tree:
            yield from leaves(element)
    else:
        yield tree


def rebuild(tree: Any, fresh: Iterator[Any]) -> Any:
    """The same nesting with other leaves."""
    return tuple(rebuild(element, fresh) for element in tree) if type(tree) is tuple else next(fresh)


def describe(value: Any) -> str:
    """A value as error messages name it."""
    if isinstance(value, Value):
        return str(value.type)
    if type(value) is tuple:
        return "(" + ", ".join(map(describe, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, DeviceFunction):
        return f"the function {value.name}"
    return f"the constant {value!r}" if isinstance(value, (*NUMBERS, str)) else repr(value)


def same_constant(a: Any, b: Any) -> bool:
    """Whether two constants are one: equal and of equal type (1 and True are not), signs of zero and NaN told apart."""
    if a is b:
        return True
    return type(a) is type(b) and (repr(a) == repr(b) if isinstance(a, float) else bool(a == b))


def evaluate(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A Python function on constants; what it raises becomes the user's error."""
    try:
        return plain(fn(*args, **kwargs))
    except CompilationError:
        raise
    except Exception as e:
        text = str(e) or "no further explanation"
        raise ConstexprError(
            f"computing a constant failed with {type(e).__name__}: {text}", "correct the operands; they are known at compile time"
        ) from None


def binary(op: type, a: Any, b: Any) -> Any:
    """A binary operator between constants."""
    if isinstance(a, int) and isinstance(b, int):
        if (op is ast.LShift and b > MAX_BITS) or (op is ast.Pow and b > 0 and a.bit_length() * b > MAX_BITS):
            raise ConstexprError(
                f"the constant {a} {'<<' if op is ast.LShift else '**'} {b} has more than {MAX_BITS} bits", "use a smaller exponent"
            )
    elif op is ast.Mult and (isinstance(a, (str, tuple)) or isinstance(b, (str, tuple))):
        raise ConstexprError(f"{describe(a)} * {describe(b)}: only numbers are multiplied", "write the elements out")
    return evaluate(BINARY[op][1], a, b)


# What dtypes answer in kernels, with Triton's spelling.
_DTYPE_METHODS: dict[str, Callable[[Any], Any]] = {
    "is_floating": lambda d: isinstance(d, DType) and d.is_float,
    "is_standard_floating": lambda d: isinstance(d, DType) and d.is_float,
    "is_int": lambda d: isinstance(d, DType) and d.is_int,
    "is_int_signed": lambda d: isinstance(d, DType) and d.is_signed,
    "is_int_unsigned": lambda d: isinstance(d, DType) and d.is_int and not d.is_signed,
    "is_bool": lambda d: isinstance(d, DType) and d.is_bool,
    "is_int1": lambda d: isinstance(d, DType) and d.is_bool,
    "is_ptr": lambda d: isinstance(d, Pointer),
    "is_fp8": lambda d: False,
    "is_block": lambda d: False,
}  # fmt: skip
_DTYPE_METHODS |= {
    "is_" + d.name.replace("bfloat", "bf").replace("float", "fp"): lambda x, d=d: x is d  # type: ignore[misc]
    for d in dtypes.ALL if not d.is_bool
}  # fmt: skip
_DTYPE_ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "element_ty": lambda d: d.elem if isinstance(d, Pointer) else d,
    "scalar": lambda d: d,
    "name": lambda d: d.name if isinstance(d, DType) else str(d),
    "primitive_bitwidth": lambda d: d.bits,
    "int_bitwidth": lambda d: d.bits,
    "bits": lambda d: d.bits,
    "itemsize": lambda d: d.bits // 8 if isinstance(d, Pointer) else d.itemsize,
}


class Method:
    """A method of a constant, to be called with constants."""

    __slots__ = ("fn", "name")

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        self.name, self.fn = name, fn


def attribute(value: Any, attr: str) -> Any:
    """`value.attr` of a constant; AttributeError's place is taken by UnknownAttributeError (without a suggestion)."""
    if isinstance(value, (DType, Pointer)):
        if attr in _DTYPE_ATTRIBUTES:
            return _DTYPE_ATTRIBUTES[attr](value)
        if attr in _DTYPE_METHODS:
            return Method(attr, lambda: _DTYPE_METHODS[attr](value))
    elif isinstance(value, str):
        if not attr.startswith("_") and hasattr(value, attr):
            return Method(attr, getattr(value, attr))
    elif isinstance(value, Type):
        if attr in ("element_ty", "scalar"):
            return value.elem
        if attr == "shape":
            return value.shape
    elif isinstance(value, Enum):
        if attr in ("name", "value"):
            return getattr(value, attr)
    elif attr == "value" and isinstance(value, NUMBERS):
        return value
    raise UnknownAttributeError(f"{describe(value)} has no attribute `{attr}`")


def attribute_names(value: Any) -> list[str]:
    """The attributes that a constant has."""
    if isinstance(value, (DType, Pointer)):
        return [*_DTYPE_ATTRIBUTES, *_DTYPE_METHODS]
    return [n for n in dir(value) if not n.startswith("_")] if isinstance(value, str) else []


def number(value: Any, what: str) -> Any:
    """A constant number, or an error that tells what needed one."""
    if isinstance(value, Value):
        raise ConstexprError(
            f"{what} takes a constant, got a run-time {value.type}",
            {"int()": "cast it: x.to(tl.int32)", "float()": "cast it: x.to(tl.float32)", "bool()": "compare: x != 0"}.get(
                what, "use a tl function, or make it a tl.constexpr"
            ),
        )
    return value


def _constants(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        for a in (*args, *kwargs.values()):
            for leaf in leaves(a):
                number(leaf, f"{name}()")
        return evaluate(fn, *args, **kwargs)

    return call


def _length(x: Any) -> int:
    if isinstance(x, Value):
        raise DtypeError(f"len() of a tensor ({x.type})", "name the dimension: x.shape[0]")
    return int(evaluate(len, x))


# Python builtins on constants; those that also work on tensors are handled with the calls.
PYTHON_BUILTINS: dict[str, Callable[..., Any] | None] = {
    **{n: _constants(n, getattr(builtins, n)) for n in ("float", "int", "bool", "str", "repr", "round", "divmod", "pow")},
    "len": _length,
    "tuple": lambda x=(): tuple(x) if isinstance(x, tuple) else _constants("tuple", builtins.tuple)(x),
    "range": None, "min": None, "max": None, "abs": None, "print": None,
}  # fmt: skip
