"""Creates ops at the end of a block; the record's type rule types them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx.errors import CompilationError, Loc
from zmlx.ir.core import Block, Op, Value
from zmlx.ir.opdef import OpDef


class Builder:
    """Appends ops to `block`, marking them with `loc`. It knows no op."""

    def __init__(self, block: Block, loc: Loc | None = None) -> None:
        self.block, self.loc = block, loc

    def create(
        self,
        defn: OpDef,
        operands: Sequence[Value] = (),
        attrs: Mapping[str, Any] | None = None,
        regions: Sequence[Block] = (),
    ) -> Op:
        """Types an op by its record, appends it and returns it."""
        try:
            types = defn.type_rule([v.type for v in operands], attrs or {}, regions)
        except CompilationError as e:
            raise e.at(self.loc) from None
        op = Op(defn, operands, types, attrs, regions, self.loc)
        self.block.ops.append(op)
        return op

    def value(self, defn: OpDef, *operands: Value, **attrs: Any) -> Value:
        """`create` for an op with one result."""
        return self.create(defn, operands, attrs).results[0]

    def on_behalf_of(self, value: Value) -> Elsewhere:
        """Marks ops with the place of a value that is only computed now, for a `with` body."""
        place = self.loc if value.op is None or value.op.loc is None else value.op.loc
        return Elsewhere(self, self.block, place)

    def at(self, block: Block) -> Elsewhere:
        """Appends to another block, for a `with` body."""
        return Elsewhere(self, block, None)


class Elsewhere:
    """A `with` body in which a builder appends to another block, or for another place; gives the block.

    loc: None where the builder's own place is neither changed nor restored.
    """

    __slots__ = ("block", "builder", "loc", "saved")

    def __init__(self, builder: Builder, block: Block, loc: Loc | None) -> None:
        self.builder, self.block, self.loc = builder, block, loc

    def __enter__(self) -> Block:
        builder = self.builder
        self.saved = builder.block, builder.loc
        builder.block = self.block
        if self.loc is not None:
            builder.loc = self.loc
        return self.block

    def __exit__(self, *_: object) -> None:
        self.builder.block = self.saved[0]
        if self.loc is not None:
            self.builder.loc = self.saved[1]
