"""Values, operations, blocks and functions: SSA with structured control flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zmlx.errors import Loc
from zmlx.ir.opdef import OpDef
from zmlx.ir.types import AnyType


class Value:
    """What an op produces or a block takes. `name` is a hint for printers: the user's variable, where known."""

    __slots__ = ("name", "op", "type")

    def __init__(self, type: AnyType, op: Op | None = None, name: str = "") -> None:
        self.type, self.op, self.name = type, op, name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape  # type: ignore[union-attr]

    def __repr__(self) -> str:
        return f"<{self.name or 'value'}: {self.type}>"


class Op:
    """One operation in a block. `regions` are the blocks it owns (loop bodies, branches, combine functions)."""

    __slots__ = ("attrs", "defn", "loc", "name", "operands", "regions", "results", "traits")

    def __init__(
        self,
        defn: OpDef,
        operands: Sequence[Value],
        result_types: Sequence[AnyType],
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Block] = (),
        loc: Loc | None = None,
    ) -> None:
        self.defn, self.name, self.traits, self.loc = defn, defn.name, defn.traits, loc
        self.operands = [*operands]
        self.attrs: dict[str, Any] = {**attrs} if attrs else {}
        self.regions = [*regions]
        self.results = [Value(result_types[0], self)] if len(result_types) == 1 else [Value(t, self) for t in result_types]

    @property
    def result(self) -> Value:
        assert len(self.results) == 1, self.name
        return self.results[0]

    def has(self, trait: str) -> bool:
        return trait in self.traits

    def __repr__(self) -> str:
        return f"<{self.name} op>"


class Block:
    """A straight line of ops with arguments; the last op may be a terminator."""

    __slots__ = ("args", "ops")

    def __init__(self, arg_types: Sequence[AnyType] = (), names: Sequence[str] = ()) -> None:
        self.args = [Value(t, None, names[i] if i < len(names) else "") for i, t in enumerate(arg_types)]
        self.ops: list[Op] = []

    @property
    def terminator(self) -> Op:
        assert self.ops and self.ops[-1].has("terminator")
        return self.ops[-1]

    def walk(self) -> Iterator[Op]:
        """Every op, outer before inner, in program order; what is changed on the way does not matter."""
        found: list[Op] = []
        _collect(self, found)
        return iter(found)


def _collect(block: Block, found: list[Op]) -> None:
    ops, start = block.ops, 0
    for i, op in enumerate(ops):
        if op.regions:
            found += ops[start : i + 1]
            start = i + 1
            for region in op.regions:
                _collect(region, found)
    found += ops[start:]


@dataclass
class Param:
    """A parameter of a kernel: its value, and what specialisation promises of it.

    `divisibility` is in elements for integers and in bytes for pointers.
    """

    value: Value
    divisibility: int = 1
    loc: Loc | None = None

    @property
    def name(self) -> str:
        return self.value.name


@dataclass
class Function:
    """A kernel: parameters are the arguments of `body`. `attrs` holds num_warps and the like."""

    name: str
    params: list[Param]
    body: Block
    attrs: dict[str, Any] = field(default_factory=dict)

    def walk(self) -> Iterator[Op]:
        return self.body.walk()

    def __str__(self) -> str:
        from zmlx.ir.printer import print_function

        return print_function(self)


def clone_op(op: Op, mapping: dict[Value, Value]) -> Op:
    """A copy of an op with operands mapped; the mapping receives the new results and block arguments."""
    new = Op(op.defn, [mapping.get(v, v) for v in op.operands], [r.type for r in op.results], op.attrs, (), op.loc)
    for old, fresh in zip(op.results, new.results, strict=True):
        fresh.name = old.name
        mapping[old] = fresh
    new.regions = [clone_block(r, mapping) for r in op.regions]
    return new


def clone_block(block: Block, mapping: dict[Value, Value]) -> Block:
    """A copy of a block; values from outside stay as they are unless mapped."""
    new = Block([a.type for a in block.args], [a.name for a in block.args])
    mapping.update(zip(block.args, new.args, strict=True))
    new.ops = [clone_op(op, mapping) for op in block.ops]
    return new


def clone_function(fn: Function) -> Function:
    """A deep copy of a kernel."""
    mapping: dict[Value, Value] = {}
    body = clone_block(fn.body, mapping)
    params = [Param(mapping[p.value], p.divisibility, p.loc) for p in fn.params]
    return Function(fn.name, params, body, dict(fn.attrs))
