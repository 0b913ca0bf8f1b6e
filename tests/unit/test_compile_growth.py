"""Compiling takes work in proportion to the kernel: counted in calls, on every target, for every kind of statement."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from traced import from_text

from zmlx import dtypes as dt
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ScalarArg
from zmlx.targets.compile import compile_function
from zmlx.targets.target import target as target_of

HEAD = """def k(x, y, n):
    i = tl.arange(0, 64)
    rows = tl.arange(0, 32)[:, None] * 32 + tl.arange(0, 32)[None, :]
    a = tl.load(x + i)
    t = tl.load(x + rows)
    s = n
"""
TAIL = """    tl.store(y + i, a)
    tl.store(y + rows, t)
    tl.store(y + s, 0.0)
"""
STATEMENTS = {
    "arithmetic": "    a = tl.sqrt(a * {i}.5 + 1.0)\n",
    "one name": "    b = a + {i}.0\n    a = a * b + b\n",
    "scalars": "    s = (s * {i} + n) ^ (s >> 3)\n",
    "accesses": "    tl.store(y + {i} * 64 + i, tl.load(x + {i} * 64 + i, mask=i < n) * 2.0, mask=i < n)\n",
    "reductions": "    a = a + tl.sum(a * {i}.0, 0)\n",
    "rows": "    t = t - tl.max(t, 1)[:, None] * {i}.0\n",
    "loops": "    for j in range(n):\n        a = a * {i}.0 + j\n",
    "branches": "    if n > {i}:\n        a = a * {i}.0\n    else:\n        s = s + {i}\n",
    "products": "    t = tl.dot(t, t + {i}.0)\n",
    "views": "    t = tl.trans(t) + {i}.0\n",
}


def calls(statement: str, target: str, number: int) -> int:
    """Python's and built-in functions that tracing and compiling so many statements calls."""
    kernel = from_text(HEAD + "".join(statement.format(i=i + 1) for i in range(number)) + TAIL, "k")
    args: dict[str, Any] = {"x": ArrayArg(dt.float32, 16), "y": ArrayArg(dt.float32, 16), "n": ScalarArg(dt.int32)}
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        compile_function(trace(kernel, args), target_of(target), ir_texts=False)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("target", ["cpu", "cuda", "metal"])
@pytest.mark.parametrize("kind", STATEMENTS)
def test_twice_the_statements_take_twice_the_calls(kind: str, target: str) -> None:
    calls(STATEMENTS[kind], target, 2)  # fills what is computed once a process
    few, many = (calls(STATEMENTS[kind], target, n) for n in (20, 40))
    assert many <= 2.3 * few, f"{few} calls, then {many}"
