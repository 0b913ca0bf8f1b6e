"""Views pulled back: which elements of a view's operand a layout of its result needs.

Every rule is linear over the bits of the coordinates (or an XOR with a constant), so it maps layouts to layouts.
"""

from __future__ import annotations

from zmlx.ir.core import Op, Value
from zmlx.simt.layout import Coords, Layout, flat


def unflat(index: int, shape: Coords) -> Coords:
    out = []
    for n in reversed(shape):
        out.append(index % n)
        index //= n
    return tuple(reversed(out))


def pull_back(op: Op, wanted: Layout, result: Value) -> Layout:
    """The layout that the operand(s) of a view must have for its result to have `wanted`."""
    source: Coords = op.operands[0].type.shape  # type: ignore[union-attr]
    return _RULES[op.name](op, wanted, source, result)


def _expand_dims(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    axis = op.attrs["axis"] % len(wanted.shape)
    return wanted.map(source, lambda c: c[:axis] + c[axis + 1 :])


def _broadcast(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    return wanted.map(source, lambda c: tuple(x & (n - 1) for x, n in zip(c, source, strict=True)))


def _reshape(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    return wanted.map(source, lambda c: unflat(flat(c, wanted.shape), source))


def _trans(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    order = op.attrs["order"]
    return wanted.map(source, lambda c: tuple(c[order.index(d)] for d in range(len(source))))


def _flip(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    axis = op.attrs["axis"] % len(source)
    flip = tuple(f ^ (n - 1) if d == axis else f for d, (f, n) in enumerate(zip(wanted.flip, source, strict=True)))
    return wanted.map(source, lambda c: c, flip)


def _join(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    return wanted.map(source, lambda c: c[:-1])


def _split(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    return wanted.map(source, lambda c: (*c, 0), (*wanted.flip, op.results.index(result)))


def _cat(op: Op, wanted: Layout, source: Coords, result: Value) -> Layout:
    return wanted.map(source, lambda c: tuple(x & (n - 1) for x, n in zip(c, source, strict=True)))


_RULES = {
    "expand_dims": _expand_dims,
    "broadcast": _broadcast,
    "reshape": _reshape,
    "trans": _trans,
    "flip": _flip,
    "join": _join,
    "split": _split,
    "cat": _cat,
}
