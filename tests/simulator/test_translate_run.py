"""Translated text that is compiled and run with a stand-in for the runtime: what only a compiler can tell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from zmlx.simulator.translate import translate

CLANG = next((c for c in ("clang++", *(f"clang++-{n}" for n in range(22, 14, -1))) if shutil.which(c)), "")
COMPILERS = [c for c in ("g++", CLANG) if shutil.which(c)]

RUNTIME = """
#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>
namespace zm {
inline unsigned next_declaration() { static unsigned n; return n++; }
template <class Tag> inline const unsigned declaration = next_declaration();
inline std::map<unsigned, std::vector<char>> memory;
template <class T, class Tag> T& threadgroup_variable(Tag, const char* name) {
  auto& bytes = memory[declaration<Tag>];
  if (bytes.empty()) { bytes.resize(sizeof(T)); std::printf("%s:%zu ", name, sizeof(T)); }
  return *reinterpret_cast<T*>(bytes.data());
}
template <int Index, class T> inline constexpr T function_constant = T{};
template <int Index> inline constexpr bool function_constant_defined = false;
template <> inline constexpr int function_constant<7, int> = 42;
template <> inline constexpr bool function_constant_defined<7> = true;
}
"""


@pytest.fixture(params=COMPILERS)
def run(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    def compiled(msl: str) -> str:
        source, program = tmp_path / "kernel.cpp", tmp_path / "kernel"
        source.write_text(RUNTIME + translate(msl).text)
        subprocess.run([request.param, "-std=c++20", "-w", "-o", program, source], check=True, capture_output=True, text=True)
        return subprocess.run([program], check=True, capture_output=True, text=True).stdout.strip()

    return compiled


def test_a_compiler_is_there() -> None:
    assert COMPILERS


def test_threadgroup_variables_are_told_apart_by_declaration_and_instantiation(run) -> None:  # type: ignore[no-untyped-def]
    out = run("""
template <typename T, int N>
[[kernel]] void f(device T* out [[buffer(0)]]) {
  threadgroup T a[N > 2 ? N : 2][2], b;
  for (int i = 0; i < 2; i++) {
    threadgroup T a[1];
    a[0] = T(i);
  }
  auto inner = [&](thread T& x) { threadgroup T c; c = x; return c; };
  a[0][1] = 3; b = 4;
  T seven = 7;
  out[0] = a[0][1] + b + inner(seven);
}
#define SHARED(T, name, n) threadgroup T name[n]
kernel void g(device int* out) {
  SHARED(int, mine, 3);
  threadgroup struct { short s; } two[2];
  mine[0] = 1; two[1].s = 2;
  out[0] = mine[0] + two[1].s;
}
int main() {
  int i[1]; char c[1];
  f<int, 3>(i); std::printf("= %d\\n", i[0]);
  f<int, 3>(i); std::printf("= %d\\n", i[0]);
  f<char, 3>(c); std::printf("= %d\\n", c[0]);
  g(i); std::printf("= %d\\n", i[0]);
}
""")
    first, again, other, last = out.split("\n")
    assert first == "a:24 b:4 a:4 c:4 = 14"
    assert again == "= 14"  # the same memory
    assert other == "a:6 b:1 a:1 c:1 = 14"
    assert last == "mine:12 two:4 = 3"


def test_what_cpp_takes_differently_compiles(run) -> None:  # type: ignore[no-untyped-def]
    out = run("""
struct S {
  static constant float scale = 1.5;
  float x;
  S(float v) thread : x(v) {};
  S(float v) device : x(v) {};
  S(float v) constant : x(v) {};
  template <typename T> float times(T v) const thread { return x * v; }
  template <> float times(int v) const thread { return x * v + 0.5; }
  bool operator>=(S o) thread { return x >= o.x; }
  bool operator>=(S o) device { return x >= o.x; }
  operator float() const thread { return x; }
  operator float() const constant { return x; }
};
constant constexpr float table[2] = {1, 2.5};
constant int size [[function_constant(7)]];
constant int other [[function_constant(8)]];
template <typename T> struct element;
template <typename T> struct element<device T*> { using type = T; };
template <typename T> struct element<threadgroup T*> { using type = T; };
template <typename T> struct element<constant T*> { using type = const T; };
thread S& add(thread S& a, const thread S& b) { a.x += b.x; return a; }
threadgroup S& add(threadgroup S& a, const thread S& b) { a.x += b.x; return a; }
float read(constant float* p) { return *p; }
int main() {
  constant float& two = table[1];
  S s(2); const S* p = &s;
  add(s, S(1));
  float (*f)(const float*) = read;
  element<device int*>::type concept = is_function_constant_defined(size) && !is_function_constant_defined(other) ? size : 0;
  float many[4] = {[1 ... 2] = 0.5, [3] = 2}; s.x += many[0] + many[1] + many[2] + many[3] - 3;
  auto d = 0.1; static_assert(sizeof(d) == 4);
  std::printf("%g %g %g %d %g %g\\n", p->times(2.0), s.times(2), float(s), int(concept) + other, f(&two), S::scale);
}
""")
    assert out == "6 6.5 3 42 2.5 1.5"
