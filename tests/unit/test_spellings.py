"""Every spelling of every op compiles on every target for every type; the Metal prelude, through a shim, gives right numbers."""

from __future__ import annotations

import ctypes
import glob
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.errors import ZmlxError
from zmlx.ir.types import Type
from zmlx.ops import REGISTRY
from zmlx.ops.cast import cast_array
from zmlx.targets.target import CPU, CUDA, METAL, Target

HERE = Path(__file__).resolve().parent
PRELUDE = HERE.parents[1] / "zmlx/targets/prelude"
DIALECTS = {"host": CPU, "cuda": CUDA, "metal": METAL}
CXX = shutil.which("g++") or shutil.which("clang++")


def spelled(dialect: str, target: Target) -> Iterator[str]:
    """One C function for each elementwise op, operand type and target that has a template for it."""
    for name, op in REGISTRY.items():
        if not (op.elementwise and op.spell) or name in ("cast", "bitcast", "addptr", "select", "hint"):
            continue
        for d in dt.ALL:
            if d.name not in target.types or d.is_half:
                continue
            operands = [Type(d)] * len(op.operands)
            try:
                result = op.type_rule(operands, {}, [])[0].dtype  # type: ignore[union-attr]
            except ZmlxError:
                continue
            keys = [k for t in (dialect, "c") for k in ((t, d.name), (t, d.kind), t)]
            template = next((op.spell[k] for k in keys if k in op.spell), None)
            if template is None:
                assert op.expand or target is METAL, f"{name} of {d} has no spelling on {dialect}"
                continue
            names = [f"x{i}" for i in range(len(operands))]
            text = template.format(*names, T=target.types[result.name])
            parameters = ", ".join(f"{target.types[d.name]} {x}" for x in names)
            yield f"ZM_TEST {target.types[result.name]} {name}_{d.short}({parameters}) {{ return {text}; }}"


def source(dialect: str) -> str:
    target = DIALECTS[dialect]
    types = [target.types[d.name] for d in dt.ALL if d.name in target.types]
    casts = [f"ZM_TEST {to} c{i}_{k}({fro} x) {{ return zm_cast<{to}>(x); }}" for i, fro in enumerate(types) for k, to in enumerate(types)]
    head = {
        "host": '#include "host.h"\n#define ZM_TEST extern "C"',
        "cuda": '#include "cuda.h"\n#define ZM_TEST __device__',
        "metal": '#include "metal_shim.h"\n#include "metal.h"\n#define ZM_TEST inline',
    }[dialect]
    return "\n".join([head, *spelled(dialect, target), *casts, ""])


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("dialect", ["host", "metal"])
def test_spellings_compile(dialect: str, tmp_path: Path) -> None:
    path = tmp_path / "spellings.cpp"
    path.write_text(source(dialect))
    standard = "-std=c++14" if dialect == "metal" else "-std=c++20"  # MSL 3 is C++14
    done = subprocess.run([str(CXX), standard, "-fsyntax-only", f"-I{PRELUDE}", f"-I{HERE}", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]


def nvrtc() -> ctypes.CDLL | None:
    """NVIDIA's run-time compiler from a wheel or a toolkit; its builtins are loaded first, as its own search may miss them."""
    folders = [Path(p) / "nvidia" for p in {*sys.path, sysconfig.get_paths()["purelib"]}]
    folders = [lib for f in folders for lib in f.glob("*/lib")] + [Path(p) for p in glob.glob("/usr/local/cuda*/lib64")]
    for lib in folders:
        found = sorted(p for p in lib.glob("libnvrtc.so.*") if "alt" not in p.name)
        if found:
            for builtins in lib.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins))
            return ctypes.CDLL(str(found[0]))
    return None


def compile_cuda(text: str, folder: Path, arch: str = "sm_90a") -> bytes:
    """The cubin of a CUDA text by NVRTC or nvcc; skips where there is neither."""
    lib = nvrtc()
    if lib is None:
        nvcc = shutil.which("nvcc")
        if nvcc is None:
            pytest.skip("neither NVRTC nor nvcc is installed")
        (folder / "k.cu").write_text(text)
        command = [nvcc, "-std=c++17", f"-arch={arch}", "-cubin", f"-I{PRELUDE}", str(folder / "k.cu"), "-o", str(folder / "k.cubin")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        return (folder / "k.cubin").read_bytes()
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"k.cu", 0, None, None) == 0
    options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17", b"-default-device", f"-I{PRELUDE}".encode()]
    status = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()[:4000]
    lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
    cubin = ctypes.create_string_buffer(size.value)
    lib.nvrtcGetCUBIN(program, cubin)
    return cubin.raw


def test_cuda_spellings_compile(tmp_path: Path) -> None:
    assert compile_cuda(source("cuda"), tmp_path)


METAL_TEST = """
#include "metal_shim.h"
#include "metal.h"
#define UNARY(name) extern "C" void f_##name(const float* x, float* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_##name(x[i]); }
UNARY(expm1) UNARY(log1p) UNARY(erf)
extern "C" void powers(const float* x, const float* y, float* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_pow(x[i], y[i]); }
#define CAST(name, F, T) extern "C" void name(const F* x, T* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_cast<T>(x[i]); }
#define RTZ(name, F, T) extern "C" void name(const F* x, T* out, long n) { for (long i = 0; i < n; i++) out[i] = zm_cast_rtz<T>(x[i]); }
CAST(f32_i8, float, char) CAST(f32_i32, float, int) CAST(f32_i64, float, long)
CAST(f32_u8, float, uchar) CAST(f32_u32, float, uint)
CAST(f32_u64, float, ulong) CAST(i32_f16, int, half) CAST(i64_f16, long, half) CAST(u64_bf16, ulong, bfloat16_t)
CAST(i64_bf16, long, bfloat16_t) CAST(i32_bf16, int, bfloat16_t) CAST(f32_f16, float, half) CAST(f32_bf16, float, bfloat16_t)
RTZ(f32_f16_rtz, float, half) RTZ(f32_bf16_rtz, float, bfloat16_t)
extern "C" int rest() {
    int bad = 0;
    uint words[2] = {0, 0xffff0000u};
    half* h = (half*)words;
    for (int i = 0; i < 3; i++) zm_atomic_add(h + 1, half(1.5f));
    bad += float(h[1]) != 4.5f || float(h[0]) != 0.0f || words[1] != 0xffff0000u;
    bad += float(zm_atomic_max(h, half(7))) != 0.0f || float(h[0]) != 7.0f;
    float f = NAN;
    zm_atomic_min(&f, 3.0f);
    bad += f != 3.0f || zm_atomic_add(&f, 1.0f) != 3.0f || zm_atomic_cas(&f, 4.0f, 9.0f) != 4.0f || f != 9.0f;
    bad += zm_mulhi(-5L, 7L) != -1 || zm_mulhi(~0ul, ~0ul) != ~0ul - 1 || zm_idiv(-7, 0) != 0 || zm_imod(-7, 3) != -1;
    bad += zm_idiv(INT32_MIN, -1) != INT32_MIN || zm_shuffle_xor(1ul << 40, 1) != 1ul << 40 || !zm_shuffle_up(true, 1);
    return bad;
}
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ (clang 14 has no _Float16 on every machine)")
def test_metal_prelude_on_the_host(tmp_path: Path) -> None:
    path, out = tmp_path / "m.cpp", tmp_path / "m.so"
    path.write_text(METAL_TEST)
    flags = ["-std=c++14", "-O1", "-march=native", "-fwrapv", "-ffp-contract=off", "-shared", "-fPIC"]
    done = subprocess.run(["g++", *flags, f"-I{PRELUDE}", f"-I{HERE}", str(path), "-o", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    lib = ctypes.CDLL(str(out))

    def call(name: str, *args: Any, to: Any) -> Any:
        result = np.empty(args[0].shape, to)
        getattr(lib, name)(*(np.ascontiguousarray(a).ctypes.data_as(ctypes.c_void_p) for a in (*args, result)), ctypes.c_long(result.size))
        return result

    assert lib.rest() == 0
    bits = np.arange(0, 1 << 32, 1 << 15, dtype=np.uint64).astype(np.uint32)
    special = np.array(
        [0, -0.0, 1, -1, 0.5, 2, 3, -3, np.inf, -np.inf, np.nan, 2.5, -2.5, 65504, 65519.9, 65520, 1e-7, 127.5, 2**31, -(2**31), 2**63]
    )
    x = np.concatenate([bits.view(np.float32), special.astype(np.float32), np.linspace(-3, 3, 20000, dtype=np.float32)])
    with np.errstate(all="ignore"):
        for name in ("expm1", "log1p", "erf"):
            want = REGISTRY[name].numpy(x.astype(np.float64)).astype(np.float32)  # type: ignore[misc]
            np.testing.assert_allclose(call(f"f_{name}", x, to=np.float32), want, rtol=4 * 2.0**-23, atol=2.0**-149, err_msg=name)
        a, b = (m.ravel().astype(np.float32) for m in np.meshgrid(special, special))
        want = np.power(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
        got = call("powers", a, b, to=np.float32)
        np.testing.assert_allclose(got, want, rtol=16 * 2.0**-23)
        assert np.array_equal(np.signbit(got)[~np.isnan(want)], np.signbit(want)[~np.isnan(want)])
        for to in (dt.int8, dt.int32, dt.int64, dt.uint8, dt.uint32, dt.uint64):
            np.testing.assert_array_equal(call(f"f32_{to.short}", x, to=to.storage), cast_array(x, dt.float32, to), err_msg=str(to))
        for to in (dt.float16, dt.bfloat16):
            for suffix, rounding in (("", "rtne"), ("_rtz", "rtz")):
                got = dt.decode(call(f"f32_{to.short}{suffix}", x, to=to.storage), to)
                np.testing.assert_array_equal(got, cast_array(x, dt.float32, to, rounding))
    for name, d, to in (("i32_f16", dt.int32, dt.float16), ("i64_f16", dt.int64, dt.float16), ("u64_bf16", dt.uint64, dt.bfloat16),
                        ("i64_bf16", dt.int64, dt.bfloat16), ("i32_bf16", dt.int32, dt.bfloat16)):  # fmt: skip
        low, high = d.range()
        ties = [(2 * k + 1) << s for k in (128, 129, 1024, 2047) for s in range(d.bits - 13)]
        n = np.array([low, high, 0, 1, *ties, *(t + 1 for t in ties), *(t - 1 for t in ties)], d.compute)
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(dt.decode(call(name, n, to=to.storage), to), cast_array(n, d, to), err_msg=name)
