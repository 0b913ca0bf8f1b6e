"""tl.dot in simdgroup matrices: Metal's text in the simulator, every access checked, against float64 and the plain product."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from dot_kernels import (
    assert_sum,
    chain_kernel,
    exact,
    loop_kernel,
    numbers,
    product_kernel,
    text,
    transposed_kernel,
    weights_kernel,
)
from dots import both, dot_is

import zmlx
import zmlx.language as tl
from zmlx.simt.fragments import SIMDGROUP
from zmlx.simt.layout import Layout
from zmlx.targets.target import Target

# Rows, columns, terms, warps; some with more warps than fragments.
SHAPES = [(8, 8, 16, 1), (16, 16, 16, 1), (32, 16, 64, 2), (16, 64, 32, 4)]
SHAPES += [(64, 64, 32, 4), (128, 32, 16, 8), (16, 16, 128, 8), (8, 128, 16, 4)]


@pytest.fixture(autouse=True)
def _on_metal_sim() -> Iterator[None]:
    with zmlx.use_target("metal-sim"):
        yield


def assert_product(kernel: Any, call: Callable[[Any], mx.array], a: mx.array, b: mx.array, c: np.ndarray | float = 0.0) -> None:
    """With matrices and without."""
    x, y = exact(a), exact(b)
    for got in both(kernel, call):
        assert_sum(got, x @ y + c, np.abs(x) @ np.abs(y) + np.abs(c), a.shape[1] + 1)


@pytest.mark.parametrize(
    ("m", "n", "k", "warps", "dtype"), [(*s, "float32") for s in SHAPES] + [(*s, d) for s in SHAPES[::3] for d in ("float16", "bfloat16")]
)
def test_whole(m: int, n: int, k: int, warps: int, dtype: str) -> None:
    a, b, c = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype), numbers(3, m, n)
    options = {"BM": m, "BN": n, "BK": k, "num_warps": warps}

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](a, b, c, zmlx.empty((m, n)), m, n, k, **options)

    assert_product(product_kernel, call, a, b, exact(c))
    assert "zm_fragment_mac" in text(product_kernel, a, b, c, c, m, n, k, **options)


@pytest.mark.parametrize(("m", "n", "k", "dtype"), [(37, 30, 29, "float32"), (1, 1, 1, "float16"), (64, 31, 32, "bfloat16")])
def test_ragged(m: int, n: int, k: int, dtype: str) -> None:
    a, b, c = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype), numbers(3, m, n)

    def call(kernel: Any) -> mx.array:
        return kernel[(zmlx.cdiv(m, 16),)](a, b, c, zmlx.empty((m, n)), m, n, k, BM=16, BN=32, BK=32, num_warps=4)

    assert_product(product_kernel, call, a, b, exact(c))


@pytest.mark.parametrize("loads", [True, False])
@pytest.mark.parametrize(
    ("m", "n", "k", "warps", "dtype"), [(16, 64, 32, 4, "float16"), (64, 16, 16, 1, "float32"), (32, 32, 16, 2, "float32")]
)
def test_transposed(m: int, n: int, k: int, warps: int, dtype: str, loads: bool) -> None:
    a, b = numbers(1, k, m, dtype=dtype), numbers(2, n, k, dtype=dtype)

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](a, b, zmlx.empty((m, n)), M=m, N=n, K=k, LOADS=loads, num_warps=warps)

    assert_product(transposed_kernel, call, a.T, b.T)


@pytest.mark.parametrize("warps", [1, 4])
def test_accumulates_in_a_loop(warps: int) -> None:
    a, b = numbers(1, 32, 96), numbers(2, 96, 64)
    assert_product(loop_kernel, lambda kernel: kernel[(1,)](a, b, zmlx.empty((32, 64)), 96, BM=32, BN=64, BK=32, num_warps=warps), a, b)


def test_in_pieces() -> None:
    """128 KB of operands pass through 32 KB of threadgroup memory."""
    a, b = numbers(1, 64, 256), numbers(2, 256, 64)
    options = {"BM": 64, "BN": 64, "BK": 256, "num_warps": 4}
    assert_product(loop_kernel, lambda kernel: kernel[(1,)](a, b, zmlx.empty((64, 64)), 256, **options), a, b)
    assert "int piece = 0; piece < 15;" in text(loop_kernel, a, b, zmlx.ArraySpec((64, 64), mx.float32), 256, **options)


def test_one_simdgroup_shares_nothing() -> None:
    a, b = numbers(1, 16, 16), numbers(2, 16, 16)
    options = {"BM": 16, "BN": 16, "BK": 16, "num_warps": 1}
    assert "zm_shared" not in text(loop_kernel, a, b, zmlx.ArraySpec((16, 16), mx.float32), 16, **options)
    with dot_is("plain"):
        plain = text(zmlx.jit(loop_kernel.fn), a, b, zmlx.ArraySpec((16, 16), mx.float32), 16, **options)
    assert "zm_shared" in plain and "zm_fragment_mac" not in plain


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("warps", [1, 4, 8])
def test_chain(warps: int, dtype: str) -> None:
    """The first product is an operand of the second: from registers where a warp has whole rows (not so for 8 warps)."""
    m, n, d = 32, 16, 32
    q, k, v = numbers(1, m, d, dtype=dtype), numbers(2, n, d, dtype=dtype), numbers(3, n, d, dtype=dtype)
    with dot_is("auto"):
        out, sums = chain_kernel[(1,)](q, k, v, zmlx.empty((m, d)), zmlx.empty((m,)), M=m, N=n, D=d, num_warps=warps)
    x, y, z = exact(q), exact(k), exact(v)
    s, size = 2 * x @ y.T, 2 * np.abs(x) @ np.abs(y).T
    assert_sum(sums, s.sum(1), size.sum(1), n * d)
    rounding = {"float32": d * 2.0**-24, "float16": 2.0**-11}[dtype]
    error = np.abs(np.array(out) - s @ z)
    assert (error <= (rounding + n * 2.0**-24) * (size @ np.abs(z))).all(), error.max()


def test_scores_stay_in_registers() -> None:
    m, n, d = 64, 16, 32
    specs = [zmlx.ArraySpec(shape, mx.float16) for shape in ((m, d), (n, d), (n, d))]
    sums = zmlx.ArraySpec((m, d), mx.float32), zmlx.ArraySpec((m,), mx.float32)
    source = text(chain_kernel, *specs, *sums, M=m, N=n, D=d, num_warps=4)
    staged = [line.split()[2] for line in source.splitlines() if line.strip().startswith("threadgroup half*")]
    assert len(staged) == 2, source  # k and v, which all warps read; neither q nor the scores


@pytest.mark.parametrize("warps", [1, 4])
def test_transpose_of_a_product(warps: int) -> None:
    n, d = 32, 16
    s, q = numbers(1, n, n), numbers(2, n, d)
    x, y = exact(s), exact(q)
    p, size = x @ x + 1, np.abs(x) @ np.abs(x) + 1

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](q, s, zmlx.empty((n, d)), N=n, D=d, num_warps=warps)

    for got in both(weights_kernel, call):
        assert_sum(got, p.T @ (p @ y), size.T @ (size @ np.abs(y)), 3 * n)


# In halves, the last of a product's pieces is multiplied behind the loop over them.
@pytest.mark.parametrize(("warps", "stage_bytes", "count"), [(1, 3072, 4), (4, 3072, 3), (4, 6144, 6)])
def test_what_is_in_registers_in_pieces(warps: int, stage_bytes: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "stage_bytes", stage_bytes)
    monkeypatch.setenv("ZMLX_CACHE", "0")  # whose keys do not know of this
    n, d = 32, 16
    s, q = numbers(1, n, n), numbers(2, n, d)
    x, y = exact(s), exact(q)
    p, size = x @ x + 1, np.abs(x) @ np.abs(x) + 1
    kernel = zmlx.jit(weights_kernel.fn)
    got = kernel[(1,)](q, s, zmlx.empty((n, d)), N=n, D=d, num_warps=warps)
    assert_sum(got, p.T @ (p @ y), size.T @ (size @ np.abs(y)), 3 * n)
    source = text(kernel, q, s, zmlx.ArraySpec((n, d), mx.float32), N=n, D=d, num_warps=warps)
    assert source.count("zm_fragment_mac") == count and "(piece" in source, source


@zmlx.jit
def held_kernel(a, b, out, STEPS: tl.constexpr):
    """The sum over t of a_0 (b + t) for an operand that is loaded once."""
    i = tl.arange(0, 32)
    at = i[:, None] * 32 + i[None, :]
    x = tl.load(a + at)
    acc = tl.zeros((32, 32), tl.float32)
    for t in range(STEPS):
        acc = tl.dot(x, tl.load(b + at) + t, acc)
    tl.store(out + at, acc)


def test_an_operand_is_held_through_a_loop() -> None:
    a, b = numbers(1, 32, 32), numbers(2, 32, 32)
    x, y = exact(a), exact(b)
    for got in both(held_kernel, lambda kernel: kernel[(1,)](a, b, zmlx.empty((32, 32)), STEPS=3, num_warps=4)):
        assert_sum(got, 3 * (x @ y) + 3 * x.sum(1)[:, None], 3 * np.abs(x) @ (np.abs(y) + 1), 97)
    source = text(held_kernel, a, b, zmlx.ArraySpec((32, 32), mx.float32), STEPS=3, num_warps=4)
    assert source.count("threadgroup float* ") == 1, source


@zmlx.jit
def in_place_kernel(x_ptr, out_ptr):
    """Threads read, and overwrite, elements that other threads have."""
    i = tl.arange(0, 16)
    at = i[:, None] * 16 + i[None, :]
    tl.store(x_ptr + at, tl.load(x_ptr + at) + 1)
    x = tl.load(x_ptr + at)
    product = tl.dot(x, x)
    tl.store(x_ptr + at, tl.zeros((16, 16), tl.float32))
    tl.store(out_ptr + at, product)


@pytest.mark.parametrize("warps", [1, 2])
def test_memory_that_is_written_before_and_after(warps: int) -> None:
    x = numbers(1, 16, 16)
    y = exact(x) + 1
    zeros, product = in_place_kernel[(1,)](x + 0, zmlx.empty((16, 16)), num_warps=warps)
    assert not zeros.any()
    assert_sum(product, y @ y, np.abs(y) @ np.abs(y), 18)


@zmlx.jit
def bytes_kernel(a, b, out, K: tl.constexpr):
    i, k = tl.arange(0, 32), tl.arange(0, K)
    acc = tl.full((32, 32), 1 << 24, tl.int32)
    acc = tl.dot(tl.load(a + i[:, None] * K + k[None, :]), tl.load(b + k[:, None] * 32 + i[None, :]), acc)
    tl.store(out + i[:, None] * 32 + i[None, :], acc)


@pytest.mark.parametrize(("dtype", "most"), [(np.int8, 1024), (np.uint8, 256)])
def test_bytes_are_exact(dtype: type, most: int) -> None:
    """The largest products of as many terms as float32 sums exactly; with more, the threads multiply integers."""
    r, info = np.random.default_rng(1), np.iinfo(dtype)
    extremes = np.array([info.min, info.max], dtype)
    a, b = extremes[(r.random((32, most)) < 0.1).astype(int)], extremes[(r.random((most, 32)) < 0.1).astype(int)]
    a[0], b[:, 0] = (info.min if dtype is np.int8 else info.max), (info.min if dtype is np.int8 else info.max)
    out = bytes_kernel[(1,)](mx.array(a), mx.array(b), zmlx.empty((32, 32), mx.int32), K=most)
    assert np.array_equal(np.array(out), a.astype(np.int32) @ b.astype(np.int32) + (1 << 24))
    for k, matrices in ((most, True), (2 * most, False)):
        kind = mx.array(a).dtype
        specs = zmlx.ArraySpec((32, k), kind), zmlx.ArraySpec((k, 32), kind), zmlx.ArraySpec((32, 32), mx.int32)
        assert ("zm_fragment_mac" in text(bytes_kernel, *specs, K=k)) is matrices


def held(layout: Layout) -> dict[tuple[int, ...], int]:
    """How many threads' registers hold each element."""
    count: dict[tuple[int, ...], int] = {}
    for warp in range(1 << len(layout.warp)):
        for lane in range(32):
            for register in range(layout.registers):
                at = layout.at(register, lane, warp)
                count[at] = count.get(at, 0) + 1
    return count


@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize(("m", "n", "warp_bits"), [(8, 8, 0), (8, 8, 2), (64, 64, 2), (16, 128, 3), (128, 16, 3), (32, 16, 2)])
def test_layouts(m: int, n: int, warp_bits: int, rows_first: bool) -> None:
    """Every element of the product has one thread, or as many as there are warps too many; operands follow it."""
    product = SIMDGROUP.product((m, n), warp_bits, rows_first)
    count = held(product)
    assert len(count) == m * n and set(count.values()) == {max(1, (64 << warp_bits) // (m * n))}
    for side, shape in enumerate(((m, 32), (32, n))):
        layout = SIMDGROUP.operand(product, 32, side)
        assert layout.shape == shape and len(held(layout)) == shape[0] * shape[1]
        for warp in range(1 << warp_bits):
            for lane in range(32):
                rows = {product.at(r, lane, warp)[side] for r in range(product.registers)}
                across = {layout.at(r, lane, warp)[side] for r in range(layout.registers)}
                assert {c // 8 for c in rows} == {c // 8 for c in across}


def test_shapes_of_warps() -> None:
    assert SIMDGROUP.product((64, 64), 2, False).warp == ((32, 0), (0, 32))
    assert SIMDGROUP.product((64, 64), 2, True).warp == ((16, 0), (32, 0))
    assert SIMDGROUP.product((16, 128), 3, True).warp == ((8, 0), (0, 32), (0, 64))
