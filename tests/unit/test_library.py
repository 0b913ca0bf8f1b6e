"""What the language computes: kernels traced and run by the interpreter, against NumPy and published numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import zmlx.language as tl
from zmlx.dtypes import BY_NAME, DType, bf16_from_bits, bf16_to_bits
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg
from zmlx.interp.tile import run
from zmlx.ops.device import device_function
from zmlx.passes.pipeline import optimize

INF, NAN = float("inf"), float("nan")


def launch(kernel: Callable[..., Any], *args: Any, grid: tuple[int, int, int] = (1, 1, 1), **constexprs: Any) -> None:
    """Runs a kernel on arrays (updated in place; uint16 in a tuple with tl.bfloat16) and scalars."""
    fn = JitCallable(kernel)
    names = kernel.__code__.co_varnames[: len(args)]
    specs: dict[str, Any] = {k: ConstexprArg(v) for k, v in constexprs.items()}
    arrays, scalars = {}, {}
    for name, x in zip(names, args, strict=True):
        dtype: DType | None = None
        if isinstance(x, tuple):
            x, dtype = x
        if isinstance(x, np.ndarray):
            specs[name], arrays[name] = ArrayArg(dtype or BY_NAME[x.dtype.name]), x.reshape(-1)
        else:
            specs[name], scalars[name] = ScalarArg(tl.float32 if isinstance(x, float) else tl.int64 if abs(x) >= 2**31 else tl.int32), x
    traced = trace(fn, specs)
    copies = {k: v.copy() for k, v in arrays.items()}
    run(traced, arrays, scalars, grid)
    run(optimize(traced), copies, scalars, grid)
    for name, x in arrays.items():  # the passes change no bit
        np.testing.assert_array_equal(copies[name], x, name)


# -- random numbers -----------------------------------------------------------------------------------------------------


def philox_kernel(out, c0, c1, c2, c3, seed: tl.constexpr):
    a, b, c, d = tl.philox(seed, tl.load(c0), tl.load(c1), tl.load(c2), tl.load(c3))
    tl.store(out, a)
    tl.store(out + 1, b)
    tl.store(out + 2, c)
    tl.store(out + 3, d)


# The known answers of Random123's distribution (kat_vectors, philox4x32 with 10 rounds): counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter: str, key: str, expected: str) -> None:
    lo, hi = (int(w, 16) for w in key.split())
    out = np.zeros(4, np.uint32)
    launch(philox_kernel, out, *(np.array([int(w, 16)], np.uint32) for w in counter.split()), seed=lo | hi << 32)
    assert [f"{w:08x}" for w in out] == expected.split()


def philox_reference(seed: int, offset: np.ndarray) -> list[np.ndarray]:
    """Philox-4x32-10 in plain integers, Triton's way to fill counter and key."""
    mask = np.uint64(0xFFFFFFFF)
    o = offset.astype(np.int64).astype(np.uint64)
    c = [o & mask, o >> np.uint64(32) if offset.dtype.itemsize == 8 else o * np.uint64(0), o * np.uint64(0), o * np.uint64(0)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k0), b & mask, a >> np.uint64(32) ^ c[3] ^ np.uint64(k1), a & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [w.astype(np.uint32) for w in c]


def randint_kernel(out, offsets, seed, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.randint(seed, tl.load(offsets + i)))


@pytest.mark.parametrize("seed", [0, 5, -1, 2**31 - 1, 2**40 + 17])
@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64"])
def test_randint(seed: int, dtype: str) -> None:
    offsets = np.array([0, 1, 2, 1000, 2**31 - 1, 12345, 7, 8], dtype)
    if dtype == "int64":
        offsets[4:6] = 2**33 + 5, 2**62
    out = np.zeros(8, np.uint32)
    launch(randint_kernel, out, offsets, seed, N=8)
    np.testing.assert_array_equal(out, philox_reference(seed & (2**64 - 1), offsets)[0])


def rand_kernel(out, normal, seed: tl.constexpr, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out + i, tl.rand(seed, i))
    tl.store(normal + i, tl.randn(seed, i))


def test_rand_is_tritons() -> None:
    out, normal = np.zeros(1, np.float32), np.zeros(1, np.float32)
    launch(rand_kernel, out, normal, seed=5, N=1)
    assert out[0] == np.float32(0.46803567)


def test_distributions() -> None:
    n = 1 << 16
    out, normal = np.zeros(n, np.float32), np.zeros(n, np.float32)
    launch(rand_kernel, out, normal, seed=42, N=8192, grid=(8, 1, 1))
    assert out.min() >= 0 and out.max() < 1
    assert abs(out.mean() - 0.5) < 5e-3 and abs(out.var() - 1 / 12) < 2e-3
    counts = np.histogram(out, 64, (0, 1))[0]
    assert ((counts - n / 64) ** 2 / (n / 64)).sum() < 120  # χ² of 63 degrees of freedom: 1e-5 beyond
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.01
    assert abs((normal**3).mean()) < 0.05 and abs((normal**4).mean() - 3) < 0.15


def four_kernel(out, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b, c, d = tl.rand4x(7, i)
    p, q, r, s = tl.randn4x(7, i)
    tl.store(out + i, a + b + c + d)
    tl.store(out + N + i, p + q + r + s)


def test_four_at_once() -> None:
    out = np.zeros((2, 4096), np.float32)
    launch(four_kernel, out, N=4096)
    assert abs(out[0].mean() - 2) < 0.05 and abs(out[0].var() - 1 / 3) < 0.03
    assert abs(out[1].mean()) < 0.15 and abs(out[1].var() - 4) < 0.3


def uniform_kernel(out, words, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.uint_to_uniform_float(tl.load(words + i)))


def test_uniform_ends() -> None:
    for dtype, bits in (("uint32", 32), ("int32", 32), ("uint64", 64)):
        out = np.zeros(4, np.float32)
        words = np.array([0, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1], f"uint{bits}").astype(dtype)
        launch(uniform_kernel, out, words, N=4)
        assert (out >= 0).all() and (out < 1).all() and out[1] > 0.999


# -- reductions and scans -----------------------------------------------------------------------------------------------


def softmax_kernel(out, x, M: tl.constexpr, N: tl.constexpr, DIM: tl.constexpr):
    i = tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :]
    tl.store(out + i, tl.softmax(tl.load(x + i), DIM))


def test_softmax() -> None:
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32) * 30
    for dim, axis in ((None, 0), (0, 0), (1, 1), (-1, 1)):
        out = np.zeros_like(x)
        launch(softmax_kernel, out, x, M=4, N=8, DIM=dim)
        e = np.exp((x - x.max(axis, keepdims=True)).astype(np.float64))
        np.testing.assert_allclose(out, e / e.sum(axis, keepdims=True), rtol=2e-6, atol=1e-30)


def arg_kernel(out, values, x, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, N))
    tl.store(out, tl.argmax(v, axis=0))
    tl.store(out + 1, tl.argmin(v, axis=0))
    best, i = tl.max(v, axis=0, return_indices=True)
    tl.store(values, best)
    tl.store(out + 2, i)
    tl.store(values + 1, tl.max(v))
    tl.store(values + 2, v.min())


@pytest.mark.parametrize(
    ("row", "most", "least"),
    [([1, 3, 3, 0, 0, 3, 1, 1], 1, 3), ([NAN, 1, 2, 2, NAN, -1, -1, 0], 2, 5), ([NAN, NAN] + [-INF] * 6, 2, 2), ([NAN] * 8, 0, 0),
     ([-0.0, 0.0] * 4, 0, 0), ([INF, NAN, INF, 0, 0, 0, -INF, NAN], 0, 6)],
)  # fmt: skip
def test_arg_extrema(row: list[float], most: int, least: int) -> None:
    x = np.array(row, np.float32)
    out, values = np.zeros(3, np.int32), np.zeros(3, np.float32)
    launch(arg_kernel, out, values, x, N=8)
    assert out.tolist() == [most, least, most]
    np.testing.assert_array_equal(values, [x[most], x[most], x[least]])


def arg2d_kernel(out, x, M: tl.constexpr, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N))
    tl.store(out, tl.argmax(v, None))
    tl.store(out + 1 + tl.arange(0, N), tl.argmin(v, 0))
    tl.store(out + 1 + N + tl.arange(0, M)[:, None], tl.argmax(v, 1, keep_dims=True))


def test_arg_extrema_of_a_matrix() -> None:
    x = np.random.default_rng(1).integers(0, 5, (4, 8), dtype=np.int32)
    out = np.zeros(13, np.int32)
    launch(arg2d_kernel, out, x, M=4, N=8)
    assert out[0] == x.argmax() and out[1:9].tolist() == x.argmin(0).tolist() and out[9:].tolist() == x.argmax(1).tolist()


def sums_kernel(out, x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(out + i, tl.cumsum(v))
    tl.store(out + N + i, v.cumsum(0, reverse=True))
    tl.store(out + 2 * N + i, tl.cumprod(v.to(tl.int32), reverse=True))
    tl.store(out + 3 * N, tl.sum(v))
    tl.store(out + 3 * N + 1, tl.sum(v > 100))
    tl.store(out + 3 * N + 2, tl.xor_sum(v, 0))


def test_sums() -> None:
    x = np.array([100, 127, -128, 120, 3, 101, 7, 2], np.int8)
    out = np.zeros(27, np.int32)
    launch(sums_kernel, out, x, N=8)
    w = x.astype(np.int32)
    assert out[:8].tolist() == w.cumsum().tolist()
    assert out[8:16].tolist() == w[::-1].cumsum()[::-1].tolist()
    with np.errstate(over="ignore"):
        assert out[16:24].tolist() == w[::-1].cumprod(dtype=np.int32)[::-1].tolist()
    assert out[24] == w.sum() and out[25] == 3 and out[26] == np.bitwise_xor.reduce(w)


def half_sum_kernel(out, x, N: tl.constexpr):
    tl.store(out, tl.sum(tl.load(x + tl.arange(0, N))))


def test_halves_are_summed_in_float32() -> None:
    x = np.full(4096, 0.1, np.float16)
    out = np.zeros(1, np.float16)
    launch(half_sum_kernel, out, x, N=4096)
    assert out[0] == np.float16(x.astype(np.float64).sum())
    bits, bf = bf16_to_bits(np.full(4096, 0.1, np.float32)), np.zeros(1, np.uint16)
    launch(half_sum_kernel, (bf, tl.bfloat16), (bits, tl.bfloat16), N=4096)
    assert bf16_from_bits(bf)[0] == 410.0


@device_function
def welford(mean1, m1, n1, mean2, m2, n2):
    delta = mean2 - mean1
    n = n1 + n2
    share = n2 / n
    return mean1 + delta * share, m1 + m2 + delta * delta * n1 * share, n


@device_function
def linear(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2


def custom_kernel(out, x, N: tl.constexpr):
    v = tl.load(x + tl.arange(0, N))
    mean, m2, n = tl.reduce((v, tl.zeros_like(v), tl.full((N,), 1.0, tl.float32)), 0, welford)
    tl.store(out, mean)
    tl.store(out + 1, m2 / n)
    _a, b = tl.associative_scan((tl.full((N,), 0.5, tl.float32), v), 0, linear)
    tl.store(out + 2 + tl.arange(0, N), b)
    _c, d = tl.associative_scan((tl.full((N,), 0.5, tl.float32), v), 0, linear, reverse=True)
    tl.store(out + 2 + N + tl.arange(0, N), d)


def test_custom_combine() -> None:
    x = np.random.default_rng(2).normal(size=16).astype(np.float32) + 3
    out = np.zeros(34, np.float32)
    launch(custom_kernel, out, x, N=16)
    np.testing.assert_allclose(out[:2], [x.mean(), x.var()], rtol=1e-5)
    for got, row in ((out[2:18], x), (out[18:][::-1], x[::-1])):
        h, expected = 0.0, []
        for v in row:
            h = 0.5 * h + v
            expected.append(h)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


# -- elementwise and shape ----------------------------------------------------------------------------------------------


def math_kernel(out, x, y, N: tl.constexpr):
    i = tl.arange(0, N)
    a, b = tl.load(x + i), tl.load(y + i)
    tl.store(out + i, tl.maximum(a, b))
    tl.store(out + N + i, tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + 2 * N + i, tl.clamp(a, -1.0, 1.0))
    tl.store(out + 3 * N + i, tl.where(a < b, a, 0))
    tl.store(out + 4 * N + i, a % b)
    tl.store(out + 5 * N + i, a**2 - tl.fma(a, a, 0.0))


def test_elementwise() -> None:
    x, y = np.array([1, NAN, -3, 2.5], np.float32), np.array([2, 1, NAN, -1], np.float32)
    out = np.zeros((6, 4), np.float32)
    launch(math_kernel, out, x, y, N=4)
    expected = [[2, 1, -3, 2.5], [2, NAN, NAN, 2.5], [1, -1, -1, 1], [1, 0, 0, 0], [1, NAN, NAN, 0.5], [0, NAN, 0, 0]]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


def integer_kernel(out, x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(out + i, v // 3)
    tl.store(out + N + i, v % 3)
    tl.store(out + 2 * N + i, v >> 1)
    tl.store(out + 3 * N + i, tl.umulhi(v, v))
    tl.store(out + 4 * N + i, v**3)
    tl.store(out + 5 * N + i, tl.cdiv(tl.abs(v), 3))
    tl.store(out + 6 * N + i, (v.to(tl.float32) * 0.5).to(tl.int32))
    tl.store(out + 7 * N + i, v.to(tl.int8))


def test_integers() -> None:
    x = np.array([-7, 7, -1, 300], np.int32)
    out = np.zeros((8, 4), np.int32)
    launch(integer_kernel, out, x, N=4)
    unsigned = x.astype(np.uint32).astype(np.uint64)
    expected = [
        [-2, 2, 0, 100], [-1, 1, -1, 0], [-4, 3, -1, 150], (unsigned * unsigned >> np.uint64(32)).astype(np.uint32).view(np.int32),
        [-343, 343, -1, 27000000], [3, 3, 1, 100], [-3, 3, 0, 150], [-7, 7, -1, 44],
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected))


def shape_kernel(out, x, M: tl.constexpr, N: tl.constexpr):
    size: tl.constexpr = M * N
    i = tl.arange(0, size)
    v = tl.load(x + tl.arange(0, M)[:, None] * N + tl.arange(0, N)[None, :])
    tl.store(out + i, v.T.ravel())
    tl.store(out + size + i, tl.flip(v).reshape(size))
    tl.store(out + 2 * size + i, v.reshape(2, 2, size // 4).permute(2, 0, 1).reshape((size,)))
    low, high = tl.split(v.reshape(M, N // 2, 2))
    tl.store(out + 3 * size + i, tl.interleave(high, low).ravel())
    tl.store(out + 4 * size + i, tl.cat(low, high, dim=1).ravel())
    tl.store(out + 5 * size + i, tl.join(low, high).view(size) + v.numel - size)
    tl.store(out + 6 * size + i, (v * 0 + tl.sum(v, 1)[:, None]).ravel())
    tl.store(out + 7 * size + i, tl.broadcast_to(tl.max(v, 0, keep_dims=True), v.shape).ravel())


def test_shapes() -> None:
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    out = np.zeros((8, 32), np.float32)
    launch(shape_kernel, out, x, M=4, N=8)
    low, high = x[:, ::2], x[:, 1::2]
    expected = [
        x.T, x[:, ::-1], x.reshape(2, 2, 8).transpose(2, 0, 1), np.stack([high, low], -1), np.concatenate([low, high], 1), x,
        np.broadcast_to(x.sum(1)[:, None], x.shape), np.broadcast_to(x.max(0), x.shape),
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.stack([e.reshape(-1) for e in expected]))


def cast_kernel(out, bits, x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(bits + i, v.to(tl.uint32, bitcast=True))
    tl.store(out + i, v.to(tl.float16))
    tl.store(out + N + i, v.to(tl.float16, fp_downcast_rounding="rtz"))
    tl.store(out + 2 * N + i, v.to(tl.int1))


def test_casts() -> None:
    x = np.array([1 / 3, -2 / 3, 1e-3, 0], np.float32)
    out, bits = np.zeros((3, 4), np.float32), np.zeros(4, np.uint32)
    launch(cast_kernel, out, bits, x, N=4)
    np.testing.assert_array_equal(bits, x.view(np.uint32))
    near = x.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(out[0], near)
    toward = np.where(np.abs(near) > np.abs(x), np.nextafter(near.astype(np.float16), np.float16(0)).astype(np.float32), near)
    np.testing.assert_array_equal(out[1], toward)
    assert out[2].tolist() == [1, 1, 1, 0]


def atomic_kernel(counts, old, keys, N: tl.constexpr):
    i = tl.arange(0, N)
    k = tl.load(keys + i)
    tl.store(old + i, tl.atomic_add(counts + k, 1, mask=k != 3))


def test_atomics() -> None:
    keys = np.array([0, 1, 1, 3, 0, 2, 1, 3], np.int32)
    counts, old = np.zeros(4, np.int32), np.zeros(8, np.int32)
    launch(atomic_kernel, counts, old, keys, N=8)
    assert counts.tolist() == [2, 3, 1, 0] and old.tolist() == [0, 0, 1, 0, 1, 0, 2, 0]
