"""Python functions written for one kernel: a warm launch then runs straight-line code, without loops over its arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any


@functools.lru_cache(maxsize=512)
def _code(text: str, where: str) -> CodeType:
    return compile(text, f"<{where}>", "exec")


def function(name: str, text: str, where: str, env: dict[str, Any]) -> Callable[..., Any]:
    """The function `name` that a text defines over the globals `env`. `where` is its file in tracebacks.

    Equal texts are compiled once: kernels whose arguments lie alike share their code.
    """
    exec(_code(text, where), env)
    made: Callable[..., Any] = env[name]
    return made


def listed(names: Iterable[str]) -> str:
    """Names as the inside of a tuple's brackets: "a, b, "."""
    return "".join(f"{name}, " for name in names)
