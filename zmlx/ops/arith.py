"""Arithmetic on numbers and pointers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import PointerError, ShapeError
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import same

EW = "elementwise pure "
CHEAP = EW + "cheap exact "


def _trunc_div(a: Any, b: Any) -> Any:
    """C's integer division; x // 0 is 0, and the smallest number over -1 wraps."""
    safe = np.where(b == 0, np.ones_like(b), b)
    q = np.floor_divide(a, safe)
    if np.issubdtype(q.dtype, np.signedinteger):
        q = q + ((np.multiply(q, safe) != a) & ((a < 0) != (safe < 0))).astype(q.dtype)
    return np.where(b == 0, np.zeros_like(q), q)


def _trunc_mod(a: Any, b: Any) -> Any:
    """C's remainder (the dividend's sign); x % 0 is 0 for integers."""
    if np.issubdtype(np.asarray(a).dtype, np.floating):
        return np.fmod(a, b)
    return np.where(b == 0, np.zeros_like(a), np.fmod(a, np.where(b == 0, np.ones_like(b), b)))


def _umulhi(a: Any, b: Any) -> Any:
    bits = np.asarray(a).dtype.itemsize * 8
    if bits == 32:
        return (
            ((a.astype(np.int64) * b.astype(np.int64)) >> 32).astype(a.dtype)
            if a.dtype.kind == "i"
            else ((a.astype(np.uint64) * b.astype(np.uint64)) >> np.uint64(32)).astype(a.dtype)
        )
    wide = [(int(x) * int(y)) >> 64 for x, y in np.broadcast(a, b)]
    return np.array(wide, dtype=object).astype(a.dtype).reshape(np.broadcast(a, b).shape)


add = define(
    "add", ("x", "y"), same(2), numpy=lambda x, y: np.logical_xor(x, y) if x.dtype == bool else x + y, traits=CHEAP + "commutative",
    spell={"c": "{0} + {1}", ("c", "bool"): "{0} != {1}"}, identity=lambda d: 0, doc="x + y; integers wrap",
)  # fmt: skip
sub = define(
    "sub", ("x", "y"), same(2), numpy=lambda x, y: np.logical_xor(x, y) if x.dtype == bool else x - y, traits=CHEAP,
    spell={"c": "{0} - {1}", ("c", "bool"): "{0} != {1}"}, doc="x - y; integers wrap",
)  # fmt: skip
mul = define(
    "mul", ("x", "y"), same(2), numpy=lambda x, y: x * y, traits=CHEAP + "commutative",
    spell={"c": "{0} * {1}", ("c", "bool"): "{0} && {1}"}, identity=lambda d: 1, doc="x * y; integers wrap",
)  # fmt: skip
div = define(
    "div", ("x", "y"), same(2, "float"), numpy=lambda x, y: x / y, traits=EW + "exact",
    spell={"c": "{0} / {1}"}, doc="x / y of floats, correctly rounded",
)  # fmt: skip
floordiv = define(
    "floordiv", ("x", "y"), same(2, "int"), numpy=_trunc_div, traits=CHEAP,
    spell={"c": "zm_idiv({0}, {1})", ("c", "bool"): "{0} && {1}"},
    doc="x // y of integers, rounded towards zero (-7 // 3 is -2)",
)  # fmt: skip
mod = define(
    "mod", ("x", "y"), same(2), numpy=_trunc_mod, traits=CHEAP,
    spell={"c": "zm_imod({0}, {1})", ("c", "float"): "fmod({0}, {1})", ("host", "float"): "zm_fmod({0}, {1})",
           ("cuda", "float32"): "fmodf({0}, {1})", ("metal", "float"): "metal::precise::fmod({0}, {1})", ("c", "bool"): "false"},
    doc="x % y with the sign of x (C's rule)",
)  # fmt: skip
neg = define(
    "neg", ("x",), same(1, "number"), numpy=lambda x: x if x.dtype == bool else -x, traits=CHEAP,
    spell={"c": "-{0}", ("c", "bool"): "{0}"}, doc="-x",
)  # fmt: skip
and_ = define(
    "and", ("x", "y"), same(2, "int"), numpy=np.bitwise_and, traits=CHEAP + "commutative",
    spell={"c": "{0} & {1}"}, identity=lambda d: d.range()[1] if not d.is_signed else -1, doc="x & y",
)  # fmt: skip
or_ = define(
    "or", ("x", "y"), same(2, "int"), numpy=np.bitwise_or, traits=CHEAP + "commutative",
    spell={"c": "{0} | {1}"}, identity=lambda d: 0, doc="x | y",
)  # fmt: skip
xor = define(
    "xor", ("x", "y"), same(2, "int"), numpy=np.bitwise_xor, traits=CHEAP + "commutative",
    spell={"c": "{0} ^ {1}"}, identity=lambda d: 0, doc="x ^ y",
)  # fmt: skip
invert = define(
    "invert", ("x",), same(1, "int"), numpy=np.invert, traits=CHEAP, spell={"c": "~{0}", ("c", "bool"): "!{0}"}, doc="~x",
)  # fmt: skip
shl = define(
    "shl", ("x", "y"), same(2, "int"), numpy=np.left_shift, traits=CHEAP,
    spell={"c": "{0} << {1}", ("c", "bool"): "{0} && !{1}"}, doc="x << y, for 0 ≤ y < bits",
)  # fmt: skip
shr = define(
    "shr", ("x", "y"), same(2, "int"), numpy=np.right_shift, traits=CHEAP,
    spell={"c": "{0} >> {1}", ("c", "bool"): "{0} && !{1}"}, doc="x >> y, arithmetic for signed integers, for 0 ≤ y < bits",
)  # fmt: skip
umulhi = define(
    "umulhi", ("x", "y"), same(2, "wide int"), numpy=_umulhi, traits=CHEAP + "commutative",
    spell={"metal": "zm_mulhi({0}, {1})", "host": "zm_mulhi({0}, {1})", ("cuda", "int32"): "__mulhi({0}, {1})",
           ("cuda", "uint32"): "__umulhi({0}, {1})", ("cuda", "int64"): "__mul64hi({0}, {1})",
           ("cuda", "uint64"): "__umul64hi({0}, {1})"},
    doc="the upper half of the full product of two integers",
)  # fmt: skip


def _extreme(low: bool) -> Any:
    def identity(d: dt.DType) -> Any:
        if d.is_float:
            return float("inf") if low else -float("inf")
        return d.range()[1] if low else d.range()[0]

    return identity


minimum = define(
    "minimum", ("x", "y"), same(2), numpy=np.fmin, traits=CHEAP + "commutative", identity=_extreme(True),
    spell={"c": "{0} < {1} ? {0} : {1}", ("c", "bool"): "{0} && {1}", ("host", "float"): "zm_fmin({0}, {1})",
           ("cuda", "float32"): "fminf({0}, {1})", ("cuda", "float64"): "fmin({0}, {1})",
           ("metal", "float"): "metal::precise::fmin({0}, {1})"},
)  # fmt: skip
maximum = define(
    "maximum", ("x", "y"), same(2), numpy=np.fmax, traits=CHEAP + "commutative", identity=_extreme(False),
    spell={"c": "{0} > {1} ? {0} : {1}", ("c", "bool"): "{0} || {1}", ("host", "float"): "zm_fmax({0}, {1})",
           ("cuda", "float32"): "fmaxf({0}, {1})", ("cuda", "float64"): "fmax({0}, {1})",
           ("metal", "float"): "metal::precise::fmax({0}, {1})"},
)  # fmt: skip
minimum_nan = define(
    "minimum_nan", ("x", "y"), same(2, "float"), numpy=np.minimum, traits=CHEAP + "commutative", identity=_extreme(True),
    spell={"c": "({0} < {1} || {0} != {0}) ? {0} : {1}"},
)  # fmt: skip
maximum_nan = define(
    "maximum_nan", ("x", "y"), same(2, "float"), numpy=np.maximum, traits=CHEAP + "commutative", identity=_extreme(False),
    spell={"c": "({0} > {1} || {0} != {0}) ? {0} : {1}"},
)  # fmt: skip


def _addptr(types: Sequence[Type], attrs: Mapping[str, Any], regions: Sequence[Any]) -> tuple[Type, ...]:
    ptr, offset = types
    if not ptr.is_pointer:
        raise PointerError(f"the base has type {ptr}, which is no pointer")
    if offset.is_pointer or not offset.dtype.is_int:
        raise PointerError(f"a pointer is advanced by integers, not by {offset}", "cast the offset: offset.to(tl.int32)")
    if ptr.shape != offset.shape:
        raise ShapeError(f"pointer {ptr} and offset {offset} have different shapes")
    return (ptr,)


# The interpreter gives pointers their meaning: an address it can add (offset × itemsize) to.
addptr = define(
    "addptr", ("ptr", "offset"), _addptr, traits=EW + "cheap exact", spell={"c": "{0} + {1}"},
    numpy=lambda ptr, offset, itemsize=1: ptr + offset.astype(np.int64) * itemsize,
)  # fmt: skip
