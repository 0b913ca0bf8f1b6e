"""Correct Metal kernels of the usual shapes, from which mutants are made; each with its launch and its NumPy reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

IDS = """
    uint t = thread_index_in_threadgroup;
    uint row = threadgroup_position_in_grid.x;
    uint lane = thread_index_in_simdgroup;
    uint sg = simdgroup_index_in_threadgroup;
"""


@dataclass(frozen=True)
class Kernel:
    """A body for `metal_kernel`, and one launch of it. `reference` takes the inputs in order."""

    name: str
    source: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, tuple[int, ...]]
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    reference: Callable[..., tuple[np.ndarray, ...]]
    dtype: str = "float32"
    atomic_outputs: bool = False
    init_value: float | None = None
    header: str = ""
    tags: frozenset[str] = field(default_factory=frozenset)


def _floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ROW_SUM = Kernel(
    "row_sum",
    IDS
    + """
    threadgroup float part[32];
    threadgroup float total;
    uint n = x_shape[1];
    if (sg == 0) {
        part[lane] = 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float acc = 0.0f;
    for (uint i = t; i < n; i += 128) {
        acc += x[row * n + i];
    }
    acc = simd_sum(acc);
    if (lane == 0) {
        part[sg] = acc;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (sg == 0) {
        float s = simd_sum(part[lane]);
        if (lane == 0) {
            total = s;
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = t; i < n; i += 128) {
        out[row * n + i] = x[row * n + i] - total;
    }
""",
    {"x": _floats(1, 3, 300)},
    {"out": (3, 300)},
    (3 * 128, 1, 1),
    (128, 1, 1),
    lambda x: (x - x.sum(1, keepdims=True, dtype=np.float64),),
)

SOFTMAX = Kernel(
    "softmax",
    IDS
    + """
    threadgroup float highest[32];
    threadgroup float sums[32];
    uint n = x_shape[1];
    const device float* in_row = x + row * n;
    device float* out_row = out + row * n;
    if (sg == 0) {
        highest[lane] = -INFINITY;
        sums[lane] = 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float top = -INFINITY;
    for (uint i = t; i < n; i += 96) {
        top = max(top, in_row[i]);
    }
    top = simd_max(top);
    if (lane == 0) {
        highest[sg] = top;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    top = simd_max(highest[lane]);
    float sum = 0.0f;
    for (uint i = t; i < n; i += 96) {
        sum += exp(in_row[i] - top);
    }
    sum = simd_sum(sum);
    if (lane == 0) {
        sums[sg] = sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sum = simd_sum(sums[lane]);
    for (uint i = t; i < n; i += 96) {
        out_row[i] = exp(in_row[i] - top) / sum;
    }
""",
    {"x": _floats(2, 4, 250)},
    {"out": (4, 250)},
    (4 * 96, 1, 1),
    (96, 1, 1),
    lambda x: (np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True),),
)

TRANSPOSE = Kernel(
    "transpose",
    """
    threadgroup float tile[16][17];
    uint rows = x_shape[0];
    uint cols = x_shape[1];
    uint2 t = thread_position_in_threadgroup.xy;
    uint2 block = threadgroup_position_in_grid.xy * 16;
    uint r = block.y + t.y;
    uint c = block.x + t.x;
    if (r < rows && c < cols) {
        tile[t.y][t.x] = x[r * cols + c];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint r_out = block.x + t.y;
    uint c_out = block.y + t.x;
    if (r_out < cols && c_out < rows) {
        out[r_out * rows + c_out] = tile[t.x][t.y];
    }
""",
    {"x": _floats(3, 40, 23)},
    {"out": (23, 40)},
    (32, 48, 1),
    (16, 16, 1),
    lambda x: (x.T.copy(),),
)

SCAN = Kernel(
    "scan",
    IDS
    + """
    threadgroup float buffer[128];
    uint n = x_shape[1];
    buffer[t] = t < n ? x[row * n + t] : 0.0f;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint step = 1; step < 128; step *= 2) {
        float left = t >= step ? buffer[t - step] : 0.0f;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        buffer[t] += left;
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (t < n) {
        out[row * n + t] = buffer[t];
    }
    if (t == 0) {
        totals[row] = buffer[127];
    }
""",
    {"x": _floats(4, 3, 100)},
    {"out": (3, 100), "totals": (3,)},
    (3 * 128, 1, 1),
    (128, 1, 1),
    lambda x: (x.cumsum(1, dtype=np.float64), x.sum(1, dtype=np.float64)),
)

MATMUL = Kernel(
    "matmul",
    """
    threadgroup float a_tile[8][8];
    threadgroup float b_tile[8][8];
    uint m = a_shape[0];
    uint k = a_shape[1];
    uint n = b_shape[1];
    uint2 t = thread_position_in_threadgroup.xy;
    uint r = threadgroup_position_in_grid.y * 8 + t.y;
    uint c = threadgroup_position_in_grid.x * 8 + t.x;
    float acc = 0.0f;
    for (uint k0 = 0; k0 < k; k0 += 8) {
        a_tile[t.y][t.x] = (r < m && k0 + t.x < k) ? a[r * k + k0 + t.x] : 0.0f;
        b_tile[t.y][t.x] = (k0 + t.y < k && c < n) ? b[(k0 + t.y) * n + c] : 0.0f;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < 8; i++) {
            acc += a_tile[t.y][i] * b_tile[i][t.x];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (r < m && c < n) {
        out[r * n + c] = acc;
    }
""",
    {"a": _floats(5, 13, 21), "b": _floats(6, 21, 10)},
    {"out": (13, 10)},
    (16, 16, 1),
    (8, 8, 1),
    lambda a, b: (a.astype(np.float64) @ b,),
)

SIMD_MATMUL = Kernel(
    "simd_matmul",
    """
    uint n = a_shape[1];
    uint2 block = threadgroup_position_in_grid.xy * 8;
    simdgroup_matrix<float, 8, 8> sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (uint k0 = 0; k0 < n; k0 += 8) {
        simdgroup_matrix<float, 8, 8> left;
        simdgroup_matrix<float, 8, 8> right;
        simdgroup_load(left, a + block.y * n + k0, n);
        simdgroup_load(right, b + k0 * n + block.x, n);
        simdgroup_multiply_accumulate(sum, left, right, sum);
    }
    simdgroup_store(sum, out + block.y * n + block.x, n);
""",
    {"a": _floats(7, 24, 24), "b": _floats(8, 24, 24)},
    {"out": (24, 24)},
    (3 * 32, 3, 1),
    (32, 1, 1),
    lambda a, b: (a.astype(np.float64) @ b,),
)

HISTOGRAM = Kernel(
    "histogram",
    IDS
    + """
    threadgroup atomic_uint bins[16];
    uint n = x_shape[0];
    if (t < 16) {
        atomic_store_explicit(&bins[t], 0u, memory_order_relaxed);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint i = thread_position_in_grid.x;
    if (i < n) {
        atomic_fetch_add_explicit(&bins[x[i] & 15], 1u, memory_order_relaxed);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (t < 16) {
        uint count = atomic_load_explicit(&bins[t], memory_order_relaxed);
        atomic_fetch_add_explicit(&out[t], count, memory_order_relaxed);
    }
""",
    {"x": np.random.default_rng(9).integers(0, 16, 500).astype(np.int32)},
    {"out": (16,)},
    (512, 1, 1),
    (64, 1, 1),
    lambda x: (np.bincount(x, minlength=16),),
    dtype="uint32",
    atomic_outputs=True,
    init_value=0,
)

STENCIL = Kernel(
    "stencil",
    IDS
    + """
    threadgroup float window[66];
    uint n = x_shape[0];
    uint i = row * 64 + t;
    window[t + 1] = i < n ? x[i] : 0.0f;
    if (t == 0) {
        window[0] = i > 0 ? x[i - 1] : 0.0f;
    }
    if (t == 63) {
        window[65] = i + 1 < n ? x[i + 1] : 0.0f;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (i < n) {
        out[i] = window[t] + 2.0f * window[t + 1] + window[t + 2];
    }
""",
    {"x": _floats(10, 200)},
    {"out": (200,)},
    (256, 1, 1),
    (64, 1, 1),
    lambda x: (np.pad(x, 1)[:-2] + 2 * x + np.pad(x, 1)[2:],),
)

VECTORS = Kernel(
    "vectors",
    """
    uint n = x_shape[0];
    uint i = thread_position_in_grid.x * 4;
    if (i + 3 < n) {
        const device float4* from = (const device float4*)(x + i);
        device float4* to = (device float4*)(out + i);
        *to = *from * 2.0f;
    } else {
        for (uint k = i; k < n; k++) {
            out[k] = x[k] * 2.0f;
        }
    }
""",
    {"x": _floats(11, 250)},
    {"out": (250,)},
    (64, 1, 1),
    (32, 1, 1),
    lambda x: (x * 2,),
)

SORT = Kernel(
    "sort",
    IDS
    + """
    threadgroup float keys[64];
    uint n = x_shape[1];
    keys[t] = t < n ? x[row * n + t] : INFINITY;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint size = 2; size <= 64; size *= 2) {
        for (uint gap = size / 2; gap > 0; gap /= 2) {
            uint other = t ^ gap;
            float mine = keys[t];
            float theirs = keys[other];
            bool up = (t & size) == 0;
            bool low = t < other;
            float chosen = (low == up) ? min(mine, theirs) : max(mine, theirs);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            keys[t] = chosen;
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
    }
    if (t < n) {
        out[row * n + t] = keys[t];
    }
""",
    {"x": _floats(12, 2, 50)},
    {"out": (2, 50)},
    (128, 1, 1),
    (64, 1, 1),
    lambda x: (np.sort(x, axis=1),),
)

MOMENTS = Kernel(
    "moments",
    IDS
    + """
    threadgroup float2 part[4];
    uint n = x_shape[1];
    float2 acc = float2(0.0f);
    for (uint i = t; i < n; i += 128) {
        float v = x[row * n + i];
        acc += float2(v, v * v);
    }
    acc.x = simd_sum(acc.x);
    acc.y = simd_sum(acc.y);
    if (lane == 0) {
        part[sg] = acc;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (t == 0) {
        float2 all = part[0] + part[1] + part[2] + part[3];
        float mu = all.x / float(n);
        mean[row] = mu;
        var[row] = all.y / float(n) - mu * mu;
    }
""",
    {"x": _floats(13, 5, 200)},
    {"mean": (5,), "var": (5,)},
    (5 * 128, 1, 1),
    (128, 1, 1),
    lambda x: (x.mean(1), x.var(1)),
)

GATHER = Kernel(
    "gather",
    """
    uint d = table_shape[1];
    uint column = thread_position_in_grid.x;
    uint item = thread_position_in_grid.y;
    if (column < d) {
        out[item * d + column] = table[index[item] * d + column];
    }
""",
    {"table": _floats(14, 9, 40), "index": np.array([8, 0, 3, 3, 7, 1, 2, 8, 5, 4], np.int32)},
    {"out": (10, 40)},
    (64, 10, 1),
    (32, 1, 1),
    lambda table, index: (table[index],),
)

REVERSE = Kernel(
    "reverse",
    IDS
    + """
    threadgroup half values[64];
    uint n = x_shape[1];
    values[t] = half(x[row * n + t]);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    half partner = values[sg * 32 + (31 - lane)];
    simdgroup_barrier(mem_flags::mem_threadgroup);
    values[t] = partner;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    out[row * n + t] = float(values[(t + 32) & 63]);
""",
    {"x": np.arange(128, dtype=np.float32).reshape(2, 64)},
    {"out": (2, 64)},
    (128, 1, 1),
    (64, 1, 1),
    lambda x: (x[:, ::-1].copy(),),
)

KERNELS = {
    k.name: k for k in (ROW_SUM, SOFTMAX, TRANSPOSE, SCAN, MATMUL, SIMD_MATMUL, HISTOGRAM, STENCIL, VECTORS, SORT, MOMENTS, GATHER, REVERSE)
}
