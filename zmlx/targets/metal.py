"""Metal Shading Language: the body of an `mx.fast.metal_kernel`, which writes the signature itself."""

from __future__ import annotations

import math

from zmlx.dtypes import DType
from zmlx.ir.core import Op
from zmlx.ir.types import ArrayType, Pointer, Type
from zmlx.targets.c_like import CPrinter
from zmlx.targets.compiled import ParamInfo

FLAGS = {"shared": "metal::mem_flags::mem_threadgroup", "device": "metal::mem_flags::mem_device | metal::mem_flags::mem_threadgroup"}


class MetalPrinter(CPrinter):
    """Inputs are `const device T*`; a parameter that is updated in place is an input whose const is cast away."""

    shared_space = "threadgroup "
    long_suffix = "l"

    def text(self, arrays: list[ParamInfo], scalars: list[ParamInfo], inout: frozenset[str]) -> str:
        by_name = {p.name: p.value for p in self.fn.params}
        self.depth = 0
        self.depth += 1
        for info in arrays:
            v = by_name[info.name]
            assert isinstance(v.type, Type) and isinstance(v.type.elem, Pointer)
            if info.name in inout:
                kind = self.ctype(v.type.elem.elem)
                self.taken.add(info.symbol)
                self.names[v] = self.fresh(info.symbol + "_inout")
                self.line(f"device {kind}* {self.names[v]} = (device {kind}*)({info.symbol});")
            else:
                self.names[v] = info.symbol
                self.taken.add(info.symbol)
        for info in scalars:
            v = by_name[info.name]
            if self.uses.get(v):
                number = self.unpack(v.type.elem, info.word)  # type: ignore[arg-type]
                self.line(f"const {self.ctype(v.type.elem)} {self.name(v)} = {number};")
        self.depth -= 1
        self.block(self.fn.body)
        body, self.lines = self.lines, []
        words = -(-self.shared_bytes // 16)
        shared = [f"{self.indent}threadgroup uint4 zm_shared_words[{words}];",
                  f"{self.indent}threadgroup uchar* zm_shared = (threadgroup uchar*)zm_shared_words;"] if words else []  # fmt: skip
        ids = [
            f"{self.indent}const {kind} {name} = {attribute};"
            for kind, name, attribute in (
                ("uint3", "zm_program", "threadgroup_position_in_grid"),
                ("uint3", "zm_programs", "threadgroups_per_grid"),
                ("uint", "zm_thread", "thread_index_in_threadgroup"),
            )
            if any(name + c in line for line in body for c in (".", ")", " "))
        ]
        self.where[:0] = [None] * (len(ids) + len(shared))
        return "\n".join([*ids, *shared, *body, ""])

    def unpack(self, d: DType, word: int) -> str:
        """A scalar from the packed words."""
        if d.is_bool:
            return f"zm_scalars[{word}] != 0"
        if d.bits == 64:
            bits = f"ulong(zm_scalars[{word}]) | ulong(zm_scalars[{word + 1}]) << 32"
            return bits if d.kind == "uint" else f"as_type<{self.ctype(d)}>({bits})"
        return f"zm_scalars[{word}]" if d.kind == "uint" else f"as_type<{self.ctype(d)}>(zm_scalars[{word}])"

    def pointer_type(self, elem: Pointer) -> str:
        return f"device {self.ctype(elem.elem)}*"

    def cast_text(self, x: str, d: DType) -> str:
        return f"{self.ctype(d)}{x if x.startswith('(') and x.endswith(')') and x.count('(') == 1 else f'({x})'}"

    def special(self, number: float, d: DType) -> str:
        return "NAN" if math.isnan(number) else "INFINITY" if number > 0 else "(-INFINITY)"

    def register_array(self, v, t: ArrayType, kind: str) -> None:  # type: ignore[no-untyped-def]
        align = "alignas(16) " if not isinstance(t.elem, Pointer) and t.size * t.elem.itemsize >= 16 else ""
        self.line(f"{align}{kind} {self.name(v)}[{t.size}];")

    def op_barrier(self, op: Op) -> None:
        self.flush()
        self.line(f"threadgroup_barrier({FLAGS[op.attrs['scope']]});")
