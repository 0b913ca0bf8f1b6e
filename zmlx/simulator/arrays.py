"""MLX's arrays as buffers of a launch, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from zmlx.simulator.process import Buffer
from zmlx.simulator.source import Wanted

# NumPy has no bfloat16: its bits travel.
_NUMPY = {
    mx.bool_: np.bool_, mx.int8: np.int8, mx.int16: np.int16, mx.int32: np.int32, mx.int64: np.int64, mx.uint8: np.uint8,
    mx.uint16: np.uint16, mx.uint32: np.uint32, mx.uint64: np.uint64, mx.float16: np.float16, mx.bfloat16: np.uint16,
    mx.float32: np.float32, mx.complex64: np.complex64,
}  # fmt: skip


class Input(NamedTuple):
    """An input's memory from its lowest element to its highest, and where in it the first one lies."""

    memory: np.ndarray  # bytes
    start: int
    skew: int
    strides: tuple[int, ...]  # of elements


def numpy_view(array: mx.array) -> np.ndarray:
    """An evaluated array's own memory; bfloat16 as uint16."""
    if array.dtype == mx.bfloat16:
        array = array.view(mx.uint16)  # keeps the strides of arrays of any layout
        mx.eval(array)
    return np.array(array, copy=False)


def read(array: mx.array, ensure_row_contiguous: bool) -> Input:
    view = numpy_view(array)
    size = view.itemsize
    if view.flags.c_contiguous or ensure_row_contiguous or not view.size:
        if not view.flags.c_contiguous:
            view = np.ascontiguousarray(view)
        skew = _skew(view) if view.base is not None and view.size else 0
        return Input(view.reshape(-1).view(np.uint8), 0, skew, tuple(s // size for s in view.strides))
    reach = [s * (n - 1) for s, n in zip(view.strides, view.shape, strict=True)]
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + size
    first = view[(slice(0, 1),) * view.ndim].reshape(1).view(np.uint8)
    base = np.lib.stride_tricks.as_strided(first, (high,), (1,))
    if low:
        lowest = view[tuple(slice(-1, None) if s < 0 else slice(0, 1) for s in view.strides)].reshape(1).view(np.uint8)
        base = np.lib.stride_tricks.as_strided(lowest, (high - low,), (1,))
    return Input(base, -low, _skew(base), tuple(s // size for s in view.strides))


def _skew(view: np.ndarray) -> int:
    """How a view's first byte lies to 16 bytes on a Mac, where MLX's arrays start at multiples of 256."""
    return int(view.ctypes.data - _origin()) % 16


def _origin() -> int:
    """Where MLX's allocator puts new arrays here, modulo 16."""
    if not _ORIGIN:
        fresh = mx.zeros((16,))
        mx.eval(fresh)
        _ORIGIN.append(int(np.array(fresh, copy=False).ctypes.data % 16))
    return _ORIGIN[0]


_ORIGIN: list[int] = []


def input_buffers(name: str, array: mx.array, wanted: Wanted, ensure_row_contiguous: bool, updated: bool) -> list[Buffer]:
    """The buffers of an input: its own, and those of its shape, strides and ndim where the source names them."""
    found = read(array, ensure_row_contiguous)
    own = Buffer(name, found.memory.size, array.itemsize, found.memory, writable=updated, offset=found.start, skew=found.skew)
    buffers = [own]
    if array.ndim == 0:
        return buffers
    for is_wanted, suffix, values, dtype in (
        (wanted.shape, "shape", array.shape, np.int32),
        (wanted.strides, "strides", found.strides, np.int64),
        (wanted.ndim, "ndim", (array.ndim,), np.int32),
    ):
        if is_wanted:
            data = np.array(values, dtype)
            buffers.append(Buffer(f"{name}_{suffix}", data.nbytes, data.itemsize, data))
    return buffers


def output_buffer(name: str, shape: Sequence[int], dtype: mx.Dtype, init_value: float | None) -> Buffer:
    size = int(np.prod(shape, dtype=np.int64))
    content = None
    if init_value is not None:
        value = mx.array(init_value, mx.float32).astype(dtype)
        mx.eval(value)
        content = np.full(size, numpy_view(value))
    return Buffer(name, size * dtype.size, dtype.size, content, writable=True, initialised=content is not None, must_write=content is None)


def as_array(data: np.ndarray, shape: Sequence[int], dtype: mx.Dtype) -> mx.array:
    """A new array of the bytes that a kernel wrote."""
    array = mx.array(data.view(_NUMPY[dtype]).reshape(tuple(shape)))
    return array.view(mx.bfloat16) if dtype == mx.bfloat16 else array


def write_back(array: mx.array, data: np.ndarray) -> None:
    """Puts bytes into an array's own memory: the kernel writes through this input on purpose."""
    view: Any = numpy_view(array)
    view[...] = data.view(view.dtype).reshape(view.shape)
