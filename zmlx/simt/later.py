"""A loop's body in a later iteration: the same expressions, evaluated with the scalars that it will have then.

They are known where they follow from the loop's index and from carried scalars that grow by the same amount each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ops import arith, compare

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


class Later:
    """What is known of a `for` loop's next iteration. grows: what arguments of its body grow by, where that is known."""

    def __init__(self, low: Lowering, op: Op) -> None:
        self.low, self.region = low, op.regions[0]
        self.scalars = [v for v in self.region.args if not v.type.shape]  # type: ignore[union-attr]
        self.grows: dict[Value, Value] = {self.region.args[0]: op.operands[2]}
        for arg, end in zip(self.region.args[1:], self.region.terminator.operands, strict=True):
            if end.op is not None and end.op.defn is arith.add and not end.type.shape and arg in end.op.operands:  # type: ignore[union-attr]
                by = end.op.operands[1] if end.op.operands[0] is arg else end.op.operands[0]
                if not self.inside(by) or (by.op is not None and by.op.has("constant")):
                    self.grows[arg] = by

    def inside(self, v: Value) -> bool:
        """Whether a value is made in the body."""
        return v in self.region.args or (v.op is not None and self.low.plan.block_of.get(v.op) is self.region)

    def exists(self, bounds: list[Value], index: Value) -> Value:
        """Whether there is a next iteration."""
        e = self.low.e
        # In 64 bits: the step behind the last one may not fit.
        wide, high, step = (e.convert(v, dt.int64) for v in (index, bounds[1], bounds[2]))
        return e.value(compare.lt, e.value(arith.add, wide, step), high)

    def next(self, args: list[Value]) -> list[Value]:
        """The body's scalars in the next iteration, from those of this one."""
        return [self._next(arg, v) for arg, v in zip(self.scalars, args, strict=True)]

    def _next(self, arg: Value, v: Value) -> Value:
        by = self.grows.get(arg)
        if by is None:
            return v  # nothing that is evaluated early follows from it
        e = self.low.e
        constant = by.op is not None and by.op.has("constant")
        step = e.constant(by.op.attrs["value"], by.op.attrs["type"]) if constant else self.low.scalar(by)  # type: ignore[union-attr]
        return e.value(arith.add, v, e.convert(step, v.type.dtype))  # type: ignore[union-attr]

    @contextmanager
    def bound(self, values: list[Value], needed: Iterable[Op]) -> Iterator[None]:
        """The `with` body sees these scalars as the body's, and what the needed ops make of them."""
        low, before, wanted = self.low, dict(self.low.scalars), set(needed)
        low.scalars.update(zip(self.scalars, values, strict=True))
        for op in self.region.ops:
            if op in wanted and not any(v.type.shape for v in (*op.operands, *op.results)):  # type: ignore[union-attr]
                low.lower_scalar(op)
        yield
        low.scalars.clear()
        low.scalars.update(before)
