"""Where the elements of matrix fragments lie in a simdgroup of an Apple GPU, and the layouts made of them.

All fragments of a kind share one map of lanes and registers to elements, linear over bits. So a product has an ordinary
layout, in which neighbouring registers are one instruction's accumulator, and so has each operand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.ir.core import Op
from zmlx.ir.types import Type
from zmlx.simt.layout import Coords, Layout

if TYPE_CHECKING:
    from zmlx.targets.target import Target


@dataclass(frozen=True)
class Fragments:
    """What one instruction multiplies, and who holds it.

    path        its name in decisions: "simdgroup" or "tensor_ops"
    size        of the square fragments, of which a left operand is one
    rows, columns, depth    of the instruction: it adds rows × depth by depth × columns
    inner       where the bits of a register's number lead within a fragment
    lane        where the bits of a lane's number lead
    """

    path: str
    size: int
    rows: int
    columns: int
    depth: int
    inner: tuple[Coords, ...]
    lane: tuple[Coords, ...]

    def product(self, shape: Coords, warp_bits: int, rows_first: bool) -> Layout:
        """The layout of a product: each warp owns a rectangle of accumulators.

        rows_first: a warp owns whole rows as far as there are enough for each, so that sums over rows stay within it; else its
        rectangle is as square as possible, which loads the fewest fragments for a product.
        """
        own = list(shape)  # a warp's part
        least = (self.rows, self.columns)
        split: list[int] = []
        for _ in range(warp_bits):
            dim = 0 if own[0] > least[0] and (rows_first or own[0] >= own[1]) else 1
            if own[dim] > least[dim]:
                own[dim] //= 2
                split.append(dim)
        reg = [*self.inner, *_steps(1, self.size, own[1]), *_steps(0, self.size, own[0])]
        parts = [_steps(d, own[d], shape[d]) for d in range(2)]
        warp = [parts[d].pop(0) for d in split] + [(0, 0)] * (warp_bits - len(split))
        return Layout(shape, tuple(reg), self.lane, tuple(warp))

    def operand(self, product: Layout, depth: int, side: int, turned: bool = False) -> Layout:
        """The layout that a product asks of its left (side 0) or right (side 1) operand.

        turned: each fragment holds the transpose of its part, which the instruction transposes.
        """
        shape = (product.shape[0], depth) if side == 0 else (depth, product.shape[1])

        def project(b: Coords) -> Coords:
            return tuple(c if d == side else 0 for d, c in enumerate(b))

        def turn(bits: tuple[Coords, ...]) -> tuple[Coords, ...]:
            return tuple(b[::-1] for b in bits) if turned else bits

        across = [b for b in map(project, product.reg[len(self.inner) :]) if any(b)]
        along = _steps(1 - side, self.size, depth)
        outer = [*along, *across] if side == 0 else [*across, *along]
        return Layout(shape, (*turn(self.inner), *outer), turn(self.lane), tuple(map(project, product.warp)))


# simdgroup_matrix: a lane holds two neighbours of a row.
SIMDGROUP = Fragments("simdgroup", 8, 8, 8, 8, ((0, 1),), ((0, 2), (1, 0), (2, 0), (0, 4), (4, 0)))
# Cooperative tensors of Metal 4: a lane holds four neighbours of a row, and those eight rows below.
TENSOR = Fragments("tensor_ops", 16, 16, 32, 16, ((0, 1), (0, 2), (8, 0)), ((0, 4), (1, 0), (2, 0), (0, 8), (4, 0)))
# Element types, and the most products that float32 sums exactly: integers are multiplied as floats where that is so.
ELEMENTS = {dt.float32: None, dt.float16: None, dt.bfloat16: None, dt.int8: 2**24 // 128**2, dt.uint8: 2**24 // 256**2}
TENSOR_ELEMENTS = (dt.float32, dt.float16, dt.bfloat16)


def choose(op: Op, target: Target) -> Fragments | None:
    """The fragments in which a product is multiplied; None for no fragments."""
    if target.matrix != "simdgroup_matrix" or knobs.dot() == "plain":
        return None
    if why_no_tensor(op, target) is None:
        return TENSOR
    a, b = (v.type for v in op.operands[:2])
    assert isinstance(a, Type) and isinstance(b, Type)
    if a.elem not in ELEMENTS:
        return None
    most = ELEMENTS[a.elem]
    return SIMDGROUP if min(*a.shape, *b.shape) >= SIMDGROUP.size and (most is None or a.shape[1] <= most) else None


def why_no_tensor(op: Op, target: Target) -> str | None:
    """Why a product does not run on Metal 4's tensor operations; None where it does, if any matrix instructions are allowed."""
    a, b = (v.type for v in op.operands[:2])
    assert isinstance(a, Type) and isinstance(b, Type)
    asked = knobs.dot()
    if asked == "simdgroup":
        return f"{knobs.DOT.name}=simdgroup is set"
    if asked != "tensor":
        # Off until a Mac has run them: they rest on reading alone.
        if target.tensor_ops:
            return f"they are taken where {knobs.DOT.name}=tensor asks for them"
        return "the device is not known to have them"
    if a.elem not in TENSOR_ELEMENTS:
        return f"they are used for float16, bfloat16 and float32, not {a.elem}"
    precision = op.attrs.get("input_precision") or "tf32"
    if a.elem is dt.float32 and precision != "tf32":
        return f"input_precision={precision!r} asks for more than they promise of float32"
    (m, k), n = a.shape, b.shape[1]
    if m < TENSOR.rows or n < TENSOR.columns or k < TENSOR.depth:
        least = f"{TENSOR.rows} × {TENSOR.depth} by {TENSOR.depth} × {TENSOR.columns}"
        return f"{m} × {k} by {k} × {n} is too small: they multiply {least}"
    return None


def warps(product: Layout) -> tuple[int, int]:
    """Warps along rows and columns of a product."""
    rows, columns = (1 << sum(bool(b[d]) for b in product.warp) for d in range(2))
    return rows, columns


def _steps(dim: int, start: int, end: int) -> list[Coords]:
    """Basis vectors start, 2 · start … end / 2 along a dimension."""
    return [tuple(start << i if d == dim else 0 for d in range(2)) for i in range((end // start).bit_length() - 1)]
