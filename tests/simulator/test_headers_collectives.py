"""What the lanes of a simdgroup do together, against NumPy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from zmlx.simulator import MetalCompileError, SanitizerError

sys.path.append(str(Path(__file__).parent / "headers"))
from lane_run import ROUNDING, bfloat, launch

LANES = 32
THREADS = 72  # two full simdgroups and one of eight lanes
LANE = np.arange(THREADS) % LANES
SIZE = np.minimum(LANES, THREADS - np.arange(THREADS) // LANES * LANES)  # of the simdgroup that a thread is in


def table(before: str, expressions: Sequence[str], inputs: dict[str, mx.array], dtype: mx.Dtype, **options: Any) -> np.ndarray:
    """Row k: expression k of each thread `i`, all of them on one line, where a collective must still be told from the next."""
    stores = " ".join(f"out[{k} * {THREADS} + i] = {e};" for k, e in enumerate(expressions))
    source = f"const uint i = thread_position_in_grid.x, lane = thread_index_in_simdgroup; {before}\n{stores}"
    return launch(source, inputs, (len(expressions), THREADS), dtype, THREADS, **options)


def folded(op: Callable[[Any, Any], Any], x: np.ndarray, start: Any, inclusive: bool, width: int = LANES) -> np.ndarray:
    """The prefixes of each group of lanes, from the lowest lane on."""
    out = np.empty_like(x)
    for first in range(0, THREADS, LANES):
        for group in range(first, min(first + LANES, THREADS), width):
            total: Any = start
            for i in range(group, min(group + width, THREADS, first + LANES)):
                new = op(total, x[i])
                out[i] = new if inclusive else total
                total = new
    return out


def whole(prefixes: np.ndarray, width: int = LANES) -> np.ndarray:
    """For each lane the last of its group's inclusive prefixes."""
    i = np.arange(THREADS)
    start = i // LANES * LANES
    last = np.minimum(np.minimum(start + (i - start) // width * width + width, start + LANES), THREADS) - 1
    return prefixes[last]


# ---- reductions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sanitize", [False, True])
def test_reductions_and_prefixes_of_floats(sanitize: bool) -> None:
    x = np.random.default_rng(1).normal(0, 1, THREADS).astype(np.float32)
    x[66], x[70] = np.nan, -np.inf
    functions = [
        "sum",
        "product",
        "min",
        "max",
        "prefix_inclusive_sum",
        "prefix_exclusive_sum",
        "prefix_inclusive_product",
        "prefix_exclusive_product",
    ]
    cases = [(t, p, f) for t in ROUNDING for p, f in [("simd", f) for f in functions] + [("quad", f) for f in functions]]
    got = table("", [f"float({p}_{f}({t}(x[i])))" for t, p, f in cases], {"x": mx.array(x)}, mx.float32, sanitize=sanitize)
    for (t, p, f), g in zip(cases, got, strict=True):
        rounding, width = ROUNDING[t], LANES if p == "simd" else 4

        # MLX's preamble has simd functions of its own for bfloat, which compute in float and round the end.
        last = rounding if (t, p) == ("bfloat", "simd") else np.float32
        each = np.float32 if (t, p) == ("bfloat", "simd") else rounding

        def once(op: Callable[[Any, Any], Any], each: Callable[[Any], Any] = each) -> Callable[[Any, Any], Any]:
            return lambda a, b: np.float32(each(op(np.float32(a), np.float32(b))))

        v = rounding(x).astype(np.float32)
        with np.errstate(all="ignore"):
            if "sum" in f or "product" in f:
                op, start = (once(np.add), 0.0) if "sum" in f else (once(np.multiply), 1.0)
                want = folded(op, v, start, "exclusive" not in f, width)
                want = want if "prefix" in f else whole(want, width)
            else:
                op, start = (np.fmin, np.inf) if f == "min" else (np.fmax, -np.inf)
                want = whole(folded(op, v, start, True, width), width)
            want = last(want)
        np.testing.assert_array_equal(g, want, err_msg=f"{p}_{f} of {t}")


INTEGERS = {"char": np.int8, "uchar": np.uint8, "short": np.int16, "ushort": np.uint16, "int": np.int32, "uint": np.uint32}


def test_reductions_and_prefixes_of_integers_wrap() -> None:
    x = np.random.default_rng(2).integers(-(1 << 31), 1 << 31, THREADS).astype(np.int32)
    functions: dict[str, tuple[Callable[[Any, Any], Any], int | None]] = {
        "sum": (np.add, 0), "product": (np.multiply, 1), "min": (np.minimum, None), "max": (np.maximum, None), "and": (np.bitwise_and, -1),
        "or": (np.bitwise_or, 0), "xor": (np.bitwise_xor, 0), "prefix_inclusive_sum": (np.add, 0), "prefix_exclusive_sum": (np.add, 0),
        "prefix_inclusive_product": (np.multiply, 1), "prefix_exclusive_product": (np.multiply, 1),
    }  # fmt: skip
    cases = [(t, p, f) for t in INTEGERS for p in ("simd", "quad") for f in functions]
    got = table("", [f"long({p}_{f}({t}(x[i])))" for t, p, f in cases], {"x": mx.array(x)}, mx.int64)
    for (t, p, f), g in zip(cases, got, strict=True):
        v, (op, start), width = x.astype(INTEGERS[t]), functions[f], LANES if p == "simd" else 4
        limits = np.iinfo(v.dtype)
        first = {"min": limits.max, "max": limits.min}[f] if start is None else start
        with np.errstate(all="ignore"):
            want = folded(op, v, np.array(first).astype(v.dtype), "exclusive" not in f, width)
        np.testing.assert_array_equal(g, want if "prefix" in f else whole(want, width), err_msg=f"{p}_{f} of {t}")


def test_vectors_are_reduced_by_element() -> None:
    x = np.random.default_rng(3).integers(-50, 50, (THREADS, 4)).astype(np.int32)
    got = table(
        "const int4 v = ((const device int4*)x)[i];",
        ["simd_sum(v).x", "simd_max(v).y", "simd_prefix_exclusive_sum(v).z", "simd_shuffle_xor(v, ushort(1)).w",
         "int(simd_sum(half2(v.xy)).y)",
         "int(simd_sum(v.zw).y)", "simd_or(v).w", "quad_sum(v).x"],
        {"x": mx.array(x)},
        mx.int32,
    )  # fmt: skip
    a, b, c, d = x.T
    swapped = np.arange(THREADS) ^ 1
    want = [whole(folded(np.add, a, 0, True)), whole(folded(np.maximum, b, -999, True)), folded(np.add, c, 0, False), d[swapped],
            whole(folded(np.add, b, 0, True)), whole(folded(np.add, d, 0, True)), whole(folded(np.bitwise_or, d, 0, True)),
            whole(folded(np.add, a, 0, True, 4), 4)]  # fmt: skip
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, w, err_msg=str(k))


# ---- shuffles ---------------------------------------------------------------------------------------------------------

# name: (arguments after the value, the lane that each lane takes from, of `l` in a group of `w` lanes)
SHUFFLES: dict[str, tuple[str, Callable[[np.ndarray, int], np.ndarray]]] = {
    "shuffle": ("ushort((lane * 7 + 3) % {w})", lambda lane, w: (lane * 7 + 3) % w),
    "broadcast": ("ushort(2)", lambda lane, w: lane * 0 + 2),
    "shuffle_xor": ("ushort(3)", lambda lane, w: lane % w ^ 3),
    "shuffle_up": ("ushort(2)", lambda lane, w: lane % w - 2),
    "shuffle_down": ("ushort(2)", lambda lane, w: lane % w + 2),
    "shuffle_rotate_up": ("ushort(3)", lambda lane, w: (lane % w - 3) % w),
    "shuffle_rotate_down": ("ushort(3)", lambda lane, w: (lane % w + 3) % w),
}


@pytest.mark.parametrize("prefix", ["simd", "quad"])
def test_shuffles_of_every_type(prefix: str) -> None:
    x = np.random.default_rng(4).integers(0, 100, THREADS).astype(np.int32)
    types, width = ["float", "half", "bfloat", *INTEGERS], 32 if prefix == "simd" else 4
    cases = [(t, name) for t in types for name in SHUFFLES]
    calls = [f"int({prefix}_{name}({t}(x[i]), {SHUFFLES[name][0].format(w=width)}))" for t, name in cases]
    got = table("", calls, {"x": mx.array(x)}, mx.int32)
    i = np.arange(THREADS)
    base = i // LANES * LANES + LANE // width * width
    for (t, name), g in zip(cases, got, strict=True):
        source = SHUFFLES[name][1](LANE, width)
        there = source < np.minimum(width, SIZE)  # what an absent lane gives is not defined
        kept = (source < 0) | (source >= width)  # beyond the end, a lane keeps its own
        want = np.where(kept, x, x[np.clip(base + source, 0, THREADS - 1)])
        np.testing.assert_array_equal(g[there | kept], want[there | kept], err_msg=f"{prefix}_{name} of {t}")


def test_broadcasts_and_fills() -> None:
    n = 64
    x = np.random.default_rng(5).integers(0, 1000, n).astype(np.int32)
    got = launch(
        f"""uint i = thread_position_in_grid.x; int v = x[i], f = 10000 + v; bfloat b = bfloat(v); half2 h = half2(v, f);
        out[i] = simd_broadcast_first(v);
        out[{n} + i] = simd_shuffle_and_fill_up(v, f, ushort(3));
        out[{2 * n} + i] = simd_shuffle_and_fill_down(v, f, ushort(3));
        out[{3 * n} + i] = simd_shuffle_and_fill_up(v, f, ushort(3), ushort(8));
        out[{4 * n} + i] = simd_shuffle_and_fill_down(v, f, ushort(3), ushort(8));
        out[{5 * n} + i] = quad_broadcast(v, ushort(3));
        out[{6 * n} + i] = int(simd_shuffle_and_fill_up(b, bfloat(-1), ushort(1)));
        out[{7 * n} + i] = int(simd_shuffle_down(h, ushort(1)).x);
        out[{8 * n} + i] = simd_shuffle_down(i % 3 == 0, ushort(1));
        out[{9 * n} + i] = int(simd_shuffle_xor(long(v) << 40, ushort(1)) >> 40);
        out[{10 * n} + i] = quad_shuffle_and_fill_up(v, f, ushort(1));
        out[{11 * n} + i] = quad_shuffle_and_fill_down(v, f, ushort(1));
        """,
        {"x": mx.array(x)}, (12, n), mx.int32, n,
    )  # fmt: skip
    fill = 10000 + x
    v, f = x.reshape(-1, 32), fill.reshape(-1, 32)
    v8, f8 = x.reshape(-1, 8), fill.reshape(-1, 8)
    b = bfloat(x).reshape(-1, 32).astype(np.int32)
    h = x.astype(np.float16).astype(np.int32).reshape(-1, 32)
    third = (np.arange(n) % 3 == 0).astype(np.int32).reshape(-1, 32)
    want = [
        np.repeat(v[:, :1], 32, 1),
        np.concatenate([f[:, -3:], v[:, :-3]], 1),
        np.concatenate([v[:, 3:], f[:, :3]], 1),
        np.concatenate([f8[:, -3:], v8[:, :-3]], 1),
        np.concatenate([v8[:, 3:], f8[:, :3]], 1),
        np.repeat(x.reshape(-1, 4)[:, 3], 4),
        np.concatenate([np.full((2, 1), -1), b[:, :-1]], 1),
        np.concatenate([h[:, 1:], h[:, -1:]], 1),
        np.concatenate([third[:, 1:], third[:, -1:]], 1),
        x.reshape(-1, 2)[:, ::-1],
        np.concatenate([fill.reshape(-1, 4)[:, -1:], x.reshape(-1, 4)[:, :-1]], 1),
        np.concatenate([x.reshape(-1, 4)[:, 1:], fill.reshape(-1, 4)[:, :1]], 1),
    ]
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, np.asarray(w).reshape(-1), err_msg=str(k))


# ---- votes ------------------------------------------------------------------------------------------------------------


def test_votes() -> None:
    x = np.random.default_rng(6).integers(0, 2, THREADS).astype(np.int32)
    x[64:] = 1
    got = table(
        "const bool b = x[i];",
        ["(simd_vote::vote_t)simd_ballot(b)", "simd_all(b)", "simd_any(b)", "simd_all(true)", "simd_any(false)", "simd_ballot(b).all()",
         "simd_ballot(b).any()", "(simd_vote::vote_t)simd_active_threads_mask()", "simd_is_first()", "quad_all(b)", "quad_any(b)"],
        {"x": mx.array(x)},
        mx.uint64,
    )  # fmt: skip
    ballot = np.zeros(THREADS, np.uint64)
    active = np.where(SIZE == 32, np.uint64(0xFFFFFFFF), np.uint64(0xFF))
    for first in range(0, THREADS, LANES):
        votes = x[first : first + LANES].astype(np.uint64)
        ballot[first : first + LANES] = np.sum(votes << np.arange(votes.size, dtype=np.uint64), dtype=np.uint64)
    quads = x.reshape(-1, 4)
    want = [
        ballot,
        ballot == active,
        ballot != 0,
        1,
        0,
        ballot == active,
        ballot != 0,
        active,
        LANE == 0,
        np.repeat(quads.all(1), 4),
        np.repeat(quads.any(1), 4),
    ]
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, np.broadcast_to(w, THREADS).astype(np.uint64), err_msg=str(k))


def test_lanes_that_ended_do_not_take_part() -> None:
    """Metal's collectives work on the active lanes; those that returned early are none."""
    got = launch(
        "uint i = thread_position_in_grid.x; if (i % 2 == 1) return; out[i] = simd_sum(x[i]);"
        "out[64 + i] = (uint)(ulong)simd_active_threads_mask(); out[128 + i] = simd_is_first();"
        "out[192 + i] = simd_prefix_exclusive_sum(1u);",
        {"x": mx.arange(64, dtype=mx.uint32)}, (4, 64), mx.uint32, 64, sanitize=True,
    )  # fmt: skip
    even = np.arange(0, 64, 2)
    np.testing.assert_array_equal(got[0][even], np.where(even < 32, np.arange(0, 32, 2).sum(), np.arange(32, 64, 2).sum()))
    assert set(got[1][even]) == {0x55555555}
    np.testing.assert_array_equal(got[2][even], even % 32 == 0)
    np.testing.assert_array_equal(got[3][even], even % 32 // 2)


def test_a_divergent_collective_is_reported_at_its_line() -> None:
    lines = [
        "uint i = thread_position_in_grid.x;",
        "float s = 0;",
        "if (i < 8)",
        "s = simd_sum(x[i]);",
        "else",
        "s = simd_max(x[i]);",
        "out[i] = s;",
    ]
    source = "\n".join(lines)
    with pytest.raises(SanitizerError) as caught:
        launch(source, {"x": mx.arange(32, dtype=mx.float32)}, (32,), mx.float32, 32, sanitize=True)
    (report,) = caught.value.reports
    assert report.kind == "divergent-simd" and report.line and report.line.number in (4, 6), report


def test_barriers_take_a_scope() -> None:
    source = """
    threadgroup float shared[64];
    const uint i = thread_position_in_grid.x;
    shared[i] = x[i];
    threadgroup_barrier(mem_flags::mem_threadgroup, thread_scope_threadgroup);
    const float other = shared[63 - i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    shared[i] = other;
    simdgroup_barrier(mem_flags::mem_threadgroup, thread_scope_simdgroup);
    out[i] = shared[i ^ 1];
    """
    x = np.arange(64, dtype=np.float32)
    np.testing.assert_array_equal(launch(source, {"x": mx.array(x)}, (64,), mx.float32, 64, sanitize=True), x[::-1][np.arange(64) ^ 1])


@pytest.mark.parametrize(
    "call", ["simd_sum(true)", "simd_max(long(1))", "quad_sum(ulong2(1))", "simd_prefix_inclusive_sum(long(1))", "simd_and(1.0f)"]
)
def test_reductions_that_metal_lacks_do_not_compile(call: str) -> None:
    """None takes a bool or 64 bits (MLX has functions of its own for those), nor bits of a floating-point number."""
    with pytest.raises(MetalCompileError, match="source:2") as caught:
        launch(f"\n{call};", {"x": mx.zeros(1)}, (1,), mx.int32, 32)
    assert call.partition("(")[0] in str(caught.value)
