"""MLX's reductions: of everything, of rows and of columns, in each of the forms that MLX's host code chooses between."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import (
    GRID,
    GRID_SIZE,
    GROUP,
    GROUPS,
    LANE,
    SIMD,
    SIMDS,
    THREAD,
    THREADS,
    Family,
    close,
    long,
    normal,
    reads,
    rounded,
    size,
    strides,
    writes,
)

# case: (element, accumulator, operation)
KINDS = {
    "sum": ("float", "float", "Sum<float>"),
    "sum_half": ("half", "half", "Sum<half>"),
    "sum_bfloat": ("bfloat16_t", "bfloat16_t", "Sum<bfloat16_t>"),
    "prod": ("float", "float", "Prod<float>"),
    "max": ("float", "float", "Max<float>"),
    "min_int": ("int32_t", "int32_t", "Min<int32_t>"),
    "and": ("bool", "bool", "And<bool>"),
    "or_long": ("int64_t", "bool", "Or<bool>"),
    "sum_long": ("int64_t", "int64_t", "Sum<int64_t>"),
}
DTYPES = {"float": mx.float32, "half": mx.float16, "bfloat16_t": mx.bfloat16, "int32_t": mx.int32, "bool": mx.bool_, "int64_t": mx.int64}
NUMPY = {"Sum": np.sum, "Prod": np.prod, "Max": np.max, "Min": np.min, "And": np.all, "Or": np.any}


def _io(t: str, u: str) -> str:
    return f"{reads(t, 'x')}, {writes(u, 'y')}"


_ALL = f"n, m, {GROUP}, {THREAD}, {THREADS}, {SIMDS}, {LANE}, {SIMD}"
_ROW = f"{GROUP}, {GROUPS}, {THREAD}, {THREADS}, {LANE}, {SIMDS}, {SIMD}"
CALLS: dict[str, str] = {}
for kind, (t, u, op) in KINDS.items():
    CALLS[f"all_{kind}"] = f"all_reduce<{t}, {u}, {op}>({_io(t, u)}, {_ALL})"
    CALLS[f"all2_{kind}"] = f"all_reduce<{u}, {u}, {op}>({_io(u, u)}, {_ALL})"
    CALLS[f"simple_{kind}"] = f"row_reduce_simple<{t}, {u}, {op}, size_t>({_io(t, u)}, n, count, {_ROW})"
_SUM = "float, float, Sum<float>, int"
_MAX = "float, float, Max<float>, int"
_FLOATS = _io("float", "float")
_SHAPES = "dims, steps, rank, reduced, reduced_steps, reduced_rank"
_COLUMNS = f"{_FLOATS}, n, count, {_SHAPES}, m"
_BLOCK = f"{GROUP}, {GROUPS}, {THREAD}, {THREADS}"
_LANES = f"{GROUP}, {GROUPS}, {LANE}, {SIMD}"
CALLS |= {
    "init": f"init_reduce<float, Max<float>>({writes('float', 'y')}, {GRID}.xy, {GRID_SIZE}.xy)",
    "small": f"row_reduce_small<{_SUM}, 1>({_FLOATS}, count, others, {_SHAPES}, {LANE}, {GROUP}, {GROUPS}, {GRID}, {GRID_SIZE})",
    "looped": f"row_reduce_looped<{_SUM}, 1>({_FLOATS}, count, others, {_SHAPES}, {_ROW})",
    "col_small": f"col_reduce_small<{_SUM}, 1>({_COLUMNS}, {_BLOCK})",
    "col_long": f"col_reduce_longcolumn<{_SUM}, 1>({_FLOATS}, n, width, {_SHAPES}, m, length, {_BLOCK})",
    "col_looped": f"col_reduce_looped<{_SUM}, 1, 32, 32>({_COLUMNS}, others, {_LANES})",
    "col_looped_8": f"col_reduce_looped<{_MAX}, 1, 8, 128>({_COLUMNS}, others, {_LANES})",
    "col_2pass": f"col_reduce_2pass<{_SUM}, 2, 32, 32>({_COLUMNS}, others, length, {_LANES})",
}
REDUCE = Family(
    "reduce",
    ("reduce_utils.h", "reduce.h"),
    ("x", "n", "m", "count", "others", "width", "length", "dims", "steps", "rank", "reduced", "reduced_steps", "reduced_rank"),
    ("y",),
    CALLS,
)


def _arguments(
    x: mx.array,
    *,
    n: int = 0,
    m: int = 0,
    count: int = 0,
    others: int = 0,
    width: int = 0,
    length: int = 0,
    outer: tuple[list[int], np.ndarray] = ([1], strides(0)),
    inner: tuple[list[int], np.ndarray] = ([1], strides(0)),
) -> list:
    plain = [x, size(n), size(m), long(count), long(others), size(width), size(length)]
    return [*plain, outer[0], outer[1], len(outer[0]), inner[0], inner[1], len(inner[0])]


def _data(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[mx.array, np.ndarray, mx.Dtype]:
    """An input of that kind, what NumPy reduces, and the result's type."""
    t, u, op = KINDS[kind]
    if t in ("int32_t", "int64_t"):
        values = rng.integers(-1000, 1000, shape) if not op.startswith("Or") else (rng.random(shape) < 0.002).astype(np.int64)
        return mx.array(values).astype(DTYPES[t]), values, DTYPES[u]
    if t == "bool":
        values = rng.random(shape) < 0.998
        return mx.array(values), values, DTYPES[u]
    values = rng.uniform(0.99, 1.01, shape) if op.startswith("Prod") else rng.standard_normal(shape) + 0.5
    x, exact = rounded(values, DTYPES[t])
    return x, exact, DTYPES[u]


def _check(kind: str, got: np.ndarray, want: np.ndarray, u: mx.Dtype) -> None:
    if u in (mx.float32, mx.float16, mx.bfloat16):
        close(got, np.asarray(want, np.float64), u, 4.0 if kind != "max" else 0.01)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 77, 4096, 9001])
def test_all(n: int, kind: str, sanitize: bool) -> None:
    x, exact, u = _data(kind, (n,), np.random.default_rng(n))
    want = NUMPY[KINDS[kind][2].split("<")[0]](exact)
    if n <= 4096:
        threads = -(-n // 128) * 32
        (got,) = REDUCE.run(f"all_{kind}", _arguments(x, n=n, m=n), [((1,), u)], groups=(1,), threadgroup=(threads,), sanitize=sanitize)
    else:
        rows = 128
        row = -(-n // rows)
        launch = {"groups": (1, rows), "threadgroup": (-(-row // 128) * 32,)}
        (part,) = REDUCE.run(f"all_{kind}", _arguments(x, n=n, m=row), [((rows,), u)], sanitize=sanitize, **launch)
        middle = mx.array(part).astype(u)
        args = _arguments(middle, n=rows, m=rows)
        (got,) = REDUCE.run(f"all2_{kind}", args, [((1,), u)], groups=(1,), threadgroup=(32,), sanitize=sanitize)
    _check(kind, got, np.array([want]), u)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [65, 1000, 2500])
def test_rows(axis: int, kind: str, sanitize: bool) -> None:
    """Four rows a threadgroup; 36 rows need no overlap (see test_overlapping_rows)."""
    x, exact, u = _data(kind, (36, axis), np.random.default_rng(axis))
    want = NUMPY[KINDS[kind][2].split("<")[0]](exact, axis=-1)
    threads = 32 if axis <= 512 else 128 if axis <= 1024 else min(1024 if x.dtype.size < 8 else 512, -(-axis // 128) * 32)
    (got,) = REDUCE.run(
        f"simple_{kind}", _arguments(x, n=axis, count=36), [((36,), u)], groups=(1, 9), threadgroup=(threads,), sanitize=sanitize
    )
    _check(kind, got, want, u)


def test_init(sanitize: bool) -> None:
    (got,) = REDUCE.run("init", _arguments(mx.zeros((1,))), [((35,), mx.float32)], threads=(35,), threadgroup=(35,), sanitize=sanitize)
    np.testing.assert_array_equal(got, np.full(35, -np.inf))


def test_small_rows(sanitize: bool) -> None:
    """A thread a row; and a simdgroup for many rows that end in one output."""
    x, exact = normal(np.random.default_rng(1), (70, 11), mx.float32)
    rows = {"count": 11, "others": 1, "outer": ([70], strides(11))}
    (got,) = REDUCE.run("small", _arguments(x, **rows), [((70,), mx.float32)], threads=(70,), threadgroup=(70,), sanitize=sanitize)
    close(got, exact.sum(-1), mx.float32)

    x, exact = normal(np.random.default_rng(2), (40, 6, 11), mx.float32)  # sums over the first and last axes
    rows = {"count": 11, "others": 40, "outer": ([6], strides(11)), "inner": ([40], strides(66))}
    (got,) = REDUCE.run("small", _arguments(x, **rows), [((6,), mx.float32)], threads=(32, 6), threadgroup=(32,), sanitize=sanitize)
    close(got, exact.sum((0, 2)), mx.float32, 2)


@pytest.mark.parametrize("axis", [130, 1030])
def test_looped_rows(axis: int, sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(3), (5, 3, axis), mx.float32)
    rows = {"count": axis, "others": 5, "outer": ([3], strides(axis)), "inner": ([5], strides(3 * axis))}
    threads = 32 if axis <= 512 else 288  # as MLX chooses them
    (got,) = REDUCE.run("looped", _arguments(x, **rows), [((3,), mx.float32)], groups=(1, 3), threadgroup=(threads,), sanitize=sanitize)
    close(got, exact.sum((0, 2)), mx.float32, 4)


@pytest.mark.parametrize("width", [5, 63, 256])
def test_small_columns(width: int, sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(4), (3, 20, width), mx.float32)
    blocks = -(-width // 4)
    threads = min(blocks, 32)
    columns = {"n": 20, "count": width, "m": 1, "outer": ([3], strides(20 * width)), "inner": ([20], strides(width))}
    launch = {"groups": (-(-blocks // threads), 3), "threadgroup": (threads, 8)}
    (got,) = REDUCE.run("col_small", _arguments(x, **columns), [((3, width), mx.float32)], sanitize=sanitize, **launch)
    close(got, exact.sum(1), mx.float32, 2)


def _second_pass(part: np.ndarray, sanitize: bool) -> np.ndarray:
    """What longcolumn and 2pass end with: the columns of their partial sums."""
    blocks, total = part.shape[0], int(np.prod(part.shape[1:]))
    columns = {"n": blocks, "count": total, "m": 1, "others": 0, "outer": ([1], strides(0)), "inner": ([blocks], strides(total))}
    launch = {"groups": (-(-total // 32),), "threadgroup": (256,)}
    (got,) = REDUCE.run("col_looped", _arguments(mx.array(part), **columns), [((total,), mx.float32)], sanitize=sanitize, **launch)
    return got.reshape(part.shape[1:])


def test_long_columns(sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(5), (2, 1100, 7), mx.float32)
    columns = {"n": 1100, "width": 7, "m": 1, "length": 14, "outer": ([2], strides(7700)), "inner": ([1100], strides(7))}
    (part,) = REDUCE.run(
        "col_long", _arguments(x, **columns), [((32, 2, 7), mx.float32)], groups=(2, 1, 32), threadgroup=(7, 32), sanitize=sanitize
    )
    close(_second_pass(part, sanitize), exact.sum(1), mx.float32, 8)


@pytest.mark.parametrize("width", [32, 50, 200])
def test_looped_columns(width: int, sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(6), (2, 70, width), mx.float32)
    columns = {"n": 70, "count": width, "m": 1, "others": 0, "outer": ([2], strides(70 * width)), "inner": ([70], strides(width))}
    for case, block, want in (("col_looped", 32, exact.sum(1)), ("col_looped_8", 128, exact.max(1))):
        launch = {"groups": (-(-width // block), 2), "threadgroup": (256,)}
        (got,) = REDUCE.run(case, _arguments(x, **columns), [((2, width), mx.float32)], sanitize=sanitize, **launch)
        close(got, want, mx.float32, 4)


def test_columns_in_two_passes(sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(7), (9, 2, 40, 45), mx.float32)  # sums over the first and third axes
    columns = {"n": 40, "count": 45, "m": 9, "others": 0, "length": 2, "outer": ([2], strides(1800)), "inner": ([9, 40], strides(3600, 45))}
    (part,) = REDUCE.run(
        "col_2pass", _arguments(x, **columns), [((32, 2, 45), mx.float32)], groups=(2, 64), threadgroup=(256,), sanitize=sanitize
    )
    close(_second_pass(part, sanitize), exact.sum((0, 2)), mx.float32, 8)


def test_nan(sanitize: bool) -> None:
    x = np.zeros((36, 100), np.float32)
    x[3, 50] = np.nan
    (got,) = REDUCE.run(
        "simple_max", _arguments(mx.array(x), n=100, count=36), [((36,), mx.float32)], groups=(1, 9), threadgroup=(32,), sanitize=sanitize
    )
    assert np.isnan(got[3]) and not np.isnan(np.delete(got, 3)).any()
