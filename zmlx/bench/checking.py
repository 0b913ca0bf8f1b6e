"""Results against a reference of higher precision, on the very inputs that are timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx.bench.tensors import leaves, to_numpy
from zmlx.catalog import Entry


def reference(entry: Entry, args: Sequence[Any], kwargs: Mapping[str, Any], wide: mx.Dtype) -> list[np.ndarray]:
    """The outputs of the entry's reference, computed in `wide`: float64 on the CPU, or float32 on the default device."""
    with mx.stream(mx.cpu if wide == mx.float64 else mx.default_device()):
        widened = [a.astype(wide) if isinstance(a, mx.array) and mx.issubdtype(a.dtype, mx.floating) else a for a in args]
        return [to_numpy(a) for a in leaves(entry.reference(*widened, **kwargs))]


def compare(got: Sequence[Any], expected: Sequence[Any], bounds: tuple[float, float], most: int | None = None) -> tuple[float, bool]:
    """The largest absolute error, and whether everything is within atol + rtol · |expected| (NaN matches only NaN).

    got, expected   arrays of MLX or NumPy, or tensors of PyTorch
    most            compares evenly spaced elements, about so many, instead of all
    Integers have no bounds: they are equal, or off by infinity.
    """
    if len(got) != len(expected):
        return float("inf"), False
    largest, good = 0.0, True
    for array, wanted in zip(got, expected, strict=True):
        if tuple(array.shape) != tuple(wanted.shape):
            return float("inf"), False
        if most is not None and wanted.size > most:
            step = wanted.size // most | 1  # odd, so that it does not pick the same columns of every row
            array, wanted = array.reshape(-1)[::step], wanted.reshape(-1)[::step]
        values, wanted = to_numpy(array), to_numpy(wanted)
        if wanted.dtype.kind != "f":
            if not np.array_equal(values, wanted):
                return float("inf"), False
            continue
        gap, good_here = _gap(values, wanted, *bounds)
        largest, good = max(largest, gap), good and good_here
    return largest, good


def _gap(values: np.ndarray, wanted: np.ndarray, atol: float, rtol: float) -> tuple[float, bool]:
    if not wanted.size:
        return 0.0, True
    with np.errstate(invalid="ignore"):
        gap, limit = np.abs(values - wanted), np.abs(wanted)
        limit *= rtol
        limit += atol
        inside = gap <= limit
        if inside.all() and np.isfinite(top := gap.max()):  # the usual case; infinities and NaN take more passes
            return float(top), True
        equal = (values == wanted) | (np.isnan(values) & np.isnan(wanted))
        gap = np.where(equal, 0.0, np.where(np.isnan(gap), np.inf, gap))
        return float(gap.max()), bool((equal | (inside & np.isfinite(gap))).all())
