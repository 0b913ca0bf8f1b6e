"""MLX's binary kernels (operations, broadcasts, strides), its two-output, ternary and copy kernels, and arange."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GRID, GRID_SIZE, Family, as_numpy, long, reads, rounded, strides, writes

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]

FLOATING: dict[str, Function] = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "FloorDivide": np.floor_divide,
    "Remainder": np.remainder,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Power": lambda x, y: np.power(np.abs(x), y),
    "LogAddExp": np.logaddexp,
    "ArcTan2": np.arctan2,
}
COMPARING: dict[str, Function] = {
    "Equal": np.equal,
    "NotEqual": np.not_equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
    "NaNEqual": np.equal,
}
INTEGER: dict[str, Function] = {
    "Add": np.add,
    "FloorDivide": np.floor_divide,
    "Remainder": np.remainder,
    "Maximum": np.maximum,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "LeftShift": lambda x, y: x << np.abs(y),
    "RightShift": lambda x, y: x >> np.abs(y),
    "Power": lambda x, y: x ** np.abs(y),
}
RELATIVE = {mx.float32: 2e-6, mx.float16: 2e-3, mx.bfloat16: 1.7e-2}


def _call(form: str, t: str, u: str, op: str) -> str:
    return f"binary_{form}<{t}, {u}, {op}>({reads(t, 'a', 'b')}, {writes(u, 'c')}, count, {GRID}.x)"


CALLS = {f"{op}_{t}": _call("vv", t, t, op) for op in FLOATING for t in FLOATS}
CALLS |= {f"{op}_bool": _call("vv", "float", "bool", op) for op in COMPARING}
CALLS |= {f"{op}_{t}": _call("vv", t, t, op) for op in INTEGER for t in ("int32_t", "uint8_t")}
CALLS |= {f"{op}_complex": _call("vv", "complex64_t", "complex64_t", op) for op in ("Add", "Multiply", "Divide", "Power")}
CALLS |= {form: _call(form, "half", "half", "Subtract") for form in ("sv", "vs")}
CALLS |= {"ss": f"binary_ss<float, float, Subtract>({reads('float', 'a', 'b')}, {writes('float', 'c')}, {GRID}.x)"}
BINARY = Family("binary", ("binary_ops.h", "binary.h"), ("a", "b", "count"), ("c",), CALLS)

_POINTERS = f"{reads('float', 'a', 'b')}, {writes('float', 'c')}"
GENERAL = Family(
    "binary_general",
    ("binary_ops.h", "binary.h"),
    ("a", "b", "count", "dims", "steps_a", "steps_b", "rank"),
    ("c",),
    {
        "vv2": f"binary_vv2<float, float, Subtract>({_POINTERS}, count, {GRID}.xy, {GRID_SIZE}.xy)",
        "nd1": f"binary_g_nd1<float, float, Subtract, int>({_POINTERS}, steps_a[0], steps_b[0], {GRID}.x)",
        "nd2": f"binary_g_nd2<float, float, Subtract, int>({_POINTERS}, steps_a, steps_b, {GRID}.xy, {GRID_SIZE}.xy)",
        "nd3": f"binary_g_nd3<float, float, Subtract>({_POINTERS}, steps_a, steps_b, {GRID}, {GRID_SIZE})",
        "g": f"binary_g<float, float, Subtract, 2, int>({_POINTERS}, dims, steps_a, steps_b, rank, {GRID}, {GRID_SIZE})",
    },
)

OTHERS = Family(
    "others",
    ("binary_ops.h", "binary_two.h", "ternary_ops.h", "ternary.h", "copy.h", "arange.h"),
    ("a", "b", "mask", "count", "dims", "steps_a", "steps_b", "rank", "start", "step"),
    ("c", "d"),
    {
        "divmod": f"binary_vv<int32_t, int32_t, DivMod>({reads('int32_t', 'a', 'b')}, {writes('int32_t', 'c', 'd')}, count, {GRID}.x)",
        "select": f"ternary_v<half, Select, false, true>({reads('bool', 'mask')}, {reads('half', 'a', 'b')}, {writes('half', 'c')},"
        f" count, {GRID}.x)",
        "copy": f"copy_v<float, bfloat16_t>({reads('float', 'a')}, {writes('bfloat16_t', 'c')}, count, {GRID}.x)",
        "fill": f"copy_s<float, half>({reads('float', 'a')}, {writes('half', 'c')}, count, {GRID}.x)",
        "gather_copy": f"copy_g<int32_t, float, 2>({reads('int32_t', 'a')}, {writes('float', 'c')}, dims, steps_a, rank,"
        f" {GRID}, {GRID_SIZE})",
        "two_strides": f"copy_gg<half, float, 1, int>({reads('half', 'a')}, {writes('float', 'c')}, dims, steps_a, steps_b, rank, {GRID})",
        "arange": f"arange<float>(start, step, {writes('float', 'c')}, {GRID}.x)",
    },
)
_IDLE = [[1], strides(1), strides(1), 1, 0.0, 1.0]
_MASK = mx.zeros((8,), mx.bool_)
_UNUSED = ((1,), mx.uint8)


def _run(case: str, a: mx.array, b: mx.array, out: mx.Dtype, sanitize: bool, count: int = 0) -> np.ndarray:
    count = count or int(a.size)
    per_thread = 8 // a.dtype.size if case != "ss" else 1
    (got,) = BINARY.run(
        case, [a, b, np.uint32(count)], [((count,), out)], threads=(-(-count // per_thread),), threadgroup=(64,), sanitize=sanitize
    )
    return got


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", FLOATING)
def test_float(op: str, dtype: str, sanitize: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-4, 4, 299), rng.uniform(0.5, 2, 299) * rng.choice([-1, 1], 299)
    a, exact_a = rounded(np.abs(x) if op == "Power" else x, FLOATS[dtype])
    b, exact_b = rounded(y, FLOATS[dtype])
    want = FLOATING[op](exact_a, exact_b)
    got = _run(f"{op}_{dtype}", a, b, FLOATS[dtype], sanitize)
    tolerance = RELATIVE[FLOATS[dtype]]
    near = np.isclose(got, want, rtol=tolerance, atol=tolerance)
    if op in ("FloorDivide", "Remainder"):  # a quotient next to an integer may round to either side of it
        quotient = exact_a / exact_b
        near |= np.abs(quotient - np.rint(quotient)) <= np.abs(quotient) * tolerance
    assert near.all(), f"{got[~near]} where NumPy has {want[~near]}"


@pytest.mark.parametrize("op", COMPARING)
def test_comparison(op: str, sanitize: bool) -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.integers(-1, 2, 51).astype(np.float32) for _ in range(2))
    want = COMPARING[op](x, y)
    if op == "NaNEqual":
        x[:10] = y[:5] = np.nan
        want = (x == y) | (np.isnan(x) & np.isnan(y))
    np.testing.assert_array_equal(_run(f"{op}_bool", mx.array(x), mx.array(y), mx.bool_, sanitize), want)


@pytest.mark.parametrize("op", INTEGER)
def test_integer(op: str, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    for dtype, low in ((np.int32, -7), (np.uint8, 0)):
        x = rng.integers(low, 8, 77).astype(dtype)
        y = rng.integers(1, 5, 77).astype(dtype)
        want = INTEGER[op](x, y).astype(dtype)
        mlx = mx.int32 if dtype is np.int32 else mx.uint8
        np.testing.assert_array_equal(_run(f"{op}_{dtype.__name__}_t", mx.array(x), mx.array(y), mlx, sanitize), want)


def test_complex(sanitize: bool) -> None:
    rng = np.random.default_rng(4)
    z, w = ((rng.uniform(-2, 2, 40) + 1j * rng.uniform(-2, 2, 40)).astype(np.complex64) for _ in range(2))
    for op, function in {"Add": np.add, "Multiply": np.multiply, "Divide": np.divide, "Power": np.power}.items():
        got = _run(f"{op}_complex", mx.array(z), mx.array(w), mx.complex64, sanitize)
        np.testing.assert_allclose(got, function(z.astype(np.complex128), w.astype(np.complex128)), rtol=2e-5, atol=2e-5)


def test_scalars(sanitize: bool) -> None:
    x, exact = rounded(np.random.default_rng(5).uniform(-4, 4, 103), mx.float16)
    s = mx.array([1.5], mx.float16)
    np.testing.assert_allclose(_run("sv", s, x, mx.float16, sanitize, 103), 1.5 - exact, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(_run("vs", x, s, mx.float16, sanitize, 103), exact - 1.5, rtol=1e-3, atol=1e-3)
    assert _run("ss", mx.array([5.0]), mx.array([3.0]), mx.float32, sanitize) == 2.0


def test_general(sanitize: bool) -> None:
    rng = np.random.default_rng(6)
    nothing = [[1], strides(1), strides(1), 1]

    x, y = (rng.standard_normal(1001).astype(np.float32) for _ in range(2))
    (got,) = GENERAL.run(
        "vv2",
        [mx.array(x), mx.array(y), long(1001), *nothing],
        [((1001,), mx.float32)],
        threads=(32, 16),
        threadgroup=(32,),
        sanitize=sanitize,
    )
    np.testing.assert_array_equal(got, x - y)

    base_a = rng.standard_normal((5, 4, 3, 7)).astype(np.float32)
    base_b = rng.standard_normal((7, 1, 4, 5)).astype(np.float32)
    for case, a, b in (
        ("nd1", base_a[0, 0, :, 3], base_b[:3, 0, 0, 0]),
        ("nd2", base_a[1, 1].T, base_b[:, 0, 1, :3]),
        ("nd3", base_a[2].transpose(2, 1, 0), np.broadcast_to(base_b[:, :, :, 2], (7, 3, 4))),
        ("g", base_a.transpose(3, 2, 1, 0), np.broadcast_to(base_b, (7, 3, 4, 5))),
    ):
        whole_a, whole_b = base_a.reshape(-1), base_b.reshape(-1)
        start_a, start_b = (v.__array_interface__["data"][0] - w.__array_interface__["data"][0] for v, w in ((a, whole_a), (b, whole_b)))
        args = [mx.array(whole_a[start_a // 4 :]), mx.array(whole_b[start_b // 4 :]), long(0), list(a.shape)]
        args += [strides(*(s // 4 for s in a.strides)), strides(*(s // 4 for s in b.strides)), a.ndim]
        if case == "g":
            threads: tuple[int, ...] = (-(-a.shape[-1] // 2), a.shape[-2], a.shape[0] * a.shape[1])
        else:
            threads = a.shape[::-1]
        (got,) = GENERAL.run(case, args, [(a.shape, mx.float32)], threads=threads, threadgroup=(2, 2, 2), sanitize=sanitize)
        np.testing.assert_array_equal(got, a - b, err_msg=case)


def test_divmod(sanitize: bool) -> None:
    x = np.arange(-20, 21, dtype=np.int32)
    y = np.tile([3, -3, 7, -1], 11)[:41].astype(np.int32)
    args = [mx.array(x), mx.array(y), _MASK, np.uint32(41), *_IDLE]
    quotient, remainder = OTHERS.run("divmod", args, [((41,), mx.int32)] * 2, threads=(21,), threadgroup=(32,), sanitize=sanitize)
    np.testing.assert_array_equal(quotient, x // y)
    np.testing.assert_array_equal(remainder, x % y)


def _others(case: str, args: list, shape: tuple[int, ...], dtype: mx.Dtype, sanitize: bool, **launch: tuple[int, ...]) -> np.ndarray:
    got, _ = OTHERS.run(case, args, [(shape, dtype), _UNUSED], sanitize=sanitize, init_value=0, **launch)
    return got


def test_select(sanitize: bool) -> None:
    rng = np.random.default_rng(7)
    mask, (a, exact) = rng.random(30) < 0.5, rounded(rng.standard_normal(30), mx.float16)
    args = [a, mx.array([2.0], mx.float16), mx.array(mask), np.uint32(30), *_IDLE]
    got = _others("select", args, (30,), mx.float16, sanitize, threads=(8,), threadgroup=(8,))
    np.testing.assert_array_equal(got, np.where(mask, exact, 2.0))


def test_copies(sanitize: bool) -> None:
    rng = np.random.default_rng(8)
    x = rng.standard_normal(101).astype(np.float32)
    args = [mx.array(x), mx.array(x), _MASK, np.uint32(101), *_IDLE]
    got = _others("copy", args, (101,), mx.bfloat16, sanitize, threads=(26,), threadgroup=(26,))
    np.testing.assert_array_equal(got, as_numpy(mx.array(x).astype(mx.bfloat16)))
    got = _others("fill", args, (101,), mx.float16, sanitize, threads=(26,), threadgroup=(26,))
    np.testing.assert_array_equal(got, np.full(101, x[0], np.float16))

    base = rng.integers(-9, 9, (4, 3, 5)).astype(np.int32)
    view = base.transpose(2, 0, 1)
    args = [mx.array(base), mx.array(x), _MASK, np.uint32(0), [5, 4, 3], strides(1, 15, 5), strides(1), 3, 0.0, 1.0]
    got = _others("gather_copy", args, view.shape, mx.float32, sanitize, threads=(2, 4, 5), threadgroup=(2, 4, 5))
    np.testing.assert_array_equal(got, view)

    half = rng.standard_normal((6, 4)).astype(np.float16)
    args = [mx.array(half), mx.array(x), _MASK, np.uint32(0), [6, 4], strides(4, 1), strides(1, 6), 2, 0.0, 1.0]
    got = _others("two_strides", args, (4, 6), mx.float32, sanitize, threads=(4, 6), threadgroup=(4, 6))
    np.testing.assert_array_equal(got, half.T)


def test_arange(sanitize: bool) -> None:
    args = [mx.zeros((8,)), mx.zeros((8,)), _MASK, np.uint32(0), [1], strides(1), strides(1), 1, 3.0, 0.5]
    got = _others("arange", args, (37,), mx.float32, sanitize, threads=(37,), threadgroup=(37,))
    np.testing.assert_array_equal(got, 3.0 + 0.5 * np.arange(37))
