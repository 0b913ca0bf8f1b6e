"""The CUDA prelude: compiles for Ampere and Hopper everywhere, and is right where there is a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.ops.arith import _trunc_div, _trunc_mod
from zmlx.ops.cast import cast_array

HERE = Path(__file__).resolve().parent
SOURCE = (HERE / "prelude_cuda.cu").read_text()
ATOMIC = (dt.int32, dt.uint32, dt.int64, dt.uint64, dt.float16, dt.bfloat16, dt.float32, dt.float64)


def sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_compiles(arch: str, tmp_path: Path) -> None:
    assert sibling("test_spellings").compile_cuda(SOURCE, tmp_path, arch)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_vectors_on_a_host(tmp_path: Path) -> None:
    """Loads and stores at any address, with the lanes of a warp as threads."""
    program = tmp_path / "vectors"
    prelude = HERE.parents[1] / "zmlx/targets/prelude"
    built = ["g++", "-std=c++20", "-O1", "-w", "-pthread", f"-I{prelude}", str(HERE / "vectors_cuda.cpp"), "-o", str(program)]
    assert subprocess.run(built, capture_output=True, text=True).stderr == ""
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


class Gpu:
    """The prelude's test kernels on the first GPU, through the driver."""

    def __init__(self, folder: Path) -> None:
        try:
            self.cuda = ctypes.CDLL("libcuda.so.1")
        except OSError:
            pytest.skip("no CUDA driver")
        device, context, major, minor = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
        if self.cuda.cuInit(0) or self.cuda.cuDeviceGet(ctypes.byref(device), 0):
            pytest.skip("no GPU")
        self.cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        self.cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        self.check(self.cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))
        self.check(self.cuda.cuCtxSetCurrent(context))
        cubin = sibling("test_spellings").compile_cuda(SOURCE, folder, f"sm_{major.value}{minor.value}")
        self.module = ctypes.c_void_p()
        self.check(self.cuda.cuModuleLoadData(ctypes.byref(self.module), cubin))

    def check(self, status: int) -> None:
        assert status == 0, f"CUDA error {status}"

    def upload(self, x: Any) -> ctypes.c_uint64:
        x = np.ascontiguousarray(x)
        pointer = ctypes.c_uint64()
        self.check(self.cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(max(8, x.nbytes))))
        self.check(self.cuda.cuMemcpyHtoD_v2(pointer, x.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(x.nbytes)))
        return pointer

    def download(self, pointer: ctypes.c_uint64, like: Any) -> Any:
        out = np.empty_like(like)
        self.check(self.cuda.cuMemcpyDtoH_v2(out.ctypes.data_as(ctypes.c_void_p), pointer, ctypes.c_size_t(out.nbytes)))
        return out

    def launch(self, name: str, *args: Any, threads: int, block: int = 128) -> None:
        function = ctypes.c_void_p()
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(function), self.module, name.encode()))
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in args))
        self.check(self.cuda.cuLaunchKernel(function, -(-threads // block), 1, 1, block, 1, 1, 0, None, pointers, None))
        self.check(self.cuda.cuCtxSynchronize())


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Gpu:
    return Gpu(tmp_path_factory.mktemp("cuda"))


@pytest.mark.parametrize("source", dt.ALL, ids=str)
def test_casts(gpu: Gpu, source: dt.DType) -> None:
    host = sibling("test_prelude_host")
    storage, values = host.sources(source)
    order = (dt.int1, *dt.INTS, *dt.FLOATS)
    for prefix, rounding in (("cast", "rtne"), ("castz", "rtz")):
        outs = [np.empty(storage.shape, d.storage) for d in order]
        given = [gpu.upload(o) for o in outs]
        gpu.launch(f"{prefix}_{source.short}", gpu.upload(storage), gpu.upload(np.array([g.value for g in given], np.uint64)),
                   ctypes.c_int(storage.size), threads=storage.size)  # fmt: skip
        for d, out, pointer in zip(order, outs, given, strict=True):
            with np.errstate(all="ignore"):
                want = dt.encode(cast_array(values, source, d, rounding), d)
            host.same_bits(gpu.download(pointer, out), want, d, f"{source} -> {d}, {rounding}")


@pytest.mark.parametrize("d", dt.INTS, ids=str)
def test_divide(gpu: Gpu, d: dt.DType) -> None:
    x = sibling("test_prelude_host").integers(d)
    x, y = np.concatenate([x, x[:17].repeat(17)]), np.concatenate([np.random.default_rng(3).permutation(x), np.tile(x[:17], 17)])
    with np.errstate(all="ignore"):
        quotient, remainder = _trunc_div(x, y), _trunc_mod(x, y)
    if d.is_signed:
        edge = (x == d.range()[0]) & (y == -1)
        quotient, remainder = np.where(edge, x, quotient), np.where(edge, 0, remainder)
    q, r = gpu.upload(x), gpu.upload(x)
    gpu.launch(f"divide_{d.short}", gpu.upload(x), gpu.upload(y), q, r, ctypes.c_int(x.size), threads=x.size)
    np.testing.assert_array_equal(gpu.download(q, x), quotient)
    np.testing.assert_array_equal(gpu.download(r, x), remainder)


@pytest.mark.parametrize("d", dt.ALL, ids=str)
def test_shuffles(gpu: Gpu, d: dt.DType) -> None:
    lane = np.arange(32)
    x = (lane % 3 == 0) if d.is_bool else dt.encode((lane * (2**33 + 5 if d.bits == 64 else 3)).astype(d.compute), d)
    out = np.empty(128, d.storage)
    p = gpu.upload(out)
    gpu.launch(f"shuffle_{d.short}", gpu.upload(x), p, threads=32, block=32)
    up, down = np.where(lane < 3, lane, lane - 3), np.where(lane > 29, lane, lane + 2)
    want = np.concatenate([x[lane ^ 5], x[up], x[7 - (lane & 7)], x[down]])
    np.testing.assert_array_equal(gpu.download(p, out), want)


@pytest.mark.parametrize("d", ATOMIC, ids=str)
def test_atomics(gpu: Gpu, d: dt.DType) -> None:
    n = 100 if d.is_half else 10000  # sums of small integers that every type holds
    x = (np.arange(n) % 3 + (0 if not d.is_signed and d.is_int else -1)).astype(d.compute)
    if d.is_float:
        extremes = x.copy()
        extremes[5] = np.nan
    else:
        extremes = x
    cell = np.zeros(4, d.storage)
    p = gpu.upload(cell)
    gpu.launch(f"atomic_{d.short}", p, gpu.upload(dt.encode(x, d)), ctypes.c_int(n), threads=n)
    got = dt.decode(gpu.download(p, cell), d)
    assert got[0] == x.sum() and got[1] == min(0, x.min()) and got[2] == x.max() and got[3] in x
    p = gpu.upload(cell)
    gpu.launch(f"atomic_{d.short}", p, gpu.upload(dt.encode(extremes, d)), ctypes.c_int(n), threads=n)
    got = dt.decode(gpu.download(p, cell), d)
    assert got[1] == min(0, np.nanmin(extremes)) and got[2] == np.nanmax(extremes)
    if d.is_int:
        p = gpu.upload(np.array([~0 & d.range()[1], 0, 5], d.storage))
        gpu.launch(f"bits_{d.short}", p, gpu.upload(x), ctypes.c_int(n), threads=n)
        got = gpu.download(p, cell[:3])
        want = [np.bitwise_and.reduce(x) & d.range()[1], np.bitwise_or.reduce(x), np.bitwise_xor.reduce(x) ^ d.compute.type(5)]
        assert got.tolist() == [int(w) for w in want]
    if d.bits >= 32:
        p, out = gpu.upload(np.ones(1, d.storage)), gpu.upload(cell)
        gpu.launch(f"cas_{d.short}", p, out, threads=1, block=1)
        assert gpu.download(p, cell[:1])[0] == 2 and gpu.download(out, cell[:2]).tolist() == [1, 2]
