"""Every elementwise record of the registry × every element type: its reference semantics, identity and traits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import CompilationError, DtypeError
from zmlx.ir.core import Op, Value
from zmlx.ir.opdef import OpDef
from zmlx.ir.types import Type
from zmlx.ops import REGISTRY
from zmlx.ops.cast import bitcast_array, cast_array
from zmlx.ops.evaluate import evaluable, evaluate, round_to

FLOATS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -2.5, 3.5, 1e-3, 65504.0, 1e30, math.inf, -math.inf, math.nan, 6e-8, -300.7)


def values(d: DType) -> np.ndarray:
    """Special and ordinary values of a type, as the interpreter holds them."""
    if d is dt.int1:
        return np.array([False, True])
    if d.is_float:
        with np.errstate(all="ignore"):
            return round_to(np.array(FLOATS), d)
    low, high = d.range()
    return np.array(sorted({low, low + 1, high, high - 1, 0, 1, 2, 3, 7, 8, 100, *([-1, -2, -7] if d.is_signed else [])}), d.compute)


def pairs(d: DType) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.array(list(itertools.product(values(d), repeat=2)), values(d).dtype).T
    return x, y


def operand_types(defn: OpDef, d: DType, shape: tuple[int, ...]) -> list[Type]:
    t = Type(d, shape)
    return [t.with_elem(dt.int1), t, t] if defn.name == "select" else [t] * len(defn.operands)


def plain(name: str) -> bool:
    """Records whose semantics are a NumPy function of numbers."""
    defn = REGISTRY[name]
    return defn.elementwise and defn.numpy is not None and bool(defn.operands) and name not in ("addptr", "hint")


PLAIN = sorted(filter(plain, REGISTRY))
CASES = []
for _name in PLAIN:
    for _d in dt.ALL:
        try:
            REGISTRY[_name].type_rule(operand_types(REGISTRY[_name], _d, (4,)), {}, ())
        except CompilationError:
            continue
        CASES.append((_name, _d))


def apply(name: str, d: DType, *operands: np.ndarray) -> np.ndarray:
    defn = REGISTRY[name]
    types = operand_types(defn, d, operands[-1].shape)
    op = Op(defn, [Value(t) for t in types], defn.type_rule(types, {}, ()))
    with np.errstate(all="ignore"):
        return evaluate(op, operands)[0]


def operands_of(name: str, d: DType) -> list[np.ndarray]:
    x, y = pairs(d)
    count = len(REGISTRY[name].operands)
    if name == "select":
        return [np.arange(len(x)) % 2 == 0, x, y]
    if name in ("shl", "shr"):
        y = np.abs(y.astype(object) % d.bits).astype(y.dtype)
    return [x, y, y[::-1].copy()][:count]


@pytest.mark.parametrize(("name", "d"), CASES, ids=lambda c: str(c))
def test_reference(name: str, d: DType) -> None:
    """The right dtype and shape, for tiles and for scalars, which agree; rounded values of the type alone."""
    defn, operands = REGISTRY[name], operands_of(name, d)
    (result,) = defn.type_rule(operand_types(defn, d, operands[-1].shape), {}, ())
    out = apply(name, d, *operands)
    elem = result.elem
    assert isinstance(elem, DType)
    assert out.dtype == elem.compute and out.shape == operands[-1].shape
    if elem.is_float:
        np.testing.assert_array_equal(round_to(out, elem), out)
    if "transcendental" not in defn.traits:
        with np.errstate(all="ignore"):
            raw = defn.numpy(*operands)  # type: ignore[misc]
        assert np.asarray(raw).shape == out.shape
    for i in range(0, len(out), 61):
        one = apply(name, d, *(np.asarray(x[i]) for x in operands))
        assert one.shape == () and one.dtype == out.dtype
        # A vector loop of NumPy may round the last bit of a float64 function otherwise than its scalar loop.
        np.testing.assert_allclose(one, out[i], rtol=1e-15 if d is dt.float64 and "transcendental" in defn.traits else 0)


def exact(name: str, x: Any, y: Any, d: DType) -> int | None:
    """Python's own integers."""
    if name in ("floordiv", "mod"):
        if y == 0:
            return 0
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
        return quotient if name == "floordiv" else x - quotient * y
    table = {
        "add": x + y, "sub": x - y, "mul": x * y, "and": x & y, "or": x | y, "xor": x ^ y, "minimum": min(x, y),
        "maximum": max(x, y), "umulhi": (x * y) >> d.bits, "eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y,
        "ge": x >= y,
    }  # fmt: skip
    return table.get(name)


@pytest.mark.parametrize(("name", "d"), [(n, d) for n, d in CASES if d.is_int and exact(n, 1, 1, dt.int32) is not None], ids=str)
def test_integers_wrap_as_in_c(name: str, d: DType) -> None:
    x, y = pairs(d)
    out = apply(name, d, x, y)
    for a, b, got in zip(x.tolist(), y.tolist(), out.tolist(), strict=True):
        want = exact(name, int(a), int(b), d)
        assert want is not None
        if REGISTRY[name].has("compare"):
            assert got == want
        else:
            assert (int(got) - want) % (1 << d.bits) == 0, (name, d, a, b, got, want)


@pytest.mark.parametrize(("name", "d"), [(n, d) for n, d in CASES if REGISTRY[n].identity], ids=str)
def test_identity_is_neutral(name: str, d: DType) -> None:
    x = values(d)
    neutral = np.full_like(x, REGISTRY[name].identity(d))  # type: ignore[misc]
    for out in (apply(name, d, x, neutral), apply(name, d, neutral, x)):
        if name in ("minimum", "maximum"):  # which ignore NaN: the neutral element stays
            np.testing.assert_array_equal(out, np.where(np.isnan(x), neutral, x) if d.is_float else x)
        else:
            np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize(("name", "d"), [(n, d) for n, d in CASES if REGISTRY[n].has("commutative")], ids=str)
def test_commutes(name: str, d: DType) -> None:
    x, y = pairs(d)
    np.testing.assert_array_equal(apply(name, d, x, y), apply(name, d, y, x))


@pytest.mark.parametrize("d", dt.FLOATS, ids=str)
def test_floats_have_ieee_specials(d: DType) -> None:
    one = np.array([1.0], d.compute)
    zero, nan, inf = one - one, one * np.nan, one * np.inf
    assert np.isinf(apply("div", d, one, zero)) and np.isnan(apply("div", d, zero, zero))
    assert apply("minimum", d, nan, one) == 1 and apply("maximum", d, one, nan) == 1
    assert np.isnan(apply("minimum_nan", d, nan, one)) and np.isnan(apply("maximum_nan", d, one, nan))
    assert np.signbit(apply("neg", d, zero)) and np.signbit(apply("mul", d, zero, -one))
    assert not apply("eq", d, nan, nan) and apply("ne", d, nan, nan) and not apply("lt", d, nan, one)
    assert apply("exp", d, -inf) == 0 and np.isinf(apply("exp", d, inf)) and np.isnan(apply("log", d, -one))
    assert np.isnan(apply("sqrt", d, -one)) and apply("rsqrt", d, inf) == 0 and np.isinf(apply("log", d, zero))
    assert apply("rint", d, one * 2.5) == 2 and apply("round", d, one * 2.5) == 3 and apply("mod", d, -one * 3.5, one * 2) == -1.5


@pytest.mark.parametrize("to", dt.ALL, ids=str)
@pytest.mark.parametrize("source", dt.ALL, ids=str)
def test_cast(source: DType, to: DType) -> None:
    x = values(source)
    with np.errstate(all="ignore"):
        out = np.asarray(cast_array(x, source, to))
        down = np.asarray(cast_array(x, source, to, "rtz"))
    assert out.dtype == to.compute and out.shape == x.shape and down.dtype == to.compute
    for a, got in zip(x.tolist(), out.tolist(), strict=True):
        if to is dt.int1:
            assert got is (a != 0)
        elif to.is_int and source.is_float:
            low, high = to.range()
            assert got == (0 if math.isnan(a) else low if a <= low else high if a >= high else math.trunc(a))
        elif to.is_int:
            assert (got - int(a)) % (1 << to.bits) == 0
    if to.is_float:
        np.testing.assert_array_equal(round_to(out, to), out)
        if source.is_float and to.bits < source.bits:
            big, finite = np.abs(down.astype(np.float64)), np.isfinite(x)
            assert (big[finite] <= np.abs(x.astype(np.float64))[finite]).all(), "towards zero never grows"


def test_cast_rounds_once() -> None:
    """Through a narrower float on the way these would be rounded twice."""
    tie = 1 + 2.0**-8
    x = np.array([tie, tie + 2.0**-40, tie - 2.0**-40, -tie - 2.0**-40])
    got = cast_array(x, dt.float64, dt.bfloat16)
    np.testing.assert_array_equal(got, [1.0, 1 + 2.0**-7, 1.0, -1 - 2.0**-7])
    whole = np.array([(1 << 40) + (1 << 32) + 1], np.int64)
    assert cast_array(whole, dt.int64, dt.bfloat16)[0] == float((1 << 40) + (1 << 33))


@pytest.mark.parametrize(("a", "b"), [(a, b) for a in dt.ALL for b in dt.ALL if a.bits == b.bits], ids=str)
def test_bitcast_there_and_back(a: DType, b: DType) -> None:
    x = values(a)
    there = bitcast_array(x, a, b)
    assert there.dtype == b.compute
    back = bitcast_array(there, b, a)
    np.testing.assert_array_equal(dt.encode(back, a), dt.encode(x, a))


def test_every_record_is_well_formed() -> None:
    for name, defn in REGISTRY.items():
        assert name == defn.name
        if defn.elementwise:
            assert evaluable(Op(defn, [], [])), f"{name} has no reference semantics"
        assert not (defn.pure and defn.has("effect")), name
        assert not (defn.has("exact") and defn.has("transcendental")), name
        if defn.ulp:
            assert set(defn.ulp) <= {d.name for d in dt.FLOATS} and "float32" in defn.ulp, name
        for key in defn.spell:
            assert isinstance(key, str) or len(key) == 2, (name, key)


@pytest.mark.parametrize("name", PLAIN)
def test_type_rules_refuse_mixtures_with_a_remedy(name: str) -> None:
    defn = REGISTRY[name]
    count = len(defn.operands)
    if count == 1:
        return
    types = [Type(dt.float32, (4,)), Type(dt.int32, (4,)), Type(dt.float32, (4,))][:count]
    with pytest.raises(DtypeError) as caught:
        defn.type_rule(types, {}, ())
    assert caught.value.message
