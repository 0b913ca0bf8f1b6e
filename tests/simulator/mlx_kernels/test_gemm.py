"""MLX's steel GEMM: each way of transposing, tiles that fit and tiles that do not, three types, batches, and an added matrix."""

from __future__ import annotations

import struct

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GROUP, LANE, SIMD, THREAD, Family, close, flags, normal, reads, strides, writes

_CONSTANTS = ("bool has_batch", "bool use_out_source", "bool do_axpby", "bool align_M", "bool align_N", "bool align_K")
LAYOUTS = {"nn": (False, False), "nt": (False, True), "tn": (True, False), "tt": (True, True)}
BM, BN, BK = 32, 32, 16


def _call(t: str, layout: str, aligned: bool, batch: bool = False, added: str = "") -> str:
    constants = flags(batch, bool(added), added == "axpby", aligned, aligned, aligned)
    io = f"{reads(t, 'a', 'b', 'c')}, {writes(t, 'd')}, (const constant GEMMParams*)sizes, (const constant GEMMAddMMParams*)scales"
    where = f"batch_dims, batch_steps, {LANE}, {SIMD}, {GROUP}, {THREAD}"
    return f"gemm<{constants}, {t}, {BM}, {BN}, {BK}, 2, 2, {flags(*LAYOUTS[layout])}>({io}, {where})"


CALLS = {f"half_{layout}_{fit}": _call("half", layout, fit == "fits") for layout in LAYOUTS for fit in ("fits", "edges")}
for t in ("float", "bfloat16_t"):
    CALLS |= {f"{t}_nn_fits": _call(t, "nn", True), f"{t}_nt_edges": _call(t, "nt", False)}
CALLS["batch"] = _call("float", "nn", False, batch=True)
CALLS["axpby"] = _call("float", "nt", False, added="axpby")
CALLS["add"] = _call("half", "nn", True, added="add")
GEMM = Family(
    "gemm",
    ("steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_fused.h"),
    ("a", "b", "c", "sizes", "scales", "batch_dims", "batch_steps"),
    ("d",),
    CALLS,
    constants=_CONSTANTS,
)


def _sizes(m: int, n: int, k: int, layout: str, batch_ndim: int = 1) -> mx.array:
    transpose_a, transpose_b = LAYOUTS[layout]
    tiles = [-(-n // BN), -(-m // BM)]
    leading = [m if transpose_a else k, k if transpose_b else n, n]
    packed = struct.pack("8i3q3i4x", m, n, k, *leading, *tiles, m * k, k * n, m * n, 0, k // BK, batch_ndim)
    return mx.array(np.frombuffer(packed, np.uint8))


def _scales(ldc: int, fdc: int, alpha: float, beta: float) -> mx.array:
    return mx.array(np.frombuffer(struct.pack("2iq2f", ldc, fdc, 0, alpha, beta), np.uint8))


_PLAIN = [_scales(0, 0, 1.0, 0.0), [1], strides(0, 0)]


def _run(case: str, args: list, shape: tuple[int, ...], dtype: mx.Dtype, sanitize: bool) -> np.ndarray:
    *batch, m, n = shape
    groups = (-(-n // BN), -(-m // BM), int(np.prod(batch)))
    (got,) = GEMM.run(case, args, [(shape, dtype)], groups=groups, threadgroup=(32, 2, 2), sanitize=sanitize)
    return got


def _operands(rng: np.random.Generator, m: int, n: int, k: int, layout: str, t: mx.Dtype, batch: tuple[int, ...] = ()) -> list:
    transpose_a, transpose_b = LAYOUTS[layout]
    a, exact_a = normal(rng, (*batch, *((k, m) if transpose_a else (m, k))), t)
    b, exact_b = normal(rng, (*batch, *((n, k) if transpose_b else (k, n))), t)
    product = (exact_a.swapaxes(-1, -2) if transpose_a else exact_a) @ (exact_b.swapaxes(-1, -2) if transpose_b else exact_b)
    return [a, b, product]


@pytest.mark.parametrize("case", [case for case in CALLS if case.endswith(("fits", "edges"))])
def test_gemm(case: str, sanitize: bool) -> None:
    dtype, layout, fit = case.rsplit("_", 2)
    t = FLOATS[dtype]
    m, n, k = (64, 96, 48) if fit == "fits" else (45, 71, 53)
    a, b, product = _operands(np.random.default_rng(1), m, n, k, layout, t)
    got = _run(case, [a, b, mx.zeros((8,)), _sizes(m, n, k, layout), *_PLAIN], (m, n), t, sanitize)
    close(got, product, t)


def test_batched(sanitize: bool) -> None:
    m, n, k = 40, 33, 20
    a, b, product = _operands(np.random.default_rng(2), m, n, k, "nn", mx.float32, (2, 3))
    steps = strides(3 * m * k, m * k, 3 * k * n, k * n)
    args = [a, b, mx.zeros((8,)), _sizes(m, n, k, "nn", 2), _scales(0, 0, 1.0, 0.0), [2, 3], steps]
    close(_run("batch", args, (2, 3, m, n), mx.float32, sanitize), product, mx.float32)


def axpby(m: int, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    n, k = 40, 32
    a, b, product = _operands(rng, m, n, k, "nt", mx.float32)
    c, exact = normal(rng, (n, m), mx.float32)  # transposed: what fdc is for
    args = [a, b, c, _sizes(m, n, k, "nt"), _scales(1, m, 0.5, 3.0), [1], strides(0, 0)]
    close(_run("axpby", args, (m, n), mx.float32, sanitize), 0.5 * product + 3.0 * exact.T, mx.float32)


def test_added_matrix(sanitize: bool) -> None:
    axpby(64, sanitize)
    rng = np.random.default_rng(3)
    a, b, product = _operands(rng, 32, 64, 32, "nn", mx.float16)
    bias, exact = normal(rng, (64,), mx.float16)
    args = [a, b, bias, _sizes(32, 64, 32, "nn"), _scales(0, 1, 1.0, 1.0), [1], strides(0, 0)]
    close(_run("add", args, (32, 64), mx.float16, sanitize), product + exact, mx.float16)
