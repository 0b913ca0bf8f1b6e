"""The host prelude against NumPy in float64: accuracy, conversions, integers, atomics, what it prints.

`python tests/unit/test_prelude_host.py` writes docs/accuracy.md from the same measurements over 16 times the points.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.ops import REGISTRY
from zmlx.ops.arith import _trunc_div, _trunc_mod, _umulhi
from zmlx.ops.cast import cast_array
from zmlx.ops.math import _round_away

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("prelude_host.cpp")
PRELUDE = ROOT / "zmlx/targets/prelude"
FLAGS = [
    "-std=c++20",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fwrapv",
    "-shared",
    "-fPIC",
    "-Wall",
    "-Wextra",
    "-Werror",
]
BASELINE = "x86-64" if platform.machine() in ("x86_64", "AMD64") else "armv8-a"
BUILDS = {
    f"{cc} {name}": (cc, f"-march={arch}")
    for cc in ("g++", "clang++")
    for name, arch in (("native", "native"), ("baseline", BASELINE))
    if shutil.which(cc) and (cc, name) != ("clang++", "baseline")
}
_erf = np.vectorize(math.erf, otypes=[np.float64])
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log1p": np.log1p, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "tanh": np.tanh, "erf": _erf, "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip
EXACT: dict[str, Callable[[Any], Any]] = {
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "fabs": np.abs, "round": _round_away,
}  # fmt: skip


class Library:
    """Array functions of one build, called with NumPy arrays."""

    def __init__(self, cc: str, arch: str, folder: Path) -> None:
        out = folder / (hashlib.sha256(f"{cc}{arch}".encode()).hexdigest()[:8] + ".so")
        done = subprocess.run([cc, *FLAGS, arch, f"-I{PRELUDE}", str(SOURCE), "-o", str(out)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.so = ctypes.CDLL(str(out))

    def __call__(self, name: str, *args: Any, out: Any) -> Any:
        arrays = [np.ascontiguousarray(a) for a in args]
        result = np.empty(arrays[-1].shape, out)
        getattr(self.so, name)(*(a.ctypes.data_as(ctypes.c_void_p) for a in (*arrays, result)), ctypes.c_long(result.size))
        return result


@pytest.fixture(scope="module", params=BUILDS or [pytest.param("none", marks=pytest.mark.skip(reason="no g++ or clang++"))])
def lib(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(*BUILDS[request.param], tmp_path_factory.mktemp("prelude"))


def patterns(step: int = 1 << 14) -> Any:
    """float32 values whose bit patterns are `step` apart, signed zeros, infinities, NaN and neighbours of both included."""
    bits = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32)
    edges = np.array([0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000], np.uint32)
    near = np.concatenate([edges, edges + 1, edges - 1])
    return np.concatenate([bits, near, near ^ np.uint32(1 << 31)]).view(np.float32)


def points(name: str, step: int = 1 << 14) -> Any:
    """`patterns`, and uniform points where the function does something."""
    ranges = {"exp": (-104, 89), "exp2": (-150, 128), "expm1": (-18, 89), "log1p": (-1, 3), "log": (0, 3), "log2": (0, 3)}
    low, high = ranges.get(name, (-12, 12))
    near_multiples = (np.arange(1, 20000) * (np.pi / 2)).astype(np.float32)
    extra = near_multiples if name in ("sin", "cos", "tan") else np.linspace(0.99, 1.01, 20000)
    with np.errstate(all="ignore"):
        return np.concatenate([patterns(step), np.linspace(low, high, (1 << 30) // step), extra]).astype(np.float32)


def ulps(got: Any, want: Any) -> Any:
    """The error in units in the last place of the correctly rounded float32; 0 where both are NaN or equal, else inf at specials."""
    with np.errstate(all="ignore"):
        rounded = want.astype(np.float32)
        unit = np.maximum(np.abs(np.spacing(np.minimum(np.abs(rounded), np.float32(3.4e38)))), np.float32(2.0**-149)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - want) / unit
        finite = np.isfinite(rounded) & np.isfinite(got)
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(same, np.where(finite, error, 0), np.where(finite, error, np.inf))


def accuracy(lib: Library, name: str, step: int = 1 << 14) -> tuple[float, float, float]:
    """The largest error of a float32 function, its argument, and the share of correctly rounded results."""
    x = points(name, step)
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name](x.astype(np.float64))
    got = lib(f"f32_{name}", x, out=np.float32)
    error = ulps(got, want)
    worst = int(np.argmax(error))
    with np.errstate(all="ignore"):
        right = float(np.mean((got == want.astype(np.float32)) | np.isnan(got)))
    return float(error[worst]), float(x[worst]), right


def power_points(step: int = 1 << 14) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    n = (1 << 32) // step
    x, y = rng.integers(0, 1 << 32, (2, n), dtype=np.uint64).astype(np.uint32).view(np.float32)
    u, v = np.exp(rng.uniform(-20, 20, n)), rng.uniform(-8, 8, n)
    near, big = 1 + rng.uniform(-1e-3, 1e-3, n), rng.uniform(-9e4, 9e4, n)
    special = np.array([0, 1, 2, 3, 0.5, 1.5, np.inf, np.nan, 1e-40, 3e38, 16777215.0, 16777216.0, 2.5], np.float32)
    special = np.concatenate([special, -special])
    a, b = (m.ravel() for m in np.meshgrid(special, special))
    with np.errstate(all="ignore"):
        return tuple(np.concatenate(p).astype(np.float32) for p in ((x, u, near, a), (y, v, big, b)))  # type: ignore[return-value]


def power_accuracy(lib: Library, step: int = 1 << 14) -> tuple[float, float, float]:
    x, y = power_points(step)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
        got = lib("f32_pow", x, y, out=np.float32)
        error = ulps(got, want)
        return float(error.max()), float(x[error.argmax()]), float(np.mean((got == want.astype(np.float32)) | np.isnan(got)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(lib: Library, name: str) -> None:
    error, where, _ = accuracy(lib, name)
    assert error <= REGISTRY[name].ulp["float32"], f"{name}({where!r}) is {error} ulp off"


def test_pow(lib: Library) -> None:
    error, where, _ = power_accuracy(lib)
    assert error <= REGISTRY["pow"].ulp["float32"], f"pow({where!r}, …) is {error} ulp off"
    x, y = power_points(1 << 20)
    with np.errstate(all="ignore"):
        got, want = lib("f32_pow", x, y, out=np.float32), np.power(x.astype(float), y.astype(float)).astype(np.float32)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got[number]), np.signbit(want[number]))


@pytest.mark.parametrize("name", ["exp", "expm1", "log1p", "sin", "tan", "tanh", "erf", "floor", "rint", "round", "trunc", "sqrt"])
def test_signed_zero(lib: Library, name: str) -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    with np.errstate(all="ignore"):
        assert np.array_equal(np.signbit(lib(f"f32_{name}", zeros, out=np.float32)), np.signbit({**FUNCTIONS, **EXACT}[name](zeros)))


@pytest.mark.parametrize("name", EXACT)
def test_exact(lib: Library, name: str) -> None:
    for prefix, dtype in (("f32", np.float32), ("f64", np.float64)):
        with np.errstate(all="ignore"):
            x = np.concatenate([patterns(1 << 14), np.arange(-40, 40) / 4, [0.49999997, 8388609.5, 0.49999999999999994]]).astype(dtype)
            np.testing.assert_array_equal(lib(f"{prefix}_{name}", x, out=dtype), EXACT[name](x))


def test_double_functions(lib: Library) -> None:
    x = np.linspace(0.1, 3, 1000)
    for name, fn in FUNCTIONS.items():
        np.testing.assert_allclose(lib(f"f64_{name}", x, out=float), fn(x), rtol=1e-15)
    np.testing.assert_allclose(lib("f64_pow", x, x, out=float), x**x, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_pairs(lib: Library, dtype: Any) -> None:
    prefix = {np.float32: "f32", np.float64: "f64"}[dtype]
    rng = np.random.default_rng(1)
    x: Any = np.concatenate([[np.nan, 1, np.nan, np.inf, -np.inf, 0, -2.5], rng.normal(size=999)]).astype(dtype)
    y = np.roll(x, 1)
    with np.errstate(all="ignore"):
        binary: dict[str, Any] = {"fmin": np.fmin, "fmax": np.fmax, "copysign": np.copysign, "fmod": np.fmod}
        for name, fn in binary.items():
            np.testing.assert_array_equal(lib(f"{prefix}_{name}", x, y, out=dtype), fn(x, y), err_msg=name)
    for name, fn in {"isinf": np.isinf, "isfinite": np.isfinite}.items():
        np.testing.assert_array_equal(lib(f"{prefix}_{name}", x, out=bool), fn(x))
    z = np.roll(x, 2)
    with np.errstate(all="ignore"):
        got = lib(f"{prefix}_fma", x, y, z, out=dtype)
    for a, b, c, r in zip(x[7:], y[7:], z[7:], got[7:], strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)) if np.isfinite([a, b, c]).all() else None
        assert exact is None or abs(Fraction(float(r)) - exact) <= Fraction(float(np.spacing(abs(r)))) / 2


INT_TYPES = dt.INTS


def integers(d: dt.DType, seed: int = 0) -> Any:
    low, high = d.range()
    rng = np.random.default_rng(seed)
    edges = [low, low + 1, high, high - 1, 0, 1, 2, 3, 7, 100, high // 2, high // 3]
    edges += [-1, -2, -3, -7, low // 2] if d.is_signed else []
    wide = rng.integers(low, high, 2000, dtype=d.compute, endpoint=True)
    shifts = rng.integers(0, d.bits, 2000).astype(d.compute)
    return np.concatenate([np.array(edges, d.compute), wide, wide >> shifts])


@pytest.mark.parametrize("d", INT_TYPES, ids=str)
def test_integers(lib: Library, d: dt.DType) -> None:
    x = integers(d)
    y = np.random.default_rng(3).permutation(x)
    low, _ = d.range()
    a, b = (m.ravel() for m in np.meshgrid(x[:17], x[:17]))
    x, y = np.concatenate([x, a]), np.concatenate([y, b])
    with np.errstate(all="ignore"):
        quotient, remainder = _trunc_div(x, y), _trunc_mod(x, y)
        if d.is_signed:  # np.fmod of (smallest, -1) is undefined in C, too
            edge = (x == low) & (y == -1)
            quotient, remainder = np.where(edge, low, quotient), np.where(edge, 0, remainder)
        np.testing.assert_array_equal(lib(f"{d.short}_idiv", x, y, out=d.compute), quotient)
        np.testing.assert_array_equal(lib(f"{d.short}_imod", x, y, out=d.compute), remainder)
        if d.bits >= 32:
            np.testing.assert_array_equal(lib(f"{d.short}_mulhi", x, y, out=d.compute), _umulhi(x, y))
        if d is dt.int32:
            np.testing.assert_array_equal(lib("i32_div7", x, out=np.int32), _trunc_div(x, np.full_like(x, -7)))


def float_samples() -> Any:
    """float32 values around every rounding and saturation edge of every narrower type."""
    halves = np.arange(1 << 16, dtype=np.uint16)
    h = halves.view(np.float16).astype(np.float32)
    b = (halves.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(all="ignore"):
        mid = [(v[:-1].astype(np.float64) + v[1:]) / 2 for v in (h, b)]
        base = np.concatenate([h, b, *mid]).astype(np.float32)
    bits = base.view(np.uint32)
    powers = np.concatenate([s * 2.0 ** np.arange(0, 66) + o for s in (1, -1) for o in (-1, -0.5, 0, 0.5, 1)]).astype(np.float32)
    return np.concatenate([base, (bits + 1).view(np.float32), (bits - 1).view(np.float32), powers, patterns(1 << 16)])


def sources(d: dt.DType) -> tuple[Any, Any]:
    """(storage, values) of a type."""
    if d.is_bool:
        x = np.array([False, True])
    elif d.is_half:
        bits = np.arange(1 << 16, dtype=np.uint16)
        x = bits if d is dt.bfloat16 else bits.view(np.float16)
    elif d.is_float:
        x = float_samples()[:: 1 if d is dt.float32 else 3]
        if d is dt.float64:
            with np.errstate(all="ignore"):
                wide = x.astype(np.float64)
                x = np.concatenate([wide, np.nextafter(wide, np.inf), np.nextafter(wide, -np.inf)])
    else:
        x = integers(d)
        if d.bits >= 32:  # ties of the half types, one more and one less
            ties = np.array([(2 * k + 1) << s for k in (128, 129, 255, 1024, 1025, 2047) for s in range(d.bits - 13)], dtype=d.compute)
            x = np.concatenate([x, ties, ties + 1, ties - 1, np.bitwise_not(ties) if d.is_signed else ties])
    return x, dt.decode(x, d)


def same_bits(got: Any, want: Any, d: dt.DType, message: str) -> None:
    if d.is_float:
        values, wanted = dt.decode(got, d), dt.decode(want, d)
        nan = np.isnan(values) & np.isnan(wanted)
        word = {16: np.uint16, 32: np.uint32, 64: np.uint64}[d.bits]
        np.testing.assert_array_equal(np.where(nan, 0, got.view(word)), np.where(nan, 0, want.view(word)), err_msg=message)
    else:
        np.testing.assert_array_equal(got, want, err_msg=message)


@pytest.mark.parametrize("source", dt.ALL, ids=str)
def test_casts(lib: Library, source: dt.DType) -> None:
    storage, values = sources(source)
    for to in dt.ALL:
        for prefix, rounding in (("cast", "rtne"), ("castz", "rtz")):
            if rounding == "rtz" and not hasattr(lib.so, f"castz_{source.short}_{to.short}"):
                continue
            with np.errstate(all="ignore"):
                want = dt.encode(cast_array(values, source, to, rounding), to)
            got = lib(f"{prefix}_{source.short}_{to.short}", storage, out=to.storage)
            same_bits(got, want, to, f"{source} -> {to}, {rounding}")


@pytest.mark.parametrize("d", [dt.int32, dt.uint32, dt.int64, dt.uint64, dt.float16, dt.bfloat16, dt.float32, dt.float64], ids=str)
def test_atomics(lib: Library, d: dt.DType) -> None:
    rng = np.random.default_rng(5)
    values = (rng.normal(size=50) * 10 if d.is_float else rng.integers(0, 1000, 50)).astype(d.compute)
    if d.is_float:
        values[7] = np.nan
    x = dt.encode(values, d)
    values = dt.decode(x, d)
    steps: dict[str, Any] = {"add": np.add, "min": np.fmin, "max": np.fmax, "xchg": lambda a, b: b}
    if d.is_int:
        steps |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    for name, step in steps.items():
        start = dt.encode(np.array([3], d.compute), d)
        cell, state, old = start.copy(), dt.decode(start, d)[0], []
        for v in values if name == "xchg" else np.nan_to_num(values) if name == "add" else values:
            old.append(state)
            state = dt.decode(dt.encode(np.array([step(state, v)]).astype(d.compute), d), d)[0]
        given = dt.encode(np.nan_to_num(values), d) if name == "add" else x
        out = np.empty_like(x)
        getattr(lib.so, f"atomic_{d.short}_{name}")(*(a.ctypes.data_as(ctypes.c_void_p) for a in (cell, given, out)), ctypes.c_long(50))
        np.testing.assert_array_equal(dt.decode(out, d), np.array(old), err_msg=name)
        np.testing.assert_array_equal(dt.decode(cell, d)[0], state, err_msg=name)
    if d.bits >= 32:
        cell = np.array([1], d.storage)
        compare, value = np.array([1, 1, 5, 2], d.storage), np.array([5, 9, 2, 7], d.storage)
        out = np.empty_like(value)
        getattr(lib.so, f"cas_{d.short}")(*(a.ctypes.data_as(ctypes.c_void_p) for a in (cell, compare, value, out)), ctypes.c_long(4))
        assert out.tolist() == [1, 5, 5, 2] and cell[0] == 7


def test_print(lib: Library) -> None:
    lines: list[tuple[int, str]] = []
    report = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p)(lambda kind, text: lines.append((kind, text.decode())))
    lib.so.print_all(report)
    assert lines == [
        (0, "pid (1, 2, 3) idx (3, 4) x: -5"),
        (0, "pid (1, 2, 3) idx (3) x: 0xffffffff"),
        (0, "pid (1, 2, 3) idx (3) x: 0xc8"),
        (0, "pid (1, 2, 3) idx () x: 1"),
        (0, "pid (0, 0, 0) idx () x: 0.1"),
        (0, "pid (0, 0, 0) idx () x: 0.1"),
        (0, "pid (0, 0, 0) idx () x: -inf"),
        (0, "pid (0, 0, 0) idx () x: 1.5"),
        (0, f"pid (0, 0, 0) idx () x: {2**64 - 1}"),
        (0, f"pid (0, 0, 0) idx () x: {1 << 40}"),
        (0, "pid (4, 5, 6) here"),
        (1, "device assertion failed at element (3,): must be positive (program (1, 2, 3))"),
    ]


DOC = """# Accuracy of elementary functions

Errors against the correctly rounded result, in units in the last place (ulp) of float32; 0.5 is correct rounding. *promised*
is what every target is held to by the generated tests. *measured* is the largest error that the host target's functions showed
over {count} points each: float32 bit patterns {step} apart, so all magnitudes, infinities, NaN and subnormals, plus dense points
where the function varies. Float16 and bfloat16 are computed in float32 and rounded once more; float64 calls the C library.
The bounds follow from the arithmetic, not from the machine: `FMA` and `no FMA` are the two ways in which products and sums
are rounded. Measured with {compilers}.

This file is written by `python tests/unit/test_prelude_host.py`.

| function | promised | measured, FMA | measured, no FMA | correctly rounded, FMA |
|---|---|---|---|---|
"""


def rows(libs: list[Library], step: int) -> Iterator[str]:
    for name in (*FUNCTIONS, "pow"):
        found = [power_accuracy(lib, step) if name == "pow" else accuracy(lib, name, step) for lib in libs]
        yield f"| {name} | {REGISTRY[name].ulp['float32']} | {found[0][0]:.2f} | {found[1][0]:.2f} | {found[0][2]:.1%} |"


def main(step: int = 1 << 8) -> None:
    with tempfile.TemporaryDirectory() as folder:
        libs = [Library("g++", arch, Path(folder)) for arch in ("-march=native", f"-march={BASELINE}")]
        version = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
        text = DOC.format(count=f"{len(points('exp', step)) / 1e6:.0f} million", step=step, compilers=f"g++ {version}")
        (ROOT / "docs/accuracy.md").write_text(text + "\n".join(rows(libs, step)) + "\n")


if __name__ == "__main__":
    main()
