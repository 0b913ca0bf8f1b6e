"""Which loops of a host kernel are written as loops over vectors (prelude/host_simd.h), and how their ops are then spelled.

In such a loop a value is uniform (a scalar, the same for all lanes), linear (the loop's index plus something uniform), a
place (a pointer that advances with the index), scattered (one that does not) or varying (a vector).
"""

from __future__ import annotations

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.ir.core import Op, Value
from zmlx.ir.types import ArrayType, Pointer, Type

LEAST_TRIPS = 16  # the widest vector's lanes: shorter loops are left to the C++ compiler
STORED = (dt.float32, dt.int32, dt.uint32, dt.float16, dt.bfloat16)
COMPUTED = (dt.float32, dt.int32, dt.uint32)
FLOAT = frozenset("div ratio exp exp2 log tanh erf sqrt sqrt_rn rsqrt abs minimum_nan maximum_nan isnan isinf isfinite".split())
NUMBER = frozenset("add sub mul neg minimum maximum eq ne lt le gt ge select".split())
INTEGER = frozenset("and or xor invert shl shr".split())
DIVISION = {"floordiv": "{0} / {1}", "mod": "{0} % {1}"}
CONDITION = frozenset("and or xor invert".split())

LINEAR, PLACE, SCATTERED, VARYING = "linear", "place", "scattered", "varying"


def kinds(loop: Op) -> dict[Value, str] | None:
    """What each value of the body that is not uniform is; None for a loop that is not to be written over vectors."""
    found, obstacle = classify(loop)
    return found if obstacle is None else None


def classify(loop: Op) -> tuple[dict[Value, str], Op | None]:
    """The same, and what stands in the way: an op that has no vector form, or the loop itself; None where nothing does."""
    body = loop.regions[0]
    found: dict[Value, str] = {body.args[0]: LINEAR}
    if knobs.CPU_SIMD.get() == "0" or loop.attrs["kind"] != "simd" or loop.attrs["end"] - loop.attrs["start"] < LEAST_TRIPS:
        return found, loop
    return found, next((op for op in body.ops if op.regions or not _known(op, found)), None)


def _known(op: Op, found: dict[Value, str]) -> bool:
    """Classifies an op's results; False for an op that has no vector form."""
    at = [found.get(v) for v in op.operands]
    if op.name == "load":
        kind = {None: None, PLACE: VARYING}.get(at[0], "")
        if at[0] == SCATTERED:
            return len(at) == 1 and _note(op, VARYING, found, _item(op.operands[0]))
        masked = len(at) == 1 or (at[0] == PLACE and at[1] in (None, VARYING))
        return masked and _note(op, kind, found, _item(op.operands[0]))
    if op.name == "store":
        masked = len(at) == 2 or at[2] in (None, VARYING)
        return masked and at[0] == PLACE and _item(op.operands[0]) in STORED
    if op.name == "get":
        return at[1] in (None, LINEAR) and _note(op, VARYING if at[1] else None, found, op.operands[0].type.elem)
    if op.name == "set":
        array = op.operands[0].type
        return at[1] == LINEAR and isinstance(array, ArrayType) and array.size > 1 and array.elem in STORED
    if op.name == "addptr":
        kind = {None: None, LINEAR: PLACE, VARYING: SCATTERED}.get(at[1], "") if at[0] is None else ""
        if at[0] in (PLACE, SCATTERED) and at[1] is None:
            kind = at[0]
        if kind == SCATTERED and op.operands[1].type.elem is not dt.int32 and at[0] is None:
            return False
        return _note(op, kind, found, _item(op.results[0]))
    if not op.has("pure") or not op.results:
        return False
    if not any(at):
        return op.has("constant") or op.has("elementwise") or not op.operands
    if op.name == "add" and op.results[0].type.elem is dt.int32 and sorted(map(str, at)) == ["None", LINEAR]:
        found[op.results[0]] = LINEAR
        return True
    if PLACE in at or SCATTERED in at or not _has_form(op):
        return False
    found[op.results[0]] = VARYING
    return True


def _note(op: Op, kind: str | None, found: dict[Value, str], elem: object) -> bool:
    if kind:
        found[op.results[0]] = kind
    return kind is None or (kind != "" and elem in STORED)


def _item(pointer: Value) -> object:
    t = pointer.type
    return t.elem.elem if isinstance(t, Type) and isinstance(t.elem, Pointer) else None


def _has_form(op: Op) -> bool:
    result, elems = op.results[0].type.elem, [v.type.elem for v in op.operands]
    if op.name in ("cast", "bitcast"):
        source, to = elems[0], result
        if op.name == "bitcast":
            return source in COMPUTED and to in COMPUTED
        if op.attrs.get("rounding", "rtne") != "rtne":
            return False
        if dt.float16 in (source, to) or dt.bfloat16 in (source, to):
            return dt.float32 in (source, to)
        known = (*COMPUTED, dt.int1)
        return source in known and to in known and (source, to) != (dt.float32, dt.uint32)
    if op.name == "select":
        return elems[1] in COMPUTED
    kind = elems[0]
    if kind is dt.int1:
        return op.name in CONDITION
    if kind is dt.float32:
        return op.name in FLOAT or op.name in NUMBER
    if op.name in DIVISION:  # by a number that is known: shifts and products
        by = op.operands[1].op
        return kind in COMPUTED and by is not None and by.has("constant") and by.attrs["value"] > 0
    return kind in COMPUTED and (op.name in NUMBER or op.name in INTEGER)


# Forms that differ from those of scalars; {0} … are vectors or scalars.
SPELL = DIVISION | {
    "select": "zm_select({0}, {1}, {2})",
    "minimum_nan": "zm_select({0} != {0}, {0}, zm_wide_min({0}, {1}))",
    "maximum_nan": "zm_select({0} != {0}, {0}, zm_wide_max({0}, {1}))",
}
# Of conditions: a bool that is the same in all lanes becomes a mask of all bits first.
MASKS = {"invert": "~{0}", **{n: f"zm_mask({{0}}) {sign} zm_mask({{1}})" for n, sign in (("and", "&"), ("or", "|"), ("xor", "^"))}}


def spelled(op: Op) -> str | None:
    """The template of a varying op, where it is not that of scalars."""
    elem = op.operands[0].type.elem
    if op.name in ("minimum", "maximum") and elem is not dt.float32:
        return f"zm_wide_{op.name[:3]}({{0}}, {{1}})"
    if elem is dt.int1 and op.name in MASKS:
        return MASKS[op.name]
    return SPELL.get(op.name)
