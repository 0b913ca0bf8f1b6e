"""Elementwise sum: the smallest catalog file, and the pattern for the others."""

from __future__ import annotations

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask)
    y = tl.load(y_ptr + offsets, mask=mask)
    tl.store(out_ptr + offsets, x + y, mask=mask)


def config(n: int) -> dict[str, int]:
    """One tile of 1024 elements a program: eight a thread."""
    return {"BLOCK": 1024, "num_warps": 4}


def add(x: mx.array, y: mx.array) -> mx.array:
    """x + y, elementwise.

    x, y: any shape, the same for both; float32, float16 or bfloat16, the same for both. Returns that shape and dtype.
    """
    checks.floats("add", x=x, y=y)
    checks.shape("add", "y", y, x.shape)
    checks.int32_offsets("add", "x", x)
    if x.size == 0:
        return mx.zeros_like(x)
    options = config(x.size)
    return add_kernel[(zmlx.cdiv(x.size, options["BLOCK"]),)](x, y, zmlx.empty_like(x), x.size, **options)


def add_reference(x: mx.array, y: mx.array) -> mx.array:
    return x + y


def _case(*shape: int) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (r.standard_normal(shape), r.standard_normal(shape)))


CASES = (_case(1), _case(7), _case(1024), _case(1025), _case(33, 65), _case(0, 4))
ENTRY = Entry(
    "add",
    add,
    add_reference,
    baseline=lambda x, y: x + y,
    kernels=(add_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
