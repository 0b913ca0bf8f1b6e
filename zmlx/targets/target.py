"""What a target is: data. Its spellings are in the op records, its printer in `c_like` and the file of its name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from zmlx import dtypes as dt
from zmlx.dtypes import DType
from zmlx.errors import TargetError


@dataclass(frozen=True)
class Target:
    """One place to run.

    lanes           threads that exchange registers by shuffles (a warp, a simdgroup); 1: a program is one thread
    max_warps       the most warps of one program
    shared_bytes    threadgroup memory of one program
    vector_bytes    the widest memory access of one thread; 0: the C++ compiler finds them
    types           C spelling of each element type; a type that is absent is refused
    arithmetic      for a type that is only stored: the type in which it is computed
    max_buffers     arrays (and the scalar pack) of one launch
    refuse          ops (by name) and kinds of them that the target cannot do, each with what to do instead
    language        whose text it runs, where that is another target's
    shifts          assembles vectors at addresses that are not aligned from aligned words, which hold neighbours too; else a
                    vector access takes any address
    lane_reduce     what combines integers of all lanes by one instruction (two for minima and maxima of 64 bits), by its op's name
    maps_lines      a compiled kernel says which of the user's lines each line of its text comes from
    matrix          the instructions that multiply tiles: "simdgroup_matrix", or "" for none
    tensor_ops      whether the device is known to have Metal 4's tensor operations too, and units that run them
    """

    name: str
    lanes: int
    max_warps: int
    shared_bytes: int
    vector_bytes: int
    types: dict[str, str]
    arithmetic: dict[DType, DType]
    max_buffers: int
    refuse: dict[str, str] = field(default_factory=dict)
    language: str = ""
    shifts: bool = False
    lane_reduce: frozenset[str] = frozenset()
    maps_lines: bool = False
    matrix: str = ""
    tensor_ops: bool = False

    @cached_property
    def dialect(self) -> str:
        """The key of this target's spellings in the op records."""
        return "host" if self.name == "cpu" else self.language or self.name

    @property
    def stage_bytes(self) -> int:
        """Threadgroup memory that one staged product takes at the most: more would leave a core too few programs."""
        return min(self.shared_bytes, 32 * 1024)

    @cached_property
    def is_simt(self) -> bool:
        return self.lanes > 1

    def spelling(self, d: DType) -> str:
        """The C type of an element."""
        if d.name not in self.types:
            raise TargetError(f"{self.name} has no {d.name}", "use float32, or run on the cpu target: zmlx.use_target('cpu')")
        return self.types[d.name]


_HALF = {dt.float16: dt.float32, dt.bfloat16: dt.float32}
_DEBUG = "it prints and checks on the cpu and interpret targets: with zmlx.use_target('cpu'): …"
METAL = Target(
    "metal", 32, 32, 32 * 1024, 16,
    {"int1": "bool", "int8": "int8_t", "int16": "short", "int32": "int", "int64": "long", "uint8": "uchar", "uint16": "ushort",
     "uint32": "uint", "uint64": "ulong", "float16": "half", "bfloat16": "bfloat16_t", "float32": "float"},
    _HALF, 31,
    {"device_print": _DEBUG, "device_assert": _DEBUG,
     "64-bit atomics": "use an array of 32-bit elements: Metal has no atomics wider than that",
     "ordered atomics": "use sem='relaxed': Metal has no ordering between threadgroups; split the work into two kernels",
     "spin": "split the kernel in two launches: Metal promises no progress of other threadgroups, so the loop may never end"},
    matrix="simdgroup_matrix",
)  # fmt: skip
CUDA = Target(
    "cuda", 32, 32, 227 * 1024, 16,
    {"int1": "bool", "int8": "signed char", "int16": "short", "int32": "int", "int64": "long long", "uint8": "unsigned char",
     "uint16": "unsigned short", "uint32": "unsigned int", "uint64": "unsigned long long", "float16": "zm_half",
     "bfloat16": "zm_bf16", "float32": "float", "float64": "double"},
    _HALF, 1 << 10, {"device_print": _DEBUG, "device_assert": _DEBUG}, shifts=True,
    lane_reduce=frozenset(("add", "minimum", "maximum", "and", "or", "xor")),
)  # fmt: skip
CPU = Target(
    "cpu", 1, 1 << 20, 1 << 30, 0,
    {"int1": "bool", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t", "uint8": "uint8_t",
     "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t", "float16": "zm_half", "bfloat16": "zm_bf16",
     "float32": "float", "float64": "double"},
    _HALF, 1 << 10,
)  # fmt: skip
INTERPRET = Target("interpret", 1, 1 << 20, 1 << 40, 0, {d.name: d.name for d in dt.ALL}, {}, 1 << 10)
METAL_SIM = replace(METAL, name="metal-sim", language="metal", maps_lines=True)
TARGETS = {t.name: t for t in (METAL, CUDA, CPU, INTERPRET, METAL_SIM)}


def target(name: str) -> Target:
    """The target of a name."""
    if name not in TARGETS:
        raise TargetError(f"there is no target {name!r}", f"use one of {', '.join(TARGETS)}")
    return TARGETS[name]
