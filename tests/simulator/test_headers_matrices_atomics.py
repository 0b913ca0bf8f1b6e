"""Simdgroup matrices and atomics against NumPy, and what the sanitizer sees of them."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from zmlx.simulator import MetalCompileError, SanitizerError

sys.path.append(str(Path(__file__).parent / "headers"))
from lane_run import ROUNDING, launch

# ---- simdgroup matrices -----------------------------------------------------------------------------------------------

MATRIX_TYPES = {t: (d, ROUNDING[t]) for t, d in (("float", mx.float32), ("half", mx.float16), ("bfloat", mx.bfloat16))}


def product(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a · b + c in float, column by column."""
    total = c.astype(np.float32)
    for k in range(8):
        total = total + a[:, k : k + 1].astype(np.float32) * b[k : k + 1, :].astype(np.float32)
    return total


@pytest.mark.parametrize(("t", "accumulator"), [(t, a) for t in ROUNDING for a in sorted({t, "float"})])
def test_matrix_products(t: str, accumulator: str) -> None:
    random = np.random.default_rng(7)
    dtype, rounding = MATRIX_TYPES[t]
    out, last = MATRIX_TYPES[accumulator]
    a, b, c = (random.normal(0, 1, (12, 20)).astype(np.float32) for _ in range(3))
    source = f"""
    const uint i = thread_position_in_grid.x;
    threadgroup {t} shared[12 * 20];
    for (uint k = i; k < 240; k += 32) shared[k] = {t}(a[k]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    simdgroup_matrix<{t}, 8, 8> A, B;
    simdgroup_matrix<{accumulator}, 8, 8> C, D;
    simdgroup_load(A, shared, 20, ulong2(3, 2));
    simdgroup_load(B, b + 4, 20, ulong2(0, 1), true);
    simdgroup_load(C, c, 20);
    simdgroup_multiply_accumulate(D, A, B, C);
    simdgroup_store(D, out, 8);
    simdgroup_multiply(D, A, B);
    simdgroup_store(D, out + 64, 8, ulong2(0, 0), true);
    simdgroup_multiply_accumulate(C, A, B, C);
    simdgroup_store(C, out + 128, 16, ulong2(8, 0));
    """
    inputs = {"a": mx.array(a).astype(dtype), "b": mx.array(b).astype(dtype), "c": mx.array(c).astype(out)}
    got = launch(source, inputs, (256,), out, 32, sanitize=True)
    # the origin of a transposed load counts in memory's own rows and columns
    A, B, C = rounding(a)[2:10, 3:11], rounding(b)[1:9, 4:12].T, last(c)[:8, :8]
    want = last(product(A, B, C)).astype(np.float32)
    np.testing.assert_array_equal(got[:64].reshape(8, 8), want)
    plain = last(product(A, B, np.zeros((8, 8)))).astype(np.float32)
    np.testing.assert_array_equal(got[64:128].reshape(8, 8), plain.T)
    np.testing.assert_array_equal(got[128:].reshape(8, 16)[:, 8:], want)
    assert not got[128:].reshape(8, 16)[:, :8].any()


def test_matrix_elements_of_lanes_diagonals_and_fills() -> None:
    got = launch(
        """
        const uint i = thread_position_in_grid.x;
        simdgroup_matrix<float, 8, 8> M = make_filled_simdgroup_matrix<float, 8>(0.5f);
        M.thread_elements()[0] = float(i);
        M.thread_elements()[1] = float(i) + 100;
        simdgroup_store(M, out, 8);
        simdgroup_float8x8 I(3.0f);
        simdgroup_store(I, out + 64, 8);
        auto F = make_filled_simdgroup_matrix<float, 8, 8>(7.0f);
        simdgroup_store(F, out + 128, 8);
        """,
        {"x": mx.zeros(1)}, (3, 8, 8), mx.float32, 32, sanitize=True,
    )  # fmt: skip
    lane = np.arange(32)
    row, column = (lane // 4 & 4) + lane // 2 % 4, (lane // 4 & 2) * 2 + lane % 2 * 2  # where Apple's GPUs have them
    want = np.empty((8, 8))
    want[row, column], want[row, column + 1] = lane, lane + 100
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[1], 3 * np.eye(8))
    np.testing.assert_array_equal(got[2], np.full((8, 8), 7))


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("simdgroup_load(M, x + 1, 8); simdgroup_store(M, out, 8);", "out-of-bounds"),
        ("simdgroup_load(M, x, 9); simdgroup_store(M, out, 8);", "out-of-bounds"),
        ("simdgroup_load(M, x, 8); simdgroup_store(M, out, 9);", "out-of-bounds"),
        ("threadgroup float t[64]; simdgroup_load(M, t, 8); simdgroup_store(M, out, 8);", "uninitialised-threadgroup"),
        ("threadgroup float t[64]; t[thread_position_in_grid.x] = 1; t[63 - thread_position_in_grid.x] = 1; simdgroup_load(M, x, 8);"
         "simdgroup_store(M, t, 8); simdgroup_store(M, out, 8);", "race"),
    ],
)  # fmt: skip
def test_what_matrices_touch_is_checked(source: str, kind: str) -> None:
    with pytest.raises(SanitizerError) as caught:
        launch(f"simdgroup_float8x8 M;\n{source}", {"x": mx.zeros(64)}, (64,), mx.float32, 64 if kind == "race" else 32, sanitize=True)
    assert kind in {r.kind for r in caught.value.reports}
    assert all(r.line and r.line.number == 2 for r in caught.value.reports), caught.value


# ---- atomics ----------------------------------------------------------------------------------------------------------


def test_atomics_over_many_threadgroups() -> None:
    n = 4096
    x = np.random.default_rng(8).integers(-1000, 1000, n).astype(np.int32)
    source = """
    const uint i = thread_position_in_grid.x;
    const int v = x[i];
    device atomic_int* a = (device atomic_int*)out;
    atomic_fetch_add_explicit(&a[0], v, memory_order_relaxed);
    atomic_fetch_sub_explicit(&a[1], v, memory_order_relaxed);
    atomic_fetch_min_explicit(&a[2], v, memory_order_relaxed);
    atomic_fetch_max_explicit(&a[3], v, memory_order_relaxed);
    atomic_fetch_or_explicit(&a[4], v, memory_order_relaxed);
    atomic_fetch_xor_explicit(&a[5], v, memory_order_relaxed);
    atomic_fetch_and_explicit((device atomic_uint*)&a[6], uint(v) | 0xff, memory_order_relaxed);
    atomic_fetch_add_explicit((device atomic_float*)&a[7], 1.0f, memory_order_relaxed);
    int old = atomic_load_explicit(&a[8], memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&a[8], &old, old + 2, memory_order_relaxed, memory_order_relaxed)) {}
    uint seen = atomic_fetch_add_explicit((device atomic_uint*)&a[9], 1u, memory_order_relaxed);
    if (seen == threads_per_grid.x - 1) atomic_store_explicit(&a[10], 77, memory_order_relaxed);
    atomic_exchange_explicit(&a[11], 5, memory_order_relaxed);
    """
    for sanitize in (False, True):
        got = launch(source, {"x": mx.array(x)}, (12,), mx.int32, n, 64, sanitize=sanitize)
        want = [x.sum(), -x.sum(), min(x.min(), 0), max(x.max(), 0), np.bitwise_or.reduce(x), np.bitwise_xor.reduce(x), 0,
                np.float32(n).view(np.int32), 2 * n, n, 77, 5]  # fmt: skip
        np.testing.assert_array_equal(got, want)


def test_atomics_of_64_bits() -> None:
    x = np.random.default_rng(9).integers(0, 1 << 62, 512).astype(np.uint64)
    source = """
    device atomic_ulong* a = (device atomic_ulong*)out;
    atomic_max_explicit(&a[0], x[thread_position_in_grid.x], memory_order_relaxed);
    atomic_min_explicit(&a[1], x[thread_position_in_grid.x], memory_order_relaxed);
    """
    np.testing.assert_array_equal(launch(source, {"x": mx.array(x)}, (2,), mx.uint64, 512, 64, sanitize=True), [x.max(), 0])


@pytest.mark.parametrize(
    "lock",
    [
        "while (atomic_exchange_explicit(&lock, 1u, memory_order_relaxed) != 0u) {}",
        "uint free = 0;"
        "while (!atomic_compare_exchange_weak_explicit(&lock, &free, 1u, memory_order_relaxed, memory_order_relaxed)) free = 0;",
        "while (atomic_fetch_or_explicit(&lock, 1u, memory_order_relaxed) != 0u) {}",
    ],
)
def test_a_lock_between_simdgroups_is_let_go(lock: str) -> None:
    """A thread that waits for another's lock gives way to it."""
    source = f"""
    threadgroup atomic_uint lock, other; threadgroup int count;
    const uint i = thread_position_in_grid.x;
    if (i == 0) {{
      atomic_store_explicit(&lock, 0u, memory_order_relaxed);
      atomic_store_explicit(&other, 0u, memory_order_relaxed);
      count = 0;
    }}
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (i % 32 == 0) {{
      {lock}
      const int before = count;
      for (int k = 0; k < 4; k++) atomic_load_explicit(&other, memory_order_relaxed);  // others run meanwhile
      count = before + 1;
      atomic_store_explicit(&lock, 0u, memory_order_relaxed);
    }}
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (i == 0) out[0] = count;
    """
    assert launch(source, {"x": mx.zeros(1)}, (1,), mx.int32, 128, time_limit=3.0)[0] == 4


@pytest.mark.parametrize(
    ("declaration", "call"),
    [
        ("atomic_float a;", "atomic_fetch_max_explicit(&a, 1.0f, memory_order_relaxed)"),
        ("atomic_float a;", "atomic_fetch_and_explicit(&a, 1.0f, memory_order_relaxed)"),
        ("atomic_ulong a;", "atomic_fetch_add_explicit(&a, 1ul, memory_order_relaxed)"),
        ("atomic_bool a;", "atomic_fetch_add_explicit(&a, true, memory_order_relaxed)"),
        ("atomic_bool a;", "atomic_fetch_or_explicit(&a, true, memory_order_relaxed)"),
        ("atomic_ulong a;", "atomic_load_explicit(&a, memory_order_relaxed)"),
        ("uint a;", "atomic_fetch_add_explicit(&a, 1u, memory_order_relaxed)"),
    ],
)
def test_what_metal_does_not_have_does_not_compile(declaration: str, call: str) -> None:
    source = f"threadgroup {declaration}\n{call};"
    with pytest.raises(MetalCompileError, match="source:2") as caught:
        launch(source, {"x": mx.zeros(1)}, (1,), mx.int32, 32)
    assert call.partition("(")[0] in str(caught.value)
