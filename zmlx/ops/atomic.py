"""Atomic read-modify-write; the result is the old value (0 where masked off)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import DtypeError, ShapeError
from zmlx.ir.types import Type
from zmlx.ops.memory import check_mask, pointee
from zmlx.ops.registry import define

# What the interpreter does, one element after the other. "xchg" takes the new value.
KINDS: dict[str, Any] = {
    "add": lambda old, new: old + new,
    "min": np.fmin,
    "max": np.fmax,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "xchg": lambda old, new: new,
}


def _rmw(types: Sequence[Type], attrs: Mapping[str, Any], regions: Any) -> tuple[Type, ...]:
    ptr, value, *mask = types
    what = f"tl.atomic_{attrs['kind']}"
    elem = pointee(ptr, what)
    if value != ptr.with_elem(elem):
        raise ShapeError(f"{what} through {ptr} takes {ptr.with_elem(elem)}, got {value}")
    if elem.is_float and attrs["kind"] in ("and", "or", "xor"):
        raise DtypeError(f"{what} takes integers, the array holds {elem}", "use an array of integers, or bitcast outside: x.view(mx.int32)")
    if (elem.bits < 32 and not elem.is_half) or elem is dt.int1:
        raise DtypeError(f"{what} has no form for {elem}", "use an array of 32-bit or wider elements, or of float16/bfloat16")
    if mask:
        check_mask(mask[0], ptr.shape, what)
    return (value,)


def _cas(types: Sequence[Type], attrs: Mapping[str, Any], regions: Any) -> tuple[Type, ...]:
    ptr, compare, value = types
    elem = pointee(ptr, "tl.atomic_cas")
    if not compare == value == ptr.with_elem(elem):
        raise ShapeError(f"tl.atomic_cas through {ptr} takes {ptr.with_elem(elem)}, got {compare} and {value}")
    if elem.bits < 32:
        raise DtypeError(f"tl.atomic_cas has no form for {elem}", "use an array of 32- or 64-bit elements")
    return (value,)


# sem: "acquire" | "release" | "acq_rel"; absent means relaxed.
TRAITS = "reads writes atomic effect"
atomic_rmw = define("atomic_rmw", ("ptr", "value", "mask?"), _rmw, attrs=("kind", "sem"), traits=TRAITS)
atomic_cas = define("atomic_cas", ("ptr", "compare", "value"), _cas, attrs=("sem",), traits=TRAITS)
