"""Keys and arguments of launches."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.errors import ArgumentError, ArrayError
from zmlx.frontend.source import ArrayArg, ConstexprArg, ScalarArg
from zmlx.runtime import fresh, signature
from zmlx.runtime.signature import ArraySpec, bind


def bound(v, *, is_constexpr: bool = False, specialize: bool = True, target: str = "cpu", guarded: bool = False):
    return bind("p", v, is_constexpr=is_constexpr, specialize=specialize, target=target, guarded=guarded)


@pytest.mark.parametrize(
    ("value", "arg"),
    [
        (True, ScalarArg(dt.int1)),
        (0, ScalarArg(dt.int32, 16)),
        (1, ConstexprArg(1)),
        (2, ScalarArg(dt.int32)),
        (-16, ScalarArg(dt.int32, 16)),
        (2**31 - 1, ScalarArg(dt.int32)),
        (2**31, ScalarArg(dt.int64, 16)),
        (-(2**31), ScalarArg(dt.int32, 16)),
        (-(2**31) - 1, ScalarArg(dt.int64)),
        (2**63, ScalarArg(dt.uint64, 16)),
        (2**64 - 1, ScalarArg(dt.uint64)),
        (1.0, ScalarArg(dt.float32)),
        (np.int8(3), ScalarArg(dt.int32)),
        (np.float64(3), ScalarArg(dt.float32)),
        (None, ConstexprArg(None)),
        ("mode", ConstexprArg("mode")),
        (mx.float16, ConstexprArg(dt.float16)),
        (dt.int8, ConstexprArg(dt.int8)),
        ((1, (mx.int8, "x")), ConstexprArg((1, (dt.int8, "x")))),
    ],
    ids=repr,
)
def test_arguments(value, arg) -> None:
    assert bound(value).arg == arg


def test_held_integers_keep_their_width_only() -> None:
    assert [bound(v, specialize=False).arg for v in (1, 16, 7)] == [ScalarArg(dt.int32)] * 3
    assert bound(2**40, specialize=False).arg == ScalarArg(dt.int64)


def test_alignment_is_promised_only_where_it_holds() -> None:
    x, out = mx.zeros((4,)), fresh.empty((4,))
    assert bound(x).arg == bound(out).arg == ArrayArg(dt.float32, 1)
    for target in ("metal", "cuda"):
        assert bound(x, target=target).arg == ArrayArg(dt.float32, 1)  # it may be a view
        assert bound(out, target=target).arg == ArrayArg(dt.float32, 16)
        assert bound(x, target=target, guarded=True).arg == ArrayArg(dt.float32, 16)


def test_freshness() -> None:
    assert not bound(mx.zeros((4,))).fresh
    assert bound(fresh.empty((4,))).fresh and not bound(fresh.empty((4,))).zeroed
    assert bound(fresh.zeros((4,))).zeroed and not bound(fresh.full((4,), 2.0)).fresh
    assert bound(ArraySpec((4,), "int8")).fresh and not bound(ArraySpec((4,), "int8", fresh=False)).fresh


def test_keys_tell_apart_what_needs_its_own_kernel() -> None:
    numbers = [True, 1, 2, 16, 2**40, 2**40 + 1, 2**63, 1.5]
    assert len({signature.key(v) for v in numbers}) == len(numbers)
    assert signature.key(2) == signature.key(3) == signature.key(np.int32(5))
    arrays = [mx.zeros((2,)), mx.zeros((2,), mx.int32), fresh.empty((2,)), fresh.zeros((2,))]
    assert len({signature.key(a) for a in arrays}) == len(arrays)
    constants = [1, True, 1.0, 0.0, -0.0, "1", None, (1,), (True,), ((1,),), mx.int8, dt.int16, b"1"]
    assert len({signature.constant_key(v) for v in constants}) == len(constants)
    assert signature.constant_key(mx.int8) == signature.constant_key(dt.int8)


def test_refusals_name_the_parameter() -> None:
    for value, error, words in (
        (np.zeros(3), ArrayError, r"p is a numpy ndarray.*mx\.array\(p\)"),
        ([1, 2], ArrayError, "p is a list"),
        (mx.zeros((2,), mx.complex64), ArrayError, "p is a .*complex64"),
        ({}, ArgumentError, "p is a dict"),
        ((1, []), ArgumentError, "p is a tuple"),
    ):
        with pytest.raises(error, match=words):
            bound(value)
    with pytest.raises(ArgumentError, match="p is a constexpr, got an array"):
        bound(mx.array(3), is_constexpr=True)
    with pytest.raises(ArrayError, match="float64"):
        bound(ArraySpec((2,), "float64"), target="metal")


def test_descriptions_are_stable_text() -> None:
    args = {"x": bound(mx.zeros((4,))).arg, "n": bound(16).arg, "d": bound(dt.int8).arg, "k": bound((1, True, -0.0)).arg}
    text = "x: array float32/1; n: scalar int32/16; d: constexpr DType int8; k: constexpr (int 1, bool True, float -0.0)"
    assert signature.describe(args) == text
