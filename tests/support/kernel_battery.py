"""Kernels of tests/target/test_kernels.py: one for each way in which a compiler may go wrong."""

from __future__ import annotations

import zmlx
import zmlx.language as tl


@zmlx.jit
def triple_kernel(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, tl.load(x + at, mask=at < n) * 3, mask=at < n)


@zmlx.jit
def flip_kernel(x, y, n):
    at = tl.program_id(0) * 64 + tl.arange(0, 64)
    tl.store(y + at, ~tl.load(x + at, mask=at < n, other=True), mask=at < n)


@zmlx.jit
def matmul_kernel(a, b, c, M, N, K, sam, sak, sbk, sbn, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rm = tl.program_id(0) * BM + tl.arange(0, BM)
    rn = tl.program_id(1) * BN + tl.arange(0, BN)
    rk = tl.arange(0, BK)
    a_ptrs = a + rm[:, None] * sam + rk[None, :] * sak
    b_ptrs = b + rk[:, None] * sbk + rn[None, :] * sbn
    acc = tl.dot(tl.zeros((BM, BK), a.dtype.element_ty), tl.zeros((BK, BN), a.dtype.element_ty))
    for k in range(tl.cdiv(K, BK)):
        x = tl.load(a_ptrs, mask=(rm[:, None] < M) & (rk[None, :] < K - k * BK), other=0)
        y = tl.load(b_ptrs, mask=(rk[:, None] < K - k * BK) & (rn[None, :] < N), other=0)
        acc = tl.dot(x, y, acc, input_precision="ieee")
        a_ptrs += BK * sak
        b_ptrs += BK * sbk
    tl.store(c + rm[:, None] * N + rn[None, :], acc.to(c.dtype.element_ty), mask=(rm[:, None] < M) & (rn[None, :] < N))


@zmlx.jit
def transposed_dot_kernel(a, b, c, d):
    i, j, k = tl.arange(0, 16), tl.arange(0, 64), tl.arange(0, 32)
    x = tl.load(a + i[:, None] * 32 + k[None, :])
    y = tl.load(b + j[:, None] * 32 + k[None, :])
    out = tl.trans(tl.dot(x, y.T, input_precision="ieee")) + 1
    tl.store(c + j[:, None] * 16 + i[None, :], out)
    other = tl.trans(tl.dot(y + 1, tl.trans(x * 2), input_precision="ieee"))
    tl.store(d + i[:, None] * 64 + j[None, :], other)


@zmlx.jit
def flash_kernel(Q, K, V, O, T, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr, CAUSAL: tl.constexpr):  # noqa: E741
    start = tl.program_id(0)
    base = tl.program_id(1) * T * D
    om, on, od = start * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, D)
    q = tl.load(Q + base + om[:, None] * D + od[None, :], mask=om[:, None] < T, other=0.0)
    m = tl.full((BM,), -float("inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    hi = T
    if CAUSAL:
        hi = tl.minimum((start + 1) * BM, T)
    for s in range(0, hi, BN):
        kn = s + on
        k = tl.load(K + base + kn[:, None] * D + od[None, :], mask=kn[:, None] < T, other=0.0)
        v = tl.load(V + base + kn[:, None] * D + od[None, :], mask=kn[:, None] < T, other=0.0)
        qk = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        ok = kn[None, :] < T
        if CAUSAL:
            ok = ok & (om[:, None] >= kn[None, :])
        qk = tl.where(ok, qk, -float("inf"))
        top = tl.maximum(m, tl.max(qk, 1))
        p = tl.exp(qk - top[:, None])
        alpha = tl.exp(m - top)
        total = total * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        m = top
    tl.store(O + base + om[:, None] * D + od[None, :], (acc / total[:, None]).to(O.dtype.element_ty), mask=om[:, None] < T)


@zmlx.jit
def flat(SHAPE: tl.constexpr):
    """Row-major positions of a tile."""
    if len(SHAPE) == 1:
        n: tl.constexpr = SHAPE[0]
    elif len(SHAPE) == 2:
        n: tl.constexpr = SHAPE[0] * SHAPE[1]
    elif len(SHAPE) == 3:
        n: tl.constexpr = SHAPE[0] * SHAPE[1] * SHAPE[2]
    else:
        n: tl.constexpr = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    return tl.reshape(tl.arange(0, n), SHAPE)


@zmlx.jit
def reduce_kernel(x, total, top, low, at, last, kept, SHAPE: tl.constexpr, AXIS: tl.constexpr):
    where = flat(SHAPE)
    v = tl.load(x + where)
    s = tl.sum(v, AXIS)
    if len(SHAPE) == 1:
        tl.store(total, s)
        tl.store(top, tl.max(v, AXIS))
        tl.store(low, tl.min(v, AXIS))
        tl.store(at, tl.argmax(v, AXIS))
        tl.store(last, tl.argmin(v * 4096 + where, AXIS, tie_break_left=False))
    else:
        out = flat(s.shape)
        tl.store(total + out, s)
        tl.store(top + out, tl.max(v, AXIS))
        tl.store(low + out, tl.min(v, AXIS))
        tl.store(at + out, tl.argmax(v, AXIS))
        tl.store(last + out, tl.argmin(v * 4096 + where, AXIS, tie_break_left=False))
    tl.store(kept + where, v - tl.max(v, AXIS, keep_dims=True))


@zmlx.jit
def reduce_all_kernel(x, o):
    v = tl.load(x + flat((4, 8, 2)))
    tl.store(o, tl.sum(v))
    tl.store(o + 1, tl.max(v))
    tl.store(o + 2, tl.argmin(v, None))
    tl.store(o + 3, tl.xor_sum(v))


@zmlx.jit
def argmax_nan_kernel(x, v, i):
    tile = tl.load(x + tl.arange(0, 8)[:, None] * 32 + tl.arange(0, 32)[None, :])
    top, at = tl.max(tile, 1, return_indices=True)
    tl.store(v + tl.arange(0, 8), top)
    tl.store(i + tl.arange(0, 8), at)


@zmlx.jit
def join_moments(m1, v1, n1, m2, v2, n2):
    d = m2 - m1
    n = n1 + n2
    return m1 + d * n2 / n, v1 + v2 + d * d * n1 * n2 / n, n


@zmlx.jit
def plus(a, b):
    return a + b


@zmlx.jit
def welford_kernel(x, mean, m2, s, M: tl.constexpr, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    m, d, _ = tl.reduce((v, v * 0, tl.full((M, N), 1.0, tl.float32)), 1, join_moments)
    tl.store(mean + tl.arange(0, M), m)
    tl.store(m2 + tl.arange(0, M), d)
    tl.store(s + tl.arange(0, N), tl.reduce(v, 0, plus))


@zmlx.jit
def row_sum_kernel(x, o):
    v = tl.load(x + tl.arange(0, 8)[:, None] * 16 + tl.arange(0, 16)[None, :])
    tl.store(o + tl.arange(0, 8), tl.sum(v, 1))


@zmlx.jit
def compose(a, b, c, d):
    return a * c, b * c + d


@zmlx.jit
def scan_kernel(x, s, c, SHAPE: tl.constexpr, AXIS: tl.constexpr, REVERSE: tl.constexpr):
    at = flat(SHAPE)
    v = tl.load(x + at)
    tl.store(s + at, tl.cumsum(v, AXIS, reverse=REVERSE))
    _, out = tl.associative_scan((tl.full(SHAPE, 3, tl.int32), v), AXIS, compose, reverse=REVERSE)
    tl.store(c + at, out)


@zmlx.jit
def shape_kernel(x, o, p, q, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    z = tl.trans(tl.reshape(v, (N // 8, 8)))
    tl.store(o + tl.arange(0, 8)[:, None] * (N // 8) + tl.arange(0, N // 8)[None, :], z)
    a, b = tl.split(tl.reshape(v, (N // 2, 2)))
    tl.store(p + i, tl.interleave(b, a))
    tl.store(q + i, tl.flip(v, 0) + tl.ravel(tl.join(a, b * 2)))


@zmlx.jit
def permute_kernel(x, o, p, q):
    v = tl.load(x + flat((4, 8, 2, 4)))
    t = tl.permute(v, (3, 1, 0, 2))
    tl.store(o + flat((4, 8, 4, 2)), t + 1)
    s = tl.sum(tl.trans(tl.reshape(tl.flip(t, 0), (16, 16))), 0)
    tl.store(p + flat((4, 16)), tl.broadcast_to(s[None, :], (4, 16)))
    square = tl.reshape(v, (16, 16))
    tl.store(q + flat((16, 32)), tl.cat(square, square.T, dim=1))


@zmlx.jit
def broadcast_kernel(x, y, o):
    a = tl.load(x + tl.arange(0, 8)[:, None])
    b = tl.load(y + tl.arange(0, 16)[None, :])
    tl.store(o + flat((4, 8, 16)), tl.arange(0, 4)[:, None, None] * a + b)


@zmlx.jit
def one_kernel(x, o):
    v = tl.load(x + tl.arange(0, 1))
    tl.store(o + tl.arange(0, 1), v * 2)
    tl.store(o + 1, tl.sum(v, 0))
    tl.store(o + 2, tl.argmax(v, 0))
    tl.store(o + 3 + tl.arange(0, 1), tl.cumsum(tl.ravel(tl.trans(v[:, None])), 0) * v)


@zmlx.jit
def control_kernel(x, o, n, N: tl.constexpr):
    pid = tl.program_id(0)
    if pid >= n:
        return
    i = tl.arange(0, N)
    v = tl.load(x + pid * N + i)
    k = 0
    while k < 3:
        v = v * 1.5 + k
        k += 1
    if pid % 2 == 0:
        v = v + 1
        s = tl.sum(v, 0)
    else:
        s = tl.max(v, 0)
        v = v - s
    y = v
    for _ in range(2):
        v, y = y, v + s
    tl.store(o + pid * N + i, v + y * 2)


@zmlx.jit
def pointer_kernel(x, o, last, trips, stride):
    p = x + tl.arange(0, 32)
    q = x
    acc = tl.zeros((32,), tl.int32)
    final = -1
    count = 100
    for _ in range(trips):
        acc += tl.load(p)
        final = tl.load(q)
        p += stride
        q += stride
        count += 7
    tl.store(o + tl.arange(0, 32), acc)
    tl.store(last, count)
    tl.store(last + 1, final)


@zmlx.jit
def nested_kernel(o, n):
    i = tl.program_id(0)
    for j in range(n):
        total = 0
        for k in range(j):
            total += (i * j) % (k + 1)
        tl.store(o + i * n + j, total)


@zmlx.jit
def collatz_kernel(x, o):
    pid = tl.program_id(0)
    v = tl.load(x + pid)
    steps = 0
    while v != 1:
        if v % 2 == 0:
            v = v // 2
        else:
            v = 3 * v + 1
        steps += 1
    tl.store(o + pid, steps)


@zmlx.jit
def newton_kernel(x, o):
    at = tl.arange(0, 64)
    v = tl.load(x + at)
    r = v * 0.5 + 0.5
    change = tl.max(r, 0)
    rounds = 0
    while (change > 1e-6) & (rounds < 50):
        new = 0.5 * (r + v / r)
        change = tl.max(tl.abs(new - r), 0)
        r = new
        rounds += 1
    tl.store(o + at, r)


@zmlx.jit
def chosen_kernel(x, o, p):
    at = tl.arange(0, 64)
    v = tl.load(x + at)
    if tl.sum(v, 0) > 0:
        r = v * 2
        w = tl.flip(r, 0)
    else:
        r = -v
        w = r
    tl.store(o + at, r)
    tl.store(p + at, w)


@zmlx.jit
def inplace_kernel(x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(x + (N - 1 - i), v + 1)
    tl.store(x + i, tl.load(x + i) * 2)


@zmlx.jit
def overlap_kernel(x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + (i + 1) % N)
    tl.store(x + i, v)
    w = tl.load(x + (N - 1 - i))
    tl.store(x + i, v + w)


@zmlx.jit
def gather_kernel(x, at, o):
    i = tl.arange(0, 64)
    first = tl.load(x + tl.load(at + i))
    second = tl.load(at + 64 + first % 64)
    tl.store(o + i, tl.load(x + second))


@zmlx.jit
def scalar_kernel(x, o, n):
    a = tl.load(x)
    tl.store(o, a + tl.load(x + n - 1))
    tl.store(o + 1, tl.load(x + tl.where(a >= 0, a % 7, 3)))
    tl.store(o + 2, 4)
    tl.store(o + 2, tl.load(o + 2) + 1)


@zmlx.jit
def masked_kernel(x, o):
    i = tl.arange(0, 32)
    none = i > 99
    tl.store(o + i, tl.load(x + i * 1000000, mask=none, other=3), mask=none)
    tl.store(o + 32 + i, tl.load(x + i, mask=i < 7, other=-4))


@zmlx.jit
def long_kernel(x, o, far, n):
    i = tl.arange(0, 64).to(tl.int64)
    p = x + (i * 7 + far)
    tl.store(o + i, tl.load(p - (1 << 33), mask=i < n))


@zmlx.jit
def many_kernel(
    x0,
    x1,
    x2,
    x3,
    x4,
    x5,
    x6,
    x7,
    x8,
    x9,
    x10,
    x11,
    x12,
    x13,
    x14,
    x15,
    x16,
    x17,
    x18,
    x19,
    x20,
    x21,
    x22,
    x23,
    x24,
    x25,
    x26,
    x27,
    x28,
    o,
    p,
):
    i = tl.arange(0, 32)
    xs = (
        x0,
        x1,
        x2,
        x3,
        x4,
        x5,
        x6,
        x7,
        x8,
        x9,
        x10,
        x11,
        x12,
        x13,
        x14,
        x15,
        x16,
        x17,
        x18,
        x19,
        x20,
        x21,
        x22,
        x23,
        x24,
        x25,
        x26,
        x27,
        x28,
    )
    total = tl.zeros((32,), tl.int32)
    top = tl.zeros((32,), tl.int32)
    for k in tl.static_range(29):
        v = tl.load(xs[k] + i)
        total += v
        top = tl.maximum(top, v)
    tl.store(o + i, total)
    tl.store(p + i, top)


@zmlx.jit
def transpose_kernel(x, o, M, N, B: tl.constexpr):
    r = tl.program_id(0) * B + tl.arange(0, B)
    c = tl.program_id(1) * B + tl.arange(0, B)
    v = tl.load(x + r[:, None] * N + c[None, :], mask=(r[:, None] < M) & (c[None, :] < N))
    tl.store(o + c[:, None] * M + r[None, :], v.T, mask=(c[:, None] < N) & (r[None, :] < M))


@zmlx.jit
def softmax_kernel(x, o, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * n + at, mask=at < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(o + row * n + at, e / tl.sum(e, 0), mask=at < n)


@zmlx.jit
def histogram_kernel(x, h, s):
    v = tl.load(x + tl.arange(0, 64))
    tl.atomic_add(h + v, 1, mask=v < 7)
    tl.atomic_max(s, tl.max(v, 0))
    tl.atomic_add(s + 1, 1)


@zmlx.jit
def old_kernel(x, h, o, q):
    i = tl.arange(0, 64)
    v = tl.load(x + i)
    old = tl.atomic_add(h + v, 100, mask=v % 2 == 0)
    tl.store(o + i, old)
    tl.store(q + i, tl.flip(old, 0) + tl.sum(old, 0))


@zmlx.jit
def ticket_kernel(t, o):
    mine = tl.atomic_add(t, 1)
    tl.store(o + mine, mine + 1)


@zmlx.jit
def dropout_kernel(x, o, n, p, seed, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n)
    tl.store(o + at, tl.where(tl.rand(seed, at) > p, v / (1 - p), 0.0), mask=at < n)


@zmlx.jit
def rand_kernel(o):
    tl.store(o, tl.rand(5, 0))


@zmlx.jit
def head_kernel(x, n):
    i = tl.arange(0, 16)
    tl.store(x + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)
