"""Floating-point operations of recorded launches: one program run by the interpreter and counted, times the programs.

Additions, multiplications, divisions, extrema and functions such as exp count one for each element of a tile, masked lanes
included; a fused multiply-add counts two, a dot 2·m·n·k. The first program stands for all, so a kernel whose programs do
different amounts of work needs an `Entry.flops` of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import zmlx
from zmlx.bench.twin_launch import ArrayRef, Recorded
from zmlx.ir.core import Op
from zmlx.ir.opdef import OpDef
from zmlx.ops import arith
from zmlx.ops import math as functions
from zmlx.runtime.interpret_backend import traced

COUNTED = frozenset(d.name for module in (arith, functions) for d in vars(module).values() if isinstance(d, OpDef) and d.operands)


def operations(launches: Sequence[Recorded]) -> int:
    """Floating-point operations of the launches, all programs together."""
    total = 0
    for launch in launches:
        count = 0

        def counted(op: Op, operands: Any, results: Any) -> None:
            nonlocal count
            count += _of(op, operands, results)

        values = {n: _array(v) for n, v in launch.arguments.items() if n not in launch.options}
        with zmlx.use_target("interpret"), traced(counted):
            launch.kernel[(1,)](**values, **launch.options)
        total += count * math.prod(launch.grid)
    return total


def _of(op: Op, operands: Any, results: Any) -> int:
    if not results or results[0].dtype.kind != "f":
        return 0
    if op.name == "dot":
        return 2 * operands[0].size * operands[1].shape[-1]
    return (2 if op.name == "fma" else 1) * int(results[0].size) if op.name in COUNTED else 0


def _array(value: Any) -> Any:
    """A launch argument for a run that leaves the recorded one alone."""
    if not isinstance(value, ArrayRef):
        return value
    if value.content is None:
        return (zmlx.zeros if value.zeroed else zmlx.empty)(value.shape, value.dtype)
    return value.content + 0 if value.content.ndim == 0 else value.content[...]
