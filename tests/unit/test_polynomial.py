"""Tiles of addresses as planes over a kernel's scalars."""

from __future__ import annotations

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.ir.core import Value
from zmlx.ir.parser import parse
from zmlx.ir.types import Type
from zmlx.ops.registry import REGISTRY
from zmlx.passes.polynomial import MOST_TERMS, ZERO, Plane, Polynomial, plane

A, B, C = (Value(Type(dt.int32), None, name) for name in "abc")


def p(*terms: tuple[int, tuple[Value, ...]]) -> Polynomial:
    return Polynomial.of((m, f) for f, m in terms)


def test_arithmetic() -> None:
    x, y = p((2, (A,)), (3, ())), p((1, (A,)), (-1, (B,)))
    assert (x + y).terms == {(A,): 3, (): 3, (B,): -1}
    assert x - x == ZERO and (x - x).known == 0
    assert (x * y) == p((2, (A, A)), (-2, (A, B)), (3, (A,)), (-3, (B,)))
    assert p((1, (A, B))) - p((1, (B, A))) == ZERO, "the order of a product does not matter"
    assert Polynomial.constant(7).known == 7 and x.known is None


def test_growth() -> None:
    steps = {A: Polynomial.constant(64), B: p((64, (C,)))}

    def by(v: Value) -> Polynomial | None:
        return steps.get(v, ZERO)

    assert p((3, (A,)), (1, (C,))).growth(by) == Polynomial.constant(192)
    assert (p((1, (B,))) - p((1, (A, C)))).growth(by) == ZERO, "an offset that grows by the stride, less as many rows"
    assert p((1, (A, B))).growth(by) is None, "a product of two that grow"
    assert p((1, (A,))).growth(lambda v: None) is None


@zmlx.jit
def address_kernel(x_ptr, out_ptr, base, stride, FORM: tl.constexpr):
    rows, cols = base * 4 + tl.arange(0, 8), tl.arange(0, 16)
    if FORM == "plain":
        offsets = rows[:, None] * stride + cols[None, :] * 2 + (7 - base)
    elif FORM == "wide":
        offsets = (rows.to(tl.int64)[:, None] - 1) * stride + cols[None, :]
    elif FORM == "turned":
        offsets = tl.trans(cols[:, None] * stride - rows[None, :])
    elif FORM == "product":
        offsets = rows[:, None] * cols[None, :]
    elif FORM == "modulo":
        offsets = (rows % stride)[:, None] + cols[None, :]
    elif FORM == "narrow":
        offsets = rows.to(tl.int8).to(tl.int32)[:, None] + cols[None, :]
    else:
        offsets = tl.load(x_ptr + rows)[:, None].to(tl.int32) + cols[None, :]
    tl.store(out_ptr + rows[:, None] * 16 + cols[None, :], tl.load(x_ptr + offsets))


def address(form: str) -> tuple[Plane | None, Value, Value]:
    x = zmlx.ArraySpec((4096,), mx.float32)
    fn = parse(address_kernel.compile(x, x, 5, 7, FORM=form, target="interpret").tile_ir, REGISTRY)
    load = [op for op in fn.walk() if op.name == "load"][-1]
    by_name = {q.name: q.value for q in fn.params}
    return plane(load.operands[0]), by_name["base"], by_name["stride"]


def test_planes() -> None:
    found, base, stride = address("plain")
    assert found is not None and found.root is not None
    assert found.steps == (p((1, (stride,))), Polynomial.constant(2))
    assert found.start == p((4, (base, stride)), (7, ()), (-1, (base,)))
    found, base, stride = address("wide")
    assert found is not None and found.start == p((4, (base, stride)), (-1, (stride,)))
    found, base, stride = address("turned")
    assert found is not None and found.steps == (Polynomial.constant(-1), p((1, (stride,)))) and found.start == p((-4, (base,)))


@pytest.mark.parametrize("form", ["product", "modulo", "narrow", "loaded"])
def test_what_is_no_plane(form: str) -> None:
    assert address(form)[0] is None


def test_long_sums_are_given_up() -> None:
    many = [Value(Type(dt.int32), None, f"v{i}") for i in range(MOST_TERMS + 1)]
    assert len(Polynomial.of(((v,), 1) for v in many).terms) == MOST_TERMS + 1
