"""What the explanations of single ops look up: the ops around an op, the code it became, and what was decided about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zmlx.errors import Loc
from zmlx.explain.reasons import Reasons
from zmlx.ir.core import Block, Op, Value
from zmlx.passes.axis_info import AxisInfo, ty
from zmlx.passes.structure import is_loop
from zmlx.simt.decisions import Decision, Record
from zmlx.targets import host_simd
from zmlx.targets.target import Target

UNRECORDED = "not recorded"


@dataclass(frozen=True)
class Emitted:
    """An op of the SIMT IR and the loops around it, outermost first."""

    op: Op
    loops: tuple[Op, ...]


class Scene:
    """One compilation's record, indexed."""

    def __init__(self, record: Record, target: Target, num_warps: int, numbers: Mapping[str, int] | None = None) -> None:
        assert record.tile is not None and record.simt is not None and record.plan is not None
        self.record, self.target, self.num_warps = record, target, num_warps
        self.tile, self.simt, self.plan, self.axes = record.tile, record.simt, record.plan, record.axes
        given = numbers or {}
        self._numbers: dict[Value, int | None] = {p.value: given.get(p.name) for p in self.tile.params}
        self.threads = target.lanes * num_warps if target.is_simt else 1
        self.reasons = Reasons(self.tile, self.axes)
        self.loops: dict[Op, tuple[Op, ...]] = {}
        self._find_loops(self.tile.body, ())
        self.emitted: dict[Loc | None, list[Emitted]] = defaultdict(list)
        self.classified: dict[Op, tuple[dict[Value, str], Op | None]] = {}  # the host's loops over elements
        self._find_code(self.simt.body, ())
        self.by_op: dict[Op, list[Decision]] = defaultdict(list)
        for decision in record.decisions:
            if decision.op is not None:
                self.by_op[decision.op].append(decision)
        self.barriers: dict[Op, int] = defaultdict(int)  # of the exchanges that an op makes
        self.reused: dict[Op, set[str]] = defaultdict(set)  # why some of them only let readers finish
        self._count_barriers()

    def _find_loops(self, block: Block, around: tuple[Op, ...]) -> None:
        for op in block.ops:
            self.loops[op] = around
            for region in op.regions:
                self._find_loops(region, (*around, op) if is_loop(op) else around)

    def _find_code(self, block: Block, around: tuple[Op, ...]) -> None:
        for op in block.ops:
            self.emitted[op.loc].append(Emitted(op, around))
            if op.name == "loop" and not self.target.is_simt:
                self.classified[op] = host_simd.classify(op)
            for region in op.regions:
                self._find_code(region, (*around, op) if op.name in ("loop", "for", "while") else around)

    def decided(self, op: Op, kind: str) -> list[Decision]:
        return [d for d in self.by_op[op] if d.kind == kind]

    def missing(self, op: Op) -> tuple[str, list[str], str, dict[str, Any]]:
        """What to say of an op that no decision was recorded about."""
        if op.results and all(self.plan.sink.get(r) is None for r in op.results):
            return "left out", ["Nothing uses what it makes."], "", {"width": 0}
        return UNRECORDED, ["The lowering did not record what it does: please report this bug of zmlx."], "", {"width": 0}

    def code(self, op: Op, *names: str) -> list[Emitted]:
        """The SIMT ops of the given names that were emitted on behalf of an op."""
        return [x for x in self.emitted[op.loc] if x.op.name in names]

    def wide(self, loop: Op) -> bool:
        """Whether a loop of the host is written over vectors."""
        return loop in self.classified and self.classified[loop][1] is None

    def sinks(self, value: Value) -> list[Op]:
        """The ops that need a value's elements, through the expressions that are evaluated where they are used."""
        found: dict[Op, None] = {}
        stack, seen = [value], {value}
        while stack:
            for user in self.plan.users.get(stack.pop(), []):
                passed = [r for r in user.results if self.plan.is_deferred(r)]
                if not passed:
                    found[user] = None
                stack += [r for r in passed if r not in seen]
                seen.update(passed)
        return list(found)

    def stages(self, op: Op) -> Decision | None:
        """What was decided about the innermost loop around an op whose products' operands are staged by the loop."""
        found = [d for loop in reversed(self.loops[op]) for d in self.decided(loop, "stages")]
        return found[0] if found else None

    def info(self, op: Op) -> AxisInfo | None:
        """What is known of the address that an access goes to."""
        return self.axes.get(op.operands[0])

    def number(self, v: Value) -> int | None:
        """An integer scalar for the arguments at hand; None where it depends on the program or on memory."""
        if v not in self._numbers:
            self._numbers[v] = None  # cuts cycles
            self._numbers[v] = self._compute(v)
        return self._numbers[v]

    def _compute(self, v: Value) -> int | None:
        info, op = self.axes.get(v), v.op
        if info is not None and info.constant is not None:
            return info.constant
        if op is None or op.defn.numpy is None or not op.has("elementwise") or ty(v).is_pointer:
            return None
        known = [self.number(x) for x in op.operands]
        if v.shape or not ty(v).dtype.is_int or any(k is None for k in known):
            return None
        with np.errstate(all="ignore"):
            arrays = [np.array(k).astype(ty(x).dtype.compute) for k, x in zip(known, op.operands, strict=True)]
            return int(op.defn.numpy(*arrays, **op.attrs))

    def trips(self, op: Op) -> tuple[int, list[Op]]:
        """How often a program runs an op: a known factor, and the loops whose trips are known only when it runs."""
        factor, unknown = 1, []
        for loop in self.loops[op]:
            bounds = [b for v in loop.operands[:3] if loop.name == "for" and (b := self.number(v)) is not None]
            if len(bounds) == 3 and bounds[2]:
                factor *= len(range(*bounds))
            else:
                unknown.append(loop)
        return factor, unknown

    def _count_barriers(self) -> None:
        """An exchange through threadgroup memory belongs to the last op that makes any, but for those of conversions."""
        owner: Op | None = None
        others = 0
        for d in self.record.decisions:
            if d.kind in ("reduce", "scan", "dot", "atomic", "rows", "stages"):
                owner = d.op
            elif d.kind == "convert":
                others = d.facts["barriers"]
            elif d.kind == "barrier" and others:
                others -= 1
            elif d.kind == "barrier" and d.facts["scope"] == "shared" and owner is not None:
                self.barriers[owner] += 1
                self.reused[owner].add(d.facts["why"])
