"""Tile IR to SIMT IR: from what a program does to tiles, to what each of its threads does to its elements.

On a GPU a tile is spread over the threads of a program by a layout. On the host a program is one thread that owns whole
tiles: the same code, with no lanes, no barriers and no shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zmlx.errors import CompilationError
from zmlx.ir.core import Block, Function, Op, Param, Value
from zmlx.ir.types import Type
from zmlx.ops import control, simt
from zmlx.ops.arith import and_
from zmlx.passes import gather
from zmlx.passes.axis import analyse
from zmlx.passes.disjoint import Disjoint
from zmlx.simt import control as control_flow
from zmlx.simt import dot, epilogue, memory, reduce, scan, tensor
from zmlx.simt.analysis import Plan
from zmlx.simt.barriers import Hazards
from zmlx.simt.convert import prepare
from zmlx.simt.decisions import Decision, Record
from zmlx.simt.emit import Emit
from zmlx.simt.flight import Flight
from zmlx.simt.frame import Frame, walk
from zmlx.simt.homes import Homes
from zmlx.simt.layout import Coords, Layout
from zmlx.simt.placement import Placement
from zmlx.simt.shared import Scratch
from zmlx.simt.staging import Image
from zmlx.simt.views import pull_back
from zmlx.targets.target import Target

if TYPE_CHECKING:
    from zmlx.simt.halves import Early


class Lowering:
    """The state of one kernel's lowering; the algorithms of structured ops are in the sibling modules."""

    def __init__(
        self, fn: Function, target: Target, num_warps: int, num_stages: int | None = None, record: Record | None = None,
        single: bool = False,
    ) -> None:  # fmt: skip
        # single: threadgroup memory holds one piece of an operand at a time, else two where that seems to fit (`halves`: somewhere).
        self.single, self.halves = single, False
        self.fn, self.target, self.num_stages, self.record = fn, target, num_stages, record
        self.num_warps = num_warps if target.is_simt else 1
        self.axes = analyse(fn, bases=target.vector_bytes or 1)
        self.plan = Plan(fn, self.axes, not target.is_simt, lambda product: tensor.fits(product, target.dialect))
        if record is not None:
            record.decisions.clear()
            record.axes, record.plan = self.axes, self.plan
        self.place = Placement(fn, self.plan, self.axes, target, self.num_warps)
        self.body = Block([p.value.type for p in fn.params], [p.name for p in fn.params])
        self.scalars: dict[Value, Value] = dict(zip((p.value for p in fn.params), self.body.args, strict=True))
        self.homes: dict[Value, list[tuple[Layout, Value]]] = {}
        self.prologue = Block()
        self._waiting: list[Value] = []  # kept values that are not computed yet
        self.e = Emit(self.body)
        self.scratch = Scratch(self)
        self.staged: dict[object, Image] = {}  # operands of products that a loop keeps in shared memory
        # Loads that an operand of a product needs in a layout, made before: an array, and where in it `Frame.register` finds them.
        self.fetched: dict[tuple[Value, Layout], tuple[Value, tuple[tuple[int, ...], int]]] = {}
        self.early: dict[Op, Early] = {}  # products whose operands a loop fetches an iteration ahead
        self.flight = Flight(self)
        self.following: dict[Op, Callable[[], None]] = {}  # what is emitted once a product has been started
        self.hazards = Hazards(self)
        self.home = Homes(self)
        self._thread: tuple[Value | int, Value | int] | None = None
        self._parts: dict[object, Value | int] = {}
        self._pulled: dict[tuple[Value, Layout], Layout] = {}

    @cached_property
    def disjoint(self) -> Disjoint:
        return Disjoint(self.fn, self.axes)

    def run(self) -> Function:
        """The SIMT function."""
        self.lower_block(self.fn.body)
        self.body.ops[:0] = self.prologue.ops
        params = [Param(v, p.divisibility, p.loc) for v, p in zip(self.body.args, self.fn.params, strict=True)]
        threads = self.target.lanes * self.num_warps
        return Function(self.fn.name, params, self.body, {"num_warps": self.num_warps, "threads": threads})

    # Blocks and ops

    def lower_block(self, block: Block) -> None:
        """Emits a block's ops; its terminator is left to the owner."""
        for op in block.ops:
            if "terminator" in op.traits and op.name != "return":
                break
            self.e.loc = op.loc
            try:
                self.lower_op(op)
            except CompilationError as error:
                raise error.at(op.loc) from None
        self.flush_kept()

    def lower_op(self, op: Op) -> None:
        tiles = [v for v in (*op.operands, *op.results) if v.type.is_tile]  # type: ignore[union-attr]
        if op.name in _SINKS:
            self.flush_kept()
            _SINKS[op.name](self, op)
        elif not tiles:
            self.lower_scalar(op)
        elif all(not v.type.shape for v in op.results):  # type: ignore[union-attr]
            self.flush_kept()
            self.lower_extract(op)
        elif any(v in self.plan.kept for v in op.results):
            self._waiting += [v for v in op.results if v in self.plan.kept and self.plan.sink.get(v) is not None]
        elif not all(self.plan.is_deferred(v) for v in op.results):
            raise AssertionError(f"no lowering for {op.name}")

    def lower_scalar(self, op: Op) -> None:
        if op.name == "hint":
            self.scalars[op.results[0]] = self.scalar(op.operands[0])
            return
        new = self.e.create(op.defn, [self.scalar(v) for v in op.operands], op.attrs)
        for old, fresh in zip(op.results, new.results, strict=True):
            fresh.name = old.name
            self.scalars[old] = fresh

    def lower_extract(self, op: Op) -> None:
        """A view that takes a tile apart into scalars: every thread needs the same element."""
        none: tuple[int, ...] = ()
        alone = Layout(none, none, (none,) * self.place.lane_bits, (none,) * self.place.warp_bits)  # type: ignore[arg-type]
        for result in op.results:
            inner = self.pull_back(op, alone, result)
            prepare(self, [(op.operands[0], inner)])
            self.scalars[result] = Frame(self, None, 0, (), self.e.block).eval(op.operands[0], inner)

    def scalar(self, v: Value) -> Value:
        """The SIMT value of a scalar of the Tile IR."""
        return self.scalars[v]

    # Tiles

    def materialise(self, v: Value, layout: Layout, into: Value | None = None) -> Value:
        """Computes a tile into an array (a new one, that becomes its home, unless `into` is given)."""
        prepare(self, [(v, layout)])
        assert isinstance(v.type, Type)
        array = into or self.e.alloc(v.type.elem, layout.registers, "register", v.name)
        with self.nest(layout) as frame, self.e.on_behalf_of(v):
            value = frame.eval(v, layout)
            self.e.set(array, frame.register((tuple(1 << b for b in range(len(layout.reg))), 0)), value)
        if into is None:
            self.homes.setdefault(v, []).append((layout, array))
        return array

    def flush_kept(self) -> None:
        """Computes the kept values that are waiting: neighbours of one layout in one loop, where they share what they need."""
        while self._waiting:
            layout = self.home.of(self._waiting[0])
            group = [v for v in self._waiting if self.home.of(v) == layout]
            self._waiting = [v for v in self._waiting if self.home.of(v) != layout]
            prepare(self, [(v, layout) for v in group])
            arrays = [self.e.alloc(v.type.elem, layout.registers, "register", v.name) for v in group]
            with self.nest(layout) as frame:
                at = frame.register((tuple(1 << b for b in range(len(layout.reg))), 0))
                for v, array in zip(group, arrays, strict=True):
                    with self.e.on_behalf_of(v):
                        self.e.set(array, at, frame.eval(v, layout))
            for v, array in zip(group, arrays, strict=True):
                self.homes[v] = [(layout, array)]

    @contextmanager
    def inner_homes(self) -> Iterator[None]:
        """Homes that a region makes, by conversion or for its own values, hold only inside it."""
        outer = {v: list(h) for v, h in self.homes.items()}
        yield
        self.homes = outer

    @contextmanager
    def nest(self, layout: Layout, independent: bool = True) -> Iterator[Frame]:
        """Loops over a thread's registers; the `with` body is emitted once, in the innermost."""
        with self.levels(Frame(self, None, 0, (), self.e.block), [list(run) for run in layout.runs], independent) as frame:
            yield frame

    @contextmanager
    def levels(self, parent: Frame, runs: list[list[int]], independent: bool = True, kind: str = "") -> Iterator[Frame]:
        """One loop for each list of register bits, outermost first; kind: of the loops, where it is not the target's usual."""
        if not runs:
            yield parent
            return
        usual = "unroll" if self.target.is_simt else "simd" if independent and len(runs) == 1 else "serial"
        with self.e.loop(0, 1 << len(runs[0]), kind or usual) as index:
            frame = Frame(self, parent, index, runs[0], self.e.block)
            with self.levels(frame, runs[1:], independent, kind) as inner:
                yield inner
        for emit in frame.after:
            emit()

    def inner_kind(self) -> str:
        """How a loop over registers with independent iterations is to be compiled."""
        return "unroll" if self.target.is_simt else "simd"

    def outer_kind(self) -> str:
        return "unroll" if self.target.is_simt else "serial"

    def load_element(self, frame: Frame, op: Op, layout: Layout) -> Value:
        return memory.load_element(self, frame, op, layout)

    def pull_back(self, op: Op, wanted: Layout, result: Value) -> Layout:
        """`views.pull_back`, remembered."""
        key = (result, wanted)
        if key not in self._pulled:
            self._pulled[key] = pull_back(op, wanted, result)
        return self._pulled[key]

    # Threads

    def thread(self) -> tuple[Value | int, Value | int]:
        """This thread's lane and warp."""
        if self._thread is None:
            if not self.target.is_simt:
                self._thread = (0, 0)
            else:
                with self.e.at(self.prologue):
                    tid = self.e.value(simt.thread_id)
                    tid.name = "tid"
                    lane_bits = self.target.lanes.bit_length() - 1
                    warp_bits = self.num_warps.bit_length() - 1
                    lane = self.e.bits(tid, 0, lane_bits, lane_bits + warp_bits)
                    warp: Value | int = self.e.bits(tid, lane_bits, warp_bits, lane_bits + warp_bits) if warp_bits else 0
                    if isinstance(warp, Value):
                        lane.name, warp.name = "lane", "warp"
                    self._thread = (lane, warp)
        return self._thread

    def thread_part(self, layout: Layout, dim: int) -> Value | int:
        """What lane and warp contribute to a coordinate."""
        lane, warp = tuple(b[dim] for b in layout.lane), tuple(b[dim] for b in layout.warp)
        bases = [b for b in (*lane, *warp) if b]
        return self.thread_sum(lane, warp, self.e.add if len(set(bases)) == len(bases) else self.e.xor)

    def thread_sum(self, lanes: tuple[int, ...], warps: tuple[int, ...], combine: Callable[..., Value | int]) -> Value | int:
        """What the bits of lane and warp contribute in all, when each contributes such a number; computed once a thread."""
        if not any(lanes) and not any(warps):
            return 0
        key = (lanes, warps, combine.__name__)
        if key not in self._parts:
            lane, warp = self.thread()
            with self.e.at(self.prologue):
                total: Value | int = 0
                for part in [*walk(self.e, lane, lanes), *walk(self.e, warp, warps)]:
                    total = combine(total, part)
                self._parts[key] = total
        return self._parts[key]

    def owner(self, layout: Layout) -> Value | None:
        """The condition under which this thread is the first that holds its elements; None when it always is."""
        return self.first(layout.lane, layout.warp)

    def first(self, lanes: tuple[Coords, ...], warps: tuple[Coords, ...]) -> Value | None:
        """The condition under which this thread is the first of those that differ in bits of no effect (a basis of zeros)."""
        if all(any(b) for b in (*lanes, *warps)):
            return None
        lane, warp = self.thread()
        condition: Value | None = None
        for index, bases in ((lane, lanes), (warp, warps)):
            mask = sum(1 << i for i, b in enumerate(bases) if not any(b))
            if not mask or isinstance(index, int):
                continue
            low = index if mask == (1 << len(bases)) - 1 else self.e.value(and_, index, self.e.constant(mask))
            condition = self.e.both(condition, self.e.equals(low, 0))
        return condition

    def decided(self, kind: str, op: Op | None, **facts: Any) -> None:
        """Notes a choice for `kernel.explain`."""
        if self.record is not None:
            self.record.decisions.append(Decision(kind, op, self.e.loc, facts))

    def barrier(self, scope: str, why: str = "") -> None:
        """All threads of the program wait; scope: "shared" or "device" memory becomes visible.

        why: what it waits for, where that is not what was just written, for `kernel.explain`.
        """
        if self.target.is_simt:
            self.decided("barrier", None, scope=scope, why=why)
            self.e.create(simt.barrier, (), {"scope": scope})
            self.scratch.passed()


def lower(fn: Function, target: Target, num_warps: int, num_stages: int | None = None, record: Record | None = None) -> Function:
    """The SIMT function of a kernel for a target; `record` receives what was decided on the way."""
    if target.is_simt:
        gather.run(fn)
    low = Lowering(fn, target, num_warps, num_stages, record)
    out = low.run()
    if low.halves and low.scratch.peak > target.shared_bytes:
        low = Lowering(fn, target, num_warps, num_stages, record, single=True)
        out = low.run()
    return out


def _return(low: Lowering, op: Op) -> None:
    low.e.create(control.return_)


def _ignore(low: Lowering, op: Op) -> None:
    """`assume` only feeds analyses."""


_SINKS = {
    "load": memory.lower_load,
    "store": epilogue.lower_store,
    "atomic_rmw": memory.lower_atomic,
    "atomic_cas": memory.lower_atomic,
    "device_print": memory.lower_debug,
    "device_assert": memory.lower_debug,
    "debug_barrier": memory.lower_debug_barrier,
    "reduce": reduce.lower_reduce,
    "scan": scan.lower_scan,
    "dot": dot.lower_dot,
    "for": control_flow.lower_for,
    "while": control_flow.lower_while,
    "if": control_flow.lower_if,
    "return": _return,
    "assume": _ignore,
}
