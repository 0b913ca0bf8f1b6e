"""The strict tier: planted mistakes of address spaces at their lines; nothing in what Metal takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from zmlx import simulator
from zmlx.errors import ToolchainError
from zmlx.simulator import strict

pytest.importorskip("clang.cindex", reason="libclang is not installed: pip install 'zmlx[strict]'")
sys.path.append(str(Path(__file__).parent / "mutants"))
from mutant_kernels import KERNELS

FRAME = """#include <metal_stdlib>
using namespace metal;
template <class T> inline T first(const device T* p) { return p[0]; }
template <class T> inline T kept(const thread T& v) { return v; }
inline void copy(threadgroup float* to, const device float* from) { to[0] = from[0]; }
struct Pair { float a, b; float sum() const { return a + b; } float diff() const device { return a - b; } };
struct Number { float v; Number(float x) : v(x) {} thread Number& set(float x) { v = x; return *this; } };
constant float table[4] = {1, 2, 3, 4};
[[kernel]] void f(const device float* x [[buffer(0)]], device float* y [[buffer(1)]], constant float& c [[buffer(2)]],
                  constant int& n [[buffer(3)]], device Pair* pairs [[buffer(4)]], device Number* numbers [[buffer(5)]],
                  uint t [[thread_position_in_grid]]) {
  threadgroup float part[4];
  float own[4] = {1, 2, 3, 4};
%s
  y[t] = x[t] + first(x) + first(y);
}
"""
MISTAKES = {
    "device-of-threadgroup": "device float* p = part; // error",
    "threadgroup-of-device": "threadgroup float* p = y; // error",
    "constant-of-device": "constant float* p = y; // error",
    "device-of-constant": "device const float* p = &c; // error",
    "device-of-table": "device const float* p = table; // error",
    "thread-of-device": "thread float* p = y; // error",
    "thread-of-threadgroup": "thread float* p = part; // error",
    "device-of-thread": "float v = 1; device float* p = &v; // error",
    "threadgroup-of-thread": "threadgroup float* p = own; // error",
    "reference-device-of-thread": "float v = 1; device float& r = v; // error",
    "reference-threadgroup-of-device": "threadgroup float& r = y[0]; // error",
    "reference-thread-of-threadgroup": "thread float& r = part[0]; // error",
    "assignment": "device float* p = y;\n  p = part; // error",
    "argument-threadgroup": "y[0] = first(part); // error",
    "argument-thread": "y[0] = first(own); // error",
    "argument-constant": "y[0] = first(&c); // error",
    "argument-reference": "y[0] = kept(y[0]); // error",
    "swapped-arguments": "copy(y, part); // error",
    "write-to-constant": "c = 2; // error",
    "write-to-table": "table[1] = 2; // error",
    "atomic-in-thread": "atomic<uint> a; atomic_fetch_add_explicit(&a, 1u, memory_order_relaxed); // error",
    "atomic-expected-in-device":
        "atomic_compare_exchange_weak_explicit((device atomic<float>*)y, y, 1.0f, memory_order_relaxed, memory_order_relaxed); // error",
    "cast": "threadgroup float4* p = (threadgroup float4*)y; // error",
    "cast-in-expression": "y[0] = *(device float*)(part + 1); // error",
    "reinterpret-cast": "device uint* p = reinterpret_cast<device uint*>(part); // error",
    "initialised-by-a-cast": "device float4* p = (threadgroup float4*)part; // error",
    "ternary": "device float* p = n > 1 ? part : part + 1; // error",
    "method": "y[0] = pairs[0].sum(); // error",
    "method-of-another-space": "Pair q = pairs[0]; y[0] = q.diff(); // error",
    "method-that-writes": "numbers[0].set(1); // error",
    "matrix": "simdgroup_float8x8 m; simdgroup_store(m, own, 8); // error",
    "frexp": "frexp(1.0f, y[0]); // error",
    "unsaid": "float* p = own; // error",
    "unsaid-reference": "float& r = own[0]; // error",
    "unsaid-in-a-loop": "for (int i = 0; i < 2; i++) { const float* p = own + i; } // error",
    "initial-value": "threadgroup float sum = 0; // error",
    "initial-values": "threadgroup float sums[2] = {0, 0}; // error",
}  # fmt: skip
OUTSIDE = {
    "scratch-in-a-function": "inline void g() { threadgroup float part[4]; } // error",
    "scratch-of-the-program": "threadgroup float part[4]; // error",
    "unsaid-parameter": "inline float g(const float* p) { return p[0]; } // error",
    "unsaid-field": "struct View { float* p; }; // error",
    "returned": "inline threadgroup float* g(device float* p) { return p; } // error",
    "template": "template <class T> T g(device T* p) {\n  threadgroup T* q = p; // error\n  return *q;\n}\n"
                "[[kernel]] void h(device int* p) { p[0] = g(p); }",
    "instantiated": "template <class T> [[kernel]] void g(device T* p) {\n  thread T* q = p; // error\n}\n"
                    'template [[host_name("g")]] [[kernel]] decltype(g<float>) g<float>;',
    "class-template": "template <class T> struct At { threadgroup T* p; void set(device T* q) { p = q; } }; // error\n"
                      "inline void h(device int* q) { At<int> a; a.set(q); }",
}  # fmt: skip
CORRECT = {
    "temporaries": "y[0] = kept(1.0f) + kept(own[0] * 2) + Number(2).v; const thread float& r = 2.0f;",
    "reads-of-all-spaces": "part[0] = x[0]; own[0] = part[0] + table[1] + c; y[0] = own[0];",
    "copies-of-objects": "Pair p = pairs[0]; pairs[1] = p; pairs[2] = pairs[1]; Number m = numbers[0]; numbers[2] = Number(1);",
    "methods": "Pair p = pairs[0]; y[0] = p.sum() + pairs[0].diff(); Number m(1); m.set(2).set(3);",
    "pointers-said": "thread float* p = own; threadgroup float* q = part; constant float* s = table; auto u = y; auto& w = y[0];",
    "casts": """device uint* p = (device uint*)y; threadgroup float2* q = (threadgroup float2*)(part + 2);
        y[0] = *(device float*)p; float z = (float)n;""",
    "vectors": """float4 v = float4(float2(1, 2), c, 4); ((device float4*)y)[0] = v.wzyx;
        short2 s(1, 2); vec<float, 2> w = metal::vec<float, 2>(1, 2);""",
    "atomics": """atomic_fetch_add_explicit((device atomic<int>*)y + t, 1, memory_order_relaxed); float e = 0;
        atomic_compare_exchange_weak_explicit((device atomic<float>*)y, &e, 1.0f, memory_order_relaxed, memory_order_relaxed);""",
    "matrices": "simdgroup_float8x8 m; simdgroup_load(m, x, 8); simdgroup_store(m, part, 8); m.thread_elements()[0] = 1;",
    "matrices-of-columns": "threadgroup float2x2* p = (threadgroup float2x2*)part; *p = *(device float2x2*)y; float2 v = (*p)[1] * 2.0f;",
    "vector-casts": "half4 h = (half4)((device float4*)y)[0]; ((device float4*)y)[1] = (float4)h;",
}


def _found(text: str) -> list[strict.Finding]:
    """What is found; all of it must be at the line that is marked."""
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "// error" in row)
    found = strict.check(text)
    assert all(f.line == line for f in found), [str(f) for f in found]
    return found


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_found_at_their_line(name: str) -> None:
    found = _found(FRAME % MISTAKES[name])
    assert found and all(f.message and f.remedy for f in found)
    assert not re.search(r"__(global|local|constant|private)|opencl", " ".join(map(str, found)))


@pytest.mark.parametrize("name", OUTSIDE)
def test_mistakes_outside_of_the_kernel(name: str) -> None:
    assert _found("#include <metal_stdlib>\nusing namespace metal;\n" + OUTSIDE[name])


@pytest.mark.parametrize("name", CORRECT)
def test_nothing_in_correct_statements(name: str) -> None:
    assert not [str(f) for f in strict.check(FRAME % CORRECT[name])]


def test_what_is_said() -> None:
    (cast,) = _found(FRAME % MISTAKES["cast"])
    assert cast.message == "the cast from 'device float*' to 'threadgroup float4*' changes the address space"
    (method,) = _found(FRAME % MISTAKES["method"])
    assert "device Pair" in method.message and "const device" in method.remedy
    (call,) = _found(FRAME % MISTAKES["argument-threadgroup"])
    assert "'first'" in call.message and "threadgroup" in call.message
    (value,) = _found(FRAME % MISTAKES["write-to-constant"])
    assert "read only" in value.remedy


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_nothing_in_correct_kernels(kernel) -> None:  # type: ignore[no-untyped-def]
    fn = simulator.metal_kernel(
        name=kernel.name, input_names=list(kernel.inputs), output_names=list(kernel.outputs), source=kernel.source,
        atomic_outputs=kernel.atomic_outputs,
    )  # fmt: skip
    inputs = [mx.array(v) for v in kernel.inputs.values()]
    dtype = mx.uint32 if kernel.dtype == "uint32" else mx.float32
    assert not strict.check_kernel(fn, inputs=inputs, output_dtypes=[dtype] * len(kernel.outputs))


def test_a_kernel_with_template_arguments() -> None:
    fn = simulator.metal_kernel("scale", ["x"], ["y"], "\nthreadgroup T* p = y;\ny[thread_position_in_grid.x] = x[0] * T(n);")
    call = {"inputs": [mx.ones(4)], "output_dtypes": [mx.float32], "template": [("T", mx.float32), ("n", 3)]}
    found = strict.check_kernel(fn, **call)
    line = next(i for i, row in enumerate(fn.msl(**call).splitlines(), 1) if "threadgroup T* p" in row)
    assert found and {f.line for f in found} == {line}


def test_without_libclang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clang", None)
    strict._clang.cache_clear()
    with pytest.raises(ToolchainError, match=r"zmlx\[strict\]"):
        strict.check("")
    strict._clang.cache_clear()
