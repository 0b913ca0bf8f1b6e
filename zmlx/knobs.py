"""Every ZMLX_* environment variable, typed and documented; `python -m zmlx doctor` prints them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zmlx.errors import ArgumentError, AutotuneError


@dataclass(frozen=True)
class Knob:
    """One environment variable: its name, default and meaning."""

    name: str
    default: str
    doc: str

    def get(self) -> str:
        return os.environ.get(self.name, self.default)


TARGET = Knob("ZMLX_TARGET", "", "target to launch on: metal, cuda, cpu, interpret or metal-sim; empty picks the best available")
CACHE_DIR = Knob("ZMLX_CACHE_DIR", "", "folder of the on-disk cache; empty means ~/.cache/zmlx")
CACHE = Knob("ZMLX_CACHE", "1", "0 turns the on-disk cache off")
CXX = Knob("ZMLX_CXX", "", "C++ compiler of the targets cpu and metal-sim; empty searches for clang++ and g++")
CPU_ISA = Knob("ZMLX_CPU_ISA", "", "instruction set of cpu kernels, e.g. x86-64-v3 or armv8-a; empty means the highest this machine has")
CPU_SIMD = Knob("ZMLX_CPU_SIMD", "1", "0 leaves vectors of cpu kernels to the C++ compiler; read at compilation")
THREADS = Knob("ZMLX_THREADS", "", "threads of the targets cpu and metal-sim; empty means one per core this process may use")
NATIVE = Knob("ZMLX_NATIVE", "1", "0 leaves the zmlx-native extension unused: CPU launches are then eager")
VERIFY = Knob("ZMLX_VERIFY", "0", "1 verifies the IR after every pass")
DUMP_DIR = Knob("ZMLX_DUMP_DIR", "", "folder that receives the IR of every compiled kernel, stage by stage")
SANITIZE = Knob("ZMLX_SANITIZE", "0", "1 checks every kernel that the simulator runs (target metal-sim, zmlx.simulator.metal_kernel)")
SIM_OPT = Knob("ZMLX_SIM_OPT", "", "optimisation of simulated kernels, e.g. -O0 to compile sooner; empty means the simulator's own")
DOT = Knob(
    "ZMLX_DOT",
    "auto",
    "how tl.dot multiplies: auto takes what serves, threads no copying hardware, plain no matrix instructions either; on Metal, "
    "tensor takes Metal 4's tensor operations, which no Mac has run yet, and simdgroup never does; "
    "read at compilation",
)
DOTS = ("auto", "threads", "tensor", "simdgroup", "plain")
AUTOTUNE = Knob(
    "ZMLX_AUTOTUNE",
    "on",
    "on: autotuned kernels time their configs; cached: they use results on disk, else the cost model's choice; off: always the latter",
)
PRINT_AUTOTUNING = Knob("ZMLX_PRINT_AUTOTUNING", "0", "1 prints what every autotuning chose, and its table of timings, on stderr")
ALL = (
    TARGET, CACHE_DIR, CACHE, CXX, CPU_ISA, CPU_SIMD, THREADS, NATIVE, VERIFY, DUMP_DIR, SANITIZE,
    SIM_OPT, DOT, AUTOTUNE, PRINT_AUTOTUNING,
)  # fmt: skip


def cache_dir() -> Path | None:
    """The on-disk cache folder, or None when it is turned off."""
    if CACHE.get() == "0":
        return None
    named = CACHE_DIR.get()
    return Path(named).expanduser() if named else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zmlx"


def autotune() -> str:
    """ZMLX_AUTOTUNE: "on", "cached" or "off". Raises AutotuneError for anything else."""
    named = AUTOTUNE.get().lower()
    if named not in ("on", "cached", "off"):
        raise AutotuneError(f"{AUTOTUNE.name}={named!r}; it is on, cached or off")
    return named


def threads() -> int:
    """Threads of the cpu target."""
    named = THREADS.get()
    if named:
        return max(1, int(named))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dot() -> str:
    """ZMLX_DOT, how tl.dot is to be lowered; a part of the key of every compiled kernel. Raises ArgumentError for an unknown way."""
    named = DOT.get()
    if named not in DOTS:
        raise ArgumentError(f"{DOT.name}={named!r} is unknown: set it to {', '.join(DOTS[:-1])} or {DOTS[-1]}")
    return named


def plain_dot() -> bool:
    """Whether tl.dot is to be lowered without matrix instructions."""
    return dot() == "plain"
