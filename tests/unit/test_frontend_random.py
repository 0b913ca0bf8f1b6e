"""Random control flow, run as Python and as Tile IR.

A kernel of integer scalars is valid Python once `tl` is replaced by a few lines, so CPython itself is the reference:
nested branches, early returns, loops, tuples, device functions and the names that live through them.
"""

from __future__ import annotations

import linecache
from itertools import count
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, JitCallable, ScalarArg
from zmlx.interp import tile
from zmlx.ir.verifier import verify

NAMES = ("x", "y", "z")
SLOTS = 4
numbers = count()


class _Pointer:
    """What `out` is in Python."""

    def __init__(self, memory: list[int], at: int = 0) -> None:
        self.memory, self.at = memory, at

    def __add__(self, offset: int) -> _Pointer:
        return _Pointer(self.memory, self.at + offset)


class _Python:
    """What `tl` is in Python."""

    static_range = range
    constexpr = int

    @staticmethod
    def store(pointer: _Pointer, value: Any) -> None:
        pointer.memory[pointer.at] = int(value)


expressions = st.recursive(
    st.sampled_from([*NAMES, "n", "m"]) | st.integers(-3, 9).map(str),
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from(["+", "-", "*", "&", "|", "^"]), e).map(lambda t: f"(({t[0]} {t[1]} {t[2]}) & 255)"),
        st.tuples(e, e).map(lambda t: f"min({t[0]}, {t[1]})"),
        st.tuples(e, e, e).map(lambda t: f"({t[0]} if {t[1]} > 3 else {t[2]})"),
        st.tuples(e, e).map(lambda t: f"pick({t[0]}, {t[1]})"),
    ),
    max_leaves=4,
)
conditions = st.one_of(
    st.tuples(expressions, st.sampled_from(["<", "<=", "==", "!=", ">"]), expressions).map(" ".join),
    st.tuples(expressions, expressions, expressions).map(lambda t: f"{t[0]} < {t[1]} <= {t[2]}"),
    st.tuples(expressions, expressions).map(lambda t: f"{t[0]} > 2 and not {t[1]} > 1"),
    st.sampled_from(["n > 1 or x > 2", "True", "False", "n"]),
)
Lines = list[str]


def indent(lines: Lines) -> Lines:
    return ["    " + line for line in lines]


def block(depth: int, loops: int) -> st.SearchStrategy[Lines]:
    return st.lists(statement(depth, loops), min_size=1, max_size=3).map(lambda parts: [line for part in parts for line in part])


def statement(depth: int, loops: int) -> st.SearchStrategy[Lines]:
    simple = st.one_of(
        st.tuples(st.sampled_from(NAMES), expressions).map(lambda t: [f"{t[0]} = {t[1]} + 0"]),
        st.tuples(st.sampled_from(NAMES), expressions).map(lambda t: [f"{t[0]} += {t[1]}", f"{t[0]} &= 1023"]),
        st.tuples(expressions, expressions).map(lambda t: [f"x, y = {t[0]} + 0, {t[1]} + 0"]),
        st.tuples(st.integers(0, SLOTS - 1), expressions).map(lambda t: [f"tl.store(out + {t[0]}, {t[1]})"]),
        st.tuples(expressions, expressions).map(lambda t: [f"y, z = order({t[0]} + 0, {t[1]} + 0)"]),
    )
    if depth == 0:
        return simple
    options = [simple, simple]
    inner = block(depth - 1, loops)
    options.append(st.tuples(conditions, inner).map(lambda t: [f"if {t[0]}:", *indent(t[1])]))
    options.append(st.tuples(conditions, inner, inner).map(lambda t: [f"if {t[0]}:", *indent(t[1]), "else:", *indent(t[2])]))
    if not loops:
        options.append(st.tuples(conditions, inner).map(lambda t: [f"if {t[0]}:", *indent(t[1]), "    return"]))
        options.append(
            st.tuples(conditions, inner, inner).map(lambda t: [f"if {t[0]}:", *indent(t[1]), "else:", *indent([*t[2], "return"])])
        )
    if loops < 2:
        body = block(depth - 1, loops + 1)
        i = "ij"[loops]
        bounds = st.sampled_from(["n", "n & 3", "1, m & 7, 2", "m & 3, -2, -1", "x & 3"])
        options.append(st.tuples(bounds, body).map(lambda t: [f"for {i} in range({t[0]}):", *indent([f"z = z ^ {i}", *t[1]])]))
        options.append(
            st.tuples(st.integers(0, 3), body).map(lambda t: [f"for {i} in tl.static_range({t[0]}):", *indent([*t[1], f"x = x + {i}"])])
        )
        w = "wv"[loops]
        options.append(
            st.tuples(conditions, body).map(lambda t: [f"{w} = 3", f"while {w} > 0 and ({t[0]}):", *indent([*t[1], f"{w} = {w} - 1"])])
        )
    return st.one_of(options)


TEMPLATE = """
@jit
def pick(a, b):
    if a > b:
        if a > 5:
            return a + 0
    elif b > 7:
        return 7 + 0 * b
    return b + 0

@jit
def order(a, b):
    if a < b:
        return a, b
    return b, a

@jit
def kernel(out, n, m):
    x = 1
    y = 2
    z = n + 0
"""


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(block(3, 0), st.integers(-2, 4), st.integers(-3, 12))
def test_control_flow_is_pythons(body: Lines, n: int, m: int) -> None:
    text = TEMPLATE + "\n".join(indent([*body, "tl.store(out, x)", "tl.store(out + 1, y)", "tl.store(out + 2, z)"])) + "\n"
    file = f"<random {next(numbers)}>"
    code = compile(text, file, "exec")
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    try:
        scope: dict[str, Any] = {"tl": _Python, "jit": lambda f: f}
        exec(code, scope)
        want = [-1] * SLOTS
        scope["kernel"](_Pointer(want), n, m)
        scope = {"tl": tl, "jit": JitCallable}
        exec(code, scope)
        fn = trace(scope["kernel"], {"out": ArrayArg(dt.int32), "n": ScalarArg(dt.int32), "m": ScalarArg(dt.int32)})
        verify(fn)
        got = np.full(SLOTS, -1, np.int32)
        tile.run(fn, {"out": got}, {"n": n, "m": m}, (1, 1, 1))
        assert got.tolist() == want, text
    finally:
        del linecache.cache[file]
