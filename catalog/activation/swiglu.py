"""SwiGLU, the gate of most feed-forward layers: one pass over the two halves."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry


@zmlx.jit
def swiglu_kernel(gate_ptr, up_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    gate = tl.load(gate_ptr + offsets, mask=mask).to(tl.float32)
    up = tl.load(up_ptr + offsets, mask=mask).to(tl.float32)
    tl.store(out_ptr + offsets, gate * tl.sigmoid(gate) * up, mask=mask)


def config(n: int) -> dict[str, int]:
    """One tile of 1024 elements a program: eight a thread."""
    return {"BLOCK": 1024, "num_warps": 4}


def swiglu(gate: mx.array, up: mx.array) -> mx.array:
    """silu(gate) · up, elementwise, with silu(x) = x / (1 + exp(-x)); computed in float32 and rounded once.

    gate, up: any shape with fewer than 2³¹ elements, the same for both; float32, float16 or bfloat16, the same for both.
    Returns that shape and dtype. Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202.
    """
    checks.floats("swiglu", gate=gate, up=up)
    checks.shape("swiglu", "up", up, gate.shape)
    checks.int32_offsets("swiglu", "gate", gate)
    if gate.size == 0:
        return mx.zeros_like(gate)
    options = config(gate.size)
    grid = (zmlx.cdiv(gate.size, options["BLOCK"]),)
    return swiglu_kernel[grid](gate, up, zmlx.empty_like(gate), gate.size, **options)


def swiglu_reference(gate: mx.array, up: mx.array) -> mx.array:
    return gate / (1 + mx.exp(-gate)) * up


def _case(*shape: int, scale: float = 2.0) -> Case:
    return Case("x".join(map(str, shape)), lambda r: (scale * r.standard_normal(shape), r.standard_normal(shape)))


CASES = (_case(1), _case(7), _case(1030), _case(3, 1024), _case(64, scale=50.0), _case(0, 4))
ENTRY = Entry(
    "swiglu",
    swiglu,
    swiglu_reference,
    baseline=lambda gate, up: nn.silu(gate) * up,
    kernels=(swiglu_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
