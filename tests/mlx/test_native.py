"""CPU launches as primitives of MLX's graph, through the zmlx-native extension."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx.errors import DeviceAssertError, LaunchOptionError
from zmlx.runtime import native
from zmlx.runtime.host_backend import HostKernel

pytestmark = pytest.mark.skipif(native.extension() is None, reason="zmlx-native is not installed: pip install ./native")


@pytest.fixture(autouse=True)
def cpu():
    with zmlx.use_target("cpu"):
        yield


@zmlx.jit
def double_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, 2 * tl.load(x_ptr + at, mask=at < n), mask=at < n)


@zmlx.jit
def increment_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) + 1, mask=at < n)


@zmlx.jit
def count_kernel(x_ptr, bins_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(bins_ptr + tl.load(x_ptr + at, mask=at < n, other=0), 1, mask=at < n)


@zmlx.jit
def head_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x_ptr + at, 7.0, mask=at < n)


@zmlx.jit
def two_kernel(x_ptr, sum_ptr, max_ptr, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * n + at, mask=at < n, other=0.0)
    tl.store(sum_ptr + row, tl.sum(x, axis=0))
    tl.store(max_ptr + row, tl.max(tl.where(at < n, x, -float("inf")), axis=0))


@zmlx.jit
def checked_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    tl.device_assert(x > 0, "positive")
    tl.store(out_ptr + at, x)


def double(x: mx.array, stream=None) -> mx.array:
    return double_kernel[(zmlx.cdiv(x.size, 256),)](x, zmlx.empty_like(x), x.size, BLOCK=256, stream=stream)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.int64])
def test_launch_is_lazy_and_right(dtype, monkeypatch):
    x = mx.arange(1000).astype(dtype)
    mx.eval(double(x))
    for plan in double_kernel._plans.values():  # the way of an eager launch
        if isinstance(plan.execute.__self__, HostKernel):
            monkeypatch.setattr(plan.execute.__self__, "launch", lambda *_: pytest.fail("the launch was eager"))
    y = double(double(x))
    assert mx.array_equal(y, x * 4)


def test_without_the_extension_the_same_launch_is_eager(monkeypatch):
    monkeypatch.setenv("ZMLX_NATIVE", "0")

    @zmlx.jit
    def copy_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
        at = tl.arange(0, BLOCK)
        tl.store(out_ptr + at, tl.load(x_ptr + at))

    x = mx.arange(16, dtype=mx.float32)
    assert mx.array_equal(copy_kernel[(1,)](x, zmlx.empty_like(x), BLOCK=16), x)
    plan = next(iter(copy_kernel._plans.values()))
    monkeypatch.setattr(plan.execute.__self__, "launch", lambda *_: pytest.fail("eager"))
    with pytest.raises(pytest.fail.Exception, match="eager"):
        copy_kernel[(1,)](x, zmlx.empty_like(x), BLOCK=16)


def test_a_chain_is_one_graph_and_can_be_compiled():
    @mx.compile
    def f(x):
        return double(mx.sin(double(x))) + 1

    x = mx.random.normal((3, 100))
    for _ in range(3):
        assert mx.allclose(f(x), 2 * mx.sin(2 * x) + 1, atol=1e-5)


def test_vmap_runs_one_launch_an_element():
    x = mx.random.normal((5, 64))
    assert mx.allclose(mx.vmap(double)(x), 2 * x)
    assert mx.allclose(mx.vmap(double, in_axes=1, out_axes=1)(x), 2 * x)


@pytest.mark.parametrize("view", ["transposed", "strided", "broadcast", "offset", "flipped"])
def test_inputs_of_any_strides(view):
    base = mx.arange(24 * 10, dtype=mx.float32).reshape(24, 10)
    x = {
        "transposed": lambda: base.T,
        "strided": lambda: base[::3, 1::2],
        "broadcast": lambda: mx.broadcast_to(base[0], (7, 10)),
        "offset": lambda: base[5:],
        "flipped": lambda: base[::-1],
    }[view]()
    assert np.array_equal(np.array(double(x)), 2 * np.array(x))


def test_update_keeps_other_holders_of_the_array():
    x = mx.zeros((300,))
    mx.eval(x)
    kept = mx.array(x)
    before = x + 0
    for _ in range(4):
        increment_kernel[(2,)](x, 300, BLOCK=256)
    assert mx.array_equal(x, mx.full((300,), 4.0))
    assert not kept.any() and not before.any()


def test_an_update_of_an_array_nobody_else_holds_copies_nothing():
    n = 1 << 22
    x = mx.zeros((n,))
    mx.eval(x)
    peak = mx.get_peak_memory
    mx.reset_peak_memory()
    held = mx.get_active_memory()
    increment_kernel[(n // 1024,)](x, n, BLOCK=1024)
    mx.eval(x)
    assert peak() - held < x.nbytes
    assert mx.array_equal(x, mx.ones((n,)))


def test_update_of_a_non_contiguous_array():
    x = mx.arange(12, dtype=mx.float32).reshape(3, 4).T
    expected = np.array(x) + 1
    increment_kernel[(1,)](x, 12, BLOCK=16)
    assert np.array_equal(np.array(x), expected)


def test_atomics_start_from_zeros_or_the_old_content():
    x = mx.array([0, 1, 1, 3] * 50)
    assert count_kernel[(1,)](x, zmlx.zeros((4,), mx.int32), 200, BLOCK=256).tolist() == [50, 100, 0, 50]
    assert count_kernel[(1,)](x, mx.array([1, 2, 3, 4]), 200, BLOCK=256).tolist() == [51, 102, 3, 54]


def test_partial_writes_keep_the_rest():
    x = mx.arange(10, dtype=mx.float32)
    head_kernel[(1,)](x, 3, BLOCK=16)
    assert x.tolist() == [7, 7, 7, 3, 4, 5, 6, 7, 8, 9]


def test_two_outputs():
    x = mx.random.normal((4, 50))
    total, top = two_kernel[(4,)](x, zmlx.empty((4,)), zmlx.empty((4,)), 50, BLOCK=64)
    assert mx.allclose(total, x.sum(1), atol=1e-5) and mx.array_equal(top, x.max(1))


def test_streams():
    x = mx.arange(100, dtype=mx.float32)
    other = mx.new_stream(mx.cpu)
    assert mx.array_equal(double(double(x, stream=other), stream=mx.cpu), 4 * x)
    if not mx.metal.is_available() and not mx.cuda.is_available():
        return
    with pytest.raises(LaunchOptionError, match=r"stream=mx\.cpu"):
        double(x, stream=mx.gpu)


def test_gradient_is_refused_not_cut():
    with pytest.raises(ValueError, match="ZmlxHostKernel"):
        mx.grad(lambda x: double(x).sum())(mx.ones((10,)))


def test_asserts_stay_at_their_line():
    with pytest.raises(DeviceAssertError, match="positive"):
        checked_kernel[(1,)](mx.array([1.0, -1.0]), zmlx.empty((2,)), BLOCK=2)


def test_a_graph_outlives_its_kernel():
    def made():
        @zmlx.jit
        def triple_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
            at = tl.arange(0, BLOCK)
            tl.store(out_ptr + at, 3 * tl.load(x_ptr + at))

        return triple_kernel[(1,)](mx.arange(16, dtype=mx.float32), zmlx.empty((16,)), BLOCK=16)

    y = made()
    gc.collect()
    assert y.tolist() == [3.0 * i for i in range(16)]


def test_launches_from_several_threads():
    results = {}

    def work(k):
        with zmlx.use_target("cpu"), mx.stream(mx.new_stream(mx.cpu)):
            x = mx.full((5000,), float(k))
            for _ in range(10):
                x = double(x)
            mx.eval(x)
            results[k] = x[0].item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {k: k * 1024.0 for k in range(4)}


CHILD = """
import sys, types, warnings
{setup}
import mlx.core as mx, zmlx, zmlx.language as tl
from zmlx.runtime import native
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as seen:
    found = [native.extension() for _ in range(2)]
print(found[0] is None, len(seen), str(seen[0].message) if seen else "")
"""


@pytest.mark.parametrize(
    "setup, env, answer",
    [
        ("sys.modules['zmlx_native'] = None", {}, "True 0"),
        ("", {"ZMLX_NATIVE": "0"}, "True 0"),
        ("import mlx.core; mlx.core.__version__ = '0.1.2'", {}, "True 1 zmlx-native is installed but not used, so CPU launches are eager: "
         "zmlx-native was built for MLX"),
    ],
)  # fmt: skip
def test_without_a_fitting_extension_it_is_said_once(setup, env, answer):
    done = subprocess.run([sys.executable, "-c", CHILD.format(setup=setup)], env=os.environ | env, capture_output=True, text=True)
    assert done.stdout.startswith(answer), done.stderr


def test_large_outputs_that_are_alive_never_share_memory():
    n = 1 << 20  # 4 MiB
    inputs = [mx.full((n + k,), float(k)) for k in range(6)]
    for _ in range(3):
        alive = [double(x) for x in inputs]
        mx.eval(alive)
        del alive[::2]  # some are freed and taken again by the next ones
        more = [double(x + 100.0) for x in inputs]
        mx.eval(more)
        for k, out in enumerate(more):
            assert mx.all(out == 2.0 * (k + 100)).item() and out.size == n + k
        for k, out in zip((1, 3, 5), alive, strict=True):
            assert mx.all(out == 2.0 * k).item()


def test_zeros_are_zeros_in_memory_that_was_used_before():
    x = mx.full((1 << 20,), 3.0)
    mx.eval(double(x))
    at = mx.zeros((8,), mx.int32)
    bins = count_kernel[(1,)](at, zmlx.zeros((1 << 20,), mx.int32), 8, BLOCK=8)
    assert mx.sum(bins).item() == 8


def test_kept_memory_is_bounded_and_given_back():
    import zmlx_native

    zmlx_native.clear_kept()
    x = mx.zeros((1 << 24,))  # 64 MiB
    outs = [double(x) for _ in range(6)]
    mx.eval(outs)
    del outs
    gc.collect()
    mx.synchronize()
    assert 64 << 20 <= zmlx_native.clear_kept() <= 256 << 20
    assert zmlx_native.clear_kept() == 0
    small = double(mx.zeros((1000,)))
    mx.eval(small)
    del small
    assert zmlx_native.clear_kept() == 0
