"""What a catalog file declares of its kernels: an `Entry` with its `Case`s, and how they are found and checked.

Tests, benchmarks, the demo and the docs know no entry by name; they walk `entries()`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

FLOATS = (mx.float32, mx.float16, mx.bfloat16)
# Largest error allowed, as |got - reference| <= atol + rtol * |reference|: a few units of the last place, since the
# kernels compute in float32 and round once.
TOLERANCE = {mx.float32: (2e-6, 2e-6), mx.float16: (1e-3, 1e-3), mx.bfloat16: (8e-3, 8e-3)}


Result = mx.array | tuple[mx.array, ...]


@dataclass(frozen=True)
class Case:
    """One call of an entry.

    name      what tells it from its siblings, usually the shape
    args      NumPy generator -> positional arguments; float arrays become arrays of the dtype under test, the rest stay
    kwargs    keyword arguments, equal for every dtype
    """

    name: str
    args: Callable[[np.random.Generator], tuple[Any, ...]]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def build(self, dtype: mx.Dtype, seed: int = 0) -> tuple[Any, ...]:
        """The arguments, the same for the same seed on every machine."""
        return tuple(_on_mlx(a, dtype) for a in self.args(np.random.default_rng(seed)))


@dataclass(frozen=True)
class Entry:
    """A kernel family: what it is called, how it is checked and against what it is timed.

    call        the wrapper on arrays: one array, or a tuple of them
    reference   the same function in plain MLX, computing in the dtype of its inputs: tests give it float64 on the CPU
    baseline    what a user would otherwise call, for the time beside ours
    kernels     the jit kernels it launches
    cases       what the tests run, the smallest first; edges and ragged sizes among them
    sizes       the realistic case of the demo and the benchmarks, for "cpu" and "gpu"
    dtypes      element types it takes
    tolerance   largest errors where TOLERANCE does not fit
    streaming   whether memory traffic bounds its time
    studies     more realistic cases for the benchmarks on a GPU, of entries that arithmetic bounds
    flops       floating-point operations of one call on the wrapper's arguments, where arithmetic bounds its time
    """

    name: str
    call: Callable[..., Result]
    reference: Callable[..., Result]
    baseline: Callable[..., Result]
    kernels: tuple[Any, ...]
    cases: tuple[Case, ...]
    sizes: Mapping[str, Case]
    dtypes: tuple[mx.Dtype, ...] = FLOATS
    tolerance: Mapping[mx.Dtype, tuple[float, float]] = field(default_factory=dict)
    streaming: bool = True
    studies: tuple[Case, ...] = ()
    flops: Callable[..., int] | None = None

    @property
    def summary(self) -> str:
        """The first line of the wrapper's docstring."""
        return (self.call.__doc__ or "").strip().splitlines()[0]

    def bounds(self, dtype: mx.Dtype) -> tuple[float, float]:
        """The largest absolute and relative error allowed."""
        return self.tolerance.get(dtype, TOLERANCE[dtype])

    def expected(self, case: Case, dtype: mx.Dtype, wide: mx.Dtype = mx.float64, seed: int = 0) -> tuple[np.ndarray, ...]:
        """The reference's outputs for the very values of that dtype, in float64 on the CPU unless `wide` asks for less."""
        with mx.stream(mx.cpu if wide == mx.float64 else mx.default_device()):
            args = [a.astype(wide) if _is_float(a) else a for a in case.build(dtype, seed)]
            return tuple(_to_numpy(a) for a in outputs(self.reference(*args, **case.kwargs)))

    def error(self, got: Result, expected: tuple[np.ndarray, ...], dtype: mx.Dtype) -> tuple[float, bool]:
        """The largest absolute error, and whether every element is within bounds (NaN matches only NaN).

        Integer outputs have no bounds: they are equal, or wrong by infinity.
        """
        checks = [self._check(_to_numpy(a), e, dtype) for a, e in zip(outputs(got), expected, strict=True)]
        return max(error for error, _ in checks), all(ok for _, ok in checks)

    def _check(self, values: np.ndarray, expected: np.ndarray, dtype: mx.Dtype) -> tuple[float, bool]:
        if values.shape != expected.shape:
            return float("inf"), False
        if expected.dtype.kind != "f":
            same = np.array_equal(values, expected)
            return 0.0 if same else float("inf"), same
        atol, rtol = self.bounds(dtype)
        with np.errstate(invalid="ignore"):
            gap = np.where(values == expected, 0.0, np.abs(values - expected))
        good = (gap <= atol + rtol * np.abs(expected)) | (np.isnan(values) & np.isnan(expected))
        return float(np.nanmax(gap, initial=0.0)), bool(good.all())


def entries() -> Iterator[Entry]:
    """Every entry of the catalog, in the order of its modules' names; each module may hold `ENTRY`."""
    import zmlx.catalog as root

    for info in sorted(pkgutil.walk_packages(root.__path__, "zmlx.catalog."), key=lambda m: m.name):
        entry = getattr(importlib.import_module(info.name), "ENTRY", None)
        if entry is not None:
            yield entry


def outputs(result: Result) -> tuple[mx.array, ...]:
    """The arrays of a result."""
    return (result,) if isinstance(result, mx.array) else result


def traffic(args: tuple[Any, ...], result: Result) -> int:
    """Bytes that have to move when every argument is read once and every output written once."""
    return sum(a.nbytes for a in (*args, *outputs(result)) if isinstance(a, mx.array))


def _on_mlx(value: Any, dtype: mx.Dtype) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    array = mx.array(value)
    return array.astype(dtype) if value.dtype.kind == "f" else array


def _is_float(value: Any) -> bool:
    return isinstance(value, mx.array) and mx.issubdtype(value.dtype, mx.floating)


def _to_numpy(array: mx.array) -> np.ndarray:
    with mx.stream(mx.cpu):
        wide = array.astype(mx.float64) if mx.issubdtype(array.dtype, mx.floating) else array
        return np.array(wide)
