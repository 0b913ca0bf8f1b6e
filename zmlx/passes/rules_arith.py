"""Canonical forms of elementwise ops: folding, identities that hold for every value (NaN, -0.0 and infinities too)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.core import Op, Value
from zmlx.ir.rewrite import Rewriter, Rules
from zmlx.ir.types import Type
from zmlx.ops import arith, cast, compare, index, shape
from zmlx.ops import math as maths
from zmlx.ops.evaluate import evaluable, evaluate, literal
from zmlx.passes.constants import constant, defined_by, is_zero, known, number, same

RULES = Rules()
ELEMENTWISE = frozenset({"elementwise", "pure"})
Result = Sequence[Value] | None


def _type(v: Value) -> Type:
    return v.type  # type: ignore[return-value]


def _is_int(v: Value) -> bool:
    elem = _type(v).elem
    return isinstance(elem, DType) and elem.is_int


@RULES.rule("constant")
def canonical_number(op: Op, b: Rewriter) -> Result:
    value, dtype = op.attrs["value"], op.attrs["type"]
    exact = number(literal(value, dtype), dtype)
    if type(value) is type(exact) and same(value, exact):
        return None
    return [constant(b, exact, _type(op.result))]


@RULES.rule()
def fold(op: Op, b: Rewriter) -> Result:
    """An op of constants is a constant."""
    if not op.traits >= ELEMENTWISE or not op.operands or not isinstance(op.results[0].type.elem, DType):
        return None
    for v in op.operands:
        if v.op is None or v.op.defn is not index.constant:
            return None
    if not evaluable(op):
        return None
    with np.errstate(all="ignore"):
        (x,) = evaluate(op, [literal(v.op.attrs["value"], v.op.attrs["type"]) for v in op.operands if v.op])
    t = _type(op.result)
    if x != x:
        return None  # a literal NaN has lost its sign
    return [constant(b, number(x, t.dtype), t)]


@RULES.rule()
def narrow(op: Op, b: Rewriter) -> Result:
    """An op of splats is the splat of a scalar op; an op of broadcasts from one shape is the broadcast of a smaller op."""
    if "elementwise" not in op.traits or not op.operands or not op.operands[0].type.shape or op.defn is index.hint:  # type: ignore[union-attr]
        return None
    small: tuple[int, ...] = ()
    for v in op.operands:
        source = defined_by(v, shape.splat, shape.broadcast)
        if source is None:
            return None
        inner = _type(source.operands[0]).shape
        if source.defn is shape.broadcast:
            if small not in ((), inner):
                return None
            small = inner
    full = _type(op.results[0]).shape
    sources = [v.op for v in op.operands if v.op is not None]
    if not small:
        inner_op = b.create(op.defn, [s.operands[0] for s in sources], op.attrs)
        return [b.value(shape.splat, inner_op.result, shape=full)]
    parts = [s.operands[0] if s.defn is shape.broadcast else b.value(shape.splat, s.operands[0], shape=small) for s in sources]
    return [b.value(shape.broadcast, b.create(op.defn, parts, op.attrs).result, shape=full)]


@RULES.rule("add", "mul", "and", "or", "xor", "minimum", "maximum", "minimum_nan", "maximum_nan", "eq", "ne", "umulhi")
def constant_right(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    if known(x) is None or known(y) is not None:
        return None
    if op.defn not in (arith.add, arith.mul) and known(x) == 0 and not _is_int(x):
        return None  # min(0.0, -0.0) is its first operand
    return [b.value(op.defn, y, x)]


_SWAPPED = {compare.lt: compare.gt, compare.gt: compare.lt, compare.le: compare.ge, compare.ge: compare.le}


@RULES.rule("lt", "gt", "le", "ge")
def compare_constant_right(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    return [b.value(_SWAPPED[op.defn], y, x)] if known(x) is not None and known(y) is None else None


@RULES.rule("add", "mul", "and", "or", "xor")
def reassociate(op: Op, b: Rewriter) -> Result:
    """(x + c) + d is x + (c + d) for integers."""
    x, d = op.operands
    inner = defined_by(x, op.defn)
    if inner is None or not _is_int(x) or known(d) is None or known(inner.operands[1]) is None:
        return None
    return [b.value(op.defn, inner.operands[0], b.value(op.defn, inner.operands[1], d))]


# (op, the constant right operand's value for integers, for floats): x op constant is x. None: there is none.
_NEUTRAL: dict[Any, tuple[Any, Any]] = {
    arith.add: (0, -0.0),
    arith.sub: (0, 0.0),
    arith.mul: (1, 1.0),
    arith.div: (None, 1.0),
    arith.floordiv: (1, None),
    arith.or_: (0, None),
    arith.xor: (0, None),
    arith.shl: (0, None),
    arith.shr: (0, None),
}


@RULES.rule("add", "sub", "mul", "div", "floordiv", "or", "xor", "shl", "shr")
def neutral(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    value = known(y)
    if value is None:
        return None
    want = _NEUTRAL[op.defn][0 if _is_int(y) else 1]
    want = bool(want) if _type(y).elem is dt.int1 and want is not None else want
    return [x] if same(value, want) else None


@RULES.rule("addptr")
def neutral_offset(op: Op, b: Rewriter) -> Result:
    return [op.operands[0]] if is_zero(op.operands[1]) else None


@RULES.rule("and", "or")
def all_ones(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    value, dtype = known(y), _type(y).dtype
    if value is None or value != (-1 if dtype.is_signed else dtype.range()[1]):
        return None
    return [x if op.defn is arith.and_ else y]


@RULES.rule("mul", "and", "mod", "sub", "xor")
def zero(op: Op, b: Rewriter) -> Result:
    """Integers: x * 0, x & 0, x % 1, x - x, x ^ x."""
    x, y = op.operands
    if not _is_int(x):
        return None
    if op.defn in (arith.sub, arith.xor):
        vanishes = x is y
    else:
        vanishes = same(known(y), 1) or same(known(y), True) if op.defn is arith.mod else is_zero(y)
    t = _type(op.result)
    return [constant(b, number(np.array(0), t.dtype), t)] if vanishes else None


@RULES.rule("and", "or", "minimum", "maximum", "minimum_nan", "maximum_nan")
def idempotent(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    return [x] if x is y else None


@RULES.rule("div")
def divide_by_power_of_two(op: Op, b: Rewriter) -> Result:
    """Both sides round the same real number, if the reciprocal is a normal number."""
    x, y = op.operands
    value = known(y)
    if value is None or value == 0 or not math.isfinite(value) or math.frexp(value)[0] not in (0.5, -0.5):
        return None
    low, high = {dt.float16: (-13, 13), dt.float64: (-1020, 1020)}.get(_type(y).dtype, (-125, 125))
    if not low <= math.frexp(value)[1] - 1 <= high:
        return None
    return [b.value(arith.mul, x, constant(b, 1.0 / value, _type(y)))]


@RULES.rule("neg", "invert")
def involution(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], op.defn)
    return [inner.operands[0]] if inner else None


@RULES.rule("abs")
def absolute(op: Op, b: Rewriter) -> Result:
    x = op.operands[0]
    if defined_by(x, maths.abs_):
        return [x]
    inner = defined_by(x, arith.neg)
    return [b.value(op.defn, inner.operands[0])] if inner else None


_INVERSE = {
    compare.eq: compare.ne, compare.ne: compare.eq, compare.lt: compare.ge,
    compare.ge: compare.lt, compare.gt: compare.le, compare.le: compare.gt,
}  # fmt: skip


@RULES.rule("invert")
def inverse_compare(op: Op, b: Rewriter) -> Result:
    inner = defined_by(op.operands[0], *_INVERSE)
    if inner is None:
        return None
    elem = _type(inner.operands[0]).elem
    if isinstance(elem, DType) and elem.is_float and inner.defn not in (compare.eq, compare.ne):
        return None  # NaN makes both false
    return [b.value(_INVERSE[inner.defn], *inner.operands)]


@RULES.rule("eq", "ne", "lt", "le", "gt", "ge")
def compare_with_itself(op: Op, b: Rewriter) -> Result:
    x, y = op.operands
    elem = _type(x).elem
    if x is not y or (isinstance(elem, DType) and elem.is_float):
        return None
    return [constant(b, op.defn in (compare.eq, compare.le, compare.ge), _type(op.result))]


def _bounds(v: Value, depth: int = 4) -> tuple[int, int] | None:
    """The smallest and largest integer that an index built from ranges and literals can be."""
    value, op = known(v), v.op
    if value is not None:
        return int(value), int(value)
    if op is None or depth == 0:
        return None
    if op.defn is index.arange:
        return op.attrs["start"], op.attrs["end"] - 1
    if op.defn in (index.program_id, index.num_programs):
        return 0, (1 << 31) - 1
    if op.has("view") and len(op.operands) == 1:
        return _bounds(op.operands[0], depth - 1)
    if op.defn in (arith.add, arith.mul):
        x, y = (_bounds(operand, depth - 1) for operand in op.operands)
        if x is None or y is None:
            return None
        ends = [x[0] + y[0], x[1] + y[1]] if op.defn is arith.add else [a * b for a in x for b in y]
        low, high = _type(v).dtype.range()
        return (min(ends), max(ends)) if low <= min(ends) and max(ends) <= high else None
    return None


@RULES.rule("lt", "le", "gt", "ge")
def compare_ranges(op: Op, b: Rewriter) -> Result:
    """arange(0, 64) < 64 holds: the mask of a block that fits exactly."""
    x, y = op.operands
    if not _is_int(x) or known(y) is None:
        return None
    bounds, c = _bounds(x), int(known(y))
    if bounds is None:
        return None
    ordered = {compare.lt: np.less, compare.le: np.less_equal, compare.gt: np.greater, compare.ge: np.greater_equal}[op.defn]
    one, two = (bool(ordered(end, c)) for end in bounds)
    return [constant(b, one, _type(op.result))] if one is two else None


@RULES.rule("ne")
def truth_of_a_bool(op: Op, b: Rewriter) -> Result:
    """cast(int1) != 0 is the int1 itself."""
    x, y = op.operands
    inner = defined_by(x, cast.cast)
    if inner is None or _type(inner.operands[0]).elem is not dt.int1 or known(y) is None or known(y) != 0:
        return None
    return [inner.operands[0]]


@RULES.rule("select")
def decided(op: Op, b: Rewriter) -> Result:
    cond, x, y = op.operands
    if x is y or (same(known(x), known(y)) and isinstance(_type(x).elem, DType)):
        return [x]
    if known(cond) is not None:
        return [x if known(cond) else y]
    if _type(x).elem is dt.int1 and known(x) is not None and known(y) is not None:
        return [cond if known(x) else b.value(arith.invert, cond)]
    inner = defined_by(cond, arith.invert)
    return [b.value(compare.select, inner.operands[0], y, x)] if inner else None


def _keeps_values(a: DType, to: DType) -> bool:
    """Whether every value of one type is a value of the other."""
    if a is to or a is dt.int1:
        return True
    if a.is_float:
        return to.is_float and to.bits > a.bits
    if to.is_int:
        return to.bits > a.bits and (to.is_signed or not a.is_signed)
    digits = {dt.float16: 11, dt.bfloat16: 8, dt.float32: 24, dt.float64: 53}[to]
    return a.bits - a.is_signed <= digits


@RULES.rule("cast")
def cast_of_cast(op: Op, b: Rewriter) -> Result:
    x, to = op.operands[0], op.attrs["to"]
    middle = _type(x).dtype
    if middle is to:
        return [x]
    inner = defined_by(x, cast.cast)
    if inner is None:
        return None
    first = _type(inner.operands[0]).dtype
    low_bits = first.is_int and middle.is_int and to.is_int and dt.int1 not in (first, middle, to) and to.bits <= middle.bits
    # An integer that came through a float saturates or rounds by other rules than it does by itself.
    rounds = to.is_half or op.attrs.get("rounding") == "rtz" or (middle.is_float and to.is_int)
    by_float = rounds and first.is_int and first is not dt.int1
    if low_bits or (_keeps_values(first, middle) and (not by_float or _keeps_values(first, to))):
        return [inner.operands[0] if first is to else b.value(cast.cast, inner.operands[0], **op.attrs)]
    return None


@RULES.rule("bitcast")
def bitcast_of_bitcast(op: Op, b: Rewriter) -> Result:
    x, to = op.operands[0], op.attrs["to"]
    if _type(x).elem == to:
        return [x]
    inner = defined_by(x, cast.bitcast)
    if inner is None:
        return None
    origin = inner.operands[0]
    return [origin if _type(origin).elem == to else b.value(cast.bitcast, origin, to=to)]
