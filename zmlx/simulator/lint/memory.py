"""Rules about address spaces and about what a kernel is given."""

from __future__ import annotations

from collections.abc import Iterator

from zmlx.simulator.lint.casts import pointer_casts
from zmlx.simulator.lint.rules import Found, Rule
from zmlx.simulator.lint.text import FUNCTION, KERNEL, PROGRAM, Text
from zmlx.simulator.translate import kernels
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import is_word, matching

MOST_BUFFERS = 31
_NO_VARIABLE = frozenset("using typedef namespace struct class enum union extern".split())
_IN_FUNCTION = (FUNCTION, KERNEL)


def _pointers(text: Text) -> Found:
    later = text.template_names() | {"auto", "return", "case", "delete", "throw", "goto", "new", "else", "using", "typedef"}
    yield from _bare_parameters(text, later)
    spaces = _space_words(text)
    for first, last in pointer_casts(text.words):
        inner = set(text.words[first:last])
        if spaces.isdisjoint(inner) and later.isdisjoint(inner) and not text.is_macro:
            yield last - 1, "a cast to a pointer without an address space"
    if text.is_macro:
        return
    for k in text.declaration_starts():
        end = text.type_end(k)
        mark = text.word(end)
        if end == k or mark not in ("*", "&") or not later.isdisjoint(text.words[k:end]) or not spaces.isdisjoint(text.words[k:end]):
            continue
        name = end
        while text.word(name) in ("*", "&", "const"):
            name += 1
        if text.is_name(name) and text.word(name + 1) in ("=", ";", ",", "[", ":") and text.word(end + 1) not in SPACES:
            yield end, f"{text.word(name)} is a {_kind(mark)} without an address space"


def _bare_parameters(text: Text, later: set[str]) -> Found:
    spaces = _space_words(text)
    for f in text.functions:
        for first, end in text.parameters(f.opening):
            stop = next((k for k in range(first, end) if text.words[k] == "="), end)
            mark = text.type_end(first)
            said = set(text.words[first:stop])
            if mark < stop and text.words[mark] in ("*", "&") and said.isdisjoint(spaces) and said.isdisjoint(later):
                yield mark, f"a {_kind(text.words[mark])} parameter of {text.words[f.name]} without an address space"


def _space_words(text: Text) -> frozenset[str]:
    """The words for spaces, and macros that hold one."""
    return SPACES | {m.name for m in text.tokens.macros if not SPACES.isdisjoint(text.tokens.words(m.body))}


def _kind(mark: str) -> str:
    return "pointer" if mark == "*" else "reference"


def threadgroup_variables(text: Text) -> Iterator[tuple[int, int, int | None]]:
    """(the word `threadgroup`, the variable's name, where its initial value begins if it has one)."""
    for k in text.declaration_starts():
        end = text.type_end(k)
        if end == k or "threadgroup" not in text.words[k:end] or not text.is_name(end):
            continue
        at = end + 1
        while text.word(at) == "[":
            at = matching(text.words, at) + 1
        if text.word(at) in ("=", "{", ";", ","):
            yield text.words.index("threadgroup", k), end, at if text.word(at) in ("=", "{") else None


def _threadgroup_values(text: Text) -> Found:
    for _, name, value in threadgroup_variables(text):
        if value is not None:
            yield value, f"the threadgroup variable {text.words[name]} has an initial value"


def _threadgroup_scopes(text: Text) -> Found:
    if text.is_macro or text.is_statements:
        return
    for k, name, _ in threadgroup_variables(text):
        if text.scopes[k] in (PROGRAM, FUNCTION):
            yield k, f"the threadgroup variable {text.words[name]} is declared outside of a kernel"


def _program_variables(text: Text) -> Found:
    if text.is_macro or text.is_statements or text.segment is not text.tokens.segments[0]:
        return
    spaces = _space_words(text)
    for k in text.declaration_starts():
        end = text.type_end(k)
        if end == k or text.scopes[k] != PROGRAM or not text.is_name(end) or not spaces.isdisjoint(text.words[k:end]):
            continue
        if text.word(end + 1) in ("=", ";", "[") and _NO_VARIABLE.isdisjoint(text.words[k:end]):
            yield end, f"{text.words[end]} is declared at program scope and not in constant memory"


def _statics(text: Text) -> Found:
    for k in text.declaration_starts():
        end = text.type_end(k)
        if "static" in text.words[k:end] and text.scopes[k] in _IN_FUNCTION and _space_words(text).isdisjoint(text.words[k:end]):
            if text.is_name(end) and text.word(end + 1) in ("=", ";", "[", "{", ","):
                yield text.words.index("static", k), f"the static variable {text.words[end]} in a function"


def _device_variables(text: Text) -> Found:
    for k in text.declaration_starts():
        end = text.type_end(k)
        if end > k and "device" in text.words[k:end] and text.is_name(end) and text.word(end + 1) in ("=", ";", "["):
            if text.scopes[k] in _IN_FUNCTION or text.is_statements:
                yield end, f"{text.words[end]} is a variable in device memory"


def _buffers(text: Text) -> Found:
    if text.segment is not text.tokens.segments[0]:
        return
    at = {text.tokens.line(text.segment[f.name]): f for f in text.functions}
    for kernel in kernels.read(text.tokens)[0]:
        used = [p.buffer for p in kernel.parameters if p.buffer is not None]
        function = next((f for f in at.values() if text.words[f.name] == kernel.name), None)
        if function is None:
            continue
        if used and (max(used) >= MOST_BUFFERS or len(used) > MOST_BUFFERS):
            yield function.name, f"the kernel {kernel.name} takes more than {MOST_BUFFERS} buffers"


def _kernel_parameters(text: Text) -> Found:
    for f in text.functions:
        if not f.is_kernel:
            continue
        for first, end in text.parameters(f.opening):
            inside = text.words[first:end]
            name = _parameter_name(text, first, end)
            points = "*" in inside or "&" in inside
            if not points and "[" not in inside and is_word(name):
                yield first, f"the parameter {name} of a kernel has no attribute that says what it is"
            elif points and "thread" in inside:
                yield first, f"the parameter {name} of a kernel points to a thread's memory"


def _parameter_name(text: Text, first: int, end: int) -> str:
    stop = next((k for k in range(first, end) if text.words[k] in ("[", "=")), end)
    return text.word(stop - 1)


RULES = (
    Rule(
        "address-space",
        "Metal wants to be told the space of every pointer and reference",
        "add device, threadgroup, constant or thread",
        "float f(float* p) { return *p; }",
        "float f(device float* p) { return *p; }",
        _pointers,
    ),
    Rule(
        "threadgroup-value",
        "threadgroup memory starts unspecified",
        "let one thread write it, then put a threadgroup_barrier",
        "[[kernel]] void f() { threadgroup float x = 0; }",
        "[[kernel]] void f() { threadgroup float x; }",
        _threadgroup_values,
    ),
    Rule(
        "threadgroup-scope",
        "only a kernel can declare threadgroup memory",
        "declare it in the kernel and hand on a threadgroup pointer",
        "void f() { threadgroup float x[32]; }",
        "void f(threadgroup float* x) { x[0] = 1; }",
        _threadgroup_scopes,
    ),
    Rule(
        "program-scope",
        "variables at program scope live in constant memory",
        "write `constant` before its type",
        "const float table[2] = {1, 2}; float f(int i) { return table[i]; }",
        "constant float table[2] = {1, 2}; float f(int i) { return table[i]; }",
        _program_variables,
    ),
    Rule(
        "static",
        "a function's variables are private to a thread, or in threadgroup memory",
        "declare it `constant` at program scope, or `threadgroup` in the kernel",
        "void f() { static int x = 0; }",
        "void f() { static constant constexpr int x = 0; }",
        _statics,
    ),
    Rule(
        "device-variable",
        "device memory is what buffers are in; a variable cannot be",
        "leave `device` out, or take a pointer",
        "void f(device float* x) { device float y = x[0]; }",
        "void f(device float* x) { device float& y = x[0]; }",
        _device_variables,
    ),
    Rule(
        "buffer-limit",
        f"a kernel takes {MOST_BUFFERS} buffers at most",
        "put several arrays into one buffer",
        "[[kernel]] void f(device int* x [[buffer(31)]]) { }",
        "[[kernel]] void f(device int* x [[buffer(30)]]) { }",
        _buffers,
    ),
    Rule(
        "kernel-parameter",
        "each parameter of a kernel is a buffer or has an attribute",
        "make it `constant T&`, or say the attribute",
        "[[kernel]] void f(device int* x, int n) { x[0] = n; }",
        "[[kernel]] void f(device int* x, constant int& n) { x[0] = n; }",
        _kernel_parameters,
    ),
)
