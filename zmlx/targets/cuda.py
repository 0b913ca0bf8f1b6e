"""CUDA C++ for NVRTC, launched as a cubin by MLX's CUDA backend."""

from __future__ import annotations

from zmlx.ir.core import Op
from zmlx.ir.types import Pointer, Type
from zmlx.targets.c_like import CPrinter
from zmlx.targets.compiled import ParamInfo

STATIC_SHARED = 48 * 1024  # what a kernel may declare; more is asked for at launch


class CudaPrinter(CPrinter):
    """`arrays` are the array parameters in calling order; written ones are not const."""

    def text(self, arrays: list[ParamInfo], scalars: list[ParamInfo], token: bool, prelude: str, entry: str) -> str:
        by_name = {p.name: p for p in self.fn.params}
        params = []
        for info in arrays:
            v = by_name[info.name].value
            assert isinstance(v.type, Type) and isinstance(v.type.elem, Pointer)
            const = "" if info.writes else "const "
            params.append(f"{const}{self.ctype(v.type.elem.elem)}* __restrict__ {self.name(v)}")
        if token:
            params.append("unsigned int* zm_token")
        for info in scalars:
            v = by_name[info.name].value
            params.append(f"{self.ctype(v.type.elem)} {self.name(v)}")  # type: ignore[union-attr]
        self.depth = 0
        self.block(self.fn.body)
        body, self.lines = self.lines, []
        shared = []
        if self.shared_bytes > STATIC_SHARED:
            shared = [f"{self.indent}extern __shared__ __align__(16) unsigned char zm_shared[];"]
        elif self.shared_bytes:
            shared = [f"{self.indent}__shared__ __align__(16) unsigned char zm_shared[{self.shared_bytes}];"]
        threads = self.fn.attrs["threads"]
        head = f'extern "C" __global__ void __launch_bounds__({threads})\n{entry}({", ".join(params)}) {{'
        return "\n".join([prelude, head, *shared, *body, "}", ""])

    def register_array(self, v, t, kind) -> None:  # type: ignore[no-untyped-def]
        align = "alignas(16) " if not isinstance(t.elem, Pointer) and t.size * t.elem.itemsize >= 16 else ""
        self.line(f"{align}{kind} {self.name(v)}[{t.size}];")

    def op_barrier(self, op: Op) -> None:
        self.flush()
        self.line("__syncthreads();")
