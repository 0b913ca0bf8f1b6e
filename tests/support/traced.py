"""Traces kernels and runs them with the NumPy interpreter."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg
from zmlx.interp import tile
from zmlx.ir.core import Function
from zmlx.ir.verifier import verify

jit = JitCallable


def arguments(kernel: JitCallable, given: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for p in kernel.params:
        value = given.get(p.name, p.default)
        if isinstance(value, np.ndarray):
            out[p.name] = ArrayArg(dt.BY_NAME[value.dtype.name], 16)
        elif p.is_constexpr or value is None or isinstance(value, (str, tuple, dt.DType, JitCallable)):
            out[p.name] = ConstexprArg(value)
        elif isinstance(value, bool):
            out[p.name] = ScalarArg(dt.int1)
        elif isinstance(value, int):
            out[p.name] = ScalarArg(dt.int32 if -(2**31) <= value < 2**31 else dt.int64)
        else:
            out[p.name] = ScalarArg(dt.float32)
    return out


def compiled(kernel: JitCallable, **given: Any) -> Function:
    fn = trace(kernel, arguments(kernel, given))
    verify(fn)
    return fn


def launch(kernel: JitCallable, grid: tuple[int, ...] = (1,), **given: Any) -> list[str]:
    """Runs a kernel; arrays change in place. Returns what it printed."""
    fn = compiled(kernel, **given)
    printed: list[str] = []
    names = [p.name for p in fn.params]
    arrays = {n: given[n] for n in names if isinstance(given.get(n), np.ndarray)}
    scalars = {n: given[n] for n in names if n not in arrays}
    tile.run(fn, arrays, scalars, (*grid, 1, 1)[:3], printed.append)
    return printed


def value_of(kernel: JitCallable, dtype: str = "float32", size: int = 1, **given: Any) -> Any:
    """What a kernel stores at `out`: a number, or an array if n > 1."""
    out = np.zeros(size, dtype)
    launch(kernel, out=out, **given)
    return out[0].item() if size == 1 else out


def ops(fn: Function) -> list[str]:
    return [op.name for op in fn.walk()]


def from_text(text: str, name: str, **names: Any) -> JitCallable:
    """A kernel from text, as a notebook cell makes it."""
    file = f"<cell {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    scope: dict[str, Any] = {"tl": tl, "jit": jit, **names}
    exec(compile(text, file, "exec"), scope)
    found = scope[name]
    return found if isinstance(found, JitCallable) else jit(found)
