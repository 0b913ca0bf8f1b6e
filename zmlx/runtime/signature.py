"""What the arguments of a launch mean to the compiler: kinds, specialisation, keys.

Arrays become pointers. bool becomes int1; int becomes int32, int64 or uint64 by its value, 1 becomes a constant, and
divisibility by 16 is part of the key; float becomes float32; None, strings, dtypes, jit functions and tuples become
constants. `do_not_specialize` keeps an int's value out of the key (its width stays in it).

Alignment. Only what holds for every later launch with the same key may be promised, and a pointer is not known before
its array is evaluated. On Metal and CUDA MLX allocates whole arrays at 256 bytes, so an array that the launch itself
allocates (a fresh output) is 16-byte aligned; an input may be a view such as x[1:], which is row-contiguous, is not
copied, and starts anywhere. On the CPU MLX's allocator keeps the size in front of the data: whole arrays lie at 8 mod 16,
and the vector instructions used do not care. A target whose text tests alignment itself says so (`guards_alignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import ArgumentError, ArrayError
from zmlx.frontend.source import ArrayArg, ConstexprArg, ScalarArg, source_hash
from zmlx.ops.device import DeviceFunction
from zmlx.runtime.fresh import FreshArray

Arg = ArrayArg | ScalarArg | ConstexprArg

DTYPE_OF = {getattr(mx, d.name if d is not dt.int1 else "bool_"): d for d in dt.ALL}
MLX_OF = {d: m for m, d in DTYPE_OF.items()}

# Keys of run-time numbers, and what they stand for.
_BIG = 1 << 31
INT32_MAX = _BIG - 1
_SCALARS: dict[str, Arg] = {
    "1": ConstexprArg(1),
    "i1": ScalarArg(dt.int1),
    "f32": ScalarArg(dt.float32),
    **{d.short: ScalarArg(d) for d in (dt.int32, dt.int64, dt.uint64)},
    **{d.short + "/16": ScalarArg(d, 16) for d in (dt.int32, dt.int64, dt.uint64)},
}


@dataclass(frozen=True)
class ArraySpec:
    """An array that is not there: for `kernel.compile`.

    shape   dimensions
    dtype   an MLX dtype, a `tl` dtype or its name
    fresh   as an output of zmlx.empty; False: an array with content, which a kernel that writes it must preserve
    """

    shape: tuple[int, ...]
    dtype: Any
    fresh: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", (self.shape,) if isinstance(self.shape, int) else tuple(self.shape))
        object.__setattr__(self, "dtype", as_dtype(self.dtype))

    @property
    def size(self) -> int:
        n = 1
        for d in self.shape:
            n *= d
        return n


def as_dtype(dtype: Any) -> DType:
    """A DType from an MLX dtype, a DType or a name. Raises ArrayError."""
    if isinstance(dtype, DType):
        return dtype
    found = DTYPE_OF.get(dtype) if isinstance(dtype, mx.Dtype) else dt.BY_NAME.get(dtype) or dt.BY_SHORT.get(dtype)
    if found is None:
        raise ArrayError(f"{dtype} is no element type of kernels; use one of {', '.join(d.name for d in dt.ALL)}")
    return found


# ---- keys: what distinguishes one compiled kernel from another, cheaply ----------------------------------------------


def int_key(v: int) -> str:
    """The key of an integer argument."""
    if v == 1:
        return "1"
    if -_BIG <= v < _BIG:
        return "i32" if v & 15 else "i32/16"
    if -(1 << 63) <= v < 1 << 63:
        return "i64" if v & 15 else "i64/16"
    if 0 <= v < 1 << 64:
        return "u64" if v & 15 else "u64/16"
    raise ArgumentError(f"the integer {v} fits no 64-bit type")


def plain_int_key(v: int) -> str:
    """The key of an integer whose value must not specialise the kernel."""
    return "i32" if v == 1 else int_key(v).partition("/")[0]


def _spec_key(v: ArraySpec) -> Any:
    return (ArraySpec, v.dtype, v.fresh)


def _array_key(v: mx.array) -> Any:
    return (type(v), v.dtype) if isinstance(v, FreshArray) else v.dtype


def _foreign(v: Any) -> Any:
    if isinstance(v, np.bool_):
        return "i1"
    if isinstance(v, np.integer):
        return int_key(int(v))
    if isinstance(v, np.floating):
        return "f32"
    if isinstance(v, mx.array):
        return _array_key(v)
    return constant_key(v)


_KEYS: dict[type, Callable[[Any], Any]] = {
    int: int_key,
    bool: lambda v: "i1",
    float: lambda v: "f32",
    mx.array: _array_key,
    ArraySpec: _spec_key,
}


def key(v: Any) -> Any:
    """The key of a run-time argument; hashable, equal exactly where the same kernel serves."""
    return _KEYS.get(type(v), _foreign)(v)


def plain_key(v: Any) -> Any:
    """`key` under do_not_specialize."""
    if isinstance(v, (int, np.integer)) and not isinstance(v, bool):
        return plain_int_key(int(v))
    return key(v)


def constant_key(v: Any) -> Any:
    """The key of a constant: unlike Python's ==, it tells 1, True and 1.0 apart, and 0.0 from -0.0."""
    t = type(v)
    if t is int:
        return v
    if v is None or t in (bool, str, bytes):
        return (t, v)
    if t is float:
        return (t, v.hex())
    if t is tuple:
        return (t, *map(constant_key, v))
    if isinstance(v, (DType, DeviceFunction)):
        return (DType, v)
    if isinstance(v, mx.Dtype):
        return (DType, as_dtype(v))
    if isinstance(v, (np.bool_, np.integer, np.floating)):
        return constant_key(v.item())
    if hasattr(v, "value") and t.__name__ == "constexpr":
        return constant_key(v.value)
    return (t, v)


def constant(v: Any) -> Any:
    """A constant as the frontend takes it. Raises ArgumentError for what kernels cannot hold."""
    if v is None or isinstance(v, (bool, int, float, str, DType, DeviceFunction)):
        return v.item() if isinstance(v, np.generic) else v
    if isinstance(v, mx.Dtype):
        return as_dtype(v)
    if isinstance(v, tuple):
        return tuple(map(constant, v))
    if isinstance(v, np.generic):
        return v.item()
    if type(v).__name__ == "constexpr" and hasattr(v, "value"):
        return constant(v.value)
    raise ArgumentError(f"a {type(v).__name__} cannot be a constant; pass a number, string, None, dtype, jit function or a tuple of these")


# ---- arguments: what a key means ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bound:
    """One parameter of a launch: what the frontend is told, and what the runtime must do.

    fresh   an array without content to keep; zeroed: and its elements are zeros
    """

    arg: Arg
    fresh: bool = False
    zeroed: bool = False


def bind(name: str, v: Any, *, is_constexpr: bool, specialize: bool, target: str, guarded: bool) -> Bound:
    """Classifies one argument. Raises ArgumentError or ArrayError naming the parameter.

    guarded: the target's text tests alignment at run time.
    """
    array = isinstance(v, (mx.array, ArraySpec))
    if is_constexpr:
        if array:
            got = f"an array of shape {tuple(v.shape)}"
            raise ArgumentError(f"{name} is a constexpr, got {got}; pass a Python number (x.item() reads one element)")
        try:
            return Bound(ConstexprArg(constant(v)))
        except ArgumentError as e:
            raise ArgumentError(f"{name}: {e}") from None
    if array:
        return _bind_array(name, v, target, guarded)
    if isinstance(v, (bool, np.bool_, int, float, np.integer, np.floating)):
        short = key(v) if specialize else plain_key(v)
        return Bound(_SCALARS[short])
    if isinstance(v, np.ndarray) or hasattr(v, "__dlpack__") or hasattr(v, "__array__"):
        kind = f"{type(v).__module__.partition('.')[0]} {type(v).__name__}"
        raise ArrayError(f"{name} is a {kind}; kernels take MLX arrays: pass mx.array({name})")
    if isinstance(v, list):
        raise ArrayError(f"{name} is a list; kernels take MLX arrays and numbers: pass mx.array({name}), or a tuple for a constant")
    try:
        return Bound(ConstexprArg(constant(v)))
    except ArgumentError:
        raise ArgumentError(
            f"{name} is a {type(v).__name__}; pass an MLX array, a number, None, a string, dtype, jit function or a tuple of these"
        ) from None


def _bind_array(name: str, v: Any, target: str, guarded: bool) -> Bound:
    if isinstance(v, ArraySpec):
        dtype, fresh, zeroed = v.dtype, v.fresh, False
    else:
        found = DTYPE_OF.get(v.dtype)
        if found is None:
            raise ArrayError(f"{name} is a {v.dtype} array, which kernels cannot take; split it with mx.real and mx.imag")
        dtype, fresh = found, isinstance(v, FreshArray)
        zeroed = isinstance(v, FreshArray) and v.zeroed
    if dtype is dt.float64 and target not in ("cpu", "interpret"):
        raise ArrayError(
            f"{name} is a float64 array, which MLX holds on the CPU only; use {name}.astype(mx.float32), or zmlx.use_target('cpu')"
        )
    aligned = target not in ("cpu", "interpret") and (fresh or guarded)
    return Bound(ArrayArg(dtype, 16 if aligned else 1), fresh, zeroed)


def refuse_empty(name: str, v: Any) -> None:
    """Raises ArrayError for an array without elements."""
    if v.size == 0:
        raise ArrayError(f"{name} has no elements (shape {tuple(v.shape)}); there is nothing to compute: skip the launch")


def functions(args: Mapping[str, Arg]) -> Iterator[DeviceFunction]:
    """The jit functions among constant arguments."""
    todo = [a.value for a in args.values() if isinstance(a, ConstexprArg)]
    while todo:
        value = todo.pop()
        if isinstance(value, DeviceFunction):
            yield value
        elif isinstance(value, tuple):
            todo += value


def describe(args: Mapping[str, Arg]) -> str:
    """Arguments as text that is the same in every process, for keys on disk."""
    return "; ".join(f"{name}: {_describe(a)}" for name, a in args.items())


def _describe(a: Arg) -> str:
    if isinstance(a, ConstexprArg):
        return f"constexpr {_text(a.value)}"
    return f"{'array' if isinstance(a, ArrayArg) else 'scalar'} {a.dtype.name}/{a.divisibility}"


def _text(v: Any) -> str:
    if isinstance(v, DeviceFunction):
        return f"jit {v.fn.__module__}.{v.fn.__qualname__} {source_hash(v)}"
    if isinstance(v, tuple):
        return f"({', '.join(map(_text, v))})"
    return f"{type(v).__name__} {v!r}"
