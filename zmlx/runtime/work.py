"""What one program of a kernel does, counted from its Tile IR: bytes, operations, rounds of loops, live values.

Loop bounds and conditions are computed where the arguments of the launch decide them, with the program in the middle of
the grid standing for all. What only the data decides is guessed: `UNKNOWN_TRIPS` rounds, both branches half the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zmlx.dtypes import DType
from zmlx.errors import ZmlxError
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops.evaluate import evaluable, evaluate, literal

UNKNOWN_TRIPS = 8.0
TRANSCENDENTAL = 8  # additions that one costs
SECTOR = 32  # bytes that a device moves for a single element


@dataclass
class Work:
    """Of one program.

    bytes        loaded, stored and updated
    flops        elementwise operations, index arithmetic included
    dot_flops    operations of tile products: 2 M N K
    rounds       memory accesses that wait for each other: one, and one more for each round of a loop that loads
    live_bytes   the most that is kept in registers at once
    staged_bytes the largest pair of operands of a product, which threadgroup memory holds
    """

    bytes: float = 0.0
    flops: float = 0.0
    dot_flops: float = 0.0
    rounds: float = 1.0
    live_bytes: int = 0
    staged_bytes: int = 0


def work_of(fn: Function, scalars: Mapping[str, Any], grid: tuple[int, int, int]) -> Work:
    """The work of a traced kernel's program. `scalars`: run-time numbers by parameter name."""
    counter = _Counter(grid)
    for p in fn.params:
        t, v = p.value.type, scalars.get(p.name)
        if isinstance(t, Type) and isinstance(t.elem, DType) and v is not None:
            counter.known[p.value] = literal(v, t.elem)
    counter.block(fn.body, 1.0)
    counter.work.live_bytes = _peak(fn.body, 0)
    return counter.work


class _Counter:
    def __init__(self, grid: tuple[int, int, int]) -> None:
        self.grid, self.work = grid, Work()
        self.known: dict[Value, np.ndarray] = {}

    def block(self, block: Block, times: float) -> None:
        for op in block.ops:
            if op.has("structured"):
                self.structured(op, times)
            else:
                self.op(op, times)

    def structured(self, op: Op, times: float) -> None:
        if op.name == "if":
            condition = self.known.get(op.operands[0])
            for region, holds in zip(op.regions, (True, False), strict=False):
                share = 0.5 if condition is None else float(bool(condition) == holds)
                if share:
                    self.block(region, times * share)
            return
        trips = UNKNOWN_TRIPS
        if op.name == "for":
            bounds = [self.known.get(v) for v in op.operands[:3]]
            if all(b is not None for b in bounds):
                lo, hi, step = (int(b) for b in bounds if b is not None)
                count = max(0, -(-(hi - lo) // step)) if step > 0 else 0
                trips = float(count)
                middle: Any = op.regions[0].args[0].type
                self.known[op.regions[0].args[0]] = literal(lo + step * (count // 2), middle.elem)
        before = self.work.bytes
        for region in op.regions:
            self.block(region, times * trips)
        if self.work.bytes > before:
            self.work.rounds += times * trips

    def op(self, op: Op, times: float) -> None:
        work = self.work
        if op.name in ("program_id", "num_programs"):
            n = self.grid[op.attrs["axis"]]
            self.known[op.result] = np.array(n // 2 if op.name == "program_id" else n, np.int32)
        elif op.has("reads") or op.has("writes"):
            pointer: Any = op.operands[0].type
            moved = pointer.size * pointer.elem.elem.itemsize if pointer.is_tile else SECTOR
            work.bytes += times * moved * (2 if op.has("atomic") else 1)
            work.flops += times * pointer.size
        elif op.name == "dot":
            a, b = op.operands[0].type, op.operands[1].type
            assert isinstance(a, Type) and isinstance(b, Type)
            work.dot_flops += times * 2.0 * a.size * b.shape[-1]
            work.staged_bytes = max(work.staged_bytes, _bytes(a) + _bytes(b))
        elif op.regions:  # a reduction or scan, once for every element
            t: Any = op.operands[0].type
            work.flops += times * t.size * sum(len(r.ops) for r in op.regions)
        elif op.results and isinstance(op.results[0].type, Type):
            t = op.results[0].type
            if t.is_tile:
                if op.has("elementwise"):
                    work.flops += times * t.size * (TRANSCENDENTAL if op.has("transcendental") else 1)
            elif evaluable(op) and all(v in self.known for v in op.operands):
                self.evaluate(op)

    def evaluate(self, op: Op) -> None:
        try:
            values = evaluate(op, [self.known[v] for v in op.operands])
        except (ZmlxError, ArithmeticError, ValueError):
            return  # then it is not known
        self.known.update(zip(op.results, values, strict=True))


def _bytes(t: Any) -> int:
    """Bytes of a value in registers; what is cheaper to recompute than to keep counts as none."""
    if not isinstance(t, Type) or not t.is_tile or isinstance(t.elem, Pointer):
        return 0
    return t.size * t.elem.itemsize


def _kept(v: Value) -> int:
    made = v.op
    if made is not None and (made.has("constant") or made.has("view") or made.name == "arange"):
        return 0
    return _bytes(v.type)


def _peak(block: Block, outside: int) -> int:
    """The most bytes alive at once in a block, beside `outside`."""
    last: dict[Value, int] = {}
    for i, op in enumerate(block.ops):
        for v in _uses(op):
            last[v] = i
    ends: dict[int, int] = {}
    now = peak = outside + sum(_kept(a) for a in block.args)
    for i, op in enumerate(block.ops):
        inner = max((_peak(r, now) for r in op.regions if op.has("structured")), default=0)
        for r in op.results:
            ends[last.get(r, i)] = ends.get(last.get(r, i), 0) + _kept(r)
        dying = ends.pop(i, 0)
        made = sum(_kept(r) for r in op.results)
        # An elementwise op writes over an operand that ends with it.
        peak = max(peak, inner, now + made - (min(dying, made) if op.has("elementwise") else 0))
        now += made - dying
    return peak


def _uses(op: Op) -> list[Value]:
    """Operands of an op and of all ops inside it; a view's use is a use of what it shows."""
    found = []
    for o in (op, *(inner for r in op.regions for inner in r.walk())):
        for v in o.operands:
            found.append(v)
            while v.op is not None and v.op.has("view") and v.op.operands:
                v = v.op.operands[0]
                found.append(v)
    return found
