"""Mutation operators: each turns a correct kernel's text into texts with one planted mistake, by rule alone.

An operator is a pattern, a replacement and the kinds of report that name the mistake. It applies at every place of every
kernel where its pattern occurs, but for the places in EXEMPT, where the mistake cannot be seen in memory accesses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mutant_kernels import KERNELS, Kernel

FIRST = "if (thread_index_in_threadgroup == 0) "


@dataclass(frozen=True)
class Operator:
    """`replace` is a template for re.Match.expand, or a function of the match; None as its answer: not here."""

    name: str
    pattern: str
    replace: str | Callable[[re.Match[str], Kernel], str | None]
    kinds: frozenset[str]
    only: str = ""  # kernels, by name; empty: all
    last: bool = False  # only the last place of a kernel


@dataclass(frozen=True)
class Mutant:
    """One planted mistake."""

    kernel: Kernel
    operator: Operator
    line: int
    column: int
    source: str

    @property
    def name(self) -> str:
        return f"{self.kernel.name}-{self.operator.name}-{self.line}.{self.column}"


def _arrays(kernel: Kernel) -> dict[str, int]:
    """Threadgroup arrays by name: where their declaration starts."""
    found = re.finditer(r"threadgroup \w+ (\w+)\[", kernel.source)
    return {m[1]: m.start() for m in found}


def _first_store(match: re.Match[str], kernel: Kernel) -> str | None:
    """Drops the store that first fills a threadgroup array."""
    name = match[1]
    if name not in _arrays(kernel):
        return None
    first = re.search(rf"\b{name}\[[^=;]*\] = ", kernel.source)
    return ";" if first is not None and first.start() == match.start() else None


def _shrink(match: re.Match[str], kernel: Kernel) -> str:
    return f"{match[1]}[{int(match[2]) - 1}]"


def _read_beyond(match: re.Match[str], kernel: Kernel) -> str | None:
    if match[1] not in _arrays(kernel):
        return None
    return f"{match[1]}{match[2]}[{match[3]} + 1]"


def _swap_stride(match: re.Match[str], kernel: Kernel) -> str | None:
    pairs = {("transpose", "cols"): "rows", ("transpose", "rows"): "cols", ("matmul", "n"): "k", ("matmul", "k"): "m"}
    other = pairs.get((kernel.name, match[1]))
    return None if other is None else f"* {other} +"


def _kinds(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = (
    Operator("drop-barrier", r"(threadgroup|simdgroup)_barrier\([^)]*\);", ";", _kinds("race uninitialised-threadgroup")),
    Operator("weak-barrier", r"mem_flags::mem_threadgroup", "mem_flags::mem_none", _kinds("race uninitialised-threadgroup")),
    Operator(
        "divergent-barrier", r"threadgroup_barrier", "if (thread_index_in_threadgroup < 7) threadgroup_barrier", _kinds("divergent-barrier")
    ),
    Operator("one-too-far", r"(\bi|\bk|column) < (n|d)\b", r"\1 <= \2", _kinds("out-of-bounds")),
    Operator("drop-mask", r"if \([^=;]*<[^=;]*\) \{", "if (true) {", _kinds("out-of-bounds device-race crash")),
    Operator("drop-condition", r"= \(?[^=;?]*(<|>=|>)[^=;?]*\)? \? ", "= true ? ", _kinds("out-of-bounds crash")),
    Operator(
        "store-beyond",
        r"\b(out|totals|mean|var|out_row)\[([^\]]*)\] =",
        r"\1[\2 + 1] =",
        _kinds("out-of-bounds unwritten-output device-race"),
    ),
    Operator("drop-first-store", r"\b(\w+)\[[^=;]*\] = [^;]*;", _first_store, _kinds("uninitialised-threadgroup")),
    Operator("drop-guard", r"if \((lane|t|sg) == 0\)", "if (true)", _kinds("race device-race")),
    Operator("shrink-array", r"(threadgroup \w+ \w+)\[(\d+)\]", _shrink, _kinds("out-of-bounds")),
    Operator(
        "narrow-simdgroup",
        r"uint lane = thread_index_in_simdgroup",
        "uint lane = thread_index_in_simdgroup % 16",
        _kinds("divergent-simd race uninitialised-threadgroup out-of-bounds"),
        only="row_sum softmax moments",
    ),
    Operator(
        "wrong-simdgroup",
        r"uint sg = simdgroup_index_in_threadgroup",
        "uint sg = thread_index_in_threadgroup / 16",
        _kinds("divergent-simd race uninitialised-threadgroup out-of-bounds"),
        only="row_sum softmax moments reverse",
    ),
    Operator("short-stride", r"\* n \+", "* (n - 1) +", _kinds("device-race unwritten-output"), only="scan sort reverse", last=True),
    Operator("long-stride", r"\* n \+", "* (n + 1) +", _kinds("out-of-bounds"), only="scan sort row_sum reverse moments"),
    Operator("swapped-stride", r"\* (rows|cols|n|k) \+", _swap_stride, _kinds("out-of-bounds device-race unwritten-output")),
    Operator(
        "row-race",
        r"threadgroup_position_in_grid\.x;",
        "threadgroup_position_in_grid.x / 2;",
        _kinds("device-race unwritten-output"),
        only="row_sum softmax scan stencil sort moments reverse",
    ),
    Operator("item-race", r"thread_position_in_grid\.y;", "thread_position_in_grid.y / 2;", _kinds("device-race unwritten-output")),
    Operator("misaligned", r"\((x|out) \+ i\)", r"(\1 + i + 1)", _kinds("misaligned")),
    Operator("write-input", r"(?=\Z)", FIRST + "((device {type}*){input})[0] = {input}[0] + 1;\n", _kinds("write-to-const")),
    Operator("divergent-simd", r"\w+ = simd_(sum|max)\((acc|top|sum)\);", r"if (lane & 1) { \g<0> }", _kinds("divergent-simd")),
    Operator(
        "unwritten",
        r"(\bt|\bi|\bk|column) < (n|d)\b",
        r"\1 + 1 < \2",
        _kinds("unwritten-output"),
        only="row_sum softmax scan stencil sort vectors gather",
        last=True,
    ),
    Operator(
        "plain-add",
        r"atomic_fetch_add_explicit\(&out\[t\], count, memory_order_relaxed\)",
        "((device uint*)out)[t] += count",
        _kinds("device-race"),
    ),
    Operator("read-output", r"\b(out|mean)\[([^\]]*)\] = ", r"\1[\2] += ", _kinds("uninitialised-output")),
    Operator(
        "read-beyond",
        r"(?<!float )(?<!float2 )(?<!half )(?<!atomic_uint )\b(\w+)((?:\[[^\]=]*\])?)\[([^\]=]*)\](?! =|\[| \+=)",
        _read_beyond,
        _kinds("out-of-bounds uninitialised-threadgroup race"),
    ),
    Operator("endless", r"(i|k0) \+= (128|8)\)", r"\1 += 0)", _kinds("endless"), only="moments matmul"),
    Operator(
        "too-large",
        r"(?=\Z)",
        "threadgroup float big[9000];\nbig[thread_index_in_threadgroup] = 1.0f;\n",
        _kinds("limit"),
        only="vectors gather",
    ),
)

# Places where the mistake changes values at most, never an access that is wrong: {mutant's name: why}.
_ATOMIC = "all accesses to the array are atomic, and atomics do not race"
_ANOTHER = "another element that is there and was written: the value is wrong, no access is"
EXEMPT: dict[str, str] = {
    "histogram-drop-barrier-12.5": _ATOMIC,
    "histogram-drop-barrier-17.5": _ATOMIC,
    "histogram-weak-barrier-12.25": _ATOMIC,
    "histogram-weak-barrier-17.25": _ATOMIC,
    "matmul-swapped-stride-12.58": _ANOTHER,
    "scan-read-beyond-12.34": _ANOTHER,
    "scan-read-beyond-18.28": _ANOTHER,
    "sort-read-beyond-25.28": _ANOTHER,
    "stencil-read-beyond-19.18": _ANOTHER,
    "stencil-read-beyond-19.37": _ANOTHER,
    "moments-read-beyond-21.22": _ANOTHER,
    "moments-read-beyond-21.32": _ANOTHER,
    "moments-read-beyond-21.42": _ANOTHER,
}


def mutants() -> Iterator[Mutant]:
    """All of them, in a fixed order."""
    for kernel in KERNELS.values():
        for operator in OPERATORS:
            if operator.only and kernel.name not in operator.only.split():
                continue
            places = list(re.finditer(operator.pattern, kernel.source))
            for match in places[-1:] if operator.last else places:
                replace = operator.replace
                new = replace(match, kernel) if callable(replace) else match.expand(replace)
                if new is None:
                    continue
                if operator.name == "write-input":
                    name, array = next(iter(kernel.inputs.items()))
                    new = new.format(type={"float32": "float", "int32": "int"}[str(array.dtype)], input=name)
                line = kernel.source.count("\n", 0, match.start()) + 1
                column = match.start() - kernel.source.rfind("\n", 0, match.start())
                mutant = Mutant(kernel, operator, line, column, kernel.source[: match.start()] + new + kernel.source[match.end() :])
                if mutant.name not in EXEMPT:
                    yield mutant
