"""Outputs that are known to be fresh: `zmlx.empty`, `empty_like`, `zeros`.

A launch that writes an array must carry its old content over, unless it is known that there is none worth carrying.
MLX's arrays are immutable values inside, but their Python objects are rebound in place by `a += 1`, `a[i] = x` and by
launches, so "this object was made by zmlx.empty" is no proof by itself. The rule: *freshness is the object's class*. A
fresh array is an instance of a subclass of mx.array without any state of its own; the subclass's in-place operators, and
a launch that wrote it, turn the object back into a plain `mx.array` first (`__class__` assignment: same layout, so it is
legal and costs 50 ns). Nothing but its own class is ever consulted, so there is no table to go stale, and the class is a
part of the launch key for free.

Freshness is lost by: in-place operators, `a[...] = `, a launch that writes it, pickling and copying (the copy is plain).
It is not seen when MLX's C++ rebinds the object without Python, which only `mx.compile(f, outputs=[...])` with the fresh
array itself among `outputs` does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from operator import index
from typing import Any

import mlx.core as mx

_INPLACE = ("iadd", "isub", "imul", "idiv", "itruediv", "ifloordiv", "imod", "ipow", "imatmul",
            "iand", "ior", "ixor", "ilshift", "irshift", "setitem", "setstate")  # fmt: skip


class FreshArray(mx.array):
    """An array without content worth keeping: its elements are zeros if `zeroed`, else unspecified."""

    __slots__ = ()
    zeroed = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        return mx.array, (self.__copy__(),)


def _plain_first(name: str) -> Any:
    inherited = getattr(mx.array, name)

    def method(self: mx.array, *args: Any) -> Any:
        self.__class__ = mx.array
        return inherited(self, *args)

    method.__name__ = name
    return method


for _name in _INPLACE:
    _dunder = f"__{_name}__"
    if hasattr(mx.array, _dunder):
        setattr(FreshArray, _dunder, _plain_first(_dunder))


class EmptyArray(FreshArray):
    """Elements are unspecified until a kernel writes them; atomics and loads find zeros."""

    __slots__ = ()


class ZeroArray(FreshArray):
    """Elements are zeros."""

    __slots__ = ()
    zeroed = True


_can_eval = True  # MLX hangs when a child made by fork evaluates
_shared: dict[tuple[tuple[int, ...], mx.Dtype], mx.array | None] = {}  # None: asked for once
_MOST = 1024


def _zeros_of(key: tuple[tuple[int, ...], mx.Dtype]) -> mx.array:
    """What fresh arrays of a shape and a dtype are copies of: one zero, broadcast.

    From the second time on they share one, evaluated so that it is bound to no thread's stream: evaluating costs more than a
    node, and a shape that changes with every launch would pay it each time.
    """
    shape, dtype = key
    if key in _shared and _can_eval:
        made = mx.broadcast_to(_zero(dtype), shape, stream=mx.cpu)
        mx.eval(made)  # before another thread sees it
        _shared[key] = made
        return made
    made = mx.broadcast_to(_zero(dtype), shape)
    if len(_shared) >= _MOST:
        _shared.clear()
    _shared[key] = None
    return made


def _forked() -> None:
    global _can_eval
    _can_eval = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@lru_cache(maxsize=32)
def _zero(dtype: mx.Dtype) -> mx.array:
    return mx.array(False).astype(dtype, mx.cpu) if dtype == mx.float64 else mx.array(0, dtype)


def _fresh(kind: type[FreshArray], shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    found = _shared.get(key := (shape, dtype))
    made = (_zeros_of(key) if found is None else found).__copy__()
    made.__class__ = kind
    return made


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (index(shape),) if isinstance(shape, int) else tuple(map(index, shape))


def empty(shape: int | Sequence[int], dtype: mx.Dtype = mx.float32) -> mx.array:
    """An output array for kernels: shape and dtype without content.

    Elements that a kernel does not write are unspecified. Atomics, and loads by a kernel that also writes it, find zeros.
    """
    return _fresh(EmptyArray, _shape(shape), dtype)


def empty_like(x: mx.array, dtype: mx.Dtype | None = None) -> mx.array:
    """`empty` with another array's shape and dtype."""
    return _fresh(EmptyArray, x.shape, x.dtype if dtype is None else dtype)


def zeros(shape: int | Sequence[int], dtype: mx.Dtype = mx.float32) -> mx.array:
    """An output array of zeros: what a kernel does not write stays 0, atomics start from 0."""
    return _fresh(ZeroArray, _shape(shape), dtype)


def full(shape: int | Sequence[int], value: float | int | bool, dtype: mx.Dtype | None = None) -> mx.array:
    """An array filled with one number: what a kernel does not write keeps it, atomics start from it.

    dtype: by default bool, int32 or float32 after the value's Python type. A value other than 0 is content like any
    other, which a launch carries over.
    """
    if dtype is None:
        dtype = mx.bool_ if isinstance(value, bool) else mx.int32 if isinstance(value, int) else mx.float32
    if value == 0 and math.copysign(1, value) > 0:
        return zeros(shape, dtype)
    return mx.full(shape, value, dtype)


def strides(x: mx.array) -> tuple[int, ...]:
    """Row-major strides of an array in elements, as kernels see it: () for a 0-d array."""
    out, step = [], 1
    for n in reversed(x.shape):
        out.append(step)
        step *= n
    return tuple(reversed(out))
