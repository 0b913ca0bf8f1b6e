"""Matrix product with a fused epilogue: activation(x @ w + bias), accumulated in float32."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.activation.gelu import gelu_erf, gelu_tanh
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArgumentError


@zmlx.jit
def relu(x):
    return tl.maximum(x, 0.0)


@zmlx.jit
def linear_kernel(
    x_ptr,
    w_ptr,
    bias_ptr,
    out_ptr,
    M,
    N,
    K,
    stride_wk,
    stride_wn,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
):
    # Programs are numbered down GROUP_M rows of tiles before the next column, so that neighbours share tiles of w.
    pid = tl.program_id(0)
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    first_m = pid // (GROUP_M * tiles_n) * GROUP_M
    height = tl.minimum(tiles_m - first_m, GROUP_M)
    pid_m = first_m + pid % (GROUP_M * tiles_n) % height
    pid_n = pid % (GROUP_M * tiles_n) // height

    rows = pid_m * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    x_tile = x_ptr + rows[:, None] * K + depth[None, :]
    w_tile = w_ptr + depth[:, None] * stride_wk + cols[None, :] * stride_wn
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for k in range(0, K, BLOCK_K):
        x = tl.load(x_tile, mask=(rows[:, None] < M) & (k + depth[None, :] < K), other=0.0)
        w = tl.load(w_tile, mask=(k + depth[:, None] < K) & (cols[None, :] < N), other=0.0)
        acc = tl.dot(x, w, acc, input_precision="ieee")
        x_tile += BLOCK_K
        w_tile += BLOCK_K * stride_wk
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + cols, mask=cols < N, other=0.0).to(tl.float32)[None, :]
    if ACTIVATION is not None:
        acc = ACTIVATION(acc)
    tl.store(out_ptr + rows[:, None] * N + cols[None, :], acc, mask=(rows[:, None] < M) & (cols[None, :] < N))


ACTIVATIONS = {None: None, "relu": relu, "gelu": gelu_erf, "gelu_tanh": gelu_tanh}


def config(m: int, n: int, k: int, itemsize: int = 4) -> dict[str, int]:
    """With tensor cores, tiles of 128×256 of the result where there are enough of them for all cores, 64 of K a step; on a
    CPU 64×128 and 64 of K; else 64×64, smaller where the result is, and 32 of K.
    """
    rows, columns = max(16, zmlx.next_power_of_2(m)), max(16, zmlx.next_power_of_2(n))
    if zmlx.default_target() == "cuda" and itemsize == 2:
        if zmlx.cdiv(m, 128) * zmlx.cdiv(n, 256) >= 128:
            return {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 8, "num_stages": 4}
        many = zmlx.cdiv(m, 128) * zmlx.cdiv(n, 128) >= 96
        block_m, block_n, warps = (128, 128, 8) if many else (min(64, rows), min(64, columns), 4)
        return {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": 64, "GROUP_M": 8, "num_warps": warps, "num_stages": 4}
    if zmlx.default_target() == "cpu":
        return {"BLOCK_M": min(64, rows), "BLOCK_N": min(128, columns), "BLOCK_K": 64, "GROUP_M": 8, "num_warps": 1}
    block_m, block_n = min(64, rows), min(64, columns)
    return {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": 32, "GROUP_M": 8, "num_warps": 4 if block_m * block_n >= 2048 else 2}


def linear(x: mx.array, w: mx.array, bias: mx.array | None = None, activation: str | None = None, transposed: bool = False) -> mx.array:
    """activation(x @ w + bias), accumulated in float32 and rounded once.

    x: (..., K); w: (K, N), or (N, K) when `transposed`, as nn.Linear keeps it; bias: (N,) or None; float32, float16 or
    bfloat16, the same for all. Returns (..., N) in that dtype. float32 products keep full precision (no TF32).
    activation: None, "relu", "gelu" (erf) or "gelu_tanh".
    """
    arrays = {"x": x, "w": w} | ({} if bias is None else {"bias": bias})
    checks.floats("linear", **arrays)
    checks.rank("linear", "x", x, 1)
    checks.rank("linear", "w", w, 2, 2)
    if activation not in ACTIVATIONS:
        known = ", ".join(repr(a) for a in ACTIVATIONS)
        raise ArgumentError(f"linear: activation is {activation!r}; write one of {known}")
    k = x.shape[-1]
    n = w.shape[0] if transposed else w.shape[1]
    checks.shape("linear", "w", w, (n, k) if transposed else (k, n))
    if bias is not None:
        checks.shape("linear", "bias", bias, (n,))
    for name, array in arrays.items():
        checks.int32_offsets("linear", name, array)
    shape = (*x.shape[:-1], n)
    m = x.size // k if k else 0
    if m == 0 or n == 0:
        return mx.zeros(shape, x.dtype)
    options = config(m, n, k, x.dtype.size)
    grid = (zmlx.cdiv(m, options["BLOCK_M"]) * zmlx.cdiv(n, options["BLOCK_N"]),)
    strides = (1, k) if transposed else (n, 1)
    return linear_kernel[grid](x, w, bias, zmlx.empty(shape, x.dtype), m, n, k, *strides, ACTIVATION=ACTIVATIONS[activation], **options)


def linear_reference(
    x: mx.array, w: mx.array, bias: mx.array | None = None, activation: str | None = None, transposed: bool = False
) -> mx.array:
    out = x @ (w.T if transposed else w)
    out = out if bias is None else out + bias
    if activation == "relu":
        return mx.maximum(out, 0)
    if activation == "gelu":
        return 0.5 * out * (1 + mx.erf(out * 0.7071067811865476))
    if activation == "gelu_tanh":
        return 0.5 * out * (1 + mx.tanh(0.7978845608028654 * (out + 0.044715 * out * out * out)))
    return out


def _baseline(x: mx.array, w: mx.array, bias: mx.array | None = None, activation: str | None = None, transposed: bool = False) -> mx.array:
    w = w.T if transposed else w
    out = x @ w if bias is None else mx.addmm(bias, x, w)
    return {None: lambda y: y, "relu": nn.relu, "gelu": nn.gelu, "gelu_tanh": nn.gelu_approx}[activation](out)


def _case(m: int, n: int, k: int, bias: bool = True, transposed: bool = False, **kwargs: Any) -> Case:
    def args(r: Any) -> tuple[Any, ...]:
        w = r.standard_normal((n, k) if transposed else (k, n)) / k**0.5
        return r.standard_normal((m, k)), w, r.standard_normal(n) if bias else None

    name = f"{m}x{n}x{k}" + ("-t" if transposed else "") + ("" if bias else "-nobias") + "".join(f"-{v}" for v in kwargs.values())
    return Case(name, args, kwargs | ({"transposed": True} if transposed else {}))


CASES = (
    _case(1, 1, 1),
    _case(16, 16, 32, activation="gelu"),
    _case(33, 17, 40, bias=False),
    _case(100, 70, 50, activation="gelu_tanh", transposed=True),
    _case(65, 130, 96, activation="relu"),
    _case(128, 128, 64, activation="gelu"),
)
ENTRY = Entry(
    "linear",
    linear,
    linear_reference,
    baseline=_baseline,
    kernels=(linear_kernel,),
    cases=CASES,
    sizes={"cpu": _case(512, 512, 512, activation="gelu"), "gpu": _case(2048, 4096, 4096, activation="gelu")},
    tolerance={mx.float32: (1e-5, 1e-5), mx.float16: (2e-3, 2e-3), mx.bfloat16: (1.6e-2, 8e-3)},
    streaming=False,
    studies=(_case(4096, 4096, 4096, bias=False), _case(4096, 4096, 4096, activation="gelu")),
    flops=lambda x, w, *rest, **options: 2 * x.size * (w.size // x.shape[-1]),
)
