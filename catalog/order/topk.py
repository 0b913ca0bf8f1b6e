"""The k largest elements of each row with their places, from one read of the row."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArgumentError


@zmlx.jit
def ranks_of(x):
    """uint32 numbers in the order of float32 ones: NaN is the largest, -0 equals 0."""
    bits = tl.where(x == x, (x + 0.0).to(tl.int32, bitcast=True), 0x7FFFFFFF)  # -0 + 0 is 0
    return (bits ^ ((bits >> 31) | -0x80000000)).to(tl.uint32)


@zmlx.jit
def keys_of(ranks, cols, WIDE: tl.constexpr):
    """Keys that are all different: larger for larger ranks and, of equal ones, for the earlier column.

    The inverted column stands below the rank: 64 bits if WIDE, else 32, of which 19 hold what a float16 or bfloat16 fills of
    a float32, and 13 the column.
    """
    if WIDE:
        return (ranks.to(tl.uint64) << 32) | (0xFFFFFFFF - cols.to(tl.uint32))
    else:
        return (ranks & 0xFFFFE000) | (0x1FFF - cols.to(tl.uint32))


@zmlx.jit
def _store_best(x_ptr, value_ptr, index_ptr, best, k, WIDE: tl.constexpr, K: tl.constexpr):
    index = (0xFFFFFFFF - (best & 0xFFFFFFFF)).to(tl.uint32) if WIDE else 0x1FFF - (best & 0x1FFF)
    places = tl.arange(0, K)
    mask = places < k
    tl.store(value_ptr + places, tl.load(x_ptr + index, mask=mask), mask=mask)
    tl.store(index_ptr + places, index, mask=mask)


@zmlx.jit
def _keys_at(x_ptr, n_cols, start, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Keys of the columns start … start + BLOCK - 1, these counted from 0. Those behind the row are -inf, and later than any in it."""
    cols = tl.arange(0, BLOCK)
    return keys_of(ranks_of(tl.load(x_ptr + start + cols, mask=start + cols < n_cols, other=-float("inf")).to(tl.float32)), cols, WIDE)


@zmlx.jit
def _struck(keys, step, high, top):
    """Strikes the largest key out if it is `top`. step: the largest of `keys`, which stands for the key `high`.

    Subtracting the largest from all, modulo 2^32 or 2^64, strikes it out: those below it wrap and are now the larger ones, in
    their old order, above those that were struck out before.
    """
    if high == top:
        keys -= step
        step = tl.max(keys, axis=0)
        high += step
    return keys, step, high


@zmlx.jit
def topk_kernel(x_ptr, value_ptr, index_ptr, n_cols, k, WIDE: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * n_cols
    # The row in four parts: after each of the k keys, only the part that it came from is looked through again.
    PART: tl.constexpr = BLOCK // 4
    a = _keys_at(x_ptr, n_cols, 0, WIDE, PART)
    b = _keys_at(x_ptr, n_cols, PART, WIDE, PART)
    c = _keys_at(x_ptr, n_cols, 2 * PART, WIDE, PART)
    d = _keys_at(x_ptr, n_cols, 3 * PART, WIDE, PART)
    a_step, b_step, c_step, d_step = tl.max(a, axis=0), tl.max(b, axis=0), tl.max(c, axis=0), tl.max(d, axis=0)
    a_high, b_high, c_high, d_high = a_step, b_step - PART, c_step - 2 * PART, d_step - 3 * PART
    best = tl.zeros((K,), a.dtype)
    for i in range(k):
        top = tl.maximum(tl.maximum(a_high, b_high), tl.maximum(c_high, d_high))
        best = tl.where(tl.arange(0, K) >= i, top, best)
        a, a_step, a_high = _struck(a, a_step, a_high, top)
        b, b_step, b_high = _struck(b, b_step, b_high, top)
        c, c_step, c_high = _struck(c, c_step, c_high, top)
        d, d_step, d_high = _struck(d, d_step, d_high, top)
    _store_best(x_ptr, value_ptr + row * k, index_ptr + row * k, best, k, WIDE, K)


@zmlx.jit
def topk_loop_kernel(x_ptr, value_ptr, index_ptr, n_cols, k, WIDE: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * n_cols
    cols = tl.arange(0, BLOCK)
    best = tl.zeros((K,), tl.uint64)
    last = tl.full((), 0, tl.uint64)
    for start in range(0, n_cols, BLOCK):
        ranks = ranks_of(tl.load(x_ptr + start + cols, mask=start + cols < n_cols, other=-float("inf")).to(tl.float32))
        # Most tiles hold nothing better than the k best of those before them.
        if tl.max(ranks, axis=0) > (last >> 32).to(tl.uint32):
            keys = keys_of(ranks, start + cols, WIDE)
            merged = best
            top = tl.full((), 0, tl.uint64)
            for i in range(k):
                step = tl.maximum(tl.max(keys, axis=0), tl.max(best, axis=0))
                keys -= step
                best -= step
                top += step
                merged = tl.where(tl.arange(0, K) >= i, top, merged)
            best = merged
            last = top
    _store_best(x_ptr, value_ptr + row * k, index_ptr + row * k, best, k, WIDE, K)


ONE_TILE = 4096
MOST = 64


def config(n_cols: int, itemsize: int, k: int) -> dict[str, int]:
    """Long rows in tiles of 2048, others in one; 16 to 32 elements a thread, since exchanging between warps costs each round."""
    block = max(4, zmlx.next_power_of_2(n_cols)) if n_cols <= ONE_TILE else 2048
    wide = itemsize > 2 or n_cols > ONE_TILE
    warps = max(1, block // 1024) if n_cols <= ONE_TILE else 4
    return {"WIDE": wide, "K": zmlx.next_power_of_2(k), "BLOCK": block, "num_warps": warps}


def topk(x: mx.array, k: int = 8) -> tuple[mx.array, mx.array]:
    """The k largest elements along the last axis, largest first, and their indices; of equal elements the earlier comes first.

    x: (..., n), n < 2³¹; float32, float16 or bfloat16. k: from 1 to min(n, 64). Returns (values, indices), both (..., k), of x's
    dtype and uint32. NaN is larger than all numbers, as in mx.sort.
    """
    checks.floats("topk", x=x)
    checks.rank("topk", "x", x, 1)
    n_cols = x.shape[-1]
    if not 1 <= k <= min(n_cols, MOST):
        raise ArgumentError(f"topk: k is {k}; write a number from 1 to {min(n_cols, MOST)}, or sort: mx.sort(x, axis=-1)")
    values, indices = zmlx.empty((*x.shape[:-1], k), x.dtype), zmlx.empty((*x.shape[:-1], k), mx.uint32)
    if x.size == 0:
        return values, indices
    kernel = topk_kernel if n_cols <= ONE_TILE else topk_loop_kernel
    return kernel[(x.size // n_cols,)](x, values, indices, n_cols, k, **config(n_cols, x.itemsize, k))


def topk_reference(x: mx.array, k: int = 8) -> tuple[mx.array, mx.array]:
    indices = mx.argsort(-x, axis=-1)[..., :k]
    return mx.take_along_axis(x, indices, axis=-1), indices


def _baseline(x: mx.array, k: int = 8) -> tuple[mx.array, mx.array]:
    some = mx.argpartition(-x, k - 1, axis=-1)[..., :k]
    values = mx.take_along_axis(x, some, axis=-1)
    order = mx.argsort(-values, axis=-1)
    return mx.take_along_axis(values, order, axis=-1), mx.take_along_axis(some, order, axis=-1)


def _case(*shape: int, k: int = 8, scale: float = 1.0) -> Case:
    return Case("x".join(map(str, shape)) + f"-k{k}", lambda r: (scale * r.standard_normal(shape),), {"k": k})


CASES = (
    _case(1, 1, k=1),
    _case(3, 9, k=5),
    _case(2, 3, 128),
    _case(1000),
    _case(4, 1024, k=64),
    _case(2, 4097),
    _case(2, 20000, k=3, scale=100.0),
    _case(1, 70000),
    _case(0, 8),
)
ENTRY = Entry(
    "topk",
    topk,
    topk_reference,
    baseline=_baseline,
    kernels=(topk_kernel, topk_loop_kernel),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
