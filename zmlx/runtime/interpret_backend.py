"""Runs kernels in the NumPy interpreter of the Tile IR: slow, exact, with bounds checked. Eager, like the cpu target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import LaunchError
from zmlx.interp.tile import Trace, run
from zmlx.ir.core import Function
from zmlx.runtime import signature
from zmlx.runtime.roles import Role, Scalar


class InterpretedKernel:
    """A kernel held as Tile IR. `traced` sees every op that launches execute."""

    trace: Trace | None = None

    def __init__(self, function: Function, roles: Sequence[Role], scalars: Sequence[Scalar]) -> None:
        self.function, self.roles, self.scalars = function, tuple(roles), tuple(scalars)

    def execute(self, arrays: tuple[mx.array, ...], scalars: Sequence[Any], grid: tuple[int, int, int], stream: Any) -> list[mx.array]:
        """Runs the kernel; returns the new values of the written arrays, in parameter order. Nothing passed changes."""
        for role, array in zip(self.roles, arrays, strict=True):
            signature.refuse_empty(role.name, array)
        try:
            mx.eval(arrays)
        except ValueError as e:
            if "[eval]" not in str(e):
                raise
            raise LaunchError(
                "on the interpret target a launch runs at once, so it cannot be traced by mx.compile or mx.vmap; call it outside of them"
            ) from None
        storage = {r.name: _storage(a, r) for r, a in zip(self.roles, arrays, strict=True)}
        run(self.function, storage, {s.name: v for s, v in zip(self.scalars, scalars, strict=True)}, grid, trace=self.trace)
        return [_array(storage[r.name], r, a.shape) for r, a in zip(self.roles, arrays, strict=True) if r.writes]


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """Within it, launches on the interpret target hand each op with its operands and results to `trace`."""
    previous, InterpretedKernel.trace = InterpretedKernel.trace, staticmethod(trace)
    try:
        yield
    finally:
        InterpretedKernel.trace = previous


def _storage(array: mx.array, role: Role) -> np.ndarray:
    """A flat copy of an array's elements as they lie in memory."""
    if role.content == "zeros" or (role.writes and role.content is None):
        return np.zeros(array.size, role.dtype.storage)
    plain = array.view(mx.uint16) if role.dtype is dt.bfloat16 else array
    return np.array(plain).reshape(-1)


def _array(storage: np.ndarray, role: Role, shape: tuple[int, ...]) -> mx.array:
    # Said outright, as MLX makes float32 of NumPy's float64.
    array = mx.array(storage.reshape(shape), mx.uint16 if role.dtype is dt.bfloat16 else signature.MLX_OF[role.dtype])
    return array.view(mx.bfloat16) if role.dtype is dt.bfloat16 else array
