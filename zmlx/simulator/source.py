"""The MSL text that MLX generates for a custom kernel: signature, template, instantiation, name.

The rules are those of mlx/backend/common/metal_kernel.cpp, oddities included: whatever Metal would see, the simulator sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import mlx.core as mx

# Inputs with fewer elements are passed in the constant address space.
CONSTANT_BELOW = 8

ATTRIBUTES = {
    "dispatch_quadgroups_per_threadgroup": "uint",
    "dispatch_simdgroups_per_threadgroup": "uint",
    "dispatch_threads_per_threadgroup": "uint3",
    "grid_origin": "uint3",
    "grid_size": "uint3",
    "quadgroup_index_in_threadgroup": "uint",
    "quadgroups_per_threadgroup": "uint",
    "simdgroup_index_in_threadgroup": "uint",
    "simdgroups_per_threadgroup": "uint",
    "thread_execution_width": "uint",
    "thread_index_in_quadgroup": "uint",
    "thread_index_in_simdgroup": "uint",
    "thread_index_in_threadgroup": "uint",
    "thread_position_in_grid": "uint3",
    "thread_position_in_threadgroup": "uint3",
    "threadgroup_position_in_grid": "uint3",
    "threadgroups_per_grid": "uint3",
    "threads_per_grid": "uint3",
    "threads_per_simdgroup": "uint",
    "threads_per_threadgroup": "uint3",
}

TYPE_NAMES = {
    mx.bool_: "bool",
    mx.int8: "int8_t",
    mx.int16: "int16_t",
    mx.int32: "int32_t",
    mx.int64: "int64_t",
    mx.uint8: "uint8_t",
    mx.uint16: "uint16_t",
    mx.uint32: "uint32_t",
    mx.uint64: "uint64_t",
    mx.float16: "float16_t",
    mx.bfloat16: "bfloat16_t",
    mx.float32: "float",
    mx.float64: "double",
    mx.complex64: "complex64_t",
}

TemplateArgument = tuple[str, Any]  # bool, int or mx.Dtype


class InputKind(NamedTuple):
    """What of an input the text depends on."""

    dtype: mx.Dtype
    scalar: bool  # no dimensions
    small: bool

    @staticmethod
    def of(array: mx.array) -> InputKind:
        return InputKind(array.dtype, array.ndim == 0, array.size < CONSTANT_BELOW)


@dataclass(frozen=True)
class Wanted:
    """Which of an input's shape, strides and ndim the source names."""

    shape: bool
    strides: bool
    ndim: bool


@dataclass(frozen=True)
class Program:
    """A kernel's generated text in its parts, in the order in which they stand."""

    name: str
    header: str
    signature: str
    source: str
    ending: str

    @cached_property
    def text(self) -> str:
        return self.header + self.signature + self.source + self.ending

    @cached_property
    def header_lines(self) -> int:
        """Full lines of the header; a header without a last line end shares its last line with the signature."""
        return self.header.count("\n")

    @cached_property
    def source_start(self) -> int:
        """The line of the text, from 1, on which the source begins."""
        return self.header_lines + self.signature.count("\n") + 1

    @cached_property
    def source_lines(self) -> int:
        return self.source.count("\n") + 1


class Generator:
    """What `mx.fast.metal_kernel` keeps of a kernel between calls."""

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str], source: str, header: str, atomic_outputs: bool) -> None:
        self.name, self.inputs, self.outputs = name, tuple(inputs), tuple(outputs)
        self.source, self.header, self.atomic_outputs = source, header, atomic_outputs
        self.wanted = tuple(Wanted(f"{n}_shape" in source, f"{n}_strides" in source, f"{n}_ndim" in source) for n in inputs)
        self.attributes = [f"  {kind} {name} [[{name}]]" for name, kind in ATTRIBUTES.items() if name in source]

    def program(self, inputs: Sequence[InputKind], outputs: Sequence[mx.Dtype], template: Sequence[TemplateArgument]) -> Program:
        arguments = ", ".join(_spelled(value) for _, value in template)
        name = self._kernel_name(inputs, outputs, arguments)
        signature = ""
        if template:
            parameters = ", ".join(f"{_template_kind(value)} {parameter}" for parameter, value in template)
            signature = f"template <{parameters}>\n"
        signature += f"[[kernel]] void {name}(\n{self._parameters(inputs, outputs)}"
        ending = "\n}\n"
        if template:
            made = f"{name}<{arguments}>"
            ending += f'\ntemplate [[host_name("{name}")]] [[kernel]] decltype({made}) {made};\n'
        return Program(name, self.header, signature, self.source, ending)

    def _kernel_name(self, inputs: Sequence[InputKind], outputs: Sequence[mx.Dtype], arguments: str) -> str:
        name = f"custom_kernel_{self.name}"
        if arguments:
            name += "__" + arguments.replace(", ", "_").replace("-", "_")
        for kind in inputs:
            name += f"_{TYPE_NAMES[kind.dtype]}" + ("s" if kind.scalar else "c" if kind.small else "")
        return name + "".join(f"_{TYPE_NAMES[dtype]}" for dtype in outputs)

    def _parameters(self, inputs: Sequence[InputKind], outputs: Sequence[mx.Dtype]) -> str:
        text, index = "", 0
        for name, kind, wanted in zip(self.inputs, inputs, self.wanted, strict=True):
            space, mark = "constant" if kind.small else "device", "&" if kind.scalar else "*"
            text += f"  const {space} {TYPE_NAMES[kind.dtype]}{mark} {name} [[buffer({index})]],\n"
            index += 1
            if kind.scalar:
                continue
            for is_wanted, extra in (
                (wanted.shape, f"int* {name}_shape"),
                (wanted.strides, f"int64_t* {name}_strides"),
                (wanted.ndim, f"int& {name}_ndim"),
            ):
                if is_wanted:
                    text += f"  const constant {extra} [[buffer({index})]],\n"
                    index += 1
        for name, dtype in zip(self.outputs, outputs, strict=True):
            kind_text = f"atomic<{TYPE_NAMES[dtype]}>" if self.atomic_outputs else TYPE_NAMES[dtype]
            # MLX compares the index of the buffer with the count of arrays, so that shape arguments close the list early.
            goes_on = index < len(inputs) + len(outputs) - 1 or self.attributes
            text += f"  device {kind_text}* {name} [[buffer({index})]]" + (",\n" if goes_on else ") {\n")
            index += 1
        return text + (",\n".join(self.attributes) + ") {\n" if self.attributes else "")


def _template_kind(value: Any) -> str:
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "typename"


def _spelled(value: Any) -> str:
    return str(int(value)) if isinstance(value, int) else TYPE_NAMES[value]
