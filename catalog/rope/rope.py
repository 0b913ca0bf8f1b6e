"""Rotary position embedding: pairs of a head's elements turn by an angle that grows with the position."""

from __future__ import annotations

import math

import mlx.core as mx

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.errors import ArgumentError


@zmlx.jit
def rope_kernel(
    x_ptr,
    out_ptr,
    n_heads,
    length,
    log2_base,
    scale,
    offset,
    WIDTH: tl.constexpr,
    DIMS: tl.constexpr,
    TRADITIONAL: tl.constexpr,
    HEADS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    HALF: tl.constexpr,
    REST: tl.constexpr,
):
    # The angles of BLOCK_T positions serve HEADS heads. A model has few widths: known ones tell the compiler which of the
    # stores do not meet.
    rows = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)[:, None]
    pairs = tl.arange(0, HALF)[None, :]
    half = DIMS // 2
    angles = (rows + offset).to(tl.float32) * scale * tl.exp2(pairs.to(tl.float32) * (-log2_base / half))
    cos = tl.cos(angles)
    sin = tl.sin(angles)
    first = tl.program_id(1) * HEADS
    for head in range(first, tl.minimum(first + HEADS, n_heads)):
        start = head.to(tl.int64) * length * WIDTH
        if TRADITIONAL:
            cols = tl.arange(0, 2 * HALF)[None, :]
            mask = (rows < length) & (cols < DIMS)
            x = tl.load(x_ptr + start + rows * WIDTH + cols, mask=mask).to(tl.float32)
            left, right = tl.split(tl.reshape(x, (BLOCK_T, HALF, 2)))
            turned = tl.join(left * cos - right * sin, left * sin + right * cos)
            tl.store(out_ptr + start + rows * WIDTH + cols, tl.reshape(turned, (BLOCK_T, 2 * HALF)), mask=mask)
        else:
            mask = (rows < length) & (pairs < half)
            at = start + rows * WIDTH + pairs
            left = tl.load(x_ptr + at, mask=mask).to(tl.float32)
            right = tl.load(x_ptr + at + half, mask=mask).to(tl.float32)
            tl.store(out_ptr + at, left * cos - right * sin, mask=mask)
            tl.store(out_ptr + at + half, left * sin + right * cos, mask=mask)
        if REST > 0:
            cols = DIMS + tl.arange(0, REST)[None, :]
            mask = (rows < length) & (cols < WIDTH)
            at = start + rows * WIDTH + cols
            tl.store(out_ptr + at, tl.load(x_ptr + at, mask=mask), mask=mask)


def config(length: int, width: int, dims: int) -> dict[str, int]:
    """Tiles of about 1024 pairs, eight a thread; two heads share the angles of a tile, on the CPU, where these cost more, four."""
    half = zmlx.next_power_of_2(dims // 2)
    rest = zmlx.next_power_of_2(width - dims) if width > dims else 0
    block_t = max(1, min(zmlx.next_power_of_2(length), 1024 // half))
    heads = 4 if zmlx.default_target() == "cpu" else 2
    return {"HEADS": heads, "BLOCK_T": block_t, "HALF": half, "REST": rest, "num_warps": max(1, min(4, block_t * half // 256))}


def rope(x: mx.array, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: int = 0) -> mx.array:
    """Turns the pairs of the first `dims` elements by (offset + t) · scale · base^(-2i/dims), i being the pair's number.

    x: (..., length, width), fewer than 2³¹ elements a head; float32, float16 or bfloat16. Returns that shape and dtype.
    dims: even, from 2 to width; the elements behind are copied. Pair i is elements i and i + dims/2, or 2i and 2i + 1 if
    traditional. Angles are float32: their error is about 10⁻⁷ of a position. Arguments mean what mx.fast.rope's mean.
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv:2104.09864.
    """
    checks.floats("rope", x=x)
    checks.rank("rope", "x", x, 2)
    length, width = x.shape[-2:]
    if dims % 2 or not 2 <= dims <= width:
        raise ArgumentError(f"rope: dims is {dims}; write an even number from 2 to x's last axis, {width}")
    if not base > 0:
        raise ArgumentError(f"rope: base is {base}; write a positive number, such as 10000.0")
    if x.size == 0:
        return mx.zeros_like(x)
    options = config(length, width, dims)
    heads = x.size // (length * width)
    grid = (zmlx.cdiv(length, options["BLOCK_T"]), zmlx.cdiv(heads, options["HEADS"]))
    scalars = (heads, length, math.log2(base), float(scale), offset)
    return rope_kernel[grid](x, zmlx.empty_like(x), *scalars, WIDTH=width, DIMS=dims, TRADITIONAL=traditional, **options)


def rope_reference(
    x: mx.array, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: int = 0
) -> mx.array:
    positions = (mx.arange(x.shape[-2]).astype(x.dtype) + offset) * scale
    angles = positions[:, None] * mx.exp(mx.arange(dims // 2).astype(x.dtype) * (-2 * math.log(base) / dims))
    cos, sin = mx.cos(angles), mx.sin(angles)
    if traditional:
        left, right = x[..., 0:dims:2], x[..., 1:dims:2]
    else:
        left, right = x[..., : dims // 2], x[..., dims // 2 : dims]
    turned = [left * cos - right * sin, left * sin + right * cos]
    joined = mx.stack(turned, axis=-1).reshape(*x.shape[:-1], dims) if traditional else mx.concatenate(turned, axis=-1)
    return mx.concatenate([joined, x[..., dims:]], axis=-1)


def _baseline(x: mx.array, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: int = 0) -> mx.array:
    return mx.fast.rope(x, dims, traditional=traditional, base=base, scale=scale, offset=offset)


def _case(*shape: int, dims: int = 0, **kwargs: float) -> Case:
    name = "x".join(map(str, shape)) + (f"-dims{dims}" if dims else "") + "".join(f"-{k}{v}" for k, v in kwargs.items())
    return Case(name, lambda r: (r.standard_normal(shape),), {"dims": dims or shape[-1], **kwargs})


CASES = (
    _case(1, 1, 1, 2),
    _case(1, 3, 7, 8),
    _case(2, 3, 5, 16, traditional=True),
    _case(1, 2, 9, 80, dims=24, offset=100),
    _case(1, 2, 9, 81, dims=80, offset=3, traditional=True, scale=0.5),
    _case(2, 5, 33, 64, base=1e6),
    _case(1, 8, 1, 128, offset=77),
    _case(1, 0, 4, 8),
)
ENTRY = Entry(
    "rope",
    rope,
    rope_reference,
    baseline=_baseline,
    kernels=(rope_kernel,),
    cases=CASES,
    sizes={"cpu": _case(1, 16, 1024, 128), "gpu": _case(4, 32, 1024, 128)},
    # An angle of thousands of radians has a float32's error; half types need not more than they have.
    tolerance={mx.float32: (5e-4, 2e-6)},
)
