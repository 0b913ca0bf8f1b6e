"""Flash attention, forward: softmax(q kᵀ · scale) v without the matrix of scores ever in memory."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArrayError

LOG2_E = 1.4426950408889634


@zmlx.jit
def _attend(q, k, v, keep, scale_log2, top, total, acc):
    """One tile of keys more. In units of log 2: exp(s - top) = exp2(s' - top')."""
    s = tl.dot(q, k, input_precision="ieee")
    if keep is not None:
        s = tl.where(keep, s, -float("inf"))
    higher = tl.maximum(top, tl.max(s, axis=1) * scale_log2)
    p = tl.exp2(tl.fma(s, scale_log2, -higher[:, None]))
    shrink = tl.exp2(top - higher)
    total = total * shrink + tl.sum(p, axis=1)
    acc = tl.dot(p.to(v.dtype), v, acc * shrink[:, None], input_precision="ieee")
    return higher, total, acc


@zmlx.jit
def flash_attention_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    out_ptr,
    n_q,
    n_k,
    heads,
    group,
    scale_log2,
    HEAD_DIM: tl.constexpr,
    CAUSAL: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    tile = tl.program_id(0)
    if CAUSAL:
        tile = tl.num_programs(0) - 1 - tile  # the tiles that see most keys first
    start = tile * BLOCK_M
    head = tl.program_id(1)
    kv_head = head // heads * (heads // group) + head % heads // group
    rows = start + tl.arange(0, BLOCK_M)
    cols = tl.arange(0, BLOCK_N)
    dims = tl.arange(0, BLOCK_D)
    q_ptr += head.to(tl.int64) * n_q * HEAD_DIM
    out_ptr += head.to(tl.int64) * n_q * HEAD_DIM
    k_ptr += kv_head.to(tl.int64) * n_k * HEAD_DIM
    v_ptr += kv_head.to(tl.int64) * n_k * HEAD_DIM

    inside = (rows[:, None] < n_q) & (dims[None, :] < HEAD_DIM)
    q = tl.load(q_ptr + rows[:, None] * HEAD_DIM + dims[None, :], mask=inside, other=0.0)
    top = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    # The last query sees the last key: key j is seen by query i when j <= i + n_k - n_q. Whole tiles of keys that every query of
    # this program sees need no mask; no key after its last query's is worth a step.
    end = n_k
    whole = n_k // BLOCK_N * BLOCK_N
    if CAUSAL:
        end = tl.minimum(n_k, start + BLOCK_M + n_k - n_q)
        whole = (tl.minimum(n_k, start + 1 + n_k - n_q)) // BLOCK_N * BLOCK_N
    for j in range(0, whole, BLOCK_N):
        keys = j + cols
        k = tl.load(k_ptr + keys[None, :] * HEAD_DIM + dims[:, None], mask=dims[:, None] < HEAD_DIM, other=0.0)
        v = tl.load(v_ptr + keys[:, None] * HEAD_DIM + dims[None, :], mask=dims[None, :] < HEAD_DIM, other=0.0)
        top, total, acc = _attend(q, k, v, None, scale_log2, top, total, acc)
    for j in range(whole, end, BLOCK_N):
        keys = j + cols
        k = tl.load(k_ptr + keys[None, :] * HEAD_DIM + dims[:, None], mask=(keys[None, :] < n_k) & (dims[:, None] < HEAD_DIM), other=0.0)
        v = tl.load(v_ptr + keys[:, None] * HEAD_DIM + dims[None, :], mask=(keys[:, None] < n_k) & (dims[None, :] < HEAD_DIM), other=0.0)
        keep = keys[None, :] < n_k
        if CAUSAL:
            keep = keep & (keys[None, :] <= rows[:, None] + (n_k - n_q))
        top, total, acc = _attend(q, k, v, keep, scale_log2, top, total, acc)
    tl.store(out_ptr + rows[:, None] * HEAD_DIM + dims[None, :], acc * (1.0 / total)[:, None], mask=inside)


def config(n_q: int, n_k: int, head_dim: int, itemsize: int = 4) -> dict[str, int]:
    """Tiles of queries and keys; the head's size rounded up to a power of two.

    With tensor cores, 128 queries by 128 keys, two groups of four warps; on a CPU 64 by 128; else 64 by 32, 32 by 32 for wide heads.
    """
    block_d = max(16, zmlx.next_power_of_2(head_dim))
    rows = max(16, zmlx.next_power_of_2(n_q))
    if zmlx.default_target() == "cuda" and itemsize == 2:
        block_m, block_n = min(128 if block_d <= 128 else 64, rows), 128 if block_d <= 128 else 64
        block_n = min(block_n, max(16, zmlx.next_power_of_2(n_k)))
        return {"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_D": block_d, "num_warps": 8 if block_m == 128 else 4, "num_stages": 3}
    if zmlx.default_target() == "cpu":
        return {"BLOCK_M": min(64, rows), "BLOCK_N": min(128, max(16, zmlx.next_power_of_2(n_k))), "BLOCK_D": block_d, "num_warps": 1}
    block_m = min(64 if block_d <= 64 else 32, rows)
    return {"BLOCK_M": block_m, "BLOCK_N": 32, "BLOCK_D": block_d, "num_warps": 4}


def flash_attention(q: mx.array, k: mx.array, v: mx.array, scale: float | None = None, causal: bool = False) -> mx.array:
    """softmax(q kᵀ · scale) v for each head, with float32 scores and sums.

    q: (batch, heads, n_q, d); k, v: (batch, kv_heads, n_k, d), heads a multiple of kv_heads (grouped heads share keys),
    1 <= d <= 256; float32, float16 or bfloat16, the same for all. Returns q's shape and dtype.
    scale: 1/√d by default. causal: query i sees keys up to i + n_k - n_q, as in mx.fast; needs n_q <= n_k.
    Dao, "FlashAttention-2", arXiv:2307.08691.
    """
    checks.floats("flash_attention", q=q, k=k, v=v)
    for name, array in (("q", q), ("k", k), ("v", v)):
        checks.rank("flash_attention", name, array, 4, 4)
    batch, heads, n_q, dim = q.shape
    kv_heads, n_k = k.shape[1:3]
    checks.shape("flash_attention", "k", k, (batch, kv_heads, n_k, dim))
    checks.shape("flash_attention", "v", v, (batch, kv_heads, n_k, dim))
    if kv_heads == 0 or heads % kv_heads:
        raise ArrayError(f"flash_attention: {heads} heads of q do not share {kv_heads} heads of k evenly; make one a multiple of the other")
    if not 1 <= dim <= 256:
        raise ArrayError(f"flash_attention: heads of size {dim}; pass sizes from 1 to 256")
    if n_k == 0:
        raise ArrayError("flash_attention: k and v hold no keys; pass at least one")
    if causal and n_q > n_k:
        raise ArrayError(f"flash_attention: {n_q} causal queries with {n_k} keys leave queries without a key; pass the last {n_k} queries")
    if q.size == 0:
        return mx.zeros_like(q)
    options = config(n_q, n_k, dim, q.dtype.size)
    scale = dim**-0.5 if scale is None else float(scale)
    if scale <= 0:  # the kernel takes a positive one, so that the largest score stays the largest
        q, scale = (-q, -scale) if scale < 0 else (mx.zeros_like(q), 1.0)
    scale_log2 = scale * LOG2_E
    return flash_attention_kernel[(zmlx.cdiv(n_q, options["BLOCK_M"]), batch * heads)](
        q, k, v, zmlx.empty_like(q), n_q, n_k, heads, heads // kv_heads, scale_log2, HEAD_DIM=dim, CAUSAL=causal, **options
    )


def flash_attention_reference(q: mx.array, k: mx.array, v: mx.array, scale: float | None = None, causal: bool = False) -> mx.array:
    group, n_q, n_k = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v = mx.repeat(k, group, axis=1), mx.repeat(v, group, axis=1)
    s = (q @ k.swapaxes(-1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        s = mx.where(mx.arange(n_k)[None, :] <= mx.arange(n_q)[:, None] + (n_k - n_q), s, mx.array(-float("inf"), s.dtype))
    e = mx.exp(s - mx.max(s, axis=-1, keepdims=True))
    return (e / mx.sum(e, axis=-1, keepdims=True)) @ v


def _baseline(q: mx.array, k: mx.array, v: mx.array, scale: float | None = None, causal: bool = False) -> mx.array:
    return mx.fast.scaled_dot_product_attention(
        q, k, v, scale=q.shape[-1] ** -0.5 if scale is None else scale, mask="causal" if causal else None
    )


def _flops(q: mx.array, k: mx.array, v: mx.array, scale: float | None = None, causal: bool = False) -> int:
    """Two products of d multiplications and additions for each query and key that it sees."""
    batch, heads, n_q, dim = q.shape
    n_k = k.shape[2]
    pairs = n_q * n_k - n_q * (n_q - 1) // 2 if causal else n_q * n_k
    return 4 * batch * heads * pairs * dim


def _case(batch: int, heads: int, kv_heads: int, n_q: int, n_k: int, dim: int, **kwargs: Any) -> Case:
    def args(r: np.random.Generator) -> tuple[Any, ...]:
        kv = (batch, kv_heads, n_k, dim)
        return r.standard_normal((batch, heads, n_q, dim)), r.standard_normal(kv), r.standard_normal(kv)

    name = f"{batch}x{heads}:{kv_heads}x{n_q}:{n_k}x{dim}" + "".join(f"-{k}" for k in kwargs)
    return Case(name, args, kwargs)


CASES = (
    _case(1, 1, 1, 1, 1, 16),
    _case(1, 2, 1, 16, 16, 16, causal=True),
    _case(1, 4, 2, 33, 47, 64, causal=True),
    _case(2, 2, 2, 40, 70, 64),
    _case(1, 2, 1, 65, 65, 128, causal=True),
    _case(1, 1, 1, 20, 33, 40),
    _case(1, 1, 1, 1, 100, 80, scale=0.3),
)
ENTRY = Entry(
    "flash_attention",
    flash_attention,
    flash_attention_reference,
    baseline=_baseline,
    kernels=(flash_attention_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1, 8, 2, 512, 512, 64, causal=True), "gpu": _case(1, 32, 8, 2048, 2048, 128, causal=True)},
    tolerance={mx.float32: (1e-5, 1e-5), mx.float16: (2e-3, 2e-3), mx.bfloat16: (1.6e-2, 8e-3)},
    streaming=False,
    studies=tuple(_case(4, 32, 32, 4096, 4096, dim, **causal) for dim in (64, 128) for causal in ({}, {"causal": True})),
    flops=_flops,
)
