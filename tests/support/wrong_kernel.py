"""Collects kernels that are wrong on purpose, and says how each fails.

The offending line of a kernel is marked `# error: phrase`, with a phrase of the message.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from zmlx import dtypes as dt
from zmlx.errors import CompilationError, Loc
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg

jit = JitCallable


@dataclass
class Case:
    kernel: JitCallable
    error: type[CompilationError]
    underlined: str
    constants: dict[str, Any]


CASES: list[Case] = []


def wrong(error: type[CompilationError], underlined: str, **constants: Any) -> Callable[[Any], Any]:
    """Collects a kernel. Parameters: out, x, y, … are float32 arrays, n, m, k int32, UPPER a constexpr (16)."""

    def collect(kernel: JitCallable) -> JitCallable:
        CASES.append(Case(kernel, error, underlined, constants))
        return kernel

    return collect


def arguments(kernel: JitCallable, constants: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for p in kernel.params:
        if p.name in constants:
            out[p.name] = constants[p.name] if isinstance(constants[p.name], (ArrayArg, ScalarArg)) else ConstexprArg(constants[p.name])
        elif p.is_constexpr:
            out[p.name] = ConstexprArg(16)
        else:
            out[p.name] = ScalarArg(dt.int32) if p.name in ("n", "m", "k") else ArrayArg(dt.float32, 16)
    return out


def failure(kernel: JitCallable, constants: dict[str, Any]) -> CompilationError:
    with pytest.raises(CompilationError) as info:
        trace(kernel, arguments(kernel, constants))
    return info.value


def text_of(loc: Loc) -> str:
    lines = [linecache.getline(loc.file, i) for i in range(loc.line, loc.end_line + 1)]
    lines[-1] = lines[-1][: loc.end_col]
    lines[0] = lines[0][loc.col :]
    return "".join(lines)
