"""Autotuned launches where nothing can be evaluated, in threads, in streams, and in transformations."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import Config
from zmlx.errors import AutotuneWarning, LaunchError
from zmlx.runtime import native
from zmlx.runtime.candidates import TIMED


def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 3, mask=at < n)


def grid(args: dict[str, Any]) -> tuple[int]:
    return (zmlx.cdiv(args["n"], args["BLOCK"]),)


def tuned(times: list[float], configs: list[Config] | None = None, **options: Any) -> zmlx.Autotuner:
    answers = iter(times)
    configs = configs or [Config({"BLOCK": b}) for b in (8192, 16, 64)]
    bench = {"do_bench": lambda call, quantiles: (call(), next(answers))[1]}
    return zmlx.autotune(configs, ["n"], **{**bench, "cache_results": False, **options})(zmlx.jit(scale_kernel))


@pytest.fixture
def lazy(target: str) -> None:
    if target not in TIMED or (target == "cpu" and native.extension() is None):
        pytest.skip(f"launches on {target} are eager here")


def traced(kernel: zmlx.Autotuner) -> Any:
    @mx.compile
    def run(x: mx.array) -> mx.array:
        return kernel[grid](x, zmlx.empty_like(x), x.size) + 1

    return run


def test_inside_compile_the_cost_model_chooses_and_says_so_once(lazy: None) -> None:
    kernel = tuned([])
    x = mx.arange(100).astype(mx.float32)
    with pytest.warns(
        AutotuneWarning, match=r"scale_kernel is launched where nothing can be timed.*n=100, float32, float32.*zmlx.Config"
    ) as said:
        assert mx.array_equal(traced(kernel)(x), x * 3 + 1)
        assert mx.array_equal(traced(kernel)(x), x * 3 + 1)
    assert len(said) == 1 and kernel.tuning is not None and kernel.tuning.source == "model"
    assert kernel.best_config != Config({"BLOCK": 8192}), "one program of 8192 for 100 elements is absurd"


def test_a_result_in_memory_is_used_inside_compile(lazy: None) -> None:
    kernel = tuned([1, 2, 3])
    x = mx.arange(100).astype(mx.float32)
    kernel[grid](x, zmlx.empty_like(x), 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mx.array_equal(traced(kernel)(x), x * 3 + 1)
    assert kernel.best_config == Config({"BLOCK": 8192}) and kernel.tuning is not None and kernel.tuning.source == "timed"


def test_a_result_on_disk_is_used_inside_compile(lazy: None) -> None:
    x = mx.arange(104).astype(mx.float32)
    tuned([3, 2, 1], cache_results=True)[grid](x, zmlx.empty_like(x), 104)
    kernel = tuned([], cache_results=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mx.array_equal(traced(kernel)(x), x * 3 + 1)
    assert kernel.best_config == Config({"BLOCK": 64}) and kernel.tuning is not None and kernel.tuning.source == "cache"


def test_the_models_choice_does_not_stand_in_the_way_of_timing(lazy: None) -> None:
    kernel = tuned([1, 2, 3])
    x = mx.arange(100).astype(mx.float32)
    with pytest.warns(AutotuneWarning):
        traced(kernel)(x)
    out = kernel[grid](x, zmlx.empty_like(x), 100)
    assert mx.array_equal(out, x * 3) and kernel.tuning is not None and kernel.tuning.source == "timed"


def test_the_model_passes_over_what_does_not_compile(lazy: None) -> None:
    kernel = tuned([], [Config({"BLOCK": 100}), Config({"BLOCK": 64}), Config({"BLOCK": 24})])
    x = mx.arange(100).astype(mx.float32)
    with pytest.warns(AutotuneWarning):
        assert mx.array_equal(traced(kernel)(x), x * 3 + 1)
    assert kernel.best_config == Config({"BLOCK": 64}) and "got 100" in str(kernel.tuning)


def test_inputs_of_a_gradient_are_evaluated_and_tuned(lazy: None) -> None:
    kernel = tuned([3, 1, 2])
    x = mx.arange(100).astype(mx.float32)

    def loss(x: mx.array) -> mx.array:
        return (mx.stop_gradient(kernel[grid](mx.stop_gradient(x), zmlx.empty_like(x), 100)) * x).sum()

    assert mx.array_equal(mx.grad(loss)(x), x * 3) and kernel.best_config == Config({"BLOCK": 16})


def test_an_eager_target_refuses_tracing_as_without_configs(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_NATIVE", "0")
    if target not in ("cpu", "interpret", "metal-sim"):
        pytest.skip("lazy")
    kernel = tuned([])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AutotuneWarning)
        with pytest.raises(LaunchError, match="cannot be traced"):
            mx.eval(traced(kernel)(mx.ones((100,))))


def test_threads_that_meet_a_key_together_tune_it_once(target: str) -> None:
    if target == "metal-sim":
        pytest.skip("the simulator's sessions belong to one thread")
    calls = []
    kernel = tuned([], do_bench=lambda call, quantiles: (call(), calls.append(1), float(len(calls)))[2])
    results: list[Any] = []

    def work() -> None:
        with zmlx.use_target(target):
            x = mx.ones((100,))
            out = kernel[grid](x, zmlx.empty_like(x), 100)
            mx.eval(out)
            results.append(out.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [[3.0] * 100] * 4 and len(calls) == 3


def test_a_stream_is_passed_on_warm_and_cold() -> None:
    kernel = tuned([3, 1, 2])
    x = mx.ones((100,))
    for _ in range(3):
        out = kernel[grid](x, zmlx.empty_like(x), 100, stream=mx.default_device())
        assert out.tolist() == [3.0] * 100
    with pytest.raises(LaunchError, match="stream= takes an MLX stream"):
        kernel[grid](x, zmlx.empty_like(x), 100, stream="fast")


def test_simulated_targets_are_not_timed(target: str) -> None:
    if target in TIMED:
        pytest.skip("timed")
    kernel = tuned([], do_bench=None)
    x = mx.ones((100,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernel[grid](x, zmlx.empty_like(x), 100).tolist() == [3.0] * 100
    assert kernel.tuning is not None and kernel.tuning.source == "model"
    # For the interpreter, whose programs are slow, one large program is the right choice.
    assert (kernel.best_config == Config({"BLOCK": 8192})) == (target == "interpret")


def test_equal_programs_are_timed_once(target: str) -> None:
    if target != "cpu":
        pytest.skip("num_warps means something")
    calls: list[int] = []
    configs = [Config({"BLOCK": 64}, num_warps=w) for w in (4, 8, 1)]
    kernel = tuned([], configs, do_bench=lambda call, quantiles: (call(), calls.append(1), 1.0)[2])
    kernel[grid](mx.ones((100,)), zmlx.empty((100,)), 100)
    assert len(calls) == 1 and kernel.best_config == configs[0] and "the same program as BLOCK=64, num_warps=4" in str(kernel.tuning)
