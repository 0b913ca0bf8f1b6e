"""Runs kernels on the CPU: built by the C++ compiler, called on the arrays' own memory, over all cores.

With the zmlx-native extension a launch is a primitive of MLX's graph, as on a GPU. Without it, and for kernels that print
or assert, it is eager: inputs are evaluated and the kernel has run when the launch returns.
"""

from __future__ import annotations

import ctypes
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx

from zmlx import knobs
from zmlx.errors import DeviceAssertError, LaunchError, LaunchOptionError
from zmlx.runtime import native, signature, toolchain
from zmlx.runtime.blank import blank
from zmlx.runtime.roles import Role, Scalar, layout, packer
from zmlx.targets.compiled import Compiled

_POOL = Path(__file__).with_name("host_pool.cpp")
_SMALL = 16 * 1024  # bytes up to which copying a template beats evaluating an op
_LARGE = 256 * 1024  # bytes from which not filling the memory saves more than it costs
_PAD = {"?": "7x", "i": "4x", "I": "4x", "f": "4x"}  # a slot of 8 bytes each


class _Kernel(ctypes.Structure):
    """`Kernel` of host_pool.cpp."""

    _fields_ = (("entry", ctypes.c_void_p), ("scratch_bytes", ctypes.c_int64), ("ns_per_program", ctypes.c_double))


@functools.lru_cache(maxsize=1)
def _pool() -> ctypes.PyDLL:
    return ctypes.PyDLL(str(toolchain.build_library(_POOL.read_text(), "-O2")))


@functools.lru_cache(maxsize=1)
def _launch_function() -> Callable[..., Any]:
    function = _pool().zm_host_launch
    function.restype = ctypes.py_object
    return function()


def prepare() -> None:
    """Builds and loads what all kernels share, before several threads need it at once."""
    toolchain.find_cxx()
    _launch_function()
    threads()


# What launches in MLX's graph point to: a graph may outlive the Python kernel that built it.
_in_graphs: list[_Kernel] = []
_ROLES = {None: 1, "zeros": 2, "old": 3}  # of a written array; Role in native/src/host_kernel.h


@functools.lru_cache(maxsize=1)
def threads() -> int:
    """Threads of every launch: ZMLX_THREADS as it was when the first kernel was loaded, or this process's cores."""
    return knobs.threads()


class _Mould:
    """Lets mx.array() copy an array at once where a memoryview cannot (bfloat16, float64)."""

    __slots__ = ("array",)

    def __init__(self, array: mx.array) -> None:
        self.array = array

    def __dlpack__(self, **_: Any) -> Any:
        return self.array.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class _Allocator:
    """Makes evaluated row-contiguous arrays of one dtype whose content does not matter.

    MLX has no uninitialised array. A small one is an eager copy of a template, which costs 0.7 µs where evaluating any op
    costs 16; a middling one is zeros, evaluated; a large one a file that is never read.
    """

    def __init__(self, dtype: mx.Dtype) -> None:
        self.dtype = dtype
        self.moulds: dict[tuple[int, ...], Any] = {}

    def __call__(self, shape: tuple[int, ...]) -> mx.array:
        mould = self.moulds.get(shape)
        if mould is not None:
            return mx.array(mould)
        if math.prod(shape) * self.dtype.size > _LARGE:
            return blank(shape, self.dtype)
        new = mx.zeros(shape, self.dtype)
        mx.eval(new)
        if new.nbytes <= _SMALL:
            if len(self.moulds) >= 16:
                self.moulds.clear()
            template = mx.zeros(shape, self.dtype)
            mx.eval(template)
            self.moulds[shape] = _Mould(template) if self.dtype in (mx.bfloat16, mx.float64) else memoryview(template)  # type: ignore[arg-type]
        return new


class HostKernel:
    """A kernel loaded for the CPU."""

    def __init__(self, compiled: Compiled, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        library = ctypes.CDLL(str(toolchain.build_library(compiled.source)))
        entry = ctypes.cast(getattr(library, compiled.entry), ctypes.c_void_p)
        self.kernel = _Kernel(entry.value, compiled.scratch_bytes, 0.0)
        self.address = ctypes.addressof(self.kernel)
        self.library = library
        self.roles = tuple(roles)
        self.written = tuple((i, r.content, _Allocator(signature.MLX_OF[r.dtype])) for i, r in enumerate(roles) if r.writes)
        self.no_sources = (None,) * len(roles)
        self.pack = packer(layout(scalars, _PAD).pack)
        self.launch = _launch_function()
        self.threads = threads()
        self.lazy = None if compiled.reports else self._primitive()

    def _primitive(self) -> Any:
        """The kernel as a primitive of MLX's graph, if the extension is there."""
        module = native.extension()
        if module is None:
            return None
        _in_graphs.append(self.kernel)
        run = ctypes.cast(_pool().zm_host_run, ctypes.c_void_p).value
        roles = [_ROLES[r.content] if r.writes else 0 for r in self.roles]
        return module.HostLaunch(self.address, run, roles, [signature.MLX_OF[r.dtype] for r in self.roles], self.threads)

    def execute(self, passed: tuple[mx.array, ...], scalars: Sequence[Any], grid: tuple[int, int, int], stream: Any) -> list[mx.array]:
        """Launches the kernel; returns the new values of the written arrays, in parameter order. Nothing passed changes."""
        if self.lazy is not None:
            try:
                return self.lazy(passed, self.pack(*scalars), grid, stream)
            except ValueError as e:
                for role, array in zip(self.roles, passed, strict=True):
                    signature.refuse_empty(role.name, array)
                raise LaunchOptionError(f"stream={stream!r}: {e}") from None
        arrays, new = list(passed), []
        sources: Any = self.no_sources
        for i, content, allocate in self.written:
            old = arrays[i]
            out = arrays[i] = allocate(old.shape)
            new.append(out)
            if content is not None:
                sources = list(sources)
                sources[i] = True if content == "zeros" else old
        packed = self.pack(*scalars)
        try:
            said = self.launch(self.address, tuple(arrays), tuple(sources), packed, grid, self.threads)
            if said is not None:
                self._settle(said, arrays, sources, packed, grid)
        except (RuntimeError, ValueError) as e:
            if "[eval]" not in str(e):
                raise
            raise LaunchError(
                "on the cpu target this launch runs at once, so it cannot be traced by mx.compile or mx.vmap. Install zmlx-native "
                "(pip install ./native), which makes launches a part of the graph; kernels that print or assert stay eager"
            ) from None
        return new

    def _settle(self, said: Any, arrays: list[mx.array], sources: Any, packed: bytes, grid: tuple[int, int, int]) -> None:
        """Handles what a launch answers when it is not simply done: arrays to be made contiguous, reports."""
        n = len(arrays)
        while isinstance(said, int):
            if said >= 0:
                signature.refuse_empty(self.roles[said].name, arrays[said])
            at, sources = ~said, list(sources)
            if at < n:
                arrays[at] = mx.contiguous(arrays[at])
            else:
                sources[at - n] = mx.contiguous(sources[at - n])
            said = self.launch(self.address, tuple(arrays), tuple(sources), packed, grid, self.threads)
        failed = None
        for kind, text in said or ():
            if kind == 0:
                sys.stdout.write(f"{text}\n")  # at once: other threads print too
            elif failed is None:
                failed = text
        if failed is not None:
            raise DeviceAssertError(failed)
