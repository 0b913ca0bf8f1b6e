"""What a kernel says while it runs, on the cpu and interpret targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import DtypeError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import none


def _print(types: Sequence[Type], attrs: Mapping[str, Any], regions: Any) -> tuple[Type, ...]:
    return ()


def _assert(types: Sequence[Type], attrs: Mapping[str, Any], regions: Any) -> tuple[Type, ...]:
    if types[0].elem is not dt.int1:
        raise DtypeError(f"tl.device_assert takes a condition, got {types[0]}", "compare first: tl.device_assert(x > 0, ...)")
    return ()


# Operands are all scalars, or all tiles of one shape; each element is printed with its program and index.
device_print = define("device_print", ("*values",), _print, attrs=("prefix", "hex"), traits="effect")
# condition, and optionally a mask: elements where the mask is off are not checked.
device_assert = define("device_assert", ("condition", "mask?"), _assert, attrs=("message",), traits="effect")
debug_barrier = define(
    "debug_barrier", (), none(0), traits="effect barrier",
    spell={"metal": "threadgroup_barrier(metal::mem_flags::mem_device | metal::mem_flags::mem_threadgroup)",
           "cuda": "__syncthreads()", "host": ""},
    doc="orders the memory accesses of all threads of a program",
)  # fmt: skip
