"""MLX's scans along the last axis and along others: five operations, inclusive and exclusive, forward and reverse."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import GROUP, GROUPS, LANE, SIMD, THREAD, THREADS, Family, close, flags, reads, size, writes

Accumulate = Callable[..., np.ndarray]
OPERATIONS: dict[str, tuple[Accumulate, float]] = {
    "CumSum": (np.add.accumulate, 0.0),
    "CumProd": (np.multiply.accumulate, 1.0),
    "CumMax": (np.maximum.accumulate, -np.inf),
    "CumMin": (np.minimum.accumulate, np.inf),
    "CumLogaddexp": (np.logaddexp.accumulate, -np.inf),
}
FORMS = {
    f"{'inclusive' if inclusive else 'exclusive'}{'_reverse' if reverse else ''}": (inclusive, reverse)
    for inclusive in (True, False)
    for reverse in (False, True)
}
_CONTIGUOUS = f"axis, {GROUP}, {GROUPS}, {THREAD}, {THREADS}, {LANE}, {SIMD}"
_STRIDED = f"axis, step, blocks, {GROUP}, {GROUPS}, {THREAD}, {LANE}, {SIMD}"


def _call(kernel: str, t: str, op: str, reads_each: int, form: str) -> str:
    where = _CONTIGUOUS if kernel == "contiguous" else _STRIDED
    parameters = f"{t}, {t}, {op}<{t}>, {reads_each}, {flags(*FORMS[form])}"
    return f"{kernel}_scan<{parameters}>({reads(t, 'x')}, {writes(t, 'y')}, {where})"


_ARGUMENTS = (("scan.h",), ("x", "axis", "step", "blocks"), ("y",))
FLOAT = {
    k: Family(f"scan_{k}", *_ARGUMENTS, {f"{op}_{form}": _call(k, "float", op, 4, form) for op in OPERATIONS for form in FORMS})
    for k in ("contiguous", "strided")
}
_KINDS = (("half", "CumSum"), ("bfloat16_t", "CumMax"), ("int64_t", "CumSum"), ("int32_t", "CumProd"), ("bool", "CumProd"))
OTHER = Family(
    "scan_other",
    *_ARGUMENTS,
    {
        f"{kernel}_{op}_{t}_{form}": _call(kernel, t, op, 2 if t == "int64_t" else 4, form)
        for kernel in ("contiguous", "strided")
        for t, op in _KINDS
        for form in ("inclusive", "exclusive_reverse")
    },
)


def _threads(axis: int, reads_each: int) -> int:
    """MLX's choice."""
    if axis <= reads_each * 1024:
        return -(-axis // (reads_each * 32)) * 32
    return -(-(axis // 2) // (reads_each * 32)) * 32 if axis <= reads_each * 2048 else 1024


def _scan(function: Accumulate, start: float, values: np.ndarray, axis: int, form: str) -> np.ndarray:
    inclusive, reverse = FORMS[form]
    values = np.flip(values, axis) if reverse else values
    result = function(values, axis=axis)
    if not inclusive:
        first = np.full_like(np.take(result, [0], axis), start)
        result = np.concatenate([first, np.delete(result, -1, axis)], axis)
    return np.flip(result, axis) if reverse else result


def _contiguous(family: Family, case: str, x: mx.array, sanitize: bool, reads_each: int = 4) -> np.ndarray:
    rows, axis = x.shape
    # The sums of absent simdgroups are read, never initialised, and then not used: with all 32 present nothing is reported.
    threads = 1024 if sanitize else _threads(axis, reads_each)
    args = [x, size(axis), size(0), size(0)]
    (got,) = family.run(case, args, [(x.shape, x.dtype)], groups=(1, rows), threadgroup=(threads,), sanitize=sanitize)
    return got


def _strided(family: Family, case: str, x: mx.array, sanitize: bool, reads_each: int = 4) -> np.ndarray:
    outer, axis, step = x.shape
    blocks = -(-step // 32)
    args = [x, size(axis), size(step), size(blocks)]
    launch = {"groups": (1, outer * blocks), "threadgroup": (32 // reads_each * 32,)}
    (got,) = family.run(case, args, [(x.shape, x.dtype)], sanitize=sanitize, **launch)
    return got


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", OPERATIONS)
def test_last_axis(op: str, form: str, sanitize: bool) -> None:
    function, start = OPERATIONS[op]
    rng = np.random.default_rng(1)
    for rows, axis in ((2, 1), (3, 127), (2, 1000), (1, 5000)):
        x = rng.standard_normal((rows, axis)).astype(np.float32)
        if op == "CumProd":
            x = 1 + x / 100
        got = _contiguous(FLOAT["contiguous"], f"{op}_{form}", mx.array(x), sanitize)
        close(got, _scan(function, start, x.astype(np.float64), 1, form), mx.float32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", OPERATIONS)
def test_other_axis(op: str, form: str, sanitize: bool) -> None:
    function, start = OPERATIONS[op]
    rng = np.random.default_rng(2)
    for shape in ((2, 5, 3), (1, 70, 33), (2, 33, 64)):
        x = rng.standard_normal(shape).astype(np.float32)
        if op == "CumProd":
            x = 1 + x / 100
        got = _strided(FLOAT["strided"], f"{op}_{form}", mx.array(x), sanitize)
        close(got, _scan(function, start, x.astype(np.float64), 1, form), mx.float32)


@pytest.mark.parametrize("form", ["inclusive", "exclusive_reverse"])
@pytest.mark.parametrize("kernel", ["contiguous", "strided"])
def test_other_types(kernel: str, form: str, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    run = _contiguous if kernel == "contiguous" else _strided
    shape = (3, 300) if kernel == "contiguous" else (2, 40, 37)

    def result(t: str, op: str, x: mx.array) -> np.ndarray:
        return run(OTHER, f"{kernel}_{op}_{t}_{form}", x, sanitize, 2 if t == "int64_t" else 4)

    half = mx.array(rng.standard_normal(shape)).astype(mx.float16)
    want = _scan(np.add.accumulate, 0, np.array(half).astype(np.float64), 1, form)
    close(result("half", "CumSum", half), want, mx.float16, 10)

    bfloat = mx.array(rng.standard_normal(shape)).astype(mx.bfloat16)
    want = _scan(np.maximum.accumulate, -np.inf, np.array(bfloat.astype(mx.float32)), 1, form)
    np.testing.assert_array_equal(result("bfloat16_t", "CumMax", bfloat), want)

    wide = rng.integers(-(2**40), 2**40, shape)
    np.testing.assert_array_equal(result("int64_t", "CumSum", mx.array(wide)), _scan(np.add.accumulate, 0, wide, 1, form))

    whole = rng.integers(-3, 4, shape).astype(np.int32)
    with np.errstate(over="ignore"):
        want = _scan(lambda v, axis: np.multiply.accumulate(v, axis=axis, dtype=np.int32), 1, whole, 1, form)
    np.testing.assert_array_equal(result("int32_t", "CumProd", mx.array(whole)), want)

    kept = rng.random(shape) < 0.98
    want = _scan(np.logical_and.accumulate, True, kept, 1, form)
    np.testing.assert_array_equal(result("bool", "CumProd", mx.array(kept)), want)
