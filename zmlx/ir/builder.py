"""Creates ops at the end of a block; the record's type rule types them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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

    @contextmanager
    def on_behalf_of(self, value: Value) -> Iterator[None]:
        """Marks ops with the place of a value that is only computed now."""
        saved = self.loc
        if value.op is not None and value.op.loc is not None:
            self.loc = value.op.loc
        try:
            yield
        finally:
            self.loc = saved

    @contextmanager
    def at(self, block: Block) -> Iterator[Block]:
        """Appends to another block for a while."""
        saved, self.block = self.block, block
        try:
            yield block
        finally:
            self.block = saved
