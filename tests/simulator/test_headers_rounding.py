"""Where rounding twice would show: fma of small floats, modf, packed formats."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from zmlx.simulator import MetalCompileError

sys.path.append(str(Path(__file__).parent / "headers"))
from msl_run import bfloat_values, evaluate, to_mlx

DIGITS = {"half": (11, -14), "bfloat": (8, -126)}  # of the mantissa; the least exponent


def nearest(exact: Fraction, type_name: str) -> float:
    """A number as the type's nearest, ties to even."""
    if exact == 0:
        return 0.0
    digits, least = DIGITS[type_name]
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent = max(exponent - (Fraction(2) ** exponent > size), least)
    unit = Fraction(2) ** (exponent - digits + 1)
    return float(round(size / unit) * unit) * (1 if exact > 0 else -1)


@pytest.mark.parametrize("type_name", ["half", "bfloat"])
def test_fma_rounds_once(type_name: str) -> None:
    """Products near the middle between two numbers of the type, and something tiny or huge added."""
    random, n = np.random.default_rng(0), 20000
    one, high = (0x3C00, 0x5000) if type_name == "half" else (0x3F80, 0x4F00)

    def numbers(low: int, high: int) -> np.ndarray:
        return (random.integers(low, high, n) | random.integers(0, 2, n) << 15).astype(np.uint16)

    bits = [numbers(one, one + 256), numbers(one, one + 256), numbers(1, high)]
    values = [(b.view(np.float16) if type_name == "half" else bfloat_values(b)) for b in bits]
    names = ("a", "b", "c")
    fma = "fma" if type_name == "half" else "zm::scalar::fma{}"  # MLX's preamble has an fma of its own for bfloat
    (got,) = evaluate([f"{fma}(a[i], b[i], c[i])"], {k: to_mlx(v, type_name) for k, v in zip(names, values, strict=True)}, type_name)
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(*values, strict=True)]
    want = np.array([nearest(e, type_name) for e in exact], np.float32)
    np.testing.assert_array_equal(got.astype(np.float32), want)
    with np.errstate(all="ignore"):
        x, y, z = (v.astype(np.float32) for v in values)
        twice = np.array([nearest(Fraction(float(s)), type_name) for s in (x.astype(np.float64) * y + z).astype(np.float32)], np.float32)
    assert (twice != want).sum() > (50 if type_name == "bfloat" else -1)  # the inputs do tell the two apart


def test_modf_leaves_nothing_of_an_infinity() -> None:
    x = np.array([np.inf, -np.inf, 1.5, -1.5, -0.0, 0.0, 2.0, -2.0, np.nan, 1e-40, -3.25], np.float32)
    whole, rest, small = evaluate(
        ["w", "r", "float(q)"],
        {"a": mx.array(x)},
        "float",
        before="float w; float r = modf(a[i], w); half h; half q = modf(half(a[i]), h);",
    )
    want_rest, want_whole = np.modf(x)
    np.testing.assert_array_equal(whole, want_whole)
    np.testing.assert_array_equal(rest, want_rest)
    np.testing.assert_array_equal(np.signbit(rest[:-3]), np.signbit(want_rest[:-3]))
    np.testing.assert_array_equal(small, np.modf(x.astype(np.float16))[0].astype(np.float32))


def test_packed_formats_keep_what_they_can_hold() -> None:
    words = np.random.default_rng(1).integers(0, 1 << 32, 4000, dtype=np.uint32)
    formats = ("unorm4x8", "unorm2x16", "unorm10a2")
    trips = [f"pack_float_to_{f}(unpack_{f}_to_float(a[i]))" for f in formats]
    trips += ["pack_float_to_srgb_unorm4x8(unpack_unorm4x8_srgb_to_float(a[i]))",
              "pack_half_to_srgb_unorm4x8(unpack_unorm4x8_srgb_to_half(a[i]))",
              "pack_half_to_unorm4x8(unpack_unorm4x8_to_half(a[i]))", "pack_float_to_snorm4x8(unpack_snorm4x8_to_float(a[i] & 0x7f7f7f7f))",
              "pack_float_to_snorm2x16(unpack_snorm2x16_to_float(a[i] & 0x7fff7fff))"]  # fmt: skip
    got = evaluate(trips, {"a": mx.array(words)}, "uint")
    for k, g in enumerate(got):
        np.testing.assert_array_equal(g, words & {6: 0x7F7F7F7F, 7: 0x7FFF7FFF}.get(k, 0xFFFFFFFF), err_msg=trips[k])


def test_packing_cuts_off_and_knows_nan() -> None:
    x = np.array([np.nan, -np.inf, np.inf, -2.0, 2.0, 0.5, -0.5], np.float32)
    snorm, unorm, wide, srgb = evaluate(
        ["pack_float_to_snorm4x8(v)", "pack_float_to_unorm4x8(v)", "pack_float_to_unorm10a2(v)", "pack_float_to_srgb_unorm4x8(v)"],
        {"a": mx.array(x)},
        "uint",
        before="const float4 v = float4(a[i], 1, -1, a[i]);",
    )
    s = np.array([0, -127, 127, -127, 127, 64, -64], np.int8).view(np.uint8).astype(np.uint32)
    np.testing.assert_array_equal(snorm, s | 127 << 8 | 129 << 16 | s << 24)
    u = np.array([0, 0, 255, 0, 255, 128, 0], np.uint32)
    np.testing.assert_array_equal(unorm, u | 255 << 8 | u << 24)
    w, a = np.array([0, 0, 1023, 0, 1023, 512, 0], np.uint32), np.array([0, 0, 3, 0, 3, 2, 0], np.uint32)
    np.testing.assert_array_equal(wide, w | 1023 << 10 | a << 30)
    bright = np.array([0, 0, 255, 0, 255, 188, 0], np.uint32)  # half the light
    np.testing.assert_array_equal(srgb, bright | 255 << 8 | u << 24)


@pytest.mark.parametrize("source", ["int4(1) * 1.5f", "0.5f + uint2(1)", "short3(1) < half(1)"])
def test_a_vector_of_integers_takes_no_float(source: str) -> None:
    """It would be cut off; Metal's compiler refuses it."""
    with pytest.raises(MetalCompileError, match=r"operator|operands"):
        evaluate([f"({source}).x"], {"a": mx.zeros(1)}, "float")
