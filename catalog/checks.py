"""What wrappers refuse, with a remedy, before a kernel is chosen."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from zmlx.errors import ArrayError

FLOATS = (mx.float32, mx.float16, mx.bfloat16)


def floats(where: str, **arrays: Any) -> None:
    """Every argument is an mx.array, of one common dtype among float32, float16 and bfloat16."""
    first, kind = "", None
    for name, array in arrays.items():
        if not isinstance(array, mx.array):
            raise ArrayError(f"{where}: {name} is a {type(array).__name__}, not an mx.array; wrap it: mx.array({name})")
        if array.dtype not in FLOATS:
            raise ArrayError(f"{where}: {name} has dtype {_name(array.dtype)}; cast it: {name}.astype(mx.float32)")
        if kind is not None and array.dtype != kind:
            raise ArrayError(f"{where}: {first} is {_name(kind)} and {name} is {_name(array.dtype)}; cast one to the other")
        first, kind = first or name, array.dtype


def integers(where: str, name: str, array: Any) -> None:
    """The argument is an mx.array of integers."""
    if not isinstance(array, mx.array):
        raise ArrayError(f"{where}: {name} is a {type(array).__name__}, not an mx.array; wrap it: mx.array({name})")
    if not mx.issubdtype(array.dtype, mx.integer):
        raise ArrayError(f"{where}: {name} has dtype {_name(array.dtype)}; cast it: {name}.astype(mx.int32)")


def shape(where: str, name: str, array: mx.array, expected: tuple[int, ...]) -> None:
    """The array has that very shape."""
    if array.shape != expected:
        raise ArrayError(f"{where}: {name} has shape {array.shape}, and {expected} is needed; reshape it, or check the other arguments")


def rank(where: str, name: str, array: mx.array, least: int, most: int | None = None) -> None:
    """The array has at least `least` and at most `most` axes."""
    if array.ndim < least or (most is not None and array.ndim > most):
        needed = f"{least}" if most == least else f"{least} to {most}" if most else f"at least {least}"
        raise ArrayError(f"{where}: {name} has {array.ndim} axes, and {needed} are needed; reshape it")


def int32_offsets(where: str, name: str, array: mx.array) -> None:
    """The array is small enough for offsets of 32 bits, which are what kernels compute with unless they say otherwise."""
    if array.size >= 1 << 31:
        raise ArrayError(f"{where}: {name} has {array.size} elements, and fewer than 2**31 are needed; split it")


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")
