"""Each pass by hard cases; texts are compared with runs of spaces as one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmlx.simulator.translate import UnsupportedFeature, translate
from zmlx.simulator.translate.literals import convert_literal


def cpp(msl: str) -> str:
    """The translation, whose lines must be the MSL's."""
    text = translate(msl).text
    assert text.count("\n") == msl.count("\n")
    return text


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


VARIABLE = "::zm::threadgroup_variable"


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("1.0", "1.0f"), ("1.", "1.f"), (".5", ".5f"), ("1e-5", "1e-5f"), ("1'0.5", "1'0.5f"), ("0x1.8p3", "0x1.8p3f"),
        ("0x1p-2", "0x1p-2f"),
        ("1.0f", "1.0f"), ("1F", "1F"), ("10", "10"), ("0x1F", "0x1F"), ("0xE", "0xE"), ("10u", "10u"), ("0b101", "0b101"), ("1ul", "1ul"),
        ("1.5h", "half(1.5f)"), ("2h", "half(2.0f)"), ("1e2h", "half(1e2f)"), ("0.1h", "half(0x1.9980000000000p-4f)"),
        ("1.bf", "bfloat(1.f)"), ("3bf", "bfloat(3.0f)"), ("0.1bf", "bfloat(0x1.9a00000000000p-4f)"), ("0x1Bf", "0x1Bf"),
        ("0x1bf", "0x1bf"),
        ("70000.0h", "half(__builtin_inff())"), ("1.5xyz", "1.5xyz"),
    ],
)  # fmt: skip
def test_literals(literal: str, expected: str) -> None:
    assert convert_literal(literal) == expected


def test_literals_everywhere_but_in_conditions_strings_and_comments() -> None:
    text = cpp('#if 1.0\n#endif\n#define E 1e-5 + \\\n  2.5\nauto s = "1.0"; // 1.0\nauto v = x.w + 3.0;')
    assert text == '#if 1.0\n#endif\n#define E 1e-5f + \\\n  2.5f\nauto s = "1.0"; // 1.0\nauto v = x.w + 3.0f;'


@pytest.mark.parametrize(
    ("msl", "expected"),
    [
        ("constant float x = 1;", "const float x = 1;"),
        ("constant float* p;", "const float* p;"),
        ("float constant* p;", "float const* p;"),
        ("const constant int* p;", "const int* p;"),
        ("constant const int& r;", "const int& r;"),
        ("const constant metal::vec<T, 4>* p;", "const metal::vec<T, 4>* p;"),
        ("const vec<T, (3 > 2)> constant* p;", "const vec<T, (3 > 2)> * p;"),
        ("constant Foo<const int>* p;", "const Foo<const int>* p;"),
        ("static constexpr int constant n = 8;", "static constexpr int const n = 8;"),
        ("static constant constexpr const int N = 3;", "static constexpr const int N = 3;"),
        ("constexpr constant char* s;", "constexpr const char* s;"),
        ("device const T* constant& p;", "const T* const& p;"),
        ("constant auto& p = q;", "const auto& p = q;"),
        ("const constant auto& p = q;", "const auto& p = q;"),
        ("constant float table[2][2] = {{1.0, 2}, {3, 4}};", "const float table[2][2] = {{1.0f, 2}, {3, 4}};"),
        ("auto p = (constant float4*)q;", "auto p = (const float4*)q;"),
        ("reinterpret_cast<constant float*>(q);", "reinterpret_cast<const float*>(q);"),
        ("void f(constant int* a, constant const int& b, int constant c[2]);", "void f(const int* a, const int& b, int const c[2]);"),
        ("#define CONST constant", "#define CONST const"),
        ("struct S { S(int a) constant : x(a) {} int x; };", "struct S { S(int a) : x(a) {} int x; };"),
        ("struct S { int get() constant { return 1; } };", "struct S { int get() const { return 1; } };"),
        ("struct S { int get() const constant { return 1; } };", "struct S { int get() const { return 1; } };"),
        ("struct S { operator S() const constant; };", "struct S { operator S() const ; };"),
        ("struct S { operator bool() constant; };", "struct S { operator bool() const; };"),
        ("alignas(16) constant float x[4] = {};", "alignas(16) const float x[4] = {};"),
        ("struct S { static constant float x = 2; };", "struct S { static inline const float x = 2; };"),
        ("struct S { static constexpr constant float x = 2; };", "struct S { static constexpr const float x = 2; };"),
    ],
)
def test_constant_means_const(msl: str, expected: str) -> None:
    assert squeezed(cpp(msl)) == expected


@pytest.mark.parametrize(
    ("msl", "expected"),
    [
        ("void f(device float* x [[buffer(0)]]);", "void f( float* x );"),
        ("uint i [[thread_position_in_grid]] ;", "uint i ;"),
        ("[[kernel, max_total_threads_per_threadgroup(WM * W[1])]] void f();", "void f();"),
        ("a[b[0]] = c[d[e[1]]];", "a[b[0]] = c[d[e[1]]];"),
        ("[[maybe_unused]] int x; [[fallthrough]];", "[[maybe_unused]] int x; [[fallthrough]];"),
        ("struct A { float4 p [[attribute(0)]]; };", "struct A { float4 p ; };"),
        ('#define K(n) template [[host_name(n)]] [[kernel]] decltype(f<n>) f<n>;', "#define K(n) template decltype(f<n>) f<n>;"),
        ("kernel void f();", "void f();"),
        ("volatile coherent(system) device uint* t;", "volatile uint* t;"),
        ("thread auto& x = y; T get() const thread { return 1; }", "auto& x = y; T get() const { return 1; }"),
        ("auto f = [&](thread T& a) thread { return a; };", "auto f = [&]( T& a) { return a; };"),
        ("int requires = concept + 1;", "int requires_ = concept_ + 1;"),
        ('#import <metal_stdlib>', "#include <metal_stdlib>"),
        ('#line 7 "x.metal"\nint a;', "int a;"),
        ("#include <metal_texture>\nint a;", "int a;"),
    ],
)  # fmt: skip
def test_words_that_go(msl: str, expected: str) -> None:
    assert squeezed(cpp(msl)) == expected


def test_columns_stay_where_words_go() -> None:
    msl = "void f(const device float* x [[buffer(0)]], thread int& y) { threadgroup_barrier(m); }"
    text = cpp(msl)
    assert [text.index(w) for w in ("float", "int&", "threadgroup_barrier")] == [
        msl.index(w) for w in ("float", "int&", "threadgroup_barrier")
    ]


@pytest.mark.parametrize(
    ("msl", "expected"),
    [
        ("{ threadgroup float x; }", f'{{ auto& x = {VARIABLE}<float>([]{{}}, "x"); }}'),
        ("{ threadgroup T x[N], y; }", f'{{ auto& x = {VARIABLE}<T[(N)]>([]{{}}, "x"); auto& y = {VARIABLE}<T>([]{{}}, "y"); }}'),
        ("{ threadgroup vec<T, 4> x[2][N > 3 ? 1 : 2]; }", f'{{ auto& x = {VARIABLE}<vec<T,4>[(2)][(N>3?1:2)]>([]{{}}, "x"); }}'),
        ("{ threadgroup typename A<B>::C x[A<B>::n]; }", f'{{ auto& x = {VARIABLE}<typename A<B>::C[(A<B>::n)]>([]{{}}, "x"); }}'),
        ("{ float threadgroup x[4]; }", f'{{ auto& x = {VARIABLE}<float[(4)]>([]{{}}, "x"); }}'),
        ("{ threadgroup unsigned int x[sizeof(T) * 2]; }", f'{{ auto& x = {VARIABLE}<unsigned int[(sizeof(T)*2)]>([]{{}}, "x"); }}'),
        ("{ alignas(16) threadgroup half x[4]; }", f'{{ auto& x = {VARIABLE}<half[(4)]>([]{{}}, "x"); }}'),
        ("{ threadgroup alignas(16) half x[4]; }", f'{{ auto& x = {VARIABLE}<half[(4)]>([]{{}}, "x"); }}'),
        ("{ threadgroup volatile uint x; }", f'{{ auto& x = {VARIABLE}<volatile uint>([]{{}}, "x"); }}'),
        ("{ threadgroup struct { int a; } x[2]; }", None),
        ("{ threadgroup struct P { int a; } x[2]; }", f'{{ struct P {{ int a; }}; auto& x = {VARIABLE}<P[(2)]>([]{{}}, "x"); }}'),
        ("{ device float* threadgroup x[2]; }", f'{{ auto& x = {VARIABLE}<float*[(2)]>([]{{}}, "x"); }}'),
        ("if (a) { } threadgroup atomic_uint x;", f'if (a) {{ }} auto& x = {VARIABLE}<atomic_uint>([]{{}}, "x");'),
        ("#define S(T, x, n) threadgroup T x[n]", f"#define S(T, x, n) auto& x = {VARIABLE}<T[(n)]>([]{{}}, #x)"),
        ("#define S(T) threadgroup T s_##T[2];", f'#define S(T) auto& s_##T = {VARIABLE}<T[(2)]>([]{{}}, "s_##T");'),
        ("#define SHARED threadgroup\n{ SHARED float x[2]; }", f'#define SHARED {{ auto& x = {VARIABLE}<float[(2)]>([]{{}}, "x"); }}'),
        ("BLOCK(threadgroup float x[2]; x[0] = 1;)", f'BLOCK(auto& x = {VARIABLE}<float[(2)]>([]{{}}, "x"); x[0] = 1;)'),
        ("[&] { threadgroup int x; }();", f'[&] {{ auto& x = {VARIABLE}<int>([]{{}}, "x"); }}();'),
        ("switch (a) { case 0: threadgroup int x; }", f'switch (a) {{ case 0: auto& x = {VARIABLE}<int>([]{{}}, "x"); }}'),
    ],
)  # fmt: skip
def test_threadgroup_variables(msl: str, expected: str | None) -> None:
    text = squeezed(cpp(msl)).replace(" ;", ";")
    if expected is None:
        assert re.fullmatch(r'\{ struct (\w+) \{ int a; \}; auto& x = ::zm::threadgroup_variable<\1\[\(2\)\]>\(\[\]\{\}, "x"\); \}', text)
    else:
        assert text == squeezed(expected)


@pytest.mark.parametrize(
    "msl",
    [
        "{ threadgroup T* p = x; }", "{ threadgroup T& r = x; }", "{ threadgroup T* p, *q; }",
        "{ threadgroup auto* p = (threadgroup T*)x; }",
        "void f(threadgroup T* p, threadgroup T& q);", "threadgroup T* f(threadgroup T* p) { return p; }",
        "x = *(threadgroup vec<T, 4>*)p;",
        "struct P<threadgroup T*> { using type = T; };", "template <typename T> threadgroup T& f(threadgroup T& x);",
        "f(threadgroup T* p);",
        "struct S { S() threadgroup : a(1) {} threadgroup T* p; };", "y = reinterpret_cast<const threadgroup T*>(p)[0];",
        "typedef threadgroup float* P;", "using P = threadgroup float*;", "{ threadgroup float (*p)[4]; }",
    ],
)  # fmt: skip
def test_pointers_into_threadgroup_memory_are_no_variables(msl: str) -> None:
    assert squeezed(cpp(msl)) == squeezed(re.sub(r"\bthreadgroup\b", "", msl)).replace("( ", "(") or VARIABLE not in cpp(msl)
    assert VARIABLE not in cpp(msl)


@pytest.mark.parametrize(
    "msl", ["using T4 = threadgroup float4;", "typedef threadgroup float T8[8];", "{\n threadgroup float x[2] = {0};\n}"]
)
def test_threadgroup_memory_that_would_become_private_is_refused(msl: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        translate(msl)
    assert refused.value.line == (2 if msl.startswith("{") else 1)
    assert refused.value.remedy


DROPPED = [
    "void f(device T* x, int n) { g(x, n); } void f(threadgroup T* y, int m) { g(y, m); }",
    "void f(const device T* x) { *x; } void f(constant T* x) { *x; }",
    "template <typename T> void f(thread T& x) {} template <typename T> void f(device T& x) {}",
    "struct S { S() thread {} S() device {} };",
    "struct S { S() thread = default; S() threadgroup = default; S() constant = default; };",
    "struct S { S(int a) thread : x(a) {}; S(int a) threadgroup : x(a) {}; int x; };",
    "struct S { S(int a) thread : x{a}, y(2) {} S(int a) constant : x{a}, y(2) {} int x, y; };",
    "struct S { int get() const thread; int get() const constant; };",
    "struct S { bool operator()(device T* a); bool operator()(thread T* a); };",
    "struct S { S& operator=(S a) thread { return *this; } S& operator=(S a) device { return *this; } };",
    "bool operator>=(thread S& a, S b) { return a > b; } bool operator>=(device S& a, S b) { return a > b; }",
    "template <typename T> struct P<device T*> { using t = T; }; template <typename T> struct P<thread T*> { using t = T; };",
    "namespace a { void f(device T* x) {} } namespace a { void f(thread T* x) {} }",
    "#define F(S) void f(S T* x) {}\nF(device)\nF(thread)",
    "#define F() void f(device T* x) {} void f(thread T* x) {}",
    "template void f<float>(device float*); template void f<float>(thread float*);",
]
KEPT = [
    "void f(device T* x) {} void f(device U* x) {}",
    "void f(device T* x) {} void f(constant T* x) {}",  # const T* is another type
    "void f(T x) {} void f(T x) {}",  # the compiler says what is wrong
    "struct S { int f() thread { return 1; } }; struct S { int f() thread { return 2; } };",  # so does it here
    "struct S { int get() thread; int get() const thread; };",
    "struct S { void f(device T* x) {} }; struct R { void f(thread T* x) {} };",
    "namespace a { void f(device T* x) {} } namespace b { void f(thread T* x) {} }",
    "void f(unsigned int x, device T* y) {} void f(unsigned long x, thread T* y) {}",
    "#if A\nvoid f(device T* x) {}\n#else\nvoid f(thread T* x) {}\n#endif",
    "#if A\nvoid f(device T* x) {}\n#endif\nvoid f(thread T* x) {}",
    "void f(device T* x); void f(thread T* x);",  # may be said twice in C++, too
    "#define G f((device T*)p); f((thread T*)p);",
    "#define G if (f((device T*)p)) { h(); } if (f((thread T*)p)) { h(); }",
    "#define F(S) void f_##S(S T* x) {}\nF(device)\nF(thread)",
    "f((device T*)p); f((thread T*)p);",
    "#define BEGIN(n) void n() {\n#define LOAD(p) f(p)\nBEGIN(a) LOAD((device T*)p); LOAD((thread T*)p); }",
]


def declared(msl: str) -> str:
    """The text of a case without its address spaces, where nothing is dropped."""
    return re.sub(
        r"[^\S\n]+", "", re.sub(r"\b(device|threadgroup|thread|constant)\b", lambda m: "const" if m[0] == "constant" else "", msl)
    )


@pytest.mark.parametrize("msl", DROPPED)
def test_overloads_by_address_space_become_one(msl: str) -> None:
    text = cpp(msl)
    assert len(re.sub(r"\s+", "", text)) < len(re.sub(r"\s+", "", declared(msl))) - 2


@pytest.mark.parametrize("msl", KEPT)
def test_other_declarations_stay(msl: str) -> None:
    assert re.sub(r"[^\S\n]+", "", cpp(msl)) == declared(msl)


@pytest.mark.parametrize(
    "msl",
    [
        "\nint f(device T* x) { return 1; } int f(thread T* x) { return 2; }",
        "\nint f(device P* x) { return a.x; } int f(thread P* y) { return a.y; }",
        "template <> struct A<device T*> {};\ntemplate <> struct A<thread T*> { int n; };",
    ],
)
def test_overloads_that_differ_in_what_they_do_are_refused(msl: str) -> None:
    with pytest.raises(UnsupportedFeature, match="address space") as refused:
        translate(msl)
    assert refused.value.line == 2


@pytest.mark.parametrize(
    ("msl", "expected"),
    [
        ("struct S { template <> int f(int x) { return 1; } };", "struct S { int f(int x) { return 1; } };"),
        ("struct S { template <> int f<int>(int x) { return 1; } };", "struct S { int f (int x) { return 1; } };"),
        ("struct S { template <> int operator()(int x) { return 1; } };", "struct S { int operator()(int x) { return 1; } };"),
        (
            "template <class T> struct S { constexpr S<T>() = default; ~S<T>(); };",
            "template <class T> struct S { constexpr S () = default; ~S (); };",
        ),
        ("struct S { S<T> f(); S<T> operator()(int); T<S>(x); };", "struct S { S<T> f(); S<T> operator()(int); T<S>(x); };"),
        ("template <> int f(int x) { return 1; }", "template <> int f(int x) { return 1; }"),
    ],
)
def test_what_classes_hold_that_cpp_takes_otherwise(msl: str, expected: str) -> None:
    assert squeezed(cpp(msl)) == expected


@pytest.mark.parametrize(
    ("msl", "expected"),
    [
        (
            "float x[N] = { [0 ... N-1] = -1.0/2 };",
            "float x[N] = {}; for (int zm_at = (0); zm_at <= (N - 1); ++zm_at) x[zm_at] = (- 1.0f / 2) ;",
        ),
        (
            "int x[4] = {[2] = f(1, 2), [3] = 5,};",
            "int x[4] = {}; for (int zm_at = (2); zm_at <= (2); ++zm_at) x[zm_at] = (f ( 1 , 2 )); "
            "for (int zm_at = (3); zm_at <= (3); ++zm_at) x[zm_at] = (5) ;",
        ),
        ("F x[1] = {[](int a) { return a; }};", "F x[1] = {[](int a) { return a; }};"),
        ("int x[2] = {a[0], a[1]};", "int x[2] = {a[0], a[1]};"),
    ],
)
def test_initialisers_by_index(msl: str, expected: str) -> None:
    assert squeezed(cpp(msl)) == expected


def test_function_constants() -> None:
    found = translate(
        "constant bool a [[function_constant(3)]];\n#define C static constant constexpr\nC metal::uint b [[function_constant(N + 1)]];\n"
        "constant bool c = is_function_constant_defined(a) ? a : true;\nvoid f(device int* p [[buffer(0), function_constant(a)]]);"
    )
    assert [(c.name, c.type, c.index, c.line) for c in found.function_constants] == [
        ("a", "bool", "3", 1),
        ("b", "metal::uint", "N + 1", 3),
    ]
    assert [squeezed(line) for line in found.text.split("\n")] == [
        "const bool a = ::zm::function_constant<3, bool> ;",
        "#define C static const constexpr",
        "C metal::uint b = ::zm::function_constant<N + 1, metal::uint> ;",
        "const bool c = ::zm::function_constant_defined<3> ? a : true;",
        "void f( int* p );",
    ]


def test_a_text_goes_on_where_the_one_before_it_ended() -> None:
    header = translate("#define SHARED threadgroup\nstruct S {\n S(int) thread; };\nconstant int n [[function_constant(4)]];\n")
    source = translate("{ SHARED float x[4]; bool d = is_function_constant_defined(n); }\n", header)
    assert VARIABLE in source.text and "function_constant_defined<4>" in source.text
    assert [c.name for c in source.function_constants] == ["n"]
    assert VARIABLE not in translate("{ SHARED float x[4]; }").text


SOUP = (
    "threadgroup device constant thread const static constexpr kernel template typename struct S T x f operator using typedef namespace "
    "decltype alignas is_function_constant_defined ( ) [ ] { } < > :: : ; , = * & . -> ## [[ ]] [[kernel]] [[buffer(0)]] "
    '[[function_constant(1)]] [[host_name("n")]] 1.0 2.h "s" # #define #if #else #endif #include <a> \n \\\n // /* */ = { [ 0 ... 3 ] = '
    "coherent sampler"
).split(" ")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SOUP), max_size=30), st.sampled_from([" ", "\n"]))
def test_any_text_is_translated_line_by_line_or_refused(words: list[str], between: str) -> None:
    msl = between.join(words)
    try:
        text = translate.__wrapped__(msl).text
    except UnsupportedFeature as refused:
        assert 1 <= refused.line <= msl.count("\n") + 1
    else:
        assert text.count("\n") == msl.count("\n")


def test_the_same_text_gives_the_same_translation() -> None:
    msl = "kernel void f(device float* x) { threadgroup float y[4]; }"
    first = translate(msl)
    translate.cache_clear()
    assert translate(msl) == first
