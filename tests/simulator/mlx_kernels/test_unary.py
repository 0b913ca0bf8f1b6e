"""MLX's unary kernels: every operation in float, half and bfloat, integer and complex ones, contiguous and strided."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GRID, GRID_SIZE, Family, as_numpy, long, reads, rounded, strides, writes

Function = Callable[[np.ndarray], np.ndarray]
_erf = np.vectorize(math.erf)
_erfinv = np.vectorize(lambda x: NormalDist().inv_cdf((x + 1) / 2) / math.sqrt(2))

# name: (NumPy's function, the interval it is tested on)
OPERATIONS: dict[str, tuple[Function, float, float]] = {
    "Abs": (np.abs, -3, 3),
    "ArcCos": (np.arccos, -0.9, 0.9),
    "ArcCosh": (np.arccosh, 1.1, 5),
    "ArcSin": (np.arcsin, -0.9, 0.9),
    "ArcSinh": (np.arcsinh, -3, 3),
    "ArcTan": (np.arctan, -3, 3),
    "ArcTanh": (np.arctanh, -0.9, 0.9),
    "Ceil": (np.ceil, -5, 5),
    "Cos": (np.cos, -3, 3),
    "Cosh": (np.cosh, -3, 3),
    "Erf": (_erf, -3, 3),
    "ErfInv": (_erfinv, -0.9, 0.9),
    "Exp": (np.exp, -3, 3),
    "Expm1": (np.expm1, -2, 2),
    "Floor": (np.floor, -5, 5),
    "Log": (np.log, 0.1, 9),
    "Log2": (np.log2, 0.1, 9),
    "Log10": (np.log10, 0.1, 9),
    "Log1p": (np.log1p, -0.5, 5),
    "Negative": (np.negative, -3, 3),
    "Round": (np.rint, -5, 5),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -5, 5),
    "Sign": (np.sign, -3, 3),
    "Sin": (np.sin, -3, 3),
    "Sinh": (np.sinh, -3, 3),
    "Square": (np.square, -3, 3),
    "Sqrt": (np.sqrt, 0.1, 9),
    "Rsqrt": (lambda x: 1 / np.sqrt(x), 0.1, 9),
    "Tan": (np.tan, -1.3, 1.3),
    "Tanh": (np.tanh, -3, 3),
}
COMPLEX: dict[str, Function] = {
    "ArcCos": np.arccos,
    "ArcSin": np.arcsin,
    "ArcTan": np.arctan,
    "Conjugate": np.conj,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Exp": np.exp,
    "Log": np.log,
    "Log2": np.log2,
    "Negative": np.negative,
    "Rsqrt": lambda z: 1 / np.sqrt(z),
    "Sign": lambda z: z / np.abs(z),
    "Sin": np.sin,
    "Sqrt": np.sqrt,
    "Tan": np.tan,
    "Tanh": np.tanh,
}
RELATIVE = {mx.float32: 1e-5, mx.float16: 4e-3, mx.bfloat16: 2.5e-2}


def _call(t: str, u: str, op: str) -> str:
    return f"unary_v<{t}, {u}, {op}>({reads(t, 'x')}, {writes(u, 'y')}, count, {GRID}.x)"


CALLS = {f"{op}_{t}": _call(t, t, op) for op in OPERATIONS for t in FLOATS}
CALLS |= {f"{op}_complex": _call("complex64_t", "complex64_t", op) for op in COMPLEX}
CALLS |= {
    "Real_complex": _call("complex64_t", "float", "Real"),
    "Imag_complex": _call("complex64_t", "float", "Imag"),
    "Abs_int": _call("int32_t", "int32_t", "Abs"),
    "BitwiseInvert_int": _call("int32_t", "int32_t", "BitwiseInvert"),
    "Square_long": _call("int64_t", "int64_t", "Square"),
    "Sign_uint": _call("uint32_t", "uint32_t", "Sign"),
    "LogicalNot_bool": _call("bool", "bool", "LogicalNot"),
    "ToFP8_float": _call("float", "uint8_t", "ToFP8"),
    "FromFP8_uchar": _call("uint8_t", "float", "FromFP8"),
}
UNARY = Family("unary", ("unary_ops.h", "unary.h"), ("x", "count"), ("y",), CALLS)

STRIDED = Family(
    "unary_strided",
    ("unary_ops.h", "unary.h"),
    ("x", "count", "dims", "steps", "rank"),
    ("y",),
    {
        "v2": f"unary_v2<float, float, Square>({reads('float', 'x')}, {writes('float', 'y')}, count, {GRID}.xy, {GRID_SIZE}.xy)",
        "g": f"unary_g<half, half, Square, 4, int>({reads('half', 'x')}, {writes('half', 'y')}, dims, steps, rank, {GRID}, {GRID_SIZE})",
    },
)


def _run(case: str, x: mx.array, out: mx.Dtype, sanitize: bool, init_value: float | None = None) -> np.ndarray:
    per_thread = 8 // x.dtype.size
    count = int(x.size)
    launch = {"threads": (-(-count // per_thread),), "threadgroup": (64,), "init_value": init_value}
    (got,) = UNARY.run(case, [x, np.uint32(count)], [((count,), out)], sanitize=sanitize, **launch)
    return got


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPERATIONS)
def test_float(op: str, dtype: str, sanitize: bool) -> None:
    function, low, high = OPERATIONS[op]
    x, exact = rounded(np.random.default_rng(1).uniform(low, high, 299), FLOATS[dtype])
    want = function(exact)
    got = _run(f"{op}_{dtype}", x, FLOATS[dtype], sanitize)
    tolerance = RELATIVE[FLOATS[dtype]]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 0.2)


@pytest.mark.parametrize("op", COMPLEX)
def test_complex(op: str, sanitize: bool) -> None:
    rng = np.random.default_rng(2)
    z = (rng.uniform(-0.9, 0.9, 65) + 1j * rng.uniform(-0.9, 0.9, 65)).astype(np.complex64)
    # These are functions out of line, and g++ does not tell the sanitizer of a store of the structure that a call returns:
    # the output counts as written from the start.
    init_value = 0 if op in ("ArcCos", "ArcSin", "ArcTan") else None
    got = _run(f"{op}_complex", mx.array(z), mx.complex64, sanitize, init_value)
    loose = 2e-4 if op in ("ArcCos", "ArcSin") else 2e-6  # logarithms of sums in which terms cancel
    np.testing.assert_allclose(got, COMPLEX[op](z.astype(np.complex128)), rtol=2e-5, atol=loose)


def test_complex_parts(sanitize: bool) -> None:
    z = np.arange(9, dtype=np.float32) * (1 + 2j)
    z = z.astype(np.complex64)
    np.testing.assert_array_equal(_run("Real_complex", mx.array(z), mx.float32, sanitize), z.real)
    np.testing.assert_array_equal(_run("Imag_complex", mx.array(z), mx.float32, sanitize), z.imag)


def test_integers(sanitize: bool) -> None:
    i = np.array([0, -1, 5, -70000, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(_run("Abs_int", mx.array(i), mx.int32, sanitize), np.abs(i))
    np.testing.assert_array_equal(_run("BitwiseInvert_int", mx.array(i), mx.int32, sanitize), ~i)
    wide = np.array([3, -(2**31), 2**20], np.int64)
    np.testing.assert_array_equal(_run("Square_long", mx.array(wide), mx.int64, sanitize), wide**2)
    u = np.array([0, 1, 2**32 - 1], np.uint32)
    np.testing.assert_array_equal(_run("Sign_uint", mx.array(u), mx.uint32, sanitize), [0, 1, 1])
    b = np.array([True, False, True, True, False, False, True, False, True])
    np.testing.assert_array_equal(_run("LogicalNot_bool", mx.array(b), mx.bool_, sanitize), ~b)


def _fp8(bits: int) -> float:
    """E4M3 without infinities: what MLX's fp8 kernels hold."""
    sign, exponent, mantissa = bits >> 7, (bits >> 3) & 15, bits & 7
    magnitude = mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return -magnitude if sign else magnitude


def test_fp8(sanitize: bool) -> None:
    finite = [b for b in range(256) if b & 127 != 127]
    values = np.array([_fp8(b) for b in finite], np.float32)
    got = _run("FromFP8_uchar", mx.array(finite, mx.uint8), mx.float32, sanitize)
    np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(_run("ToFP8_float", mx.array(values), mx.uint8, sanitize), finite)
    between = np.random.default_rng(3).uniform(-440, 440, 200).astype(np.float32)
    back = [_fp8(int(b)) for b in _run("ToFP8_float", mx.array(between), mx.uint8, sanitize)]
    nearest = [min(np.abs(values - x)) for x in between]
    np.testing.assert_allclose(np.abs(back - between), nearest, atol=1e-5)


def test_large_and_strided(sanitize: bool) -> None:
    x = np.random.default_rng(4).standard_normal(1001).astype(np.float32)
    nothing = [[1], strides(1), 1]
    (got,) = STRIDED.run(
        "v2", [mx.array(x), long(x.size), *nothing], [(x.shape, mx.float32)], threads=(32, 16), threadgroup=(32, 1), sanitize=sanitize
    )
    np.testing.assert_array_equal(got, x * x)

    base, _ = rounded(np.random.default_rng(5).standard_normal((3, 7, 4, 5)), mx.float16)
    view = as_numpy(base).transpose(2, 0, 3, 1)  # shape (4, 3, 5, 7)
    steps = strides(*(s // 2 for s in view.strides))
    (got,) = STRIDED.run(
        "g",
        [base, long(0), list(view.shape), steps, view.ndim],
        [(view.shape, mx.float16)],
        threads=(2, 5, 12),
        threadgroup=(2, 5, 4),
        sanitize=sanitize,
    )
    np.testing.assert_array_equal(got, view * view)
