"""Why neighbouring elements of a tile are not neighbours in memory: the first step of an address that loses them.

The axis analysis says what is known of each value; this walks from an address to the operation behind which less is known
than in front of it, and says it in the user's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmlx.explain.places import quote, short
from zmlx.ir.core import Function, Op, Value
from zmlx.passes.axis_info import AxisInfo
from zmlx.passes.structure import carried, inits, is_loop, yields

_HINT = "if you know that it does count up, promise it: tl.max_contiguous(tl.multiple_of({0}, {1}), {1})"


@dataclass(frozen=True)
class Reason:
    """kind: a word for programs ("stride", "gather" …); text: a clause behind "because"; remedy: what to write, or ""."""

    kind: str
    text: str
    remedy: str = ""


class Reasons:
    """Answers for one kernel's optimised Tile IR."""

    def __init__(self, fn: Function, axes: Mapping[Value, AxisInfo]) -> None:
        self.axes = axes
        self._transposed = ""
        self.carriers: dict[Value, tuple[Op, int]] = {}
        for op in fn.walk():
            if is_loop(op):
                for region in op.regions:
                    self.carriers |= {v: (op, i) for i, v in enumerate(carried(op, region))}

    def counts(self, v: Value, d: int, need: int) -> bool:
        """Whether runs of `need` elements along a dimension are known to count up by one."""
        return v in self.axes and self.axes[v].contiguity[d] >= need

    def same(self, v: Value, d: int, need: int) -> bool:
        return v in self.axes and self.axes[v].constancy[d] >= need

    def why(self, v: Value, d: int, need: int) -> Reason:
        """Why `need` neighbours along dimension d do not count up by one."""
        several = "build a tile of two axes, the last of which walks what is contiguous in memory"
        self._transposed = "let the tile's last axis be the one that is contiguous in memory" if len(v.shape) > 1 else several
        return self._why(v, d, need, frozenset())

    def _why(self, v: Value, d: int, need: int, seen: frozenset[Value]) -> Reason:
        if self.same(v, d, need):
            return Reason("same", f"all elements along axis {d} have the same address")
        op = v.op
        if v in seen:
            return self._unknown(v, need)
        seen |= {v}
        if op is None:
            return self._carried(v, d, need, seen)
        if is_loop(op):
            return self._ends(op, op.results.index(v), d, need, seen) or self._unknown(v, need)
        rule = getattr(self, f"_{op.name}", None)
        found = rule(op, d, need, seen) if rule else None
        return found if found is not None else self._unknown(v, need)

    def _unknown(self, v: Value, need: int) -> Reason:
        text = quote(v)
        return Reason("unknown", f"the compiler cannot see that {text} counts up by one", _HINT.format(text.strip("`"), need))

    # Loops: a carried value is what it starts from and what an iteration makes of it.

    def _carried(self, v: Value, d: int, need: int, seen: frozenset[Value]) -> Reason:
        if v not in self.carriers:
            return self._unknown(v, need)
        op, i = self.carriers[v]
        return self._ends(op, i, d, need, seen) or self._unknown(v, need)

    def _ends(self, op: Op, i: int, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        for x in (inits(op)[i], yields(op)[i]):
            if not self.counts(x, d, need) and x not in seen:
                return self._why(x, d, need, seen)
        return None

    # One method an operation: operands, dimension → reason.

    def _add(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x, y = op.operands
        if self.counts(x, d, need) and self.counts(y, d, need):
            return Reason("stride", f"{quote(x)} and {quote(y)} both grow along axis {d}, so elements lie 2 apart")
        for a, b in ((y, x), (x, y)):
            if self.counts(a, d, need):
                inner = self._varies(b, d, need, seen)
                return inner or Reason("varies", f"{quote(b)}, which is added to {quote(a)}, is not the same along axis {d}")
        for a in (y, x):
            if not self.same(a, d, need):
                return self._why(a, d, need, seen)
        return None

    _addptr = _add

    def _varies(self, v: Value, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        """A better word for what varies, where there is one: what is added to a contiguous index is no stride."""
        reason = self._why(v, d, need, seen)
        return reason if reason.kind in ("gather", "wraps", "divides") else None

    def _sub(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x, y = op.operands
        if self.same(x, d, need) and self.counts(y, d, need):
            return Reason("reverse", f"{quote(op.results[0])} counts down", "count up, and use tl.flip on the tile if its order matters")
        return self._why(x, d, need, seen) if not self.counts(x, d, need) else self._varies(y, d, need, seen)

    def _mul(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        for stride, index in (op.operands, reversed(op.operands)):
            if not self.same(stride, d, need) or not self.counts(index, d, need):
                continue
            known = self.axes[stride].constant
            if known is not None:
                return Reason("stride", f"elements along axis {d} lie {known} apart ({quote(op.results[0])})", self._transposed)
            name = quote(stride)
            return Reason(
                "stride", f"elements along axis {d} lie {name} apart, which is only known when it runs and was not 1 for these arguments",
                f"where it is always 1, leave {name} out, or pass 1 (a launch with 1 is compiled as such); "
                f"else {self._transposed}",
            )  # fmt: skip
        return next((self._why(v, d, need, seen) for v in op.operands if not self.same(v, d, need)), None)

    def _shl(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x = op.operands[0]
        if not self.counts(x, d, need):
            return self._why(x, d, need, seen)
        return Reason("stride", f"{quote(op.results[0])} multiplies by a power of two: elements along axis {d} lie apart")

    def _load(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason:
        where = f" at {short(op.loc)}" if op.loc is not None else ""
        return Reason("gather", f"the addresses depend on {quote(op.results[0])}, which is loaded from memory{where} (a gather)",
                      "where the loaded indices are runs of neighbours, load one index a run and add tl.arange to it")  # fmt: skip

    def _mod(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x, y = op.operands
        if not self.counts(x, d, need):
            return self._why(x, d, need, seen)
        known = self.axes[y].constant
        text = f"{quote(op.results[0])} wraps around at multiples of {quote(y)}, which is not "
        remedy = "mask what is out of range instead of wrapping it"
        if known is None:
            remedy += f", or make {quote(y)} a tl.constexpr that is a multiple of {need}"
        return Reason("wraps", text + ("known to be " if known is None else "") + f"a multiple of {need}", remedy)

    def _and(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x = next((v for v in op.operands if not self.same(v, d, need)), op.operands[0])
        return Reason("wraps", f"{quote(op.results[0])} keeps some bits of {quote(x)} only")

    def _floordiv(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        y = op.operands[1]
        return Reason("divides", f"{quote(op.results[0])} divides by {quote(y)}, so neighbours share or skip addresses",
                      "give the tile one axis for the quotient and one for the remainder")  # fmt: skip

    _shr = _floordiv

    def _minimum(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        inner = next((v for v in op.operands if not self.same(v, d, need)), op.operands[0])
        if not self.counts(inner, d, need):
            return self._why(inner, d, need, seen)
        return Reason("clamped", f"{quote(op.results[0])} is clamped, so neighbours may share an address",
                      "give the access a mask that leaves out what is out of range")  # fmt: skip

    _maximum = _minimum

    def _select(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        for v in op.operands[1:]:
            if not self.counts(v, d, need) and not self.same(v, d, need):
                return self._why(v, d, need, seen)
        return Reason("chosen", f"{quote(op.results[0])} chooses between addresses element by element",
                      "load with mask= and other=, or load both and choose then")  # fmt: skip

    def _neg(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        return Reason("reverse", f"{quote(op.results[0])} counts down", "count up, and use tl.flip on the tile if its order matters")

    def _cast(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        x = op.operands[0]
        if self.counts(x, d, need):
            return Reason("narrow", f"{quote(x)} is cast between widths in which it may wrap around", "compute the index in int32 or int64")
        return self._why(x, d, need, seen)

    def _hint(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        return self._why(op.operands[0], d, need, seen)

    # Views: the dimension of the operand.

    def _expand_dims(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        axis = op.attrs["axis"] % len(op.results[0].shape)
        return self._why(op.operands[0], d - (d > axis), need, seen) if d != axis else None

    def _broadcast(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        return self._why(op.operands[0], d, need, seen)

    def _trans(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        return self._why(op.operands[0], op.attrs["order"][d], need, seen)

    def _reshape(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        old, new = op.operands[0].shape, op.results[0].shape
        if d == len(new) - 1 and self.counts(op.operands[0], len(old) - 1, need):
            return Reason(
                "reshape", f"a reshape takes rows of {old[-1]} apart", "build the index in its final shape: a[:, None] * n + b[None, :]"
            )
        return self._why(op.operands[0], len(old) - 1, need, seen) if d == len(new) - 1 else None

    def _flip(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        axis = op.attrs["axis"] % len(op.results[0].shape)
        if d == axis:
            return Reason("reverse", f"{quote(op.results[0])} is flipped", "load in the order of memory, and flip what was loaded")
        return self._why(op.operands[0], d, need, seen)

    def _reduce(self, op: Op, d: int, need: int, seen: frozenset[Value]) -> Reason | None:
        return Reason("computed", f"the addresses come from {quote(op.results[0])}, a {op.name}")

    _scan = _dot = _reduce
