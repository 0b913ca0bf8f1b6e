"""The cost model: what it counts, what it prefers, and that what it picks can run."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

import zmlx
import zmlx.language as tl
from zmlx import ArraySpec, Config
from zmlx.errors import ZmlxError
from zmlx.runtime import candidates, cost_model
from zmlx.runtime.candidates import Candidate
from zmlx.runtime.cost_model import machine, ranking, seconds
from zmlx.runtime.work import UNKNOWN_TRIPS, Work, work_of

GPUS = ("cuda", "metal")


@zmlx.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)


@zmlx.jit
def matmul_kernel(a_ptr, b_ptr, c_ptr, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for i in range(tl.cdiv(K, BK)):
        a = tl.load(a_ptr + m[:, None] * K + (i * BK + k)[None, :])
        b = tl.load(b_ptr + (i * BK + k)[:, None] * N + n[None, :])
        acc += tl.dot(a, b)
    tl.store(c_ptr + m[:, None] * N + n[None, :], acc)


@zmlx.jit
def flow_kernel(x_ptr, out_ptr, n, MODE: tl.constexpr):
    total = tl.zeros((64,), tl.float32)
    at = tl.arange(0, 64)
    if MODE == 0:
        for i in range(tl.load(x_ptr).to(tl.int32)):
            total += tl.load(x_ptr + i * 64 + at)
    else:
        if n > 100:
            total = tl.load(x_ptr + at)
        else:
            for i in range(0, n, 3):
                total += tl.exp(tl.load(x_ptr + i * 64 + at))
    tl.store(out_ptr + at, total)


def f32(*shape: int) -> ArraySpec:
    return ArraySpec(shape, "float32")


def work(kernel: Any, values: tuple[Any, ...], grid: tuple[int, int, int] = (1, 1, 1), target: str = "cuda") -> Work:
    return work_of(kernel.traced(values, target), dict(zip((p.name for p in kernel.params), values, strict=True)), grid)


def matmul(size: int, bm: int, bn: int, bk: int) -> Work:
    a = f32(size, size)
    return work(matmul_kernel, (a, a, a, size, size, size, bm, bn, bk), (size // bm, size // bn, 1))


# ---- what is counted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [16, 256, 4096])
def test_bytes_of_an_elementwise_kernel(block: int) -> None:
    found = work(add_kernel, (f32(100), f32(100), f32(100), 100, block))
    assert found.bytes == 3 * 4 * block and found.dot_flops == 0 and found.rounds == 1


def test_a_product_is_counted_once_for_every_round() -> None:
    found = matmul(512, 32, 64, 16)
    rounds = 512 // 16
    assert found.dot_flops == 2 * 32 * 64 * 512 and found.rounds == 1 + rounds
    assert found.bytes == 4 * (rounds * (32 * 16 + 16 * 64) + 32 * 64)
    assert found.staged_bytes == 4 * (32 * 16 + 16 * 64) and found.live_bytes >= 4 * 32 * 64


def test_loops_and_branches_are_followed_where_the_arguments_decide() -> None:
    tile = 4 * 64
    assert work(flow_kernel, (f32(9999), f32(64), 200, 1)).bytes == 2 * tile, "the branch without a loop"
    assert work(flow_kernel, (f32(9999), f32(64), 99, 1)).bytes == (33 + 1) * tile, "a step of 3"
    data = work(flow_kernel, (f32(9999), f32(64), 5, 0))
    assert data.bytes == pytest.approx(32 + (UNKNOWN_TRIPS + 1) * tile), "bounds that only the data knows"


# ---- what is preferred -------------------------------------------------------------------------------------------------


def best(estimates: dict[Any, float]) -> Any:
    return min(estimates, key=estimates.__getitem__)


@pytest.mark.parametrize("target", [*GPUS, "cpu"])
@pytest.mark.parametrize("n", [100, 1 << 12, 1 << 24])
def test_elementwise_blocks_are_not_absurd(target: str, n: int) -> None:
    times = {}
    for block, warps in itertools.product((16, 64, 256, 1024, 4096, 1 << 16), (1, 4, 16)):
        programs = -(-n // block)
        times[block, warps] = seconds(work(add_kernel, (f32(n),) * 3 + (n, block), (programs, 1, 1)), programs, warps, machine(target, 8))
    block, warps = best(times)
    assert block < 1 << 16 or n > 1 << 16, "not far more than there is"
    assert block > 16 or n == 100, "not hundreds of thousands of tiny programs"
    if target in GPUS:
        assert block // (32 * warps) <= 64, "no thread with more than it can hold"


@pytest.mark.parametrize("target", GPUS)
def test_large_products_get_large_tiles_and_small_ones_fill_the_device(target: str) -> None:
    def choice(size: int) -> tuple[int, int, int, int]:
        times = {}
        for bm, bn, bk, warps in itertools.product((16, 64, 128), (16, 64, 128), (16, 32), (1, 4, 8)):
            times[bm, bn, bk, warps] = seconds(matmul(size, bm, bn, bk), (size // bm) * (size // bn), warps, machine(target))
        return best(times)

    large, small = choice(4096), choice(256)
    assert large[0] * large[1] >= 64 * 64 and large[0] * large[1] // (32 * large[3]) <= 128
    assert small[0] * small[1] < large[0] * large[1]


def test_spills_cost_and_more_warps_prevent_them() -> None:
    heavy = Work(bytes=1e5, flops=1e6, dot_flops=1e7, rounds=10, live_bytes=256 * 256 * 4, staged_bytes=1 << 15)
    times = {w: seconds(heavy, 1000, w, machine("cuda")) for w in (1, 2, 4, 8, 16)}
    assert times[1] > times[2] > times[4] > times[8]


@pytest.mark.parametrize("target", ["cuda", "metal", "cpu", "interpret", "metal-sim"])
def test_estimates_are_positive_finite_and_monotonous_in_programs(target: str) -> None:
    rng = random.Random(target)
    for _ in range(300):
        w = Work(10 ** rng.uniform(0, 9), 10 ** rng.uniform(0, 9), rng.choice([0.0, 1e9]), rng.randint(1, 1000), rng.randint(0, 1 << 24),
                 rng.randint(0, 1 << 18))  # fmt: skip
        warps, programs = rng.choice([1, 2, 4, 8, 16, 32]), rng.randint(1, 1 << 20)
        few, many = (seconds(w, p, warps, machine(target, rng.choice([0, 1, 8]))) for p in (programs, 2 * programs))
        assert 0 < few < float("inf")
        assert few <= many or machine(target).units != machine(target, 8).units


def test_ranking_is_stable_and_puts_the_unknown_last() -> None:
    assert ranking([3.0, None, 1.0, 1.0, None, 2.0]) == [2, 3, 5, 0, 1, 4]


# ---- what is picked can run --------------------------------------------------------------------------------------------


def field(configs: list[Config], size: int) -> list[Candidate]:
    a = f32(size, size)
    return [Candidate(c, (a, a, a, size, size, size, *c.kwargs.values())) for c in configs]


def grid(args: dict[str, Any]) -> tuple[int, int]:
    return -(-args["M"] // args["BM"]), -(-args["N"] // args["BN"])


@pytest.mark.parametrize("seed", range(6))
def test_the_pick_compiles_whatever_else_is_offered(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Metal's 32 KiB and 32 warps exclude many of these, tiles of 24 and grids of 0 the others.
    def built(self: Any, values: tuple[Any, ...], target: str, num_warps: int, num_stages: int | None) -> Any:
        return self.compile(*values, target=target, num_warps=num_warps)

    monkeypatch.setattr(zmlx.JitFunction, "plan_of", built)  # no device is needed to compile
    rng = random.Random(seed)
    configs = [
        Config(
            {"BM": rng.choice([16, 24, 64, 256, 1024]), "BN": rng.choice([16, 64, 256, 1024]), "BK": rng.choice([1, 16, 32, 128])},
            num_warps=rng.choice([1, 4, 32]),
        )
        for _ in range(6)
    ]
    offered = field(configs, 256)
    pick = candidates.choose(matmul_kernel, offered, "metal", grid)
    works = []
    for c in offered:
        try:
            matmul_kernel.compile(*c.values, target="metal", num_warps=c.config.num_warps)
            works.append(c)
        except ZmlxError:
            pass
    assert (pick in works) if works else (pick is None and all(c.reason for c in offered))


def test_machines_differ_by_target_and_size() -> None:
    assert machine("cpu", 8).units == 8 and machine("cpu").lanes == 1
    assert machine("metal-sim") == machine("metal") == cost_model.METAL and machine("cuda", 4) != machine("cuda")
