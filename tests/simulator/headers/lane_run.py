"""Kernels of a few simdgroups, and NumPy's side of half and bfloat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import simulator


def launch(
    source: str, inputs: dict[str, mx.array], shape: Sequence[int], dtype: mx.Dtype, threads: int, group: int | None = None, **options: Any
) -> np.ndarray:
    """What a kernel with one output `out`, zeroed before, wrote there; a bfloat's values as float32."""
    kernel = simulator.metal_kernel("k", list(inputs), ["out"], source, **options)
    (out,) = kernel(
        inputs=list(inputs.values()), output_shapes=[tuple(shape)], output_dtypes=[dtype], grid=(threads, 1, 1),
        threadgroup=(group or threads, 1, 1), init_value=0,
    )  # fmt: skip
    return np.array(out.astype(mx.float32) if dtype == mx.bfloat16 else out)


def bfloat(x: Any) -> np.ndarray:
    """The nearest bfloats, ties to even, as float32."""
    u = np.asarray(x, np.float32).view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


ROUNDING: dict[str, Callable[[Any], Any]] = {"float": np.float32, "half": np.float16, "bfloat": bfloat}
