"""Where the elements of 8×8 fragments lie in a simdgroup of an Apple GPU, and the layouts made of them.

All fragments share one map of lanes to elements, linear over bits: a lane holds two neighbours of a row. So a product has an
ordinary layout, whose fragments are pairs of registers, and so has each operand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.ir.core import Op
from zmlx.ir.types import Type
from zmlx.simt.layout import Coords, Layout

if TYPE_CHECKING:
    from zmlx.targets.target import Target

SIZE = 8
# Element types, and the most products that float32 sums exactly: integers are multiplied as floats where that is so.
ELEMENTS = {dt.float32: None, dt.float16: None, dt.bfloat16: None, dt.int8: 2**24 // 128**2, dt.uint8: 2**24 // 256**2}
LANE = ((0, 2), (1, 0), (2, 0), (0, 4), (4, 0))  # where the bits of a lane's number lead within a fragment
PAIR = (0, 1)


def fits(op: Op, target: Target) -> bool:
    """Whether a product is multiplied in fragments."""
    a, b = (v.type for v in op.operands[:2])
    assert isinstance(a, Type) and isinstance(b, Type)
    if target.matrix != "simdgroup_matrix" or a.elem not in ELEMENTS or knobs.plain_dot():
        return False
    most = ELEMENTS[a.elem]
    return min(*a.shape, *b.shape) >= SIZE and (most is None or a.shape[1] <= most)


def product_layout(shape: Coords, warp_bits: int, rows_first: bool) -> Layout:
    """The layout of a product: each warp owns a rectangle of fragments.

    rows_first: a warp owns whole rows as far as there are 8 for each, so that sums over rows stay within it; else its
    rectangle is as square as possible, which loads the fewest fragments for a product.
    """
    own = [n // SIZE for n in shape]  # a warp's fragments along each dimension
    split: list[int] = []
    for _ in range(warp_bits):
        dim = 0 if own[0] > 1 and (rows_first or own[0] >= own[1]) else 1
        if own[dim] > 1:
            own[dim] //= 2
            split.append(dim)
    reg = [PAIR, *_steps(1, SIZE, own[1] * SIZE), *_steps(0, SIZE, own[0] * SIZE)]
    parts = [_steps(d, own[d] * SIZE, shape[d]) for d in range(2)]
    warp = [parts[d].pop(0) for d in split] + [(0, 0)] * (warp_bits - len(split))
    return Layout(shape, tuple(reg), LANE, tuple(warp))


def warps(product: Layout) -> tuple[int, int]:
    """Warps along rows and columns of a product."""
    rows, columns = (1 << sum(bool(b[d]) for b in product.warp) for d in range(2))
    return rows, columns


def operand_layout(product: Layout, depth: int, side: int) -> Layout:
    """The layout that a product asks of its left (side 0) or right (side 1) operand."""
    shape = (product.shape[0], depth) if side == 0 else (depth, product.shape[1])

    def project(b: Coords) -> Coords:
        return tuple(c if d == side else 0 for d, c in enumerate(b))

    across = [b for b in map(project, product.reg[1:]) if any(b)]
    along = _steps(1 - side, SIZE, depth)
    reg = [PAIR, *along, *across] if side == 0 else [PAIR, *across, *along]
    return Layout(shape, tuple(reg), LANE, tuple(map(project, product.warp)))


def _steps(dim: int, start: int, end: int) -> list[Coords]:
    """Basis vectors start, 2 · start … end / 2 along a dimension."""
    return [tuple(start << i if d == dim else 0 for d in range(2)) for i in range((end // start).bit_length() - 1)]
