"""Launching on MLX arrays: rebinding, partial writes, in-out, fresh outputs, arguments of every kind, refusals."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx.errors import (
    ArgumentError,
    ArrayError,
    CompilationError,
    DeviceAssertError,
    GridError,
    LaunchError,
    LaunchOptionError,
    TargetUnavailableError,
)

EAGER = ("cpu", "interpret")


@pytest.fixture(params=zmlx.targets(), autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with zmlx.use_target(request.param) as name:
        yield name


@zmlx.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)


@zmlx.jit
def double_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


@zmlx.jit
def fill_kernel(out_ptr, value, start, BLOCK: tl.constexpr):
    tl.store(out_ptr + start + tl.arange(0, BLOCK), value)


@zmlx.jit
def split_kernel(x_ptr, up_ptr, down_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    tl.store(down_ptr + at, x - 1)
    tl.store(up_ptr + at, x + 1)


@zmlx.jit
def copy_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))


@zmlx.jit
def count_kernel(out_ptr):
    tl.atomic_add(out_ptr, 1)


@zmlx.jit
def nothing_kernel(x_ptr, n):
    tl.load(x_ptr + n)


def ramp(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


# ---- what a launch does -----------------------------------------------------------------------------------------------


def test_output_is_rebound_and_returned() -> None:
    x, y = ramp(100), ramp(100) + 1
    out = zmlx.empty_like(x)
    alias = out
    result = add_kernel[(2,)](x, y, out, 100, BLOCK=64)
    assert result is out is alias and type(out) is mx.array
    assert mx.array_equal(out, x + y)


def test_values_taken_from_an_array_before_a_launch_stay() -> None:
    x = ramp(64)
    before, view = x + 0, x[:3]
    double_kernel[(1,)](x, 64, BLOCK=64)
    assert mx.array_equal(x, before * 2) and view.tolist() == [0, 1, 2]


def test_in_out_updates_from_the_old_content() -> None:
    x = ramp(300)
    for k in range(1, 4):
        assert double_kernel[(5,)](x, 300, BLOCK=64) is x
        assert mx.array_equal(x, ramp(300) * 2**k)


def test_partial_writes_keep_the_rest() -> None:
    x = ramp(64)
    fill_kernel[(1,)](x, 9.0, 8, BLOCK=16)
    expected = ramp(64)
    expected[8:24] = 9
    assert mx.array_equal(x, expected)


def test_partial_writes_into_zeros_and_full() -> None:
    z = fill_kernel[(1,)](zmlx.zeros((64,)), 9.0, 8, BLOCK=16)
    assert z.sum().item() == 9 * 16
    f = fill_kernel[(1,)](zmlx.full((64,), 3.0), 9.0, 8, BLOCK=16)
    assert f.sum().item() == 9 * 16 + 3 * 48


def test_two_outputs_come_back_in_parameter_order() -> None:
    x, up, down = ramp(64), zmlx.empty((64,)), zmlx.empty((64,))
    result = split_kernel[(1,)](x, up, down, BLOCK=64)
    assert isinstance(result, tuple) and result[0] is up and result[1] is down
    assert mx.array_equal(up, x + 1) and mx.array_equal(down, x - 1)


def test_a_kernel_that_writes_nothing_returns_none() -> None:
    assert nothing_kernel[(1,)](ramp(4), 1) is None


def test_the_same_array_as_input_and_output_is_read_with_its_old_content() -> None:
    x = ramp(64)
    old = x + 0
    assert add_kernel[(1,)](x, x, x, 64, BLOCK=64) is x
    assert mx.array_equal(x, old * 2)


def test_chains_of_launches() -> None:
    x = mx.random.normal((4, 64))
    y = zmlx.empty_like(x)
    for _ in range(5):
        x = add_kernel[(4,)](x * 0.5, x * 0.5, y, 256, BLOCK=64) + 0
        y = zmlx.empty_like(x)
    assert x.shape == (4, 64)


def test_atomics_start_from_the_declared_value() -> None:
    for out, start in (
        (zmlx.empty((1,), mx.int32), 0),
        (zmlx.zeros((1,), mx.int32), 0),
        (zmlx.full((1,), 7, mx.int32), 7),
        (mx.array([5]), 5),
    ):
        assert count_kernel[(100,)](out).item() == start + 100
    again = zmlx.empty((1,), mx.int32)
    for k in range(1, 3):  # after the first launch the array has content
        assert count_kernel[(10,)](again).item() == 10 * k


def test_zero_dimensional_and_shaped_arrays_keep_their_shape() -> None:
    assert fill_kernel[(1,)](mx.array(1.0), 4.0, 0, BLOCK=1).shape == ()
    out = zmlx.empty((2, 3, 4, 5, 1))
    assert fill_kernel[(1,)](zmlx.zeros(out.shape), 4.0, 0, BLOCK=16).shape == out.shape


# ---- fresh arrays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["a += 1", "a -= -1", "a[...] = mx.ones((64,))", "a[:] = 1", "a **= 0", "a[0] = 1; a = mx.ones((64,))"])
def test_in_place_operators_end_freshness(change: str) -> None:
    names = {"a": zmlx.zeros((64,)), "mx": mx}
    alias = names["a"]
    exec(change, names)
    a = names["a"]
    assert type(a) is mx.array and type(alias) is mx.array
    fill_kernel[(1,)](a, 9.0, 0, BLOCK=16)
    assert a.sum().item() == 9 * 16 + 48


def test_fresh_arrays_are_arrays() -> None:
    a = zmlx.empty((3, 2), mx.bfloat16)
    assert isinstance(a, mx.array) and a.shape == (3, 2) and a.dtype == mx.bfloat16
    assert type(a + 1) is mx.array and type(pickle.loads(pickle.dumps(zmlx.zeros((2,))))) is mx.array
    assert zmlx.zeros((2,)).tolist() == [0, 0] and zmlx.full((2,), 3).dtype == mx.int32
    assert zmlx.empty(4).shape == (4,) and zmlx.empty_like(a, mx.int8).dtype == mx.int8
    assert mx.compile(lambda x: x + 1)(zmlx.zeros((2,))).tolist() == [1, 1]
    assert zmlx.strides(mx.zeros((2, 3, 4))) == (12, 4, 1) and zmlx.strides(mx.array(1)) == ()


def test_freshness_survives_nothing_it_should_not() -> None:
    for _ in range(50):  # objects die and their addresses are used again
        fresh = zmlx.empty((16,))
        del fresh
        gc.collect(0)
        a = mx.ones((64,))
        fill_kernel[(1,)](a, 9.0, 0, BLOCK=16)
        assert a.sum().item() == 9 * 16 + 48


# ---- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda x: x.T, lambda x: x[::2], lambda x: x[:, ::2], lambda x: mx.broadcast_to(x[:1], x.shape), lambda x: x[1:]]
)
def test_inputs_of_any_layout(make) -> None:
    x = make(ramp(8, 16))
    flat = mx.contiguous(x).reshape(-1)
    block = 16
    n = flat.size // block * block
    out = copy_kernel[(n // block,)](x, zmlx.empty((n,)), BLOCK=block)
    assert mx.array_equal(out, flat[:n])


def test_written_views_keep_their_own_content() -> None:
    base = ramp(8, 16)
    for view in (base.T, base[2:4], base[:, ::2]):
        expected = mx.contiguous(view + 0)
        fill_kernel[(1,)](view, -1.0, 0, BLOCK=8)
        flat = expected.reshape(-1)
        flat[:8] = -1
        assert mx.array_equal(view, flat.reshape(expected.shape))
    assert mx.array_equal(base, ramp(8, 16))


DTYPES = [mx.bool_, mx.int8, mx.int16, mx.int32, mx.int64, mx.uint8, mx.uint16, mx.uint32, mx.uint64, mx.float16, mx.bfloat16, mx.float32]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype: mx.Dtype) -> None:
    x = (ramp(64) % 2).astype(dtype)
    assert mx.array_equal(copy_kernel[(1,)](x, zmlx.empty_like(x), BLOCK=64), x)
    y = mx.zeros((64,), dtype)
    assert copy_kernel[(1,)](x, y, BLOCK=64).dtype == dtype


def test_float64_arrays(target: str) -> None:
    if target not in EAGER:
        with pytest.raises(ArrayError, match="float64"):
            copy_kernel[(1,)](mx.zeros((16,), mx.float64), zmlx.empty((16,)), BLOCK=16)
        return
    x = mx.arange(16).astype(mx.float64, stream=mx.cpu)
    out = copy_kernel[(1,)](x, zmlx.empty((16,), mx.float64), BLOCK=16)
    assert out.dtype == mx.float64 and out.tolist() == list(range(16))


@zmlx.jit
def scalar_kernel(out_ptr, value):
    tl.store(out_ptr, value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (True, mx.bool_),
        (False, mx.int32),
        (0, mx.int32),
        (1, mx.int32),
        (16, mx.int32),
        (-7, mx.int64),
        (2**31 - 1, mx.int32),
        (2**31, mx.int64),
        (-(2**63), mx.int64),
        (2**63, mx.uint64),
        (2**64 - 1, mx.uint64),
        (1.5, mx.float32),
        (-0.0, mx.float32),
        (float("inf"), mx.float32),
        (np.int64(5), mx.int32),
        (np.float32(2.5), mx.float32),
        (np.bool_(True), mx.bool_),
    ],
    ids=repr,
)
def test_scalars(value, dtype: mx.Dtype) -> None:
    got = scalar_kernel[(1,)](zmlx.empty((1,), dtype), value).item()
    assert got == value and np.signbit(float(got)) == np.signbit(float(value))


def test_a_float_beyond_float32_is_infinite() -> None:
    assert scalar_kernel[(1,)](zmlx.empty((1,)), -1e300).item() == -float("inf")
    assert np.isnan(scalar_kernel[(1,)](zmlx.empty((1,)), float("nan")).item())


def test_scalars_of_mixed_width_in_one_launch() -> None:
    @zmlx.jit
    def mixed_kernel(out_ptr, a, b, c, d, e):
        tl.store(out_ptr, a)
        tl.store(out_ptr + 1, b)
        tl.store(out_ptr + 2, c)
        tl.store(out_ptr + 3, d.to(tl.int64))
        tl.store(out_ptr + 4, e)

    out = mixed_kernel[(1,)](zmlx.empty((5,), mx.int64), True, 2**40, -3, 4.0, 5)
    assert out.tolist() == [1, 2**40, -3, 4, 5]


def test_offsets_of_64_bits() -> None:
    x = ramp(64)
    out = fill_kernel[(1,)](zmlx.zeros((64,)), 1.0, 0, BLOCK=16)
    assert out.sum().item() == 16

    @zmlx.jit
    def far_kernel(x_ptr, out_ptr, big):
        at = tl.program_id(0).to(tl.int64) * big
        tl.store(out_ptr, tl.load(x_ptr + (at + big) // big))

    assert far_kernel[(1,)](x, zmlx.empty((1,)), 2**40).item() == 1


def test_constants_of_every_kind() -> None:
    @zmlx.jit
    def twice(v):
        return v * 2

    @zmlx.jit
    def constant_kernel(
        out_ptr, maybe, fn: tl.constexpr, dtype: tl.constexpr, mode: tl.constexpr, sizes: tl.constexpr, k: tl.constexpr = 3
    ):
        v = tl.full((1,), k, dtype)
        if maybe is None:
            v = fn(v)
        if mode == "negative":
            v = -v
        tl.store(out_ptr + tl.arange(0, 1), v + sizes[1])

    def run(**kw):
        base = {"maybe": None, "fn": twice, "dtype": mx.float32, "mode": "plain", "sizes": (1, 2)}
        return constant_kernel[(1,)](zmlx.empty((1,)), **(base | kw)).item()

    assert run() == 8 and run(k=5) == 12 and run(mode="negative") == -4 and run(sizes=(1, 7)) == 13
    assert run(maybe=mx.array([1.0])) == 5 and run(dtype=tl.int32) == 8


def test_values_that_python_calls_equal_get_their_own_kernels() -> None:
    @zmlx.jit
    def typed_kernel(out_ptr, K: tl.constexpr):
        tl.store(out_ptr, 1.0 / 2 if K is True else K / 2)

    for k, expected in ((1, 0.5), (True, 0.5), (1.0, 0.5)):
        assert typed_kernel[(1,)](zmlx.empty((1,)), K=k).item() == expected
    assert len(typed_kernel._plans) == 3


def test_thirty_arrays() -> None:
    assert thirty_kernel[(1,)](*[mx.array([float(i)]) for i in range(30)], zmlx.empty((1,))).item() == sum(range(30))


@zmlx.jit
def thirty_kernel(
    p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14,
    p15, p16, p17, p18, p19, p20, p21, p22, p23, p24, p25, p26, p27, p28, p29, out,
):  # fmt: skip
    s = tl.load(p0) + tl.load(p1) + tl.load(p2) + tl.load(p3) + tl.load(p4) + tl.load(p5) + tl.load(p6) + tl.load(p7)
    s += tl.load(p8) + tl.load(p9) + tl.load(p10) + tl.load(p11) + tl.load(p12) + tl.load(p13) + tl.load(p14) + tl.load(p15)
    s += tl.load(p16) + tl.load(p17) + tl.load(p18) + tl.load(p19) + tl.load(p20) + tl.load(p21) + tl.load(p22) + tl.load(p23)
    s += tl.load(p24) + tl.load(p25) + tl.load(p26) + tl.load(p27) + tl.load(p28) + tl.load(p29)
    tl.store(out, s)


@pytest.mark.parametrize("held", ["n", 1])
def test_do_not_specialize(held) -> None:
    @zmlx.jit(do_not_specialize=[held])
    def held_kernel(out_ptr, n):
        tl.store(out_ptr, n)

    for n in (1, 2, 16, 32):
        assert held_kernel[(1,)](zmlx.empty((1,), mx.int32), n).item() == n
    assert len(held_kernel._plans) == 1


def test_specialisation_counts() -> None:
    @zmlx.jit
    def free_kernel(out_ptr, n):
        tl.store(out_ptr, n)

    for n in (1, 2, 3, 16, 32, 2**40):
        assert free_kernel[(1,)](zmlx.empty((1,), mx.int64), n).item() == n
    assert len(free_kernel._plans) == 4  # 1, plain, divisible by 16, 64 bits


def test_parameters_by_name_and_defaults() -> None:
    @zmlx.jit
    def named_kernel(out_ptr, a=2.0, *, b=3, BLOCK: tl.constexpr = 4):
        tl.store(out_ptr + tl.arange(0, BLOCK), a + b)

    assert named_kernel[(1,)](zmlx.empty((4,))).tolist() == [5] * 4
    assert named_kernel[(1,)](out_ptr=zmlx.empty((8,)), b=1, BLOCK=8, a=1.0).tolist() == [2] * 8


def test_a_parameter_named_like_an_option_receives_it() -> None:
    @zmlx.jit
    def option_kernel(out_ptr, num_warps: tl.constexpr):
        tl.store(out_ptr, num_warps)

    assert option_kernel[(1,)](zmlx.empty((1,), mx.int32)).item() == 4
    assert option_kernel[(1,)](zmlx.empty((1,), mx.int32), num_warps=8).item() == 8


# ---- the grid ---------------------------------------------------------------------------------------------------------


@zmlx.jit
def place_kernel(out_ptr):
    i, j, k = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tl.store(out_ptr + (k * tl.num_programs(1) + j) * tl.num_programs(0) + i, i + 10 * j + 100 * k)


@pytest.mark.parametrize("grid", [4, (4,), [4], (4, 3), (4, 3, 2), (np.int64(4), 3), lambda args: 4, lambda args: (args["out_ptr"].size,)])
def test_grids(grid) -> None:
    out = place_kernel[grid](zmlx.zeros((24,), mx.int32))
    dims = grid if isinstance(grid, (tuple, list)) else (24,) if callable(grid) and isinstance(grid({"out_ptr": out}), tuple) else (4,)
    g = (*map(int, dims), 1, 1)[:3]
    expected = [i + 10 * j + 100 * k for k in range(g[2]) for j in range(g[1]) for i in range(g[0])]
    assert out.tolist()[: len(expected)] == expected


def test_a_grid_function_sees_every_argument() -> None:
    seen = {}

    def grid(args):
        seen.update(args)
        return (zmlx.cdiv(args["n"], args["BLOCK"]),)

    x = ramp(100)
    add_kernel[grid](x, x, zmlx.empty_like(x), 100, BLOCK=32)
    assert set(seen) == {"x_ptr", "y_ptr", "out_ptr", "n", "BLOCK"} and seen["BLOCK"] == 32 and seen["x_ptr"] is x


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ((0,), "no program would run"),
        ((4, -1), "no program would run"),
        ((), "0 dimensions"),
        ((1, 1, 1, 1), "4 dimensions"),
        (2.0, "zmlx.cdiv"),
        ((True,), "bool"),
        ("4", "str"),
        (mx.array(4), "array"),
        (None, "NoneType"),
        ((2**31,), "at most"),
        (lambda args: 0, "no program would run"),
    ],
    ids=str,
)
def test_grids_refused(grid, words: str) -> None:
    with pytest.raises(GridError, match=words):
        place_kernel[grid](zmlx.zeros((24,), mx.int32))


# ---- refusals ---------------------------------------------------------------------------------------------------------


def refused(error: type[Exception], words: str, *args, grid=(1,), kernel=add_kernel, **kwargs) -> None:
    x = ramp(8)
    with pytest.raises(error, match=words):
        kernel[grid](*args, **kwargs)
    assert mx.array_equal(x, ramp(8))


def test_wrong_arguments() -> None:
    x, out = ramp(8), zmlx.empty((8,))
    refused(ArgumentError, "needs out_ptr, n, BLOCK as well", x, x)
    refused(ArgumentError, "needs the constexpr BLOCK", x, x, out, 8)
    refused(ArgumentError, "takes 5 arguments by position, got 6", x, x, out, 8, 8, 9)
    refused(ArgumentError, "no parameter 'BLOK'; did you mean BLOCK", x, x, out, 8, BLOK=8)
    refused(ArgumentError, "did you mean num_warps", x, x, out, 8, BLOCK=8, num_warp=4)
    refused(ArgumentError, "BLOCK is a constexpr, got an array", x, x, out, 8, BLOCK=mx.array(8))
    refused(ArgumentError, "n is a object", x, x, out, object(), BLOCK=8)
    refused(ArgumentError, "n is a dict", x, x, out, {}, BLOCK=8)
    refused(ArgumentError, "fits no 64-bit type", x, x, out, 2**64, BLOCK=8)
    refused(ArgumentError, "ArraySpec", x, x, zmlx.ArraySpec((8,), "float32"), 8, BLOCK=8)
    assert type(out) is not mx.array  # still fresh: nothing ran


def test_wrong_arrays() -> None:
    x, out = ramp(8), zmlx.empty((8,))
    refused(ArrayError, r"y_ptr is a numpy ndarray.*mx.array\(y_ptr\)", x, np.zeros(8, np.float32), out, 8, BLOCK=8)
    refused(ArrayError, "x_ptr is a list", [1.0], x, out, 8, BLOCK=8)
    refused(ArrayError, "complex64", x.astype(mx.complex64), x, out, 8, BLOCK=8)
    refused(ArrayError, "x_ptr has no elements", mx.zeros((0, 3)), x, out, 8, BLOCK=8)
    add_kernel[(1,)](x, x, zmlx.empty((8,)), 8, BLOCK=8)
    refused(ArrayError, "y_ptr has no elements", x, mx.zeros((0,)), out, 8, BLOCK=8)
    refused(ArrayError, "out_ptr has no elements", x, x, zmlx.empty((0,)), 8, BLOCK=8)


def test_arrays_and_scalars_mistaken_for_each_other() -> None:
    x = ramp(8)
    with pytest.raises((LaunchError, CompilationError)):
        add_kernel[(1,)](x, 3, zmlx.empty((8,)), 8, BLOCK=8)
    with pytest.raises((LaunchError, CompilationError)):
        add_kernel[(1,)](x, x, zmlx.empty((8,)), mx.array(8), BLOCK=8)


@pytest.mark.parametrize("num_warps", [0, 3, 64, -1, 2.5, "4", None])
def test_num_warps_refused(num_warps) -> None:
    refused(LaunchOptionError, "num_warps", ramp(8), ramp(8), zmlx.empty((8,)), 8, BLOCK=8, num_warps=num_warps)


def test_options(target: str) -> None:
    x = ramp(8)
    refused(LaunchOptionError, "num_stages", x, x, zmlx.empty((8,)), 8, BLOCK=8, num_stages=0)
    refused(LaunchOptionError, "stream", x, x, zmlx.empty((8,)), 8, BLOCK=8, stream="cpu")
    device = mx.cpu if target in EAGER else mx.gpu
    for stream in (device, mx.default_stream(device), mx.new_stream(device), None):
        assert mx.array_equal(add_kernel[(1,)](x, x, zmlx.empty((8,)), 8, BLOCK=8, stream=stream, num_stages=2), x * 2)


def test_targets() -> None:
    with pytest.raises(TargetUnavailableError, match="no target 'tpu'"), zmlx.use_target("tpu"):
        pass
    with pytest.raises(TargetUnavailableError, match="no target"):
        add_kernel.compile(ramp(8), ramp(8), zmlx.empty((8,)), 8, BLOCK=8, target="tpu")
    for name in {"metal", "cuda"} - set(zmlx.targets()):
        with zmlx.use_target(name), pytest.raises(TargetUnavailableError, match="cannot run"):
            add_kernel[(1,)](ramp(8), ramp(8), zmlx.empty((8,)), 8, BLOCK=8)
    assert {"cpu", "interpret"} <= set(zmlx.targets())


def test_use_target_is_of_this_thread(target: str) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(zmlx.default_target()))
    thread.start()
    thread.join()
    assert seen == [zmlx.default_target()]


def test_a_kernel_is_not_called_without_a_grid() -> None:
    with pytest.raises(ArgumentError, match=r"add_kernel\[grid\]"):
        add_kernel(ramp(8))


def test_tracing(target: str) -> None:
    def f(x):
        return add_kernel[(1,)](x, x, zmlx.empty((8,)), 8, BLOCK=8)

    if target not in EAGER:
        assert mx.array_equal(mx.compile(f)(ramp(8)), ramp(8) * 2)
        return
    with pytest.raises(LaunchError, match=r"mx\.compile"):
        mx.compile(f)(ramp(8))
    with pytest.raises(LaunchError, match=r"mx\.vmap"):
        mx.vmap(f)(ramp(2, 8))


def test_prints_and_asserts(capsys: pytest.CaptureFixture[str], target: str) -> None:
    if target not in EAGER:
        pytest.skip("prints and asserts are of the cpu and interpret targets")

    @zmlx.jit
    def talking_kernel(x_ptr):
        v = tl.load(x_ptr)
        tl.device_print("v = ", v)
        tl.device_assert(v < 5, "too large")

    talking_kernel[(1,)](mx.array([3.0]))
    assert "v = " in capsys.readouterr().out
    with pytest.raises(DeviceAssertError, match="too large"):
        talking_kernel[(1,)](mx.array([7.0]))


def test_launches_from_several_threads(target: str) -> None:
    x = mx.random.normal((64, 64))
    mx.eval(x)
    wrong: list[object] = []

    def work() -> None:
        with zmlx.use_target(target):
            for _ in range(20):
                out = add_kernel[(64,)](x, x, zmlx.empty_like(x), 4096, BLOCK=64)
                if np.abs(np.array(out) - 2 * np.array(x)).max() != 0:
                    wrong.append(out)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_compiled_functions_update_arrays(target: str) -> None:
    if target in EAGER:
        pytest.skip("launches are traced on GPUs only")

    @mx.compile
    def f(x, y):  # equal copies of equal arrays must stay two
        a, b = x + 0, x + 0
        double_kernel[(1,)](a, 64, BLOCK=64)
        fill_kernel[(1,)](b, 9.0, 8, BLOCK=16)
        return a + y, b, x

    x = ramp(64)
    for _ in range(3):
        a, b, same = f(x, x)
        assert mx.array_equal(a, x * 3) and mx.array_equal(same, x)
        assert b[8:24].tolist() == [9.0] * 16 and mx.array_equal(b[24:], x[24:])


def test_long_chains_of_updates() -> None:
    x, y = ramp(64) * 0 + 1, ramp(64)
    for _ in range(12):  # each reads what the one before wrote
        double_kernel[(1,)](x, 64, BLOCK=64)
        add_kernel[(1,)](x, y, y, 64, BLOCK=64)
    assert mx.array_equal(x, mx.full((64,), 4096.0)) and mx.array_equal(y, ramp(64) + 8190)


# ---- compile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cpu", "interpret", "cuda", "metal"])
def test_compile_for_any_target(name: str) -> None:
    spec = zmlx.ArraySpec((100,), "float32")
    compiled = add_kernel.compile(spec, zmlx.ArraySpec((100,), tl.float32), zmlx.ArraySpec(100, mx.float32), 100, BLOCK=64, target=name)
    assert compiled.target == name and compiled.source and "kernel add_kernel" in compiled.tile_ir
    assert (compiled.simt_ir != "") == (name != "interpret")
    again = add_kernel.compile(ramp(100), ramp(100), zmlx.empty((100,)), 100, BLOCK=64, target=name)
    assert again.source == compiled.source


def test_compile_refuses() -> None:
    spec = zmlx.ArraySpec((8,), "float64")
    with pytest.raises(ArrayError, match="float64"):
        copy_kernel.compile(spec, spec, BLOCK=8, target="metal")
    with pytest.raises(ArrayError, match="no element type"):
        zmlx.ArraySpec((8,), "float8")
    with pytest.raises(ArgumentError, match="needs the constexpr"):
        copy_kernel.compile(spec, spec, target="cpu")
    with pytest.raises(ArgumentError, match="no parameter"):
        copy_kernel.compile(spec, spec, BLOCK=8, BLOCKS=8)
