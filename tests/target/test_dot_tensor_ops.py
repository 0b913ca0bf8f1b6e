"""tl.dot on Metal 4's tensor operations, forced: in the simulator, against float64 and against simdgroup_matrix.

The simulator multiplies in the places of elements that MLX's own kernels rely on; a Mac has the last word: there, run this
file with ZMLX_TARGET=metal. What a device makes of float32 operands is its own affair (input_precision="tf32" allows it).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from dot_kernels import assert_sum, chain_kernel, exact, loop_kernel, numbers, product_kernel, text, transposed_kernel, weights_kernel
from dots import both, dot_is

import zmlx
from zmlx.catalog import Case, entries
from zmlx.cli.recording import launch_of
from zmlx.simt.fragments import TENSOR
from zmlx.simt.layout import Layout

# Rows, columns, terms, warps; some with more warps than there are accumulators.
SHAPES = [(16, 32, 16, 1), (32, 32, 64, 2), (16, 64, 32, 4), (64, 64, 32, 4), (128, 32, 16, 8), (16, 128, 16, 4)]
WITH_DTYPES = [(*s, "float16") for s in SHAPES] + [(*s, d) for s in SHAPES[::2] for d in ("float32", "bfloat16")]


TARGET = "metal" if os.environ.get("ZMLX_TARGET") == "metal" else "metal-sim"


@pytest.fixture(autouse=True)
def _on_metal() -> Iterator[None]:
    with zmlx.use_target(TARGET):
        yield


def terms(count: int, dtype: mx.Dtype) -> int:
    """How often a sum of so many products may be rounded; the factors to TF32 each, on a device that is given float32."""
    return count + (1 << 14) * (TARGET == "metal" and dtype == mx.float32)


def both_ways(kernel: Any, call: Callable[[Any], Any]) -> tuple[Any, Any]:
    """On tensor operations and on simdgroup_matrix."""
    return both(kernel, call, ("tensor", "simdgroup"))


def assert_product(kernel: Any, call: Callable[[Any], mx.array], a: mx.array, b: mx.array, c: np.ndarray | float = 0.0) -> None:
    x, y = exact(a), exact(b)
    size = np.abs(x) @ np.abs(y) + np.abs(c)
    forced, other = both_ways(kernel, call)
    for got in (forced, other):
        assert_sum(got, x @ y + c, size, terms(a.shape[1] + 1, a.dtype))
    assert_sum(forced, np.array(other).astype(np.float64), size, terms(a.shape[1] + 1, a.dtype))


def forced_text(kernel: Any, *args: Any, **kwargs: Any) -> str:
    with dot_is("tensor"):
        return text(zmlx.jit(kernel.fn), *args, **kwargs)


@pytest.mark.parametrize(("m", "n", "k", "warps", "dtype"), WITH_DTYPES)
def test_whole(m: int, n: int, k: int, warps: int, dtype: str) -> None:
    a, b, c = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype), numbers(3, m, n)
    options = {"BM": m, "BN": n, "BK": k, "num_warps": warps}

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](a, b, c, zmlx.empty((m, n)), m, n, k, **options)

    assert_product(product_kernel, call, a, b, exact(c))
    assert "zm_tensor_mac<0, 0>" in forced_text(product_kernel, a, b, c, c, m, n, k, **options)


@pytest.mark.parametrize(("m", "n", "k", "dtype"), [(37, 30, 29, "float32"), (1, 1, 1, "float16"), (64, 31, 32, "bfloat16")])
def test_ragged(m: int, n: int, k: int, dtype: str) -> None:
    a, b, c = numbers(1, m, k, dtype=dtype), numbers(2, k, n, dtype=dtype), numbers(3, m, n)

    def call(kernel: Any) -> mx.array:
        return kernel[(zmlx.cdiv(m, 16),)](a, b, c, zmlx.empty((m, n)), m, n, k, BM=16, BN=32, BK=32, num_warps=4)

    assert_product(product_kernel, call, a, b, exact(c))


@pytest.mark.parametrize("loads", [True, False])
@pytest.mark.parametrize(
    ("m", "n", "k", "warps", "dtype"), [(16, 64, 32, 4, "float16"), (64, 32, 16, 1, "float32"), (32, 32, 16, 2, "bfloat16")]
)
def test_transposed(m: int, n: int, k: int, warps: int, dtype: str, loads: bool) -> None:
    """Fragments are transposes of parts of the operands then, so that lanes take neighbours in memory."""
    a, b = numbers(1, k, m, dtype=dtype), numbers(2, n, k, dtype=dtype)
    options = {"M": m, "N": n, "K": k, "LOADS": loads, "num_warps": warps}

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](a, b, zmlx.empty((m, n)), **options)

    assert_product(transposed_kernel, call, a.T, b.T)
    assert "zm_tensor_mac<1, 1>" in forced_text(transposed_kernel, a, b, zmlx.ArraySpec((m, n), mx.float32), **options)


@pytest.mark.parametrize(("warps", "dtype"), [(1, "float16"), (4, "float32"), (4, "bfloat16")])
def test_accumulates_in_a_loop(warps: int, dtype: str) -> None:
    a, b = numbers(1, 32, 96, dtype=dtype), numbers(2, 96, 64, dtype=dtype)
    options = {"BM": 32, "BN": 64, "BK": 32, "num_warps": warps}
    assert_product(loop_kernel, lambda kernel: kernel[(1,)](a, b, zmlx.empty((32, 64)), 96, **options), a, b)
    source = forced_text(loop_kernel, a, b, zmlx.ArraySpec((32, 64), mx.float32), 96, **options)
    staged = [line.split()[2] for line in source.splitlines() if line.strip().startswith("threadgroup ") and "* " in line]
    assert set(staged) <= {"zm_shared", "a_1", "b_1"}, source  # operands, but not the accumulator, which keeps its layout


def test_in_pieces() -> None:
    """128 KB of operands pass through 32 KB of threadgroup memory."""
    a, b = numbers(1, 64, 256), numbers(2, 256, 64)
    options = {"BM": 64, "BN": 64, "BK": 256, "num_warps": 4}
    assert_product(loop_kernel, lambda kernel: kernel[(1,)](a, b, zmlx.empty((64, 64)), 256, **options), a, b)
    assert "int piece = 0; piece < " in forced_text(loop_kernel, a, b, zmlx.ArraySpec((64, 64), mx.float32), 256, **options)


@pytest.mark.parametrize(("warps", "dtype"), [(1, "float16"), (4, "float16"), (4, "float32"), (8, "bfloat16")])
def test_chain(warps: int, dtype: str) -> None:
    """The first product is the left operand of the second, in registers where a warp has whole rows (not so for 8 warps)."""
    m, n, d = 64, 32, 32
    q, k, v = (numbers(seed, rows, d, dtype=dtype) for seed, rows in ((1, m), (2, n), (3, n)))
    options = {"M": m, "N": n, "D": d, "num_warps": warps}

    def call(kernel: Any) -> Any:
        return kernel[(1,)](q, k, v, zmlx.empty((m, d)), zmlx.empty((m,)), **options)

    x, y, z = exact(q), exact(k), exact(v)
    s, size = 2 * x @ y.T, 2 * np.abs(x) @ np.abs(y).T
    rounding = {"float32": terms(d, q.dtype) * 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    for out, sums in both_ways(chain_kernel, call):
        assert_sum(sums, s.sum(1), size.sum(1), terms(n * d, q.dtype))
        error = np.abs(np.array(out) - s @ z)
        assert (error <= (rounding + n * 2.0**-24) * (size @ np.abs(z))).all(), error.max()
    source = forced_text(chain_kernel, q, k, v, zmlx.ArraySpec((m, d), mx.float32), zmlx.ArraySpec((m,), mx.float32), **options)
    assert source.count("zm_tensor_mac<0, 1>") == 1 and source.count("zm_tensor_mac<0, 0>") == 1, source
    if warps == 4:  # k and v pass through threadgroup memory, for all warps; neither q nor the scores do
        assert len([line for line in source.splitlines() if line.strip().startswith("threadgroup ") and "* " in line]) == 3, source


@pytest.mark.parametrize("warps", [1, 4])
def test_transpose_of_a_product(warps: int) -> None:
    n, d = 32, 32
    s, q = numbers(1, n, n), numbers(2, n, d)
    x, y = exact(s), exact(q)
    p, size = x @ x + 1, np.abs(x) @ np.abs(x) + 1

    def call(kernel: Any) -> mx.array:
        return kernel[(1,)](q, s, zmlx.empty((n, d)), N=n, D=d, num_warps=warps)

    for got in both_ways(weights_kernel, call):
        assert_sum(got, p.T @ (p @ y), size.T @ (size @ np.abs(y)), 3 * terms(n, q.dtype))


CATALOG = [
    pytest.param(entry, case, dtype, id=f"{entry.name}-{case.name}-{dtype}".replace("mlx.core.", ""))
    for entry in entries() if entry.name in ("flash_attention", "linear")
    for case in entry.cases for dtype in (mx.float16, mx.bfloat16)
]  # fmt: skip


@pytest.mark.parametrize(("entry", "case", "dtype"), CATALOG)
def test_catalog(entry: Any, case: Case, dtype: mx.Dtype) -> None:
    def forget() -> None:  # plans of launches do not ask what ZMLX_DOT is
        for kernel in entry.kernels:
            kernel._plans.clear()

    forget()
    args = case.build(dtype)
    with dot_is("tensor"):
        got = entry.call(*args, **case.kwargs)
        mx.eval(got)
    forget()
    error, ok = entry.error(got, entry.expected(case, dtype), dtype)
    assert ok, f"off by {error:.3e} where {entry.bounds(dtype)} is allowed"


@pytest.mark.parametrize("name", ["flash_attention", "linear"])
@pytest.mark.parametrize("dtype", [mx.float16, mx.float32])
def test_catalog_texts(name: str, dtype: mx.Dtype) -> None:
    """The realistic size of each is multiplied there, unless it asks for float32 itself (input_precision="ieee")."""
    (entry,) = (e for e in entries() if e.name == name)
    case = entry.sizes["gpu"]
    args = case.build(dtype)
    kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))
    with dot_is("tensor"):
        source = kernel.compile(*call.arguments, target="metal", **call.keywords).source
    products = 2 if name == "flash_attention" else 1
    assert ("zm_tensor_mac" in source) is (dtype == mx.float16) and ("zm_fragment_mac" in source) is (dtype == mx.float32)
    assert source.count("_mac<" if dtype == mx.float16 else "_mac(") >= products


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rows_first", [True, False])
@pytest.mark.parametrize(("m", "n", "warp_bits"), [(16, 32, 0), (16, 32, 2), (64, 64, 2), (16, 128, 3), (128, 32, 3)])
def test_layouts(m: int, n: int, warp_bits: int, rows_first: bool, turned: bool) -> None:
    """Each warp has whole accumulators; registers of an operand's instruction are neighbours, and are the same part of the sum."""
    product = TENSOR.product((m, n), warp_bits, rows_first)
    assert set(held(product).values()) == {max(1, (512 << warp_bits) // (m * n))} and len(held(product)) == m * n
    for side, registers in ((0, 8), (1, 16)):
        layout = TENSOR.operand(product, 64, side, turned)
        assert len(held(layout)) == layout.shape[0] * layout.shape[1]
        for first in range(0, layout.registers, registers):
            part = [layout.at(first + r, lane, 0) for r in range(registers) for lane in range(32)]
            low, high = (tuple(f(c[d] for c in part) for d in range(2)) for f in (min, max))
            assert tuple(h - x + 1 for x, h in zip(low, high, strict=True)) == ((16, 16) if side == 0 else (16, 32))


def held(layout: Layout) -> dict[Any, int]:
    count: dict[Any, int] = {}
    for warp in range(1 << len(layout.warp)):
        for lane in range(32):
            for r in range(layout.registers):
                at = layout.at(r, lane, warp)
                count[at] = count.get(at, 0) + 1
    return count
