"""`kernel.explain`: compiles anew, with every decision recorded, and asks CUDA's compiler for registers where it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zmlx.errors import ArgumentError, ToolchainError
from zmlx.explain.narrate import explain
from zmlx.explain.report import Explanation
from zmlx.frontend.codegen import trace
from zmlx.runtime import device, signature, toolchain
from zmlx.runtime.launcher import check_grid
from zmlx.runtime.signature import Bound
from zmlx.simt.decisions import Record
from zmlx.targets.compile import compile_function

if TYPE_CHECKING:
    from zmlx.runtime.jit import JitFunction

_ARCH = "sm_90a"  # of an H100, whose limits are those that occupancy is estimated for


def explained(
    kernel: JitFunction, bound: Mapping[str, Bound], name: str, num_warps: int, num_stages: int | None, grid: Any, values: tuple[Any, ...]
) -> Explanation:
    """The explanation of a kernel for bound arguments; no cache is read."""
    target = device.target(name)
    if name == "interpret":
        raise ArgumentError("the interpreter runs whole tiles as they are written; give target='metal', 'cuda' or 'cpu' to explain")
    record = Record()
    function = trace(kernel, {n: b.arg for n, b in bound.items()})
    arrays = [n for n, b in bound.items() if isinstance(b.arg, signature.ArrayArg)]
    inout = frozenset(n for n in arrays if target.is_simt and not bound[n].fresh)
    compiled = compile_function(function, target, num_warps, inout, True, num_stages, record)
    if callable(grid):
        grid = grid(dict(zip(bound, values, strict=True)))
    dims = check_grid(kernel.__name__, grid, name, compiled.threads) if grid is not None else None
    measured = _measure(compiled.source) if name == "cuda" else None
    numbers = {n: int(v) for n, v in zip(bound, values, strict=True) if isinstance(v, (int, np.integer))}
    return explain(record, compiled, target, numbers, dims, measured)


def _measure(source: str) -> dict[str, Any] | None:
    """Registers and spills as NVRTC reports them; None where it is not installed."""
    if toolchain.nvrtc_path() is None:
        return None
    try:
        arch = toolchain.cuda_arch()
    except ToolchainError:
        arch = _ARCH  # without a GPU it compiles all the same
    return {"arch": arch, **toolchain.cubin_usage(source, arch)}
