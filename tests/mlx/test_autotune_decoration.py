"""Configs, names and options are checked where they are written; heuristics, hooks and pruning see what they should."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import Config
from zmlx.errors import ArgumentError, AutotuneError, LaunchOptionError


@zmlx.jit
def record_kernel(out_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr = 0):
    tl.store(out_ptr, n * 1000000 + EVEN * 1000 + BLOCK)


@zmlx.jit
def axpy_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr, MODE: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)


BLOCKS = [Config({"BLOCK": 16}), Config({"BLOCK": 32}, num_warps=2), Config({"BLOCK": 64})]


def clock(*times: float) -> Any:
    """A do_bench that runs the calls and answers with these milliseconds in turn."""
    answers = iter(times)
    return lambda call, quantiles: (call(), next(answers))[1]


def tune(configs: list[Config] = BLOCKS, key: Any = ("n",), **options: Any) -> Any:
    return zmlx.autotune(configs, key, **{"cache_results": False, "do_bench": clock(3, 1, 2), **options})


def out() -> mx.array:
    return zmlx.empty((1,), mx.int32)


# ---- configs -----------------------------------------------------------------------------------------------------------


def test_the_repr_of_a_config_makes_an_equal_one() -> None:
    for c in (
        Config({}),
        Config({"BLOCK": 64}),
        Config({"B": 1, "KIND": "relu", "T": (1, 2), "F": 0.5, "N": None}, num_warps=8, num_stages=3),
        Config({"DTYPE": tl.float16, "T": (tl.int8,)}, num_warps=1),
    ):
        again = eval(repr(c), {"zmlx": zmlx, "tl": tl})
        assert again == c and hash(again) == hash(c) and repr(again) == repr(c)


def test_configs_differ_by_value_type_options_and_hook() -> None:
    base = Config({"B": 1})
    others = [Config({"B": 2}), Config({"B": True}), Config({"B": 1.0}), Config({"C": 1}), Config({"B": 1}, num_warps=8),
              Config({"B": 1}, num_stages=2), Config({"B": 1}, pre_hook=print)]  # fmt: skip
    assert len({base, *others}) == 8 and base == Config({"B": 1})
    assert Config({"B": 1}, 8, 2).all_kwargs() == {"B": 1, "num_warps": 8, "num_stages": 2} and "num_stages" not in base.all_kwargs()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Config(64), AutotuneError, "takes a dict of constants first"),
        (lambda: Config({"num_warps": 8}), AutotuneError, r"num_warps is an option of the config"),
        (lambda: Config({1: 8}), AutotuneError, "1 is no name of a parameter"),
        (lambda: Config({}, num_warps=3), LaunchOptionError, "num_warps=3 for a Config"),
        (lambda: Config({}, num_stages=0), LaunchOptionError, "num_stages=0"),
        (lambda: Config({}, pre_hook=3), AutotuneError, "pre_hook=3 of a Config is no function"),
    ],
)
def test_wrong_configs_are_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configs": []}, "at least one"),
        ({"configs": [{"BLOCK": 3}]}, "takes a list of zmlx.Config"),
        ({"key": ["N"]}, "key of axpy_kernel names 'N', which is no parameter; did you mean 'n'.*x_ptr, y_ptr, n, BLOCK, MODE"),
        ({"key": "n"}, "list of names"),
        ({"key": ["BLOCK"]}, "key of axpy_kernel names 'BLOCK', which the configs set"),
        ({"reset_to_zero": ["z_ptr"]}, "reset_to_zero of axpy_kernel names 'z_ptr'"),
        ({"restore_value": ["c"]}, "restore_value of axpy_kernel names 'c'"),
        ({"configs": [Config({"BLOK": 3})]}, r"Config\({'BLOK': 3}\) of axpy_kernel names 'BLOK'.*did you mean 'BLOCK'"),
        ({"configs": [Config({"BLOCK": 16}), Config({"BLOCK": 16, "MODE": 1})]}, "does not set MODE, which other configs do"),
        ({"prune_configs_by": {"early": len}}, "prune_configs_by of axpy_kernel has 'early'; it takes early_config_prune"),
        ({"prune_configs_by": {"early_config_prune": 3}}, "cannot be called"),
        ({"prune_configs_by": {"perf_model": len, "top_k": 1.5}}, "top_k=1.5"),
        ({"prune_configs_by": {"perf_model": len, "top_k": 0}}, "top_k=0"),
        ({"prune_configs_by": {"top_k": 2}}, "needs a perf_model"),
        ({"rep": 0}, "rep above 0"),
    ],
)
def test_wrong_decorations_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AutotuneError, match=message):
        tune(**options)(axpy_kernel)


def test_decorators_go_above_jit_and_do_not_overlap() -> None:
    def plain(x_ptr):
        pass

    with pytest.raises(AutotuneError, match=r"@zmlx.autotune goes above @zmlx.jit; plain is no kernel"):
        tune()(plain)
    with pytest.raises(AutotuneError, match=r"@zmlx.heuristics goes above @zmlx.jit"):
        zmlx.heuristics({})(plain)
    with pytest.raises(AutotuneError, match="autotuned twice"):
        tune(key=())(tune([Config({"MODE": 1})])(axpy_kernel))
    with pytest.raises(AutotuneError, match="BLOCK of record_kernel has a heuristic and gets a value"):
        zmlx.heuristics({"BLOCK": len})(tune()(record_kernel))
    with pytest.raises(AutotuneError, match="BLOCK of record_kernel is set by the configs and by a decorator inside"):
        tune()(zmlx.heuristics({"BLOCK": len})(record_kernel))
    with pytest.raises(AutotuneError, match="heuristics of record_kernel names 'ODD'"):
        zmlx.heuristics({"ODD": len})(record_kernel)
    with pytest.raises(AutotuneError, match="the heuristic of EVEN is 3"):
        zmlx.heuristics({"EVEN": 3})(record_kernel)
    with pytest.raises(AutotuneError, match="key of record_kernel names 'EVEN', which a decorator inside computes"):
        tune(key=["EVEN"])(zmlx.heuristics({"EVEN": len})(record_kernel))


# ---- heuristics --------------------------------------------------------------------------------------------------------


def test_heuristics_run_in_order_and_see_earlier_ones() -> None:
    kernel = zmlx.heuristics({"BLOCK": lambda a: zmlx.next_power_of_2(a["n"]), "EVEN": lambda a: a["BLOCK"] // 2})(record_kernel)
    assert kernel[(1,)](out(), 5).item() == 5004008
    with pytest.raises(ArgumentError, match="EVEN of record_kernel is computed by a heuristic"):
        kernel[(1,)](out(), 5, EVEN=3)
    with pytest.raises(ArgumentError, match="needs n as well"):
        zmlx.heuristics({"BLOCK": lambda a: 4})(record_kernel)[(1,)](out())


def test_below_autotune_heuristics_see_the_config() -> None:
    kernel = tune()(zmlx.heuristics({"EVEN": lambda a: a["BLOCK"] + a["num_warps"]})(record_kernel))
    assert kernel[(1,)](out(), 5).item() == 5000000 + 34 * 1000 + 32
    assert kernel[(1,)](out(), 5).item() == 5000000 + 34 * 1000 + 32, "the same when warm"


def test_above_autotune_heuristics_are_arguments_of_it() -> None:
    seen = []
    kernel = zmlx.heuristics({"EVEN": lambda a: seen.append(sorted(a)) or a["n"] % 2})(
        tune(key=["EVEN"], do_bench=clock(3, 1, 2, 1, 2, 3))(record_kernel)
    )
    assert kernel[(1,)](out(), 5).item() == 5001032
    assert kernel[(1,)](out(), 7).item() == 7001032, "an equal EVEN is an equal key"
    assert kernel[(1,)](out(), 6).item() == 6000016
    assert seen[0] == ["EVEN", "n", "out_ptr"], "with its default, and without constants that are not known yet"


def test_a_heuristic_cannot_replace_an_argument() -> None:
    with pytest.raises(ArgumentError, match=r"write into the array: args\['n'\]"):
        zmlx.heuristics({"BLOCK": lambda a: a.__setitem__("n", 3)})(record_kernel)[(1,)](out(), 5)


def test_decorated_kernels_keep_their_name_and_compile() -> None:
    kernel = tune()(zmlx.heuristics({"EVEN": lambda a: 1})(record_kernel))
    assert kernel.__name__ == "record_kernel" and kernel.kernel is record_kernel and "record_kernel" in repr(kernel)
    compiled = kernel.compile(zmlx.ArraySpec((1,), "int32"), 3, target="metal")
    assert compiled.threads == 128 and "zm_record_kernel" in compiled.entry
    kernel[(1,)](out(), 3)
    assert kernel.compile(out(), 3).num_warps == record_kernel.compile(out(), 3, BLOCK=32, EVEN=1, num_warps=2).num_warps


# ---- hooks -------------------------------------------------------------------------------------------------------------


def test_the_configs_pre_hook_runs_on_copies_and_then_on_the_arrays() -> None:
    seen = []

    def clear(args: dict[str, Any]) -> None:
        seen.append((args["BLOCK"], args["y_ptr"] is y))
        args["y_ptr"][...] = 0

    configs = [Config({"BLOCK": 16, "MODE": 0}), Config({"BLOCK": 32, "MODE": 0}, pre_hook=clear)]
    x, y = mx.arange(32), mx.ones((32,), mx.int32)
    kernel = tune(configs, do_bench=clock(2, 1))(axpy_kernel)
    kernel[(2,)](x, y, 32)
    assert seen == [(32, False), (32, True)] and mx.array_equal(y, x)
    kernel[(2,)](x, y, 32)
    assert len(seen) == 3 and mx.array_equal(y, x), "before every launch of its config"


def test_hooks_of_the_tuner_run_around_the_timing_alone() -> None:
    seen: list[Any] = []
    configs = [Config({"BLOCK": 100, "MODE": 0}), Config({"BLOCK": 32, "MODE": 0})]
    kernel = tune(
        configs,
        do_bench=clock(1),
        pre_hook=lambda args: (seen.append("pre"), args["y_ptr"].__setitem__(slice(None), 7)),
        post_hook=lambda args, exception: seen.append((args["y_ptr"].tolist()[:1], type(exception).__name__)),
    )(axpy_kernel)
    x, y = mx.arange(32), mx.ones((32,), mx.int32)
    kernel[(1,)](x, y, 32)
    assert seen == ["pre", "pre", ([7], "TileSizeError"), ([7], "NoneType")] and mx.array_equal(y, x + 1)


def test_a_hook_that_fails_ranks_its_config_last() -> None:
    configs = [Config({"BLOCK": 16, "MODE": 0}, pre_hook=lambda args: 1 / 0), Config({"BLOCK": 32, "MODE": 0})]
    kernel = tune(configs, do_bench=clock(1))(axpy_kernel)
    kernel[(2,)](mx.arange(32), mx.arange(32), 32)
    assert kernel.best_config is configs[1] and "ZeroDivisionError" in str(kernel.tuning)


# ---- pruning -----------------------------------------------------------------------------------------------------------


def test_early_config_prune_sees_the_arguments_and_keeps_some() -> None:
    def early(configs: list[Config], args: dict[str, Any], n: int, **rest: Any) -> list[Config]:
        assert args["n"] == n == 5 and "out_ptr" in rest and "BLOCK" not in rest
        return configs[1:]

    kernel = tune(prune_configs_by={"early_config_prune": early}, do_bench=clock(2, 1))(record_kernel)
    assert kernel[(1,)](out(), 5).item() == 5000064 and list(kernel.configs_timings) == BLOCKS[1:]
    with pytest.raises(AutotuneError, match="leaves no config"):
        tune(prune_configs_by={"early_config_prune": lambda configs, args, **rest: []})(record_kernel)[(1,)](out(), 5)


@pytest.mark.parametrize("top", [2, 0.7])
def test_top_k_of_the_perf_model_are_timed(top: float) -> None:
    def model(BLOCK: int, n: int, num_warps: int, **rest: Any) -> float:
        return {16: 2.0, 32: 3.0, 64: 1.0}[BLOCK]

    kernel = tune(prune_configs_by={"perf_model": model, "top_k": top}, do_bench=clock(1, 2))(record_kernel)
    assert kernel[(1,)](out(), 5).item() == 5000016 and list(kernel.configs_timings) == [BLOCKS[0], BLOCKS[2]]
