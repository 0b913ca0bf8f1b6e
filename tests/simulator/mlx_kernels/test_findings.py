"""What the sanitizer rightly finds in MLX's own kernels: things that Apple's GPUs let pass, each at one place, and with right results.

The other tests launch the same kernels so that none of these comes about.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from mlx_harness import FLOATS, close, found, normal, size, strides
from test_gemm import axpby
from test_gemv import GEMV, TILES, TILES_T, _launch, _plain
from test_others import gated_delta
from test_quantized import ONE, QMV, Weights, _name
from test_reductions import REDUCE, _arguments
from test_rows import ROWS
from test_scan import FLOAT


def test_scan_reads_sums_of_simdgroups_that_are_not_there() -> None:
    """The first simdgroup scans 32 sums whatever the number of simdgroups; those past it reach no result."""
    x = np.random.default_rng(1).standard_normal((1, 500)).astype(np.float32)
    args = [mx.array(x), size(500), size(0), size(0)]
    launch = {"groups": (1, 1), "threadgroup": (128,)}
    with found(("uninitialised-threadgroup", "simdgroup_sums")):
        (got,) = FLOAT["contiguous"].run("CumSum_inclusive", args, [(x.shape, mx.float32)], sanitize=True, **launch)
    close(got, np.cumsum(x.astype(np.float64), -1), mx.float32)


def test_looped_softmax_needs_all_32_simdgroups() -> None:
    """It takes the maximum over 32 simdgroups' values: with fewer threads than MLX launches, that is a real fault."""
    x = mx.array(np.random.default_rng(2).standard_normal((1, 5000)).astype(np.float32))
    with found(("uninitialised-threadgroup", "local_max"), ("uninitialised-threadgroup", "local_normalizer")):
        ROWS.run("softmax_looped_float", [x, 5000], [(x.shape, mx.float32)], groups=(1,), threadgroup=(256,), sanitize=True)


def test_gemv_split_over_simdgroups() -> None:
    """Lane 0 of each simdgroup alone waits at a barrier, which orders no memory; its sums then go to another simdgroup."""
    rng = np.random.default_rng(3)
    n_in, n_out = 1024, 4
    (mat, a), (vec, x) = normal(rng, (n_out, n_in), mx.float32), normal(rng, (n_in,), mx.float32)
    launch = _launch(TILES["split"], n_out, False)
    with found(("divergent-barrier", ""), ("race", "tgp_memory")):
        (got,) = GEMV.run("split_float", _plain(mat, vec, n_in, n_out, n_in), [((n_out,), mx.float32)], sanitize=True, **launch)
    close(got, a @ x, mx.float32)


def test_gemv_rows_computed_twice() -> None:
    """Where rows do not fill a thread's last four, these are moved back over those of another thread."""
    rng = np.random.default_rng(8)
    n_in, n_out = 300, 45
    (mat, a), (vec, x) = normal(rng, (n_out, n_in), mx.float32), normal(rng, (n_in,), mx.float32)
    launch = _launch(TILES["rows"], n_out, False)
    with found(("device-race", "y")):
        (got,) = GEMV.run("rows_float", _plain(mat, vec, n_in, n_out, n_in), [((n_out,), mx.float32)], sanitize=True, **launch)
    close(got, a @ x, mx.float32)


def test_columns_that_end_before_a_barrier() -> None:
    """Threads past the last column return, and the others wait at a barrier without them, which Metal's rules forbid."""
    x, exact = normal(np.random.default_rng(9), (1, 20, 131), mx.float32)
    columns = _arguments(x, n=20, count=131, m=1, inner=([20], strides(131)))
    with found(("divergent-barrier", "")):
        (got,) = REDUCE.run("col_small", columns, [((1, 131), mx.float32)], groups=(2, 1), threadgroup=(32, 8), sanitize=True)
    close(got, exact.sum(1), mx.float32)


def test_gemv_t_of_a_part_of_a_tile() -> None:
    """Threads past the last column skip the barriers that the others wait at (MLX: for speed, to keep threads together)."""
    rng = np.random.default_rng(4)
    n_in, n_out = 100, 40
    (mat, a), (vec, x) = normal(rng, (n_in, n_out), mx.float32), normal(rng, (n_in,), mx.float32)
    launch = _launch(TILES_T["columns"], n_out, True)
    with found(("divergent-barrier", ""), ("divergent-simd", "")):
        (got,) = GEMV.run("t_columns_float", _plain(mat, vec, n_in, n_out, n_out), [((n_out,), mx.float32)], sanitize=True, **launch)
    close(got, x @ a, mx.float32)


def test_rows_computed_twice() -> None:
    """Where rows do not fill the last block, it is moved back: two threadgroups write the same sums to the same elements."""
    x, exact = normal(np.random.default_rng(5), (37, 100), mx.float32)
    with found(("device-race", "y")):
        (got,) = REDUCE.run(
            "simple_sum", _arguments(x, n=100, count=37), [((37,), mx.float32)], groups=(1, 10), threadgroup=(32,), sanitize=True
        )
    close(got, exact.sum(-1), mx.float32)


def test_qmv_rows_computed_twice() -> None:
    rng = np.random.default_rng(6)
    k, n = 256, 18
    weights = Weights(rng, (n, k), *ONE)
    x, exact = normal(rng, (1, k), FLOATS[ONE[0]])
    with found(("device-race", "y")):
        (got,) = QMV.run(
            _name("qmv", ONE), weights.one(x, k, n, 1), [((1, n), mx.float16)], groups=(1, 3), threadgroup=(32, 2), sanitize=True
        )
    close(got, exact @ weights.values.T, mx.float16)


def test_gated_delta_of_several_chunks() -> None:
    """Lanes write the decays of the next chunk where others of their simdgroup may still read those of this one."""
    with found(("race", "gamma_all")):
        gated_delta("chunk", 19, True)


def test_gemm_reads_past_an_added_matrix() -> None:
    """Of a tile that the matrix does not fill, it reads rows of C that are not there: it looks at the columns only."""
    with found(("out-of-bounds", "c")):
        axpby(45, True)
