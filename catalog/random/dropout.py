"""Dropout with a counter-based generator: the mask is a function of the seed and the element's index alone."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArgumentError


@zmlx.jit
def _drop(x, uniform, p, scale):
    return tl.where(uniform >= p, x * scale, 0.0)


@zmlx.jit
def dropout_kernel(x_ptr, out_ptr, n, p, seed, GROUP: tl.constexpr):
    # One Philox call gives four numbers: for four groups of elements that follow each other. All loads come first, so
    # that the rounds run while they are under way.
    first = tl.program_id(0) * GROUP
    lanes = tl.arange(0, GROUP)
    i0 = first * 4 + lanes
    i1 = first * 4 + GROUP + lanes
    i2 = first * 4 + GROUP * 2 + lanes
    i3 = first * 4 + GROUP * 3 + lanes
    x0 = tl.load(x_ptr + i0, mask=i0 < n).to(tl.float32)
    x1 = tl.load(x_ptr + i1, mask=i1 < n).to(tl.float32)
    x2 = tl.load(x_ptr + i2, mask=i2 < n).to(tl.float32)
    x3 = tl.load(x_ptr + i3, mask=i3 < n).to(tl.float32)
    u0, u1, u2, u3 = tl.rand4x(seed, first + lanes)
    scale = 1.0 / (1.0 - p)
    tl.store(out_ptr + i0, _drop(x0, u0, p, scale), mask=i0 < n)
    tl.store(out_ptr + i1, _drop(x1, u1, p, scale), mask=i1 < n)
    tl.store(out_ptr + i2, _drop(x2, u2, p, scale), mask=i2 < n)
    tl.store(out_ptr + i3, _drop(x3, u3, p, scale), mask=i3 < n)


GROUP = 1024


def config(n: int) -> dict[str, int]:
    """GROUP is part of the mask's definition, so it does not depend on n; eight elements a thread and group."""
    return {"GROUP": GROUP, "num_warps": 4}


def dropout(x: mx.array, p: float = 0.5, seed: int = 0) -> mx.array:
    """Zeroes elements with probability p and divides the rest by 1 - p; the same seed gives the same mask.

    x: any shape with fewer than 2³¹ elements; float32, float16 or bfloat16. Returns that shape and dtype.
    p: 0 <= p < 1. seed: 0 <= seed < 2⁶³. Element i = (4b + k)·GROUP + j is kept when number k of philox(seed, b·GROUP + j),
    as a uniform number, is at least p.
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox-4x32-10).
    """
    checks.floats("dropout", x=x)
    if not 0 <= p < 1:
        raise ArgumentError(f"dropout: p is {p}; write a probability from 0 up to, not including, 1")
    if not 0 <= seed < 1 << 63:
        raise ArgumentError(f"dropout: seed is {seed}; write an integer from 0 to 2**63 - 1")
    checks.int32_offsets("dropout", "x", x)
    if x.size == 0:
        return mx.zeros_like(x)
    options = config(x.size)
    return dropout_kernel[(zmlx.cdiv(x.size, 4 * GROUP),)](x, zmlx.empty_like(x), x.size, float(p), seed, **options)


def dropout_reference(x: mx.array, p: float = 0.5, seed: int = 0) -> mx.array:
    # p in float32, as the kernel receives it.
    keep = (_uniform(seed, x.size) >= mx.array(p, mx.float32)).reshape(x.shape)
    return mx.where(keep, x / (1 - p), mx.zeros_like(x))


def _uniform(seed: int, n: int) -> mx.array:
    """The uniform float32 numbers of elements 0 … n-1, Philox-4x32-10 in plain MLX."""
    low, half = mx.array(0xFFFFFFFF, mx.uint64), mx.array(32, mx.uint64)
    a, b = mx.array(0xD2511F53, mx.uint64), mx.array(0xCD9E8D57, mx.uint64)
    counters = -(-n // (4 * GROUP)) * GROUP
    zero = mx.zeros(counters, mx.uint64)
    c0, c1, c2, c3 = mx.arange(counters, dtype=mx.uint64), zero, zero, zero
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        first, second = a * c0, b * c2
        c0, c2 = (second >> half) ^ c1 ^ mx.array(k0, mx.uint64), (first >> half) ^ c3 ^ mx.array(k1, mx.uint64)
        c1, c3 = second & low, first & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    numbers = mx.stack([c.reshape(-1, GROUP) for c in (c0, c1, c2, c3)], axis=1).reshape(-1)[:n]
    signed = numbers.astype(mx.uint32).view(mx.int32)
    return mx.where(signed < 0, -signed - 1, signed).astype(mx.float32) * 4.6566127342e-10


def _baseline(x: mx.array, p: float = 0.5, seed: int = 0) -> mx.array:
    keep = mx.random.bernoulli(1 - p, x.shape, key=mx.random.key(seed))
    return keep * x * (1 / (1 - p))


def _case(*shape: int, **kwargs: float) -> Case:
    name = "x".join(map(str, shape)) + "".join(f"-{k}{v}" for k, v in kwargs.items())
    return Case(name, lambda r: (r.standard_normal(shape),), kwargs)


CASES = (_case(5), _case(1000, p=0.1), _case(33, 65, p=0.9, seed=7), _case(2049, seed=(1 << 40) + 3), _case(100, p=0), _case(0))
ENTRY = Entry(
    "dropout",
    dropout,
    dropout_reference,
    baseline=_baseline,
    kernels=(dropout_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048, seed=1), "gpu": _case(16384, 1024, seed=1)},
)
