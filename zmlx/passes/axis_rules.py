"""The axis analysis, op by op: facts about the result from facts about the operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.core import Op
from zmlx.ops.cast import cast_array
from zmlx.passes.axis_info import TOP, AxisInfo, Info, analysed, dims, meet, power, ty, uniform, unit, unknown

INDEX_SCALE = 1 << 20  # a factor up to which a product of non-negative i32 values is taken for an index
Rule = Callable[[Op, "list[AxisInfo]"], AxisInfo]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(fn: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, fn))
        return fn

    return add


def _fold(op: Op, infos: list[Info]) -> int | None:
    """The value of an elementwise op of known constants, by its reference semantics."""
    for i in infos:
        if i.constant is None:
            return None
    if op.defn.numpy is None or not all(analysed(ty(v)) and not ty(v).is_pointer for v in op.operands):
        return None
    with np.errstate(all="ignore"):
        arrays = [np.array(i.constant).astype(ty(v).dtype.compute) for i, v in zip(infos, op.operands, strict=True)]
        return int(op.defn.numpy(*arrays, **op.attrs))


def elementwise(op: Op, infos: list[Info]) -> Info:
    """Any op on elements: equal operands give equal results; constants fold."""
    t = ty(op.results[0])
    folded = _fold(op, infos)
    if folded is not None:
        return uniform(t, constant=folded)
    base = unknown(t)
    constancy = tuple(map(min, *[i.constancy for i in infos])) if len(infos) > 1 else infos[0].constancy
    return Info(base.contiguity, base.divisibility, constancy, None, base.nonneg)


def _with(op: Op, infos: list[Info], contiguity: tuple[int, ...] | None = None, div: Any = None, constancy: Any = None,
          nonneg: bool = False) -> Info:  # fmt: skip
    """`_elementwise`, and the stronger facts that a rule has found."""
    base = elementwise(op, infos)
    if base.constant is not None:
        return base
    return Info(
        contiguity or base.contiguity,
        div or base.divisibility,
        tuple(map(max, base.constancy, constancy)) if constancy else base.constancy,
        None,
        nonneg or base.nonneg,
    )


@rule("constant")
def _constant(op: Op, infos: list[Info]) -> Info:
    return uniform(ty(op.result), constant=int(op.attrs["value"]))


@rule("program_id", "num_programs")
def _program(op: Op, infos: list[Info]) -> Info:
    return uniform(ty(op.result), nonneg=True)


@rule("arange")
def _arange(op: Op, infos: list[Info]) -> Info:
    start, n = op.attrs["start"], op.attrs["end"] - op.attrs["start"]
    return Info((n,), (power(start),), (1,), start if n == 1 else None, start >= 0)


@rule("hint")
def _hint(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    rank = len(x.contiguity)
    values = tuple(power(int(v)) for v in op.attrs["values"])
    values = values * rank if len(values) == 1 else values
    name = {"multiple_of": "divisibility", "max_contiguous": "contiguity", "max_constancy": "constancy"}[op.attrs["kind"]]
    limit = (TOP,) * rank if name == "divisibility" else dims(ty(op.result))
    facts: Any = {name: tuple(max(a, min(b, n)) for a, b, n in zip(getattr(x, name), values, limit, strict=True))}
    return replace(x, **facts)


def _sum(x: Info, y: Info, xu: int = 1, yscale: int = 1) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Contiguity and divisibility of x + y, where y counts in units of `yscale`."""
    contiguity = tuple(
        max(min(xc, yk), min(xk, yc)) for xc, xk, yc, yk in zip(x.contiguity, x.constancy, y.contiguity, y.constancy, strict=True)
    )
    div = tuple(min(x.at(d, g, xu), min(y.at(d, g) * yscale, TOP)) for d, g in enumerate(contiguity))
    return contiguity, div


def _wide(op: Op) -> bool:
    """Whether the result is of a type whose range an index does not leave."""
    elem = ty(op.result).elem
    return isinstance(elem, DType) and elem.bits >= 32


@rule("add")
def _add(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    if ty(op.result).elem is dt.int1:
        return elementwise(op, infos)
    return _with(op, infos, *_sum(x, y), nonneg=x.nonneg and y.nonneg and _wide(op))


@rule("addptr")
def _addptr(op: Op, infos: list[Info]) -> Info:
    size = unit(ty(op.result))
    x, y = infos[0], _reread(infos[1], ty(op.operands[1]).dtype, dt.int64)
    constancy = tuple(map(min, x.constancy, y.constancy))
    return Info(*_sum(x, y, size, power(size)), constancy, None, False)


@rule("sub")
def _sub(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    if ty(op.result).elem is dt.int1:
        return elementwise(op, infos)
    contiguity = tuple(map(min, x.contiguity, y.constancy))
    div = tuple(min(x.at(d, g), y.at(d, g if y.contiguity[d] == 1 else 1)) for d, g in enumerate(contiguity))
    return _with(op, infos, contiguity, div)


@rule("mul")
def _mul(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    for a, b in ((x, y), (y, x)):
        if a.constant == 1 and b.constant is None:
            return b
        if a.constant == 0:
            return uniform(ty(op.result), constant=0)
    div = tuple(min(x.at(d, 1) * y.at(d, 1), TOP) for d in range(len(x.contiguity)))
    small = _wide(op) and all(i.constant is None or i.constant <= INDEX_SCALE for i in infos)
    return _with(op, infos, None, div, nonneg=x.nonneg and y.nonneg and small)


@rule("shl")
def _shl(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    bits = ty(op.result).elem.bits
    k = y.constant if y.constant is not None and 0 <= y.constant < bits else 0
    if k == 0 and y.constant == 0:
        return x
    return _with(op, infos, None, tuple(min(x.at(d, 1) << k, TOP) for d in range(len(x.contiguity))))


@rule("shr")
def _shr(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    k = y.constant
    if k is None or not 0 <= k < ty(op.result).elem.bits:
        return _with(op, infos, nonneg=x.nonneg)
    return x if k == 0 else _quotient(op, infos, uniform(ty(op.result), constant=1 << k), x.nonneg)


def _quotient(op: Op, infos: list[Info], y: Info, nonneg: bool) -> Info:
    """x over y: aligned contiguous groups of x fall on one quotient; a multiple of a constant divides evenly."""
    x = infos[0]
    rank = range(len(x.contiguity))
    constancy = tuple(min(x.contiguity[d], x.divisibility[d], y.at(d, y.contiguity[d]), y.constancy[d]) for d in rank)
    whole = power(y.constant) if y.constant else 0
    div = tuple(max(1, x.at(d, 1) // whole) if whole == y.constant and whole else 1 for d in rank)
    return _with(op, infos, None, div, constancy, nonneg)


@rule("floordiv")
def _floordiv(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    if y.constant == 1:
        return x
    if x.nonneg:  # towards zero is downwards
        return _quotient(op, infos, y, y.nonneg)
    div = tuple(max(1, x.at(d, 1) // y.constant) if y.constant and y.constant == power(y.constant) else 1 for d in range(len(x.contiguity)))
    return _with(op, infos, None, div)


@rule("mod")
def _mod(op: Op, infos: list[Info]) -> Info:
    """Aligned contiguous groups stay contiguous; the divisor is taken not to be zero."""
    x, y = infos
    rank = range(len(x.contiguity))
    if y.constant == 1:
        return uniform(ty(op.result), constant=0)
    contiguity = tuple(
        min(x.contiguity[d], x.divisibility[d], y.at(d, y.contiguity[d]), y.constancy[d]) if x.nonneg and y.contiguity[d] == 1 else 1
        for d in rank
    )
    div = tuple(min(x.at(d, g), y.at(d, g if y.contiguity[d] == 1 else 1)) for d, g in enumerate(contiguity))
    return _with(op, infos, contiguity, div, nonneg=x.nonneg)


@rule("and")
def _and(op: Op, infos: list[Info]) -> Info:
    """x & (2^k - 1) is a remainder, x & -2^k rounds down; both for negative x too."""
    x, y = infos
    if x.constant is not None:
        x, y = y, x
    rank = range(len(x.contiguity))
    nonneg = x.nonneg or y.nonneg
    c = y.constant
    if c is not None and c > 0 and c & (c + 1) == 0 and ty(op.result).elem is not dt.int1:
        contiguity = tuple(min(x.contiguity[d], x.divisibility[d], c + 1) for d in rank)
        return _with(op, infos, contiguity, tuple(x.at(d, g) for d, g in enumerate(contiguity)), nonneg=nonneg)
    div = tuple(max(x.at(d, 1), y.at(d, 1)) for d in rank)
    constancy = None
    if c is not None and c < 0 and -c == power(c):
        constancy = tuple(min(x.contiguity[d], x.divisibility[d], -c) for d in rank)
    return _with(op, infos, None, div, constancy, nonneg)


@rule("or", "xor")
def _or(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    return _with(op, infos, None, tuple(min(x.at(d, 1), y.at(d, 1)) for d in range(len(x.contiguity))), nonneg=x.nonneg and y.nonneg)


@rule("minimum", "maximum")
def _extreme(op: Op, infos: list[Info]) -> Info:
    x, y = infos
    either = x.nonneg or y.nonneg if op.name == "maximum" else x.nonneg and y.nonneg
    return _with(op, infos, None, tuple(min(x.at(d, 1), y.at(d, 1)) for d in range(len(x.contiguity))), nonneg=either)


@rule("neg", "abs")
def _neg(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    if op.name == "abs" and x.nonneg:
        return x
    return _with(op, infos, None, tuple(x.at(d, 1) for d in range(len(x.contiguity))))


def _compare(op: Op, infos: list[Info], x: Info, y: Info) -> Info:
    """x < y or x >= y, x contiguous and y constant: one truth for a group whose ends are multiples of its size."""
    if not analysed(ty(op.operands[0])) or ty(op.operands[0]).is_pointer:
        return elementwise(op, infos)
    group = tuple(
        min(x.contiguity[d], x.divisibility[d], y.at(d, y.contiguity[d]), y.constancy[d]) if y.contiguity[d] == 1 else 1
        for d in range(len(x.contiguity))
    )
    return _with(op, infos, None, None, group)


@rule("lt", "ge")
def _lt(op: Op, infos: list[Info]) -> Info:
    return _compare(op, infos, infos[0], infos[1])


@rule("gt", "le")
def _gt(op: Op, infos: list[Info]) -> Info:
    return _compare(op, infos, infos[1], infos[0])


@rule("select")
def _select(op: Op, infos: list[Info]) -> Info:
    c, x, y = infos
    if c.constant is not None:
        return x if c.constant else y
    both = meet(x, y, unit(ty(op.result)))
    contiguity = tuple(map(min, both.contiguity, c.constancy))
    size = unit(ty(op.result))
    div = tuple(min(x.at(d, g, size), y.at(d, g, size)) for d, g in enumerate(contiguity))
    constancy = both.constancy if both.constant is not None else tuple(map(min, both.constancy, c.constancy))
    return Info(contiguity, div, constancy, both.constant, both.nonneg)


@rule("cast")
def _cast(op: Op, infos: list[Info]) -> Info:
    source, to = ty(op.operands[0]), op.attrs["to"]
    t = ty(op.result)
    if not analysed(source):
        return unknown(t)
    (x,) = infos
    if x.constant is not None:
        with np.errstate(all="ignore"):
            return uniform(t, constant=int(cast_array(np.array(x.constant).astype(source.dtype.compute), source.dtype, to)))
    if to is dt.int1:
        return Info((1,) * len(x.contiguity), (1,) * len(x.contiguity), x.constancy, None, True)
    return _reread(x, source.dtype, to)


def _reread(x: Info, source: DType, to: DType) -> Info:
    """The low bits of x, or x widened."""
    if to is source:
        return x
    wider = to.bits > source.bits
    keeps = wider and source.bits >= 32 and (to.is_signed or not source.is_signed or x.nonneg)
    nonneg = not to.is_signed or (x.nonneg and wider)
    if keeps:
        return replace(x, nonneg=nonneg)
    # Where the numbers may wrap they do so between aligned groups.
    contiguity = tuple(min(c, v, 1 << min(source.bits, to.bits, 40)) for c, v in zip(x.contiguity, x.divisibility, strict=True))
    return Info(contiguity, tuple(x.at(d, g) for d, g in enumerate(contiguity)), x.constancy, None, nonneg)


@rule("bitcast")
def _bitcast(op: Op, infos: list[Info]) -> Info:
    source, t = ty(op.operands[0]), ty(op.result)
    if not analysed(source):
        return unknown(t)
    (x,) = infos
    if isinstance(source.elem, DType) and isinstance(t.elem, DType):
        if x.constant is not None:
            return uniform(t, constant=int(np.array(x.constant).astype(source.elem.compute).astype(t.elem.compute)))
        return _reread(x, source.elem, t.elem)
    if unit(source) == unit(t):
        return replace(x, nonneg=False)
    size = unit(source)
    return Info((1,) * len(x.contiguity), tuple(x.at(d, 1, size) for d in range(len(x.contiguity))), x.constancy)


@rule("splat")
def _splat(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    return uniform(ty(op.result), x.divisibility[0], x.constant, x.nonneg)


@rule("broadcast")
def _broadcast(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    old, new = dims(ty(op.operands[0])), dims(ty(op.result))
    return replace(x, constancy=tuple(k if a == b else b for k, a, b in zip(x.constancy, old, new, strict=True)))


@rule("expand_dims", "reshape")
def _reshape(op: Op, infos: list[Info]) -> Info:
    """Dimensions of size 1 come and go; of other changes only the innermost dimension is followed."""
    (x,) = infos
    old, t = dims(ty(op.operands[0])), ty(op.result)
    new, rank = dims(t), len(dims(t))
    if x.constant is not None:
        return uniform(t, constant=x.constant)
    everywhere = x.everywhere(unit(t))
    contiguity, div, constancy = [1] * rank, [everywhere] * rank, [1] * rank
    sources = [d for d, n in enumerate(old) if n > 1]
    targets = [d for d, n in enumerate(new) if n > 1]
    if x.constancy == old:
        return Info(tuple(contiguity), tuple(div), new, None, x.nonneg)
    same = [old[d] for d in sources] == [new[d] for d in targets]
    for s, d in zip(sources, targets, strict=True) if same else ((sources[-1], targets[-1]),):
        contiguity[d] = min(x.contiguity[s], new[d])
        div[d] = x.at(s, contiguity[d], unit(t))
        constancy[d] = min(x.constancy[s], new[d])
    return Info(tuple(contiguity), tuple(div), tuple(constancy), None, x.nonneg)


@rule("trans")
def _trans(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    order = op.attrs["order"]
    contiguity, div, constancy = (tuple(f[i] for i in order) for f in (x.contiguity, x.divisibility, x.constancy))
    return Info(contiguity, div, constancy, x.constant, x.nonneg)


@rule("join", "cat")
def _join(op: Op, infos: list[Info]) -> Info:
    t = ty(op.result)
    both = meet(infos[0], infos[1], unit(t))
    if both.constant is not None:
        return uniform(t, constant=both.constant)
    if op.name == "cat":
        return both
    least = min(i.everywhere(unit(t)) for i in infos)
    rank = range(len(ty(op.operands[0]).shape))
    parts = [tuple(f[d] for d in rank) for f in (both.contiguity, both.divisibility, both.constancy)]
    return Info((*parts[0], 1), (*parts[1], least), (*parts[2], 1), None, both.nonneg)


@rule("split")
def _split(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    t = ty(op.results[0])
    if not t.shape:
        return uniform(t, x.everywhere(unit(t)), x.constant, x.nonneg)
    return Info(x.contiguity[:-1], x.divisibility[:-1], x.constancy[:-1], x.constant, x.nonneg)


@rule("flip")
def _flip(op: Op, infos: list[Info]) -> Info:
    (x,) = infos
    axis = op.attrs["axis"] % len(x.contiguity)
    contiguity = tuple(1 if d == axis else c for d, c in enumerate(x.contiguity))
    div = tuple(x.at(d, c, unit(ty(op.result))) for d, c in enumerate(contiguity))
    return Info(contiguity, div, x.constancy, x.constant, x.nonneg)
