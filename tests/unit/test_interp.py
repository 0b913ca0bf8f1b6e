"""The oracle against NumPy written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zmlx import dtypes as dt
from zmlx.errors import DeviceAccessError, DeviceAssertError
from zmlx.interp.tile import run
from zmlx.ir.parser import parse
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY

F32 = np.float32


def launch(params: str, body: str, grid: tuple[int, ...] = (1,), output: object = print, **args: object) -> None:
    fn = parse(f"kernel k({params}) {{\n{body}\n  return\n}}\n", REGISTRY)
    verify(fn)
    arrays = {k: v for k, v in args.items() if isinstance(v, np.ndarray)}
    scalars = {k: v for k, v in args.items() if not isinstance(v, np.ndarray)}
    run(fn, arrays, scalars, (*grid, 1, 1)[:3], output=output)  # type: ignore[arg-type]


def tile(name: str, elem: str, n: int = 8) -> str:
    """%name_p: the addresses of a whole array."""
    return f"""
  %{name}_b = splat %{name} {{shape = ({n})}} : {n}x*{elem}
  %{name}_i = arange {{start = 0, end = {n}}} : {n}xi32
  %{name}_p = addptr %{name}_b, %{name}_i : {n}x*{elem}
"""


def test_grid_masks_and_other() -> None:
    x, y = np.arange(10, dtype=F32), np.full(12, -1, F32)
    launch(
        "%x: *f32, %y: *f32, %n: i32",
        """
  %pid = program_id {axis = 0} : i32
  %four = constant {value = 4, type = i32} : i32
  %first = mul %pid, %four : i32
  %f = splat %first {shape = (4)} : 4xi32
  %r = arange {start = 0, end = 4} : 4xi32
  %o = add %f, %r : 4xi32
  %ns = splat %n {shape = (4)} : 4xi32
  %m = lt %o, %ns : 4xi1
  %xb = splat %x {shape = (4)} : 4x*f32
  %xp = addptr %xb, %o : 4x*f32
  %other = constant {value = 0.5, type = f32} : f32
  %os = splat %other {shape = (4)} : 4xf32
  %v = load %xp, %m, %os : 4xf32
  %w = add %v, %v : 4xf32
  %yb = splat %y {shape = (4)} : 4x*f32
  %yp = addptr %yb, %o : 4x*f32
  store %yp, %w""",
        grid=(3,),
        x=x,
        y=y,
        n=10,
    )
    np.testing.assert_array_equal(y, np.r_[2 * x, 1, 1])


@pytest.mark.parametrize(("index", "message"), [(10, "at index 10 of `x`, which has 10 elements"), (-1, "at index -1 of `x`")])
@pytest.mark.parametrize("verb", ["load", "store", "atomic"])
def test_out_of_bounds_names_everything(index: int, message: str, verb: str) -> None:
    use = {"load": "%v = load %p : f32", "store": "store %p, %one", "atomic": '%v = atomic_rmw %p, %one {kind = "add"} : f32'}[verb]
    body = f"""
  %i = constant {{value = {index}, type = i32}} : i32
  %one = constant {{value = 1.0, type = f32}} : f32
  %p = addptr %x, %i : *f32
  {use}"""
    with pytest.raises(DeviceAccessError, match=message) as caught:
        launch("%w: *f32, %x: *f32, %y: *f32", body, grid=(1, 2), w=np.zeros(9, F32), x=np.zeros(10, F32), y=np.zeros(9, F32))
    assert "in program (0, 0, 0)" in str(caught.value) and "mask=" in str(caught.value)


def test_masked_off_elements_touch_no_memory() -> None:
    x = np.arange(3, dtype=F32)
    body = (
        tile("x", "f32")
        + """
  %n = constant {value = 3, type = i32} : i32
  %ns = splat %n {shape = (8)} : 8xi32
  %m = lt %x_i, %ns : 8xi1
  %z = constant {value = 7.0, type = f32} : f32
  %zs = splat %z {shape = (8)} : 8xf32
  %v = load %x_p, %m, %zs : 8xf32
  %w = add %v, %zs : 8xf32
  store %x_p, %w, %m"""
    )
    launch("%x: *f32", body, x=x)
    np.testing.assert_array_equal(x, [7, 8, 9])


def test_null_and_misaligned_pointers() -> None:
    body = """
  %a = bitcast %x {to = i64} : i64
  %two = constant {value = 2, type = i64} : i64
  %b = add %a, %two : i64
  %p = bitcast %b {to = *f32} : *f32
  %v = load %p : f32"""
    with pytest.raises(DeviceAccessError, match="not aligned"):
        launch("%x: *f32", body, x=np.zeros(4, F32))
    with pytest.raises(DeviceAccessError, match="points into no array"):
        launch("%x: *f32", body.replace("add %a, %two", "sub %a, %a"), x=np.zeros(4, F32))


def test_half_types_round_after_each_op() -> None:
    h, b = np.array([2048, 1, 1], np.float16), dt.bf16_to_bits(np.array([256, 1, 1], F32))
    for name, elem, data in (("f16", dt.float16, h), ("bf16", dt.bfloat16, b)):
        out = np.zeros(1, elem.storage)
        body = f"""
  %one = constant {{value = 1, type = i32}} : i32
  %a = load %x : {name}
  %p = addptr %x, %one : *{name}
  %b = load %p : {name}
  %s = add %a, %b : {name}
  %t = add %s, %b : {name}
  store %y, %t"""
        launch(f"%x: *{name}, %y: *{name}", body, x=data, y=out)
        assert dt.decode(out, elem)[0] == dt.decode(data, elem)[0], "2048 + 1 is 2048 in float16, each time"


def test_pointers_are_values() -> None:
    """Compared, selected, carried through a loop."""
    x, y, out = np.arange(8, dtype=np.int32), np.arange(8, dtype=np.int32) + 100, np.zeros(3, np.int32)
    body = """
  %zero = constant {value = 0, type = i32} : i32
  %one = constant {value = 1, type = i32} : i32
  %less = lt %x, %y : i1
  %p = select %less, %y, %x : *i32
  %q, %sum = for %zero, %n, %one, %p, %zero : *i32, i32 {
  ^(%i: i32, %c: *i32, %s: i32):
    %v = load %c : i32
    %t = add %s, %v : i32
    %d = addptr %c, %one : *i32
    yield %d, %t
  }
  store %out, %sum
  %o1 = addptr %out, %one : *i32
  %v5 = load %q : i32
  store %o1, %v5"""
    launch("%x: *i32, %y: *i32, %out: *i32, %n: i32", body, x=x, y=y, out=out, n=5)
    np.testing.assert_array_equal(out, [sum(range(100, 105)), 105, 0])


def test_atomics_return_old_values_in_order() -> None:
    x, old = np.zeros(4, np.int32), np.zeros(8, np.int32)
    body = (
        tile("old", "i32")
        + """
  %three = constant {value = 3, type = i32} : i32
  %threes = splat %three {shape = (8)} : 8xi32
  %slot = and %old_i, %threes : 8xi32
  %xb = splat %x {shape = (8)} : 8x*i32
  %p = addptr %xb, %slot : 8x*i32
  %even = ne %slot, %threes : 8xi1
  %v = atomic_rmw %p, %threes, %even {kind = "add"} : 8xi32
  store %old_p, %v
  %cas = atomic_cas %x, %six, %three : i32
  %cas2 = atomic_cas %x, %six, %cas : i32"""
    )
    launch("%x: *i32, %old: *i32, %six: i32", body, x=x, old=old, six=6)
    np.testing.assert_array_equal(old, [0, 0, 0, 0, 3, 3, 3, 0])
    np.testing.assert_array_equal(x, [3, 6, 6, 0])


@pytest.mark.parametrize("kind", ["min", "max", "xchg", "and", "or", "xor"])
def test_atomic_kinds(kind: str) -> None:
    x, y = np.array([12], np.int32), np.array([10, 7, 3, 9, 12, 5, 6, 8], np.int32)
    start = int(x[0])
    body = (
        tile("y", "i32")
        + f"""
  %v = load %y_p : 8xi32
  %xb = splat %x {{shape = (8)}} : 8x*i32
  %old = atomic_rmw %xb, %v {{kind = "{kind}"}} : 8xi32"""
    )
    launch("%x: *i32, %y: *i32", body, x=x, y=y)
    ufunc = {"min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    assert x[0] == (y[-1] if kind == "xchg" else ufunc[kind].reduce(np.r_[start, y]))


def test_reduce_and_scan() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-50, 50, 32).astype(np.int32)
    out = {k: np.zeros(32, np.int32) for k in ("sum", "best", "cum", "rev")}
    body = (
        "".join(tile(n, "i32", 32) for n in ("x", "cum", "rev"))
        + """
  %v = load %x_p : 32xi32
  %m = reshape %v {shape = (4, 8)} : 4x8xi32
  %s = reduce %m {axis = 0} : 8xi32 {
  ^(%a: i32, %b: i32):
    %c = add %a, %b : i32
    yield %c
  }
  %i8 = arange {start = 0, end = 8} : 8xi32
  %sb = splat %sum {shape = (8)} : 8x*i32
  %sp = addptr %sb, %i8 : 8x*i32
  store %sp, %s
  %top, %at = reduce %v, %x_i {axis = 0} : i32, i32 {
  ^(%a1: i32, %i1: i32, %b1: i32, %j1: i32):
    %gt = gt %a1, %b1 : i1
    %eq = eq %a1, %b1 : i1
    %lt = lt %i1, %j1 : i1
    %tie = and %eq, %lt : i1
    %take = or %gt, %tie : i1
    %p = select %take, %a1, %b1 : i32
    %q = select %take, %i1, %j1 : i32
    yield %p, %q
  }
  store %best, %at
  %cs = scan %m {axis = 1, reverse = false} : 4x8xi32 {
  ^(%a2: i32, %b2: i32):
    %c2 = add %a2, %b2 : i32
    yield %c2
  }
  %rs = scan %m {axis = 1, reverse = true} : 4x8xi32 {
  ^(%a3: i32, %b3: i32):
    %two = constant {value = 2, type = i32} : i32
    %h = mul %a3, %two : i32
    %c3 = add %h, %b3 : i32
    yield %c3
  }
  %cf = reshape %cs {shape = (32)} : 32xi32
  %rf = reshape %rs {shape = (32)} : 32xi32
  store %cum_p, %cf
  store %rev_p, %rf"""
    )
    launch("%x: *i32, %sum: *i32, %best: *i32, %cum: *i32, %rev: *i32", body, x=x, **out)
    m = x.reshape(4, 8)
    np.testing.assert_array_equal(out["sum"][:8], m.sum(0))
    assert out["best"][0] == x.argmax()
    np.testing.assert_array_equal(out["cum"], m.cumsum(1).ravel())
    want = m.copy()
    for j in range(6, -1, -1):
        want[:, j] = 2 * want[:, j + 1] + m[:, j]
    np.testing.assert_array_equal(out["rev"], want.ravel())


def test_control_flow_in_a_combine_function() -> None:
    x, y = np.array([3, -5, 4, -9, 1, 2, 8, -7], F32), np.zeros(1, F32)
    body = (
        tile("x", "f32")
        + """
  %v = load %x_p : 8xf32
  %s = reduce %v {axis = 0} : f32 {
  ^(%a: f32, %b: f32):
    %c = lt %a, %b : i1
    %d = if %c : f32 {
    ^():
      yield %b
    ^():
      yield %a
    }
    yield %d
  }
  store %y, %s"""
    )
    launch("%x: *f32, %y: *f32", body, x=x, y=y)
    assert y[0] == 8


@pytest.mark.parametrize(("elem", "acc"), [("f16", "f32"), ("bf16", "f32"), ("f32", "f32"), ("i8", "i32"), ("f64", "f64")])
def test_dot(elem: str, acc: str) -> None:
    d, out_d = dt.BY_SHORT[elem], dt.BY_SHORT[acc]
    rng = np.random.default_rng(1)
    a = rng.integers(-128, 127, 512).astype(np.int8) if d.is_int else dt.encode(rng.normal(size=512).astype(d.compute), d)
    out = np.zeros(256, out_d.storage)
    body = f"""
  %ab = splat %a {{shape = (512)}} : 512x*{elem}
  %i = arange {{start = 0, end = 512}} : 512xi32
  %ap = addptr %ab, %i : 512x*{elem}
  %v = load %ap : 512x{elem}
  %m = reshape %v {{shape = (16, 32)}} : 16x32x{elem}
  %t = trans %m {{order = (1, 0)}} : 32x16x{elem}
  %one = constant {{value = 1, type = {acc}}} : {acc}
  %acc = splat %one {{shape = (16, 16)}} : 16x16x{acc}
  %d = dot %m, %t, %acc {{input_precision = "ieee"}} : 16x16x{acc}
  %f = reshape %d {{shape = (256)}} : 256x{acc}
  %ob = splat %out {{shape = (256)}} : 256x*{acc}
  %oi = arange {{start = 0, end = 256}} : 256xi32
  %op = addptr %ob, %oi : 256x*{acc}
  store %op, %f"""
    launch(f"%a: *{elem}, %out: *{acc}", body, a=a, out=out)
    m = dt.decode(a, d).astype(np.float64).reshape(16, 32)
    np.testing.assert_allclose(out.reshape(16, 16), 1 + m @ m.T, rtol=1e-6)


def test_while_and_zero_step() -> None:
    out = np.zeros(1, np.int32)
    body = """
  %one = constant {value = 1, type = i32} : i32
  %two = constant {value = 2, type = i32} : i32
  %x, %k = while %n, %zero : i32, i32 {
  ^(%c: i32, %k0: i32):
    %more = ne %c, %one : i1
    yield %more
  ^(%c1: i32, %k1: i32):
    %half = floordiv %c1, %two : i32
    %k2 = add %k1, %one : i32
    yield %half, %k2
  }
  store %out, %k"""
    launch("%out: *i32, %n: i32, %zero: i32", body, out=out, n=1024, zero=0)
    assert out[0] == 10
    loop = "  for %zero, %n, %zero {\n  ^(%i: i32):\n    yield\n  }"
    with pytest.raises(DeviceAssertError, match="a range has step 0"):
        launch("%out: *i32, %n: i32, %zero: i32", loop, out=out, n=4, zero=0)


def test_prints_and_asserts() -> None:
    lines: list[str] = []
    body = """
  %pid = program_id {axis = 1} : i32
  %r = arange {start = 0, end = 2} : 2xi32
  %x = cast %r {to = f32} : 2xf32
  device_print %pid {prefix = "pid", hex = false}
  device_print %r, %x {prefix = "v", hex = false}
  device_print %u {prefix = "u", hex = true}
  device_print %h {prefix = "h", hex = true}
  device_print {prefix = "here", hex = false}
  %c = lt %pid, %n : i1
  device_assert %c {message = "too many"}"""
    with pytest.raises(DeviceAssertError, match=r"too many, in program \(0, 1, 0\)"):
        launch("%n: i32, %u: u8, %h: bf16", body, grid=(1, 2), output=lines.append, n=1, u=10, h=-1.0)
    assert lines[:8] == [
        "pid (0, 0, 0) idx () pid: 0",
        "pid (0, 0, 0) idx (0) v (operand 0): 0",
        "pid (0, 0, 0) idx (1) v (operand 0): 1",
        "pid (0, 0, 0) idx (0) v (operand 1): 0",
        "pid (0, 0, 0) idx (1) v (operand 1): 1",
        "pid (0, 0, 0) idx () u: 0x0a",
        "pid (0, 0, 0) idx () h: 0xbf80",
        "pid (0, 0, 0) here",
    ]


def test_masked_assert_and_scalar_arguments() -> None:
    body = """
  %r = arange {start = 0, end = 4} : 4xi32
  %ns = splat %n {shape = (4)} : 4xi32
  %ok = lt %r, %ns : 4xi1
  device_assert %ok, %ok {message = ""}
  device_assert %flag {message = ""}"""
    launch("%n: i32, %flag: i1", body, n=2, flag=True)
    with pytest.raises(DeviceAssertError, match="the condition does not hold"):
        launch("%n: i32, %flag: i1", body, n=2, flag=False)


def test_integers_wrap() -> None:
    out = np.zeros(1, np.int8)
    body = """
  %c = constant {value = 100, type = i8} : i8
  %s = add %c, %c : i8
  store %out, %s"""
    launch("%out: *i8", body, out=out)
    assert out[0] == -56
