"""Every elementwise record, cast and atomic × every dtype that it takes × every target, against the interpreter.

Generated from the registry: a new record is tested without a line here. One kernel a dtype holds all its ops, and all
kernels of a group are compiled together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from execute import Arrays, Case, distance, interpret, run, texts, values

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import CompilationError
from zmlx.ir.builder import Builder
from zmlx.ir.core import Block, Function, Param, Value
from zmlx.ir.opdef import OpDef
from zmlx.ir.types import Pointer, Type
from zmlx.ops import REGISTRY as R
from zmlx.ops.atomic import KINDS
from zmlx.ops.cast import ROUNDINGS
from zmlx.targets.target import target as target_of

N = 2048  # elements of each operand
OTHERS = {"cast", "bitcast", "addptr", "hint", "select", "mac"}  # tested below, or (mac) free in its rounding
EXACT_ZERO = {"minimum", "maximum"}  # which zero of two comes out is not said


def specials(d: DType) -> np.ndarray:
    """Values where implementations differ."""
    if d is dt.int1:
        return np.array([False, True])
    if d.is_int:
        low, high = d.range()
        some = {low, low + 1, high, high - 1, 0, 1, 2, 3, 7, 100, high // 2, high // 2 + 1, high // 3}
        some |= {-1, -2, -7, -100} if d.is_signed else set()
        return np.array(sorted(some), dtype=object).astype(d.compute)
    info = {16: (2.0**-24, 2.0**-14, 65504.0), 32: (2.0**-149, 2.0**-126, float(np.finfo(np.float32).max)),
            64: (5e-324, 2.2250738585072014e-308, float(np.finfo(np.float64).max))}[d.bits]  # fmt: skip
    if d is dt.bfloat16:
        info = (2.0**-133, 2.0**-126, 3.3895313892515355e38)
    least, normal, most = info
    positive = [0.0, least, 3 * least, normal, normal - least, most, 1.0, 0.5, 1.5, 2.5, 0.1, 3.0, 7.25, 1e-3, 100.0, 12345.0, np.inf]
    return np.array([s * v for v in positive for s in (1, -1)] + [np.nan], np.float64).astype(np.float32 if d is dt.bfloat16 else d.compute)


def storage(x: np.ndarray, d: DType) -> np.ndarray:
    return np.ascontiguousarray(dt.encode(x, d))


@functools.lru_cache(maxsize=64)
def operands(d: DType) -> Arrays:
    """x and y meet every pair of special values, then random bits and numbers of moderate size; z goes through both; s are shifts."""
    rng = np.random.default_rng(d.bits)
    s = specials(d)
    pairs = len(s) ** 2
    x, y = np.repeat(s, len(s)), np.tile(s, len(s))
    rest = N - pairs
    assert rest > 300, d
    half = rest // 2

    def random() -> np.ndarray:
        if d is dt.int1:
            return rng.integers(0, 2, rest).astype(bool)
        with np.errstate(all="ignore"):
            bits = values(rng.integers(0, 256, (half, d.itemsize), dtype=np.uint8).view(d.storage).reshape(-1), d)
            if d.is_int:
                return np.concatenate([bits, rng.integers(*((-50, 50) if d.is_signed else (0, 100)), rest - half).astype(d.compute)])
            moderate = rng.standard_normal(rest - half) * 10.0 ** rng.uniform(-3, 3, rest - half)
            return np.concatenate([bits, moderate.astype(d.compute)])

    out = {"x": np.concatenate([x, random()]), "y": np.concatenate([y, random()])}
    out["z"] = out["x"][rng.permutation(N)]
    out = {k: storage(v, d) for k, v in out.items()}
    if d.is_int:
        out["s"] = rng.integers(0, max(1, d.bits), N).astype(d.compute)
    out["c"] = rng.integers(0, 2, N).astype(bool)
    return out


class Kernel:
    """A function that stores the results of many ops on the same operands, each at a place of its own."""

    def __init__(self, name: str, inputs: dict[str, DType]) -> None:
        self.name, self.inputs = name, inputs
        self.body = Block([Type(Pointer(d)) for d in inputs.values()], list(inputs))
        self.b = Builder(self.body)
        self.pointers = dict(zip(inputs, self.body.args, strict=True))
        self.at = self.b.value(R["arange"], start=0, end=N)
        self.loaded: dict[str, Value] = {}
        self.outs: dict[DType, int] = {}
        self.places: dict[str, tuple[str, DType, int]] = {}

    def address(self, name: str, offset: int = 0) -> Value:
        b = self.b
        base = self.pointers[name]
        if offset:
            base = b.value(R["addptr"], base, b.value(R["constant"], value=offset, type=dt.int32))
        return b.value(R["addptr"], b.value(R["splat"], base, shape=(N,)), self.at)

    def load(self, name: str) -> Value:
        if name not in self.loaded:
            self.loaded[name] = self.b.value(R["load"], self.address(name))
        return self.loaded[name]

    def store(self, key: str, v: Value) -> None:
        d = v.type.dtype  # type: ignore[union-attr]
        name, slot = f"out_{d.short}", self.outs.get(d, 0)
        if not slot:
            pointer = Value(Type(Pointer(d)), None, name)
            self.body.args.append(pointer)
            self.pointers[name] = pointer
        self.outs[d] = slot + 1
        self.places[key] = (name, d, slot)
        self.b.create(R["store"], [self.address(name, slot * N), v])

    def case(self, arrays: Arrays) -> Case:
        self.b.create(R["return"])
        fn = Function(self.name, [Param(v, 16) for v in self.body.args], self.body)
        made = {f"out_{d.short}": np.zeros(N * slots, d.storage) for d, slots in self.outs.items()}
        return Case(fn, {k: v for k, v in arrays.items() if k in self.inputs} | made)

    def result(self, arrays: Arrays, key: str) -> tuple[np.ndarray, DType]:
        name, d, slot = self.places[key]
        return arrays[name][slot * N : (slot + 1) * N], d


def accepts(op: OpDef, d: DType) -> bool:
    try:
        op.type_rule([Type(d, (N,))] * len(op.operands), {}, ())
    except CompilationError:
        return False
    return True


def records(d: DType) -> list[OpDef]:
    return [op for op in R.values() if op.elementwise and op.name not in OTHERS and accepts(op, d)]


def dtypes_of(target: str) -> list[DType]:
    return [d for d in dt.ALL if not (target.startswith("metal") and d is dt.float64)]


def arithmetic(d: DType, target: str) -> tuple[Kernel, Case]:
    k = Kernel(f"ops_{d.short}", dict.fromkeys(("x", "y", "z", "s") if d.is_int else ("x", "y", "z"), d) | {"c": dt.int1})
    for op in records(d):
        names = ("x", "s") if op.name in ("shl", "shr") else ("x", "y", "z")[: len(op.operands)]
        values = [k.load(n) for n in names]
        if op.name == "ratio":  # for denominators from 1 to 2
            one, two = (k.b.value(R["splat"], k.b.value(R["constant"], value=v, type=d), shape=(N,)) for v in (1.0, 2.0))
            values[1] = k.b.value(R["minimum"], k.b.value(R["maximum"], values[1], one), two)
        k.store(op.name, k.b.value(op, *values))
    k.store("select", k.b.value(R["select"], k.load("c"), k.load("x"), k.load("y")))
    return k, k.case(operands(d))


def conversions(d: DType, target: str) -> tuple[Kernel, Case]:
    k = Kernel(f"casts_{d.short}", {"x": d})
    for to in dtypes_of(target):
        for rounding in ROUNDINGS if d.is_float and to.is_float and to.bits < d.bits else ("rtne",):
            k.store(f"cast {to} {rounding}", k.b.value(R["cast"], k.load("x"), to=to, rounding=rounding))
        if to.bits == d.bits:
            k.store(f"bitcast {to}", k.b.value(R["bitcast"], k.load("x"), to=to))
    return k, k.case(operands(d))


GROUPS = {"arithmetic": arithmetic, "conversions": conversions}


@functools.lru_cache(maxsize=8)
def results(group: str, target: str) -> dict[DType, tuple[Kernel, Arrays, Arrays]]:
    """All dtypes of a group: what the interpreter and what the target gives."""
    made = {d: GROUPS[group](d, target) for d in dtypes_of(target)}
    got = run([case for _, case in made.values()], target)
    return {d: (k, interpret(case, optimized=False), g) for (d, (k, case)), g in zip(made.items(), got, strict=True)}


def explain(
    what: str, bad: np.ndarray, arrays: Arrays, d: DType, names: Sequence[str], got: np.ndarray, want: np.ndarray, out: DType
) -> str:
    at = np.flatnonzero(bad)
    lines = [f"{what} is wrong for {at.size} of {N} elements:"]
    for i in at[:8]:
        args = ", ".join(repr(values(arrays[n][i : i + 1], d)[0]) for n in names)
        lines.append(f"  ({args}) gives {values(got[i : i + 1], out)[0]!r}, not {values(want[i : i + 1], out)[0]!r}")
    return "\n".join(lines)


def bound(op: OpDef, d: DType) -> float:
    """Units in the last place that the record allows."""
    if d.is_half:
        return 1.0 if op.ulp or op.has("transcendental") else 0.0
    # The oracle's own float64 functions are good to a unit; in float32 they are right.
    return op.ulp.get(d.name, 0.0) + (1.0 if d is dt.float64 and op.ulp else 0.0)


def pairs() -> Iterator[tuple[DType, str]]:
    for d in dt.ALL:
        for name in [op.name for op in records(d)] + ["select"]:
            yield d, name


@pytest.mark.parametrize(("d", "name"), [pytest.param(d, n, id=f"{n}-{d}") for d, n in pairs()])
def test_op(d: DType, name: str, target: str) -> None:
    if d not in dtypes_of(target):
        pytest.skip(f"{target} has no {d}")
    k, want_all, got_all = results("arithmetic", target)[d]
    (want, out), (got, _) = k.result(want_all, name), k.result(got_all, name)
    bad = distance(got, want, out) > bound(R[name], d)
    if R[name].has("flushes") and target_of(target).is_simt:
        bad &= ~((values(got, out) == 0) & (np.abs(values(want, out)) < np.finfo(np.float32).tiny))
    if name == "copysign":  # a GPU that widens a half NaN drops its sign
        bad &= ~np.isnan(values(operands(d)["y"], d))
    if out.is_float and name not in EXACT_ZERO and not bad.any():
        x, y = values(got, out), values(want, out)
        bad = (x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y))
    names = ("c", "x", "y") if name == "select" else ("x", "s") if name in ("shl", "shr") else ("x", "y", "z")[: len(R[name].operands)]
    assert not bad.any(), explain(f"{name} of {d} on {target}", bad, operands(d), d, names[-len(R[name].operands) :], got, want, out)


@pytest.mark.parametrize("d", dt.ALL, ids=str)
def test_casts(d: DType, target: str) -> None:
    if d not in dtypes_of(target):
        pytest.skip(f"{target} has no {d}")
    k, want_all, got_all = results("conversions", target)[d]
    wrong = []
    for key in k.places:
        (want, out), (got, _) = k.result(want_all, key), k.result(got_all, key)
        bad = distance(got, want, out) > 0
        if key.startswith("bitcast") and not out.is_float:
            bad = got != want
        if out.is_float:
            bad |= (values(got, out) == 0) & (np.signbit(values(got, out)) != np.signbit(values(want, out)))
        if bad.any():
            wrong.append(explain(f"{key} of {d} on {target}", bad, operands(d), d, ["x"], got, want, out))
    assert not wrong, "\n".join(wrong)


def test_every_elementwise_record_is_here() -> None:
    tested = {n for _, n in pairs()} | {"cast", "bitcast"}
    elsewhere = {"addptr", "hint", "mac"}  # test_kernels; no meaning; free in its rounding
    assert {op.name for op in R.values() if op.elementwise} == tested | elsewhere


@pytest.mark.parametrize("group", GROUPS)
def test_gpu_texts(group: str) -> None:
    for d in dt.ALL:
        made = texts(GROUPS[group](d, "cuda")[1])
        assert "cuda" in made
        assert ("metal" in made) == (d is not dt.float64 and group == "arithmetic"), d
        if d is not dt.float64:
            assert "metal" in texts(GROUPS[group](d, "metal")[1]), d


# ---- atomics --------------------------------------------------------------------------------------------------------

ATOMIC_TYPES = [dt.int32, dt.uint32, dt.int64, dt.uint64, dt.float16, dt.bfloat16, dt.float32, dt.float64]
M = 64  # elements of an atomic tile
CELLS = 4  # places that they meet at


def atomic_kinds(d: DType) -> list[str]:
    return [k for k in KINDS if not (d.is_float and k in ("and", "or", "xor"))]


def atomics(d: DType, kinds: Sequence[str], crowd: bool) -> Case:
    """Each kind on its own cells: `crowd`: many elements on few cells, masked; else one cell each, and the old values stored."""
    cells = CELLS if crowd else M
    body = Block([Type(Pointer(d))] * 3, ["x", "cells", "old"])
    b = Builder(body)
    x, base, old = body.args
    at = b.value(R["arange"], start=0, end=M)

    def number(v: int) -> Value:
        return b.value(R["constant"], value=v, type=dt.int32)

    def tile(v: Value) -> Value:
        return b.value(R["splat"], v, shape=(M,))

    def offset(p: Value, by: int) -> Value:
        return b.value(R["addptr"], p, number(by))

    value = b.value(R["load"], b.value(R["addptr"], tile(x), at))
    place = b.value(R["and"], at, tile(number(cells - 1)))
    mask = b.value(R["ne"], b.value(R["and"], at, tile(number(3 if not crowd else 16))), tile(number(0)))
    for i, kind in enumerate(kinds):
        pointer = b.value(R["addptr"], tile(offset(base, i * cells)), place)
        if kind == "cas":  # every other cell holds what is expected
            taken = b.create(R["atomic_cas"], [pointer, b.value(R["cast"], place, to=d, rounding="rtne"), value]).results[0]
        else:
            taken = b.create(R["atomic_rmw"], [pointer, value, mask], {"kind": kind}).results[0]
        if not crowd:
            b.create(R["store"], [b.value(R["addptr"], tile(offset(old, i * M)), at), taken])
    b.create(R["return"])
    fn = Function(f"atomics_{d.short}_{int(crowd)}", [Param(v, 16) for v in body.args], body)
    rng = np.random.default_rng(5)
    small = lambda n: storage(rng.integers(0 if not d.is_signed and d.is_int else -6, 7, n).astype(d.compute), d)  # noqa: E731
    start = small(len(kinds) * cells)
    if "cas" in kinds:
        expected = storage(np.arange(cells).astype(d.compute), d)
        start[-cells::2] = expected[::2]
    old = np.zeros(max(1, len(kinds) * M), d.storage)
    return Case(fn, {"x": small(M), "cells": start, "old": old}, grid=(3, 1, 1) if crowd else (1, 1, 1))


def atomic_cases(d: DType, target: str) -> list[Case]:
    """Crowded cells only for kinds whose result does not depend on the order."""
    alone = atomic_kinds(d) + (["cas"] if d.bits >= 32 else [])
    return [atomics(d, [k for k in atomic_kinds(d) if k != "xchg"], True), atomics(d, alone, False)]


def atomic_types(target: str) -> list[DType]:
    return [d for d in ATOMIC_TYPES if not (target.startswith("metal") and d.bits != 32)]


@functools.lru_cache(maxsize=4)
def atomic_results(target: str) -> dict[DType, list[tuple[Arrays, Arrays]]]:
    cases = [(d, c) for d in atomic_types(target) for c in atomic_cases(d, target)]
    out: dict[DType, list[tuple[Arrays, Arrays]]] = {}
    for (d, case), got in zip(cases, run([c for _, c in cases], target), strict=True):
        out.setdefault(d, []).append((interpret(case), got))
    return out


@pytest.mark.parametrize("d", ATOMIC_TYPES, ids=str)
def test_atomics(d: DType, target: str) -> None:
    if d not in atomic_types(target):
        pytest.skip(f"{target} has no such atomics of {d}")
    for want, got in atomic_results(target)[d]:
        for name in ("cells", "old"):
            np.testing.assert_array_equal(values(got[name], d), values(want[name], d), err_msg=f"{name} of {d}")


@pytest.mark.parametrize("d", ATOMIC_TYPES, ids=str)
def test_atomic_texts(d: DType) -> None:
    for case in atomic_cases(d, "cuda"):
        made = texts(case)
        assert "cuda" in made and ("metal" in made or d.bits != 32)
