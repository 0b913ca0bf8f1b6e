"""Host C++20: one function that runs a range of programs, each on one thread that owns whole tiles."""

from __future__ import annotations

import json

from zmlx import dtypes as dt
from zmlx.ir.core import Op, Value
from zmlx.ir.types import ArrayType, Pointer, Type
from zmlx.targets import host_simd
from zmlx.targets.c_like import CPrinter
from zmlx.targets.c_text import atom, slots
from zmlx.targets.compiled import ParamInfo
from zmlx.targets.legalize import spelling

STACK_ARRAY = 8 * 1024  # bytes above which an array lives in the thread's scratch memory
ALIGN = 64
SLOT = {"int1": "bool", "int32": "int32_t", "int64": "int64_t", "uint32": "uint32_t", "uint64": "uint64_t",
        "float32": "float", "float64": "double"}  # fmt: skip


class HostPrinter(CPrinter):
    """`debug` says whether the kernel prints or asserts, and so needs the heavier prelude."""

    unroll = ""
    simd = "#pragma omp simd"
    debug = False
    dots = False
    wide: dict[Value, str] | None = None  # inside a loop over vectors: what its values are
    loops_over_vectors = False

    def text(self, params: list[ParamInfo], prelude: str, debug_prelude: str, entry: str) -> str:
        by_name = {p.name: p.value for p in self.fn.params}
        signature, call, unpack = [], [], []
        arrays = scalars = 0
        for info in params:
            v = by_name[info.name]
            assert isinstance(v.type, Type)
            name = self.name(v)
            if isinstance(v.type.elem, Pointer):
                kind = self.ctype(v.type.elem.elem)
                signature.append(f"{kind}* __restrict__ {name}")
                call.append(f"({kind}*)arrays[{arrays}]")
                arrays += 1
            else:
                kind = SLOT[v.type.elem.name]
                signature.append(f"const {kind} {name}")
                unpack.append(f"    {kind} {name};\n    __builtin_memcpy(&{name}, scalars + {scalars}, sizeof {name});")
                call.append(name)
                scalars += 1
        self.depth = 0
        self.block(self.fn.body)
        axes = "xyz"
        signature += [f"const int zm_program_{a}" for a in axes] + [f"const int zm_programs_{a}" for a in axes]
        signature += ["char* __restrict__ scratch", "void (*report)(int, const char*)"]
        more = ((self.dots, "host_dot.h"), (self.loops_over_vectors, "host_simd.h"))
        preludes = [prelude, *([debug_prelude] if self.debug else []), *(f'#include "{file}"' for used, file in more if used), ""]
        head = [*preludes, f"static inline void {entry}_program(", "    " + ", ".join(signature) + ") {"]
        programs = "(int)(i % gx), (int)(i / gx % gy), (int)(i / (gx * gy)), (int)gx, (int)gy, (int)grid[2]"
        tail = [
            "}",
            "",
            f'extern "C" __attribute__((visibility("default"))) void {entry}(',
            "    void* const* arrays, const uint64_t* scalars, const int32_t* grid, int64_t begin, int64_t end, char* scratch,",
            "    void (*report)(int, const char*)) {",
            *unpack,
            "    const int64_t gx = grid[0], gy = grid[1];",
            "    for (int64_t i = begin; i < end; ++i)",
            f"        {entry}_program({', '.join([*call, programs, 'scratch', 'report'])});",
            "}",
            "",
        ]
        return "\n".join([*head, *self.lines, *tail])

    def axis_suffix(self, axis: int) -> str:
        return "_" + "xyz"[axis]

    def register_array(self, v: Value, t: ArrayType, kind: str) -> None:
        size = t.size * max(1, t.elem.bits // 8)
        if size <= STACK_ARRAY:
            self.line(f"alignas({ALIGN}) {kind} {self.name(v)}[{t.size}];")
            return
        self.line(f"{kind}* __restrict__ const {self.name(v)} = ({kind}*)(scratch + {self.scratch_bytes});")
        self.scratch_bytes += -(-size // ALIGN) * ALIGN

    # Loops over vectors

    def op_loop(self, op: Op) -> None:
        self.wide = host_simd.kinds(op)
        if self.wide is None:
            super().op_loop(op)
            return
        self.loops_over_vectors = True
        self.flush()
        start, end = (self.use(v) for v in op.operands) if op.operands else (op.attrs["start"], op.attrs["end"])
        self.places: dict[Value, tuple[str, str]] = {}
        self.lanes = self.name(op.regions[0].args[0])
        self.line(f"zm_for({start}, {end}, [&](auto {self.lanes}) __attribute__((always_inline)) {{")
        self.block(op.regions[0])
        self.flush()
        self.line("});")
        self.wide = None

    def varies(self, v: Value) -> bool:
        return self.wide is not None and v in self.wide

    def declare(self, v: Value, text: str) -> None:
        if self.varies(v):
            self.line(f"auto {self.name(v)} = {text};")
        else:
            super().declare(v, text)

    def number(self, v: Value) -> str:
        """An operand of a varying op: an index as a vector of numbers."""
        text = self.use(v)
        return f"zm_number({text})" if self.wide is not None and self.wide.get(v) == host_simd.LINEAR else text

    def template(self, op: Op) -> str:
        if not op.results or self.wide is None or self.wide.get(op.results[0]) != host_simd.VARYING:
            return super().template(op)
        operands = [self.number(v) for v in op.operands]
        kind = self.ctype(op.results[0].type.elem)
        if op.name == "bitcast":
            return f"(zm_wide<{kind}>){atom(operands[0])}"
        if op.name == "cast":
            source, to = op.operands[0].type.elem, op.attrs["to"]
            if to is dt.int1:
                return operands[0] if source is dt.int1 else f"{atom(operands[0])} != {self.literal(0, source)}"  # type: ignore[arg-type]
            if source is dt.int1:
                return f"zm_select({operands[0]}, {self.literal(1, to)}, {self.literal(0, to)})"
            return f"zm_wide_cast<{kind}>({operands[0]})"
        spell = host_simd.spelled(op) or spelling(op, self.target)
        assert spell is not None
        repeats, bare = slots(spell, len(operands))
        if repeats or op.name.endswith("_nan"):
            operands = [self.once(v, text) for v, text in zip(op.operands, operands, strict=True)]
        return spell.format(*(x if b else atom(x) for x, b in zip(operands, bare, strict=True)), T=kind, **op.attrs)

    def element(self, array: Value, index: Value) -> str:
        if self.varies(index):
            return f"zm_get({self.names[array]}, {self.use(index)})"
        return super().element(array, index)

    def op_set(self, op: Op) -> None:
        array, index, value = op.operands
        if not self.varies(index):
            super().op_set(op)
            return
        self.flush(op)
        self.line(f"zm_put({self.names[array]}, {self.use(index)}, {self.number(value)});")

    def op_addptr(self, op: Op) -> None:
        result = op.results[0]
        if not self.varies(result):
            self.expression(op)
            return
        base, offset = op.operands
        if self.varies(base):
            start, index = self.places[base]
            self.places[result] = (f"{start} + {atom(self.use(offset))}", index)
        else:
            self.places[result] = (self.use(base), self.use(offset))

    def op_load(self, op: Op) -> None:
        if not self.varies(op.operands[0]):
            super().op_load(op)
            return
        base, index = self.places[op.operands[0]]
        if self.wide is not None and self.wide[op.operands[0]] == host_simd.SCATTERED:
            self.result(op.results[0], f"zm_gather({base}, {index}, {self.lanes})", True)
            return
        rest = "".join(f", {self.number(v)}" for v in op.operands[1:])
        self.result(op.results[0], f"zm_get({base}, {index}{rest})", True)

    def op_store(self, op: Op) -> None:
        if not self.varies(op.operands[0]):
            super().op_store(op)
            return
        self.flush(op)
        base, index = self.places[op.operands[0]]
        self.line(f"zm_put({base}, {index}, {', '.join(self.number(v) for v in op.operands[1:])});")

    # Products of tiles

    def op_tile_dot(self, op: Op) -> None:
        self._of_arrays(op, "zm_dot", "m", "n", "k")

    def op_tile_transpose(self, op: Op) -> None:
        self._of_arrays(op, "zm_transpose", "rows", "cols")

    def _of_arrays(self, op: Op, function: str, *sizes: str) -> None:
        self.dots = True
        self.flush()
        arrays = [f"&{self.names[v]}" if v.type.size == 1 else self.names[v] for v in op.operands]
        self.line(f"{function}<{', '.join(str(op.attrs[s]) for s in sizes)}>({', '.join(arrays)});")

    def op_barrier(self, op: Op) -> None:
        """One thread needs none."""

    def _where(self, op: Op, rank: int) -> tuple[str, list[Value]]:
        values = op.operands[: len(op.operands) - rank]
        index = ", ".join(self.use(v) for v in op.operands[len(op.operands) - rank :]) or "0"
        return f"zm_program_x, zm_program_y, zm_program_z, zm_index{{{{{index}}}}}, {rank}", values

    def op_device_print(self, op: Op) -> None:
        self.debug = True
        self.flush()
        prefix = json.dumps(op.attrs["prefix"], ensure_ascii=False)
        where, values = self._where(op, op.attrs["rank"])
        hexadecimal = "true" if op.attrs.get("hex") else "false"
        head, _, index = where.partition(", zm_index")
        for v in values:
            kind = v.type.elem
            value = self.use(v) if not isinstance(kind, Pointer) else f"(uint64_t){self.use(v)}"
            self.line(f"zm_print(report, {prefix}, {hexadecimal}, {head}, zm_index{index}, {value});")
        if not values:
            self.line(f"zm_print(report, {prefix}, {head});")

    def op_device_assert(self, op: Op) -> None:
        self.debug = True
        self.flush()
        where, values = self._where(op, op.attrs["rank"])
        conditions = [self.use(v) for v in values]
        failed = f"!({conditions[0]})" + (f" && ({conditions[1]})" if len(conditions) == 2 else "")
        message = str(op.attrs.get("message") or "")
        if op.loc is not None:
            message += f" [{op.loc}]"
        self.line(f"if ({failed}) zm_assert_failed(report, {json.dumps(message, ensure_ascii=False)}, {where});")
