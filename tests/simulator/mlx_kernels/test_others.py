"""More of MLX's headers: indexing (with atomics), dot, Hadamard, FFT, split-K GEMM, floating-point quantisation, gated delta."""

from __future__ import annotations

import struct

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import (
    FLOATS,
    GRID,
    GRID_SIZE,
    GROUP,
    LANE,
    SIMD,
    THREAD,
    Family,
    as_numpy,
    close,
    flags,
    normal,
    reads,
    rounded,
    size,
    strides,
    writes,
)

_GRID = f"{GRID}, {GRID_SIZE}"
_AXIS = "dims, steps, index_steps, rank, axis, axis_size, axis_step, index_axis_step"


def _scatter(t: str, op: str) -> str:
    io = f"{reads(t, 'x')}, {reads('int32_t', 'index')}, {writes(f'mlx_atomic<{t}>', 'y')}"
    return f"scatter_axis<{t}, int32_t, int, {op}, true, true>({io}, {_AXIS}, {_GRID})"


def _gather(contiguous: bool) -> str:
    io = f"{reads('half', 'x')}, {reads('int32_t', 'index')}, {writes('half', 'y')}"
    return f"gather_axis<half, int32_t, int, {flags(contiguous)}, true>({io}, {_AXIS}, {_GRID})"


SCATTER = {
    "sum": ("float", "Sum", np.add),
    "sum_half": ("half", "Sum", np.add),
    "max": ("float", "Max", np.maximum),
    "min_int": ("int32_t", "Min", np.minimum),
    "prod": ("float", "Prod", np.multiply),
}
INDEXING = Family(
    "indexing",
    ("reduce_utils.h", "indexing/gather_front.h", "indexing/gather_axis.h", "indexing/scatter_axis.h"),
    ("x", "index", "dims", "steps", "index_steps", "rank", "axis", "axis_size", "axis_step", "index_axis_step"),
    ("y",),
    {f"scatter_{name}": _scatter(t, f"{op}<{t}>") for name, (t, op, _) in SCATTER.items()}
    | {
        "assign": _scatter("uint8_t", "None"),
        "gather": _gather(True),
        "gather_strided": _gather(False),
        "front": f"gather_front<float, int32_t, int, 2>({reads('float', 'x')}, {reads('int32_t', 'index')}, {writes('float', 'y')},"
        f" steps[0], axis_size, {GRID}.xy, {GRID_SIZE}.xy)",
    },
)

_FLOATS = f"{reads('float', 'x')}, {writes('float', 'y')}"
TRANSFORMS = Family(
    "transforms",
    ("hadamard.h", "dot.h"),
    ("x", "w", "scale", "n"),
    ("y",),
    {f"hadamard_{n}": f"hadamard_n<float, {n}, 16, 4>({_FLOATS}, scale, {_GRID})" for n in (16, 64, 1024)}
    | {
        f"dot_{t}": f"dot_product<{t}, 32, 128, 4>({reads(t, 'x', 'w')}, {writes('float', 'y')}, n, {THREAD}.x, {LANE}, {SIMD}, {GROUP}.x)"
        for t in FLOATS
    },
)

_STEPS = {13: 4, 11: 5, 8: 6, 7: 7, 6: 8, 5: 9, 4: 10, 3: 11, 2: 12}


def _fft(n: int, steps: dict[int, int], elements: int, inverse: bool) -> Family:
    constants = {f"int radix_{r}_steps_": str(steps.get(r, 0)) for r in _STEPS} | {f"int rader_{r}_steps_": "0" for r in _STEPS}
    constants |= {"int rader_m_": "1", "int elems_per_thread_": str(elements), "bool use_bluestein_twiddle_table_": "false"}
    constants |= {"bool inv_": str(inverse).lower(), "bool is_power_of_2_": str(n & (n - 1) == 0).lower()}
    call = f"fft<256, float2, float2>({reads('float2', 'x')}, {writes('float2', 'y')}, n, batch, {_GRID})"
    return Family(f"fft_{n}", ("fft.h",), ("x", "n", "batch"), ("y",), {"fft": call}, fixed=constants)


FFT = {64: (_fft(64, {8: 2}, 8, False), np.fft.fft, 8), 60: (_fft(60, {5: 1, 4: 1, 3: 1}, 5, True), np.fft.ifft, 12)}

SPLIT = Family(
    "gemm_split",
    ("steel/gemm/gemm.h", "steel/gemm/kernels/steel_gemm_splitk.h"),
    ("a", "b", "sizes"),
    ("y",),
    {
        "edges": f"gemm_splitk<half, float, 32, 32, 16, 2, 2, false, true, false, true>({reads('half', 'a', 'b')}, {writes('float', 'y')},"
        f" (const constant GEMMSpiltKParams*)sizes, {LANE}, {SIMD}, {GROUP}, {THREAD})"
    },
)

FORMATS = {"mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}


def _fp(kernel: str, mode: str) -> str:
    group, bits = FORMATS[mode]
    io = f"{reads('uint32_t', 'w')}, {reads('uint8_t', 'scales')}, {reads('float', 'scales')}, {reads('half', 'x')}, {writes('half', 'y')}"
    where = f"batch, dims, steps, batch, dims, steps, steps, {GROUP}, {SIMD}, {LANE}"
    return f"fp_{kernel}<half, {group}, {bits}, false>({io}, in_size, out_size, {where})"


FP = Family(
    "fp_quantized",
    ("fp_quantized.h",),
    ("w", "scales", "x", "in_size", "out_size", "batch", "dims", "steps"),
    ("y",),
    {f"{kernel}_{mode}": _fp(kernel, mode) for mode in FORMATS for kernel in ("qmv_fast", "qmv")},
)

_DELTA = f"{reads('float', 'q', 'k', 'v', 'state', 'g', 'beta')}, {writes('float', 'y', 'last')}, t"
_THREAD = f"{GRID}, {THREAD}, {LANE}"
DELTA = Family(
    "gated_delta",
    ("gated_delta_update.h",),
    ("q", "k", "v", "state", "g", "beta", "t"),
    ("y", "last", "saved"),
    {
        "seq": f"gated_delta_seq<false, float, 64, 32, 2, 4, 4>({_DELTA}, {writes('float', 'saved')}, {_THREAD})",
        "saving": f"gated_delta_seq<true, float, 64, 32, 2, 4, 4>({_DELTA}, {writes('float', 'saved')}, {_THREAD})",
        "chunk": f"gated_delta_fused_chunk<float, 64, 32, 2, 4, 8>({_DELTA}, {_THREAD})",
    },
    ("bool save_state",),
)


def _axis_arguments(x: mx.array, index: np.ndarray, inner: int, length: int, x_steps: tuple[int, ...] = (1,)) -> list:
    """One axis of `length` between an outer axis and `inner` elements; MLX leaves that axis out of dims and steps."""
    outer, count, _ = index.shape
    return [x, mx.array(index), [outer, inner], strides(*x_steps), strides(count * inner, 1), size(2), 1, length, size(inner), size(inner)]


@pytest.mark.parametrize("name", SCATTER)
def test_scatter(name: str, sanitize: bool) -> None:
    """Many updates of few elements: atomics, native or by compare and exchange."""
    t, _, ufunc = SCATTER[name]
    rng = np.random.default_rng(1)
    outer, count, inner, length = 2, 40, 3, 5
    index = rng.integers(-length, length, (outer, count, inner)).astype(np.int32)
    if t == "int32_t":
        values = rng.integers(-50, 50, index.shape)
        updates, exact, dtype = mx.array(values).astype(mx.int32), values.astype(np.int64), mx.int32
    else:
        updates, exact = rounded(rng.integers(-8, 9, index.shape) / 4, FLOATS[t])
        dtype = FLOATS[t]
    (got,) = INDEXING.run(
        f"scatter_{name}",
        _axis_arguments(updates, index, inner, length),
        [((outer, length, inner), dtype)],
        threads=(inner, count, outer),
        threadgroup=(inner, 8, 1),
        sanitize=sanitize,
        init_value=0,
    )
    want = np.zeros((outer, length, inner), exact.dtype)
    o, _, i = np.indices(index.shape)
    ufunc.at(want, (o, index % length, i), exact)
    np.testing.assert_array_equal(got, want)  # multiples of a quarter: sums are exact in any order


def test_scatter_bytes(sanitize: bool) -> None:
    """Stores of bytes, by atomics on the words that hold them: neighbours must survive. (MLX allocates whole words.)"""
    index = np.random.default_rng(2).permuted(np.tile(np.arange(7, dtype=np.int32)[None, :, None], (2, 1, 2)), axis=1)
    updates = np.random.default_rng(3).integers(1, 255, index.shape).astype(np.uint8)
    args = _axis_arguments(mx.array(updates), index, 2, 7)
    launch = {"threads": (2, 7, 2), "threadgroup": (2, 7, 2), "init_value": 0}
    (got,) = INDEXING.run("assign", args, [((2, 7, 2), mx.uint8)], sanitize=sanitize, **launch)
    want = np.zeros((2, 7, 2), np.uint8)
    np.put_along_axis(want, index, updates, 1)
    np.testing.assert_array_equal(got, want)


def test_gather(sanitize: bool) -> None:
    rng = np.random.default_rng(4)
    x, exact = normal(rng, (2, 9, 3), mx.float16)
    index = rng.integers(-9, 9, (2, 5, 3)).astype(np.int32)
    launch = {"threads": (3, 5, 2), "threadgroup": (3, 5, 2), "sanitize": sanitize}
    (got,) = INDEXING.run("gather", _axis_arguments(x, index, 3, 9), [((2, 5, 3), mx.float16)], **launch)
    np.testing.assert_array_equal(got, np.take_along_axis(exact, index % 9, 1))

    args = _axis_arguments(x, index, 3, 9, (27, 1))  # the same, by strides
    (got,) = INDEXING.run("gather_strided", args, [((2, 5, 3), mx.float16)], **launch)
    np.testing.assert_array_equal(got, np.take_along_axis(exact, index % 9, 1))

    rows, exact = normal(rng, (6, 7), mx.float32)
    which = np.array([5, -1, 0, 3], np.int32)
    args = [rows, mx.array(which), [1], strides(7), strides(0), size(1), 0, 6, size(0), size(0)]
    (got,) = INDEXING.run("front", args, [((4, 7), mx.float32)], threads=(4, 4), threadgroup=(4, 4), sanitize=sanitize)
    np.testing.assert_array_equal(got, exact[which])


@pytest.mark.parametrize("n", [16, 64, 1024])
def test_hadamard(n: int, sanitize: bool) -> None:
    x, exact = normal(np.random.default_rng(n), (3, n), mx.float32)
    matrix = np.ones((1, 1))
    while len(matrix) < n:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    threads = n // min(n, 16)
    args = [x, mx.zeros((8,)), n**-0.5, 0]
    (got,) = TRANSFORMS.run(f"hadamard_{n}", args, [((3, n), mx.float32)], threads=(threads, 3), threadgroup=(threads,), sanitize=sanitize)
    close(got, exact @ matrix * n**-0.5, mx.float32)


@pytest.mark.parametrize("dtype", FLOATS)
def test_dot(dtype: str, sanitize: bool) -> None:
    rng = np.random.default_rng(5)
    n, groups = 9001, 3
    (x, a), (w, b) = (normal(rng, (n,), FLOATS[dtype]) for _ in range(2))
    launch = {"groups": (groups,), "threadgroup": (128,)}
    (got,) = TRANSFORMS.run(f"dot_{dtype}", [x, w, 1.0, n], [((groups,), mx.float32)], sanitize=sanitize, **launch)
    np.testing.assert_allclose(got.sum(), a @ b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("n", FFT)
def test_fft(n: int, sanitize: bool) -> None:
    family, function, per_transform = FFT[n]
    rng = np.random.default_rng(n)
    batch, together = 8, 4
    z = (rng.standard_normal((batch, n)) + 1j * rng.standard_normal((batch, n))).astype(np.complex64)
    launch = {"threads": (batch // together, together, per_transform), "threadgroup": (1, together, per_transform)}
    (got,) = family.run("fft", [mx.array(z), n, batch], [(z.shape, mx.complex64)], sanitize=sanitize, **launch)
    want = function(z.astype(np.complex128))
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def test_split_gemm(sanitize: bool) -> None:
    rng = np.random.default_rng(6)
    m, n, parts, part = 40, 45, 4, 32
    k = parts * part
    (a, exact_a), (b, exact_b) = normal(rng, (m, k), mx.float16), normal(rng, (n, k), mx.float16)
    sizes = struct.pack("13i", m, n, k, k, k, n, 2, 2, parts, m * n, part, 0, part // 16)
    (got,) = SPLIT.run(
        "edges",
        [a, b, mx.array(np.frombuffer(sizes, np.uint8))],
        [((parts, m, n), mx.float32)],
        groups=(2, 2, parts),
        threadgroup=(32, 2, 2),
        sanitize=sanitize,
    )
    close(got.sum(0, dtype=np.float64), exact_a @ exact_b.T, mx.float32)


@pytest.mark.parametrize("mode", FORMATS)
def test_fp_quantized(mode: str, sanitize: bool) -> None:
    rng = np.random.default_rng(7)
    for kernel, k, n in (("qmv_fast", 512, 16), ("qmv", 288, 12)):
        q, scales = mx.quantize(mx.array(rng.standard_normal((n, k)).astype(np.float32)), mode=mode)
        weights = as_numpy(mx.dequantize(q, scales, mode=mode, dtype=mx.float32)).astype(np.float64)
        x, exact = normal(rng, (2, k), mx.float16)
        args = [q, scales, x, k, n, 1, [1, 2], strides(0, 0)]
        launch = {"groups": (2, -(-n // 8)), "threadgroup": (32, 2)}
        (got,) = FP.run(f"{kernel}_{mode}", args, [((2, n), mx.float16)], sanitize=sanitize, **launch)
        close(got, exact @ weights.T, mx.float16)


@pytest.mark.parametrize(("case", "steps"), [("seq", 5), ("saving", 9), ("chunk", 8), ("chunk", 5)])
def test_gated_delta(case: str, steps: int, sanitize: bool) -> None:
    """Chunks are of 8 steps; more than one of them: see test_findings.py."""
    gated_delta(case, steps, sanitize)


def gated_delta(case: str, steps: int, sanitize: bool) -> None:
    rng = np.random.default_rng(8)
    b, hk, hv, dk, dv = 2, 2, 4, 64, 32
    (q, q_), (k, k_) = (normal(rng, (b, steps, hk, dk), mx.float32, dk**-0.5) for _ in range(2))
    v, v_ = normal(rng, (b, steps, hv, dv), mx.float32)
    g, g_ = rounded(rng.uniform(0.8, 1, (b, steps, hv)), mx.float32)
    beta, beta_ = rounded(rng.uniform(0.1, 0.9, (b, steps, hv)), mx.float32)
    start, state = normal(rng, (b, hv, dv, dk), mx.float32)
    q_, k_ = (np.repeat(x, hv // hk, axis=2) for x in (q_, k_))
    ys, entered = [], []
    for t in range(steps):
        entered.append(state)
        state = state * g_[:, t, :, None, None]
        delta = (v_[:, t] - np.einsum("bhvk,bhk->bhv", state, k_[:, t])) * beta_[:, t, :, None]
        state = state + delta[..., None] * k_[:, t, :, None, :]
        ys.append(np.einsum("bhvk,bhk->bhv", state, q_[:, t]))
    saved = (b, hv, -(-steps // 4), dv, dk) if case == "saving" else (1,)
    threads = (32, dv // 8, b * hv) if case == "chunk" else (32, dv, b * hv)
    y, last, cache = DELTA.run(
        case,
        [q, k, v, start, g, beta, steps],
        [((b, steps, hv, dv), mx.float32), ((b, hv, dv, dk), mx.float32), (saved, mx.float32)],
        threads=threads,
        threadgroup=(32, 4),
        sanitize=sanitize,
        init_value=None if case == "saving" else 0,
    )
    close(y, np.stack(ys, 1), mx.float32, 4)
    close(last, state, mx.float32, 4)
    if case == "saving":
        close(cache, np.stack(entered[::4], 2), mx.float32, 4)
