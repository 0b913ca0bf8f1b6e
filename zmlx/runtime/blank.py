"""Uninitialised MLX arrays, which MLX itself does not offer: loads of files whose data is never written.

`mx.load` takes any file-like object. It reads the header, allocates the array, and lets the object fill the memory: ours
leaves it as it is. 8 MB of zeros cost several times what a memory-bound kernel on two threads adds to that.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import mlx.core as mx
import numpy as np

_PLAIN = {
    mx.bool_: "|b1", mx.int8: "|i1", mx.uint8: "|u1", mx.int16: "<i2", mx.uint16: "<u2", mx.float16: "<f2", mx.int32: "<i4",
    mx.uint32: "<u4", mx.float32: "<f4", mx.int64: "<i8", mx.uint64: "<u8",
}  # fmt: skip
_BITS = {mx.bfloat16: mx.uint16, mx.float64: mx.int64}  # what .npy files of MLX cannot name


class _BlankFile:
    """An .npy file with a header and no content; as much of a file as mx.load asks for."""

    closed = False

    def __init__(self, header: bytes) -> None:
        self.header, self.place = header, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = offset + (self.place if whence == 1 else 0)
        return self.place

    def read(self, count: int = -1) -> bytes:
        text = self.header[self.place : None if count < 0 else self.place + count]
        self.place += len(text)
        return text

    def readinto(self, memory: memoryview) -> int:
        if self.place < len(self.header):
            text = self.read(len(memory))
            memory[: len(text)] = text
            return len(text)
        self.place += len(memory)
        return len(memory)


@lru_cache(maxsize=64)
def _header(shape: tuple[int, ...], descr: str) -> bytes:
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": descr, "fortran_order": False, "shape": shape})
    return text.getvalue()


def blank(shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    """An evaluated row-contiguous array whose content is whatever lay there."""
    as_loaded = _BITS.get(dtype, dtype)
    file: Any = _BlankFile(_header(shape, _PLAIN[as_loaded]))
    array = mx.load(file, format="npy", stream=mx.cpu)
    if as_loaded is not dtype:
        array = array.view(dtype)  # type: ignore[union-attr]
    mx.eval(array)
    return array  # type: ignore[return-value]
