"""Disjoint pointer tiles: claimed where they never meet, and never of two that meet, wrapped offsets included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zmlx.ir.core import Function, Value
from zmlx.ir.parser import parse
from zmlx.ir.types import Type
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY
from zmlx.passes import cse
from zmlx.passes.axis import analyse
from zmlx.passes.disjoint import Disjoint

SHAPE = (4, 8)
HEAD = "kernel k(%p: *f32, %q: *f32, %n: i32 {divisibility = 16}, %m: i32, %w: i64) {\n"


class Text:
    """Tile IR being written; every method returns the name of a new value."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put(self, op: str, type: str) -> str:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"  {name} = {op} : {type}")
        return name

    def number(self, value: int, wide: str = "i32") -> str:
        return self.put(f"constant {{value = {value}, type = {wide}}}", wide)

    def spread(self, scalar: str, elem: str = "i32") -> str:
        return self.put(f"splat {scalar} {{shape = {SHAPE}}}", f"4x8x{elem}")

    def index(self, dim: int, start: int = 0) -> str:
        n = SHAPE[dim]
        line = self.put(f"arange {{start = {start}, end = {start + n}}}", f"{n}xi32")
        shape = (n, 1) if dim == 0 else (1, n)
        thin = self.put(f"expand_dims {line} {{axis = {1 - dim}}}", f"{shape[0]}x{shape[1]}xi32")
        return self.put(f"broadcast {thin} {{shape = {SHAPE}}}", "4x8xi32")

    def flat(self) -> str:
        line = self.put("arange {start = 0, end = 32}", "32xi32")
        return self.put(f"reshape {line} {{shape = {SHAPE}}}", "4x8xi32")

    def turned(self, tile: str) -> str:
        """The elements of a tile at other places of it."""
        turned = self.put(f"trans {tile} {{order = (1, 0)}}", "8x4xi32")
        return self.put(f"reshape {turned} {{shape = {SHAPE}}}", "4x8xi32")

    def pointer(self, offset: str, elem: str = "i32", base: str = "%p") -> str:
        return self.put(f"addptr {self.spread(base, '*f32')}, {offset}", "4x8x*f32")

    def done(self) -> tuple[Function, dict[str, Value], Disjoint]:
        fn = parse(HEAD + "\n".join(self.lines) + "\n  return\n}\n", REGISTRY)
        verify(fn)
        named = {f"%{v.name}": v for op in fn.walk() for v in op.results} | {f"%{p.name}": p.value for p in fn.params}
        return fn, named, Disjoint(fn, analyse(fn))


def values(fn: Function, inputs: dict[str, Any]) -> dict[Value, Any]:
    """What each value is, by the reference semantics of the ops; pointers are offsets in elements."""
    out: dict[Value, Any] = {}
    for p in fn.params:
        t = p.value.type
        assert isinstance(t, Type)
        out[p.value] = np.int64(0) if t.is_pointer else np.array(inputs[p.name]).astype(t.dtype.compute)
    for op in fn.body.ops:
        if op.name == "load":
            out[op.result] = inputs["loaded"]
        elif op.name == "constant":
            out[op.result] = np.array(op.attrs["value"]).astype(op.attrs["type"].compute)
        elif op.name == "cast":
            out[op.result] = out[op.operands[0]].astype(op.attrs["to"].compute)
        elif op.results:
            assert op.defn.numpy is not None, op
            with np.errstate(all="ignore"):
                out[op.result] = op.defn.numpy(*(out[v] for v in op.operands), **op.attrs)
    return out


def meet(a: Any, b: Any) -> bool:
    return bool(set(np.ravel(a).tolist()) & set(np.ravel(b).tolist()))


NUMBERS = st.one_of(st.integers(-40, 40), st.sampled_from([64, 1 << 16, 1 << 30, (1 << 31) - 1, -(1 << 31), -(1 << 31) + 8]))
FACTORS = st.sampled_from([1, 1, 1, -1, -1, 2, 8, 16, 1 << 29, 1 << 30, -(1 << 31)])
WIDE = st.one_of(NUMBERS, st.sampled_from([1 << 32, (1 << 32) + 1, -(1 << 32) - 32, 1 << 61, 1 << 62]))
KINDS = ("row", "column", "flat", "scalar", "aligned", "row*scalar", "loaded", "turned", "turned loaded", "pair")


@st.composite
def terms(draw: st.DrawFn) -> list[tuple[str, int]]:
    return draw(st.lists(st.tuples(st.sampled_from(KINDS), FACTORS), max_size=4))


def tile(text: Text, parts: list[tuple[str, int]], constant: int) -> str:
    """The i32 tile: constant + Σ factor · part."""
    loaded = text.put(f"load {text.spread('%q', '*f32')}", "4x8xf32")
    loaded = text.put(f"cast {loaded} {{to = i32}}", "4x8xi32")
    row, column = text.index(0), text.index(1)
    made = {
        "row": lambda: row,
        "column": lambda: column,
        "flat": text.flat,
        "scalar": lambda: text.spread("%m"),
        "aligned": lambda: text.spread("%n"),
        "row*scalar": lambda: text.put(f"mul {row}, {text.spread('%n')}", "4x8xi32"),
        "loaded": lambda: loaded,
        "turned": lambda: text.turned(text.put(f"add {row}, {column}", "4x8xi32")),
        "turned loaded": lambda: text.turned(loaded),
        "pair": lambda: text.put(f"shl {column}, {text.spread(text.number(1))}", "4x8xi32"),
    }
    total = text.spread(text.number(constant))
    for kind, factor in parts:
        part = text.put(f"mul {made[kind]()}, {text.spread(text.number(factor))}", "4x8xi32")
        total = text.put(f"add {total}, {part}", "4x8xi32")
    return total


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    loaded = draw(st.lists(st.integers(-20, 20), min_size=32, max_size=32))
    n = draw(st.one_of(st.integers(-4, 4), st.integers(-(1 << 27), (1 << 27) - 1))) * 16
    return {"n": n, "m": draw(NUMBERS), "w": draw(WIDE), "loaded": np.array(loaded, np.float32).reshape(SHAPE)}


@given(st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_tiles_said_to_be_disjoint_never_meet(data: st.DataObject) -> None:
    text, first = Text(), data.draw(terms())
    again = st.permutations(first).map(lambda x: x[: data.draw(st.integers(0, len(x)))])
    second = data.draw(st.one_of(st.just(first), again, terms()))
    pointers = []
    for parts in (first, second):
        p = text.pointer(tile(text, parts, data.draw(NUMBERS)))
        if data.draw(st.booleans()):  # an offset of 64 bits behind that of 32
            wide = text.put(f"add {text.number(data.draw(WIDE), 'i64')}, %w", "i64")
            p = text.put(f"addptr {p}, {text.spread(wide, 'i64')}", "4x8x*f32")
        pointers.append(p)
    fn, named, disjoint = text.done()
    p, q = (named[x] for x in pointers)
    before, after = data.draw(inputs()), data.draw(inputs())
    if disjoint.apart(p, q):
        now = values(fn, before)
        assert not meet(now[p], now[q]), fn
    varies = {fn.params[i].value for i in (2, 3, 4)} | {op.result for op in fn.body.ops if op.results}
    if disjoint.apart(p, q, varies):
        assert not meet(values(fn, before)[p], values(fn, after)[q]), fn


def apart(build: Any, varies: str = "") -> bool:
    text = Text()
    p, q = build(text)
    _, named, disjoint = text.done()
    return disjoint.apart(named[p], named[q], {named[varies]} if varies else ())


def rows(t: Text, stride: int, at: int, start: str = "%m") -> str:
    """start + row · stride + column + at."""
    row = t.put(f"mul {t.index(0)}, {t.spread(t.number(stride))}", "4x8xi32")
    base = t.put(f"add {t.spread(start)}, {t.spread(t.number(at))}", "4x8xi32")
    return t.pointer(t.put(f"add {t.put(f'add {row}, {base}', '4x8xi32')}, {t.index(1)}", "4x8xi32"))


def pairs(t: Text, at: int) -> str:
    """2 · (number that is unknown) + at."""
    loaded = t.put(f"cast {t.put('load ' + t.spread('%q', '*f32'), '4x8xf32')} {{to = i32}}", "4x8xi32")
    twice = t.put(f"mul {loaded}, {t.spread(t.number(2))}", "4x8xi32")
    return t.pointer(t.put(f"add {twice}, {t.spread(t.number(at))}", "4x8xi32"))


def by_row(t: Text, at: int) -> str:
    """row · m + column + at."""
    row = t.put(f"mul {t.index(0)}, {t.spread('%m')}", "4x8xi32")
    column = t.put(f"add {t.index(1)}, {t.spread(t.number(at))}", "4x8xi32")
    return t.pointer(t.put(f"add {row}, {column}", "4x8xi32"))


def moved(t: Text, at: int) -> str:
    """An unknown tile less the same numbers at other places, + at."""
    loaded = t.put(f"cast {t.put('load ' + t.spread('%q', '*f32'), '4x8xf32')} {{to = i32}}", "4x8xi32")
    apart = t.put(f"sub {loaded}, {t.turned(loaded)}", "4x8xi32")
    return t.pointer(t.put(f"add {apart}, {t.spread(t.number(at))}", "4x8xi32"))


def reread(t: Text, at: int) -> str:
    """The middle index of (4, 2, 8), read as (8, 2, 4), less the middle index there, + at."""
    line = t.put("arange {start = 0, end = 2}", "2xi32")
    thin = t.put(f"expand_dims {t.put(f'expand_dims {line} {{axis = 0}}', '1x2xi32')} {{axis = 2}}", "1x2x1xi32")
    read, plain = (t.put(f"broadcast {thin} {{shape = {s}}}", "x".join(map(str, s)) + "xi32") for s in ((4, 2, 8), (8, 2, 4)))
    read = t.put(f"reshape {read} {{shape = (8, 2, 4)}}", "8x2x4xi32")
    flat = t.put(f"reshape {t.put(f'sub {read}, {plain}', '8x2x4xi32')} {{shape = {SHAPE[0] * 2, SHAPE[1]}}}", "8x8xi32")
    at_all = t.put(f"splat {t.number(at)} {{shape = (8, 8)}}", "8x8xi32")
    base = t.put("splat %p {shape = (8, 8)}", "8x8x*f32")
    return t.put(f"addptr {base}, {t.put(f'add {flat}, {at_all}', '8x8xi32')}", "8x8x*f32")


def far(t: Text, by: int) -> str:
    """p + m + row + column, and `by` on top of it in 64 bits."""
    return t.put(f"addptr {rows(t, 1, 0)}, {t.spread(t.number(by, 'i64'), 'i64')}", "4x8x*f32")


@pytest.mark.parametrize(
    "build",
    [
        lambda t: (rows(t, 8, 0), rows(t, 8, 32)),
        lambda t: (rows(t, 8, 0), rows(t, 8, -32)),
        lambda t: (rows(t, 16, 0), rows(t, 16, 8)),
        lambda t: (rows(t, 16, 8), rows(t, 16, 0)),
        lambda t: (rows(t, 24, 0), rows(t, 24, 16)),
        lambda t: (rows(t, 16, 0, "%n"), rows(t, 16, 8, "%n")),
        lambda t: (pairs(t, 0), pairs(t, 1)),
        lambda t: (far(t, 0), far(t, 11)),
        lambda t: (far(t, 0), far(t, 1 << 31)),
    ],
    ids=["block", "block before", "columns", "columns before", "three", "aligned", "even and odd", "wide", "half of all"],
)
def test_disjoint(build: Any) -> None:
    assert apart(build)


@pytest.mark.parametrize(
    "build",
    [
        lambda t: (rows(t, 8, 0), rows(t, 8, 31)),
        lambda t: (rows(t, 16, 0), rows(t, 16, 7)),
        lambda t: (rows(t, 24, 0), rows(t, 24, 17 + 24)),
        lambda t: (rows(t, 8, 0), rows(t, 8, 64, "%n")),
        lambda t: (pairs(t, 0), pairs(t, 2)),
        lambda t: (far(t, 0), far(t, 10)),
        lambda t: (rows(t, 0, 0), rows(t, 1 << 30, 1 << 30)),
        lambda t: (by_row(t, 0), by_row(t, 100)),
        lambda t: (moved(t, 0), moved(t, 1)),
        lambda t: (reread(t, 0), reread(t, 1)),
    ],
    ids=["one element", "one column", "next row", "other start", "even and even", "wide", "wrapped", "any stride", "moved", "reread"],
)
def test_not_disjoint(build: Any) -> None:
    assert not apart(build)


def test_disjoint_between_iterations() -> None:
    """Columns 0 … 7 and 8 … 15 of an array of 16 columns, whichever rows: a start that varies is a multiple of 16."""
    assert apart(lambda t: (rows(t, 16, 0, "%n"), rows(t, 16, 8, "%n")), varies="%n")
    assert not apart(lambda t: (rows(t, 16, 0, "%m"), rows(t, 16, 8, "%m")), varies="%m")
    assert not apart(lambda t: (rows(t, 8, 0, "%n"), rows(t, 8, 32, "%n")), varies="%n")


def test_other_base_or_type_is_not_disjoint() -> None:
    text = Text()
    p = rows(text, 8, 0)
    other = text.put(f"bitcast {text.spread('%p', '*f32')} {{to = *i32}}", "4x8x*i32")
    q = text.put(f"addptr {other}, {text.spread(text.number(64))}", "4x8x*i32")
    r = text.pointer(text.spread(text.number(64)), base="%q")
    _, named, disjoint = text.done()
    assert not disjoint.apart(named[p], named[q]) and not disjoint.apart(named[p], named[r])


def test_equal_pointer_tiles_become_one() -> None:
    """Barriers tell accesses of one tile of pointers by the value; that needs no second value of the same pointers."""
    text = Text()
    p, q = rows(text, 8, 0), rows(text, 8, 0)
    text.lines += [f"  store {x}, {text.spread(text.number(v, 'f32'), 'f32')}" for x, v in ((p, 1), (q, 2))]
    fn, _, _ = text.done()
    cse.run(fn)
    first, second = (op for op in fn.walk() if op.name == "store")
    assert first.operands[0] is second.operands[0]
