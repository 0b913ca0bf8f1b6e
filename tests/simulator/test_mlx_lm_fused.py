"""mlx-lm's fused kernels and loss kernels, simulated and sanitised, give what MLX's operations give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

from zmlx import simulator

pytest.importorskip("mlx_lm")
sys.path.append(str(Path(__file__).parent / "mlx_kernels"))

import mlx_lm_copy

RELATIVE = {mx.float32: 2e-5, mx.float16: 4e-3, mx.bfloat16: 2e-2}
DTYPES = pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=["float32", "bfloat16"])
module = cache(mlx_lm_copy.simulated)


@pytest.fixture(autouse=True)
def _sanitised() -> Iterator[None]:
    with simulator.installed(sanitize=True):
        yield


def _same(got: mx.array, want: mx.array) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    a, b = (np.array(x.astype(mx.float32)) for x in (got, want))
    np.testing.assert_allclose(a, b, rtol=0, atol=RELATIVE[got.dtype] * max(1e-6, float(np.abs(b).max())))


def _random(rng: np.random.Generator, *shape: int, dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.array(rng.standard_normal(shape).astype(np.float32)).astype(dtype)


def _heads(qkvg: mx.array, hq: int, hk: int, d: int, eps: float, scale: float) -> tuple[mx.array, mx.array]:
    """The norms of the query and key heads, as mlx-lm's kernel rounds them."""
    b, n, _ = qkvg.shape
    q = mx.fast.rms_norm(qkvg[..., : hq * d].reshape(b, n, hq, d), None, eps)
    k = mx.fast.rms_norm(qkvg[..., hq * d : (hq + hk) * d].reshape(b, n, hk, d), None, eps)
    return (q.astype(mx.float32) * scale).astype(q.dtype), k


@DTYPES
@pytest.mark.parametrize("d", [64, 40])
def test_qk_norm(d: int, dtype: mx.Dtype) -> None:
    hq, hk = 4, 2
    qkvg = _random(np.random.default_rng(1), 2, 3, 2 * (hq + hk) * d, dtype=dtype)
    q, k = module("kernels.qk_norm").qk_norm(qkvg, n_heads=hq, n_kv_heads=hk, head_dim=d, eps=1e-5, query_scale=1.5)
    want_q, want_k = _heads(qkvg, hq, hk, d, 1e-5, 1.5)
    _same(q, want_q)
    _same(k, want_k)


@DTYPES
@pytest.mark.parametrize("offset", [7, [3, 11]], ids=["offset", "offsets"])
def test_qk_norm_rope(offset: int | list[int], dtype: mx.Dtype) -> None:
    hq, hk, d = 4, 2, 64
    qkvg = _random(np.random.default_rng(2), 2, 3, 2 * (hq + hk) * d, dtype=dtype)
    where = mx.array(offset) if isinstance(offset, list) else offset
    q, k = module("kernels.qk_norm_rope").qk_norm_rope(
        qkvg, n_heads=hq, n_kv_heads=hk, head_dim=d, eps=1e-5, query_scale=1.5, rope_base=1e4, offset=where
    )
    for got, want in zip((q, k), _heads(qkvg, hq, hk, d, 1e-5, 1.5), strict=True):
        rotated = mx.fast.rope(want.transpose(0, 2, 1, 3), d, traditional=True, base=1e4, scale=1.0, offset=where)
        _same(got, rotated.transpose(0, 2, 1, 3))


def test_expert_routing() -> None:
    rng = np.random.default_rng(3)
    logits, bias = _random(rng, 2, 5, 48), _random(rng, 48)
    inds, weights = module("kernels.expert_routing").expert_routing(logits, bias, top_k=6, multiplier=0.7, score_eps=1e-15, route_scale=2.5)
    scores = mx.sigmoid(logits * 0.7)
    want = mx.argsort(-(scores + bias), axis=-1)[..., :6]
    assert mx.array_equal(inds, want.astype(mx.uint32)).item()
    chosen = mx.take_along_axis(scores, want, axis=-1)
    _same(weights, chosen / (chosen.sum(axis=-1, keepdims=True) + 1e-15) * 2.5)


@pytest.mark.parametrize("d", [96, 1000])
def test_post_expert_norm_combine(d: int) -> None:
    rng = np.random.default_rng(4)
    experts, weights, norm = _random(rng, 2, 3, 4, d), _random(rng, 2, 3, 4), _random(rng, d)
    got = module("kernels.post_expert_norm_combine").post_expert_norm_combine(experts, weights, norm_weight=norm, eps=1e-5)
    _same(got, (mx.fast.rms_norm(experts * norm, None, 1e-5) * weights[..., None]).sum(axis=-2))


@DTYPES
def test_rms_norm_sigmoid_gate(dtype: mx.Dtype) -> None:
    """The input is a transposed view: the kernel reads it by its strides."""
    rng = np.random.default_rng(5)
    b, h, n, d = 2, 3, 5, 72
    x = _random(rng, b, n, h, d, dtype=dtype).transpose(0, 2, 1, 3)
    gate = _random(rng, b, n, h * d, dtype=dtype)
    got = module("kernels.rms_norm_sigmoid_gate").rms_norm_sigmoid_gate(x, gate, eps=1e-5)
    normed = mx.fast.rms_norm(x.astype(mx.float32), None, 1e-5).transpose(0, 2, 1, 3).reshape(b, n, h * d)
    _same(got, (normed * mx.sigmoid(gate.astype(mx.float32))).astype(dtype))


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("d", [200, 1100])
def test_norm_add_norm(d: int, scaled: bool) -> None:
    rng = np.random.default_rng(6)
    kernels = module("kernels.norm_add_norm")
    branch, stream, alpha, beta, post = _random(rng, 3, d), _random(rng, 3, d), _random(rng, d), _random(rng, d), _random(rng, d)
    norm = nn.RMSNorm(d, eps=1e-6)
    norm.weight = _random(rng, d)
    options = {"alpha": alpha, "beta": beta, "post_weight": post if scaled else None, "post_eps": 1e-5}
    want = alpha * stream + beta * mx.fast.rms_norm(branch * post if scaled else branch, None, 1e-5)

    new_stream, normed = kernels.norm_add_norm(branch, stream, next_norm=norm, **options)
    _same(new_stream, want)
    _same(normed, norm(want))
    last, nothing = kernels.norm_add_norm(branch, stream, next_norm=None, **options)
    assert nothing is None and mx.array_equal(last, new_stream).item()
    assert mx.array_equal(kernels.pre_norm(new_stream, norm, dtype=mx.float32), normed).item()
