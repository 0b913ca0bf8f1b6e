"""What each run-time parameter is to a launch: shared by the launcher and the backends."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


def layout(scalars: Sequence[Scalar], pad: dict[str, str]) -> struct.Struct:
    """How run-time numbers are packed, little endian; `pad` gives the fill after each code."""
    return struct.Struct("<" + "".join(s.code + pad.get(s.code, "") for s in scalars))


def packer(plain: Callable[..., bytes]) -> Callable[..., bytes]:
    """A layout's `pack` under which a float that float32 cannot hold becomes infinite, as in C."""

    def pack(*values: Any) -> bytes:
        try:
            return plain(*values)
        except OverflowError:
            return plain(*map(_as_float32, values))

    return pack


def _as_float32(v: Any) -> Any:
    """A float beyond float32's range as an infinity; anything else as it is."""
    return math.copysign(math.inf, v) if isinstance(v, float) and abs(v) >= 3.4028235677973366e38 else v
