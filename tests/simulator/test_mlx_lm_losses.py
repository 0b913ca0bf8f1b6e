"""mlx-lm's loss kernels: the sanitizer finds a barrier that they lack; with it, they give NumPy's losses and gradients.

Each simdgroup reads all maxima from `shared` and then writes its sum over its own: a simdgroup that is late reads sums for maxima.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator

pytest.importorskip("mlx_lm")
sys.path.append(str(Path(__file__).parent / "mlx_kernels"))

import mlx_lm_copy

_READ = """        max_q = simd_max(max_q);
        max_p = simd_max(max_p);

        // Share the sum_exp"""
_BARRIER = "        threadgroup_barrier(mem_flags::mem_threadgroup);\n"
_MISSING = (_READ, _READ.replace("\n\n", f"\n{_BARRIER}\n"))
# Two more: one that orders no memory, between a write and a read of `shared`; and none before it is written once more.
_WEAK = ("mem_flags::mem_none", "mem_flags::mem_threadgroup")
module = cache(mlx_lm_copy.simulated)


def losses() -> ModuleType:
    return module("tuner.losses", _MISSING, _WEAK)


def _logits(width: int) -> tuple[mx.array, mx.array]:
    rng = np.random.default_rng(width)
    return tuple(mx.array(rng.standard_normal((3, width)).astype(np.float32)) for _ in range(2))  # type: ignore[return-value]


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _kl(q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - np.log(q))).sum(-1)


@pytest.mark.parametrize("width", [33, 5000])
def test_kl_divergence(width: int) -> None:
    q, p = _logits(width)
    cotangent = mx.array([1.0, -2.0, 0.5])
    with simulator.installed(sanitize=True):
        (loss,), (dq, dp) = mx.vjp(losses()._kl_div_loss, [q, p], [cotangent])
    a, b = (_softmax(np.array(x).astype(np.float64)) for x in (q, p))
    np.testing.assert_allclose(np.array(loss), _kl(a, b), rtol=1e-4)
    np.testing.assert_allclose(np.array(dq), np.array(cotangent)[:, None] * (a - b), atol=1e-6)
    assert not np.array(dp).any()


@pytest.mark.parametrize("width", [33, 5000])
def test_js_divergence(width: int) -> None:
    q, p = _logits(width)
    cotangent = mx.array([1.0, -2.0, 0.5])
    with simulator.installed(sanitize=True):
        (loss,), (dq, _) = mx.vjp(lambda *x: losses()._js_div_loss(*x)[0], [q, p], [cotangent])
    a, b = (_softmax(np.array(x).astype(np.float64)) for x in (q, p))
    middle = (a + b) / 2
    np.testing.assert_allclose(np.array(loss), (_kl(middle, a) + _kl(middle, b)) / 2, rtol=1e-4)
    # d/dq of half KL(a|m): a/2 (log(a/m) - KL(a|m))
    want = a / 2 * (np.log(a / middle) - _kl(middle, a)[:, None])
    np.testing.assert_allclose(np.array(dq), np.array(cotangent)[:, None] * want, atol=1e-6)


@pytest.mark.parametrize("name", ["_kl_div_loss", "_js_div_loss"])
def test_the_barrier_is_missed(name: str) -> None:
    q, p = _logits(5000)
    with simulator.installed(sanitize=True, on_report="collect") as session:
        mx.vjp(lambda *x: getattr(module("tuner.losses"), name)(*x), [q, p], [mx.ones((3,))] * (1 + name.startswith("_js")))
    assert {(report.kind, report.buffer) for report in session.reports} == {("race", "shared")}
    assert len({report.kernel for report in session.reports}) == 2  # forward and backward
