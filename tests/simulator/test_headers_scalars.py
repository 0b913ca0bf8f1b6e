"""half, bfloat and float of the simulator's headers against NumPy: rounding, conversions, MSL's math."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator
from zmlx.simulator import MetalCompileError, UnsupportedFeature

sys.path.append(str(Path(__file__).parent / "headers"))
from msl_run import bfloat_bits, bfloat_values, evaluate, pattern, rounded, to_mlx, to_numpy, ulps

SMALL = ("half", "bfloat")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-39, 1.1754944e-38, 3.4028235e38,
           -3.4028235e38, 65504.0, 65520.0, 5.9604645e-8, 2.9802322e-8, 1e9, 16777216.0, 0.99999994, 1.0000001]  # fmt: skip


def every(type_name: str) -> np.ndarray:
    """All values of a 16-bit type."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    return bits.view(np.float16) if type_name == "half" else bfloat_values(bits)


def floats(count: int = 4000) -> np.ndarray:
    """Special values, random bits, and numbers of everyday size."""
    random = np.random.default_rng(5)
    bits = random.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)
    return np.concatenate([np.array(SPECIAL, np.float32), bits, random.normal(0, 3, count).astype(np.float32)])


# ---- arithmetic -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_name", SMALL)
def test_each_operation_is_rounded_once(type_name: str) -> None:
    x = every(type_name)
    y = np.random.default_rng(1).permutation(x)
    expressions = ["x + y", "x - y", "x * y", "x / y", "x * y + x", "x += y", "fma(x, y, x)", "-x", "sqrt(x)"]
    got = evaluate(
        expressions, {"a": to_mlx(x, type_name), "b": to_mlx(y, type_name)}, type_name,
        before=f"{type_name} x = a[i]; const {type_name} y = b[i];"
    )
    a, b = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        after = rounded(a + b, type_name).astype(np.float32)  # what `x += y` left in x
        exact = a.astype(np.float64) * b
        want = [a + b, a - b, a * b, a / b, rounded(a * b, type_name).astype(np.float32) + a, a + b, None, -after, np.sqrt(after)]
        want[6] = (after.astype(np.float64) * b + after).astype(np.float64)
    assert exact.dtype == np.float64
    for expression, g, w in zip(expressions, got, want, strict=True):
        if expression.startswith("fma"):
            assert np.max(ulps(g, w, type_name)) <= 0.51, expression  # one rounding, by way of float for bfloat
            continue
        np.testing.assert_array_equal(pattern(g), pattern(rounded(w, type_name)), err_msg=expression)


@pytest.mark.parametrize("type_name", SMALL)
def test_conversions_to_and_from_float_round_to_nearest_even(type_name: str) -> None:
    x = np.concatenate([floats(), every(type_name).astype(np.float32)])
    (got,) = evaluate([f"{type_name}(a[i])"], {"a": mx.array(x)}, type_name)
    np.testing.assert_array_equal(pattern(got), pattern(rounded(x, type_name)))
    (back,) = evaluate(["a[i]"], {"a": to_mlx(every(type_name), type_name)}, "float")
    np.testing.assert_array_equal(pattern(back), pattern(every(type_name).astype(np.float32)))


@pytest.mark.parametrize("type_name", SMALL)
def test_integers_become_small_floats_and_truncate_back(type_name: str) -> None:
    n = np.random.default_rng(2).integers(-40000, 40000, 3000).astype(np.int32)
    (got,) = evaluate(["a[i]"], {"a": mx.array(n)}, type_name)
    np.testing.assert_array_equal(got.astype(np.float32), rounded(n.astype(np.float32), type_name).astype(np.float32))
    x = np.random.default_rng(3).normal(0, 90, 3000).astype(np.float32)
    (whole,) = evaluate(["int(a[i])"], {"a": to_mlx(rounded(x, type_name), type_name)}, "int")
    np.testing.assert_array_equal(whole, np.trunc(rounded(x, type_name)).astype(np.int32))


def test_what_a_bfloat_mixes_with() -> None:
    """With integers it stays a bfloat, with floats it becomes a float; both sides of a compound assignment work."""
    x = np.random.default_rng(4).normal(0, 2, 500).astype(np.float32)
    b = rounded(x, "bfloat")
    got = evaluate(
        ["b * f", "f - b", "f2", "float(b + 1)", "float(2 * b)", "float(h2)", "whole", "b > 0 ? b : 0", "b < f ? 1 : 0",
        "is_same_v<decltype(b * 2), bfloat>",
         "is_same_v<decltype(b * 2.0f), float>", "u"],
        {"a": to_mlx(b, "bfloat"), "c": mx.array(x)},
        "float",
        before="const bfloat b = a[i]; const float f = c[i]; float f2 = f; f2 += b; f2 *= b; f2 -= b; f2 /= b;"
        "half h2 = half(f); h2 += b; int whole = 7; whole += b; uint u = b > 0 ? b : bfloat(0);",
    )  # fmt: skip
    with np.errstate(all="ignore"):
        compound = (((x + b) * b) - b) / b
    h = (x.astype(np.float16).astype(np.float32) + b).astype(np.float16).astype(np.float32)
    want = [b * x, x - b, compound, rounded(b + 1, "bfloat"), rounded(2 * b, "bfloat"), h, np.trunc(7 + b), np.maximum(b, 0), b < x, 1, 1,
            np.trunc(np.maximum(b, 0))]  # fmt: skip
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, np.broadcast_to(np.float32(w), g.shape), err_msg=str(k))


def test_limits_and_bits() -> None:
    expressions = [
        "numeric_limits<half>::max()", "numeric_limits<half>::min()", "numeric_limits<half>::epsilon()", "numeric_limits<bfloat>::max()",
        "numeric_limits<bfloat>::min()", "numeric_limits<bfloat>::epsilon()", "numeric_limits<bfloat>::lowest()", "FLT_MAX", "HALF_MAX",
        "INFINITY",
        "as_type<float>(0x3f800000u)", "as_type<half>(ushort(0x3c00))", "as_type<bfloat>(ushort(0x3f80))", "as_type<short>(half(-2.0h))",
        "as_type<uint>(half2(1.0h, 2.0h)) == 0x40003c00u", "as_type<uchar4>(0x04030201u).z", "as_type<ulong>(float2(1.0f, -0.0f)) >> 63",
    ]  # fmt: skip
    got = [g[0] for g in evaluate(expressions, {"a": mx.zeros(1)}, "float", threadgroup=1)]
    assert got == [65504, 2.0**-14, 2.0**-10, np.float32((2 - 2.0**-7) * 2.0**127), 2.0**-126, 2.0**-7,
        -np.float32((2 - 2.0**-7) * 2.0**127),
                   np.finfo(np.float32).max, 65504, np.inf, 1, 1, 1, -16384, 1, 3, 1]  # fmt: skip


# ---- math -------------------------------------------------------------------------------------------------------------


def _vectorised(f: Callable[[float], float]) -> Callable[[Any], Any]:
    return np.vectorize(f, otypes=[np.float64])


def _sinpi(x: np.ndarray) -> np.ndarray:
    quarter = np.rint(2 * np.fmod(x, 2.0))
    rest = np.pi * (np.fmod(x, 2.0) - quarter / 2)
    return np.choose(np.nan_to_num(quarter).astype(int) & 3, [np.sin(rest), np.cos(rest), -np.sin(rest), -np.cos(rest)]) + 0.0


def _round(x: np.ndarray) -> np.ndarray:
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


# name: (float64 NumPy, the most ulps between float's result and it). 0.5 means: rounded correctly.
ONE: dict[str, tuple[Callable[[Any], Any], float]] = {
    "acos": (np.arccos, 4), "acosh": (np.arccosh, 4), "asin": (np.arcsin, 4), "asinh": (np.arcsinh, 4), "atan": (np.arctan, 4),
    "atanh": (np.arctanh, 4), "ceil": (np.ceil, 0), "cos": (np.cos, 4), "cosh": (np.cosh, 4),
    "cospi": (lambda x: _sinpi(np.abs(x) % 2.0 + 0.5), 4),
    "exp": (np.exp, 4), "exp2": (np.exp2, 4), "exp10": (lambda x: np.power(10.0, x), 4), "fabs": (np.abs, 0), "abs": (np.abs, 0),
    "floor": (np.floor, 0), "log": (np.log, 4), "log2": (np.log2, 4), "log10": (np.log10, 4), "rint": (np.rint, 0), "round": (_round, 0),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1), "sin": (np.sin, 4), "sinh": (np.sinh, 4), "sinpi": (_sinpi, 4), "sqrt": (np.sqrt, 0.5),
    "tan": (np.tan, 4),
    "tanh": (np.tanh, 4), "tanpi": (lambda x: _sinpi(x) / _sinpi(np.abs(x) % 2.0 + 0.5), 6), "trunc": (np.trunc, 0),
    "saturate": (lambda x: np.clip(np.where(np.isnan(x), 0, x), 0, 1), 0),
    "sign": (lambda x: np.where(np.isnan(x), 0, np.sign(x)), 0),
}  # fmt: skip


@pytest.mark.parametrize("type_name", ["float", *SMALL])
def test_functions_of_one_number(type_name: str) -> None:
    x = floats() if type_name == "float" else every(type_name)
    got = evaluate([f"{name}(x)" for name in ONE], {"a": to_mlx(x, type_name)}, type_name, before=f"const {type_name} x = a[i];")
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
    for (name, (reference, bound)), g in zip(ONE.items(), got, strict=True):
        with np.errstate(all="ignore"):
            want = reference(wide)
        # half and bfloat are computed in float and rounded: half an ulp, and a little of float's error.
        worst = np.max(ulps(g, want, type_name))
        assert worst <= (bound if type_name == "float" else max(0.0, min(bound, 0.51))), (name, worst, x[np.argmax(ulps(g, want,
            type_name))])
        if bound == 0 and name not in ("saturate", "sign"):
            np.testing.assert_array_equal(np.signbit(g[g == 0]), np.signbit(want[g == 0]), err_msg=name)
    assert got[0].size == x.size


TWO: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "atan2": (np.arctan2, 4), "copysign": (np.copysign, 0), "divide": (np.divide, 0.5), "fdim": (lambda x,
    y: np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x > y, x - y, 0)), 0.5),
    "fmax": (np.fmax, 0), "fmin": (np.fmin, 0), "max": (np.fmax, 0), "min": (np.fmin, 0), "fmod": (np.fmod, 0), "pow": (np.power, 4),
    "step": (lambda edge, x: np.where(x < edge, 0.0, 1.0), 0),
    "fast::max": (np.fmax, 0), "precise::pow": (np.power, 4),
}  # fmt: skip


@pytest.mark.parametrize("type_name", ["float", *SMALL])
def test_functions_of_two_numbers(type_name: str) -> None:
    x = floats(1500) if type_name == "float" else every(type_name)[::7]
    y = np.random.default_rng(8).permutation(x)
    with np.errstate(all="ignore"):
        y[: x.size // 8] = x[: x.size // 8] * 3  # quotients that are not all huge or tiny
    if type_name == "bfloat":
        y = rounded(y, "bfloat")
    special = np.array(np.meshgrid(SPECIAL[:14], SPECIAL[:14]), np.float32).reshape(2, -1)
    x, y = (np.concatenate([v, rounded(s, type_name)]) for v, s in ((x, special[0]), (y, special[1])))
    got = evaluate(
        [f"{name}(x, y)" for name in TWO], {"a": to_mlx(x, type_name), "b": to_mlx(y, type_name)}, type_name,
        before=f"const {type_name} x = a[i], y = b[i];",
    )  # fmt: skip
    for (name, (reference, bound)), g in zip(TWO.items(), got, strict=True):
        with np.errstate(all="ignore"):
            want = reference(x.astype(np.float64), y.astype(np.float64))
        distance = ulps(g, want, type_name)
        worst = int(np.argmax(distance))
        assert distance[worst] <= (bound if type_name == "float" else min(bound, 0.51)), (name, x[worst], y[worst], g[worst], want[worst])


def test_nextafter_ldexp_frexp_modf_and_their_like() -> None:
    x = floats(1000)
    y = np.random.default_rng(9).permutation(x)
    e = np.random.default_rng(10).integers(-200, 200, x.size).astype(np.int32)
    got = evaluate(
        ["nextafter(x, y)", "ldexp(x, c[i])", "mantissa", "exponent", "part", "whole", "s", "cosine", "powr(fabs(x), 0.5f)", "fract(x)",
         "isnan(x)", "isinf(x)", "isfinite(x)", "isnormal(x)", "signbit(x)", "isunordered(x, y)"],
        {"a": mx.array(x), "b": mx.array(y), "c": mx.array(e)},
        "float",
        before="const float x = a[i], y = b[i]; int exponent; const float mantissa = frexp(x, exponent); float whole;"
        "const float part = modf(x, whole); float cosine; const float s = sincos(x, cosine);",
    )  # fmt: skip
    with np.errstate(all="ignore"):
        exact = [np.nextafter(x, y), np.ldexp(x.astype(np.float64), e).astype(np.float32), *np.frexp(x), *np.modf(x)]
    finite = np.isfinite(x)
    for k, (g, w) in enumerate(zip(got, exact, strict=False)):
        use = finite if k in (3, 4, 5) else np.ones_like(finite)
        np.testing.assert_array_equal(pattern(g)[use], pattern(np.float32(w))[use], err_msg=str(k))
    with np.errstate(all="ignore"):
        for k, w in ((6, np.sin(x.astype(np.float64))), (7, np.cos(x.astype(np.float64))), (8, np.sqrt(np.abs(x).astype(np.float64)))):
            assert np.max(ulps(got[k], w, "float")) <= 4, k
        fraction = np.minimum(x - np.floor(x), np.float32(1 - 2.0**-24))
        np.testing.assert_array_equal(got[9], np.where(np.isnan(fraction), np.nan, fraction))
        tests = [np.isnan(x), np.isinf(x), finite, finite & (np.abs(x) >= 2.0**-126), np.signbit(x), np.isnan(x) | np.isnan(y)]
    for k, w in enumerate(tests, 10):
        np.testing.assert_array_equal(got[k], w.astype(np.float32), err_msg=str(k))


def test_neighbours_and_fractions_of_halves() -> None:
    """In half's own spacing. (MLX's preamble replaces these functions for bfloat.)"""
    x = every("half")
    y = np.random.default_rng(6).permutation(x)
    up, fraction = evaluate(["nextafter(x, y)", "fract(x)"], {"a": mx.array(x), "b": mx.array(y)}, "half",
        before="const half x = a[i], y = b[i];")
    np.testing.assert_array_equal(pattern(up), pattern(np.nextafter(x, y)))
    assert np.all((fraction >= 0) & (fraction < 1) | (np.isnan(fraction) & ~np.isfinite(x)))
    assert np.count_nonzero(np.isnan(fraction)) == np.count_nonzero(~np.isfinite(x))


def test_clamp_mix_smoothstep_and_medians_know_nan() -> None:
    values = np.array([np.nan, -np.inf, -1.0, -0.0, 0.25, 1.0, np.inf], np.float32)
    x, y, z = (v.reshape(-1) for v in np.meshgrid(values, values, values))
    got = evaluate(
        ["clamp(x, y, z)", "min3(x, y, z)", "max3(x, y, z)", "median3(x, y, z)", "clamp(x, 0.0f, 1.0f)", "mix(x, y, 0.25f)",
        "smoothstep(0.0f, 1.0f, x)",
         "select(x, y, z > 0)"],
        {"a": mx.array(x), "b": mx.array(y), "c": mx.array(z)},
        "float",
        before="const float x = a[i], y = b[i], z = c[i];",
    )  # fmt: skip
    with np.errstate(all="ignore"):
        t = np.clip(np.fmax(x, 0), 0, 1)
        want = [np.fmin(np.fmax(x, y), z), np.fmin(x, np.fmin(y, z)), np.fmax(x, np.fmax(y, z)),
                np.fmax(np.fmin(x, y), np.fmin(np.fmax(x, y), z)), np.fmin(np.fmax(x, 0), 1), x + (y - x) * np.float32(0.25),
                t * t * (3 - 2 * t), np.where(z > 0, y, x)]  # fmt: skip
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, w, err_msg=str(k))


# ---- what must not compile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("bfloat b = x[0]; out[0] = float(b);", "bfloat"),
        ("bfloat b = bfloat(1.0f); b = x[0]; out[0] = float(b);", "bfloat"),
        ("half2 h = float2(x[0]); out[0] = h.x;", "half"),
        ("float2 v = float3(x[0]); out[0] = v.x;", ""),
        ("out[0] = (float2(x[0]) + half2(1)).x;", ""),
        ("out[0] = as_type<half>(x[0]);", "as_type needs two types of one size"),
        ("out[0] = popcount(x[0]);", "popcount"),
        ("typedef half T; atomic<T> a; out[0] = sizeof(a);", "Metal has atomics of bool and of 32 and 64 bits"),
        ("simdgroup_matrix<float, 4, 4> m; out[0] = sizeof(m);", "Metal's simdgroup matrices are 8x8"),
        ("simdgroup_matrix<int, 8, 8> m; out[0] = sizeof(m);", "half, bfloat or float"),
        ("simdgroup_half8x8 m; simdgroup_load(m, x); out[0] = m.thread_elements()[0];", "simdgroup_load"),
        ("simdgroup_float8x8 m; simdgroup_store(m, x);", "simdgroup_store"),
        ("device atomic_ulong* a = (device atomic_ulong*)out; atomic_fetch_add_explicit(a, 1ul, memory_order_relaxed);",
        "atomic_fetch_add_explicit"),
    ],
    ids=lambda v: v[:40],
)
def test_what_metal_refuses_does_not_compile(source: str, says: str) -> None:
    kernel = simulator.metal_kernel("k", ["x"], ["out"], source)
    with pytest.raises(MetalCompileError, match=r"source:1") as caught:
        kernel(inputs=[mx.zeros(64)], output_shapes=[(64,)], output_dtypes=[mx.float32], grid=(32, 1, 1), threadgroup=(32, 1, 1))
    assert says in str(caught.value)


@pytest.mark.parametrize("type_name", ["half", "bfloat", "short"])
def test_atomics_of_small_types_are_refused_by_name(type_name: str) -> None:
    kernel = simulator.metal_kernel("k", ["x"], ["out"], f"threadgroup atomic<{type_name}> a; out[0] = sizeof(a);")
    with pytest.raises(UnsupportedFeature, match=f"atomics of {type_name}"):
        kernel(inputs=[mx.zeros(64)], output_shapes=[(64,)], output_dtypes=[mx.float32], grid=(32, 1, 1), threadgroup=(32, 1, 1))


def test_bfloat_bits_of_the_tests_agree_with_mlx() -> None:
    x = floats()
    np.testing.assert_array_equal(pattern(to_numpy(mx.array(x).astype(mx.bfloat16))), pattern(bfloat_values(bfloat_bits(x))))
