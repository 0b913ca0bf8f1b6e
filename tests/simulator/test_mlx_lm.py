"""The Metal kernels of mlx-lm's models, simulated and sanitised, give what mlx-lm's other paths give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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

RELATIVE = {mx.float32: 2e-5, mx.float16: 4e-3, mx.bfloat16: 2e-2}
model = cache(mlx_lm_copy.simulated)


@pytest.fixture(autouse=True)
def _sanitised() -> Iterator[None]:
    with simulator.installed(sanitize=True):
        yield


def _same(got: mx.array, want: mx.array) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    a, b = (np.array(x.astype(mx.float32)) for x in (got, want))
    np.testing.assert_allclose(a, b, rtol=0, atol=RELATIVE[got.dtype] * max(1e-6, float(np.abs(b).max())))


def _random(rng: np.random.Generator, *shape: int, dtype: mx.Dtype = mx.float32, scale: float = 1.0) -> mx.array:
    return mx.array(rng.standard_normal(shape).astype(np.float32) * scale).astype(dtype)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> mx.array:
    return mx.array(rng.uniform(low, high, shape).astype(np.float32))


def _gated_delta_inputs(dk: int, dv: int, dtype: mx.Dtype, vector_gate: bool = False, steps: int = 5) -> list[mx.array]:
    rng = np.random.default_rng(dk + dv)
    b, hk, hv = 2, 2, 4
    q, k = (_random(rng, b, steps, hk, dk, dtype=dtype, scale=dk**-0.5) for _ in range(2))
    v = _random(rng, b, steps, hv, dv, dtype=dtype)
    g = _uniform(rng, 0.8, 1.0, b, steps, hv, *([dk] if vector_gate else []))
    beta = _uniform(rng, 0.1, 0.9, b, steps, hv).astype(dtype)
    return [q, k, v, g, beta, _random(rng, b, hv, dv, dk)]


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("vector_gate", [False, True], ids=["gate", "vector_gate"])
def test_gated_delta(vector_gate: bool, dtype: mx.Dtype) -> None:
    lm = model("models.gated_delta")
    inputs = _gated_delta_inputs(64, 12, dtype, vector_gate)
    y, state = lm.gated_delta_kernel(*inputs)
    want_y, want_state = lm.gated_delta_ops(*(x.astype(mx.float32) for x in inputs))
    _same(y, want_y.astype(dtype))
    _same(state, want_state)


@pytest.mark.parametrize("vector_gate", [False, True], ids=["gate", "vector_gate"])
def test_masked_gated_delta(vector_gate: bool) -> None:
    """At a masked step all 32 lanes write the same zero to one element, which the sanitizer rightly calls a race."""
    lm = model("models.gated_delta")
    inputs = _gated_delta_inputs(32, 8, mx.float32, vector_gate)
    mask = mx.array([[False, True, True, True, True], [False, False, True, True, True]])
    with simulator.installed(on_report="collect") as session:
        y, state = lm.gated_delta_kernel(*inputs, mask)
    want_y, want_state = lm.gated_delta_ops(*inputs, mask)
    _same(y, mx.where(mask[..., None, None], want_y, 0))
    _same(state, want_state)
    assert {(report.kind, report.buffer) for report in session.reports} == {("device-race", "y")}


def test_packed_gated_delta() -> None:
    """Eight rows a simdgroup: bit for bit the kernel with the sums written out, as mlx-lm promises."""
    lm = model("models.gated_delta")
    inputs = _gated_delta_inputs(128, 16, mx.float16)
    y, state = lm.gated_delta_kernel(*inputs)
    want_y, want_state = lm.gated_delta_ops(*(x.astype(mx.float32) for x in inputs))
    _same(y, want_y.astype(mx.float16))
    _same(state, want_state)
    exact_y, exact_state = lm.gated_delta_kernel_xtree(*inputs)
    assert mx.array_equal(y, exact_y).item() and mx.array_equal(state, exact_state).item()


def _wkv7(lm: ModuleType, inputs: list[mx.array], state: mx.array) -> tuple[mx.array, mx.array]:
    ys = []
    for t in range(inputs[0].shape[1]):
        y, state = lm._wkv7_step_ops(*(x[:, t] for x in inputs), state)
        ys.append(y[..., 0])
    return mx.stack(ys, axis=1), state


def test_rwkv7() -> None:
    lm = model("models.rwkv7")
    rng = np.random.default_rng(2)
    b, steps, h, d = 2, 4, 3, 64
    r, k, v, a, b_ = (_random(rng, b, steps, h, d, scale=d**-0.5) for _ in range(5))
    w = _uniform(rng, 0.7, 1.0, b, steps, h, d)
    state = _random(rng, b, h, d, d)
    y, new_state = lm.wkv7_kernel(r, w, k, v, a, b_, state)
    want_y, want_state = _wkv7(lm, [r, w, k, v, a, b_], state)
    _same(y, want_y)
    _same(new_state, want_state)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16], ids=["float32", "float16"])
def test_ssm(dtype: mx.Dtype) -> None:
    lm = model("models.ssm")
    rng = np.random.default_rng(3)
    n, h, d, groups, ds = 2, 4, 16, 2, 64
    x = _random(rng, n, 1, h, d, dtype=dtype)
    b, c = (_random(rng, n, 1, groups, ds, dtype=dtype) for _ in range(2))
    a_log, skip, dt, bias = _random(rng, h, scale=0.3), _random(rng, h), _random(rng, n, 1, h), _random(rng, h)
    state = _random(rng, n, h, d, ds)
    arguments = (a_log, b, c, skip, dt, bias, state, (0.001, 100.0))
    y, new_state = lm.ssm_update_kernel(x, *arguments)
    exact = (a.astype(mx.float32) if isinstance(a, mx.array) else a for a in arguments)
    want_y, want_state = lm.ssm_attn(x.astype(mx.float32), *exact)
    _same(y, want_y.astype(dtype))
    _same(new_state, want_state)


@pytest.mark.parametrize("invert", [False, True], ids=["scale", "inverse_scale"])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=["float32", "bfloat16"])
def test_bitlinear(dtype: mx.Dtype, invert: bool) -> None:
    rng = np.random.default_rng(4)
    n_in, n_out = 256, 24
    layer = model("models.bitlinear_layers").BitLinear(n_in, n_out, bias=True, invert_weight_scales=invert)
    weights = rng.integers(-1, 2, (n_out, n_in))
    quarters = (weights + 1).reshape(4, n_out // 4, n_in).astype(np.uint8)
    layer.weight = mx.array(quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6)
    layer.weight_scale = mx.array([1.75]).astype(dtype)
    layer.bias = _random(rng, n_out, dtype=dtype)
    x = _random(rng, 2, 3, n_in, dtype=dtype)
    want = x.astype(mx.float32) @ mx.array(weights.T.astype(np.float32)) * (1 / 1.75 if invert else 1.75)
    _same(layer(x), want.astype(dtype) + layer.bias)


def test_attention_residuals() -> None:
    lm = model("models.kimi_k3")
    rng = np.random.default_rng(5)
    blocks, n, d = 3, 4, 600
    raw, partial, w = _random(rng, blocks, 1, n, d), _random(rng, 1, n, d), _random(rng, d, scale=d**-0.5)
    inv_rms, eps = mx.rsqrt((raw * raw).mean(axis=-1) + 1e-5), mx.array([1e-5])
    (got,) = lm._attn_res_kernel(
        inputs=[raw, inv_rms, partial, w, eps, n],
        template=[("InT", mx.float32), ("K", blocks), ("D", d), ("THREADS", lm._ATTN_RES_THREADS)],
        grid=(lm._ATTN_RES_THREADS, n, 1),
        threadgroup=(lm._ATTN_RES_THREADS, 1, 1),
        output_shapes=[partial.shape],
        output_dtypes=[mx.float32],
    )
    _same(got, lm._attn_res_combine(raw, inv_rms, partial, w, 1e-5))


@pytest.mark.parametrize("matrices", [1, 300])
def test_sinkhorn(matrices: int) -> None:
    """300 matrices leave part of the last threadgroup without work."""
    lm = model("models.deepseek_v41")
    comb, eps = _uniform(np.random.default_rng(6), 0.01, 1.0, matrices, 4, 4), mx.array([1e-6])
    (got,) = lm._sinkhorn_kernel(
        inputs=[comb, eps],
        template=[("HC", 4), ("ITERS", 7)],
        grid=(matrices, 1, 1),
        threadgroup=(min(matrices, 256), 1, 1),
        output_shapes=[comb.shape],
        output_dtypes=[mx.float32],
    )
    assert mx.default_device() == mx.cpu  # where mlx-lm takes the path without the kernel
    _same(got, lm._sinkhorn(comb, iters=7, eps=eps))
