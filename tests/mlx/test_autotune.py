"""Autotuning: what is chosen, what the caller's arrays hold afterwards, when it happens again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import Config
from zmlx.errors import ArgumentError, ArrayError, AutotuneError, GridError, UndefinedNameError
from zmlx.runtime.candidates import TIMED

BLOCKS = [Config({"BLOCK": 16}), Config({"BLOCK": 32}), Config({"BLOCK": 64})]


def by_block(times: dict[int, float], calls: list[int] | None = None) -> Callable[..., Any]:
    """A do_bench that runs the call and answers with a time for each block in turn: milliseconds."""
    order = iter(times)

    def do_bench(call: Callable[[], Any], quantiles: Any) -> list[float]:
        block = next(order)
        call()
        if calls is not None:
            calls.append(block)
        return [times[block]] * 3

    return do_bench


def tuned(fn: Any, times: dict[int, float] | None = None, key: tuple[str, ...] = ("n",), **options: Any) -> zmlx.Autotuner:
    """The kernel with three blocks, of which a fake clock says that 32 is the fastest; never from the disk."""
    bench = by_block(times or {16: 3.0, 32: 1.0, 64: 2.0})
    return zmlx.autotune(configs=BLOCKS, key=key, **{"do_bench": bench, "cache_results": False, **options})(fn)


def double_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)


def split_kernel(x_ptr, up_ptr, down_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(down_ptr + at, x - 1, mask=at < n)
    tl.store(up_ptr + at, x + 1, mask=at < n)


def total_kernel(x_ptr, total_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(total_ptr, tl.sum(tl.load(x_ptr + at, mask=at < n, other=0)))


def record_kernel(out_ptr, n, BLOCK: tl.constexpr):
    tl.store(out_ptr, n * 1000 + BLOCK)


def grid(args: dict[str, Any]) -> tuple[int]:
    return (zmlx.cdiv(args["n"], args["BLOCK"]),)


@pytest.fixture
def timed(target: str) -> None:
    if target not in TIMED:
        pytest.skip(f"{target} is not timed")


# ---- the caller's arrays -----------------------------------------------------------------------------------------------


def test_an_in_out_array_is_updated_once() -> None:
    kernel = tuned(zmlx.jit(double_kernel))
    x = mx.arange(100)
    result = kernel[grid](x, 100)
    assert result is x and mx.array_equal(x, mx.arange(100) * 2)
    kernel[grid](x, 100)
    assert mx.array_equal(x, mx.arange(100) * 4)
    assert kernel.best_config == Config({"BLOCK": 32})


def test_an_in_out_array_survives_real_timing(timed: None) -> None:
    kernel = zmlx.autotune(configs=BLOCKS, key=["n"], warmup=1, rep=1, cache_results=False)(zmlx.jit(double_kernel))
    x = mx.arange(100)
    before = x + 0
    kernel[grid](x, 100)
    assert mx.array_equal(x, before * 2) and kernel.tuning is not None and kernel.tuning.source == "timed"
    assert all(0 < t[0] < float("inf") for t in kernel.configs_timings.values())


def test_two_outputs_come_back_in_parameter_order() -> None:
    kernel = tuned(zmlx.jit(split_kernel))
    x, up, down = mx.arange(50), mx.full((50,), 7, mx.int32), zmlx.empty((50,), mx.int32)
    result = kernel[grid](x, up, down, 50)
    assert result == (up, down) or (result[0] is up and result[1] is down)
    assert mx.array_equal(up, x + 1) and mx.array_equal(down, x - 1)


def test_what_the_launch_leaves_unwritten_stays() -> None:
    kernel = tuned(zmlx.jit(double_kernel))
    x = mx.ones((100,), mx.int32)
    kernel[grid](x, 40)
    assert x.tolist() == [2] * 40 + [1] * 60


def test_atomics_start_from_what_was_passed() -> None:
    kernel = tuned(zmlx.jit(total_kernel))
    x, total = mx.ones((100,), mx.int32), mx.array([5], mx.int32)
    kernel[grid](x, total, 100)
    assert total.item() == 105


def test_a_strided_and_a_lazy_input_are_read_as_they_are() -> None:
    kernel = tuned(zmlx.jit(split_kernel))
    x = mx.arange(100).reshape(10, 10).T + 0 * mx.arange(10)
    up, down = zmlx.empty((10, 10), mx.int32), zmlx.empty((10, 10), mx.int32)
    kernel[grid](x, up, down, 100)
    assert mx.array_equal(up, x + 1) and mx.array_equal(down, x - 1)


def test_reset_to_zero_clears_what_is_timed_and_not_what_was_passed() -> None:
    seen = []
    kernel = tuned(
        zmlx.jit(total_kernel), reset_to_zero=["total_ptr"], post_hook=lambda args, exception: seen.append(args["total_ptr"].item())
    )
    x, total = mx.ones((64,), mx.int32), mx.array([5], mx.int32)
    kernel[grid](x, total, 64)
    assert seen == [0, 0, 0] and total.item() == 69


def test_restore_value_is_accepted_for_arrays_only() -> None:
    kernel = tuned(zmlx.jit(double_kernel), restore_value=["x_ptr"])
    x = mx.arange(32)
    kernel[grid](x, 32)
    assert mx.array_equal(x, mx.arange(32) * 2)
    with pytest.raises(AutotuneError, match="restore_value of double_kernel names n, which is a int here"):
        tuned(zmlx.jit(double_kernel), restore_value=["n"])[grid](x, 32)


@pytest.mark.parametrize("shape", [(0,), (0, 4)])
def test_an_empty_array_is_refused_as_by_any_launch(shape: tuple[int, ...]) -> None:
    x = mx.zeros(shape)
    with pytest.raises(ArrayError, match="x_ptr has no elements"):
        tuned(zmlx.jit(double_kernel))[(1,)](x, 0)
    with pytest.raises((ArrayError, GridError)):
        tuned(zmlx.jit(double_kernel))[grid](x, 0)


# ---- what is chosen ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fastest", [16, 32, 64])
def test_the_fastest_runs(fastest: int) -> None:
    kernel = tuned(zmlx.jit(record_kernel), {b: 1.0 if b == fastest else 2.0 for b in (16, 32, 64)})
    out = kernel[(1,)](zmlx.empty((1,), mx.int32), 3)
    assert out.item() == 3000 + fastest and kernel.best_config == Config({"BLOCK": fastest})


def test_equal_times_go_to_the_earlier() -> None:
    kernel = tuned(zmlx.jit(record_kernel), {16: 1.002, 32: 1.0, 64: 1.0})
    kernel[(1,)](zmlx.empty((1,), mx.int32), 3)
    assert kernel.best_config == Config({"BLOCK": 16})


def test_grid_sees_the_constants_of_the_config() -> None:
    seen = []
    kernel = tuned(zmlx.jit(double_kernel))
    x = mx.arange(100)
    kernel[lambda args: seen.append(dict(args)) or grid(args)](x, 100)
    assert {a["BLOCK"] for a in seen} == {16, 32, 64} and seen[-1]["BLOCK"] == 32 and seen[-1]["n"] == 100


def test_num_warps_of_the_config_reaches_the_kernel() -> None:
    @zmlx.jit
    def warps_kernel(out_ptr, num_warps: tl.constexpr):
        tl.store(out_ptr, num_warps)

    kernel = zmlx.autotune(
        [Config({}, num_warps=2), Config({}, num_warps=8)], key=[], cache_results=False, do_bench=by_block({0: 2.0, 1: 1.0})
    )(warps_kernel)
    assert kernel[(1,)](zmlx.empty((1,), mx.int32)).item() == 8


def test_num_stages_of_the_launch_counts_where_no_config_sets_it() -> None:
    kernel = tuned(zmlx.jit(record_kernel))
    for _ in range(2):
        kernel[(1,)](zmlx.empty((1,), mx.int32), 3, num_stages=2)
    assert {key[2] for key in kernel.kernel._plans} == {2}, "timed and launched with it"
    staged = zmlx.autotune([Config({"BLOCK": 16}, num_stages=3), Config({"BLOCK": 32})], ["n"])(zmlx.jit(record_kernel))
    with pytest.raises(ArgumentError, match="num_stages of record_kernel is set by its configs"):
        staged[(1,)](zmlx.empty((1,), mx.int32), 3, num_stages=2)


def test_one_config_is_not_timed() -> None:
    kernel = zmlx.autotune([Config({"BLOCK": 64})], key=["n"], do_bench=lambda *a, **k: pytest.fail("timed"))(zmlx.jit(record_kernel))
    assert kernel[(1,)](zmlx.empty((1,), mx.int32), 2).item() == 2064


def test_keywords_defaults_and_none_bind_as_in_a_plain_launch() -> None:
    @zmlx.jit
    def scaled_kernel(x_ptr, bias_ptr, out_ptr, n, scale=3.0, BLOCK: tl.constexpr = 128):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n) * scale
        if bias_ptr is not None:
            x += tl.load(bias_ptr + at, mask=at < n)
        tl.store(out_ptr + at, x, mask=at < n)

    kernel = tuned(scaled_kernel, key=("n", "scale"))
    x, out = mx.ones((40,)), zmlx.empty((40,))
    assert mx.array_equal(kernel[grid](out_ptr=out, x_ptr=x, n=40, bias_ptr=None), mx.full((40,), 3.0))
    assert kernel.tuning is not None and kernel.tuning.key.startswith("n=40, scale=3.0, float32, float32")


# ---- when it happens again ---------------------------------------------------------------------------------------------


def test_a_new_key_is_tuned_and_an_old_one_is_not() -> None:
    calls: list[int] = []
    clock = {"fast": 32}

    def do_bench(call: Callable[[], Any], quantiles: Any) -> float:
        block = (16, 32, 64)[len(calls) % 3]
        calls.append(block)
        return 1.0 if block == clock["fast"] else 2.0

    kernel = tuned(zmlx.jit(record_kernel), do_bench=do_bench)
    out = zmlx.empty((1,), mx.int32)
    assert kernel[(1,)](out, 2).item() == 2032
    clock["fast"] = 64
    assert kernel[(1,)](out, 2).item() == 2032 and len(calls) == 3
    assert kernel[(1,)](out, 5).item() == 5064 and len(calls) == 6
    assert kernel[(1,)](out, 2).item() == 2032 and len(calls) == 6, "the old key keeps its result"
    kernel[(1,)](zmlx.empty((1,), mx.int64), 2)
    assert len(calls) == 9, "another dtype is another key"
    kernel[(1,)](mx.zeros((7,), mx.int64), 2)
    assert len(calls) == 9, "another shape is not, unless it is named"


def test_an_array_named_in_key_counts_by_its_shape() -> None:
    calls: list[int] = []
    bench = iter([by_block({16: 1.0, 32: 2.0, 64: 3.0}, calls), by_block({16: 3.0, 32: 2.0, 64: 1.0}, calls)])
    kernel = tuned(zmlx.jit(record_kernel), key=("out_ptr",), do_bench=next(bench))
    assert kernel[(1,)](zmlx.empty((1,), mx.int32), 1).item() == 1016
    kernel.do_bench = next(bench)
    assert kernel[(1,)](mx.zeros((1,), mx.int32), 1).item() == 1016 and len(calls) == 3
    kernel[(1,)](mx.zeros((2,), mx.int32), 1)
    assert len(calls) == 6


# ---- what fails --------------------------------------------------------------------------------------------------------


def test_a_config_that_does_not_compile_is_ranked_last_with_its_reason() -> None:
    configs = [Config({"BLOCK": 100}), Config({"BLOCK": 16})]
    kernel = zmlx.autotune(configs, key=["n"], cache_results=False, do_bench=lambda call, quantiles: (call(), 1.0)[1])(
        zmlx.jit(double_kernel)
    )
    x = mx.arange(40)
    kernel[grid](x, 40)
    assert mx.array_equal(x, mx.arange(40) * 2) and kernel.best_config == configs[1]
    assert kernel.configs_timings[configs[0]] == [float("inf")] * 3
    table = str(kernel.tuning)
    assert "power of two, got 100" in table and table.index("BLOCK=16") < table.index("BLOCK=100")


def test_a_config_that_raises_when_it_runs_is_ranked_last() -> None:
    def do_bench(call: Callable[[], Any], quantiles: Any) -> float:
        do_bench.calls += 1
        if do_bench.calls == 1:
            raise RuntimeError("out of something")
        return float(do_bench.calls)

    do_bench.calls = 0
    kernel = tuned(zmlx.jit(record_kernel), do_bench=do_bench)
    assert kernel[(1,)](zmlx.empty((1,), mx.int32), 1).item() == 1032
    assert "RuntimeError: out of something" in str(kernel.tuning)


def test_when_every_config_fails_each_reason_is_listed() -> None:
    configs = [Config({"BLOCK": 100}), Config({"BLOCK": 24}, num_warps=2)]
    kernel = zmlx.autotune(configs, key=["n"], cache_results=False, do_bench=lambda *a, **k: 1.0)(zmlx.jit(double_kernel))
    with pytest.raises(AutotuneError) as e:
        kernel[grid](mx.arange(40), 40)
    assert "zmlx.Config({'BLOCK': 100}): TileSizeError" in str(e.value)
    assert "zmlx.Config({'BLOCK': 24}, num_warps=2): TileSizeError" in str(e.value) and "got 24" in str(e.value)


def test_a_mistake_in_the_kernel_is_shown_as_without_configs() -> None:
    @zmlx.jit
    def wrong_kernel(x_ptr, n, BLOCK: tl.constexpr):
        tl.store(x_ptr + nowhere, BLOCK)  # noqa: F821

    with pytest.raises(UndefinedNameError, match="nowhere"):
        tuned(wrong_kernel)[(1,)](mx.arange(4), 4)


def test_a_grid_that_fails_for_all_is_shown_as_it_is() -> None:
    with pytest.raises(KeyError, match="BLOK"):
        tuned(zmlx.jit(double_kernel))[lambda args: (args["BLOK"],)](mx.arange(4), 4)


@pytest.mark.parametrize(
    ("args", "keywords", "message"),
    [
        ((), {}, "needs x_ptr, n as well"),
        ((1, 2, 3, 4), {}, "takes 3 arguments by position"),
        ((1, 2), {"m": 3}, "no parameter 'm'"),
        ((1, 2), {"n": 3}, "got n twice"),
        ((1, 2), {"BLOCK": 3}, r"BLOCK of double_kernel is set by its configs; .* double_kernel.kernel\[grid\]"),
        ((1, 2), {"num_warps": 8}, "num_warps of double_kernel is set by its configs"),
        ((1, 2, 64), {}, "BLOCK of double_kernel is set by its configs"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(args: tuple[int, ...], keywords: dict[str, int], message: str) -> None:
    kernel = tuned(zmlx.jit(double_kernel))
    x = mx.arange(16)
    kernel[grid](x, 16)  # the warm path refuses as well
    with pytest.raises(ArgumentError, match=message):
        kernel[grid](*(x if a == 1 else a for a in args), **keywords)
    with pytest.raises(ArgumentError, match="say how many programs"):
        kernel(x, 16)


def test_compilers_of_several_configs_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, load = threading.Barrier(2), zmlx.JitFunction.load

    def together(self: Any, *args: Any) -> Any:
        meeting.wait(timeout=120)  # breaks, and fails the config, if nobody else comes
        return load(self, *args)

    monkeypatch.setenv("ZMLX_THREADS", "2")
    monkeypatch.setattr(zmlx.JitFunction, "load", together)
    configs = [Config({"BLOCK": b}) for b in (16, 32, 64, 128)]
    kernel = zmlx.autotune(configs, ["n"], cache_results=False, do_bench=lambda call, quantiles: (call(), 1.0)[1])(zmlx.jit(double_kernel))
    x = mx.arange(100)
    kernel[grid](x, 100)
    assert mx.array_equal(x, mx.arange(100) * 2) and all(t[0] == 1.0 for t in kernel.configs_timings.values())
