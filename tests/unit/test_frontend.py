"""The frontend on small kernels: each is traced, verified, run by the NumPy interpreter and compared with Python or NumPy."""
# ruff: noqa: F841, RUF005, SIM222, SIM223

from __future__ import annotations

import linecache
import math
from enum import Enum

import numpy as np
import pytest
from traced import compiled, from_text, jit, launch, ops, value_of

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.errors import GlobalNameError
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg
from zmlx.interp import tile
from zmlx.ir.types import Pointer, Type
from zmlx.ir.verifier import verify

# -- values and assignment -----------------------------------------------------------------------------------------------


@jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    """A docstring."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out + offsets, tl.load(x + offsets, mask=mask) + tl.load(y + offsets, mask=mask), mask=mask)


def test_vector_add():
    x, y, out = np.arange(100, dtype=np.float32), np.ones(100, np.float32), np.zeros(100, np.float32)
    launch(add_kernel, (4,), x=x, y=y, out=out, n=100, BLOCK=32)
    assert (out == x + 1).all()


def test_parameters_are_the_runtime_ones_in_order():
    fn = compiled(add_kernel, x=np.zeros(1, np.float16), y=np.zeros(1, np.float16), out=np.zeros(1, np.float16), n=3, BLOCK=16)
    assert [p.name for p in fn.params] == ["x", "y", "out", "n"]
    assert fn.params[0].value.type == Type(Pointer(dt.float16)) and fn.params[0].divisibility == 16
    assert fn.params[3].value.type == Type(dt.int32) and fn.attrs == {} and fn.body.terminator.name == "return"


def test_every_op_has_a_place_and_values_have_names():
    fn = compiled(add_kernel, x=np.zeros(1, np.float32), y=np.zeros(1, np.float32), out=np.zeros(1, np.float32), n=3, BLOCK=16)
    assert all(op.loc is not None and op.loc.file == __file__ and op.loc.function == "add_kernel" for op in fn.walk())
    assert {"offsets", "mask"} <= {r.name for op in fn.walk() for r in op.results}
    store = next(op for op in fn.walk() if op.name == "store")
    line = linecache.getline(store.loc.file, store.loc.line)
    assert line[store.loc.col :].startswith("tl.store(out") and line[: store.loc.end_col].endswith("mask=mask)")


@jit
def literal_kernel(out):
    x = 0
    x += 7 // 2
    y: tl.constexpr[int] = -7 // 2
    tl.static_assert(y == -4)
    a, (b, c) = 1, (2, 3)
    d = e = 5
    tl.store(out, x + y + a + b + c + d + e)


def test_assignment_makes_tensors_and_annotations_keep_constants():
    assert value_of(literal_kernel, "int32") == 3 - 4 + 6 + 10


@jit
def type_kernel(out, x, KIND: tl.constexpr):
    v = tl.load(x)
    two = 2.5
    tl.static_assert(tl.int64(3).dtype == tl.int64 and tl.float32(v).dtype == tl.float32)
    tl.static_assert(two.dtype == tl.float32)
    if KIND == "literal":
        tl.static_assert((v * 2.5).dtype == tl.float16)
    else:
        tl.static_assert((v * two).dtype == tl.float32)
    tl.static_assert(v.dtype.is_fp16() and not x.dtype.element_ty.is_int() and x.dtype.is_ptr())
    tl.static_assert(out.dtype.element_ty == tl.float32 and v.shape == ())


@pytest.mark.parametrize("kind", ["literal", "name"])
def test_a_literal_yields_to_the_tensor_and_a_name_does_not(kind):
    compiled(type_kernel, out=np.zeros(1, np.float32), x=np.zeros(1, np.float16), KIND=kind)


PI = tl.constexpr(3.0)
COUNT: tl.constexpr = 4
TABLE = tl.constexpr((1, (2, 3)))


@jit
def global_kernel(out):
    t = TABLE
    tl.store(out, PI * COUNT + t[1][1] + TABLE[1][0] + math.pi + math.sqrt(4.0) + float("1e1"))


def test_globals():
    assert value_of(global_kernel) == pytest.approx(12 + 3 + 2 + math.pi + 2 + 10)


def test_closures_follow_the_rule_of_globals():
    scale, bad = tl.constexpr(3), 3

    @jit
    def good(out):
        tl.store(out, scale)

    @jit
    def wrong(out):
        tl.store(out, bad)

    assert value_of(good) == 3
    with pytest.raises(GlobalNameError, match=r"bad = tl.constexpr\(3\)"):
        value_of(wrong)


@jit
def constant_kernel(out, FLAG: tl.constexpr, NAME: tl.constexpr, DTYPE: tl.constexpr, bias=None):
    tl.static_assert(bias is None and FLAG is not None, f"flag {FLAG!r:>5} {1 + 1:03d}")
    tl.static_assert(NAME == "gelu" and NAME != "relu" and NAME in ("gelu", "silu") and NAME.startswith("ge"))
    tl.static_assert((1 < 2 < 3) and not (1 < 2 > 3) and (0 or 5) == 5 and (0 and 1 // 0) == 0)
    tl.static_assert(7 % 3 == 1 and -7 % 3 == 2 and 7 / 2 == 3.5 and 2**10 == 1024 and (6 & 3 | 8 ^ 1) == 11 and 1 << 4 >> 2 == 4)
    tl.static_assert(min(1, 2) == 1 and max((1, 5)) == 5 and abs(-3) == 3 and len((1, 2)) == 2 and int(3.7) == 3 and bool(1))
    tl.static_assert((1, 2) + (3,) == (1, 2, 3) and (1, 2, 3)[1:] == (2, 3) and (1, 2, 3)[-1] == 3 and +1 == ~-2)
    tl.static_assert(tl.float16 == DTYPE and DTYPE.primitive_bitwidth == 16)
    y = 1.0 if FLAG else 2.0
    tl.store(out, y.to(DTYPE))


def test_constants_compute_as_python_does():
    assert value_of(constant_kernel, FLAG=True, NAME="gelu", DTYPE=dt.float16) == 1
    assert value_of(constant_kernel, FLAG=0, NAME="gelu", DTYPE=dt.float16) == 2


@jit
def none_kernel(out, bias):
    if bias is not None:
        tl.store(out, tl.load(bias))
    else:
        tl.store(out, 9)


def test_none_arguments_choose_a_branch():
    assert value_of(none_kernel, bias=None) == 9
    assert value_of(none_kernel, bias=np.full(1, 4, np.float32)) == 4
    assert "if" not in ops(compiled(none_kernel, out=np.zeros(1, np.float32), bias=None))


@jit
def logic_kernel(out, a, b):
    both = (a > 0) and (b > 0) and True
    either = a or b
    tl.store(out, both.to(tl.int32) + 2 * either.to(tl.int32) + 4 * (not a).to(tl.int32) + 8 * (0 < a < 5).to(tl.int32))
    tl.static_assert((a and False) == False)  # noqa: E712


@pytest.mark.parametrize("a", [-1, 0, 3, 7])
@pytest.mark.parametrize("b", [0, 2])
def test_logic(a, b):
    want = (a > 0 and b > 0) + 2 * bool(a or b) + 4 * (not a) + 8 * (0 < a < 5)
    assert value_of(logic_kernel, "int32", a=a, b=b) == want


@jit
def specialised_kernel(out, n):
    tl.static_assert(n.dtype == tl.int32 and n.shape == ())
    n = n.to(tl.int64) + 1
    while n < 5:
        n += 1
    tl.store(out, n)


def test_arguments_that_became_constants_still_act_as_tensors():
    fn = trace(specialised_kernel, {"out": ArrayArg(dt.int64), "n": ConstexprArg(1)})
    verify(fn)
    assert [p.name for p in fn.params] == ["out"]
    assert value_of(specialised_kernel, "int64", n=1) == 5


class Mode(Enum):
    SUM = 1
    PRODUCT = "product"


@jit
def enum_kernel(out, x, MODE: tl.constexpr):
    v = tl.load(x)
    if MODE == Mode.SUM:
        v = v + Mode.SUM.value
    elif MODE is Mode.PRODUCT:
        v = v * len(MODE.value)
    tl.store(out, tl.maximum(v, float("nan"), propagate_nan=tl.PropagateNan.NONE))


def test_enums_are_constants():
    assert value_of(enum_kernel, x=np.full(1, 3, np.float32), MODE=Mode.SUM) == 4
    assert value_of(enum_kernel, x=np.full(1, 3, np.float32), MODE=Mode.PRODUCT) == 21


@jit
def shape_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    t = tl.load(x + i[:, None] * N + i[None, :])
    row = i[None, ..., None]
    tl.static_assert(row.shape == (1, N, 1) and len(row.shape) == 3 and t[:].shape == [N, N])
    scalar = tl.sum(tl.sum(t, axis=1), axis=0)
    tl.static_assert(scalar[None].shape == (1,))
    tl.store(out + i[None, :] * N + i[:, None], t.T.T)


def test_indexing_tiles():
    x = np.arange(16, dtype=np.float32)
    out = np.zeros(16, np.float32)
    launch(shape_kernel, x=x, out=out, N=4)
    assert (out.reshape(4, 4) == x.reshape(4, 4).T).all()


# -- branches ------------------------------------------------------------------------------------------------------------


@jit
def branch_kernel(out, a):
    x = 1.0
    y = 2
    if a > 0:
        x = x + a
        y = 3
    elif a < 0:
        x = 5.0
    tl.store(out, x * y)


@pytest.mark.parametrize(("a", "want"), [(2, 9), (-1, 10), (0, 2)])
def test_branches_join(a, want):
    assert value_of(branch_kernel, a=a) == want


@jit
def ternary_kernel(out, x, n):
    v = tl.load(x) if n > 0 else 7
    w = 1 if n else 2
    tl.store(out, v + w)


def test_a_ternary_runs_one_side_only():
    fn = compiled(ternary_kernel, out=np.zeros(1, np.float32), x=np.ones(1, np.float32), n=1)
    branch = next(op for op in fn.walk() if op.name == "if")
    assert "load" in [op.name for op in branch.regions[0].ops]
    assert value_of(ternary_kernel, x=np.full(1, 3, np.float32), n=1) == 4
    assert value_of(ternary_kernel, x=np.full(1, 3, np.float32), n=0) == 9


@jit
def early_kernel(out, n):
    if n < 0:
        return
    tl.store(out, 1)
    if n == 0:
        tl.store(out, 2)
        return
    elif n == 1:
        return
    tl.store(out, 3)


@pytest.mark.parametrize(("n", "want"), [(-1, 0), (0, 2), (1, 1), (2, 3)])
def test_early_return(n, want):
    assert value_of(early_kernel, n=n) == want


@jit
def nested_kernel(out, a, b):
    x = 1
    p = out
    if a > 0:
        x = 2
        if b > 0:
            tl.store(out, 10)
            if b > 5:
                tl.store(out, 20)
                return
            x = 3
            p = out + 1
        fresh = x * 100
        x = fresh + 1
    elif b == 7:
        return
    tl.store(p, x)
    if a > 5:
        if b > 0:
            return
    else:
        tl.store(out + 2, 1)
    tl.store(out + 3, 1)


@pytest.mark.parametrize("a", [-1, 1, 6])
@pytest.mark.parametrize("b", [-1, 3, 6, 7])
def test_returns_nested_in_conditions(a, b):
    def reference():
        out = [0, 0, 0, 0]
        x, p = 1, 0
        if a > 0:
            x = 2
            if b > 0:
                out[0] = 10
                if b > 5:
                    out[0] = 20
                    return out
                x, p = 3, 1
            x = x * 100 + 1
        elif b == 7:
            return out
        out[p] = x
        if a > 5:
            if b > 0:
                return out
        else:
            out[2] = 1
        out[3] = 1
        return out

    assert value_of(nested_kernel, "int32", 4, a=a, b=b).tolist() == reference()


def test_early_return_costs_no_flag():
    fn = compiled(early_kernel, out=np.zeros(1, np.float32), n=1)
    assert not any(op.name == "if" and op.results for op in fn.walk())


def test_many_nested_returns_stay_linear(tmp_path):
    def kernel(depth: int) -> JitCallable:
        lines = ["def k(out, a):", "    x = a"]
        for i in range(depth):
            lines += [f"    if a > {i}:", f"        if x > {i}:", "            return", f"        x = x + {i}"]
        return from_text("\n".join([*lines, "    tl.store(out, x)"]) + "\n", "k")

    sizes = [len(ops(compiled(kernel(d), out=np.zeros(1, np.int32), a=1))) for d in (4, 8, 16)]
    assert sizes[2] - sizes[1] <= 2.2 * (sizes[1] - sizes[0])


@jit
def unused_kernel(out, a):
    if a > 0:
        t = 1.0
    else:
        t = 2
    if a > 1:
        only = 5
    for _ in range(a):
        t = tl.arange(0, 4)
    tl.store(out, a)


def test_names_that_do_not_live_on_may_differ():
    assert value_of(unused_kernel, a=3) == 3


@jit
def static_branch_kernel(out, FLAG: tl.constexpr):
    if FLAG:
        x = 1.5
    else:
        x = tl.arange(0, 4)
        undefined_function(x)  # noqa: F821
    tl.store(out, x)


def test_a_constant_condition_compiles_one_branch():
    assert value_of(static_branch_kernel, FLAG=True) == 1.5


# -- loops ---------------------------------------------------------------------------------------------------------------


@jit
def loop_kernel(out, lo, hi, STEP: tl.constexpr):
    total = 0
    last = -1
    for i in range(lo, hi, STEP):
        total += i
        last = i
        square = i * i
        total = total + square * 0
    tl.store(out, total)
    tl.store(out + 1, last)


@pytest.mark.parametrize(
    ("lo", "hi", "step"), [(0, 5, 1), (3, 3, 1), (5, 0, 1), (1, 10, 4), (10, 0, -1), (10, 0, -3), (3, -4, -2), (0, 10, -1), (-5, 5, 2)]
)
def test_for_is_pythons(lo, hi, step):
    r = range(lo, hi, step)
    assert value_of(loop_kernel, "int32", 2, lo=lo, hi=hi, STEP=step).tolist() == [sum(r), r[-1] if len(r) else -1]


@jit
def bounds_kernel(out, n, m):
    s = tl.full((), 0, tl.int64)
    for i in tl.range(n, num_stages=3):
        tl.static_assert(i.dtype == tl.int64)
        s += i
    for j in tl.range(0, m, step=2):
        tl.static_assert(j.dtype == tl.int32)
        s += j
    for k in range(-1, m.to(tl.uint32)):
        tl.static_assert(k.dtype == tl.int64)
        s += k
    tl.store(out, s)


def test_bounds_meet_in_one_type():
    n, m = 2**33, 3
    fn = trace(bounds_kernel, {"out": ArrayArg(dt.int64), "n": ScalarArg(dt.int64), "m": ScalarArg(dt.int32)})
    verify(fn)
    assert [op.attrs for op in fn.walk() if op.name == "for"] == [{"num_stages": 3}, {}, {}]
    del n
    out = np.zeros(1, np.int64)
    tile.run(fn, {"out": out}, {"n": 4, "m": m}, (1, 1, 1))
    assert out[0] == sum(range(4)) + sum(range(0, 3, 2)) + sum(range(-1, 3))


@jit
def static_kernel(out, N: tl.constexpr):
    total = 0
    for i in tl.static_range(N):
        doubled: tl.constexpr = i * 2
        tl.static_assert(doubled % 2 == 0)
        total += doubled
    for j in tl.static_range(N, 0, step=-1):
        total += j
    for a, b in ((1, 2), (3, 4)):
        total += a * b
    tl.store(out, total + i)


def test_static_range_unrolls():
    fn = compiled(static_kernel, out=np.zeros(1, np.int32), N=4)
    assert "for" not in ops(fn)
    assert value_of(static_kernel, "int32", N=4) == 12 + 10 + 14 + 3


@jit
def collatz_kernel(out, n):
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps += 1
    while False:
        steps = undefined  # noqa: F821
    tl.store(out, steps)


@pytest.mark.parametrize(("n", "want"), [(1, 0), (6, 8), (27, 111)])
def test_while(n, want):
    assert value_of(collatz_kernel, "int32", n=n) == want


@jit
def nested_loop_kernel(out, n):
    pair = (0, 1)
    pointer = out
    for i in range(n):
        for j in range(i):
            pair = pair[1], pair[0] + pair[1]
            if j == 1:
                pointer += 1
    tl.store(pointer, pair[0])


def test_loops_carry_tuples_and_pointers():
    n = 4
    a, b, at = 0, 1, 0
    for i in range(n):
        for j in range(i):
            a, b = b, a + b
            at += j == 1
    out = value_of(nested_loop_kernel, "int32", 4, n=n)
    assert out[at] == a


@jit
def retyped_kernel(out, x, n):
    mask = tl.arange(0, 4) < n
    for i in range(n):
        mask = tl.arange(0, 8) < n + i
        tl.store(out + tl.arange(0, 8), 1, mask=mask)
    mask = n > 0
    tl.store(out, 5, mask=mask)


def test_a_name_that_a_loop_only_overwrites_is_not_carried():
    fn = compiled(retyped_kernel, out=np.zeros(8, np.int32), x=np.zeros(1, np.int32), n=2)
    assert not next(op for op in fn.walk() if op.name == "for").results
