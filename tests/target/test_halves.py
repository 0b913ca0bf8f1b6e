"""Loops around products on Metal that fetch the next iteration's operands: bit for bit what they are without, and free of races."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import zmlx
import zmlx.language as tl
from zmlx import simulator
from zmlx.simt import dot_metal, placement

F16, F32 = mx.float16, mx.float32
BARRIER = "threadgroup_barrier("


@pytest.fixture(autouse=True)
def _on_metal_sim() -> Iterator[None]:
    with zmlx.use_target("metal-sim"):
        yield


@zmlx.jit
def ragged_kernel(a, b, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """a b for any sizes; masks end rows, columns and the sum."""
    i, j, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        x = tl.load(a + i[:, None] * K + start + k[None, :], mask=(i[:, None] < M) & (start + k[None, :] < K), other=0.0)
        y = tl.load(b + (start + k[:, None]) * N + j[None, :], mask=(start + k[:, None] < K) & (j[None, :] < N), other=0.0)
        acc = tl.dot(x, y, acc)
    tl.store(out + i[:, None] * N + j[None, :], acc, mask=(i[:, None] < M) & (j[None, :] < N))


@zmlx.jit
def carried_kernel(a, b, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """Pointer tiles that grow, and what is left of the sum; both operands lie transposed in memory: a is K×M, b is N×K."""
    i, j, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    at_a, at_b, left = a + k[:, None] * M + i[None, :], b + j[:, None] * K + k[None, :], K
    acc = tl.zeros((BM, BN), tl.float32)
    for _ in range(tl.cdiv(K, BK)):
        x = tl.load(at_a, mask=(k[:, None] < left) & (i[None, :] < M), other=0.0)
        y = tl.load(at_b, mask=(k[None, :] < left) & (j[:, None] < N), other=0.0)
        acc = tl.dot(x.T, tl.trans(y), acc)
        at_a += BK * M
        at_b += BK
        left -= BK
    tl.store(out + i[:, None] * N + j[None, :], acc, mask=(i[:, None] < M) & (j[None, :] < N))


@zmlx.jit
def words_kernel(a, words, scales, out, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """a (scale · (w - 8)) for 4-bit w, eight of them a word, in groups of 32 along the sum: words is N×K/8, scales N×K/32."""
    i, j, k = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        at = start + k
        x = tl.load(a + i[:, None] * K + at[None, :], mask=i[:, None] < M, other=0.0)
        word = tl.load(words + j[:, None] * (K // 8) + at[None, :] // 8)
        scale = tl.load(scales + j[:, None] * (K // 32) + at[None, :] // 32)
        w = ((word >> (at[None, :] % 8 * 4).to(tl.uint32)) & 15).to(tl.float32) - 8
        acc = tl.dot(x, (w * scale).to(x.dtype).T, acc)
    tl.store(out + i[:, None] * N + j[None, :], acc, mask=i[:, None] < M)


@zmlx.jit
def attention_kernel(q, k, v, out, pages, L, PAGE: tl.constexpr, M: tl.constexpr, D: tl.constexpr):
    """exp(q kᵀ / 8) v over pages of keys whose places a table has."""
    i, j, d = tl.arange(0, M), tl.arange(0, PAGE), tl.arange(0, D)
    x = tl.load(q + i[:, None] * D + d[None, :])
    acc = tl.zeros((M, D), tl.float32)
    for start in range(0, L, PAGE):
        page = tl.load(pages + start // PAGE)
        at = (page * PAGE + j)[:, None] * D + d[None, :]
        inside = (start + j < L)[:, None]
        p = tl.exp(tl.dot(x, tl.load(k + at, mask=inside, other=0.0).T) * 0.125)
        p = tl.where((start + j < L)[None, :], p, 0.0)
        acc = tl.dot(p.to(v.dtype.element_ty), tl.load(v + at, mask=inside, other=0.0), acc)
    tl.store(out + i[:, None] * D + d[None, :], acc)


@zmlx.jit
def nested_kernel(a, b, out, T, K, B: tl.constexpr):
    """For each of T blocks of rows of a: its product with b, which becomes b's first rows."""
    i = tl.arange(0, B)
    acc = tl.zeros((B, B), tl.float32)
    for t in range(T):
        acc = tl.zeros((B, B), tl.float32)
        for start in range(0, K, B):
            x = tl.load(a + (t * B + i[:, None]) * K + start + i[None, :])
            acc = tl.dot(x, tl.load(b + (start + i[:, None]) * B + i[None, :]), acc)
        tl.store(b + i[:, None] * B + i[None, :], acc.to(b.dtype.element_ty))
    tl.store(out + i[:, None] * B + i[None, :], acc)


def numbers(seed: int, *shape: int, dtype: mx.Dtype = F32) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 4).astype(dtype)


def alike(kernel: Any, call: Callable[[Any, dict[str, int]], Any], stages: tuple[int | None, ...] = (None, 2)) -> Any:
    """call's results without halves, after those with have been found to be the same."""
    plain, *others = (np.array(call(zmlx.jit(kernel.fn), {} if n is None else {"num_stages": n})) for n in (1, *stages))
    for other in others:
        np.testing.assert_array_equal(other, plain)
    return plain


def source(kernel: Any, *args: Any, **kwargs: Any) -> str:
    return str(zmlx.jit(kernel.fn).compile(*args, target="metal", **kwargs).source)


def loop(text: str) -> str:
    """The body of the outermost loop that has a barrier in it."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if line.startswith("    for ("):
            end = next(i for i in range(start, len(lines)) if lines[i] == "    }")
            body = "\n".join(lines[start : end + 1])
            if BARRIER in body or "zm_fragment_mac" in body:
                return body
    raise AssertionError(text)


def spec(*shape: int, dtype: mx.Dtype = F32) -> zmlx.ArraySpec:
    return zmlx.ArraySpec(shape, dtype)


SHAPES = [(37, 30, 75, 16, 32, 16), (64, 64, 128, 64, 64, 32), (20, 16, 9, 32, 16, 16), (32, 32, 64, 32, 32, 64)]


@pytest.mark.parametrize("warps", [2, 4])
@pytest.mark.parametrize("dtype", [F32, F16, mx.bfloat16], ids=["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_ragged(shape: tuple[int, ...], dtype: mx.Dtype, warps: int) -> None:
    m, n, k, bm, bn, bk = shape
    a, b = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype)
    options = {"BM": bm, "BN": bn, "BK": bk, "num_warps": warps}

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(zmlx.cdiv(m, bm),)](a, b, zmlx.empty((m, n)), m, n, k, **options, **more)

    got = alike(ragged_kernel, call)
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    assert (np.abs(got - x @ y) <= k * 2.0**-24 * (np.abs(x) @ np.abs(y))).all()


@pytest.mark.parametrize("k", [0, 16, 17, 80])
@pytest.mark.parametrize("dtype", [F32, F16], ids=["float32", "float16"])
def test_carried_and_transposed(k: int, dtype: mx.Dtype) -> None:
    a, b = numbers(1, max(k, 1), 32, dtype=dtype), numbers(2, 32, max(k, 1), dtype=dtype)

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b, zmlx.empty((32, 32)), 32, 32, k, BM=32, BN=32, BK=16, num_warps=4, **more)

    got = alike(carried_kernel, call)
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    np.testing.assert_allclose(got, x.T[:, :k] @ y.T[:k], atol=k * 2.0**-22)


@pytest.mark.parametrize("dtype", [F32, F16], ids=["float32", "float16"])
def test_dequantised(dtype: mx.Dtype) -> None:
    m, n, k = 20, 32, 128
    r = np.random.default_rng(3)
    a, words, scales = numbers(1, m, k, dtype=dtype), r.integers(0, 1 << 32, (n, k // 8), dtype=np.uint32), numbers(4, n, k // 32)
    options = {"BM": 32, "BN": 32, "BK": 32, "num_warps": 4}
    args = a, mx.array(words), scales, zmlx.ArraySpec((m, n), F32), m, n, k

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](*args[:3], zmlx.empty((m, n)), m, n, k, **options, **more)

    got = alike(words_kernel, call)
    w = (words[:, :, None] >> (4 * np.arange(8, dtype=np.uint32)) & 15).reshape(n, k).astype(np.float64) - 8
    w = w * np.repeat(np.array(scales).astype(np.float64), 32, axis=1)
    bound = np.abs(np.array(a.astype(F32))) @ np.abs(w).T * (2.0**-11 if dtype is F16 else 2.0**-18)
    assert (np.abs(got - np.array(a.astype(F32)).astype(np.float64) @ w.T) <= bound + 1e-6).all()
    body = loop(source(words_kernel, *args, **options))
    assert body.count(BARRIER) == 1
    assert body.index("- 8.0f") > body.index("zm_fragment_mac")  # what was fetched is computed with when its turn comes


@pytest.mark.parametrize("length", [16, 40, 64])
@pytest.mark.parametrize("warps", [2, 4])
def test_pages(warps: int, length: int) -> None:
    """Two products in a loop, addresses that come from a load, and one barrier."""
    m, d, page = 16 * warps // 2, 32, 16
    q, k, v = numbers(1, m, d, dtype=F16), numbers(2, 64, d, dtype=F16), numbers(3, 64, d, dtype=F16)
    pages = mx.array(np.array([2, 0, 3, 1], np.int32))
    options = {"PAGE": page, "M": m, "D": d, "num_warps": warps}

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](q, k, v, zmlx.empty((m, d)), pages, length, **options, **more)

    got = alike(attention_kernel, call)
    order = np.concatenate([np.arange(16) + 16 * p for p in (2, 0, 3, 1)])[:length]
    x, y, z = (np.array(t.astype(F32)).astype(np.float64) for t in (q, k, v))
    np.testing.assert_allclose(got, np.exp(x @ y[order].T / 8) @ z[order], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("trips", [1, 3])
def test_what_an_outer_loop_writes(trips: int) -> None:
    """The inner loop reads b, which the outer one stores behind it: the first halves are filled anew each time."""
    a, b = numbers(1, trips * 16, 48), numbers(2, 48, 16)

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b + 0, zmlx.empty((16, 16)), trips, 48, B=16, num_warps=2, **more)[1]

    got = alike(nested_kernel, call)
    x, y = np.array(a).astype(np.float64), np.array(b).astype(np.float64)
    for t in range(trips):
        want = x[t * 16 : t * 16 + 16] @ y
        y[:16] = want
    np.testing.assert_allclose(got, want, atol=1e-4)


@zmlx.jit
def written_kernel(a, b, out, K, B: tl.constexpr):
    """b = a_k b for block after block of a: what an iteration reads, the one before has stored."""
    i = tl.arange(0, B)
    at = i[:, None] * B + i[None, :]
    for k in range(K):
        x = tl.load(a + k * B * B + at)
        tl.store(b + at, tl.dot(x, tl.load(b + at)))
    tl.store(out, 1.0)


@zmlx.jit
def shifted_kernel(a, b, shifts, out, K, B: tl.constexpr):
    """The sum over k of a_k (b_k + shifts_k), with a scalar that is loaded in the loop."""
    i = tl.arange(0, B)
    at = i[:, None] * B + i[None, :]
    acc = tl.zeros((B, B), tl.float32)
    for k in range(K):
        shift = tl.load(shifts + k)
        acc = tl.dot(tl.load(a + k * B * B + at), tl.load(b + k * B * B + at) + shift, acc)
    tl.store(out + at, acc)


@zmlx.jit
def twice_kernel(a, b, out, K, B: tl.constexpr):
    """The sum over k of a_k b_k + the column sums of b_k: b_k is kept for both."""
    i = tl.arange(0, B)
    at = i[:, None] * B + i[None, :]
    acc, sums = tl.zeros((B, B), tl.float32), tl.zeros((B,), tl.float32)
    for k in range(K):
        y = tl.load(b + k * B * B + at)
        acc = tl.dot(tl.load(a + k * B * B + at), y, acc)
        sums += tl.sum(y, axis=0)
    tl.store(out + at, acc + sums[None, :])


@pytest.mark.parametrize("warps", [2, 4])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_late_operands(k: int, warps: int) -> None:
    """What cannot be fetched early is written beside what can."""
    a, b, shifts = numbers(1, k + 1, 32, 32), numbers(2, k + 1, 32, 32), numbers(3, k + 1)
    x, y, z = (np.array(v)[:k].astype(np.float64) for v in (a, b, shifts))

    def written(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b[0] + 0, zmlx.empty((1,)), k, B=32, num_warps=warps, **more)[0]

    want = np.array(b[0]).astype(np.float64)
    for each in x:
        want = each @ want
    np.testing.assert_allclose(alike(written_kernel, written), want, atol=1e-3)

    def shifted(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b, shifts, zmlx.empty((32, 32)), k, B=32, num_warps=warps, **more)

    np.testing.assert_allclose(alike(shifted_kernel, shifted), (x @ (y + z[:, None, None])).sum(0), atol=1e-3)

    def twice(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b, zmlx.empty((32, 32)), k, B=32, num_warps=warps, **more)

    np.testing.assert_allclose(alike(twice_kernel, twice), (x @ y + y.sum(1)[:, None, :]).sum(0), atol=1e-3)


@zmlx.jit
def table_kernel(a, b, places, out, K, B: tl.constexpr):
    """The sum over k of a_k b_(K - 1 - k), by way of a table that the kernel writes before the loop."""
    i, t = tl.arange(0, B), tl.arange(0, 64)
    tl.store(places + t, K - 1 - t)
    acc = tl.zeros((B, B), tl.float32)
    for k in range(K):
        at = (tl.load(places + k) * B + i[:, None]) * B + i[None, :]
        acc = tl.dot(tl.load(a + (k * B + i[:, None]) * B + i[None, :]), tl.load(b + at), acc)
    tl.store(out + i[:, None] * B + i[None, :], acc)


def test_a_table_that_is_written_before_the_loop() -> None:
    a, b = numbers(1, 40, 16, 16), numbers(2, 40, 16, 16)

    def call(kernel: Any, more: dict[str, int]) -> mx.array:
        return kernel[(1,)](a, b, zmlx.empty((64,), mx.int32), zmlx.empty((16, 16)), 40, B=16, num_warps=4, **more)[1]

    x, y = (np.array(v).astype(np.float64) for v in (a, b))
    np.testing.assert_allclose(alike(table_kernel, call), (x @ y[::-1]).sum(0), atol=1e-3)
    specs = spec(40, 16, 16), spec(40, 16, 16), zmlx.ArraySpec((64,), mx.int32), spec(16, 16)
    assert loop(source(table_kernel, *specs, 40, B=16, num_warps=4)).count(BARRIER) == 1


@zmlx.jit
def fixed_kernel(a, b, out, K, M: tl.constexpr, D: tl.constexpr):
    """The sum over k of a b_k, for an operand that is too large for registers."""
    i, d, j = tl.arange(0, M), tl.arange(0, D), tl.arange(0, 32)
    x = tl.load(a + i[:, None] * D + d[None, :])
    acc = tl.zeros((M, 32), tl.float32)
    for k in range(K):
        acc = tl.dot(x, tl.load(b + (k * D + d[:, None]) * 32 + j[None, :]), acc)
    tl.store(out + i[:, None] * 32 + j[None, :], acc)


@pytest.mark.parametrize(("d", "dtype", "pieces"), [(64, F16, 1), (128, F16, 2), (64, F32, 2)])
def test_what_the_loop_does_not_change(d: int, dtype: mx.Dtype, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is staged once, whole."""
    monkeypatch.setattr(placement, "MOST_HELD", 16)
    monkeypatch.setenv("ZMLX_CACHE", "0")  # whose keys do not know of this
    a, b = numbers(1, 32, d, dtype=dtype), numbers(2, 3 * d, 32, dtype=dtype)
    options = {"M": 32, "D": d, "num_warps": 2}
    got = alike(fixed_kernel, lambda kernel, more: kernel[(1,)](a, b, zmlx.empty((32, 32)), 3, **options, **more))
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    np.testing.assert_allclose(got, x @ y.reshape(3, d, 32).sum(0), atol=1e-3)
    args = a, b, spec(32, 32), 3
    body = loop(source(fixed_kernel, *args, **options, num_stages=2))
    assert body.count(BARRIER) == body.count("zm_put<") == pieces, body
    words = zmlx.jit(fixed_kernel.fn).explain(*args, target="metal", **options, num_stages=2).entries
    assert any("left operand is written there once" in w for x in words for w in x.words)


@zmlx.jit
def once_kernel(a, b, out, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x, y = tl.load(a + i[:, None] * K + k[None, :]), tl.load(b + k[:, None] * N + j[None, :])
    tl.store(out + i[:, None] * N + j[None, :], tl.dot(x, y))


@pytest.mark.parametrize("dtype", [F32, F16], ids=["float32", "float16"])
def test_the_pieces_of_one_product(dtype: mx.Dtype) -> None:
    """Without a loop: one barrier a piece rather than two."""
    a, b = numbers(1, 64, 256, dtype=dtype), numbers(2, 256, 64, dtype=dtype)
    options = {"M": 64, "N": 64, "K": 256, "num_warps": 4}
    got = alike(once_kernel, lambda kernel, more: kernel[(1,)](a, b, zmlx.empty((64, 64)), **options, **more))
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    assert (np.abs(got - x @ y) <= 256 * 2.0**-24 * (np.abs(x) @ np.abs(y))).all()
    specs = spec(64, 256, dtype=dtype), spec(256, 64, dtype=dtype), spec(64, 64)
    single = loop(source(once_kernel, *specs, **options, num_stages=1))
    double = loop(source(once_kernel, *specs, **options))
    assert single.count(BARRIER) == 2 and double.count(BARRIER) == 1
    assert double.index("zm_vload") < double.index(BARRIER) < double.index("zm_fragment_mac") < double.index("zm_put")


RAGGED = spec(64, 256), spec(256, 64), spec(64, 64), 64, 64, 256
HALF = spec(64, 256, dtype=F16), spec(256, 64, dtype=F16), spec(64, 64), 64, 64, 256


@pytest.mark.parametrize(
    ("args", "bk", "stages", "barriers"),
    [(HALF, 32, None, 1), (HALF, 32, 2, 1), (HALF, 32, 1, 2), (RAGGED, 16, None, 1), (RAGGED, 32, None, 2), (RAGGED, 32, 1, 2)],
)
def test_barriers_of_an_iteration(args: tuple[Any, ...], bk: int, stages: int | None, barriers: int) -> None:
    """One for each piece; two halves of 32 columns of float32 would not fit, so those come in two pieces."""
    more = {} if stages is None else {"num_stages": stages}
    body = loop(source(ragged_kernel, *args, BM=64, BN=64, BK=bk, num_warps=4, **more))
    assert body.count(BARRIER) == barriers, body
    early, late = body[: body.rindex("zm_fragment_mac")], body[body.rindex("zm_fragment_mac") :]
    assert early.rindex("zm_vload") < early.rindex(BARRIER)
    assert ("zm_put" in late) is (stages != 1) and (BARRIER in late) is (stages == 1)


def test_one_loop_may_say_no() -> None:
    @zmlx.jit
    def kernel(a, b, out, K, B: tl.constexpr):
        i = tl.arange(0, B)
        acc = tl.zeros((B, B), tl.float32)
        for start in tl.range(0, K, B, num_stages=1):
            x = tl.load(a + i[:, None] * K + start + i[None, :])
            acc = tl.dot(x, tl.load(b + (start + i[:, None]) * B + i[None, :]), acc)
        tl.store(out + i[:, None] * B + i[None, :], acc)

    body = loop(source(kernel, spec(32, 128), spec(128, 32), spec(32, 32), 128, B=32, num_warps=4))
    assert body.count(BARRIER) == 2


def launched(text: Any, a: mx.array, b: mx.array, m: int, n: int, k: int, source: str) -> tuple[mx.array, list[simulator.Report]]:
    """What a text of `ragged_kernel` gives in the sanitised simulator, and what that reports."""
    names = [p.symbol for p in text.params if p.is_array and not p.writes]
    scalars = mx.array(np.array([{"M": m, "N": n, "K": k}[p.name] for p in text.params if not p.is_array], np.uint32))
    with simulator.installed(sanitize=True, on_report="collect") as session:
        fn = simulator.metal_kernel(
            name="halves", input_names=[*names, "zm_scalars"], output_names=["out"], source=source, header=text.header
        )  # fmt: skip
        out = fn(
            inputs=[a, b, scalars], output_shapes=[(m, n)], output_dtypes=[F32],
            grid=(text.threads, 1, 1), threadgroup=(text.threads, 1, 1),
        )[0]  # fmt: skip
        mx.eval(out)
    return out, session.reports


@pytest.mark.parametrize(("bk", "dtype"), [(16, F16), (64, F32)], ids=["one piece", "two pieces"])
def test_a_barrier_less_is_reported(bk: int, dtype: mx.Dtype) -> None:
    m, n, k = 64, 64, 256 if bk == 64 else 64
    a, b = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype)
    args = a, b, zmlx.ArraySpec((m, n), F32), m, n, k
    text = zmlx.jit(ragged_kernel.fn).compile(*args, BM=m, BN=n, BK=bk, num_warps=4, target="metal")
    out, reports = launched(text, a, b, m, n, k, text.source)
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    assert not reports and (np.abs(np.array(out) - x @ y) <= k * 2.0**-24 * (np.abs(x) @ np.abs(y))).all()
    for at in re.finditer(re.escape(BARRIER), text.source):
        mutant = text.source[: at.start()] + "//" + text.source[at.start() :]
        assert "race" in {r.kind for r in launched(text, a, b, m, n, k, mutant)[1]}


def test_the_wrong_half_is_reported() -> None:
    a, b = numbers(1, 64, 64, dtype=F16), numbers(2, 64, 64, dtype=F16)
    args = a, b, zmlx.ArraySpec((64, 64), F32), 64, 64, 64
    text = zmlx.jit(ragged_kernel.fn).compile(*args, BM=64, BN=64, BK=16, num_warps=4, target="metal")
    mutant = re.sub(r"\((\w+) \^ 1\) \* ", r"\1 * ", text.source)
    assert mutant != text.source
    assert "race" in {r.kind for r in launched(text, a, b, 64, 64, 64, mutant)[1]}


@zmlx.jit
def turned_kernel(a, b, out, K, B: tl.constexpr):
    """acc = accᵀ + a_k b_k: a change of layout in the loop, through threadgroup memory."""
    i, k = tl.arange(0, B), tl.arange(0, 32)
    acc = tl.zeros((B, B), tl.float32)
    for start in range(0, K, 32):
        x = tl.load(a + i[:, None] * K + start + k[None, :])
        acc = tl.dot(x, tl.load(b + (start + k[:, None]) * B + i[None, :]), acc.T)
    tl.store(out + i[:, None] * B + i[None, :], acc)


def why_late(kernel: Any, *args: Any, **options: Any) -> str:
    dot = next(x for x in zmlx.jit(kernel.fn).explain(*args, target="metal", **options).entries if x.kind == "dot")
    return " ".join(w for w in dot.words if "ahead because" in w or "One piece" in w)


def test_other_exchanges_go_first() -> None:
    """16 KiB for the change of layout and 19 for two halves are too much: then there is one."""
    a, b = numbers(1, 64, 96, dtype=F16), numbers(2, 96, 64, dtype=F16)
    options = {"B": 64, "num_warps": 4}
    got = alike(turned_kernel, lambda kernel, more: kernel[(1,)](a, b, zmlx.empty((64, 64)), 96, **options, **more))
    x, y = (np.array(v.astype(F32)).astype(np.float64) for v in (a, b))
    want = np.zeros((64, 64))
    for k in range(0, 96, 32):
        want = want.T + x[:, k : k + 32] @ y[k : k + 32]
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert "beside the kernel's other exchanges" in why_late(turned_kernel, a, b, spec(64, 64), 96, **options)


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"B": 32, "num_warps": 4}
    three, tile = spec(3, 32, 32), spec(32, 32)
    assert "right operand is not fetched an iteration ahead because the loop may write" in why_late(
        written_kernel, three, tile, spec(1), 3, **options
    )
    assert "with a scalar that the loop loads" in why_late(shifted_kernel, three, three, spec(3), tile, 3, **options)
    assert "other uses in the loop keep it" in why_late(twice_kernel, three, three, tile, 3, **options)
    ragged = {"BM": 64, "BN": 64, "num_warps": 4}
    assert "num_stages=1 is asked for" in why_late(ragged_kernel, *HALF, BK=32, num_stages=1, **ragged)
    wide = spec(128, 256), spec(256, 128), spec(128, 128), 128, 128, 256
    few = {"BM": 128, "BN": 128, "BK": 32, "num_warps": 1}
    assert not why_late(ragged_kernel, *HALF, BK=32, **ragged)
    assert why_late(ragged_kernel, *wide, **few) == ""  # one warp shares nothing
    monkeypatch.setattr(dot_metal, "MOST_FETCHED", 16)
    assert "bytes of each thread's registers" in why_late(ragged_kernel, *HALF, BK=32, **ragged)
    assert not why_late(ragged_kernel, *HALF, BK=32, **ragged, num_stages=2)
    large = spec(256, 256), spec(256, 256), spec(256, 256), 256, 256, 256
    assert "do not fit into threadgroup memory" in why_late(ragged_kernel, *large, BM=256, BN=256, BK=8, num_warps=32)
