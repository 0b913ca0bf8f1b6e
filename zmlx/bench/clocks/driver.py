"""The CUDA driver, as far as the device clocks need it: buffers, memsets, copies, events, launches of cubins."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from zmlx.errors import TargetUnavailableError

Pointer = ctypes.c_void_p
_L2_BYTES = 38  # CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
_MAX_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Driver:
    """The driver on the primary context of device 0, which MLX and PyTorch use too. Raises TargetUnavailableError."""

    def __init__(self) -> None:
        try:
            self.lib = ctypes.CDLL("libcuda.so.1")
        except OSError as e:
            raise TargetUnavailableError(f"the CUDA driver cannot be loaded ({e}); device times need an NVIDIA GPU") from None
        self.check("cuInit", 0)
        device, context, l2 = ctypes.c_int(), Pointer(), ctypes.c_int()
        self.check("cuDeviceGet", ctypes.byref(device), 0)
        self.check("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.check("cuCtxSetCurrent", context)
        self.check("cuDeviceGetAttribute", ctypes.byref(l2), _L2_BYTES, device)
        self.l2_bytes = l2.value
        self.context = context

    def check(self, function: str, *args: Any) -> None:
        """Calls a function of the driver; a status other than 0 is a RuntimeError."""
        status = getattr(self.lib, function)(*args)
        if status:
            raise RuntimeError(f"{function} of the CUDA driver answered error {status}")

    def buffer(self, size: int) -> Pointer:
        """Device memory of that many bytes."""
        pointer = Pointer()
        self.check("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(16, size)))
        return pointer

    def free(self, *buffers: Pointer) -> None:
        for pointer in buffers:
            self.check("cuMemFree_v2", pointer)

    def fill(self, buffer: Pointer, size: int) -> None:
        """Queues a memset of the whole buffer on the default stream."""
        self.check("cuMemsetD8Async", buffer, ctypes.c_ubyte(0), ctypes.c_size_t(size), None)

    def copy(self, to: Pointer, source: Pointer, size: int) -> None:
        """Queues a copy within the device on the default stream."""
        self.check("cuMemcpyDtoDAsync_v2", to, source, ctypes.c_size_t(size), None)

    def write(self, to: Pointer, content: bytes) -> None:
        """Copies bytes of the host to the device."""
        self.check("cuMemcpyHtoD_v2", to, content, ctypes.c_size_t(len(content)))

    def read(self, source: Any, size: int) -> bytes:
        """The bytes of a buffer, on the host."""
        content = ctypes.create_string_buffer(size)
        self.check("cuMemcpyDtoH_v2", content, source, ctypes.c_size_t(size))
        return content.raw

    def synchronize(self) -> None:
        self.check("cuCtxSetCurrent", self.context)  # a library may have changed this thread's
        self.check("cuCtxSynchronize")

    def event(self) -> Pointer:
        made = Pointer()
        self.check("cuEventCreate", ctypes.byref(made), 0)
        return made

    def record(self, event: Pointer) -> None:
        """Queues an event on the default stream."""
        self.check("cuEventRecord", event, None)

    def elapsed(self, start: Pointer, stop: Pointer) -> float:
        """Seconds between two events; waits for the second."""
        self.check("cuEventSynchronize", stop)
        milliseconds = ctypes.c_float()
        self.check("cuEventElapsedTime", ctypes.byref(milliseconds), start, stop)
        return milliseconds.value / 1e3

    def function(self, cubin: bytes, name: str, shared: int) -> Pointer:
        """A kernel of a cubin, ready for that much dynamic shared memory."""
        module, function = Pointer(), Pointer()
        self.check("cuModuleLoadData", ctypes.byref(module), cubin)
        self.check("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        if shared:
            self.check("cuFuncSetAttribute", function, _MAX_SHARED, shared)
        return function

    def launch(self, function: Pointer, grid: Sequence[int], threads: int, shared: int, arguments: Any) -> None:
        """Queues a kernel on the default stream; `arguments` is a C array of pointers to the values."""
        self.check("cuLaunchKernel", function, *grid, threads, 1, 1, shared, None, arguments, None)
