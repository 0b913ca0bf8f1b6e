"""Calls of the CUDA driver, against a stand-in built here: argument order, values, and that every context is given back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from zmlx.errors import ToolchainError
from zmlx.runtime import cuda_driver, toolchain

DRIVER = r"""
#include <cstring>
extern "C" {
#define API __attribute__((visibility("default"))) int
API open_contexts = 0, open_modules = 0;
int retained = 0, fail_load = 0;
API cuInit(unsigned flags) { return flags ? 1 : 0; }
API cuDeviceGet(int* device, int ordinal) { *device = 7 + ordinal; return 0; }
API cuDeviceGetAttribute(int* value, int attribute, int device) { *value = 100 * attribute + device; return 0; }
API cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = device == 7 ? &retained : nullptr; retained++; open_contexts++; return 0;
}
API cuDevicePrimaryCtxRelease_v2(int device) { retained--; open_contexts--; return device == 7 ? 0 : 1; }
API cuCtxPushCurrent_v2(void* context) { open_contexts++; return context == &retained ? 0 : 2; }
API cuCtxPopCurrent_v2(void** context) { *context = &retained; open_contexts--; return 0; }
API cuModuleLoadData(void** module, const void* image) {
  if (std::memcmp(image, "cubin", 5)) return 200;
  *module = &fail_load; open_modules++; return 0;
}
API cuModuleGetFunction(void** function, void* module, const char* name) {
  *function = &open_modules; return module == &fail_load && !std::strcmp(name, "zm_some_kernel") ? 0 : 500;
}
API cuFuncGetAttribute(int* value, int attribute, void* function) { *value = 64 + attribute; return function == &open_modules ? 0 : 3; }
API cuModuleUnload(void* module) { open_modules--; return module == &fail_load ? 0 : 4; }
}
"""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    lib = ctypes.CDLL(str(toolchain.build_library(DRIVER, "-O0")))
    for known in (cuda_driver._driver, cuda_driver._device, cuda_driver.multiprocessors):
        known.cache_clear()
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: lib)
    yield lib
    for known in (cuda_driver._driver, cuda_driver._device, cuda_driver.multiprocessors):
        known.cache_clear()


def left_open(lib: ctypes.CDLL) -> tuple[int, int]:
    return tuple(ctypes.c_int.in_dll(lib, name).value for name in ("open_contexts", "open_modules"))  # type: ignore[return-value]


def test_local_memory_of_a_kernel(driver: ctypes.CDLL) -> None:
    assert cuda_driver.local_bytes(b"cubin...", "zm_some_kernel") == 64 + 3
    assert left_open(driver) == (0, 0)


@pytest.mark.parametrize(("cubin", "entry", "says"), [(b"other", "zm_some_kernel", "cuModuleLoadData failed with error 200"),
                                                      (b"cubin", "absent", "cuModuleGetFunction failed with error 500")])  # fmt: skip
def test_a_failure_is_an_error_and_leaves_nothing_open(driver: ctypes.CDLL, cubin: bytes, entry: str, says: str) -> None:
    with pytest.raises(ToolchainError, match=says):
        cuda_driver.local_bytes(cubin, entry)
    assert left_open(driver) == (0, 0)


def test_the_size_of_the_device(driver: ctypes.CDLL) -> None:
    assert cuda_driver.multiprocessors() == 1607


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    cuda_driver._driver.cache_clear()
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", absent)
    with pytest.raises(ToolchainError, match=r"no CUDA driver was found \(libcuda.so.1\)"):
        cuda_driver.multiprocessors()
