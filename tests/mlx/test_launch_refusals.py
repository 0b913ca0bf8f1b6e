"""What launches refuse, and where they run: grids, options, targets, threads, tracing, compile()."""

from __future__ import annotations

import threading

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
from zmlx.runtime import native

HOST = ("cpu", "interpret")  # where kernels may print and assert
ON_CPU = (*HOST, "metal-sim")


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
def copy_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))


def ramp(*shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


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
    ids=lambda v: "callable" if callable(v) else str(v),
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
    device = mx.cpu if target in ON_CPU else mx.gpu
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


def test_tracing(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without zmlx-native; what it adds is tested in test_native.py."""
    monkeypatch.setenv("ZMLX_NATIVE", "0")

    @zmlx.jit
    def sum_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)

    def f(x):
        return sum_kernel[(1,)](x, x, zmlx.empty((8,)), 8, BLOCK=8)

    if target not in ON_CPU:
        assert mx.array_equal(mx.compile(f)(ramp(8)), ramp(8) * 2)
        return
    with pytest.raises(LaunchError, match=r"mx\.compile"):
        mx.compile(f)(ramp(8))
    with pytest.raises(LaunchError, match=r"mx\.vmap"):
        mx.vmap(f)(ramp(2, 8))


def test_prints_and_asserts(capsys: pytest.CaptureFixture[str], target: str) -> None:
    if target not in HOST:
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


def test_prints_and_asserts_name_the_element(capsys: pytest.CaptureFixture[str], target: str) -> None:
    if target not in HOST:
        pytest.skip("prints and asserts are of the cpu and interpret targets")

    @zmlx.jit
    def telling_kernel(x_ptr, R: tl.constexpr, C: tl.constexpr):
        at = tl.arange(0, R)[:, None] * C + tl.arange(0, C)[None, :]
        x = tl.load(x_ptr + at)
        tl.device_print("x", x, hex=True)
        tl.device_assert(x < 5, "too large", mask=x != 9)

    telling_kernel[(1,)](mx.array([[1, 9], [3, 4]]), R=2, C=2)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and any("idx (1, 0)" in line and line.endswith("x: 0x00000003") for line in said), said
    with pytest.raises(DeviceAssertError, match=r"element.*\(1, 0\).*too large|too large.*\(1, 0\)"):
        telling_kernel[(1,)](mx.array([[1, 2], [6, 4]]), R=2, C=2)


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
    if target in ("interpret", "metal-sim") or (target == "cpu" and native.extension() is None):
        pytest.skip("launches are not traced here")

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


@pytest.mark.parametrize("name", ["cpu", "interpret", "cuda", "metal", "metal-sim"])
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
