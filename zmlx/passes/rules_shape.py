"""Canonical forms of ops that only move elements: chains merge, what has no effect goes."""

from __future__ import annotations

from collections.abc import Sequence

from zmlx.ir.core import Op, Value
from zmlx.ir.rewrite import Rewriter, Rules
from zmlx.ir.types import Type
from zmlx.ops import index, shape
from zmlx.passes.constants import constant, defined_by

RULES = Rules()
Result = Sequence[Value] | None


def _type(v: Value) -> Type:
    return v.type  # type: ignore[return-value]


@RULES.rule("splat", "broadcast", "reshape")
def keeps_shape(op: Op, b: Rewriter) -> Result:
    return [op.operands[0]] if op.operands[0].type == op.result.type else None


@RULES.rule("broadcast", "reshape", "expand_dims", "trans", "flip")
def of_splat(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], shape.splat)
    return [b.value(shape.splat, inner.operands[0], shape=_type(op.result).shape)] if inner else None


@RULES.rule("arange")
def one_number(op: Op, b: Rewriter) -> Result:
    return [constant(b, op.attrs["start"], _type(op.result))] if op.attrs["end"] - op.attrs["start"] == 1 else None


@RULES.rule("broadcast")
def broadcast_twice(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], shape.broadcast)
    return [b.value(shape.broadcast, inner.operands[0], shape=op.attrs["shape"])] if inner else None


@RULES.rule("reshape")
def reshape_twice(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], shape.reshape, shape.expand_dims)
    return [b.value(shape.reshape, inner.operands[0], shape=op.attrs["shape"])] if inner else None


@RULES.rule("reshape")
def reshape_adds_one_dimension(op: Op, b: Rewriter) -> Result:
    old, new = _type(op.operands[0]).shape, _type(op.result).shape
    if len(new) != len(old) + 1:
        return None
    axis = next((i for i, n in enumerate(new) if n == 1 and new[:i] + new[i + 1 :] == old), None)
    return None if axis is None else [b.value(shape.expand_dims, op.operands[0], axis=axis)]


@RULES.rule("trans")
def trans_twice(op: Op, b: Rewriter) -> Result:
    x, order = op.operands[0], op.attrs["order"]
    if list(order) == sorted(order):
        return [x]
    inner = defined_by(x, shape.trans)
    if inner is None:
        return None
    return [b.value(shape.trans, inner.operands[0], order=tuple(inner.attrs["order"][i] for i in order))]


@RULES.rule("flip")
def flip_twice(op: Op, b: Rewriter) -> Result:
    x, axis = op.operands[0], op.attrs["axis"]
    if _type(x).shape[axis] == 1:
        return [x]
    inner = defined_by(x, shape.flip)
    rank = _type(x).rank
    return [inner.operands[0]] if inner and inner.attrs["axis"] % rank == axis % rank else None


@RULES.rule("split")
def split_of_join(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], shape.join)
    return inner.operands if inner else None


@RULES.rule("join")
def join_of_split(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    inner = defined_by(x, shape.split)
    return inner.operands if inner and x is inner.results[0] and y is inner.results[1] else None


@RULES.rule("join")
def join_of_one(op: Op, b: Rewriter) -> Result:
    """Two equal splats."""
    x, y = (defined_by(v, shape.splat) for v in op.operands)
    return [b.value(shape.splat, x.operands[0], shape=_type(op.result).shape)] if x and y and x.operands == y.operands else None


@RULES.rule("hint")
def hint_of_constant(op: Op, b: Rewriter) -> Result:
    """What is computed from a literal is known better."""
    return [op.operands[0]] if defined_by(op.operands[0], index.constant, index.arange) else None
