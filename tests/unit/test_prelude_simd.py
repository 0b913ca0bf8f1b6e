"""The host's vectors against NumPy and the scalar prelude's bounds, at every level of the instruction set that is here."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.test_prelude_host import FUNCTIONS, patterns, points, ulps
from zmlx import dtypes as dt
from zmlx.ops import REGISTRY
from zmlx.ops.cast import cast_array
from zmlx.runtime import isa, toolchain

SOURCE = Path(__file__).with_name("prelude_simd.cpp")
BOUNDS = {"exp": 1.0, "exp2": 2.0, "log": 1.0, "tanh": 2.0, "erf": 2.0, "rsqrt": 2.0}


class Library:
    """Array functions of one level, called with NumPy arrays."""

    def __init__(self) -> None:
        self.so = ctypes.CDLL(str(toolchain.build_library(SOURCE.read_text())))

    def __call__(self, name: str, *args: Any, out: Any) -> Any:
        arrays = [np.ascontiguousarray(a) for a in args]
        result = np.full(arrays[-1].shape, 7, out)
        getattr(self.so, name)(*(a.ctypes.data_as(ctypes.c_void_p) for a in (*arrays, result)), ctypes.c_long(result.size))
        return result


@pytest.fixture(scope="module", params=[level.name for level in isa.available()])
def lib(request: pytest.FixtureRequest) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZMLX_CPU_ISA", request.param)
        return Library()


@pytest.mark.parametrize("name", BOUNDS)
def test_functions_are_as_accurate_as_those_of_scalars(lib: Library, name: str) -> None:
    x = points(name)
    with np.errstate(all="ignore"):
        error = ulps(lib(f"f32_{name}", x, out=np.float32), FUNCTIONS[name](x.astype(np.float64)))
    assert error.max() <= BOUNDS[name] + 0.5 <= REGISTRY[name].ulp["float32"] + 0.5, x[np.argmax(error)]


def test_exact_functions(lib: Library) -> None:
    x = patterns()
    y = np.roll(x, 1234)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(lib("f32_sqrt", x, out=np.float32), np.sqrt(x))
        np.testing.assert_array_equal(lib("f32_fabs", x, out=np.float32), np.abs(x))
        np.testing.assert_array_equal(lib("f32_fmin", x, y, out=np.float32), np.fmin(x, y))
        np.testing.assert_array_equal(lib("f32_fmax", x, y, out=np.float32), np.fmax(x, y))


def test_conversions_of_all_halves(lib: Library) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    half = lib("cast_f16_f32", bits, out=np.float32)
    np.testing.assert_array_equal(half, bits.view(np.float16).astype(np.float32))
    assert np.array_equal(lib("cast_bf16_f32", bits, out=np.uint32), bits.astype(np.uint32) << 16)
    back = lib("cast_f32_bf16", lib("cast_bf16_f32", bits, out=np.float32), out=np.uint16)
    finite = ~np.isnan(dt.bf16_from_bits(bits))
    assert (back == bits)[finite].all() and np.isnan(dt.bf16_from_bits(back))[~finite].all()
    np.testing.assert_array_equal(lib("cast_f16_bf16", bits, out=np.uint16)[finite], lib("cast_f32_bf16", half, out=np.uint16)[finite])


def test_narrowing_rounds_to_nearest_even(lib: Library) -> None:
    x = np.concatenate([patterns(1 << 12), points("exp")])
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = np.sort(halves[np.isfinite(halves)])
    middle = ((halves[1:].astype(np.float64) + halves[:-1]) / 2).astype(np.float32)
    x = np.concatenate([x, middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))])
    with np.errstate(all="ignore"):
        got = lib("cast_f32_f16", x, out=np.uint16).view(np.float16)
        np.testing.assert_array_equal(got, x.astype(np.float16))
        assert (np.signbit(got) == np.signbit(x))[~np.isnan(x)].all()
    b = lib("cast_f32_bf16", x, out=np.uint16)
    want = dt.bf16_to_bits(x)
    nan = np.isnan(x)
    assert (b == want)[~nan].all() and np.isnan(dt.bf16_from_bits(b))[nan].all()


def test_conversions_with_integers(lib: Library) -> None:
    i = np.random.default_rng(0).integers(-(2**31), 2**31, 5000).astype(np.int32)
    np.testing.assert_array_equal(lib("cast_i32_f32", i, out=np.float32), i.astype(np.float32))
    np.testing.assert_array_equal(lib("cast_u32_f32", i.view(np.uint32), out=np.float32), i.view(np.uint32).astype(np.float32))
    x = np.concatenate([patterns(), i.astype(np.float32), np.float32([2**31, -(2**31), 0.5, -0.5])])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(lib("cast_f32_i32", x, out=np.int32), cast_array(x, dt.float32, dt.int32))


@pytest.mark.parametrize("name", ["f32", "i32", "u32", "f16", "bf16"])
def test_ragged_ends_touch_nothing_behind_them(lib: Library, name: str) -> None:
    kind = np.uint16 if name in ("f16", "bf16") else np.uint32
    for n in range(3, 70):
        x = np.arange(100, 100 + n, dtype=kind)
        out = np.full(n + 40, 9, kind)
        getattr(lib.so, f"copy_{name}")(x.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(n))
        assert (out[3:n] == x[2 : n - 1]).all() and (out[:3] == 9).all() and (out[n:] == 9).all()


def test_an_index_as_numbers(lib: Library) -> None:
    out = np.zeros(37, np.int32)
    lib.so.numbers(out.ctypes.data_as(ctypes.c_void_p), ctypes.c_long(37))
    assert out.tolist() == [0, 1, 2, 3, 4, *[-1] * 32]
