"""The lint's rules, further examples: what each refuses, at which line, and what none refuses."""

from __future__ import annotations

import re

import pytest

from zmlx.simulator import lint
from zmlx.simulator.lint.names import MLX_NAMES
from zmlx.simulator.preamble import mlx_preamble

BAD = {
    "double": ["double x;  // error", "float f() { return 1.0L; } // error", "long double x; // error"],
    "exceptions": ["void f() {\n  try { } // error\n}", "void f() {\n  throw 1; // error\n}"],
    "heap": ["void f(device int* x) {\n  delete x; // error\n}", "void f() {\n  auto p = malloc(4); // error\n}"],
    "virtual": ["struct A {\n  virtual void f(); // error\n};", "void f(thread A& a) {\n  auto b = dynamic_cast<int>(a); // error\n}"],
    "storage-class": ["void f() {\n  register int x; // error\n}"],
    "std": ["using namespace std; // error", "float f(float x) { return std::max(x, 1.f); } // error"],
    "include": ["#include <math.h> // error", "int x();\n#include <algorithm> // error"],
    "printf": ['void f() {\n  printf("%d", 1); // error\n}'],
    "lambda": ["void f() {\n  auto g = [](int x) { return x; }; // error\n}", "auto g = [&] { return 1; }; // error"],
    "recursion": ["template <class T> T f(T n) {\n  return n > 1 ? n * f(n - 1) : 1; // error\n}"],
    "function-pointer": ["void g(int (*f)(int)) { } // error"],
    "variable-length": ["void f(device float* x, int n) {\n  float y[n]; // error\n}"],
    "c++20": [
        "template <class T> concept C = sizeof(T) == 4; // error",
        "consteval int f() { return 1; } // error",
        "int f(auto x) { return x; } // error",
    ],
    "address-space": [
        "void f(const float& x) { } // error",
        "void f(int n, const vec<float, 4>* x) { } // error",
        "void f(device float* x) {\n  float* p = x; // error\n}",
        "void f(device float* x) {\n  const float& p = x[0]; // error\n}",
        "void f(device float* x) {\n  x[0] = *(float*)x; // error\n}",
        "[[kernel]] void f(float* x [[buffer(0)]]) { } // error",
        "struct A { float* p; }; // error",
    ],
    "threadgroup-value": [
        "kernel void f() {\n  threadgroup float x[2] = {0, 0}; // error\n}",
        "threadgroup int n = 0; // error\nout[thread_position_in_grid.x] = n;",
    ],
    "threadgroup-scope": [
        "threadgroup float x[2]; // error\nvoid f() { }",
        "template <int N> void f() {\n  threadgroup float x[N]; // error\n}",
    ],
    "program-scope": [
        "int counter = 0; // error\nkernel void f() { }",
        "namespace a {\nconst float pi = 3.14f; // error\n}",
        "constexpr int n = 3; // error",
    ],
    "static": ["void f() {\n  static int n; // error\n}"],
    "device-variable": ["kernel void f() {\n  device int n; // error\n}"],
    "buffer-limit": ["kernel void f(" + ", ".join(f"device int* x{i}" for i in range(32)) + ") { } // error"],
    "kernel-parameter": ["[[kernel]] void f(float x) { } // error", "kernel void f(thread float* x) { } // error"],
    "kernel-result": ["kernel float f() { return 1; } // error"],
    "atomic-type": ["void f(threadgroup atomic_short* x) { } // error"],
    "atomic-operation": [
        "atomic_fetch_or_explicit((device atomic<float>*)x, 1, memory_order_relaxed); // error",
        "void f(device atomic_ulong* p) {\n  atomic_fetch_add_explicit(&p[1], 1, memory_order_relaxed); // error\n}",
    ],
    "memory-order": ["void f(device atomic_int* p) {\n  atomic_load_explicit(p, memory_order_acquire); // error\n}"],
    "atomic-function": ["void f(device atomic_int* p) {\n  atomic_store(p, 1); // error\n}"],
    "mlx-name": [
        "struct Limits { int x; }; // error",
        "float log1p(float x) { return x; } // error",
        "constant int elem_to_loc = 1; // error",
    ],
    "keyword": ["void f(int kernel) { } // error", "void f() {\n  int thread = 1; // error\n}"],
    "macro": ["#define device // error", "#define SIMD_SIZE 32 // error"],
}
GOOD = (
    "#ifndef __METAL__\n#include <cstdint>\n#endif\nconstant int x = 1;",
    "template <void (*f)(device const float*, int)> void g(device const float* x) { f(x, 1); }",
    "template <typename T> struct operation;\nstruct other;",
    "float x = a[0] * b[0]; float y = x & 1; out[thread_position_in_grid.x] = x * y;",
    "int f(int a, int b) { return a * b; }\nint g(int a) { a = (a)*f(a, a); return a & f(1, 2); }",
    "int f(int n) { return n; }\nfloat f(float n) { return f(int(n)); }",
    "template <typename T> struct A { T x; static int f() { return 1; } A() = delete; };",
    "template <typename T> T f(T x) { return x; }\ntemplate <> float f<float>(float x) { return x * 2; }",
    "enum class Mode { a, b }; using F = float; typedef float G; namespace n { constant F k[2] = {1, 2}; }",
    "kernel void f(device int* x, uint t [[thread_position_in_grid]]) { threadgroup int s[4]; for (uint i = 0; i < 4; i++) x[i] = s[t]; }",
    "kernel void f(constant int& n, texture2d<float> t [[texture(0)]], threadgroup float* s [[threadgroup(0)]]) { }",
    "void f(thread float (&x)[4], const device float* p, constant int& n, threadgroup float* const s) { thread auto& y = x[0]; }",
    "#define SPACE device\nvoid f(SPACE float* x) { SPACE int* y = (SPACE int*)x; }",
    "void f(device atomic<uint>* p) { atomic_fetch_max_explicit(p, 1u, memory_order_relaxed); }",
    "constant float table[] = {1.0f, 2e3, 0x1p3}; long f() { return 10L; }",
    "struct A { float x; thread A& operator=(const thread A& o) thread { x = o.x; return *this; } float g() const device;  };",
)


@pytest.mark.parametrize(("rule", "text"), [(r, t) for r, texts in BAD.items() for t in texts])
def test_more_of_what_metal_refuses(rule: str, text: str) -> None:
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "// error" in row)
    assert rule in {f.rule for f in lint.check(text) if f.line == line}, [str(f) for f in lint.check(text)]
    assert {f.line for f in lint.check(text)} == {line}


@pytest.mark.parametrize("text", GOOD)
def test_more_of_what_metal_takes(text: str) -> None:
    assert not [str(f) for f in lint.check(text)]


def test_names_are_unique_and_every_rule_is_in_the_table() -> None:
    names = [r.name for r in lint.RULES]
    assert len(set(names)) == len(names) and set(BAD) <= set(names)
    assert all(f"`{name}`" in lint.table() for name in names)


def test_mlx_names_are_mlxs() -> None:
    assert [n for n in MLX_NAMES if not re.search(rf"\b{n}\b", mlx_preamble())] == []
