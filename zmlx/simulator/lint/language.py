"""Rules about what of C++ is not part of Metal's language."""

from __future__ import annotations

import re
from itertools import pairwise

from zmlx.simulator.lint.rules import Found, Rule, calls, words
from zmlx.simulator.lint.text import CLASS, FUNCTION, KERNEL, PROGRAM, STATEMENTS, Text
from zmlx.simulator.translate.tokens import closing_angle, is_word, matching


def _doubles(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word == "double" and text.is_name(k):
            yield k, "double is no type of Metal"
        elif text.kinds[k] == "number" and re.fullmatch(r"(\d[\d']*\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?[lL]", word):
            yield k, f"{word} is a long double"


def _std(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word == "std" and text.word(k + 1) == "::":
            yield k, f"std::{text.word(k + 2)} is not there in Metal"
        elif word == "std" and text.word(k - 1) == "namespace" and text.word(k - 2) == "using":
            yield k, "namespace std is not there in Metal"


def _lambdas(text: Text) -> Found:
    for k, word in enumerate(text.words):
        before = text.word(k - 1)
        if word == "[" and before in ("=", "(", ",", "return", "{", "&&", "||", "?", ":") and text.word(k + 1) != "[":
            close = matching(text.words, k)
            if text.word(close + 1) in ("(", "{") and text.scopes[k] in (FUNCTION, KERNEL, PROGRAM) and not text.is_macro:
                yield k, "a lambda expression"


def _recursion(text: Text) -> Found:
    defined = [text.words[f.name] for f in text.functions]
    bodies = [text.tokens.words(m.body) for m in text.tokens.macros]
    pasted = [word for body in bodies for word, after in pairwise(body) if after == "##"]
    for f in text.functions:
        name = text.words[f.name]
        if defined.count(name) > 1 or any(name.startswith(p) for p in pasted):
            continue  # another of its overloads may be meant
        for k in range(f.body, f.end):
            if (
                text.words[k] == name
                and text.word(k + 1) == "("
                and text.word(k - 1) not in (".", "->", "::")
                and not _is_declared(text, k)
            ):
                yield k, f"{name} calls itself"


def _is_declared(text: Text, k: int) -> bool:
    return is_word(text.word(k - 1)) and text.word(k - 1) not in STATEMENTS


def _function_pointers(text: Text) -> Found:
    """Outside of template parameters, whose values the compiler knows."""
    heads = [(k, closing_angle(text.words, k + 1)) for k, word in enumerate(text.words) if word == "template" and text.word(k + 1) == "<"]
    for k, word in enumerate(text.words):
        if word != "(" or text.word(k + 1) != "*" or any(first < k < last for first, last in heads):
            continue
        name = k + 2
        while text.word(name) == "const":
            name += 1
        is_pointer = text.is_name(name) and text.word(name + 1) == ")" and text.word(name + 2) == "("
        if is_pointer and (_is_declared(text, k) or text.word(k - 1) in ("*", ">")) and text.word(k - 1) != "using":
            yield name, f"{text.word(name)} is a pointer to a function"


def _variable_lengths(text: Text) -> Found:
    """`float x[n];` in a function, n being one of its parameters."""
    for f in text.functions:
        names = set()
        for first, end in text.parameters(f.opening):
            stop = next((k for k in range(first, end) if text.words[k] in ("=", "[")), end)
            if text.is_name(stop - 1):
                names.add(text.words[stop - 1])
        for k in range(f.body + 1, f.end):
            is_length = text.words[k] == "[" and text.word(k + 1) in names and text.word(k + 2) == "]"
            if is_length and text.word(k + 3) in (";", ",", "=") and text.is_name(k - 1) and _is_declared(text, k - 1):
                yield k + 1, f"the length of {text.word(k - 1)} is known at run time only"


def _kernel_results(text: Text) -> Found:
    for f in text.functions:
        if f.is_kernel and text.word(f.name - 1) != "void":
            yield f.name - 1, f"the kernel {text.words[f.name]} returns something"


def _main(text: Text) -> Found:
    for f in text.functions:
        if text.words[f.name] == "main" and text.scopes[f.name] == PROGRAM:
            yield f.name, "a function is called main"


def _newer(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word in ("consteval", "constinit", "co_await", "co_return", "co_yield") and is_word(text.word(k + 1)):
            yield k, f"{word} is of C++20"
        elif word == "concept" and is_word(text.word(k + 1)) and text.word(k + 2) == "=":
            yield k, "concepts are of C++20"
        elif word == "requires" and text.word(k - 1) in (">", ")", "=") and text.word(k + 1) not in ("=", ";", ".", ")"):
            yield k, "requires is of C++20"
        elif word == "<=" and text.word(k + 1) == ">":
            yield k, "<=> is of C++20"
    for f in text.functions:
        for first, end in text.parameters(f.opening):
            at = next((k for k in range(first, end) if text.words[k] == "auto"), None)
            if at is not None:
                yield at, f"a parameter of {text.words[f.name]} is auto, which is of C++20"


_HEADERS = frozenset(
    "algorithm array atomic bit bitset cassert cctype cerrno cfloat chrono climits cmath complex concepts cstddef cstdint cstdio "
    "cstdlib cstring functional initializer_list iostream iterator limits map memory new numbers numeric optional random ranges "
    "set span string thread tuple type_traits utility vector assert.h ctype.h float.h limits.h math.h stdint.h stdio.h stdlib.h "
    "string.h stddef.h stdbool.h".split()
)


def _includes(text: Text) -> Found:
    """Those of an `#if`'s branches may be for other compilers."""
    name = "".join(text.words[2:])
    if text.word(1) in ("include", "import") and not text.tokens.branches(text.segment[0]) and name.strip('<>"') in _HEADERS:
        yield 1, f"{name} is not there in Metal"


def _run_time_types(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word == "virtual" and text.scopes[k] == CLASS:
            yield k, "virtual is not there in Metal"
        elif word in ("dynamic_cast", "typeid") and text.word(k + 1) in ("<", "("):
            yield k, f"{word} is not there in Metal"


def _heap(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word in ("new", "delete") and text.is_name(k) and text.word(k - 1) not in ("=", "operator", ".", "->"):
            yield k, f"{word}: a kernel has no heap"
        elif word == "new" and text.word(k - 1) == "=" and (is_word(text.word(k + 1)) or text.word(k + 1) == "("):
            yield k, "new: a kernel has no heap"
        elif word in ("malloc", "calloc", "realloc", "free") and text.word(k + 1) == "(" and not _is_declared(text, k):
            yield k, f"{word}: a kernel has no heap"


RULES = (
    Rule(
        "double",
        "Apple's GPUs have no floating point of 64 bits",
        "use float: `1.0f`",
        "float f(float x) { return x * (double)2; }",
        "float f(float x) { return x * 2.0f; }",
        _doubles,
    ),
    Rule(
        "exceptions",
        "Metal has no exceptions",
        "return a value that says so",
        "int f(int x) { if (x) throw 1; return x; }",
        "int f(int x) { return x ? -1 : x; }",
        words("throw try catch", "{} is not there in Metal"),
    ),
    Rule(
        "goto",
        "Metal has no goto",
        "use a loop or a function",
        "void f() { goto end; end: return; }",
        "void f() { return; }",
        words("goto", "{} is not there in Metal"),
    ),
    Rule(
        "heap",
        "a kernel has no heap",
        "use an array of fixed size, or a buffer",
        "void f() { auto p = new int; }",
        "void f() { int p = 0; }",
        _heap,
    ),
    Rule(
        "virtual",
        "Metal has no virtual functions and no types at run time",
        "use a template",
        "struct A { virtual int f(); };",
        "struct A { int f(); };",
        _run_time_types,
    ),
    Rule(
        "storage-class",
        "storage belongs to an address space",
        "use a variable of the function",
        "thread_local int x;",
        "constant int x = 1;",
        words("thread_local register", "{} is not there in Metal"),
    ),
    Rule(
        "std",
        "C++'s standard library is not there",
        "use metal::",
        "float f(float x) { return std::exp(x); }",
        "float f(float x) { return metal::exp(x); }",
        _std,
    ),
    Rule(
        "include",
        "C++'s headers are not there",
        "Metal's library is there without an include, as <metal_stdlib>",
        "#include <cmath>\nconstant int x = 1;",
        "#include <metal_math>\nconstant int x = 1;",
        _includes,
        on_directives=True,
    ),
    Rule(
        "printf",
        "a kernel has no standard output",
        "write to an output, or use os_log with Metal 3.2 and later",
        'void f() { printf("x"); }',
        "void f(device int& x) { x = 1; }",
        calls("printf puts putchar fprintf", "{} is not there in Metal"),
    ),
    Rule(
        "lambda",
        "Metal before 3.2 has no lambda expressions",
        "use a function, or a struct with operator()",
        "int f(int x) { auto g = [&](int y) { return x + y; }; return g(1); }",
        "int g(int x, int y) { return x + y; }",
        _lambdas,
    ),
    Rule(
        "recursion",
        "older Metal refuses recursion, and MLX's pipelines have no call stack for it",
        "use a loop",
        "int f(int n) { return n ? f(n - 1) : 0; }",
        "int f(int n) { while (n) n--; return 0; }",
        _recursion,
    ),
    Rule(
        "function-pointer",
        "Metal has pointers to visible functions only",
        "use a template parameter",
        "void g() { int (*f)(int); }",
        "template <class F> int g(F f) { return f(1); }",
        _function_pointers,
    ),
    Rule(
        "variable-length",
        "an array's length is known when the kernel is compiled",
        "use a template parameter or a constant",
        "void f(int n) { float x[n]; }",
        "template <int n> void f() { float x[n]; }",
        _variable_lengths,
    ),
    Rule(
        "kernel-result",
        "a kernel returns nothing",
        "make it `void` and write to an output",
        "[[kernel]] int f(device int* x) { return 1; }",
        "[[kernel]] void f(device int* x) { x[0] = 1; }",
        _kernel_results,
    ),
    Rule("main", "no function of Metal may be called main", "choose another name", "void main() { }", "void run() { }", _main),
    Rule(
        "c++20",
        "Metal is C++14, or C++17 since Metal 4",
        "use a template and enable_if",
        "template <class T> requires (sizeof(T) == 4) T f(T x) { return x; }",
        "template <class T> T f(T x) { return x; }",
        _newer,
    ),
)
