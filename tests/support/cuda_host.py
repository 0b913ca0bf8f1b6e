"""Runs generated CUDA C++ on a host, through the C++ compiler: its threads as threads, its inline PTX by hand (cuda_host.h)."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
from execute import Arrays, Case

from zmlx import dtypes as dt
from zmlx.ir.core import clone_function
from zmlx.runtime import toolchain
from zmlx.targets.compile import compile_function
from zmlx.targets.target import target as target_of

HEADER = Path(__file__).with_name("cuda_host.h")
PTX = {  # the prelude's inline assembly, a line each, in C++; and its vector accesses, which tell of those that are not aligned
    r'asm\("cvt\.f32\.f16.*\);': "r = half_value(h.bits);",
    r"asm\(instruction.*\);": "r.bits = zm_narrow(instruction, x);",
    r'asm\("ex2\.approx.*\);': "r = exp2f(x);",
    r'asm\("rcp\.approx.*\);': "r = 1.0f / y;",
    r"(?<=if \()!aligned && \(unsigned\)\(unsigned long long\)(to|from) ":
        r"!said_aligned(\1, aligned, N * sizeof(T)) && (unsigned)(unsigned long long)\1 ",
    r'asm volatile\("atom\.add\.noftz\.f16.*\);': "r.bits = half_add((unsigned short*)p, v.bits);",
}
SIGNATURE = re.compile(r'extern "C" __global__ void __launch_bounds__\((\d+)\)\n(\w+)\((.*?)\) \{', re.S)


def runs(case: Case) -> bool:
    """Whether a kernel does without what is not written here: tensor cores."""
    return "zm_mma<" not in _compile(case).source


def _compile(case: Case):  # type: ignore[no-untyped-def]
    return compile_function(clone_function(case.fn), target_of("cuda"), case.num_warps, frozenset(case.arrays), ir_texts=True)


def run(case: Case, folder: Path, name: str, shift: int = 0) -> Arrays:
    """The arrays of a case after its launch; kernels on tensor cores are not for here. shift: elements from a multiple of 16
    bytes to the start of each array. An access said to be aligned that is not is an AssertionError."""
    compiled = _compile(case)
    text = compiled.source.replace("#define ZM_FN static __device__ __forceinline__", "#define ZM_FN static inline")
    for pattern, instead in PTX.items():
        text = re.sub(pattern, instead, text)
    found = SIGNATURE.search(text)
    assert found is not None
    threads, entry, params = found.groups()
    pointers, numbers, arguments = [], [], []
    for p in params.split(", "):
        kind, symbol = p.replace("__restrict__", "").rsplit(maxsplit=1)
        if "*" in p:
            arguments.append(f"({kind.replace('const ', '')})arrays[{len(pointers)}]")
            pointers.append(symbol)
        else:
            arguments.append(f"*({kind}*)(scalars + {8 * len(numbers)})")
            numbers.append(_word(compiled, symbol, case))
    text = f'#include "{HEADER}"\n' + text.replace('extern "C" __global__ void', "void", 1)
    call = f"launch({threads}, {{(unsigned)programs, 1, 1}}, [=] {{ {entry}({', '.join(arguments)}); }});"
    text += f'\nextern "C" int go(void** arrays, char* scalars, int programs) {{ {call} return misaligned; }}\n'
    source, library = folder / f"{name}.cpp", folder / f"{name}.so"
    source.write_text(text)
    flags = ["-std=c++20", "-O1", "-w", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-pthread"]
    subprocess.run([toolchain.find_cxx().path, *flags, "-o", str(library), str(source)], check=True, capture_output=True, text=True)
    out = {n: _aligned(a, shift) for n, a in case.arrays.items()}
    places = (ctypes.c_void_p * len(pointers))(*[out[n].ctypes.data if n in out else 0 for n in pointers])
    misaligned = ctypes.CDLL(str(library)).go(places, b"".join(numbers) or b"\0", case.grid[0])
    assert not misaligned, f"{misaligned} accesses were said to be aligned and are not:\n{compiled.source}"
    return out


def _aligned(a: np.ndarray, shift: int) -> np.ndarray:
    """A copy that starts `shift` elements behind a multiple of 16 bytes and may be read a little beyond its ends, as on a device."""
    room = np.zeros(a.nbytes + 256, np.uint8)
    start = 16 + -(room.ctypes.data + 16) % 16 + shift * a.itemsize
    part = room[start : start + a.nbytes]
    part[:] = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
    return part.view(a.dtype).reshape(a.shape)


def _word(compiled, symbol: str, case: Case) -> bytes:  # type: ignore[no-untyped-def]
    """A scalar as the kernel takes it, in eight bytes; of a 64-bit one, the half that the symbol names."""
    info = next(p for p in compiled.params if not p.is_array and symbol in (p.symbol, p.symbol + "_low", p.symbol + "_high"))
    raw = np.array([case.scalars[info.name]], dt.BY_NAME[info.dtype_name].storage).tobytes()
    raw = raw[4:] if symbol == info.symbol + "_high" else raw[:4] if symbol == info.symbol + "_low" else raw
    return raw.ljust(8, b"\0")
