"""Decides which tiles are kept in arrays and which are recomputed where they are needed.

Lowering is driven by *sinks*: ops that need the elements of their operands (stores, reductions, dots, loop carries …).
Between sinks, elementwise ops and views are not executed at all: each sink's loop evaluates the expression it needs,
element by element. So pointers and masks never become arrays, and neighbouring ops fuse. A value is *kept* (computed
once, into an array, where it is defined) when evaluating it again would cost more than that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable

from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Type
from zmlx.passes.axis import AxisInfo

MANY = object()
# Estimated cost of an op in simple instructions; above the limit a value with several sinks is kept.
COST_TRANSCENDENTAL, COST_OTHER = 20, 6
FREE = frozenset({"view", "constant"})
KEEP_FLOAT, KEEP_INDEX = 12, 40
# Loads that are made again rather than kept: neighbours of at least RUN elements, by at most so many sinks.
RUN, MOST_REREADS = 16, 3


class Plan:
    """`kept`: values that live in arrays. `roots`: the parameters a pointer may point into (None: any).

    `rereads`: whether loading neighbours again costs no more than reading a kept copy of them, as from a CPU's cache.
    `stages`: whether a product reads its operands from shared memory.
    """

    def __init__(
        self, fn: Function, axes: dict[Value, AxisInfo], rereads: bool = False, stages: Callable[[Op], bool] | None = None
    ) -> None:
        self.axes, self.rereads, self.stages = axes, rereads, stages
        self.kept: set[Value] = set()
        self.roots: dict[Value, frozenset[Value] | None] = {}
        self.block_of: dict[Op, Block] = {}
        self.position: dict[Op, int] = {}
        self.owner: dict[Block, Op] = {}
        self.depth: dict[Block, int] = {}
        self.users: dict[Value, list[Op]] = defaultdict(list)
        # For each block: positions and roots of ops that write memory (or order it), nested ones included.
        self.writes: dict[Block, list[tuple[int, frozenset[Value] | None]]] = defaultdict(list)
        self.sink: dict[Value, object] = {}
        self._loops: dict[Value, object] = {}  # the same, with the place of an operand where each has a loop of its own
        self.cost: dict[Value, int] = {}
        for p in fn.params:
            if isinstance(p.value.type, Type) and p.value.type.is_pointer:
                self.roots[p.value] = frozenset([p.value])
        self.written = self._number(fn.body, 0)  # roots of everything that the kernel writes
        self._choose(fn.body)

    def is_deferred(self, v: Value) -> bool:
        """Whether the value is evaluated at its sinks instead of where it is defined."""
        op = v.op
        return op is not None and v not in self.kept and (_is_lazy(op) or op.name == "load") and bool(v.type.shape)  # type: ignore[union-attr]

    def _number(self, block: Block, depth: int) -> set[frozenset[Value] | None]:
        written: set[frozenset[Value] | None] = set()
        self.depth[block] = depth
        for i, op in enumerate(block.ops):
            self.block_of[op], self.position[op] = block, i
            self._propagate_roots(op)
            for v in set(op.operands):
                self.users[v].append(op)
            inner: set[frozenset[Value] | None] = set()
            for region in op.regions:
                self.owner[region] = op
                inner |= self._number(region, depth + 1)
            if "writes" in op.traits:
                inner.add(self.roots.get(op.operands[0]))
            if "barrier" in op.traits:
                inner.add(None)
            if op.regions:
                self._carry_roots(op)
            self.writes[block] += [(i, roots) for roots in inner]
            written |= inner
        return written

    def _propagate_roots(self, op: Op) -> None:
        for r in op.results:
            if isinstance(r.type, Type) and r.type.is_pointer and not op.regions:
                self.roots[r] = self._join([v for v in op.operands if isinstance(v.type, Type) and v.type.is_pointer])
        if op.regions and op.has("structured") and op.name != "if":
            carried = op.operands[-len(op.results) :] if op.results else []
            for region in op.regions:
                for arg, init in zip(region.args[-len(carried) :] if carried else [], carried, strict=False):
                    if arg.type.is_pointer:  # type: ignore[union-attr]
                        self.roots[arg] = self.roots.get(init)

    def _carry_roots(self, op: Op) -> None:
        """Results of loops and branches point into what their yields point into; a carry that moves between arrays, anywhere."""
        if not op.has("structured"):
            return
        for i, r in enumerate(op.results):
            if isinstance(r.type, Type) and r.type.is_pointer:
                ends = [region.terminator.operands[i] for region in op.regions if len(region.terminator.operands) == len(op.results)]
                joined = self._join(ends)
                if op.name != "if":
                    inits = op.operands[-len(op.results) :]
                    joined = self._join([*ends, inits[i]]) if self._join(ends) == self.roots.get(inits[i]) else None
                self.roots[r] = joined

    def _join(self, pointers: list[Value]) -> frozenset[Value] | None:
        all_roots: set[Value] = set()
        for v in pointers:
            roots = self.roots.get(v)
            if roots is None:
                return None
            all_roots |= roots
        return frozenset(all_roots) if pointers else None

    def _choose(self, block: Block) -> None:
        """Backwards, so that what a value's users do is known before the value's turn comes."""
        for op in reversed(block.ops):
            for region in reversed(op.regions):
                if op.has("structured"):
                    self._choose(region)
            for v in op.results:
                if isinstance(v.type, Type) and v.type.is_tile:
                    self.sink[v] = self._sink_of(v, op)
                    if self._must_keep(v, op):
                        self.kept.add(v)
        # Costs are known forwards only: settle them, and keep what turned out dear.
        for op in block.ops:
            for v in op.results:
                if isinstance(v.type, Type) and v.type.is_tile and _is_lazy(op) and v not in self.kept:
                    self.cost[v] = _cost(op) + sum(self.cost.get(x, 0) for x in set(op.operands))
                    if self._dear(v, op):
                        self.kept.add(v)
                        self.cost[v] = 0

    def _sink_of(self, v: Value, op: Op) -> object:
        """The one op that needs the value's elements, MANY, or None for none."""
        found: object = None
        for user in self.users.get(v, ()):
            here: object = user
            if self.block_of[user] is not self.block_of[op]:
                here = MANY
            elif _is_lazy(user) and not any(r in self.kept or not r.type.shape for r in user.results):  # type: ignore[union-attr]
                sinks = {self._loops.get(r) for r in user.results} - {None}
                here = None if not sinks else sinks.pop() if len(sinks) == 1 else MANY
            elif user.has("terminator") and not self.rereads:
                # The next values of carried tiles are written one after the other.
                places = [i for i, x in enumerate(user.operands) if x is v]
                here = (user, places[0]) if len(places) == 1 else MANY
            if here is None:
                continue
            if here is MANY or (found is not None and found != here):
                found = MANY
                break
            found = here
        self._loops[v] = found
        return found[0] if isinstance(found, tuple) else found

    def _must_keep(self, v: Value, op: Op) -> bool:
        if op.name == "load":
            sink = self.sink[v]
            if sink is MANY:
                return not (self._rereadable(v, op) or self._staged(v, op))
            return isinstance(sink, Op) and self._disturbed(op, sink)
        return not _is_lazy(op)

    def _staged(self, v: Value, load: Op) -> bool:
        """Whether only products need the value that read their operands from shared memory: they copy it there themselves."""
        roots = self.roots.get(load.operands[0])
        if self.stages is None or roots is None or any(w is None or w & roots for w in self.written):
            return False
        users = list(self.users.get(v, ()))
        while users:
            user = users.pop()
            if user.name in ("trans", "hint"):
                users += self.users.get(user.results[0], ())
            elif user.name != "dot" or v in user.operands[2:] or not self.stages(user):
                return False
        return True

    def _rereadable(self, v: Value, load: Op) -> bool:
        """Whether a few sinks may each load the value: neighbours, in an array that this kernel only reads."""
        pointer = load.operands[0]
        roots = self.roots.get(pointer)
        if not self.rereads or roots is None or any(w is None or w & roots for w in self.written):
            return False
        if pointer not in self.axes or self.axes[pointer].contiguity[-1] < RUN or self._grows(v):
            return False
        sinks: set[Op] = set()
        return self.collect_sinks(v, self.block_of[load], sinks) and len(sinks) <= MOST_REREADS

    def collect_sinks(self, v: Value, block: Block, found: set[Op]) -> bool:
        """Adds the ops that need the value's elements; False where one of them runs more often than the block."""
        for user in self.users.get(v, ()):
            if self.block_of[user] is not block:
                return False
            kept = any(r in self.kept or not r.type.shape for r in user.results)  # type: ignore[union-attr]
            if not _is_lazy(user) or kept:
                found.add(user)
            elif not all(self.collect_sinks(r, block, found) for r in user.results):
                return False
        return True

    def _disturbed(self, load: Op, sink: Op) -> bool:
        """Whether memory that the load reads may change before (or while) its sink runs."""
        block, roots = self.block_of[load], self.roots.get(load.operands[0])
        entries = self.writes[block]
        first = bisect_right(entries, self.position[load], key=lambda e: e[0])
        for position, written in entries[first:]:
            if position > self.position[sink]:
                break
            if roots is None or written is None or roots & written:
                same = position == self.position[sink] and sink.name == "store" and sink.operands[0] is load.operands[0]
                if not same:
                    return True
        return False

    def _dear(self, v: Value, op: Op) -> bool:
        t = v.type
        assert isinstance(t, Type)
        sink = self.sink.get(v)
        if sink is None:
            return False
        index = t.is_pointer or t.dtype.is_int
        if index and any(c > 1 for c in self.axes[v].contiguity) if v in self.axes else False:
            return False  # an array of addresses would hide that they are neighbours
        limit = KEEP_INDEX if index else KEEP_FLOAT
        if self.cost[v] > limit and (sink is MANY or self._grows(v)):
            return True
        return self.cost[v] > 64 * limit  # keeps one expression from growing without bound

    def _grows(self, v: Value) -> bool:
        """Whether a user repeats the elements: then each would be computed many times."""
        return any(u.has("view") and u.results[0].type.size > v.type.size for u in self.users.get(v, ())) or any(
            u.name == "expand_dims" and self._grows(u.results[0]) for u in self.users.get(v, ())
        )


def _is_lazy(op: Op) -> bool:
    return "pure" in op.traits and not op.regions and op.name != "dot" and bool(op.results)


def _cost(op: Op) -> int:
    if "transcendental" in op.traits:
        return COST_TRANSCENDENTAL
    return 0 if not FREE.isdisjoint(op.traits) else 1 if "cheap" in op.traits else COST_OTHER
