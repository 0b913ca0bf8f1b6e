"""Ops that place elements elsewhere; tiles are row-major in meaning."""

from __future__ import annotations

from typing import Any

from zmlx.errors import CallError, ShapeError
from zmlx.intrinsics.builtin import builtin
from zmlx.ir.core import Value
from zmlx.ops import shape as ops
from zmlx.ops.coerce import TileBuilder, constant_int, constant_shape
from zmlx.ops.shape import normalise_axis


def _dims(dims: tuple[Any, ...], what: str) -> tuple[int, ...]:
    """Dimensions given one by one or as one tuple."""
    if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
        dims = tuple(dims[0])
    return constant_shape(dims, what)


def _reshape(b: TileBuilder, input: Any, shape: tuple[Any, ...], what: str) -> Value:
    v, dims = b.to_value(input), _dims(shape, f"the shape of {what}")
    if v.shape == dims:
        return v
    if not v.shape:
        if any(d != 1 for d in dims):
            raise ShapeError(f"{what} of a scalar to {dims}", "grow it instead: tl.broadcast_to(x, shape)")
        return b.splat(v, dims)
    if not dims:
        raise ShapeError(f"{what} to the shape () of a scalar", "reduce it: tl.sum(x), or name a dimension: (1,)")
    return b.value(ops.reshape, v, shape=dims)


@builtin(method=True)
def reshape(b: TileBuilder, input: Any, *shape: Any, can_reorder: Any = False) -> Value:
    """The same elements, in row-major order, in another shape (a tuple, or one argument a dimension)."""
    return _reshape(b, input, shape, "tl.reshape")


@builtin(method=True)
def view(b: TileBuilder, input: Any, *shape: Any) -> Value:
    """As `tl.reshape`; the order of the elements is kept."""
    return _reshape(b, input, shape, "tl.view")


@builtin(method=True)
def ravel(b: TileBuilder, x: Any, can_reorder: Any = False) -> Value:
    """The elements in row-major order in one dimension."""
    v = b.to_value(x)
    return _reshape(b, v, (v.type.size,), "tl.ravel")


@builtin(method=True)
def trans(b: TileBuilder, input: Any, *dims: Any) -> Value:
    """Dimensions in another order; without `dims` the last two are swapped. Also x.T."""
    v = b.to_value(input)
    if not dims:
        if len(v.shape) < 2:
            raise ShapeError(f"tl.trans takes a tile with two or more dimensions, got {v.type}", "add a dimension: x[:, None]")
        rank = len(v.shape)
        return b.value(ops.trans, v, order=(*range(rank - 2), rank - 1, rank - 2))
    order = _dims(dims, "the order of tl.trans")
    return b.value(ops.trans, v, order=tuple(i + len(v.shape) if i < 0 else i for i in order))


@builtin(method=True)
def permute(b: TileBuilder, input: Any, *dims: Any) -> Value:
    """Dimensions in another order: result dimension i is input dimension dims[i]."""
    if not dims:
        raise CallError("tl.permute without an order", "name every dimension: tl.permute(x, 1, 0)")
    return trans.fn(b, input, *dims)


@builtin(method=True)
def expand_dims(b: TileBuilder, input: Any, axis: Any) -> Value:
    """New dimensions of size 1 at `axis` (an int or a tuple, counted in the result). Also x[:, None]."""
    v = b.to_value(input)
    axes = constant_shape(axis, "the axis of tl.expand_dims")
    rank = len(v.shape) + len(axes)
    places = sorted(normalise_axis(a, rank) for a in axes)
    if len(set(places)) != len(places):
        raise ShapeError(f"axis {axes} of tl.expand_dims names a dimension twice", "name each new dimension once")
    if not v.shape:
        return b.splat(v, (1,) * rank)
    for a in places:
        v = b.value(ops.expand_dims, v, axis=a)
    return v


@builtin(method=True)
def broadcast_to(b: TileBuilder, input: Any, *shape: Any) -> Value:
    """Grown to a shape: dimensions of size 1 repeat, missing ones are added on the left."""
    return b.broadcast_to(b.to_value(input), _dims(shape, "the shape of tl.broadcast_to"))


@builtin
def broadcast(b: TileBuilder, input: Any, other: Any) -> tuple[Value, ...]:
    """Both tensors, grown to their common shape."""
    return b.broadcast(b.to_value(input), b.to_value(other))


@builtin
def join(builder: TileBuilder, a: Any, b: Any) -> Value:
    """Two tiles of one dtype side by side in a new last dimension of size 2; they broadcast first."""
    return builder.value(ops.join, *builder.broadcast(builder.to_value(a), builder.to_value(b)))


@builtin(method=True)
def split(b: TileBuilder, a: Any) -> tuple[Value, ...]:
    """The two halves of a tile whose last dimension is 2: the reverse of `tl.join`."""
    return tuple(b.create(ops.split, [b.to_value(a)]).results)


@builtin
def interleave(builder: TileBuilder, a: Any, b: Any) -> Value:
    """a[0], b[0], a[1], b[1], … along the last dimension."""
    joined = join.fn(builder, a, b)
    rank = len(joined.shape)
    return joined if rank == 1 else builder.value(ops.reshape, joined, shape=(*joined.shape[:-2], 2 * joined.shape[-2]))


@builtin
def cat(b: TileBuilder, input: Any, other: Any, can_reorder: Any = False, dim: Any = 0) -> Value:
    """One tile after the other along `dim`. The order is kept, whatever `can_reorder` allows."""
    x, y = b.to_value(input), b.to_value(other)
    axis = normalise_axis(constant_int(dim, "the dim of tl.cat"), max(1, len(x.shape)))
    return b.value(ops.cat, x, y, axis=axis)


@builtin(method=True)
def flip(b: TileBuilder, x: Any, dim: Any = None) -> Value:
    """The elements along `dim` (the last by default) in reverse order."""
    v = b.to_value(x)
    if not v.shape:
        raise ShapeError("tl.flip of a scalar", "flip takes a tile")
    axis = normalise_axis(-1 if dim is None else constant_int(dim, "the dim of tl.flip"), len(v.shape))
    return b.value(ops.flip, v, axis=axis)


@builtin
def squeeze(b: TileBuilder, x: Any, dim: Any) -> Value:
    """Without dimension `dim`, whose size is 1."""
    v = b.to_value(x)
    axis = normalise_axis(constant_int(dim, "the dim of tl.squeeze"), len(v.shape))
    if v.shape[axis] != 1:
        raise ShapeError(f"dimension {axis} of {v.shape} has size {v.shape[axis]}, not 1", "reduce it instead: tl.sum(x, axis)")
    return _reshape(b, v, (v.shape[:axis] + v.shape[axis + 1 :],), "tl.squeeze")


@builtin
def unsqueeze(b: TileBuilder, x: Any, dim: Any) -> Value:
    """With a new dimension of size 1 at `dim`: as `tl.expand_dims`."""
    return expand_dims.fn(b, x, dim)
