"""Ops that place elements elsewhere. Tiles are row-major in meaning: `reshape` keeps that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx.errors import ShapeError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import check_shape

V = "pure cheap view exact"
Types = Sequence[Type]
Attrs = Mapping[str, Any]


def normalise_axis(axis: int, rank: int) -> int:
    """A non-negative axis; negative ones count from the end."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} is out of range for a tile with {rank} dimension{'s' * (rank != 1)}", f"use {-rank} … {rank - 1}")
    return axis % rank


def _splat(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    if types[0].is_tile:
        raise ShapeError(f"splat takes a scalar, got {types[0]}")
    return (types[0].with_shape(check_shape(attrs["shape"])),)


def _broadcast(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    (x,), shape = types, check_shape(attrs["shape"])
    if len(shape) != x.rank or any(s not in (1, d) for s, d in zip(x.shape, shape, strict=True)):
        raise ShapeError(f"a tile of shape {x.shape} cannot be broadcast to {shape}", "only dimensions of size 1 can grow")
    return (x.with_shape(shape),)


def _expand_dims(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    (x,) = types
    axis = normalise_axis(attrs["axis"], x.rank + 1)
    return (x.with_shape(check_shape((*x.shape[:axis], 1, *x.shape[axis:]))),)


def _reshape(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    (x,), shape = types, check_shape(attrs["shape"])
    size = Type(x.elem, shape).size
    if size != x.size:
        raise ShapeError(f"{x.shape} has {x.size} elements, {shape} has {size}", "a reshape keeps the number of elements")
    return (x.with_shape(shape),)


def _trans(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    (x,), order = types, attrs["order"]
    if sorted(order) != list(range(x.rank)):
        raise ShapeError(f"{tuple(order)} does not permute the {x.rank} dimensions of {x}", f"name each of {tuple(range(x.rank))} once")
    return (x.with_shape(tuple(x.shape[i] for i in order)),)


def _join(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    x, y = types
    if x != y:
        raise ShapeError(f"tl.join takes two tiles of one type, got {x} and {y}", "broadcast or cast them first")
    return (x.with_shape(check_shape((*x.shape, 2))),)


def _split(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    (x,) = types
    if not x.shape or x.shape[-1] != 2:
        raise ShapeError(f"tl.split takes a tile whose last dimension is 2, got {x}", "reshape it first: tl.reshape(x, (n // 2, 2))")
    return (x.with_shape(x.shape[:-1]),) * 2


def _cat(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    x, y = types
    if x != y or not x.shape:
        raise ShapeError(f"tl.cat takes two tiles of one type, got {x} and {y}", "broadcast or cast them first")
    axis = normalise_axis(attrs["axis"], x.rank)
    return (x.with_shape(check_shape(tuple(d * (1 + (i == axis)) for i, d in enumerate(x.shape)))),)


def _flip(types: Types, attrs: Attrs, regions: Any) -> tuple[Type, ...]:
    normalise_axis(attrs["axis"], types[0].rank)
    return (types[0],)


splat = define("splat", ("x",), _splat, attrs=("shape",), traits=V, numpy=lambda x, shape: np.broadcast_to(x, shape))
broadcast = define("broadcast", ("x",), _broadcast, attrs=("shape",), traits=V, numpy=lambda x, shape: np.broadcast_to(x, shape))
expand_dims = define("expand_dims", ("x",), _expand_dims, attrs=("axis",), traits=V, numpy=lambda x, axis: np.expand_dims(x, axis))
reshape = define("reshape", ("x",), _reshape, attrs=("shape",), traits=V, numpy=lambda x, shape: np.reshape(x, shape))
trans = define("trans", ("x",), _trans, attrs=("order",), traits=V, numpy=lambda x, order: np.transpose(x, order))
join = define("join", ("x", "y"), _join, traits=V, numpy=lambda x, y: np.stack([x, y], axis=-1))
split = define("split", ("x",), _split, traits=V, numpy=lambda x: (x[..., 0], x[..., 1]))
cat = define("cat", ("x", "y"), _cat, attrs=("axis",), traits=V, numpy=lambda x, y, axis: np.concatenate([x, y], axis=axis))
flip = define("flip", ("x",), _flip, attrs=("axis",), traits=V, numpy=lambda x, axis: np.flip(x, axis))
