"""Reductions and scans over one axis.

The combine step of a reduction is a block of the IR: the ready-made ones are written with the builder, a user's device
function is traced into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import DtypeError, ReduceError
from zmlx.intrinsics.builtin import Builtin, builtin
from zmlx.intrinsics.core import check_dtype
from zmlx.ir.core import Block, Value
from zmlx.ops import arith, compare, control, index, shape
from zmlx.ops import reduce as reduce_ops
from zmlx.ops.coerce import TileBuilder, constant_int
from zmlx.ops.device import DeviceFunction

Combine = Callable[..., Any]


def _axis(axis: Any, rank: int, what: str) -> int:
    n = constant_int(axis, f"the axis of {what}")
    if not rank:
        raise ReduceError(f"{what} takes a tile, got a scalar", "a scalar needs no reduction")
    if not -rank <= n < rank:
        raise ReduceError(f"axis {n} of {what} is out of range for a tile of rank {rank}", f"use {-rank} … {rank - 1}")
    return n % rank


def _tiles(b: TileBuilder, xs: Any, what: str) -> list[Value]:
    values = [b.to_value(x) for x in (xs if isinstance(xs, (tuple, list)) else (xs,))]
    for v in values:
        if v.type.is_pointer:  # type: ignore[union-attr]
            raise DtypeError(f"{what} takes numbers, got pointers ({v.type})", "load from the pointers first: tl.load(ptr)")
    if not values:
        raise ReduceError(f"{what} of an empty tuple", "pass at least one tile")
    return values


def _same_shape(x: Value, y: Value, what: str) -> None:
    if x.shape != y.shape:
        raise ReduceError(f"{what} takes tiles of one shape, got {x.shape} and {y.shape}", "broadcast them first: tl.broadcast(x, y)")


def _region(b: TileBuilder, xs: Sequence[Value], combine: Combine) -> Block:
    block = Block([x.type.scalar for x in xs] * 2)  # type: ignore[union-attr]
    with b.at(block):
        out = combine(b, *block.args)
        b.create(control.yield_, [b.to_value(v) for v in (out if isinstance(out, (tuple, list)) else (out,))])
    return block


def user_combine(fn: Any, what: str) -> Combine:
    """A combine step from a device function or a `tl` function of two numbers."""
    if isinstance(fn, Builtin):
        return lambda b, *args: fn.invoke(b, args, {})
    if isinstance(fn, DeviceFunction):
        return lambda b, *args: b.inline(fn, list(args))
    raise ReduceError(
        f"the combine function of {what} is {fn!r}",
        "pass a @zmlx.jit function of (left…, right…) that returns as many values: def add(a, b): return a + b",
    )


def reduce_tiles(b: TileBuilder, xs: Sequence[Value], axis: Any, combine: Combine, keep_dims: Any, what: str) -> list[Value]:
    """One value a tile; axis None reduces all dimensions at once."""
    rank = len(xs[0].shape)
    for x in xs[1:]:
        _same_shape(xs[0], x, what)
    if axis is None:
        at = _axis(0, rank, what)
        xs = [x if rank == 1 else b.value(shape.reshape, x, shape=(x.type.size,)) for x in xs]
    else:
        at = _axis(axis, rank, what)
    results = b.create(reduce_ops.reduce, list(xs), {"axis": at}, [_region(b, xs, combine)]).results
    if not keep_dims:
        return results
    if axis is None or rank == 1:
        return [b.splat(r, (1,) * rank) for r in results]
    return [b.value(shape.expand_dims, r, axis=at) for r in results]


def _one_or_all(results: Sequence[Value], xs: Any) -> Any:
    return tuple(results) if isinstance(xs, (tuple, list)) else results[0]


@builtin(method=True)
def reduce(b: TileBuilder, input: Any, axis: Any, combine_fn: Any, keep_dims: Any = False) -> Any:
    """Combines all elements along `axis` (None: of the whole tile) by an associative and commutative @zmlx.jit function.
    `input` is a tile or a tuple of tiles; `combine_fn` takes the elements of the left part, then those of the right part,
    and returns one value a tile, of the same types. A 1-D tile gives scalars."""
    xs = _tiles(b, input, "tl.reduce")
    return _one_or_all(reduce_tiles(b, xs, axis, user_combine(combine_fn, "tl.reduce"), keep_dims, "tl.reduce"), input)


@builtin(method=True)
def associative_scan(b: TileBuilder, input: Any, axis: Any, combine_fn: Any, reverse: Any = False) -> Any:
    """All prefixes along `axis` (suffixes if `reverse`), combined by an associative @zmlx.jit function, as `tl.reduce`."""
    xs = _tiles(b, input, "tl.associative_scan")
    return _one_or_all(_scan(b, xs, axis, user_combine(combine_fn, "tl.associative_scan"), reverse, "tl.associative_scan"), input)


def _scan(b: TileBuilder, xs: Sequence[Value], axis: Any, combine: Combine, reverse: Any, what: str) -> list[Value]:
    for x in xs[1:]:
        _same_shape(xs[0], x, what)
    attrs = {"axis": _axis(axis, len(xs[0].shape), what), "reverse": bool(reverse)}
    return b.create(reduce_ops.scan, list(xs), attrs, [_region(b, xs, combine)]).results


# -- sums ---------------------------------------------------------------------------------------------------------------


def sum_dtype(d: DType, dtype: Any, what: str) -> DType:
    """Integers under 32 bits are summed in 32 with their sign (int1: uint32), the rest as they are, or all as asked."""
    if dtype is not None:
        return check_dtype(dtype, what)
    return d if d.is_float or d.bits >= 32 else dt.int32 if d.is_signed else dt.uint32


def _accumulated(b: TileBuilder, input: Any, dtype: Any, what: str, step: Callable[[Value], Value]) -> Value:
    """step(x) with halves accumulated in float32 and rounded once."""
    (x,) = _tiles(b, (input,), what)
    result = sum_dtype(x.type.dtype, dtype, what)  # type: ignore[union-attr]
    inner = dt.float32 if result.is_half else result
    return b.cast(step(b.cast(x, inner)), result)


def _add(b: TileBuilder, x: Value, y: Value) -> Value:
    return b.value(arith.add, x, y)


def _mul(b: TileBuilder, x: Value, y: Value) -> Value:
    return b.value(arith.mul, x, y)


@builtin(method=True, name="sum")
def sum_(b: TileBuilder, input: Any, axis: Any = None, keep_dims: Any = False, dtype: Any = None) -> Value:
    """The sum along `axis` (None: of all elements). Integers under 32 bits are summed in 32 (int1 in uint32); float16 and
    bfloat16 keep their dtype, but are summed in float32 and rounded once; `dtype` overrides."""
    return _accumulated(b, input, dtype, "tl.sum", lambda x: reduce_tiles(b, [x], axis, _add, keep_dims, "tl.sum")[0])


@builtin(method=True)
def cumsum(b: TileBuilder, input: Any, axis: Any = 0, reverse: Any = False, dtype: Any = None) -> Value:
    """Running sums along `axis`, from the end if `reverse`; element types as `tl.sum`."""
    return _accumulated(b, input, dtype, "tl.cumsum", lambda x: _scan(b, [x], axis, _add, reverse, "tl.cumsum")[0])


@builtin(method=True)
def cumprod(b: TileBuilder, input: Any, axis: Any = 0, reverse: Any = False) -> Value:
    """Running products along `axis`, from the end if `reverse`; the element type stays (halves multiply in float32)."""
    (x,) = _tiles(b, (input,), "tl.cumprod")
    d: DType = x.type.dtype  # type: ignore[union-attr]
    return _accumulated(b, x, d, "tl.cumprod", lambda v: _scan(b, [v], axis, _mul, reverse, "tl.cumprod")[0])


@builtin(method=True)
def xor_sum(b: TileBuilder, input: Any, axis: Any = None, keep_dims: Any = False) -> Value:
    """The exclusive or of integers along `axis` (None: of all elements)."""
    (x,) = _tiles(b, (input,), "tl.xor_sum")
    if x.type.dtype.is_float:  # type: ignore[union-attr]
        raise DtypeError(f"tl.xor_sum takes integers, got {x.type}", "cast or bitcast first: x.to(tl.int32, bitcast=True)")
    return reduce_tiles(b, [x], axis, lambda b, x, y: b.value(arith.xor, x, y), keep_dims, "tl.xor_sum")[0]


# -- extrema ------------------------------------------------------------------------------------------------------------


def _widened(b: TileBuilder, input: Any, what: str) -> Value:
    (x,) = _tiles(b, (input,), what)
    d: DType = x.type.dtype  # type: ignore[union-attr]
    return x if d.bits >= 32 else b.cast(x, dt.float32 if d.is_float else dt.int32)


def _index_combine(record: Any, tie_break_left: bool) -> Combine:
    """Keeps the better (value, index). A NaN is worse than any number, as maximum and minimum ignore it."""

    def combine(b: TileBuilder, v1: Value, i1: Value, v2: Value, i2: Value) -> tuple[Value, Value]:
        first = b.value(record, v1, v2)
        equal = b.value(compare.eq, v1, v2)
        if v1.type.dtype.is_float:  # type: ignore[union-attr]
            nan1, nan2 = b.value(compare.isnan, v1), b.value(compare.isnan, v2)
            first = b.logical_or(first, b.logical_and(nan2, b.logical_not(nan1)))
            equal = b.logical_or(equal, b.logical_and(nan1, nan2))
        if tie_break_left:
            first = b.logical_or(first, b.logical_and(equal, b.value(compare.lt, i1, i2)))
        return b.value(compare.select, first, v1, v2), b.value(compare.select, first, i1, i2)

    return combine


def _extremum(b: TileBuilder, name: str, input: Any, axis: Any, indices: Any, tie_break_left: Any, keep_dims: Any) -> Any:
    what = f"tl.{name}"
    x = _widened(b, input, what)
    largest = name.endswith("max")
    if not indices:
        record = arith.maximum if largest else arith.minimum
        return reduce_tiles(b, [x], axis, lambda b, p, q: b.value(record, p, q), keep_dims, what)[0]
    rank = len(x.shape)
    flat = axis is None and rank > 1
    at = _axis(0 if axis is None else axis, rank, what)
    if flat:
        x = b.value(shape.reshape, x, shape=(x.type.size,))
    i = b.value(index.arange, start=0, end=x.shape[at])
    for d in range(len(x.shape)):
        if d != at:
            i = b.value(shape.expand_dims, i, axis=d)
    combine = _index_combine(compare.gt if largest else compare.lt, bool(tie_break_left))
    results = reduce_tiles(b, [x, b.broadcast_to(i, x.shape)], at, combine, keep_dims and not flat, what)
    return tuple(b.splat(r, (1,) * rank) for r in results) if keep_dims and flat else tuple(results)


@builtin(method=True, name="max")
def max_(
    b: TileBuilder,
    input: Any,
    axis: Any = None,
    return_indices: Any = False,
    return_indices_tie_break_left: Any = True,
    keep_dims: Any = False,
) -> Any:
    """The largest element along `axis` (None: of all). NaNs are ignored unless there is nothing else. Floats under 32 bits
    give float32, integers under 32 bits int32. return_indices=True gives (values, int32 indices), as `tl.argmax`."""
    return _extremum(b, "max", input, axis, return_indices, return_indices_tie_break_left, keep_dims)


@builtin(method=True, name="min")
def min_(
    b: TileBuilder,
    input: Any,
    axis: Any = None,
    return_indices: Any = False,
    return_indices_tie_break_left: Any = True,
    keep_dims: Any = False,
) -> Any:
    """The smallest element along `axis` (None: of all); otherwise as `tl.max`."""
    return _extremum(b, "min", input, axis, return_indices, return_indices_tie_break_left, keep_dims)


@builtin(method=True)
def argmax(b: TileBuilder, input: Any, axis: Any, tie_break_left: Any = True, keep_dims: Any = False) -> Value:
    """The int32 index of the largest element along `axis` (None: in the flattened tile). NaNs count as the least. Of equal
    elements the lowest index; tie_break_left=False leaves it open which, and may be faster."""
    return _extremum(b, "argmax", input, axis, True, tie_break_left, keep_dims)[1]


@builtin(method=True)
def argmin(b: TileBuilder, input: Any, axis: Any, tie_break_left: Any = True, keep_dims: Any = False) -> Value:
    """The int32 index of the smallest element along `axis`; otherwise as `tl.argmax`."""
    return _extremum(b, "argmin", input, axis, True, tie_break_left, keep_dims)[1]
