"""GELU, exact and in its tanh form, as a kernel and as device functions for epilogues."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArgumentError


@zmlx.jit
def gelu_erf(x):
    return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))


@zmlx.jit
def gelu_tanh(x):
    # tanh(u) = 2 sigmoid(2u) - 1, so that 0.5 x (1 + tanh(u)) = x sigmoid(2u).
    return x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))


@zmlx.jit
def gelu_kernel(x_ptr, out_ptr, n, GELU: tl.constexpr, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    x = tl.load(x_ptr + offsets, mask=mask).to(tl.float32)
    tl.store(out_ptr + offsets, GELU(x), mask=mask)


FORMS = {"none": gelu_erf, "tanh": gelu_tanh}


def config(n: int) -> dict[str, int]:
    """One tile of 1024 elements a program: eight a thread."""
    return {"BLOCK": 1024, "num_warps": 4}


def gelu(x: mx.array, approximate: str = "none") -> mx.array:
    """Gaussian error linear unit: x Φ(x).

    x: any shape; float32, float16 or bfloat16. Returns that shape and dtype; computed in float32.
    approximate: "none" for 0.5 x (1 + erf(x / √2)), "tanh" for 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).
    Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv:1606.08415.
    """
    checks.floats("gelu", x=x)
    if approximate not in FORMS:
        raise ArgumentError(f'gelu: approximate is {approximate!r}; write "none" or "tanh"')
    checks.int32_offsets("gelu", "x", x)
    if x.size == 0:
        return mx.zeros_like(x)
    options = config(x.size)
    grid = (zmlx.cdiv(x.size, options["BLOCK"]),)
    return gelu_kernel[grid](x, zmlx.empty_like(x), x.size, GELU=FORMS[approximate], **options)


def gelu_reference(x: mx.array, approximate: str = "none") -> mx.array:
    if approximate == "tanh":
        return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + mx.erf(x / math.sqrt(2)))


def _case(*shape: int, scale: float = 2.0, **kwargs: str) -> Case:
    name = "x".join(map(str, shape)) + "".join(f"-{v}" for v in kwargs.values())
    return Case(name, lambda r: (scale * r.standard_normal(shape),), kwargs)


CASES = (_case(5), _case(1000), _case(3, 1024), _case(1030, approximate="tanh"), _case(64, scale=30.0), _case(0))
ENTRY = Entry(
    "gelu",
    gelu,
    gelu_reference,
    baseline=lambda x, approximate="none": nn.gelu(x) if approximate == "none" else nn.gelu_approx(x),
    kernels=(gelu_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1024, 2048), "gpu": _case(16384, 1024)},
)
