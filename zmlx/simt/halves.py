"""Loops around products on Apple GPUs: the next iteration's operands are on their way while this one's are multiplied.

What passes through threadgroup memory has two halves there. An iteration fetches the next one's elements into registers before it
multiplies what is in one half, and writes them to the other behind that: so one barrier an iteration is enough, after which
the half that is written has no more readers, and the half that is read no more writers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zmlx.ir.core import Op, Value
from zmlx.ir.types import Elem
from zmlx.ops import arith, compare
from zmlx.simt import dot_metal, fragments
from zmlx.simt.convert import prepare
from zmlx.simt.later import Later
from zmlx.simt.operand_metal import Operand

if TYPE_CHECKING:
    from zmlx.simt.lower import Lowering


@dataclass(eq=False)
class Early:
    """A product with operands that are staged early, or (fixed) once, before the loop.

    loads_need, values_need: the body's ops that the early ones' loads, and their values but for loads, follow from.
    """

    halves: Halves
    op: Op
    sides: list[Operand]
    staged: list[Operand]
    fixed: list[Operand]
    loads_need: set[Op]
    values_need: set[Op]
    piece: int = 0

    @property
    def depth(self) -> int:
        return self.op.operands[0].type.shape[1]  # type: ignore[union-attr]

    @property
    def bytes(self) -> int:
        return sum(s.bytes * (1 if s in self.fixed else 2) for s in self.sides if s.staged)

    @property
    def held(self) -> list[tuple[Operand, int]]:
        """What has threadgroup memory throughout the loop, and for how many pieces."""
        return [*((s, 2) for s in self.staged), *((s, 1) for s in self.fixed)]

    def choose(self, piece: int) -> None:
        self.piece = piece
        for s in self.sides:
            if s.staged:
                s.choose(self.depth if s in self.fixed else piece)

    def now(self) -> list[Operand]:
        """Both operands, where the product is: of those that come late it is known now what threads hold."""
        sides = dot_metal.operands(self.halves.low, self.op)
        for s, _ in self.held:
            sides[s.side] = s
        for s in sides:
            if s.staged and s.shared is None:
                s.choose(self.piece)
        return sides

    def start(self, s: Operand, following: bool = False) -> Value | int:
        """Where in threadgroup memory this iteration's last piece is, or the next one's first: pieces take turns."""
        e, count = self.halves.low.e, self.depth // self.piece
        if count > 1:
            return 0 if following else s.size
        half = self.halves.half
        return e.mul(e.xor(half, 1) if following else half, s.size)

    def fetch(self) -> None:
        """Begins the loads of the next iteration."""
        for s in self.staged:
            s.room()
            for load, _ in s.outer_loads:
                self.halves.low.decided("ahead", load)
        with self.halves.next(self.loads_need):
            for s in self.staged:
                s.anchor()
                s.fetch(0)
        for s in self.staged:
            s.anchor()

    def write(self) -> None:
        """Writes what has been fetched to the half that nobody reads."""
        with self.halves.next(self.values_need):
            for s in self.staged:
                s.anchor()
                s.write(0, self.start(s, following=True), fetched=True)

    def first(self) -> None:
        """Before the loop, in what it will have as its first iteration."""
        for s, _ in self.held:
            s.anchor()
            s.fetch(0)
        for s, _ in self.held:
            s.write(0, 0, fetched=True)


@dataclass(eq=False)
class Halves:
    """The products of one `for` loop whose operands are fetched an iteration ahead. half: which half this iteration reads."""

    low: Lowering
    op: Op
    names: tuple[str, ...] = ()
    ahead: list[Early] = field(default_factory=list)
    half: Value | int = 0

    def __post_init__(self) -> None:
        self.region = self.op.regions[0]
        self.later = Later(self.low, self.op)
        found = [x for p in self.region.ops if p.name == "dot" and fragments.choose(p, self.low.target) and (x := self._early(p))]
        self.ahead = found if found and self._fit(found) else []
        if any(x.piece == x.depth for x in self.ahead):
            self.names = ("turn",)

    def _early(self, product: Op) -> Early | None:
        """What of a product can be staged early."""
        low = self.low
        sides = dot_metal.operands(low, product)
        staged, fixed, loads, values = [], [], set[Op](), set[Op]()
        for s in sides:
            needed = self._slice(s.value) if s.staged else None
            if needed is not None and not isinstance(needed, str):
                staged.append(s)
                loads |= needed[0]
                values |= needed[1]
            elif needed == "same":
                fixed.append(s)
            elif needed:
                low.decided("late", product, side=s.side, why=needed)
        if not staged:
            return None
        if dot_metal.stages(low, product) == 1 or low.single:
            low.decided("late", product, side=None, why="others" if low.single else "asked")
            return None
        return Early(self, product, sides, staged, fixed, loads, values)

    def _slice(self, tile: Value) -> tuple[set[Op], set[Op]] | str:
        """The ops of the body that a tile's loads, and its values but for loads, follow from; else why that is too late."""
        loads, values = set[Op](), set[Op]()
        stack, seen = [(tile, False)], set[tuple[Value, bool]]()
        while stack:
            v, below = stack.pop()
            if (v, below) in seen or not self.later.inside(v):
                continue
            seen.add((v, below))
            if v in self.region.args:
                if v not in self.later.grows:
                    return "carried"
                continue
            op = v.op
            assert op is not None
            load = op.name == "load"
            if v in self.low.plan.kept and v.type.shape:  # type: ignore[union-attr]
                return "kept"
            if op.regions or op.name == "dot" or not (op.has("pure") or load):
                return "computed"
            if load and self._written(op):
                return "written"
            if load and not below and not v.type.shape:  # type: ignore[union-attr]
                return "scalar"
            if below:
                loads.add(op)
            elif not load:
                values.add(op)
            stack += [(x, below or load) for x in op.operands]
        if not seen:
            return "same"
        return loads | values, values

    def _written(self, load: Op) -> bool:
        """Whether the loop may write what a load reads."""
        roots = self.low.plan.roots.get(load.operands[0])
        for op in self.region.walk():
            if op.has("barrier"):
                return True
            if op.has("writes"):
                written = self.low.plan.roots.get(op.operands[0])
                if roots is None or written is None or roots & written:
                    return True
        return False

    def _fit(self, found: list[Early]) -> bool:
        """Chooses pieces of which threadgroup memory holds two, and registers one; False where that would take more barriers."""
        low = self.low
        singles, why = [], "memory"
        for x in found:
            one = dot_metal.single_piece(low, [s for s in x.sides if s.staged], x.depth)
            if one is None:
                why = "plain"  # such a product is multiplied in another way
                break
            singles.append(one)
        for limit in () if why == "plain" else (min(dot_metal.WISHED_BYTES, low.target.stage_bytes), low.target.stage_bytes):
            for share in (1, 2):
                for x, one in zip(found, singles, strict=True):
                    x.choose(max(x.sides[0].kind.depth, one // share))
                if sum(x.bytes for x in found) > limit:
                    continue
                asked = dot_metal.stages(low, found[0].op) is not None
                if asked or all(sum(s.fetched_bytes for s in x.staged) <= dot_metal.MOST_FETCHED for x in found):
                    return True
                why = "registers"
        for x in found:
            low.decided("late", x.op, side=None, why=why)
        return False

    # Emission

    @contextmanager
    def around(self, bounds: list[Value], inits: list[Value]) -> Iterator[None]:
        """Stages the first iteration's operands."""
        if not self.ahead:
            yield
            return
        low, e = self.low, self.low.e
        low.halves = True
        held = [x for each in self.ahead for x in each.held]
        loads = {load: None for s, _ in held for load, _ in s.loads}
        loads |= {op: None for x in self.ahead for op in self.region.ops if op in x.loads_need and op.name == "load"}
        for load in loads:
            low.hazards.access(load, None)
        for s, _ in held:
            prepare(low, [(s.value, s.home)])
        wanted: list[tuple[Elem, int, str]] = [(s.elem, n * s.size, "ab"[s.side]) for s, n in held]
        with low.scratch.held(wanted) as arrays:
            for (s, _), array in zip(held, arrays, strict=True):
                s.shared = array
                s.room()
            needed = set().union(*(x.loads_need for x in self.ahead))
            with e.guard(e.value(compare.lt, bounds[0], bounds[1])), self.later.bound([bounds[0], *inits], needed):
                for x in self.ahead:
                    x.first()
            outer = dict(low.early)
            low.early |= {x.op: x for x in self.ahead}
            yield
            low.early = outer

    def begin(self, bounds: list[Value], args: list[Value], place: list[Value]) -> None:
        """At the top of an iteration with these scalars. place: the half that it reads, where that changes."""
        self.args, self.more = args, self.later.exists(bounds, args[0])
        self.half = place[0] if place else 0

    def end(self, bounds: list[Value], args: list[Value], place: list[Value]) -> None:
        """Nothing is under way at the end of an iteration."""

    def advance(self, place: list[Value], by: int) -> list[Value]:
        return [self.low.e.value(arith.xor, v, self.low.e.constant(by)) for v in place]

    @contextmanager
    def next(self, needed: set[Op]) -> Iterator[None]:
        """The `with` body is emitted for the next iteration, if there is one, with what the needed ops are there."""
        low = self.low
        with low.e.guard(self.more), self.later.bound(self.later.next(self.args), needed):
            yield
