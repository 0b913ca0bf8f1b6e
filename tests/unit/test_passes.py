"""Passes: each keeps what a program computes, bit for bit; and each does what it is for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_ir import BUFFERS, GRID, Generator, buffers, scalars

from zmlx import dtypes as dt
from zmlx.interp.tile import run
from zmlx.ir.core import Function
from zmlx.ir.parser import parse
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY
from zmlx.passes import canonicalize, cse, dce, induction, licm, pipeline

QUICK = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def random_function(seed: int, size: int, indices: bool = False) -> Function:
    return Generator(random.Random(seed), indices).function(size)


def observed(fn: Function, seed: int = 0) -> dict[str, bytes]:
    """All memory after a run; NaNs are alike."""
    arrays = buffers(seed)
    run(fn, arrays, scalars(), GRID)
    out = {}
    for d in BUFFERS:
        a = arrays[f"p_{d.short}"]
        nan = np.isnan(dt.decode(a, d)) if d.is_float else np.zeros(a.shape, bool)
        out[d.short] = np.where(nan, 0, a.view(f"u{a.dtype.itemsize}")).tobytes() + nan.tobytes()
    return out


@QUICK
@given(st.integers(0, 2**32), st.integers(3, 25))
def test_pipeline_keeps_results(seed: int, size: int) -> None:
    fn = random_function(seed, size)
    verify(fn)
    before, text = observed(fn), str(fn)
    assert str(parse(text, REGISTRY)) == text
    for step in pipeline.PIPELINE:
        earlier = str(fn)
        changed = step.run(fn)
        verify(fn)
        later = str(fn)
        assert later == str(parse(later, REGISTRY))
        if later == earlier:
            continue
        assert changed
        assert observed(fn) == before, f"{step.__name__} changed the results of\n{text}\nto\n{fn}"


def build(body: str, params: str = "%p: *f32, %q: *i32, %n: i32, %f: f32, %c: i1") -> Function:
    fn = parse(f"kernel k({params}) {{\n{body}\n  return\n}}\n", REGISTRY)
    verify(fn)
    return fn


def names(fn: Function) -> list[str]:
    return [op.name for op in fn.body.ops]


HEAD = """
  %r = arange {start = 0, end = 8} : 8xi32
  %ns = splat %n {shape = (8)} : 8xi32
  %fs = splat %f {shape = (8)} : 8xf32
  %ps = splat %p {shape = (8)} : 8x*f32
  %ptr = addptr %ps, %ns : 8x*f32
  %x = load %ptr : 8xf32
  %xi = cast %x {to = i32, rounding = "rtne"} : 8xi32
"""
SINK = {
    "f32": "store %ptr, %out",
    "i32": "%sink = addptr %q, %n : *i32\n  %sinks = splat %sink {shape = (8)} : 8x*i32\n  store %sinks, %out",
}
MASKED = "%out = load %ptr, %m, %fs : 8xf32"


def simplified(expression: str, elem: str = "f32") -> str:
    """What %out is after canonicalisation, in terms of named values."""
    fn = build(HEAD + expression + "\n  " + SINK[elem])
    canonicalize.run(fn)
    verify(fn)
    stored = fn.body.ops[-2].operands[1]
    assert stored.op is not None
    return stored.name if stored.name in ("x", "xi", "fs") else stored.op.name


@pytest.mark.parametrize(
    ("expression", "elem", "want"),
    [
        ("%c0 = constant {value = 0, type = i32} : i32\n%z = splat %c0 {shape = (8)} : 8xi32\n%out = add %xi, %z : 8xi32", "i32", "xi"),
        ("%c0 = constant {value = 0, type = i32} : i32\n%z = splat %c0 {shape = (8)} : 8xi32\n%out = mul %z, %xi : 8xi32", "i32", "splat"),
        ("%c0 = constant {value = 0.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = add %x, %z : 8xf32", "f32", "add"),
        ("%c0 = constant {value = -0.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = add %z, %x : 8xf32", "f32", "x"),
        ("%c0 = constant {value = 0.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = sub %x, %z : 8xf32", "f32", "x"),
        ("%c0 = constant {value = 0.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = mul %x, %z : 8xf32", "f32", "mul"),
        ("%c0 = constant {value = 1.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = mul %z, %x : 8xf32", "f32", "x"),
        ("%c0 = constant {value = 8.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = div %x, %z : 8xf32", "f32", "mul"),
        ("%c0 = constant {value = 10.0, type = f32} : f32\n%z = splat %c0 {shape = (8)} : 8xf32\n%out = div %x, %z : 8xf32", "f32", "div"),
        ("%out = sub %x, %x : 8xf32", "f32", "sub"),
        ("%out = sub %xi, %xi : 8xi32", "i32", "splat"),
        ("%y = neg %x : 8xf32\n%out = neg %y : 8xf32", "f32", "x"),
        ('%y = cast %x {to = f64, rounding = "rtne"} : 8xf64\n%out = cast %y {to = f32, rounding = "rtne"} : 8xf32', "f32", "x"),
        ('%y = cast %xi {to = i8, rounding = "rtne"} : 8xi8\n%out = cast %y {to = i32, rounding = "rtne"} : 8xi32', "i32", "cast"),
        ('%y = cast %xi {to = i64, rounding = "rtne"} : 8xi64\n%out = cast %y {to = i32, rounding = "rtne"} : 8xi32', "i32", "xi"),
        ("%m = eq %x, %x : 8xi1\n%out = select %m, %x, %fs : 8xf32", "f32", "select"),
        ("%m = eq %xi, %xi : 8xi1\n%out = select %m, %x, %fs : 8xf32", "f32", "x"),
        ("%m = lt %r, %xi : 8xi1\n%out = select %m, %x, %x : 8xf32", "f32", "x"),
        ("%y = reshape %x {shape = (2, 4)} : 2x4xf32\n%out = reshape %y {shape = (8)} : 8xf32", "f32", "x"),
        ("%y = flip %x {axis = 0} : 8xf32\n%out = flip %y {axis = 0} : 8xf32", "f32", "x"),
        ("%y = join %x, %fs : 8x2xf32\n%out, %b = split %y : 8xf32, 8xf32", "f32", "x"),
        ("%o = constant {value = true, type = i1} : i1\n%m = splat %o {shape = (8)} : 8xi1\n" + MASKED, "f32", "load"),
        ("%o = constant {value = false, type = i1} : i1\n%m = splat %o {shape = (8)} : 8xi1\n" + MASKED, "f32", "fs"),
    ],
)  # fmt: skip
def test_identities(expression: str, elem: str, want: str) -> None:
    assert simplified(expression, elem) == want


def test_exact_block_needs_no_mask() -> None:
    """arange(0, 8) < 8 is true, and the load loses its mask."""
    fn = build(
        HEAD
        + """
  %e = constant {value = 8, type = i32} : i32
  %es = splat %e {shape = (8)} : 8xi32
  %m = lt %r, %es : 8xi1
  %y = load %ptr, %m, %fs : 8xf32
  store %ptr, %y, %m"""
    )
    pipeline.optimize(fn)
    assert [len(op.operands) for op in fn.walk() if op.name in ("load", "store")] == [1, 2]


def test_splats_are_computed_as_scalars() -> None:
    fn = build(HEAD + "%y = mul %fs, %fs : 8xf32\n%z = add %y, %fs : 8xf32\n  store %ptr, %z")
    pipeline.optimize(fn)
    assert all(op.result.shape == () for op in fn.walk() if op.name in ("mul", "add"))


def test_known_control_flow_disappears() -> None:
    fn = build(
        HEAD
        + """
  %t = constant {value = true, type = i1} : i1
  %z = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  %a = if %t : 8xf32 {
  ^():
    yield %x
  ^():
    yield %fs
  }
  %b = for %z, %z, %one, %a : 8xf32 {
  ^(%i: i32, %s: 8xf32):
    %u = mul %s, %s : 8xf32
    yield %u
  }
  %d = for %z, %one, %one, %b : 8xf32 {
  ^(%j: i32, %v: 8xf32):
    %w = add %v, %v : 8xf32
    yield %w
  }
  store %ptr, %d"""
    )
    pipeline.optimize(fn)
    assert not [op for op in fn.walk() if op.has("structured")]
    assert "mul" not in names(fn) and names(fn).count("add") == 1


def test_dead_carried_values_and_branch_results_go() -> None:
    fn = build(
        HEAD
        + """
  %z = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  %a, %b, %k = for %z, %n, %one, %x, %x, %x : 8xf32, 8xf32, 8xf32 {
  ^(%i: i32, %s: 8xf32, %d: 8xf32, %same: 8xf32):
    %u = add %s, %same : 8xf32
    %e = mul %d, %d : 8xf32
    yield %u, %e, %same
  }
  %g, %h = if %c : 8xf32, 8xf32 {
  ^():
    %dead = exp %a : 8xf32
    yield %a, %dead
  ^():
    yield %x, %x
  }
  store %ptr, %g"""
    )
    pipeline.optimize(fn)
    loop, branch = (op for op in fn.body.ops if op.has("structured"))
    assert len(loop.results) == 1 and len(branch.results) == 1
    assert not {"mul", "exp"} & {op.name for op in fn.walk()}


def test_effects_stay() -> None:
    fn = build(
        HEAD
        + """
  %z = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  for %z, %n, %one {
  ^(%i: i32):
    if %c {
    ^():
      store %ptr, %x
      yield
    ^():
      yield
    }
    yield
  }
  %old = atomic_rmw %q, %n {kind = "add"} : i32
  %unused = load %q : i32
  debug_barrier
  device_print {prefix = "x", hex = false}"""
    )
    pipeline.optimize(fn)
    kept = [op.name for op in fn.walk() if not op.defn.pure]
    assert kept == ["load", "for", "if", "store", "yield", "yield", "yield", "atomic_rmw", "debug_barrier", "device_print", "return"]


def test_equal_ops_merge_within_their_scope() -> None:
    fn = build(
        HEAD
        + """
  %a = add %xi, %r : 8xi32
  %b = add %r, %xi : 8xi32
  %s1 = reduce %xi {axis = 0} : i32 {
  ^(%l: i32, %m: i32):
    %t = add %l, %m : i32
    yield %t
  }
  %s2 = reduce %xi {axis = 0} : i32 {
  ^(%l2: i32, %m2: i32):
    %t2 = add %l2, %m2 : i32
    yield %t2
  }
  %s3 = reduce %xi {axis = 0} : i32 {
  ^(%l3: i32, %m3: i32):
    %t3 = maximum %l3, %m3 : i32
    yield %t3
  }
  if %c {
  ^():
    %d1 = exp %x : 8xf32
    store %ptr, %d1
    yield
  ^():
    %d2 = exp %x : 8xf32
    store %ptr, %d2
    yield
  }
  %e = exp %x : 8xf32
  store %ptr, %e"""
    )
    cse.run(fn)
    verify(fn)
    count = [op.name for op in fn.walk()]
    assert count.count("reduce") == 2 and count.count("exp") == 3
    assert [op.name for op in fn.body.ops].count("add") == 1


def test_invariants_leave_loops_but_not_branches() -> None:
    fn = build(
        HEAD
        + """
  %z = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  for %z, %n, %one {
  ^(%i: i32):
    for %z, %n, %one {
    ^(%j: i32):
      %a = exp %x : 8xf32
      %is = splat %i {shape = (8)} : 8xi32
      %y = load %ptr : 8xf32
      if %c {
      ^():
        %b = log %x : 8xf32
        store %ptr, %b
        yield
      ^():
        yield
      }
      %d = add %a, %y : 8xf32
      store %ptr, %d
      device_print %is {prefix = "", hex = false}
      yield
    }
    yield
  }"""
    )
    licm.run(fn)
    verify(fn)
    outer = next(op for op in fn.body.ops if op.name == "for")
    inner = next(op for op in outer.regions[0].ops if op.name == "for")
    assert "exp" in names(fn)
    assert [op.name for op in outer.regions[0].ops] == ["splat", "for", "yield"]
    assert [op.name for op in inner.regions[0].ops] == ["load", "if", "add", "store", "device_print", "yield"]
    assert [op.name for op in inner.regions[0].ops[1].regions[0].ops] == ["log", "store", "yield"]


def test_advancing_tiles_become_a_base_and_a_scalar() -> None:
    """ptr += 32 and offs += n carry one scalar each; a tile step carries the trip count."""
    fn = build(
        HEAD
        + """
  %z = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  %k = constant {value = 32, type = i32} : i32
  %ks = splat %k {shape = (8)} : 8xi32
  %p1, %o1, %p2, %acc = for %z, %n, %one, %ptr, %r, %ptr, %x : 8x*f32, 8xi32, 8x*f32, 8xf32 {
  ^(%i: i32, %a: 8x*f32, %o: 8xi32, %b: 8x*f32, %s: 8xf32):
    %v = load %a : 8xf32
    %w = load %b : 8xf32
    %t = add %s, %v : 8xf32
    %u = add %t, %w : 8xf32
    store %a, %u
    %a1 = addptr %a, %ks : 8x*f32
    %a2 = addptr %a1, %ns : 8x*f32
    %o2 = add %ns, %o : 8xi32
    %b1 = addptr %b, %xi : 8x*f32
    yield %a2, %o2, %b1, %u
  }
  store %p1, %acc
  store %p2, %acc
  %sink = splat %q {shape = (8)} : 8x*i32
  store %sink, %o1"""
    )
    text = str(fn)
    pipeline.optimize(fn)
    loop = next(op for op in fn.body.ops if op.name == "for")
    assert sorted(str(r.type) for r in loop.results) == ["8xf32", "i32", "i64", "i64"]

    def memory(f: Function) -> list[bytes]:
        p, q = np.linspace(0, 3, 400, dtype=np.float32), np.zeros(8, np.int32)
        run(f, {"p": p, "q": q}, {"n": 3, "f": 0.0, "c": True}, (1, 1, 1))
        return [p.tobytes(), q.tobytes()]

    assert memory(fn) == memory(parse(text, REGISTRY))


def test_passes_say_whether_they_changed_anything() -> None:
    fn = random_function(3, 20)
    pipeline.optimize(fn)
    pipeline.optimize(fn)
    for step in (canonicalize, cse, licm, induction, dce):
        text = str(fn)
        assert step.run(fn) is False
        assert str(fn) == text


def test_pipeline_verifies_and_dumps(monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("ZMLX_VERIFY", "1")
    monkeypatch.setenv("ZMLX_DUMP_DIR", str(tmp_path))
    pipeline.optimize(random_function(5, 10))
    files = sorted(p.name for p in tmp_path.iterdir())  # type: ignore[attr-defined]
    assert len(files) == len(pipeline.PIPELINE) + 1
    assert files[0].endswith("traced.zmir") and files[-1].endswith("dce.zmir")


def test_a_long_kernel_passes() -> None:
    """Thousands of ops in a row cost no recursion, and a chain of sums of nothing known stays as it is."""
    rows = "\n".join(f"%y{i} = add %{'x' if i == 0 else f'y{i - 1}'}, %fs : 8xf32" for i in range(2000))
    fn = pipeline.optimize(build(HEAD + rows + "\n  store %ptr, %y1999"))
    assert names(fn).count("add") == 2000
