"""What a warm launch costs, counted: Python's calls up to MLX's, which take most of its time; and that nothing is lost by it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx.bench import launch_cost
from zmlx.errors import ArrayError
from zmlx.runtime import device, generated, mlx_backend, native


def axpy(x_ptr, y_ptr, out_ptr, n, a, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, a * tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reached mx.fast, which answers with arrays that hold the number of the call."""
    made: list[dict[str, Any]] = []

    def run(**given: Any) -> list[mx.array]:
        made.append(given)
        return [mx.full(s, len(made), d) for s, d in zip(given["output_shapes"], given["output_dtypes"], strict=True)]

    monkeypatch.setattr(device, "missing", lambda name: "")
    monkeypatch.setattr(mx.fast, "precompiled_cuda_kernel", run)
    monkeypatch.setattr(mx.fast, "metal_kernel", lambda **_: run)
    monkeypatch.setattr(mlx_backend.toolchain, "build_cubin", lambda source, arch: b"cubin")
    monkeypatch.setattr(mlx_backend.toolchain, "cuda_arch", lambda: "sm_90a")
    return made


def counted(call: Callable[[], Any]) -> list[str]:
    """The functions that a call enters, Python's and C's, without those of the stand-in for MLX."""
    seen: list[str] = []

    def watch(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            seen.append(frame.f_code.co_name)
        elif event == "c_call" and frame.f_code.co_filename != __file__:
            seen.append(arg.__name__)

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize(("target", "most"), [("cuda", 7), ("metal", 6), ("cpu", 7)])
def test_a_warm_launch_makes_few_calls(target: str, most: int, sent: list[dict[str, Any]]) -> None:
    if target == "cpu" and native.extension() is None:
        pytest.skip("without zmlx-native the cpu's launch is the kernel's run")
    kernel = zmlx.jit(axpy)
    x, y = mx.ones((256,)), mx.ones((256,))
    with device.default(target):
        kernel[(1,)](x, y, zmlx.empty_like(x), 256, 2.0, BLOCK=256)
        out = zmlx.empty_like(x)
        seen = counted(lambda: kernel[(1,)](x, y, out, 256, 2.0, BLOCK=256))
    assert len(seen) <= most, seen
    assert type(out) is mx.array and out.tolist() == [len(sent) or 3] * 256
    assert len(counted(lambda: zmlx.empty_like(x))) <= 3


@pytest.mark.parametrize("target", ["cuda", "metal"])
def test_a_fresh_output_is_not_passed_and_an_empty_input_is_named(target: str, sent: list[dict[str, Any]]) -> None:
    kernel = zmlx.jit(axpy)
    x, out = mx.ones((256,)), zmlx.empty((256,))
    with zmlx.use_target(target):
        kernel[(1,)](x, x, out, 256, 1e300, BLOCK=256)
        with pytest.raises(ArrayError, match="y_ptr has no elements"):
            kernel[(1,)](x, mx.zeros((0,)), out, 256, 2.0, BLOCK=256)
        with pytest.raises(ArrayError, match="y_ptr has no elements"):
            kernel[(1,)](x, mx.zeros((0,)), zmlx.empty((256,)), 256, 2.0, BLOCK=256)  # of a plan that is there
    assert [a.shape for a in sent[0]["inputs"]] == [(256,), (256,)] + ([(8,)] if target == "metal" else [])
    words = list(sent[0]["scalars"]) if target == "cuda" else sent[0]["inputs"][2].tolist()[:2]
    assert words == [256, 0x7F800000]


@pytest.mark.parametrize("target", ["cuda", "metal"])
def test_the_bare_call_has_the_arguments_of_a_launch(target: str, sent: list[dict[str, Any]]) -> None:
    kernel = zmlx.jit(axpy)
    x, y, out = mx.ones((256,)), mx.ones((256,)), zmlx.empty((256,))
    with zmlx.use_target(target):
        kernel[(3,)](x, y, out, 256, 2.0, BLOCK=256)
    (plan,) = kernel._plans.values()
    launch_cost.bare(plan, (x, y, out), (256, 2.0))(0)
    launched, bare = sent
    assert launched | {"grid": None, "inputs": None} == bare | {"grid": None, "inputs": None}
    assert len(launched["inputs"]) == len(bare["inputs"]) and all(a is b for a, b in zip(launched["inputs"], bare["inputs"], strict=True))
    assert bare["grid"] == (launched["grid"][0] // 3, 1, 1)


VALUES = [0, 1, 2, 16, -1, -16, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) + 16, True, 2.0, -0.0, None, "s", mx.float32, tl.float16,
          np.int32(4), np.float32(1), np.bool_(True), (1, 2.0), mx.ones((2,)), zmlx.empty((2,)), zmlx.zeros((2,), mx.int32)]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_key_of_a_launch_is_the_plan_key(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(x, y, C: tl.constexpr):
        pass

    kernel = zmlx.jit(do_not_specialize=["y"])(held)
    found: list[Any] = []

    class Plans(dict[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            found.append(key)
            raise KeyError(key)

    class Reached(Exception):
        pass

    def build(*_: Any) -> Any:
        raise Reached

    kernel._plans = Plans()
    monkeypatch.setattr(kernel, "build", build)
    constant = 3 if isinstance(value, mx.array) else value
    with pytest.raises(Reached), zmlx.use_target("cpu"):
        kernel[(1,)](value, value, constant)
    warm, cold = found
    assert warm == cold == kernel.plan_key((value, value, constant), "cpu", 4, None) and hash(warm) == hash(cold)


def test_equal_texts_are_compiled_once() -> None:
    made = [generated.function("f", "def f(): return n", "here", {"n": n}) for n in (1, 2)]
    assert [f() for f in made] == [1, 2] and made[0].__code__ is made[1].__code__
