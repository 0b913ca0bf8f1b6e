"""Emits scalar SIMT code: index arithmetic folded as it is written, loops, arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.builder import Builder
from zmlx.ir.core import Block, Value
from zmlx.ir.types import Elem, Pointer, Type
from zmlx.ops import arith, cast, compare, control, index, simt

I32 = Type(dt.int32)


class Emit(Builder):
    """A builder with shorthands. Index expressions are Python ints while they are known."""

    def constant(self, value: Any, dtype: DType = dt.int32) -> Value:
        return self.value(index.constant, value=value, type=dtype)

    def as_value(self, x: Value | int) -> Value:
        return x if isinstance(x, Value) else self.constant(x)

    def add(self, x: Value | int, y: Value | int) -> Value | int:
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if x == 0 and isinstance(x, int):
            return y
        if y == 0 and isinstance(y, int):
            return x
        return self.value(arith.add, self.as_value(x), self.as_value(y))

    def mul(self, x: Value | int, y: int) -> Value | int:
        if isinstance(x, int):
            return x * y
        return x if y == 1 else 0 if y == 0 else self.value(arith.mul, x, self.constant(y))

    def xor(self, x: Value | int, y: Value | int) -> Value | int:
        if isinstance(x, int) and isinstance(y, int):
            return x ^ y
        if x == 0 and isinstance(x, int):
            return y
        if y == 0 and isinstance(y, int):
            return x
        return self.value(arith.xor, self.as_value(x), self.as_value(y))

    def bits(self, x: Value, low: int, count: int, total: int) -> Value:
        """Bits low … low + count - 1 of a number of `total` bits."""
        if low:
            x = self.value(arith.shr, x, self.constant(low))
        return x if low + count == total else self.value(arith.and_, x, self.constant((1 << count) - 1))

    def equals(self, x: Value | int, y: int) -> Value:
        return self.value(compare.eq, self.as_value(x), self.constant(y))

    def both(self, x: Value | None, y: Value | None) -> Value | None:
        """The conjunction of two conditions, None standing for true."""
        if x is None or y is None:
            return y if x is None else x
        return self.value(arith.and_, x, y)

    def advance(self, pointer: Value, by: Value | int) -> Value:
        return pointer if isinstance(by, int) and by == 0 else self.value(arith.addptr, pointer, self.as_value(by))

    def alloc(self, elem: Elem, size: int, space: str, name: str = "") -> Value:
        attrs: dict[str, Any] = {"size": size, "space": space}
        attrs |= {"pointee": elem.elem} if isinstance(elem, Pointer) else {"type": elem}
        array = self.create(simt.alloc, (), attrs).results[0]
        array.name = name
        return array

    def get(self, array: Value, at: Value | int) -> Value:
        value = self.value(simt.get, array, self.as_value(at))
        value.name = array.name
        return value

    def set(self, array: Value, at: Value | int, value: Value) -> None:
        self.create(simt.set_, [array, self.as_value(at), value])

    def convert(self, x: Value, to: DType) -> Value:
        return x if x.type.elem is to else self.value(cast.cast, x, to=to, rounding="rtne")

    @contextmanager
    def loop(self, start: int, end: int, kind: str, name: str = "i") -> Iterator[Value | int]:
        """A counted loop around the `with` body; a single trip needs none."""
        if end - start == 1:
            yield start
            return
        body = Block([I32], [name])
        with self.at(body):
            yield body.args[0]
        self.create(simt.loop, (), {"start": start, "end": end, "kind": kind}, [body])

    @contextmanager
    def guard(self, condition: Value | None) -> Iterator[None]:
        """Runs the `with` body only where the condition holds (threads may differ); None: always."""
        if condition is None:
            yield
            return
        then, other = Block(), Block()
        with self.at(then):
            yield
            self.create(control.yield_)
        with self.at(other):
            self.create(control.yield_)
        self.create(control.if_, [condition], {}, [then, other])

    @contextmanager
    def branch(self, condition: Value) -> Iterator[tuple[Block, Block]]:
        """Two branches to fill with `at`."""
        then, other = Block(), Block()
        yield then, other
        for block in (then, other):
            with self.at(block):
                self.create(control.yield_)
        self.create(control.if_, [condition], {}, [then, other])
