"""Launching on MLX arrays: rebinding, partial writes, in-out, fresh outputs."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl


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


def test_fresh_arrays_of_a_shape_are_apart() -> None:
    a, b = zmlx.zeros((3,)), zmlx.zeros((3,))
    a += 1
    b[1] = 5
    fill_kernel[(1,)](c := zmlx.zeros((16,)), 4.0, 0, BLOCK=16)
    assert a.tolist() == [1, 1, 1] and b.tolist() == [0, 5, 0] and c.tolist() == [4] * 16
    assert zmlx.zeros((3,)).tolist() == [0, 0, 0] and zmlx.zeros((16,)).tolist() == [0] * 16


def test_fresh_arrays_belong_to_no_thread_and_no_transformation() -> None:
    made = [zmlx.zeros((5,)), zmlx.zeros((5,))]  # from the second on they share one

    def shifted(x: mx.array) -> mx.array:
        made.append(zmlx.zeros((5,)))
        return (x * x + made[-1]).sum()

    thread = threading.Thread(target=shifted, args=(mx.ones((5,)),))
    thread.start()
    thread.join()
    assert mx.compile(shifted)(mx.ones((5,))).item() == 5
    assert mx.grad(shifted)(mx.ones((5,))).tolist() == [2] * 5
    assert mx.vmap(shifted)(mx.ones((2, 5))).tolist() == [5, 5]
    assert all(m.tolist() == [0] * 5 for m in made)


@pytest.mark.parametrize("make", [zmlx.empty, zmlx.zeros])
def test_a_shape_that_is_no_integers_is_refused_each_time(make: Callable[..., mx.array]) -> None:
    assert make((6,)).shape == make(6).shape == make([6]).shape == (6,)
    with pytest.raises(TypeError):
        make((6.0,))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        make((-6,))


def test_freshness_survives_nothing_it_should_not() -> None:
    for _ in range(50):  # objects die and their addresses are used again
        fresh = zmlx.empty((16,))
        del fresh
        gc.collect(0)
        a = mx.ones((64,))
        fill_kernel[(1,)](a, 9.0, 0, BLOCK=16)
        assert a.sum().item() == 9 * 16 + 48
