"""The kernels of the benchmarks themselves: a copy, for the device's bandwidth, and a small one, for the cost of a launch."""

from __future__ import annotations

import zmlx
import zmlx.language as tl


@zmlx.jit
def copy_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=offsets < n), mask=offsets < n)


@zmlx.jit
def axpy_kernel(x_ptr, y_ptr, out_ptr, n, a, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, x * a + tl.load(y_ptr + at, mask=at < n), mask=at < n)
