"""MSL expressions over arrays: what each gives for every element, as NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import simulator

# MSL's scalar types: MLX's dtype and the NumPy dtype that holds their bits.
SCALARS: dict[str, tuple[mx.Dtype, Any]] = {
    "bool": (mx.bool_, np.bool_),
    "char": (mx.int8, np.int8),
    "uchar": (mx.uint8, np.uint8),
    "short": (mx.int16, np.int16),
    "ushort": (mx.uint16, np.uint16),
    "int": (mx.int32, np.int32),
    "uint": (mx.uint32, np.uint32),
    "long": (mx.int64, np.int64),
    "ulong": (mx.uint64, np.uint64),
    "half": (mx.float16, np.float16),
    "bfloat": (mx.bfloat16, np.uint16),
    "float": (mx.float32, np.float32),
}


def to_mlx(values: np.ndarray, type_name: str) -> mx.array:
    """An array of an MSL type. bfloat: of float32 values that are rounded, or of bits as uint16."""
    if type_name == "bfloat":
        bits = values if values.dtype == np.uint16 else bfloat_bits(values)
        return mx.array(bits).view(mx.bfloat16)
    return mx.array(values.astype(SCALARS[type_name][1], copy=False))


def to_numpy(array: mx.array) -> np.ndarray:
    """Its values; a bfloat's as float32, which holds them exactly."""
    if array.dtype == mx.bfloat16:
        return bfloat_values(np.array(array.view(mx.uint16)))
    return np.array(array)


def bfloat_bits(x: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat, ties to even; a NaN keeps its upper bits and is quiet."""
    u = np.asarray(x, np.float32).view(np.uint32)
    rounded = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), ((u >> 16) | 0x40).astype(np.uint16), rounded)


def bfloat_values(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray, type_name: str) -> np.ndarray:
    """float32 or float64 values as the nearest of a type; bfloat's as float32. Double rounding is the caller's."""
    with np.errstate(all="ignore"):
        if type_name == "bfloat":
            return bfloat_values(bfloat_bits(np.asarray(x).astype(np.float32)))
        return np.asarray(x).astype(SCALARS[type_name][1])


def evaluate(
    expressions: Sequence[str],
    inputs: dict[str, mx.array],
    out: str,
    *,
    before: str = "",
    header: str = "",
    threadgroup: int = 64,
    threads: int = 0,
    sanitize: bool = False,
) -> list[np.ndarray]:
    """Each expression for every thread `i`. `before`: statements that come first; `out`: the MSL type of all results."""
    n = threads or next(iter(inputs.values())).size
    stores = "\n".join(f"out[{k}u * n + i] = {out}({e});" for k, e in enumerate(expressions))
    source = f"const uint i = thread_position_in_grid.x, n = threads_per_grid.x;\n{before}\n{stores}\n"
    kernel = simulator.metal_kernel("k", list(inputs), ["out"], source, header, sanitize=sanitize)
    (result,) = kernel(
        inputs=list(inputs.values()),
        output_shapes=[(len(expressions), n)],
        output_dtypes=[SCALARS[out][0]],
        grid=(n, 1, 1),
        threadgroup=(threadgroup, 1, 1),
    )
    return list(to_numpy(result))


def pattern(values: np.ndarray) -> np.ndarray:
    """Bits, for comparisons in which -0 is not 0 and every NaN is the same."""
    nan = np.isnan(values)
    bits = np.ascontiguousarray(values).view({2: np.uint16, 4: np.uint32, 8: np.uint64}[values.itemsize])
    return np.where(nan, np.iinfo(bits.dtype).max, bits)


def ulps(got: np.ndarray, want: np.ndarray, type_name: str) -> np.ndarray:
    """How far results lie from float64 values, in the type's spacing there; 0 where both are NaN or the same infinity."""
    digits, least = {"float": (24, -149), "half": (11, -24), "bfloat": (8, -133)}[type_name]
    near = rounded(want, type_name).astype(np.float64)
    with np.errstate(all="ignore"):
        got = got.astype(np.float64)
        spacing = np.exp2(np.maximum(np.frexp(np.abs(want))[1] - digits, least).astype(np.float64))
        distance = np.abs(got - want) / spacing
    same = (got == near) | (np.isnan(got) & np.isnan(want))
    return np.where(same, np.where(np.isfinite(near), np.nan_to_num(distance), 0.0), np.where(np.isfinite(distance), distance, np.inf))
