"""MLX's matrix by vector kernels: rows, columns (transposed), several vectors at once, gathered, and their edges."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GROUP, GROUPS, LANE, SIMD, THREAD, Family, close, flags, normal, reads, strides, writes

_WHERE = f"{GROUP}, {THREAD}, {SIMD}, {LANE}"
_BATCHES = "batches, batch_dims, vec_steps, mat_steps, bias_steps"
_INPUTS = ("mat", "vec", "bias", "in_size", "out_size", "ld", "alpha", "beta", *_BATCHES.split(", "), "bias_step")


def _io(t: str) -> str:
    return f"{reads(t, 'mat', 'vec', 'bias')}, {writes(t, 'y')}, in_size, out_size"


def _call(kernel: str, t: str, tiles: tuple[int, ...], many: bool, axpby: bool) -> str:
    parameters = ", ".join([t, *map(str, tiles), flags(many, axpby)])
    return f"{kernel}<{parameters}>({_io(t)}, ld, alpha, beta, {_BATCHES}, bias_step, {_WHERE})"


def _wide(t: str, vectors: int, lanes: int) -> str:
    where = f"{GROUP}, {GROUPS}, {SIMD}, {LANE}"
    return f"gemv_wide<{t}, {vectors}, {lanes}>({_io(t)}, m, ld, vec_ld, alpha, beta, {_BATCHES}, bias_ld, bias_step, {where})"


def _gather(kernel: str, tiles: tuple[int, ...]) -> str:
    batches = "batches, batch_dims, bias_steps, vec_batches, vec_dims, vec_steps, mat_batches, mat_dims, mat_steps"
    indices = "(const constant uint32_t*)vec_index, (const constant uint32_t*)mat_index"
    return f"{kernel}<half, {', '.join(map(str, tiles))}>({_io('half')}, ld, alpha, beta, {batches}, {indices}, {_WHERE})"


# (BM, BN, SM, SN, TM, TN), as MLX chooses them by shape
TILES = {"rows": (4, 1, 1, 32, 4, 4), "short": (1, 1, 8, 4, 4, 4), "few": (4, 1, 1, 32, 1, 4), "split": (1, 8, 1, 32, 4, 4)}
TILES_T = {"columns": (1, 2, 8, 4, 4, 4), "few": (1, 2, 8, 4, 4, 1), "wide": (1, 4, 8, 4, 4, 4)}
GEMV = Family(
    "gemv",
    ("gemv.h",),
    _INPUTS,
    ("y",),
    {f"{name}_{t}": _call("gemv", t, tiles, False, False) for name, tiles in TILES.items() for t in FLOATS}
    | {f"t_{name}_{t}": _call("gemv_t", t, tiles, False, False) for name, tiles in TILES_T.items() for t in FLOATS}
    | {
        "axpby": _call("gemv", "float", TILES["rows"], True, True),
        "t_axpby": _call("gemv_t", "float", TILES_T["columns"], True, True),
    },
    fixed={"bool gemv_wide_has_batch": "false", "bool gemv_wide_do_axpby": "true"},
)
OTHER = Family(
    "gemv_other",
    ("gemv.h",),
    (*_INPUTS, "m", "vec_ld", "bias_ld", "vec_batches", "vec_dims", "mat_batches", "mat_dims", "vec_index", "mat_index"),
    ("y",),
    {f"wide_{v}_{lanes}_{t}": _wide(t, v, lanes) for t in ("half", "bfloat16_t") for v, lanes in ((3, 32), (4, 16))}
    | {"gemv_gather": _gather("gemv_gather", TILES["rows"]), "gemv_t_gather": _gather("gemv_t_gather", TILES_T["columns"])},
    fixed=GEMV.fixed,
)
_NONE = mx.zeros((8,))


def _plain(mat: mx.array, vec: mx.array, n_in: int, n_out: int, ld: int) -> list:
    return [mat, vec, _NONE, n_in, n_out, ld, 1.0, 0.0, 1, [1], strides(0), strides(0), strides(0), 1]


def _launch(tiles: tuple[int, ...], n_out: int, transposed: bool) -> dict:
    bm, bn, sm, sn, tm, tn = tiles
    per_group = bn * sn * tn if transposed else bm * sm * tm
    return {"groups": (-(-n_out // per_group), 1), "threadgroup": (32, bn, bm)}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("tiles", "n_out", "n_in"), [("rows", 32, 256), ("rows", 44, 300), ("short", 72, 50), ("few", 3, 200)])
def test_rows(tiles: str, n_out: int, n_in: int, dtype: str, sanitize: bool) -> None:
    rng = np.random.default_rng(1)
    t = FLOATS[dtype]
    mat, a = normal(rng, (n_out, n_in), t)
    vec, x = normal(rng, (n_in,), t)
    launch = _launch(TILES[tiles], n_out, False)
    (got,) = GEMV.run(f"{tiles}_{dtype}", _plain(mat, vec, n_in, n_out, n_in), [((n_out,), t)], sanitize=sanitize, **launch)
    close(got, a @ x, t)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("tiles", "n_out", "n_in"), [("columns", 64, 100), ("columns", 96, 32), ("wide", 512, 70)])
def test_columns(tiles: str, n_out: int, n_in: int, dtype: str, sanitize: bool) -> None:
    rng = np.random.default_rng(2)
    t = FLOATS[dtype]
    mat, a = normal(rng, (n_in, n_out), t)
    vec, x = normal(rng, (n_in,), t)
    launch = _launch(TILES_T[tiles], n_out, True)
    (got,) = GEMV.run(f"t_{tiles}_{dtype}", _plain(mat, vec, n_in, n_out, n_out), [((n_out,), t)], sanitize=sanitize, **launch)
    close(got, x @ a, t)


@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
def test_batched_with_bias(transposed: bool, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    n_in, n_out = 96, 64
    mats, a = normal(rng, (2, 3, n_in, n_out) if transposed else (2, 3, n_out, n_in), mx.float32)
    vecs, x = normal(rng, (3, n_in), mx.float32)  # the same for both of the first batch axis
    bias, b = normal(rng, (2, n_out, 2), mx.float32)  # every second element
    area = n_in * n_out
    args = [mats, vecs, bias, n_in, n_out, n_out if transposed else n_in, 0.5, 2.0, 2, [2, 3]]
    args += [strides(0, n_in), strides(3 * area, area), strides(2 * n_out, 0), 2]
    launch = _launch((TILES_T["columns"] if transposed else TILES["rows"]), n_out, transposed)
    launch["groups"] = (*launch["groups"], 6)
    (got,) = GEMV.run("t_axpby" if transposed else "axpby", args, [((2, 3, n_out), mx.float32)], sanitize=sanitize, **launch)
    product = np.einsum("bcio,ci->bco" if transposed else "bcoi,ci->bco", a, x)
    close(got, 0.5 * product + 2.0 * b[:, None, :, 0], mx.float32)


@pytest.mark.parametrize("dtype", ["half", "bfloat16_t"])
@pytest.mark.parametrize(("vectors", "lanes", "m", "n", "k"), [(3, 32, 3, 10, 300), (4, 16, 7, 70, 1040)])
def test_several_vectors(vectors: int, lanes: int, m: int, n: int, k: int, dtype: str, sanitize: bool) -> None:
    rng = np.random.default_rng(4)
    t = FLOATS[dtype]
    mat, a = normal(rng, (n, k), t)
    vec, x = normal(rng, (m, k), t)
    bias, b = normal(rng, (n,), t)
    args = [mat, vec, bias, k, n, k, 1.5, 1.0, 1, [1], strides(0), strides(0), strides(0), 1, m, k, 0, 1, [1], 1, [1], _NONE, _NONE]
    launch = {"groups": (-(-m // vectors), -(-n // 4)), "threadgroup": (32, lanes // 8)}
    (got,) = OTHER.run(f"wide_{vectors}_{lanes}_{dtype}", args, [((m, n), t)], sanitize=sanitize, **launch)
    close(got, 1.5 * x @ a.T + b, t)


@pytest.mark.parametrize("transposed", [False, True], ids=["rows", "columns"])
def test_gathered(transposed: bool, sanitize: bool) -> None:
    rng = np.random.default_rng(5)
    n_in, n_out = 128, 64
    mats, a = normal(rng, (4, n_in, n_out) if transposed else (4, n_out, n_in), mx.float16)
    vecs, x = normal(rng, (3, n_in), mx.float16)
    left, right = np.array([2, 0, 1, 2, 2], np.uint32), np.array([3, 3, 0, 1, 2], np.uint32)
    args = [mats, vecs, _NONE, n_in, n_out, n_out if transposed else n_in, 1.0, 0.0]
    args += [1, [5], strides(n_in), strides(n_in * n_out), strides(1, 1), 1, 0, 0, 0, 1, [3], 1, [4], mx.array(left), mx.array(right)]
    launch = _launch((TILES_T["columns"] if transposed else TILES["rows"]), n_out, transposed)
    launch["groups"] = (*launch["groups"], 5)
    (got,) = OTHER.run("gemv_t_gather" if transposed else "gemv_gather", args, [((5, n_out), mx.float16)], sanitize=sanitize, **launch)
    close(got, np.einsum("bio,bi->bo" if transposed else "boi,bi->bo", a[right], x[left]), mx.float16)
