"""tl.dot on CUDA's matrix units: layouts of the result, operands in shared memory or registers, the accumulator in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.ir.core import Op, Value
from zmlx.ops import simt_mma
from zmlx.simt.convert import prepare
from zmlx.simt.layout import Coords, Layout
from zmlx.simt.staging import Image, Operand, layout_of, operand, stage

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering

ELEMENTS = (dt.float16, dt.bfloat16, dt.float32, dt.int8, dt.uint8)
MOST_BYTES = 200 * 1024  # of shared memory for the operands of one product


def fits(op: Op, dialect: str) -> bool:
    """Whether a product runs on matrix units."""
    a, b, _ = (v.type for v in op.operands)
    elem: dt.DType = a.dtype  # type: ignore[union-attr]
    if dialect != "cuda" or elem not in ELEMENTS or knobs.plain_dot():
        return False
    if elem is dt.float32 and op.attrs.get("input_precision") == "ieee":
        return False
    (m, k), (_, n) = a.shape, b.shape  # type: ignore[union-attr]
    return m >= 16 and n >= 8 and k * elem.itemsize >= 32 and (m + n) * k * elem.itemsize <= MOST_BYTES


def warps(op: Op, count: int) -> tuple[int, int]:
    """Warps along rows and columns of the result: four by four along rows where wgmma can take them, else near a square."""
    m, n = op.results[0].type.shape  # type: ignore[union-attr]
    rows = columns = 1
    if op.operands[0].type.dtype.bits == 16 and m >= 64 and count >= 4:  # type: ignore[union-attr]
        rows = 4
        while rows * columns < count and m >= 32 * rows:
            rows *= 2
    while rows * columns < count and (m >= 32 * rows or n >= 16 * columns):
        if m >= 32 * rows and (m // rows >= n // columns or n < 16 * columns):
            rows *= 2
        else:
            columns *= 2
    return rows, columns


def fragment(shape: Coords, rows: int, columns: int, lane_bits: int, warp_bits: int) -> Layout:
    """How matrix units hold a result, and a 16-bit left operand: prelude/cuda_mma.h says it in words."""
    m, n = shape
    reg: list[Coords] = [(0, 1), (8, 0)]
    reg += [(0, 8 << i) for i in range((n // columns // 8).bit_length() - 1)]
    reg += [(16 * rows << i, 0) for i in range((m // rows // 16).bit_length() - 1)]
    lane: list[Coords] = [(0, 2), (0, 4), (1, 0), (2, 0), (4, 0)]
    warp: list[Coords] = [(16 << i, 0) for i in range(rows.bit_length() - 1)]
    warp += [(0, n // columns << i) for i in range(columns.bit_length() - 1)]
    warp += [(0, 0)] * (warp_bits - len(warp))
    return Layout(shape, tuple(reg), tuple(lane[:lane_bits]), tuple(warp))


def result_layout(op: Op, lane_bits: int, warp_bits: int) -> Layout:
    """The layout of a product."""
    return fragment(op.results[0].type.shape, *warps(op, 1 << warp_bits), lane_bits, warp_bits)  # type: ignore[union-attr]


def in_registers(low: Lowering, op: Op) -> Layout | None:
    """The layout of the left operand if its threads hold it as matrix units read it: the result of another product."""
    a = op.operands[0]
    rows, columns = warps(op, low.num_warps)
    if a.type.dtype.bits != 16 or columns != 1 or rows != low.num_warps:  # type: ignore[union-attr]
        return None
    layout = fragment(a.type.shape, rows, 1, low.place.lane_bits, low.place.warp_bits)  # type: ignore[union-attr]
    return layout if low.place.natural(a) == layout else None


def staged_operands(low: Lowering, op: Op) -> list[Operand]:
    """The operands that pass through shared memory."""
    a, b, _ = op.operands
    return [*([] if in_registers(low, op) else [operand(low, a, 1)]), operand(low, b, 0)]


def lower_dot(low: Lowering, op: Op) -> None:
    """A product; operands that a loop has staged are there already."""
    result = op.results[0]
    layout = low.place.of(result)
    out = _accumulator(low, op, layout)
    held = in_registers(low, op)
    low.decided("dot", op, layout=layout, path="tensor", warps=warps(op, low.num_warps), registers=held is not None)
    a = low.materialise(op.operands[0], held) if held else None
    operands = staged_operands(low, op)
    images: dict[object, Image] = {x.key: low.staged[x.key] for x in operands if x.key in low.staged}
    wanted = list({x.key: x for x in operands if x.key not in images}.values())
    for x in wanted:
        prepare(low, [(x.tile, layout_of(low, x))])
    with low.scratch.arrays([(x.elem, x.size, x.tile.name or "operand") for x in wanted]) as arrays:
        for x, array in zip(wanted, arrays, strict=True):
            stage(low, x, array)
            images[x.key] = (array, 0)
        if wanted:
            publish(low)
        _multiply(low, op, out, a, operands, images)
    low.homes[result] = [(layout, out)]


def publish(low: Lowering) -> None:
    """What threads and copies have written to shared memory so far may be read."""
    low.e.create(simt_mma.copies_commit)
    low.e.create(simt_mma.copies_wait, (), {"count": 0})
    low.barrier("shared")


def _multiply(low: Lowering, op: Op, out: Value, a: Value | None, staged: list[Operand], images: dict[object, Image]) -> None:
    e = low.e
    (m, k), (_, n) = op.operands[0].type.shape, op.operands[1].type.shape  # type: ignore[union-attr]
    operands: list[Value] = [out]
    row_bytes, along_k = [], []
    if a is not None:
        operands += [a, e.constant(0)]
        row_bytes.append(0)
        along_k.append("true")
    for dim, x in zip((0,) if a is not None else (1, 0), staged, strict=True):
        array, at = images[x.key]
        operands += [array, e.as_value(at)]
        row_bytes.append(x.row_bytes)
        along_k.append("true" if x.contiguous(dim) else "false")
    rows, columns = warps(op, low.num_warps)
    elem = op.operands[0].type.dtype  # type: ignore[union-attr]
    split = 3 if op.attrs.get("input_precision") == "tf32x3" else 1
    sides = (side for pair in zip(row_bytes, along_k, strict=True) for side in pair)
    config = ", ".join(map(str, (low.target.spelling(elem), m, n, k, rows, columns, *sides, split)))
    e.create(simt_mma.mma, [*operands, e.as_value(low.thread()[0])], {"config": config})
    low.flight.groups.append(out)
    if op in low.following:
        low.following[op]()


def _accumulator(low: Lowering, op: Op, layout: Layout) -> Value:
    """The array that the product is added to: a loop's own, updated in place, if nothing else needs what it held."""
    acc, result = op.operands[2], op.results[0]
    home = carried_home(low, op, layout)
    if home is None:
        return low.materialise(acc, layout, into=low.e.alloc(result.type.dtype, layout.registers, "register", result.name or "acc"))  # type: ignore[union-attr]
    if acc not in low.homes:
        low.materialise(acc, layout, into=home)
    return home


def carried_home(low: Lowering, op: Op, layout: Layout) -> Value | None:
    """The array of a carried tile that the accumulator is made of, element by element, and that only this product needs."""
    block, kind = low.plan.block_of[op], op.results[0].type
    found: set[Value] = set()

    def visit(v: Value, straight: bool) -> bool:
        if not v.type.shape:  # type: ignore[union-attr]
            return True
        if v in low.homes:
            if v in block.args and v.type == kind and low.homes[v][0][0] == layout:
                found.add(v)
                return straight
            return True
        return v.op is not None and all(visit(x, straight and v.op.has("elementwise")) for x in v.op.operands)

    if not visit(op.operands[2], True) or len(found) != 1:
        return None
    carried = found.pop()
    if any(_reads(low, v, carried, set()) for v in op.operands[:2]):
        return None
    sinks: set[Op] = set()
    return low.homes[carried][0][1] if low.plan.collect_sinks(carried, block, sinks) and sinks == {op} else None


def _reads(low: Lowering, v: Value, carried: Value, seen: set[Value]) -> bool:
    """Whether a carried tile is read where a value is evaluated."""
    if v is carried:
        return True
    if v in seen or v in low.homes or v.op is None or not v.type.shape:  # type: ignore[union-attr]
        return False
    seen.add(v)
    return any(_reads(low, x, carried, seen) for x in v.op.operands)
