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
from zmlx.ir.types import Elem
from zmlx.ops.cast import cast_array
from zmlx.simt.emit import Emit
from zmlx.targets.target import Target

UNTOUCHED = frozenset({"select", "cast", "bitcast", "addptr", "hint"})
WRAPPING = frozenset({"add", "sub", "mul", "neg", "shl"})
UNSIGNED = {dt.int32: dt.uint32, dt.int64: dt.uint64}


def spelling(op: Op, target: Target) -> str | None:
    """The template of an op on a target, most specific first; None if it has none."""
    if "compare" in op.traits or not op.results:
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
    legalizer = _Legalizer(target, _index_ops(fn) if target.is_simt else set())
    for p in fn.params:
        legalizer.check_type(p.value)
    legalizer.block(fn.body)
    return fn


class _Legalizer:
    """plain: integer ops that may overflow as C's do. mapping: what stands for a value, here and in the regions behind it."""

    def __init__(self, target: Target, plain: set[Op]) -> None:
        self.target, self.plain = target, plain
        self.mapping: dict[Value, Value] = {}
        self.spelled: set[Elem] = set()  # the types that the target has, so far
        self.wide = frozenset(target.arithmetic)

    def check_type(self, v: Value) -> None:
        elem = v.type.elem
        if elem not in self.spelled:
            self.target.spelling(elem if isinstance(elem, DType) else elem.elem)
            self.spelled.add(elem)

    def block(self, block: Block) -> None:
        target, mapping, spelled = self.target, self.mapping, self.spelled
        e = Emit(Block())
        for op in block.ops:
            if mapping:
                op.operands = list(map(mapping.get, op.operands, op.operands))
            e.loc = op.loc
            try:
                if op.name in target.refuse:
                    raise TargetError(f"tl.{op.name} does not run on the {target.name} target", target.refuse[op.name])
                for v in op.results:
                    if v.type.elem not in spelled:
                        self.check_type(v)
                for region in op.regions:
                    self.block(region)
                if "elementwise" in op.traits:
                    self.elementwise(e, op)
                    continue
                if "atomic" in op.traits:
                    self.check_atomic(op)
                e.block.ops.append(op)
            except TargetError as error:
                raise error.at(op.loc) from None
        block.ops = e.block.ops

    def check_atomic(self, op: Op) -> None:
        target = self.target
        if op.results[0].type.dtype.bits == 64 and "64-bit atomics" in target.refuse:  # type: ignore[union-attr]
            raise TargetError(f"an atomic on {op.results[0].type} does not run on {target.name}", target.refuse["64-bit atomics"])
        if op.attrs.get("sem") and "ordered atomics" in target.refuse:
            raise TargetError(f"an atomic with sem={op.attrs['sem']!r} does not run on {target.name}", target.refuse["ordered atomics"])

    def elementwise(self, e: Emit, op: Op) -> None:
        target, old = self.target, op.results[0]
        half = old.type.elem if old.type.elem in self.wide else None
        for v in op.operands:  # operands of one op share a type
            if v.type.elem in self.wide:
                half = v.type.elem
        if half is not None and op.name not in UNTOUCHED:
            wide = target.arithmetic[half]
            result = _spell(e, op, [_widened(e, v, wide) if v.type.elem is half else v for v in op.operands], target)
            if result.type.elem is wide and old.type.elem is half:
                result = e.convert(result, half)
        elif target.is_simt and op.name in WRAPPING and old.type.elem in UNSIGNED and op not in self.plain:
            unsigned = UNSIGNED[old.type.elem]
            result = e.convert(_spell(e, op, [_as_unsigned(e, v, unsigned) for v in op.operands], target), old.type.elem)
        elif spelling(op, target) is not None:
            e.block.ops.append(op)
            return
        else:
            result = _spell(e, op, op.operands, target)
        result.name = old.name
        self.mapping[old] = result


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


def _turns(loop: Op) -> set[Value]:
    """The carried scalars of a loop that alternate between two constants."""
    region = loop.regions[0]
    found = set()
    for arg, start, end in zip(region.args[1:], loop.operands[3:], region.terminator.operands, strict=True):
        if end.op is not None and end.op.name == "xor" and arg in end.op.operands:
            others = [start, *(v for v in end.op.operands if v is not arg)]
            if all(v.op is not None and v.op.has("constant") for v in others):
                found.add(arg)
    return found


def _index_ops(fn: Function) -> set[Op]:
    """Integer ops that only count programs, threads and elements, and only feed addresses, indices and comparisons."""
    born: set[Value] = {p.value for p in fn.params}
    ops = list(fn.walk())
    for op in ops:
        name, traits = op.defn.name, op.defn.traits
        if name == "for" or name == "loop":
            born.add(op.regions[0].args[0])
        if name == "for":
            born |= _turns(op)
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
