"""MSL's integer functions in the simulator's headers against Python's integers: all pairs of 8-bit values, random wider ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "headers"))
from msl_run import SCALARS, evaluate

TYPES = ["char", "uchar", "short", "ushort", "int", "uint", "long", "ulong"]


def limits(name: str) -> tuple[int, int, int]:
    """(bits, least, greatest)"""
    info = np.iinfo(SCALARS[name][1])
    return info.bits, int(info.min), int(info.max)


def operands(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dtype = SCALARS[name][1]
    bits, least, greatest = limits(name)
    random = np.random.default_rng(bits)
    if bits == 8:
        values = np.arange(least, greatest + 1).astype(dtype)
        x, y = (v.reshape(-1) for v in np.meshgrid(values, values))
        return x, y, random.permutation(x)
    corners = np.array([least, least + 1, greatest, greatest - 1, 0, 1, greatest // 2, 2, 3], dtype)
    x, y = (v.reshape(-1) for v in np.meshgrid(corners, corners))
    more = [random.integers(least, greatest, 400, dtype, endpoint=True) for _ in range(3)]
    small = (more[0] >> dtype(bits // 2)).astype(dtype)
    return np.concatenate([x, more[0], small]), np.concatenate([y, more[1], more[1]]), np.concatenate([y[::-1], more[2], more[2]])


def wrapped(value: int, name: str) -> int:
    bits, least, _ = limits(name)
    return (value - least) % (1 << bits) + least


def clamped(value: int, name: str) -> int:
    _, least, greatest = limits(name)
    return max(least, min(greatest, value))


def reversed_bits(x: int, bits: int) -> int:
    return int(format(x % (1 << bits), f"0{bits}b")[::-1], 2)


def rotated(x: int, by: int, bits: int) -> int:
    u, k = x % (1 << bits), by % bits
    return (u << k | u >> (bits - k)) % (1 << bits)


# Of x, y, z and the type: the exact value, before it wraps to the type.
FUNCTIONS: dict[str, Callable[[int, int, int, str], int]] = {
    "popcount(x)": lambda x, y, z, t: bin(x % (1 << limits(t)[0])).count("1"),
    "clz(x)": lambda x, y, z, t: limits(t)[0] - (x % (1 << limits(t)[0])).bit_length(),
    "ctz(x)": lambda x, y, z, t: (x & -x).bit_length() - 1 if x else limits(t)[0],
    "reverse_bits(x)": lambda x, y, z, t: reversed_bits(x, limits(t)[0]),
    "rotate(x, y)": lambda x, y, z, t: rotated(x, y, limits(t)[0]),
    "mulhi(x, y)": lambda x, y, z, t: x * y >> limits(t)[0],
    "absdiff(x, y)": lambda x, y, z, t: abs(x - y),
    "addsat(x, y)": lambda x, y, z, t: clamped(x + y, t),
    "subsat(x, y)": lambda x, y, z, t: clamped(x - y, t),
    "hadd(x, y)": lambda x, y, z, t: x + y >> 1,
    "rhadd(x, y)": lambda x, y, z, t: x + y + 1 >> 1,
    "madhi(x, y, z)": lambda x, y, z, t: (x * y >> limits(t)[0]) + z,
    "madsat(x, y, z)": lambda x, y, z, t: clamped(x * y + z, t),
    "min(x, y)": lambda x, y, z, t: min(x, y),
    "max(x, y)": lambda x, y, z, t: max(x, y),
    "clamp(x, min(y, z), max(y, z))": lambda x, y, z, t: max(min(y, z), min(max(y, z), x)),
    "min3(x, y, z)": lambda x, y, z, t: min(x, y, z),
    "max3(x, y, z)": lambda x, y, z, t: max(x, y, z),
    "median3(x, y, z)": lambda x, y, z, t: sorted((x, y, z))[1],
    "abs(x)": lambda x, y, z, t: abs(x),
    "x + y": lambda x, y, z, t: x + y,
    "x * y": lambda x, y, z, t: x * y,
    "y == 0 || (x == low && y == T(-1)) ? T(7) : T(x / y)": lambda x, y, z, t: 7 if y == 0 or (x == limits(t)[1] and wrapped(y + 1,
    t) == 0) else _divided(x, y),
    "x >> (y & 7)": lambda x, y, z, t: x >> (y & 7),
}  # fmt: skip


def _divided(x: int, y: int) -> int:
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


@pytest.mark.parametrize("name", TYPES)
def test_functions(name: str) -> None:
    x, y, z = operands(name)
    got = evaluate(
        list(FUNCTIONS), {k: mx.array(v) for k, v in zip("abc", (x, y, z), strict=True)}, name,
        before=f"typedef {name} T; const T x = a[i], y = b[i], z = c[i], low = numeric_limits<T>::min();",
    )  # fmt: skip
    use = slice(None, None, 11 if x.size > 5000 else 1)  # Python is slow; 11 is prime to 256, so that all x and all y come
    rows = list(zip(x[use].tolist(), y[use].tolist(), z[use].tolist(), strict=True))
    for (text, reference), g in zip(FUNCTIONS.items(), got, strict=True):
        want = [wrapped(reference(*row, name), name) for row in rows]
        np.testing.assert_array_equal(g[use], np.array(want, SCALARS[name][1]), err_msg=text)


@pytest.mark.parametrize("name", TYPES)
def test_bit_fields(name: str) -> None:
    """Every offset and width, at random values."""
    bits = limits(name)[0]
    fields = [(offset, width) for offset in range(bits) for width in range(bits - offset + 1)]
    random = np.random.default_rng(3)
    dtype = SCALARS[name][1]
    x, y = (random.integers(*limits(name)[1:], len(fields), dtype, endpoint=True) for _ in range(2))
    offset, width = (np.array(v, np.uint32) for v in zip(*fields, strict=True))
    got = evaluate(
        ["extract_bits(a[i], b[i], c[i])", "insert_bits(a[i], d[i], b[i], c[i])"],
        {"a": mx.array(x), "b": mx.array(offset), "c": mx.array(width), "d": mx.array(y)},
        name,
    )
    for k, (o, w) in enumerate(fields):
        field = (int(x[k]) >> o) % (1 << w)
        if name in ("char", "short", "int", "long") and w and field >> (w - 1):
            field -= 1 << w
        mask = ((1 << w) - 1) << o
        assert int(got[0][k]) == field, (o, w)
        assert int(got[1][k]) == wrapped(int(x[k]) & ~mask | (int(y[k]) << o) & mask, name), (o, w)


@pytest.mark.parametrize("name", ["int", "uint"])
def test_24_bit_products(name: str) -> None:
    random = np.random.default_rng(4)
    low = -(1 << 23) if name == "int" else 0
    x, y, z = (random.integers(low, low + (1 << 24), 500).astype(SCALARS[name][1]) for _ in range(3))
    product, sum_ = evaluate(["mul24(a[i], b[i])", "mad24(a[i], b[i], c[i])"], {k: mx.array(v) for k, v in zip("abc", (x, y, z),
        strict=True)}, name)
    exact: Any = x.astype(object) * y.astype(object)
    assert [wrapped(v, name) for v in exact] == product.tolist()
    assert [wrapped(v, name) for v in exact + z.astype(object)] == sum_.tolist()


def test_small_integers_are_promoted_as_in_c() -> None:
    x = np.arange(-128, 128).astype(np.int8)
    got = evaluate(
        ["x * x", "char(x * x)", "-x", "~u", "u << 4", "uchar(u << 4)", "x < u", "c > 0u", "sizeof('a' + 'b')", "-7 / 2", "-7 % 3",
        "1 << (x & 15)"],
        {"a": mx.array(x)}, "int", before="const char x = a[i]; const uchar u = uchar(x); const int c = x;",
    )  # fmt: skip
    wide = x.astype(np.int64)
    u = wide % 256
    want: list[Any] = [wide * wide, (wide * wide).astype(np.int8), -wide, ~u, u << 4, (u << 4) % 256, wide < u, wide % (1 << 32) > 0, 4,
        -3, -1, 1 << (wide & 15)]
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, np.broadcast_to(w, g.shape), err_msg=str(k))


def test_packing() -> None:
    """<metal_pack>: to the nearest, out of range clamped; unpacking is the exact quotient."""
    bits = np.random.default_rng(5).integers(0, 1 << 32, 2000, dtype=np.uint32)
    got = evaluate(
        [f"unpack_{kind}4x8_to_float(a[i])[{k}]" for kind in ("unorm", "snorm") for k in range(4)]
        + [f"unpack_{kind}2x16_to_float(a[i])[{k}]" for kind in ("unorm", "snorm") for k in range(2)],
        {"a": mx.array(bits)}, "float",
    )  # fmt: skip
    bytes_, words = bits.view(np.uint8).reshape(-1, 4).T, bits.view(np.uint16).reshape(-1, 2).T
    one = np.float32(1)
    want = [b.astype(np.float32) / (255 * one) for b in bytes_]
    want += [np.maximum(b.astype(np.int8).astype(np.float32) / (127 * one), -1) for b in bytes_]
    want += [w.astype(np.float32) / (65535 * one) for w in words]
    want += [np.maximum(w.astype(np.int16).astype(np.float32) / (32767 * one), -1) for w in words]
    np.testing.assert_array_equal(got, want)
    x = np.random.default_rng(6).normal(0, 0.8, (4, 2000)).astype(np.float32)
    packed = evaluate(
        ["pack_float_to_unorm4x8(v)", "pack_float_to_snorm4x8(v)", "pack_float_to_unorm2x16(v.xy)", "pack_float_to_snorm2x16(v.xy)",
         "pack_half_to_unorm4x8(half4(v))"],
        {k: mx.array(row) for k, row in zip("abcd", x, strict=True)}, "uint", before="const float4 v(a[i], b[i], c[i], d[i]);",
    )  # fmt: skip

    def fields(v: np.ndarray, scale: int, low: int, width: int) -> np.ndarray:
        whole = np.rint(np.clip(v, low, 1).astype(np.float32) * np.float32(scale)).astype(np.int64) % (1 << width)
        return sum(row << (width * k) for k, row in enumerate(whole)).astype(np.uint32)

    np.testing.assert_array_equal(packed[0], fields(x, 255, 0, 8))
    np.testing.assert_array_equal(packed[1], fields(x, 127, -1, 8))
    np.testing.assert_array_equal(packed[2], fields(x[:2], 65535, 0, 16))
    np.testing.assert_array_equal(packed[3], fields(x[:2], 32767, -1, 16))
    np.testing.assert_array_equal(packed[4], fields(x.astype(np.float16).astype(np.float32), 255, 0, 8))
