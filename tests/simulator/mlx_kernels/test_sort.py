"""MLX's sorts: in one block (along the last axis, another, or any strides), in several blocks, and by index; searchsorted."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import GRID, GRID_SIZE, GROUP, THREAD, THREADS, Family, flags, long, reads, strides, writes

BLOCK_THREADS, PER_THREAD = 32, 4
BLOCK = BLOCK_THREADS * PER_THREAD
TYPES = {"float": mx.float32, "half": mx.float16, "bfloat16_t": mx.bfloat16, "int32_t": mx.int32, "uint8_t": mx.uint8}
NUMPY = {"float": np.float32, "half": np.float16, "bfloat16_t": np.float32, "int32_t": np.int32, "uint8_t": np.uint8}

CALLS: dict[str, str] = {}
for t in TYPES:
    for arg in (False, True):
        u, name = ("uint32_t", f"arg_{t}") if arg else (t, t)
        types = f"<{t}, {u}, {flags(arg)}, {BLOCK_THREADS}, {PER_THREAD}>"
        given = f"{reads(t, 'x')}, {writes(u, 'y')}, axis, step_in, step_out"
        CALLS[f"block_{name}"] = f"block_sort{types}({given}, segment_in, segment_out, {GROUP}, {THREAD})"
        if t == "float":
            CALLS[f"any_{name}"] = f"block_sort_nc{types}({given}, rank, dims, steps_in, steps_out, {GROUP}, {THREAD})"
CALLS["wide"] = CALLS["block_float"].replace(f"{BLOCK_THREADS}, {PER_THREAD}", "256, 4")
SORT = Family(
    "sort",
    ("sort.h",),
    ("x", "axis", "step_in", "step_out", "segment_in", "segment_out", "rank", "dims", "steps_in", "steps_out"),
    ("y",),
    CALLS,
)

_MERGE = f"<float, uint32_t, true, {BLOCK_THREADS}, {PER_THREAD}>"
_PLACE = f"{GROUP}, {THREAD}"
_GIVEN = f"{reads('float', 'x')}, {reads('uint32_t', 'indices')}"
_SORTED = f"{writes('float', 'y')}, {writes('uint32_t', 'order')}"
MULTI = Family(
    "sort_blocks",
    ("sort.h", "searchsorted.h"),
    ("x", "indices", "partitions", "axis", "tiles", "blocks", "rank", "dims", "steps"),
    ("y", "order"),
    {
        "sort": f"mb_block_sort{_MERGE}({reads('float', 'x')}, {_SORTED}, axis, tiles, rank, dims, steps, {_PLACE})",
        "partition": f"mb_block_partition{_MERGE}({writes('uint32_t', 'order')}, {_GIVEN}, axis, tiles, blocks, {_PLACE}, {THREADS})",
        "merge": f"mb_block_merge{_MERGE}({reads('uint32_t', 'partitions')}, {_GIVEN}, {_SORTED}, axis, tiles, blocks, {_PLACE})",
    },
)
SEARCH = Family(
    "searchsorted",
    ("sort.h", "searchsorted.h"),
    ("x", "v", "n", "step"),
    ("y",),
    {
        side: f"searchsorted<float, {right}>({reads('float', 'x', 'v')}, {writes('uint', 'y')}, n, step, {GRID}, {GRID_SIZE})"
        for side, right in (("left", "false"), ("right", "true"))
    },
)
_ANY = [1, [1], strides(0), strides(0)]


def _values(rng: np.random.Generator, t: str, shape: tuple[int, ...]) -> np.ndarray:
    if t in ("int32_t", "uint8_t"):
        return rng.integers(0, 200, shape).astype(NUMPY[t])
    whole = rng.integers(-100, 100, shape) / 4  # exact in bfloat, with repeats
    return whole.astype(NUMPY[t])


@pytest.mark.parametrize("t", TYPES)
@pytest.mark.parametrize("axis", [1, 5, 100, 128])
def test_one_block(axis: int, t: str, sanitize: bool) -> None:
    x = _values(np.random.default_rng(axis), t, (4, axis))
    args = [mx.array(x).astype(TYPES[t]), axis, 1, 1, axis, axis, *_ANY]
    launch = {"groups": (1, 4), "threadgroup": (BLOCK_THREADS,), "sanitize": sanitize}
    (got,) = SORT.run(f"block_{t}", args, [(x.shape, TYPES[t])], **launch)
    np.testing.assert_array_equal(got, np.sort(x, -1))
    (order,) = SORT.run(f"block_arg_{t}", args, [(x.shape, mx.uint32)], **launch)
    np.testing.assert_array_equal(order, np.argsort(x, -1, kind="stable"))


def test_wide_block(sanitize: bool) -> None:
    x = np.random.default_rng(1).standard_normal((2, 1000)).astype(np.float32)
    x[0, ::100] = np.nan
    args = [mx.array(x), 1000, 1, 1, 1000, 1000, *_ANY]
    (got,) = SORT.run("wide", args, [(x.shape, mx.float32)], groups=(1, 2), threadgroup=(256,), sanitize=sanitize)
    np.testing.assert_array_equal(got, np.sort(x, -1))  # NaN last, as in NumPy


def test_other_axes(sanitize: bool) -> None:
    x = np.random.default_rng(2).standard_normal((3, 50, 7)).astype(np.float32)
    launch = {"groups": (1, 7), "threadgroup": (BLOCK_THREADS,), "sanitize": sanitize}
    args = [mx.array(x[0]), 50, 7, 7, 1, 1, *_ANY]
    (got,) = SORT.run("block_float", args, [(x[0].shape, mx.float32)], **launch)
    np.testing.assert_array_equal(got, np.sort(x[0], 0))

    args = [mx.array(x), 50, 7, 7, 0, 0, 2, [3, 7], strides(350, 1), strides(350, 1)]
    launch = {"groups": (1, 21), "threadgroup": (BLOCK_THREADS,), "sanitize": sanitize}
    (got,) = SORT.run("any_float", args, [(x.shape, mx.float32)], **launch)
    np.testing.assert_array_equal(got, np.sort(x, 1))
    (order,) = SORT.run("any_arg_float", args, [(x.shape, mx.uint32)], **launch)
    np.testing.assert_array_equal(order, np.argsort(x, 1, kind="stable"))


@pytest.mark.parametrize("axis", [129, 500, 700])
def test_many_blocks(axis: int, sanitize: bool) -> None:
    rows = 2
    x = np.random.default_rng(axis).standard_normal((rows, axis)).astype(np.float32)
    blocks = -(-axis // BLOCK)
    outputs = [((rows, axis), mx.float32), ((rows, axis), mx.uint32)]
    launch = {"threadgroup": (BLOCK_THREADS,), "sanitize": sanitize}
    unused = mx.zeros((8,), mx.uint32)
    where = [1, [rows], strides(axis)]
    values, order = MULTI.run("sort", [mx.array(x), unused, unused, axis, 1, blocks, *where], outputs, groups=(blocks, rows), **launch)
    tiles = 2
    while tiles // 2 < blocks:
        now = [mx.array(values), mx.array(order)]
        threads = blocks + 1
        _, cuts = MULTI.run(
            "partition",
            [*now, unused, axis, tiles, blocks, *where],
            [((1,), mx.float32), ((rows, threads), mx.uint32)],
            groups=(1, rows),
            threadgroup=(threads,),
            sanitize=sanitize,
            init_value=0,
        )
        values, order = MULTI.run("merge", [*now, mx.array(cuts), axis, tiles, blocks, *where], outputs, groups=(blocks, rows), **launch)
        tiles *= 2
    np.testing.assert_array_equal(values, np.sort(x, -1))
    np.testing.assert_array_equal(order, np.argsort(x, -1, kind="stable"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: str, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    x, v = np.sort(rng.integers(0, 20, 50)).astype(np.float32), rng.integers(-2, 22, 60).astype(np.float32)
    (got,) = SEARCH.run(
        side, [mx.array(x), mx.array(v), np.uint32(50), long(1)], [((60,), mx.uint32)], threads=(60,), threadgroup=(32,), sanitize=sanitize
    )
    np.testing.assert_array_equal(got, np.searchsorted(x, v, side))  # type: ignore[call-overload]
