"""The Metal text of every catalog kernel type-checks as C++, with a stand-in for Metal's library.

MLX writes a kernel's signature around the text; here the same is done by hand. Address spaces are not checked, and no Mac
has compiled the text: this finds misspelt names, wrong types and missing functions of the prelude.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import mlx.core as mx
import pytest

from zmlx.catalog import entries
from zmlx.cli.recording import launch_of
from zmlx.targets.compiled import Compiled

SHIM = Path(__file__).parents[1] / "unit" / "metal_shim.h"
REST = """
#define threadgroup
struct uint2 { uint x, y; };
struct uint3 { uint x, y, z; };
struct uint4 { uint x, y, z, w; };
namespace metal {
template <class T, int, int> struct simdgroup_matrix {
    T elements[2];
    T (&thread_elements())[2] { return elements; }
};
template <class T> using matrix = simdgroup_matrix<T, 8, 8>;
template <class D, class A, class B, class C> void simdgroup_multiply_accumulate(matrix<D>&, matrix<A>&, matrix<B>&, matrix<C>&) {}
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
inline mem_flags operator|(mem_flags a, mem_flags) { return a; }
}
inline void threadgroup_barrier(metal::mem_flags) {}
inline void simdgroup_barrier(metal::mem_flags) {}
"""
BUILT_IN = "uint3 threadgroup_position_in_grid, uint3 threadgroups_per_grid, uint thread_index_in_threadgroup"
SPELLING = {
    "int1": "bool",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "float16": "half",
    "bfloat16": "bfloat16_t",
    "float32": "float",
}


def function(compiled: Compiled, number: int) -> str:
    """The kernel with the signature that MLX writes."""
    params = []
    for p in compiled.params:
        if p.is_array:
            const = "" if p.writes and p.name not in compiled.inout else "const "
            params.append(f"{const}device {SPELLING[p.dtype_name]}* {p.symbol}")
    return f"void k{number}({', '.join([*params, 'const device uint* zm_scalars', BUILT_IN])}) {{\n{compiled.source}\n}}\n"


@pytest.fixture(scope="module")
def compiler() -> str:
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return name
    pytest.skip("no C++ compiler")


def check(texts: list[Compiled], compiler: str, folder: Path) -> subprocess.CompletedProcess[str]:
    source = folder / "kernels.cpp"
    body = "".join(function(c, i) for i, c in enumerate(texts))
    (folder / "metal_simdgroup_matrix").write_text("")
    header = max((c.header for c in texts), key=len)
    source.write_text(SHIM.read_text() + REST + header + body)
    return subprocess.run([compiler, "-std=c++17", "-fsyntax-only", "-w", f"-I{folder}", str(source)], capture_output=True, text=True)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=["float32", "float16", "bfloat16"])
def test_catalog_text(dtype: mx.Dtype, compiler: str, tmp_path: Path) -> None:
    texts = []
    for entry in entries():
        for case in entry.cases:
            args = case.build(dtype)
            if not all(a.size for a in args if isinstance(a, mx.array)):
                continue  # nothing is launched
            kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))  # noqa: B023
            texts.append(kernel.compile(*call.arguments, target="metal", **call.keywords))
    done = check(texts, compiler, tmp_path)
    assert done.returncode == 0, done.stderr[:3000]


def test_a_misspelt_name_is_found(compiler: str, tmp_path: Path) -> None:
    entry = next(iter(entries()))
    args = entry.cases[0].build(mx.float32)
    kernel, call = launch_of(lambda: entry.call(*args, **entry.cases[0].kwargs))
    good = kernel.compile(*call.arguments, target="metal", **call.keywords)
    wrong = Compiled(**{f: getattr(good, f) for f in Compiled.__slots__} | {"source": good.source + "    zm_nowhere();\n"})
    assert check([wrong], compiler, tmp_path).returncode != 0
