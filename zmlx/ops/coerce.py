"""The builder that knows Python's numbers: literals, promotion, broadcasting and pointer arithmetic.

The IR broadcasts and promotes nothing; all of it is said here, once, in explicit ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeGuard

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import ConstexprError, DtypeError, LiteralRangeError, PointerError, ShapeError
from zmlx.ir.builder import Builder
from zmlx.ir.core import Value
from zmlx.ir.opdef import OpDef
from zmlx.ir.types import Elem, Pointer
from zmlx.ops import arith, cast, compare, index
from zmlx.ops import math as math_ops
from zmlx.ops import shape as shape_ops
from zmlx.ops.typing import broadcast_shapes, promote

Number = bool | int | float
Operand = Value | Number

SYMBOL = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "and": "&", "or": "|", "xor": "^",
    "lshift": "<<", "rshift": ">>", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "neg": "-", "pos": "+",
    "invert": "~", "not": "not",
}  # fmt: skip
BINARY: dict[str, OpDef] = {
    "add": arith.add, "sub": arith.sub, "mul": arith.mul, "truediv": arith.div, "floordiv": arith.floordiv, "mod": arith.mod,
    "and": arith.and_, "or": arith.or_, "xor": arith.xor, "lshift": arith.shl, "rshift": arith.shr,
    "eq": compare.eq, "ne": compare.ne, "lt": compare.lt, "le": compare.le, "gt": compare.gt, "ge": compare.ge,
    "minimum": arith.minimum, "maximum": arith.maximum, "minimum_nan": arith.minimum_nan, "maximum_nan": arith.maximum_nan,
    "copysign": math_ops.copysign,
}  # fmt: skip
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
INTEGER_ONLY = frozenset({"and", "or", "xor", "lshift", "rshift"})


def is_number(x: object) -> TypeGuard[Number]:
    """Whether x is a Python number."""
    return isinstance(x, (bool, int, float))


def literal_dtype(x: Number) -> DType:
    """The type of a Python number that stands alone: int1; i32, else u32, i64, u64; f32, else f64."""
    if isinstance(x, bool):
        return dt.int1
    if isinstance(x, int):
        for d in (dt.int32, dt.uint32, dt.int64, dt.uint64):
            if d.range()[0] <= x <= d.range()[1]:
                return d
        raise LiteralRangeError(f"the integer {x} fits no type", "integers have at most 64 bits")
    normal = x == 0 or math.isnan(x) or math.isinf(x) or 2.0**-126 <= abs(x) <= (2 - 2.0**-23) * 2.0**127
    return dt.float32 if normal else dt.float64


def _kind(d: DType) -> int:
    return 0 if d.is_bool else 2 if d.is_float else 1


@lru_cache(maxsize=4096)
def _rounded(value: float, sign: float, d: DType) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(cast.cast_array(np.asarray(value, np.float64), dt.float64, d))


def _spelled(x: Operand) -> str:
    return str(x.type) if isinstance(x, Value) else repr(x)


class TileBuilder(Builder):
    """Adds Python's conveniences to `Builder`. An operand is a `Value` or a Python number.

    `inline(fn, args)` traces a device function at the current place and returns its result; the frontend sets it.
    """

    inline: Callable[[Any, list[Any]], Any]

    # -- literals ---------------------------------------------------------------------------------------------------

    def constant(self, value: Number, dtype: DType) -> Value:
        """A scalar literal, rounded to its type; integers must be in range."""
        if dtype.is_float:
            number = float(value)
            exact: Number = number if dtype is dt.float64 or number != number else _rounded(number, math.copysign(1.0, number), dtype)
        elif dtype.is_bool:
            exact = bool(value)
        else:
            exact = int(value)
            low, high = dtype.range()
            if exact < 0 and not dtype.is_signed:
                raise LiteralRangeError(
                    f"{exact} is negative, and {dtype} holds no negative numbers",
                    f"use a signed type (x.to(tl.{dtype.name[1:]})), or write the pattern: {exact & high:#x}",
                )
            if not low <= exact <= high:
                raise LiteralRangeError(
                    f"{exact} is out of range for {dtype} ({low} … {high})",
                    f"cast the tensor to a wider type first: x.to(tl.{literal_dtype(exact)})",
                )
        return self.value(index.constant, value=exact, type=dtype)

    def to_value(self, x: Any, like: DType | None = None) -> Value:
        """A `Value` as it is; a Python number as a constant, of type `like` unless its own kind is above `like`'s."""
        if isinstance(x, Value):
            return x
        if isinstance(x, np.generic):
            x = x.item()
        if is_number(x):
            natural = literal_dtype(x)
            return self.constant(x, like if like is not None and _kind(natural) <= _kind(like) else natural)
        if x is None:
            raise DtypeError("None where a tensor or a number is meant", "test it first: if x is not None: …")
        if isinstance(x, (tuple, list)):
            raise DtypeError("a tuple where a tensor or a number is meant", "name one element: t[0]")
        raise DtypeError(f"{x!r} where a tensor or a number is meant", "kernels compute with tensors and Python numbers")

    def convert(self, x: Any, dtype: DType) -> Value:
        """x as `dtype` by the rules of casts (what stores do); Python numbers become constants at once."""
        if is_number(x):
            if dtype.is_float:
                return self.constant(x, dtype)
            if not isinstance(x, float):
                low, high = dtype.range()
                wrapped = int(bool(x)) if dtype.is_bool else (int(x) - low) % (high - low + 1) + low
                return self.constant(wrapped, dtype)
        return self.cast(self.to_value(x), dtype)

    # -- shapes -----------------------------------------------------------------------------------------------------

    def splat(self, v: Value, shape: Sequence[int]) -> Value:
        """A tile that holds a scalar everywhere; for shape () the scalar."""
        return self.value(shape_ops.splat, v, shape=tuple(shape)) if tuple(shape) else v

    def broadcast_to(self, v: Value, shape: Sequence[int]) -> Value:
        """v grown to a shape: scalars are splatted, dimensions are added on the left, those of size 1 repeated."""
        target = tuple(shape)
        if v.shape == target:
            return v
        if not v.shape:
            return self.splat(v, target)
        padded = (1,) * (len(target) - len(v.shape)) + v.shape
        if len(padded) != len(target) or any(d not in (1, t) for d, t in zip(padded, target, strict=True)):
            raise ShapeError(f"a tile of shape {v.shape} cannot be broadcast to {target}", "only dimensions of size 1 can grow")
        while len(v.shape) < len(target):
            v = self.value(shape_ops.expand_dims, v, axis=0)
        return v if v.shape == target else self.value(shape_ops.broadcast, v, shape=target)

    def broadcast(self, *values: Value) -> tuple[Value, ...]:
        """The values, all grown to their common shape."""
        common: tuple[int, ...] = ()
        for v in values:
            common = broadcast_shapes(common, v.type.shape)  # type: ignore[union-attr]
        return tuple([v if v.type.shape == common else self.broadcast_to(v, common) for v in values])  # type: ignore[union-attr]

    # -- types ------------------------------------------------------------------------------------------------------

    def cast(self, v: Value, dtype: Elem, rounding: str | None = None, bitcast: bool = False) -> Value:
        """v as another type. `rounding` ("rtne", "rtz") is for floats that lose bits; a bitcast keeps the bits."""
        if not isinstance(dtype, (DType, Pointer)):
            raise DtypeError(f"{dtype!r} is no dtype", "name one: x.to(tl.float32)")
        if v.type.elem == dtype:
            return v
        source = v.type.elem
        if isinstance(dtype, Pointer):
            raise PointerError(
                f"{source} cannot become a pointer to {dtype.elem}", "pass the array with that dtype: x.view(...) before the launch"
            )
        if isinstance(source, Pointer) and not (bitcast and dtype.bits == 64 and not dtype.is_float):
            raise PointerError(
                f"a pointer cannot be cast to {dtype}", "load first: tl.load(ptr).to(…); for its address: ptr.to(tl.int64, bitcast=True)"
            )
        if bitcast:
            return self.value(cast.bitcast, v, to=dtype)
        if rounding is not None:
            assert isinstance(source, DType)
            if not (source.is_float and dtype.is_float and dtype.bits < source.bits):
                raise DtypeError(f"fp_downcast_rounding is for floats that lose bits, not for {source} to {dtype}", "leave it out")
        return self.value(cast.cast, v, to=dtype, rounding=rounding or "rtne")

    def truth(self, x: Any) -> Value:
        """x as int1: whether it differs from 0."""
        v = self.to_value(x)
        if v.type.is_pointer:  # type: ignore[union-attr]
            raise PointerError("a pointer is no condition", "compare what it points to: tl.load(ptr) != 0")
        return self.cast(v, dt.int1)

    def common_dtype(self, x: Operand, y: Operand, division: bool = False) -> DType:
        """The type in which two operands meet. A Python number yields to a tensor of its kind or above."""
        if isinstance(x, Value) == isinstance(y, Value):
            return promote(self._dtype(x), self._dtype(y), division)
        tensor, number = (self._dtype(x), self._dtype(y)) if isinstance(x, Value) else (self._dtype(y), self._dtype(x))
        return promote(tensor, tensor if _kind(number) <= _kind(tensor) else number, division)

    @staticmethod
    def _dtype(x: Operand) -> DType:
        return x.type.dtype if isinstance(x, Value) else literal_dtype(x)  # type: ignore[union-attr]

    def meet(self, x: Any, y: Any, division: bool = False) -> tuple[Value, Value]:
        """Two numbers in their common type and shape."""
        x, y = self._operand(x), self._operand(y)
        if isinstance(x, Value) and isinstance(y, Value) and x.type is y.type and not division and not x.type.is_pointer:  # type: ignore[union-attr]
            return x, y
        dtype = self.common_dtype(x, y, division)
        a, b = (self.cast(v, dtype) if isinstance(v, Value) else self.constant(v, dtype) for v in (x, y))
        return self.broadcast(a, b)  # type: ignore[return-value]

    def _operand(self, x: Any) -> Operand:
        return x if isinstance(x, Value) or is_number(x) else self.to_value(x)

    # -- operators --------------------------------------------------------------------------------------------------

    def binary(self, name: str, x: Any, y: Any) -> Value:
        """A Python operator by name: add sub mul truediv floordiv mod pow and or xor lshift rshift eq ne lt le gt ge."""
        x, y = self._operand(x), self._operand(y)
        if (isinstance(x, Value) and x.type.is_pointer) or (isinstance(y, Value) and y.type.is_pointer):  # type: ignore[union-attr]
            return self._pointer_binary(name, x, y)
        if name == "pow":
            return self._pow(x, y)
        if name in INTEGER_ONLY or name == "floordiv":
            self._integers(name, x, y)
        if name in ("floordiv", "mod"):
            self._one_signedness(name, x, y)
        division = name == "truediv" or (name == "mod" and (self._dtype(x).is_float or self._dtype(y).is_float))
        return self.value(BINARY[name], *self.meet(x, y, division))

    def unary(self, name: str, x: Any) -> Value:
        """neg, pos, invert or not."""
        if name == "not":
            return self.logical_not(x)
        v = self.to_value(x)
        if v.type.is_pointer:  # type: ignore[union-attr]
            raise PointerError(f"`{SYMBOL[name]}` takes a number, got a pointer ({v.type})", "load from the pointer first: tl.load(ptr)")
        if name == "pos":
            return v
        if name == "invert" and v.type.dtype.is_float:  # type: ignore[union-attr]
            raise DtypeError(f"`~` takes integers, got {v.type}", "for a condition, compare first: ~(x > 0)")
        return self.value(arith.neg if name == "neg" else arith.invert, v)

    def logical_and(self, x: Any, y: Any) -> Value:
        """int1: both differ from 0."""
        return self.value(arith.and_, *self.broadcast(self.truth(x), self.truth(y)))

    def logical_or(self, x: Any, y: Any) -> Value:
        """int1: one differs from 0."""
        return self.value(arith.or_, *self.broadcast(self.truth(x), self.truth(y)))

    def logical_not(self, x: Any) -> Value:
        """int1: x is 0."""
        return self.value(arith.invert, self.truth(x))

    def select(self, condition: Any, x: Any, y: Any) -> Value:
        """x where the condition holds, else y; all three broadcast, and x and y meet in one type."""
        x, y = self._operand(x), self._operand(y)
        pointers = [isinstance(v, Value) and v.type.is_pointer for v in (x, y)]  # type: ignore[union-attr]
        if any(pointers):
            if not all(pointers) or x.type.elem != y.type.elem:
                raise PointerError(
                    f"a choice is between values of one type, got {_spelled(x)} and {_spelled(y)}",
                    "choose between offsets, then add the pointer",
                )
            a, b = self.broadcast(x, y)
        else:
            a, b = self.meet(x, y)
        return self.value(compare.select, *self.broadcast(self.truth(condition), a, b))

    # -- the details ------------------------------------------------------------------------------------------------

    def _integers(self, name: str, x: Operand, y: Operand) -> None:
        for v in (x, y):
            if self._dtype(v).is_float:
                remedy = "for floats: tl.floor(x / y)" if name == "floordiv" else "cast it: x.to(tl.int32); for conditions, compare: x > 0"
                raise DtypeError(f"`{SYMBOL[name]}` takes integers, got {_spelled(v)}", remedy)

    def _one_signedness(self, name: str, x: Operand, y: Operand) -> None:
        if not (isinstance(x, Value) and isinstance(y, Value)):
            return
        a, b = self._dtype(x), self._dtype(y)
        if a.is_int and b.is_int and a.is_signed != b.is_signed:
            raise DtypeError(f"`{SYMBOL[name]}` of {a} and {b}: one is signed, one is not", f"cast one of them: y.to(tl.{a})")

    def _pow(self, x: Operand, y: Operand) -> Value:
        if not self._dtype(x).is_float and not self._dtype(y).is_float:
            if isinstance(y, Value) or y < 0:
                raise DtypeError(f"an integer to the power {_spelled(y)} is no integer in general", "cast the base: x.to(tl.float32) ** y")
            return self._integer_power(self.to_value(x), int(y))
        if not isinstance(y, Value) and y == 2:
            v = self.to_value(x)
            return self.value(arith.mul, v, v)
        return self.value(math_ops.pow_, *self.meet(x, y))

    def _integer_power(self, x: Value, n: int) -> Value:
        if x.type.dtype.is_bool:  # type: ignore[union-attr]
            x = self.cast(x, dt.int32)
        result: Value | None = None
        while n:
            if n & 1:
                result = x if result is None else self.value(arith.mul, result, x)
            n >>= 1
            if n:
                x = self.value(arith.mul, x, x)
        return self.splat(self.constant(1, x.type.dtype), x.shape) if result is None else result  # type: ignore[union-attr]

    def _pointer_binary(self, name: str, x: Operand, y: Operand) -> Value:
        def pointer(v: Operand) -> bool:
            return isinstance(v, Value) and v.type.is_pointer  # type: ignore[union-attr]

        if name in COMPARISONS:
            if not (pointer(x) and pointer(y)) or x.type.elem != y.type.elem:  # type: ignore[union-attr]
                raise PointerError(
                    f"`{SYMBOL[name]}` between {_spelled(x)} and {_spelled(y)}: pointers compare with pointers to the same type",
                    "did you mean the value behind it? tl.load(ptr)",
                )
            return self.value(BINARY[name], *self.broadcast(x, y))  # type: ignore[arg-type]
        if name == "add" and pointer(y) and not pointer(x):
            x, y = y, x
        if name not in ("add", "sub") or pointer(y):
            raise PointerError(
                f"`{SYMBOL[name]}` between {_spelled(x)} and {_spelled(y)}: a pointer takes only integer offsets (ptr + i, ptr - i)",
                "compute the offset first, or load the value: tl.load(ptr)",
            )
        offset = self.to_value(y)
        if offset.type.dtype.is_float:  # type: ignore[union-attr]
            raise PointerError(f"a pointer is advanced by integers, not by {_spelled(y)}", "cast the offset: offset.to(tl.int32)")
        if name == "sub":
            offset = self.constant(-y, literal_dtype(-y)) if is_number(y) else self.value(arith.neg, self._signed(offset))
        return self.value(arith.addptr, *self.broadcast(x, offset))  # type: ignore[arg-type]

    def _signed(self, v: Value) -> Value:
        """An offset in a type that holds its negative (64-bit ones wrap, as addresses do)."""
        d = v.type.dtype  # type: ignore[union-attr]
        return self.cast(v, dt.int32 if d.bits < 32 else dt.int64 if d is dt.uint32 else d)


def constant_int(x: Any, what: str) -> int:
    """A compile-time integer, or an error that names `what`."""
    if isinstance(x, Value):
        raise ConstexprError(f"{what} must be known at compile time, got a run-time {x.type}", "pass it as a tl.constexpr parameter")
    if isinstance(x, np.integer):
        x = x.item()
    if isinstance(x, bool) or not isinstance(x, int):
        raise ConstexprError(f"{what} must be an integer, got {x!r}", "pass a Python integer or a tl.constexpr parameter")
    return x


def constant_shape(shape: Any, what: str) -> tuple[int, ...]:
    """A compile-time tuple of integers (one integer counts as a tuple of one)."""
    return tuple(constant_int(d, what) for d in shape) if isinstance(shape, (tuple, list)) else (constant_int(shape, what),)
