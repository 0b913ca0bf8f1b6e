"""What each run-time parameter is to a launch: shared by the launcher and the backends."""

from __future__ import annotations

from dataclasses import dataclass

from zmlx.dtypes import DType


@dataclass(frozen=True, slots=True)
class Role:
    """An array parameter.

    writes   the kernel writes it, so it has a new value after the launch
    content  what the new value holds before the kernel runs: None (nothing that matters), "zeros" or "old"
    """

    name: str
    symbol: str
    dtype: DType
    writes: bool
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number passed at run time; `code` is its letter in Python's struct module."""

    name: str
    dtype: DType
    word: int = 0

    @property
    def code(self) -> str:
        return {"int1": "?", "int32": "i", "int64": "q", "uint64": "Q", "uint32": "I", "float32": "f", "float64": "d"}[self.dtype.name]
