"""Kernels whose lowering takes every decision that `kernel.explain` has words for."""

from __future__ import annotations

import zmlx
import zmlx.language as tl


@zmlx.jit
def tiny_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, x, mask=at < n)


@zmlx.jit
def strided_kernel(x_ptr, out_ptr, sm, sn, M, N, BM: tl.constexpr, BN: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.arange(0, BN)
    mask = (rows[:, None] < M) & (cols[None, :] < N)
    x = tl.load(x_ptr + rows[:, None] * sm + cols[None, :] * sn, mask=mask)
    tl.store(out_ptr + rows[:, None] * N + cols[None, :], x, mask=mask)


@zmlx.jit
def gather_kernel(index_ptr, table_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    i = tl.load(index_ptr + at, mask=at < n, other=0)
    x = tl.load(table_ptr + i)
    tl.store(out_ptr + at, x, mask=at < n)


@zmlx.jit
def indices_kernel(x_ptr, out_ptr, n, m, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    total = tl.load(x_ptr + at % n)
    total += tl.load(x_ptr + tl.minimum(at, n - 1))
    total += tl.load(x_ptr + (n - at))
    total += tl.load(x_ptr + at // 3)
    total += tl.load(x_ptr + at * m)
    total += tl.load(x_ptr + at * 4)
    total += tl.load(x_ptr + tl.where(at < n, at, 0))
    total += tl.load(x_ptr + (at + 1).to(tl.int8).to(tl.int32))
    total += tl.load(x_ptr + (at + at))
    total += tl.load(x_ptr + (at ^ m))
    tl.store(out_ptr + at, total)


@zmlx.jit
def transposed_kernel(x_ptr, out_ptr, n, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(x_ptr + i[:, None] * n + i[None, :])
    y = tl.load(x_ptr + i[None, :] * n + i[:, None])
    tl.store(out_ptr + i[:, None] * n + i[None, :], tl.trans(x) + y)


@zmlx.jit
def carried_kernel(x_ptr, out_ptr, n, m, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    p = x_ptr + at
    q = x_ptr + at * m
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in range(0, n, BLOCK):
        total += tl.load(p)
        total += tl.load(q)
        p += BLOCK
        q += BLOCK * m
    tl.store(out_ptr + at, total)


@zmlx.jit
def reductions_kernel(x_ptr, rows_ptr, out_ptr, R: tl.constexpr, C: tl.constexpr):
    r, c = tl.arange(0, R), tl.arange(0, C)
    x = tl.load(x_ptr + r[:, None] * C + c[None, :])
    tl.store(rows_ptr + r, tl.sum(x, axis=1))
    tl.store(rows_ptr + R + c, tl.max(x, axis=0))
    total = 0.0
    for i in range(tl.program_id(0)):
        total += tl.sum(tl.load(x_ptr + i * C + tl.arange(0, 1024)))  # in range
    tl.store(out_ptr, total)


@zmlx.jit
def scans_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    tl.store(out_ptr + at, tl.cumsum(x, axis=0))  # forwards
    tl.store(out_ptr + BLOCK + at, tl.cumsum(x, axis=0, reverse=True))  # backwards


@zmlx.jit
def dot_kernel(a_ptr, b_ptr, c_ptr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    a = tl.load(a_ptr + m[:, None] * K + k[None, :])
    b = tl.load(b_ptr + k[:, None] * N + n[None, :])
    c = tl.dot(a, b, input_precision="ieee")
    tl.store(c_ptr + m[:, None] * N + n[None, :], c)


@zmlx.jit
def twice(x):
    return tl.sum(x) * 2.0


@zmlx.jit
def load_row(x_ptr, BLOCK: tl.constexpr):
    return tl.load(x_ptr + tl.arange(0, BLOCK))


@zmlx.jit
def called_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = load_row(x_ptr, BLOCK)
    tl.store(out_ptr, twice(x))


@zmlx.jit
def repeated_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    x = load_row(x_ptr, BLOCK)
    y = load_row(x_ptr + BLOCK, BLOCK)
    tl.store(out_ptr + tl.arange(0, BLOCK), x + y)


@zmlx.jit
def atomics_kernel(x_ptr, counts_ptr, old_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    bucket = tl.load(x_ptr + at, mask=at < n, other=0)
    old = tl.atomic_add(counts_ptr + bucket, 1, mask=at < n)
    tl.store(old_ptr + at, old)
    ticket = tl.atomic_add(counts_ptr + 7, 1)
    tl.atomic_max(counts_ptr + at // 4, ticket)


@zmlx.jit
def barrier_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at))
    back = tl.load(out_ptr + (BLOCK - 1 - at))
    tl.store(x_ptr + at, back)


@zmlx.jit
def option_kernel(out_ptr, num_warps: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, 64 * num_warps), 1.0)


@zmlx.jit
def ragged_kernel(x_ptr, weight_ptr, out_ptr, n, BLOCK: tl.constexpr):
    start, cols = tl.program_id(0) * n, tl.arange(0, BLOCK)
    weight = tl.load(weight_ptr + cols, mask=cols < n)
    x = tl.load(x_ptr + start + cols, mask=cols < n, other=0.0).to(tl.float32)
    total = tl.sum(x)  # of rows
    squares = tl.sum(x * x)
    tl.store(out_ptr + start + cols, (x - total) * squares * weight, mask=cols < n)


@zmlx.jit
def running_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(0, n, BLOCK):
        total += tl.load(x_ptr + i + cols, mask=i + cols < n, other=0.0)
    tl.store(out_ptr + cols, total)


@zmlx.jit
def masked_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    some = (at % 3 == 0) & (at < n)
    x = tl.load(x_ptr + at, mask=some, other=1)
    tl.store(out_ptr + at, x + x, mask=some)


@zmlx.jit
def summed_kernel(a_ptr, b_ptr, c_ptr, steps, N: tl.constexpr):
    i, j = tl.arange(0, N)[:, None], tl.arange(0, N)[None, :]
    c = tl.zeros((N, N), tl.float32)
    for k in range(steps):
        a = tl.load(a_ptr + i * N + j + k * N * N)
        b = tl.load(b_ptr + i + j * N + k * N * N)  # of columns
        c = tl.dot(a, b, c)
    tl.store(c_ptr + i * N + j, c)
