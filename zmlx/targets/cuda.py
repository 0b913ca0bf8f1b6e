"""CUDA C++ for NVRTC, launched as a cubin by MLX's CUDA backend."""

from __future__ import annotations

import math

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.ir.core import Block, Function, Op, Value
from zmlx.ir.types import Pointer, Type
from zmlx.simt.shared import element_bytes
from zmlx.targets.c_like import CPrinter
from zmlx.targets.c_text import atom
from zmlx.targets.compiled import ParamInfo
from zmlx.targets.target import Target

MAP_BYTES = 128  # of what describes a matrix to the copying hardware
PAIR_SHARED = 226 * 1024  # bytes for two programs on one processor; of its 65536 registers each thread of 512 has 128
PAIR_REGISTERS = 96  # of them for accumulators at most; with less than half of that, there are enough anyway
STATIC_SHARED = 48 * 1024  # what a kernel may declare; more is asked for at launch


class CudaPrinter(CPrinter):
    """`arrays` are the array parameters in calling order; written ones are not const."""

    def __init__(self, fn: Function, target: Target) -> None:
        super().__init__(fn, target)
        self.words: set[Value] = set()  # arrays that are a zm_array
        self.vectors: dict[Value, int] = {}  # parameters behind vector accesses, and the most bytes of one
        self.twice = not any(op.name == "mma" for op in fn.walk())  # whether the body is worth printing for aligned arrays, too

    def text(self, arrays: list[ParamInfo], scalars: list[ParamInfo], token: bool, prelude: str, entry: str) -> str:
        by_name = {p.name: p for p in self.fn.params}
        params = []
        for info in arrays:
            v = by_name[info.name].value
            assert isinstance(v.type, Type) and isinstance(v.type.elem, Pointer)
            const = "" if info.writes else "const "
            # What one thread writes and another reads must be free of it: the compiler takes a barrier, a call that does not
            # get the pointer, to leave a restricted array alone, and would load it before the barrier.
            restrict = "" if info.writes and (info.reads or info.atomic) else " __restrict__"
            params.append(f"{const}{self.ctype(v.type.elem.elem)}*{restrict} {self.name(v)}")
        if token:
            params.append("unsigned int* zm_token")
        joined = []
        for info in scalars:
            v = by_name[info.name].value
            kind = self.ctype(v.type.elem)
            if v.type.elem.bits < 64:
                params.append(f"{kind} {self.name(v)}")
                continue
            # MLX passes 32-bit scalars only.
            low, high = self.fresh(info.symbol + "_low"), self.fresh(info.symbol + "_high")
            params += [f"unsigned int {low}", f"unsigned int {high}"]
            bits = f"(unsigned long long){high} << 32 | {low}"
            joined.append(f"{self.indent}const {kind} {self.name(v)} = zm_bitcast<{kind}>({bits});")
        self.depth = 0
        self.block(self.fn.body)
        body, self.lines = self.lines, []
        if self.workspace_bytes:
            params.insert(len(arrays) + token, "unsigned char* zm_workspace")
        shared = []
        if self.shared_bytes > STATIC_SHARED:
            shared = [f"{self.indent}extern __shared__ __align__(1024) unsigned char zm_shared[];"]
        elif self.shared_bytes:
            shared = [f"{self.indent}__shared__ __align__(1024) unsigned char zm_shared[{self.shared_bytes}];"]
        threads = self.fn.attrs["threads"]
        if self.addresses:
            shared.append(f"{self.indent}const unsigned zm_base = zm_start(zm_shared);")
            shared.append(f"{self.indent}const int zm_warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);")
        if self.vectors:
            shared.append(f"{self.indent}const auto zm_body = [&](auto zm_flag) {{")
            body = [self.indent + line for line in ("    constexpr bool zm_aligned = decltype(zm_flag)::value;", *body)]
            # The empty assembly keeps what both have in common from being computed before the branch: it would hold registers.
            other = 'else { asm volatile(""); zm_body(zm_false()); }'
            body += [f"{self.indent}{line}" for line in ("};", f"if ({self._aligned()}) zm_body(zm_true());", other)]
        bounds = f"{threads}, 2" if self.pairs() else threads
        head = f'extern "C" __global__ void __launch_bounds__({bounds})\n{entry}({", ".join(params)}) {{'
        return "\n".join([prelude, head, *joined, *shared, *body, "}", ""])

    def pairs(self) -> bool:
        """Whether two programs are to share a processor, one with products where the other waits: shared memory and accumulators
        leave room for a second, and the compiler, which does not know that, might take a few registers too many."""

        def held(block: Block) -> int:
            """Registers of the accumulators of one loop's products."""
            results = {op.operands[0] for op in block.ops if op.name == "mma"}
            own = sum(v.type.size for v in results)
            return max([own, *(held(region) for op in block.ops for region in op.regions)])

        enough = 2 * self.shared_bytes <= PAIR_SHARED and self.fn.attrs["threads"] <= 256
        return enough and PAIR_REGISTERS // 2 <= held(self.fn.body) <= PAIR_REGISTERS

    def _aligned(self) -> str:
        """The condition that arrays start at multiples of their vectors: one test for all accesses."""
        sizes = sorted(set(self.vectors.values()))
        tests = []
        for size in sizes:
            bits = " | ".join(f"zm_bits_of_address({self.names[v]})" for v, n in self.vectors.items() if n == size)
            tests.append(f"(({bits}) & {size - 1}) == 0")
        return " && ".join(tests)

    def vector(self, op: Op) -> str:
        """Whether an access is aligned if arrays are goes into the template."""
        pointer, width = op.operands[0], int(op.attrs["width"])
        assert isinstance(pointer.type, Type) and isinstance(pointer.type.elem, Pointer)
        size = width * pointer.type.elem.elem.itemsize
        root = _parameter(pointer, {p.value for p in self.fn.params})
        if root is None or not op.attrs.get("even") or not self.twice:
            return str(width)
        self.vectors[root] = max(size, self.vectors.get(root, 0))
        return f"{width}, zm_aligned"

    def special(self, number: float, d: DType) -> str:
        text = "NAN" if math.isnan(number) else "INFINITY"
        text = f"(double){text}" if d is dt.float64 else text
        return f"(-{text})" if number < 0 else text

    def _atomic(self, op: Op, kind: str, operands: list[Value], mask: list[Value]) -> None:
        ordered = op.attrs.get("sem")
        if ordered:
            self.flush(op)
            self.line("__threadfence();")
        super()._atomic(op, kind, operands, mask)
        if ordered:
            self.line("__threadfence();")

    def register_array(self, v, t, kind) -> None:  # type: ignore[no-untyped-def]
        size = t.elem.itemsize if not isinstance(t.elem, Pointer) else 8
        if size < 4 and size * t.size >= 4:
            self.words.add(v)
            self.line(f"zm_array<{kind}, {t.size}> {self.name(v)};")
        else:
            self.line(f"{'alignas(16) ' if size * t.size >= 16 else ''}{kind} {self.name(v)}[{t.size}];")

    def element(self, array: Value, index: Value) -> str:
        return f"{self.names[array]}.get({self.use(index)})" if array in self.words else super().element(array, index)

    def op_set(self, op: Op) -> None:
        array, index, value = op.operands
        if array not in self.words:
            super().op_set(op)
            return
        self.flush(op)
        text = self.use(value)
        self.line(f"{self.names[array]}.set({self.use(index)}, {text});")

    def op_sin(self, op: Op) -> None:
        self._turn(op, "sin", "cos")

    def op_cos(self, op: Op) -> None:
        self._turn(op, "cos", "sin")

    def _turn(self, op: Op, own: str, other: str) -> None:
        """Sine and cosine of one angle come together: most of the work of either is to bring the angle into range."""
        (angle,), result = op.operands, op.results[0]
        if result in self.names:
            return
        twins = (o for o in self.home[result].ops if o.name == other and o.operands == op.operands)
        pair = next((o for o in twins if self.uses.get(o.results[0])), None)
        if pair is None or not self.uses.get(result):
            self.expression(op)
            return
        text, kind = self.use(angle), self.ctype(result.type.elem)
        names = {own: self.name(result), other: self.name(pair.results[0])}
        self.line(f"{kind} {names['sin']}, {names['cos']};")
        self.line(f"sincos{'f' if kind == 'float' else ''}({text}, &{names['sin']}, &{names['cos']});")

    addresses = False  # whether shared memory is also spoken of by number

    def place(self, array: Value, index: Value) -> str:
        """The address in shared memory of an element of an array there."""
        self.addresses = True
        at = self.use(index)
        return f"zm_base + {array.op.attrs['offset']} + {atom(at)} * {element_bytes(array.type.elem)}"  # type: ignore[union-attr]

    def shared_start(self, array: Value) -> str:
        """The address of an array in shared memory."""
        self.addresses = True
        return f"zm_base + {array.op.attrs['offset']}"  # type: ignore[union-attr]

    def op_copy_async(self, op: Op) -> None:
        self.flush(op)
        pointer, array, index = op.operands
        self.line(f"zm_copy_async16({self.place(array, index)}, {self.use(pointer)});")

    def op_ring(self, op: Op) -> None:
        self.flush(op)
        do, stages = op.attrs["do"], op.attrs["stages"]
        array = op.operands[0]
        operands = [self.shared_start(array), *(self.use(v) for v in op.operands[1:])]
        if do == "make":
            threads = str(self.fn.attrs["threads"])
            operands[1:] = [f"{atom(operands[1])} ? 1 : {threads}" if operands[1:] else threads]
        if do == "expect":
            operands.append(str(op.attrs["bytes"]))
        self.line(f"zm_ring_{do}{'' if do in ('fill', 'filled', 'expect') else f'<{stages}>'}({', '.join(operands)});")

    workspace_bytes = 0  # of device memory that a program has to itself: its maps for bulk copies

    def map_of(self, op: Op) -> str:
        self.workspace_bytes = MAP_BYTES * int(op.attrs["count"])
        return f"zm_bulk_at(zm_workspace, {op.attrs['number']}, {op.attrs['count']})"

    def op_bulk_map(self, op: Op) -> None:
        self.flush(op)
        base, stride, columns, rows, array = op.operands
        scratch = self.shared_start(array)
        operands = [self.map_of(op), scratch, *(self.use(v) for v in (base, stride, columns, rows))]
        elem = base.type.elem.elem  # type: ignore[union-attr]
        self.line(f"zm_bulk_map<{op.attrs['row_bytes']}, {op.attrs['box']}, {elem.itemsize}>({', '.join(operands)});")

    def op_bulk_copy(self, op: Op) -> None:
        self.flush(op)
        column, row, array, index, ring, stage = op.operands
        operands = [self.map_of(op), self.place(array, index), self.shared_start(ring), *(self.use(v) for v in (stage, column, row))]
        attrs = op.attrs
        config = (attrs["row_bytes"], attrs["box"], attrs["panels"], array.type.elem.itemsize)  # type: ignore[union-attr]
        self.line(f"zm_bulk_copy<{', '.join(map(str, config))}>({', '.join(operands)});")

    def op_mma(self, op: Op) -> None:
        self.flush(op)
        acc, a, a_at, b, b_at, lane = op.operands
        left = self.names[a] if a.type.space == "register" else self.place(a, a_at)  # type: ignore[union-attr]
        operands = [self.names[acc], left, self.place(b, b_at), "zm_warp", self.use(lane)]
        self.line(f"zm_mma<{op.attrs['config']}>({', '.join(operands)});")

    def op_barrier(self, op: Op) -> None:
        self.flush()
        self.line("__syncthreads();")


def _parameter(pointer: Value, params: set[Value]) -> Value | None:
    """The parameter that a pointer is a place of; None where that depends on a loop or a branch."""
    while pointer not in params:
        op = pointer.op
        before = [v for v in op.operands if isinstance(v.type, Type) and v.type.is_pointer] if op is not None and not op.regions else []
        if len(before) != 1:
            return None
        pointer = before[0]
    return pointer
