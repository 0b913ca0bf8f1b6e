"""Axis analysis: facts on known patterns, and every fact of random programs against the values the interpreter sees."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_ir import GRID, Generator, buffers, scalars

from zmlx.interp.memory import SHIFT
from zmlx.interp.tile import run
from zmlx.ir.core import Op, Value
from zmlx.ir.parser import parse
from zmlx.ir.types import Type
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY
from zmlx.passes import pipeline
from zmlx.passes.axis import AxisInfo, analyse


class Overflow(Exception):
    """An index left its range, which the analysis takes for impossible."""


def facts(body: str) -> dict[str, AxisInfo]:
    head = "kernel k(%p: *f32 {divisibility = 16}, %q: *f16, %n: i32 {divisibility = 16}, %m: i32) {\n"
    fn = parse(head + body + "\n  return\n}\n", REGISTRY)
    verify(fn)
    return {v.name: info for v, info in analyse(fn).items() if v.name}


START = """
  %pid = program_id {axis = 0} : i32
  %block = constant {value = 64, type = i32} : i32
  %first = mul %pid, %block : i32
  %firsts = splat %first {shape = (64)} : 64xi32
  %lane = arange {start = 0, end = 64} : 64xi32
  %offs = add %firsts, %lane : 64xi32
"""


def test_streaming_pattern() -> None:
    """ptr + pid * 64 + arange with mask offs < n: vectors of 16 bytes and a mask of 16."""
    got = facts(
        START
        + """
  %ns = splat %n {shape = (64)} : 64xi32
  %mask = lt %offs, %ns : 64xi1
  %base = splat %p {shape = (64)} : 64x*f32
  %ptr = addptr %base, %offs : 64x*f32
  %ms = splat %m {shape = (64)} : 64xi32
  %ragged = lt %offs, %ms : 64xi1"""
    )
    assert got["offs"].contiguity == (64,) and got["offs"].divisibility == (64,) and got["offs"].nonneg
    assert got["mask"].constancy == (16,)
    assert got["ptr"] == AxisInfo((64,), (16,), (1,), None, False)
    assert got["ragged"].constancy == (1,)


def test_rows_of_a_matrix() -> None:
    """ptr + rows[:, None] * n + cols[None, :]."""
    got = facts(
        """
  %r = arange {start = 0, end = 8} : 8xi32
  %c = arange {start = 0, end = 32} : 32xi32
  %rows = expand_dims %r {axis = 1} : 8x1xi32
  %cols = expand_dims %c {axis = 0} : 1x32xi32
  %ns = splat %n {shape = (8, 1)} : 8x1xi32
  %start = mul %rows, %ns : 8x1xi32
  %start2 = broadcast %start {shape = (8, 32)} : 8x32xi32
  %cols2 = broadcast %cols {shape = (8, 32)} : 8x32xi32
  %offs = add %start2, %cols2 : 8x32xi32
  %base = splat %q {shape = (8, 32)} : 8x32x*f16
  %ptr = addptr %base, %offs : 8x32x*f16
  %tr = trans %ptr {order = (1, 0)} : 32x8x*f16"""
    )
    assert got["start2"].constancy == (1, 32) and got["start2"].divisibility == (16, 16)
    assert got["cols2"].contiguity == (1, 32) and got["cols2"].constancy == (8, 1)
    assert got["offs"].contiguity == (1, 32) and got["offs"].divisibility[1] == 16
    assert got["ptr"].contiguity == (1, 32) and got["ptr"].divisibility == (1, 1)
    assert got["tr"].contiguity == (32, 1)


def test_quotient_and_remainder() -> None:
    got = facts(
        START
        + """
  %c = constant {value = 16, type = i32} : i32
  %cs = splat %c {shape = (64)} : 64xi32
  %quot = floordiv %offs, %cs : 64xi32
  %rem = mod %offs, %cs : 64xi32
  %low = and %offs, %cs : 64xi32
  %signed = sub %offs, %cs : 64xi32
  %quot2 = floordiv %signed, %cs : 64xi32"""
    )
    assert got["quot"].constancy == (16,) and got["quot"].contiguity == (1,)
    assert got["rem"].contiguity == (16,) and got["rem"].divisibility == (16,)
    assert got["quot2"].constancy == (1,), "division towards zero is not constant around zero"


def test_hints_and_constants() -> None:
    got = facts(
        """
  %h = hint %m {kind = "multiple_of", values = (24)} : i32
  %a = constant {value = 12, type = i32} : i32
  %b = constant {value = 4, type = i32} : i32
  %prod = mul %a, %b : i32
  %less = lt %b, %a : i1"""
    )
    assert got["h"].divisibility == (8,)
    assert got["prod"].constant == 48 and got["prod"].divisibility == (16,)
    assert got["less"].constant == 1


def test_loop_carried_pointer() -> None:
    """A pointer that advances by 32 elements keeps 16 bytes; one that advances by m keeps its contiguity alone."""
    body = START + "\n".join(
        f"""
  %base{i} = splat %p {{shape = (64)}} : 64x*f32
  %ptr{i} = addptr %base{i}, %lane : 64x*f32
  %zero{i} = constant {{value = 0, type = i32}} : i32
  %step{i} = constant {{value = 1, type = i32}} : i32
  %inc{i} = {by}
  %incs{i} = splat %inc{i} {{shape = (64)}} : 64xi32
  %end{i} = for %zero{i}, %n, %step{i}, %ptr{i} : 64x*f32 {{
  ^(%i{i}: i32, %cur{i}: 64x*f32):
    %next{i} = addptr %cur{i}, %incs{i} : 64x*f32
    yield %next{i}
  }}"""
        for i, by in enumerate(("constant {value = 32, type = i32} : i32", "add %m, %m : i32"))
    )
    got = facts(body)
    assert got["cur0"] == got["end0"] == AxisInfo((64,), (16,), (1,), None, False)
    assert got["cur1"].contiguity == (64,) and got["cur1"].divisibility == (4,)


def check(v: Value, info: AxisInfo, x: np.ndarray) -> None:
    """Every claim about a value holds of the numbers it is."""
    t = v.type
    assert isinstance(t, Type)
    size = t.elem.elem.itemsize if t.is_pointer else 1  # type: ignore[union-attr]
    x = np.broadcast_to(x, t.shape).reshape(t.shape or (1,))
    bits = 64 if t.is_pointer else max(8, t.dtype.bits)
    number = x.astype(object) if x.dtype != bool else x.astype(int).astype(object)
    if t.is_pointer:  # divisibility is that of the offset in its buffer, whose base is aligned
        half = 1 << (SHIFT - 1)
        number = ((x.astype(np.int64) + half & (2 * half - 1)) - half).astype(object)
    if info.constant is not None:
        assert (number == info.constant).all(), f"{v} is not {info.constant}"
    if info.nonneg:
        assert (number >= 0).all(), f"{v} is negative"
    for d, n in enumerate(x.shape):
        lines = np.moveaxis(number, d, -1).reshape(-1, n)
        c, k, q = info.contiguity[d], info.constancy[d], info.divisibility[d]
        assert c <= n and k <= n
        groups = lines.reshape(-1, c)
        assert not ((groups - groups[:, :1] - np.arange(c) * size) % (1 << bits)).any(), f"{v}: contiguity {info} of {x}"
        assert not (groups[:, 0] % q).any(), f"{v}: divisibility {info} of {x}"
        same = lines.reshape(-1, k)
        assert (same == same[:, :1]).all(), f"{v}: constancy {info} of {x}"


def overflows(op: Op, operands: list[np.ndarray], result: np.ndarray) -> bool:
    wide = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b}.get(op.name)
    t = op.results[0].type
    if wide is None or t.is_pointer or t.dtype.bits < 32 or t.dtype.is_float:  # type: ignore[union-attr]
        return False
    exact = wide(*(x.astype(object) for x in operands))
    return bool((exact != result.astype(object)).any())


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(4, 25), st.booleans())
def test_facts_hold(seed: int, size: int, optimised: bool) -> None:
    fn = Generator(random.Random(seed), indices=True).function(size)
    if optimised:
        pipeline.optimize(fn)
    known = analyse(fn)
    missing = [v for op in fn.walk() for v in op.results if v not in known and (v.type.is_pointer or v.type.dtype.is_int)]  # type: ignore[union-attr]
    assert not missing

    def trace(op: Op, operands: list[np.ndarray], results: list[np.ndarray]) -> None:
        if op.results and overflows(op, operands, results[0]):
            raise Overflow
        for v, x in zip(op.results, results, strict=True):
            if v in known:
                check(v, known[v], x)

    try:
        run(fn, buffers(seed, indices=True), scalars(), GRID, trace=trace)
    except Overflow:
        assume(False)
