"""Elementary functions of floats.

`ulp` is the promised error against the correctly rounded result; the generated tests hold every target to it. Half
types are computed in float32 and rounded once, so they are within one unit of their own last place.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from zmlx.ops.arith import add, neg
from zmlx.ops.compare import lt, select
from zmlx.ops.index import constant
from zmlx.ops.registry import define
from zmlx.ops.typing import same

EW = "elementwise pure "
TR = EW + "transcendental "
_erf = np.vectorize(math.erf, otypes=[np.float64])
WIDE = (-1e30, -90.0, -20.0, -3.5, -0.7, -1e-6, 1e-30, 1e-6, 0.3, 0.9, 1.5, 7.0, 20.0, 80.0, 1e4, 1e30)


def _unary(name: str, fn: Any, c: str, ulp: float, doc: str, traits: str = TR, **rest: Any) -> Any:
    """A float function that CUDA and the host's prelude know under its C name `c`."""
    spell = {
        ("cuda", "float32"): f"{c}f({{0}})",
        ("cuda", "float64"): f"{c}({{0}})",
        ("host", "float"): f"zm_{c}({{0}})",
        ("metal", "float32"): f"metal::{'precise::' if ulp or c == 'sqrt' else ''}{c}({{0}})",
    }
    spell.update(rest.pop("spell", {}))
    bounds = {"float32": ulp, "float64": max(ulp, 2.0)} if ulp else {}
    return define(name, ("x",), same(1, "float"), numpy=fn, traits=traits, spell=spell, ulp=bounds, samples=WIDE, doc=doc, **rest)


exp = _unary("exp", np.exp, "exp", 2, "e to the power x")
exp2 = _unary(
    "exp2", np.exp2, "exp2", 2, "2 to the power x; on a GPU, a result below the smallest normal float32 may be 0", TR + " flushes",
    spell={("cuda", "float32"): "zm_exp2({0})"},
)  # fmt: skip
expm1 = _unary("expm1", np.expm1, "expm1", 4, "exp(x) - 1, precise near 0", spell={("metal", "float32"): "zm_expm1({0})"})
log = _unary("log", np.log, "log", 3, "natural logarithm; NaN below 0, -inf at 0")
log2 = _unary("log2", np.log2, "log2", 3, "logarithm to base 2")
log1p = _unary("log1p", np.log1p, "log1p", 4, "log(1 + x), precise near 0", spell={("metal", "float32"): "zm_log1p({0})"})
sin = _unary("sin", np.sin, "sin", 4, "sine of x in radians")
cos = _unary("cos", np.cos, "cos", 4, "cosine of x in radians")
tan = _unary("tan", np.tan, "tan", 8, "tangent of x in radians")
tanh = _unary("tanh", np.tanh, "tanh", 4, "hyperbolic tangent")
erf = _unary("erf", _erf, "erf", 4, "error function", spell={("metal", "float32"): "zm_erf({0})"})
sqrt = _unary("sqrt", np.sqrt, "sqrt", 0, "square root, correctly rounded", EW + "exact")
sqrt_rn = _unary("sqrt_rn", np.sqrt, "sqrt", 0, "square root, correctly rounded", EW + "exact")
rsqrt = _unary("rsqrt", lambda x: 1 / np.sqrt(x), "rsqrt", 2, "1 / sqrt(x)")
_X = EW + "cheap exact"
floor = _unary("floor", np.floor, "floor", 0, "the largest integer that is not above x", _X)
ceil = _unary("ceil", np.ceil, "ceil", 0, "the smallest integer that is not below x", _X)
trunc = _unary("trunc", np.trunc, "trunc", 0, "x without its fraction", _X)
rint = _unary("rint", np.rint, "rint", 0, "the nearest integer, ties to even", _X)


def _round_away(x: Any) -> Any:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x), whole).astype(x.dtype)


round_ = _unary("round", _round_away, "round", 0, "the nearest integer, ties away from zero", _X)
abs_ = define(
    "abs", ("x",), same(1), numpy=np.abs, traits=_X, doc="absolute value",
    spell={"c": "{0} < 0 ? -{0} : {0}", ("c", "uint"): "{0}", ("c", "bool"): "{0}", ("cuda", "float32"): "fabsf({0})",
           ("cuda", "float64"): "fabs({0})", ("metal", "float"): "metal::fabs({0})", ("host", "float"): "zm_fabs({0})"},
)  # fmt: skip


def _sigmoid(b: Any, op: Any, operands: Any) -> Any:
    """exp(min(x, 0)) / (1 + exp(-|x|)): the exponential never overflows, so small results keep their digits."""
    x = operands[0]
    one = b.value(constant, value=1.0, type=x.type.dtype)
    zero = b.value(constant, value=0.0, type=x.type.dtype)
    small = b.value(exp, b.value(neg, b.value(abs_, x)))
    return b.value(ratio, b.value(select, b.value(lt, x, zero), small, one), b.value(add, one, small))


# x / y for y from 1 to 2, within 2 units of the last place.
ratio = define(
    "ratio", ("x", "y"), same(2, "float"), numpy=lambda x, y: x / y, traits=EW, ulp={"float32": 2},
    spell={"c": "{0} / {1}", ("cuda", "float32"): "zm_ratio({0}, {1})"},
)  # fmt: skip


def _sigmoid_of(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


sigmoid = define(
    "sigmoid", ("x",), same(1, "float"), numpy=_sigmoid_of, traits=TR, expand=_sigmoid,
    ulp={"float32": 4, "float64": 4}, samples=WIDE, doc="1 / (1 + exp(-x))",
)  # fmt: skip
pow_ = define(
    "pow", ("x", "y"), same(2, "float"), numpy=np.power, traits=TR, ulp={"float32": 16, "float64": 4}, samples=WIDE,
    spell={("cuda", "float32"): "powf({0}, {1})", ("cuda", "float64"): "pow({0}, {1})", ("host", "float"): "zm_pow({0}, {1})",
           ("metal", "float32"): "zm_pow({0}, {1})"},
    doc="x to the power y, with C's special cases",
)  # fmt: skip


def _exact_fma(x: float, y: float, z: float) -> float:
    if math.isfinite(x) and math.isfinite(y):
        if not math.isfinite(z):
            return z
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if exact:
            try:
                return float(exact)
            except OverflowError:
                return math.inf if exact > 0 else -math.inf
    with np.errstate(all="ignore"):
        return float(np.float64(x) * np.float64(y) + np.float64(z))


_fma64 = np.vectorize(_exact_fma, otypes=[np.float64])


def _fma(x: Any, y: Any, z: Any) -> Any:
    if x.dtype.kind != "f":
        return x * y + z
    if x.dtype.itemsize == 8:
        return _fma64(x, y, z)
    # A float32 product is exact in float64. The sum is rounded to odd, so that the second rounding is right (Boldo &
    # Melquiond, Emulation of FMA and correctly rounded sums, 2008); what it lost is found by Knuth's TwoSum.
    p, c = x.astype(np.float64) * y, z.astype(np.float64)
    s = p + c
    v = s - p
    lost = (p - (s - v)) + (c - v)
    even = (np.asarray(s).view(np.int64) & 1) == 0
    return np.where(np.isfinite(s) & (lost != 0) & even, np.nextafter(s, np.copysign(np.inf, lost)), s).astype(x.dtype)


fma = define(
    "fma", ("x", "y", "z"), same(3), numpy=_fma, traits=EW + "cheap exact",
    spell={"c": "{0} * {1} + {2}", ("metal", "float"): "metal::fma({0}, {1}, {2})", ("cuda", "float32"): "fmaf({0}, {1}, {2})",
           ("cuda", "float64"): "fma({0}, {1}, {2})", ("host", "float"): "zm_fma({0}, {1}, {2})"},
    doc="x * y + z, rounded once for floats",
)  # fmt: skip
copysign = define(
    "copysign", ("x", "y"), same(2, "float"), numpy=np.copysign, traits=_X,
    doc="x with the sign of y; of a NaN y, whose sign a conversion may drop, either sign",
    spell={("cuda", "float32"): "copysignf({0}, {1})", ("cuda", "float64"): "copysign({0}, {1})", "metal": "metal::copysign({0}, {1})",
           "host": "zm_copysign({0}, {1})"},
)  # fmt: skip
