"""What only a device knows: spilled registers, its size; and that a device's own timing picks nothing absurd."""

from __future__ import annotations

from types import MethodType
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import Config
from zmlx.errors import AutotuneError
from zmlx.runtime import candidates, cuda_driver, mlx_backend
from zmlx.runtime.candidates import TIMED, Candidate


@zmlx.jit
def norm_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * n + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=tl.arange(0, BLOCK) < n, other=0.0)
    x = x - tl.sum(x) / n
    tl.store(out_ptr + at, x / tl.sqrt(tl.sum(x * x) / n + 1e-5), mask=tl.arange(0, BLOCK) < n)


@pytest.fixture
def cuda(target: str) -> None:
    if target != "cuda":
        pytest.skip("of CUDA")


def test_a_config_that_spills_is_ranked_last_with_its_bytes(cuda: None) -> None:
    x = mx.random.normal((64, 8192))
    configs = [Config({"BLOCK": 8192}, num_warps=1), Config({"BLOCK": 8192}, num_warps=16)]
    kernel = zmlx.autotune(configs, key=["n"], cache_results=False, warmup=1, rep=2)(norm_kernel)
    out = kernel[(64,)](x, zmlx.empty_like(x), 8192)
    assert mx.allclose(out, (x - x.mean(1, keepdims=True)) * mx.rsqrt(x.var(1, keepdims=True) + 1e-5), atol=1e-4)
    assert kernel.best_config is configs[1] and "bytes of local memory a thread" in str(kernel.tuning)
    assert kernel.configs_timings[configs[0]][0] == float("inf") > kernel.configs_timings[configs[1]][0]


def test_where_all_spill_all_are_timed(cuda: None) -> None:
    x = mx.random.normal((64, 32768))
    configs = [Config({"BLOCK": 32768}, num_warps=w) for w in (1, 2)]
    kernel = zmlx.autotune(configs, key=["n"], cache_results=False, warmup=1, rep=2)(norm_kernel)
    kernel[(64,)](x, zmlx.empty_like(x), 32768)
    assert all(t[0] < float("inf") for t in kernel.configs_timings.values())


@zmlx.jit
def product_kernel(a_ptr, b_ptr, c_ptr, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m, n, k = tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for i in range(tl.cdiv(K, BK)):
        a = tl.load(a_ptr + m[:, None] * K + (i * BK + k)[None, :])
        b = tl.load(b_ptr + (i * BK + k)[:, None] * BN + n[None, :])
        acc += tl.dot(a, b)
    tl.store(c_ptr + m[:, None] * BN + n[None, :], acc)


def test_too_much_threadgroup_memory_is_a_reason(cuda: None) -> None:
    tile = {"BM": 128, "BN": 128, "BK": 64}
    a, b = mx.random.normal((128, 512)).astype(mx.float16), mx.random.normal((512, 128)).astype(mx.float16)
    large, small = [Config(tile, num_stages=s) for s in (8, 16)], Config(tile, num_stages=2)
    kernel = zmlx.autotune([*large, small], key=["K"], cache_results=False, warmup=1, rep=2)(product_kernel)
    out = kernel[(1,)](a, b, zmlx.empty((128, 128)), 512)
    assert kernel.best_config is small and mx.allclose(out, a.astype(mx.float32) @ b.astype(mx.float32), atol=1e-1)
    assert str(kernel.tuning).count("bytes of threadgroup memory") == 2
    with pytest.raises(AutotuneError, match=r"no config of product_kernel can run:\n.*num_stages=8.*: ResourceError: .*\n"):
        zmlx.autotune(large, key=["K"], cache_results=False)(product_kernel)[(1,)](a, b, zmlx.empty((128, 128)), 512)


def test_the_driver_knows_the_device(cuda: None) -> None:
    assert 1 <= cuda_driver.multiprocessors() <= 1024


@pytest.mark.parametrize(("spills", "left"), [((0, 64, 0), (0, 2)), ((8, 64, 8), (0, 1, 2)), ((0, 0, 0), (0, 1, 2))])
def test_spilling_configs_are_set_aside_unless_all_spill(spills: tuple[int, ...], left: tuple[int, ...], target: str) -> None:
    class Backend(mlx_backend.GpuKernel):
        def __init__(self, spilled: int) -> None:
            self.spilled = spilled
            self.execute = MethodType(lambda self: [], self)

        def spilled_bytes(self) -> int:
            return self.spilled

    class Loaded:
        def __init__(self, spilled: int) -> None:
            self.execute = Backend(spilled).execute

    field: list[Any] = [Candidate(Config({"B": i}), plan=Loaded(s)) for i, s in enumerate(spills)]  # type: ignore[arg-type]
    candidates.set_spilling_aside(field)
    assert tuple(i for i, c in enumerate(field) if c.runs) == left
    assert all("64 bytes of local memory a thread" in c.reason for i, c in enumerate(field) if i not in left)


def test_real_timing_leaves_the_absurd_aside(target: str) -> None:
    if target not in TIMED:
        pytest.skip(f"{target} is not timed")

    # Sixty sines an element are many times the work of one: no noise hides that.
    @zmlx.jit
    def copy_kernel(x_ptr, out_ptr, n, REPEAT: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        for i in range(REPEAT):
            x = tl.sin(x + i)
        tl.store(out_ptr + at, x, mask=at < n)

    configs = [Config({"REPEAT": r, "BLOCK": 1024}) for r in (60, 1, 20)]
    kernel = zmlx.autotune(configs, key=["n"], warmup=1, rep=5, cache_results=False)(copy_kernel)
    x = mx.random.normal((1 << 18,))
    out = kernel[(256,)](x, zmlx.empty_like(x), 1 << 18)
    assert kernel.best_config is configs[1] and mx.allclose(out, mx.sin(x), atol=1e-5)
