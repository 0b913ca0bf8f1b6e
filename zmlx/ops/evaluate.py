"""What an elementwise or shape op gives for NumPy operands, rounding included: the reference semantics, run.

Half types are computed in float32 and rounded after each op, transcendental functions in float64 and rounded once.
The interpreter and constant folding share this, so that a folded constant is what the oracle would compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.core import Op
from zmlx.ir.types import Pointer, Type
from zmlx.ops.cast import bitcast_array, cast_array

ADDRESS = np.dtype(np.int64)  # how the interpreter holds pointers


def compute_dtype(t: Type) -> np.dtype:
    """The NumPy type that holds values of an IR type."""
    return ADDRESS if isinstance(t.elem, Pointer) else t.elem.compute


def literal(value: Any, dtype: DType) -> np.ndarray:
    """A Python number as a value of an element type: integers wrap, floats round to nearest."""
    if dtype is dt.int1:
        return np.array(bool(value))
    if dtype.is_int:
        low = int(value) & ((1 << dtype.bits) - 1)
        return np.array(low, np.uint64).astype(dtype.compute)
    with np.errstate(all="ignore"):
        return round_to(np.array(float(value), np.float64), dtype)


def round_to(x: Any, dtype: DType) -> np.ndarray:
    """Floats of any width as values of a type."""
    if dtype is dt.bfloat16:
        return np.asarray(cast_array(np.asarray(x), dt.float64 if np.asarray(x).dtype.itemsize > 4 else dt.float32, dtype))
    return np.asarray(x).astype(dtype.compute, copy=False)


def evaluable(op: Op) -> bool:
    """Whether `evaluate` knows the op."""
    return op.defn.numpy is not None or op.name in _SPECIAL


def evaluate(op: Op, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results of an op whose record has reference semantics, for operands of its types.

    Operands may have a common larger shape than the op's (the elements of a tile under a scalar combine function).
    """
    special = _SPECIAL.get(op.name)
    if special is not None:
        return [np.asarray(special(op, *operands))]
    fn = op.defn.numpy
    assert fn is not None, op.name
    if op.defn.elementwise:
        elem = op.results[0].type.elem
        source = op.operands[0].type.elem if op.operands else elem
        if isinstance(source, DType) and source.is_float:
            if op.has("transcendental"):
                operands = [x.astype(np.float64) for x in operands]
            elif source.is_half:
                operands = [x.astype(np.float32) if x.dtype == np.float16 else x for x in operands]
        out = np.asarray(fn(*operands, **op.attrs))
        if isinstance(elem, DType):
            out = round_to(out, elem) if elem.is_float else out.astype(elem.compute, copy=False)
        return [out]
    out = fn(*operands, **op.attrs)
    return [np.asarray(x) for x in out] if isinstance(out, tuple) else [np.asarray(out)]


def _cast(op: Op, x: np.ndarray) -> Any:
    source: Any = op.operands[0].type
    return cast_array(x, source.dtype, op.attrs["to"], op.attrs.get("rounding", "rtne"))


def _bitcast(op: Op, x: np.ndarray) -> Any:
    source, to = op.operands[0].type.elem, op.attrs["to"]
    elems = [dt.int64 if isinstance(e, Pointer) else e for e in (source, to)]
    return bitcast_array(x, *elems)


def _addptr(op: Op, p: np.ndarray, offset: np.ndarray) -> Any:
    elem: Any = op.operands[0].type.elem
    return p + offset.astype(np.int64) * elem.elem.itemsize


_SPECIAL: dict[str, Callable[..., Any]] = {
    "cast": _cast,
    "bitcast": _bitcast,
    "addptr": _addptr,
    "constant": lambda op: literal(op.attrs["value"], op.attrs["type"]),
}
