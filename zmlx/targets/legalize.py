"""Makes a SIMT function one that a target can spell: keep an op, expand it, promote its type, or refuse it.

Half types are stored but not computed with: an op on them runs in float32 and rounds once, on every target alike.
Signed integers wrap in the language but not in C: where their overflow could be meant (not in index arithmetic, whose
overflow would leave the array), the op runs on unsigned numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import TargetError
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.opdef import OpDef
from zmlx.ops.cast import cast_array
from zmlx.simt.emit import Emit
from zmlx.targets.target import Target

UNTOUCHED = frozenset({"select", "cast", "bitcast", "addptr", "hint"})
WRAPPING = frozenset({"add", "sub", "mul", "neg", "shl"})
UNSIGNED = {dt.int32: dt.uint32, dt.int64: dt.uint64}


def spelling(op: Op, target: Target) -> str | None:
    """The template of an op on a target, most specific first; None if it has none."""
    if op.has("compare") or not op.results:
        elem = op.operands[0].type.elem if op.operands else None
    else:
        elem = op.results[0].type.elem
    return _spelling(op.defn, target.dialect, elem if isinstance(elem, DType) else None)


@cache
def _spelling(defn: OpDef, dialect: str, elem: DType | None) -> str | None:
    for name in (dialect, "c"):
        for key in ((name, elem.name), (name, elem.kind), name) if elem else (name,):
            if key in defn.spell:
                return defn.spell[key]
    return None


def legalize(fn: Function, target: Target) -> Function:
    """Rewrites in place."""
    plain = _index_ops(fn) if target.is_simt else set()
    for p in fn.params:
        _check_type(p.value, target)
    _block(fn.body, target, plain, {})
    return fn


def _check_type(v: Value, target: Target) -> None:
    elem = v.type.elem
    target.spelling(elem if isinstance(elem, DType) else elem.elem)


def _block(block: Block, target: Target, plain: set[Op], mapping: dict[Value, Value]) -> None:
    """mapping: what stands for a value, here and in the regions behind it."""
    e = Emit(Block())
    for op in block.ops:
        op.operands = [mapping.get(v, v) for v in op.operands]
        e.loc = op.loc
        try:
            if op.name in target.refuse:
                raise TargetError(f"tl.{op.name} does not run on the {target.name} target", target.refuse[op.name])
            for v in op.results:
                _check_type(v, target)
            for region in op.regions:
                _block(region, target, plain, mapping)
            if op.has("atomic") and op.results[0].type.dtype.bits == 64 and "64-bit atomics" in target.refuse:  # type: ignore[union-attr]
                raise TargetError(f"an atomic on {op.results[0].type} does not run on {target.name}", target.refuse["64-bit atomics"])
            if op.attrs.get("sem") and "ordered atomics" in target.refuse:
                raise TargetError(f"an atomic with sem={op.attrs['sem']!r} does not run on {target.name}", target.refuse["ordered atomics"])
            _one(e, op, target, plain, mapping)
        except TargetError as error:
            raise error.at(op.loc) from None
    block.ops = e.block.ops


def _one(e: Emit, op: Op, target: Target, plain: set[Op], mapping: dict[Value, Value]) -> None:
    if not op.has("elementwise"):
        e.block.ops.append(op)
        return
    halves = {v.type.elem for v in (*op.operands, *op.results)} & set(target.arithmetic)
    if halves and op.name not in UNTOUCHED:
        (half,) = halves  # operands of one op share a type
        wide = target.arithmetic[half]  # type: ignore[index]
        result = _spell(e, op, [_widened(e, v, wide) if v.type.elem is half else v for v in op.operands], target)
        if result.type.elem is wide and op.results[0].type.elem is half:
            result = e.convert(result, half)  # type: ignore[arg-type]
        result.name = op.results[0].name
        mapping[op.results[0]] = result
        return
    elem = op.results[0].type.elem
    if target.is_simt and op.name in WRAPPING and elem in UNSIGNED and op not in plain:
        unsigned = UNSIGNED[elem]
        result = e.convert(_spell(e, op, [_as_unsigned(e, v, unsigned) for v in op.operands], target), elem)
        result.name = op.results[0].name
        mapping[op.results[0]] = result
        return
    if spelling(op, target) is not None:
        e.block.ops.append(op)
        return
    mapping[op.results[0]] = _spell(e, op, op.operands, target)
    mapping[op.results[0]].name = op.results[0].name


def _widened(e: Emit, v: Value, wide: DType) -> Value:
    """A half value in its arithmetic type; a constant as the number that it is once rounded."""
    op = v.op
    if op is not None and op.has("constant"):
        half = op.attrs["type"]
        return e.constant(float(cast_array(np.array(op.attrs["value"], np.float64), dt.float64, half)), wide)
    return e.convert(v, wide)


def _as_unsigned(e: Emit, v: Value, unsigned: DType) -> Value:
    """The same bits unsigned; what was made signed only just before stays unsigned."""
    op = v.op
    if op is not None and op.name == "constant":
        return e.constant(op.attrs["value"] % (1 << unsigned.bits), unsigned)
    if op is not None and op.name == "cast" and op.operands[0].type.elem is unsigned:
        return op.operands[0]
    return e.convert(v, unsigned)


def _spell(e: Emit, op: Op, operands: list[Value], target: Target) -> Value:
    """The op on other operands, expanded if the target cannot spell it."""
    start = len(e.block.ops)
    new = e.create(op.defn, operands, op.attrs)
    if spelling(new, target) is not None:
        return new.results[0]
    del e.block.ops[start:]
    if op.defn.expand is None:
        t = operands[0].type
        raise TargetError(f"{op.name} of {t} has no form on the {target.name} target", "cast to float32 first, or run on another target")
    return op.defn.expand(e, new, operands)


# Ops whose integers are indices.
INDICES = frozenset(
    {"addptr", "get", "for", "copy_async", "put", "take", "mma", "ring", "bulk_copy", "bulk_map", "fragment_mac", "tensor_mac"}
)
COUNTERS = frozenset({"thread_id", "program_id", "num_programs", "constant"})


def _index_ops(fn: Function) -> set[Op]:
    """Integer ops that only count programs, threads and elements, and only feed addresses, indices and comparisons."""
    born: set[Value] = {p.value for p in fn.params}
    ops = list(fn.walk())
    for op in ops:
        name, traits = op.defn.name, op.defn.traits
        if name == "for" or name == "loop":
            born.add(op.regions[0].args[0])
        if name in COUNTERS:
            if op.results[0].type.elem.is_int:  # type: ignore[union-attr]
                born.add(op.results[0])
        elif "elementwise" in traits and name != "bitcast" and born.issuperset(op.operands):
            elem = op.results[0].type.elem
            if isinstance(elem, DType) and elem.is_int:
                born.add(op.results[0])
    bad: set[Value] = set()  # values that some use makes more than an index
    plain: set[Op] = set()
    for op in reversed(ops):
        name, traits = op.defn.name, op.defn.traits
        if name == "set":
            bad.add(op.operands[2])
        elif "elementwise" in traits and op.results[0] in born and op.results[0] not in bad:
            if name in WRAPPING:
                plain.add(op)
        elif name not in INDICES and "compare" not in traits:
            bad.update(op.operands)
    return plain
