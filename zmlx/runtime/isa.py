"""Instruction-set levels of CPUs: what this machine has, and the compiler flags of each.

Kernels are compiled on the machine that runs them, for the highest level that it has: a short ladder instead of
`-march=native`, so that machines which share a cache folder share kernels where they can and never load what they cannot
run. ZMLX_CPU_ISA names a lower level.
"""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from dataclasses import dataclass

from zmlx import knobs
from zmlx.errors import ToolchainError


@dataclass(frozen=True)
class Level:
    """One level: its name (as in -march where there is one), the features (Linux's names) it adds to the one below, and its flags."""

    name: str
    needs: frozenset[str]
    flags: tuple[str, ...]


def _level(name: str, needs: str, *more: str) -> Level:
    return Level(name, frozenset(needs.split()), (f"-march={name}", *more))


_WIDE = "-mprefer-vector-width=512"  # compilers vectorise by 256 bits at v4 unless told otherwise
# The x86-64 psABI's levels, and one of ours.
_X86 = (
    _level("x86-64", ""),
    _level("x86-64-v2", "cx16 popcnt sse4_1 sse4_2 ssse3"),
    _level("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe"),
    _level("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl", _WIDE),
    Level("x86-64-v4-bf16", frozenset(["avx512_bf16"]), ("-march=x86-64-v4", _WIDE, "-mavx512bf16")),
)
_ARM = (_level("armv8-a", "asimd"), _level("armv8.2-a", "atomics crc32 asimdrdm dcpop"))
# macOS says `hw.optional.<name>: 1`.
_MACOS_X86 = {"avx2_0": "avx avx2 bmi1 bmi2 f16c fma abm movbe", "avx512f": "avx512f avx512bw avx512cd avx512dq avx512vl"}


def ladder(machine: str) -> tuple[Level, ...]:
    """All levels of an architecture (as `platform.machine()` names it), lowest first; one without flags where none is known."""
    if machine in ("x86_64", "AMD64"):
        return _X86
    if machine in ("aarch64", "arm64"):
        return _ARM
    return (Level(machine or "generic", frozenset(), ()),)


def features(cpuinfo: str) -> frozenset[str]:
    """The features that the text of /proc/cpuinfo names: those of its first processor."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _macos_features() -> frozenset[str]:
    if platform.machine() == "arm64":  # every one of Apple's
        return frozenset().union(*(level.needs for level in _ARM))
    found = _X86[1].needs
    for name, meaning in _MACOS_X86.items():
        done = subprocess.run(["sysctl", "-n", f"hw.optional.{name}"], capture_output=True, text=True)
        if done.stdout.strip() == "1":
            found |= frozenset(meaning.split())
    return found


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """This processor in words: what timings hold for."""
    try:
        with open("/proc/cpuinfo") as f:
            lines = f.read().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.release()}"
    first = lines[: lines.index("")] if "" in lines else lines
    said = (line.partition(":") for line in first)
    return " ".join(sorted(v.strip() for k, _, v in said if k.strip() in ("model name", "flags", "Features", "cpu family", "model")))


@functools.lru_cache(maxsize=1)
def available() -> tuple[Level, ...]:
    """The levels that this machine can run, lowest first."""
    if sys.platform == "darwin":
        has = _macos_features()
    else:
        try:
            with open("/proc/cpuinfo") as f:
                has = features(f.read())
        except OSError:
            has = frozenset()
    levels = ladder(platform.machine())
    out = [levels[0]]
    for level in levels[1:]:
        if not level.needs <= has:
            break
        out.append(level)
    return tuple(out)


def chosen() -> Level:
    """The level that kernels are compiled for: ZMLX_CPU_ISA, or the highest here. Raises ToolchainError for one that is not here."""
    named = knobs.CPU_ISA.get()
    levels = available()
    if not named:
        return levels[-1]
    for level in levels:
        if level.name == named:
            return level
    raise ToolchainError(f"ZMLX_CPU_ISA is {named!r}; this machine has {', '.join(level.name for level in levels)}")
