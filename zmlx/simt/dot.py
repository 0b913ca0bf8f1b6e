"""The tile product: right on every target; staged through shared memory on a GPU, one call on the host (`dot_host`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.errors import ResourceError
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Type
from zmlx.ops import compare, simt
from zmlx.ops.arith import and_
from zmlx.simt import dot_host, dot_metal, fragments, tensor
from zmlx.simt.convert import flat_index, prepare
from zmlx.simt.frame import Frame
from zmlx.simt.layout import Layout
from zmlx.simt.shared import element_bytes

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


def lower_dot(low: Lowering, op: Op) -> None:
    a, b, acc = op.operands
    result = op.results[0]
    assert isinstance(result.type, Type) and isinstance(a.type, Type) and isinstance(b.type, Type)
    matrices = fragments.choose(op, low.target)
    if matrices is not None and dot_metal.lower(low, op, matrices):
        return
    if tensor.fits(op, low.target.dialect):
        tensor.lower_dot(low, op)
        return
    if not low.target.is_simt:
        dot_host.lower_dot(low, op)
        return
    layout = low.place.product(op)
    low.decided("dot", op, layout=layout, path="staged")
    out = low.materialise(acc, layout, into=low.e.alloc(result.type.dtype, layout.registers, "register", result.name or "acc"))
    _staged(low, op, layout, out)
    low.homes[result] = [(layout, out)]


def _staged(low: Lowering, op: Op, layout: Layout, out: Value) -> None:
    """Pieces of `a` and `b` along k pass through shared memory; each thread sums its rows and columns."""
    e = low.e
    a, b, _ = op.operands
    kind = op.results[0].type.dtype  # type: ignore[union-attr]
    (m, depth), (_, n) = a.type.shape, b.type.shape  # type: ignore[union-attr]
    elem = a.type.dtype  # type: ignore[union-attr]
    piece = depth
    while piece > 1 and (m + n) * piece * element_bytes(elem) > low.target.stage_bytes:
        piece //= 2
    if (m + n) * piece * element_bytes(elem) > low.target.shared_bytes:
        raise ResourceError(
            f"tl.dot of {a.type} and {b.type} needs more than the {low.target.shared_bytes} bytes of threadgroup memory",
            "use smaller blocks for the rows and columns of the product",
        )
    homes = [low.place.natural(v) or low.place.default(v.type.shape) for v in (a, b)]  # type: ignore[union-attr]
    prepare(low, list(zip((a, b), homes, strict=True)))
    with low.scratch.arrays([(elem, m * piece, "a"), (elem, piece * n, "b")]) as (sa, sb):
        with e.loop(0, depth // piece, "serial", "chunk") as chunk:
            if depth > piece:
                low.barrier("shared")
            for v, home, shared, dim, width in ((a, homes[0], sa, 1, piece), (b, homes[1], sb, 0, n)):
                _stage(low, v, home, shared, dim, width, chunk if depth > piece else None, piece)
            low.barrier("shared")
            _multiply(low, layout, out, sa, sb, piece, n, kind)


def _stage(low: Lowering, v: Value, home: Layout, shared: Value, dim: int, width: int, chunk: Value | int | None, piece: int) -> None:
    """Writes the part of an operand whose k lies in the piece to shared memory, row-major."""
    e = low.e
    with e.guard(low.owner(home)), low.nest(home) as frame:
        value = frame.eval(v, home)
        if chunk is None:
            e.set(shared, flat_index(low, frame, home), value)
            return
        where = [frame.coordinate(home, d) for d in range(2)]
        k = e.as_value(where[dim])
        start = e.mul(chunk, piece)
        inside = e.value(and_, e.value(compare.ge, k, e.as_value(start)), e.value(compare.lt, k, e.as_value(e.add(start, piece))))
        where[dim] = e.bits(k, 0, piece.bit_length() - 1, 32)
        with e.guard(inside):
            e.set(shared, e.add(e.mul(where[0], width), where[1]), value)


def _multiply(low: Lowering, layout: Layout, out: Value, sa: Value, sb: Value, piece: int, n: int, kind: dt.DType) -> None:
    e = low.e
    own = tuple(1 << b for b in range(len(layout.reg)))
    with e.loop(0, piece, "serial", "k") as k:
        root = Frame(low, None, 0, (), e.block)
        with low.levels(root, [list(r) for r in layout.runs]) as frame:
            i, j = frame.coordinate(layout, 0), frame.coordinate(layout, 1)
            x = e.convert(e.get(sa, e.add(e.mul(i, piece), k)), kind)
            y = e.convert(e.get(sb, e.add(e.mul(k, n), j)), kind)
            at = frame.register((own, 0))
            e.set(out, at, e.value(simt.mac, x, y, e.get(out, at)))
