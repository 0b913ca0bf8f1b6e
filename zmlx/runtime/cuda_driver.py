"""Questions to the CUDA driver that neither MLX nor NVRTC answers: what a cubin uses, how large the GPU is."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager

from zmlx.errors import ToolchainError

_MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_LOCAL_SIZE = 3  # CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES


@functools.lru_cache(maxsize=1)
def _driver() -> ctypes.CDLL:
    try:
        lib = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise ToolchainError("no CUDA driver was found (libcuda.so.1)") from None
    _check(lib.cuInit(0), "cuInit")
    return lib


def _check(status: int, what: str) -> None:
    if status:
        raise ToolchainError(f"the CUDA driver's {what} failed with error {status}")


@functools.lru_cache(maxsize=1)
def _device() -> ctypes.c_int:
    device = ctypes.c_int()
    _check(_driver().cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    return device


@contextmanager
def _context() -> Iterator[ctypes.CDLL]:
    """The first GPU's primary context, which MLX uses too, current in this thread for a while."""
    lib, device, context = _driver(), _device(), ctypes.c_void_p()
    _check(lib.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    try:
        _check(lib.cuCtxPushCurrent_v2(context), "cuCtxPushCurrent")
        try:
            yield lib
        finally:
            lib.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        lib.cuDevicePrimaryCtxRelease_v2(device)


@functools.lru_cache(maxsize=1)
def multiprocessors() -> int:
    """Multiprocessors of the first GPU. Raises ToolchainError where there is none."""
    count = ctypes.c_int()
    _check(_driver().cuDeviceGetAttribute(ctypes.byref(count), _MULTIPROCESSORS, _device()), "cuDeviceGetAttribute")
    return count.value


def local_bytes(cubin: bytes, entry: str) -> int:
    """Local memory of one thread of a kernel, in bytes: registers that were spilled, and arrays that are indexed.

    Raises ToolchainError for a cubin that the GPU cannot load.
    """
    with _context() as lib:
        module, function, size = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        _check(lib.cuModuleLoadData(ctypes.byref(module), cubin), "cuModuleLoadData")
        try:
            _check(lib.cuModuleGetFunction(ctypes.byref(function), module, entry.encode()), "cuModuleGetFunction")
            _check(lib.cuFuncGetAttribute(ctypes.byref(size), _LOCAL_SIZE, function), "cuFuncGetAttribute")
        finally:
            lib.cuModuleUnload(module)
    return size.value
