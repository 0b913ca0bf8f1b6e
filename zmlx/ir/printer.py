"""IR text. `zmlx.ir.parser` reads it back; source positions are not part of it.

kernel name(%x: *f32 {divisibility = 16}, %n: i32) {num_warps = 4} {
  %pid = program_id {axis = 0} : i32
  %acc, %k = for %lo, %hi, %step, %init, %k0 : 8xf32, i32 {
  ^(%i: i32, %acc_1: 8xf32, %k_1: i32):
    yield %acc_1, %k_1
  }
}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from zmlx.dtypes import DType
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Pointer

MARK = "   <-- here"


def print_attr(value: Any) -> str:
    """One attribute value: numbers, strings, element types, none, and tuples of these."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, DType):
        return value.short
    if isinstance(value, Pointer):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "(" + ", ".join(map(print_attr, value)) + ")"
    return json.dumps(str(value))


def print_attrs(attrs: Mapping[str, Any]) -> str:
    return " {" + ", ".join(f"{k} = {print_attr(v)}" for k, v in attrs.items()) + "}" if attrs else ""


class _Printer:
    def __init__(self, mark: Op | None = None) -> None:
        self.mark = mark
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.next = 0
        self.lines: list[str] = []

    def define(self, v: Value) -> str:
        base = v.name if v.name.isidentifier() else re.sub(r"\W", "_", v.name)
        if not base:
            base, self.next = str(self.next), self.next + 1
        name, k = base, 1
        while name in self.taken:
            name, k = f"{base}_{k}", k + 1
        self.taken.add(name)
        self.names[v] = "%" + name
        return "%" + name

    def use(self, v: Value) -> str:
        return self.names.get(v, "%<undefined>")

    def block(self, block: Block, indent: str) -> None:
        for op in block.ops:
            self.op(op, indent)

    def op(self, op: Op, indent: str) -> None:
        operands = ", ".join(map(self.use, op.operands))
        text = op.name + (" " + operands if operands else "") + print_attrs(op.attrs)
        if op.results:
            text += " : " + ", ".join(str(r.type) for r in op.results)
        body_start = len(self.lines)
        for region in op.regions:
            args = ", ".join(f"{self.define(a)}: {a.type}" for a in region.args)
            self.lines.append(f"{indent}^({args}):")
            self.block(region, indent + "  ")
        body = self.lines[body_start:]
        del self.lines[body_start:]
        if op.results:
            text = ", ".join(map(self.define, op.results)) + " = " + text
        self.lines.append(indent + text + (" {" if op.regions else "") + (MARK if op is self.mark else ""))
        self.lines += body
        if op.regions:
            self.lines.append(indent + "}")


def print_function(fn: Function, mark: Op | None = None) -> str:
    """The text of a kernel; the line of the op `mark` ends in an arrow (such text is not parsed back)."""
    p = _Printer(mark)
    params = []
    for q in fn.params:
        facts = print_attrs({"divisibility": q.divisibility} if q.divisibility != 1 else {})
        params.append(f"{p.define(q.value)}: {q.value.type}{facts}")
    p.lines.append(f"kernel {fn.name}({', '.join(params)}){print_attrs(fn.attrs)} {{")
    p.block(fn.body, "  ")
    p.lines.append("}")
    return "\n".join(p.lines) + "\n"
