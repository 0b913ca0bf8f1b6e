"""Arguments of launches: layouts, element types, numbers, constants, specialisation, defaults."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx.errors import (
    ArrayError,
)

GPU_TEXT = ("cuda", "metal", "metal-sim")


@zmlx.jit
def copy_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))


@zmlx.jit
def fill_kernel(out_ptr, value, start, BLOCK: tl.constexpr):
    tl.store(out_ptr + start + tl.arange(0, BLOCK), value)


def ramp(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


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
    if target in GPU_TEXT:
        with pytest.raises(ArrayError, match="float64"):
            copy_kernel[(1,)](mx.zeros((16,), mx.float64, stream=mx.cpu), zmlx.empty((16,)), BLOCK=16)
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
