"""Instruction-set levels: which a machine has, which a kernel is compiled for, that none leaks into another's cache."""

from __future__ import annotations

import ctypes
import itertools
import platform

import pytest

from zmlx.errors import ToolchainError
from zmlx.runtime import isa, toolchain

ZEN4 = """processor : 0
flags : cx16 popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe avx512f avx512bw avx512cd avx512dq avx512vl
"""


def test_features_of_proc_cpuinfo() -> None:
    assert {"avx2", "avx512vl"} <= isa.features(ZEN4)
    assert isa.features("processor\t: 0\nFeatures\t: fp asimd atomics\n") == {"fp", "asimd", "atomics"}
    assert isa.features("vendor_id : x\n") == frozenset()


@pytest.mark.parametrize("machine", ["x86_64", "arm64", "riscv64"])
def test_a_ladder_only_adds(machine: str) -> None:
    levels = isa.ladder(machine)
    assert len({level.name for level in levels}) == len(levels)
    assert all(not a.needs & b.needs for a, b in itertools.pairwise(levels))


def test_the_highest_level_is_chosen_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZMLX_CPU_ISA", raising=False)
    assert isa.chosen() == isa.available()[-1]
    for level in isa.available():
        monkeypatch.setenv("ZMLX_CPU_ISA", level.name)
        assert isa.chosen() == level and toolchain.find_cxx().isa == level.name
        assert set(level.flags) <= set(toolchain.find_cxx().flags)


def test_a_level_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CPU_ISA", "pentium")
    with pytest.raises(ToolchainError, match=f"'pentium'; this machine has {isa.available()[0].name}"):
        toolchain.find_cxx()


def test_a_machine_stops_at_the_first_level_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("x86-64 only")
    monkeypatch.setattr(isa, "features", lambda text: isa._X86[1].needs | isa._X86[3].needs)  # no AVX2
    isa.available.cache_clear()
    try:
        assert [level.name for level in isa.available()] == ["x86-64", "x86-64-v2"]
    finally:
        monkeypatch.undo()
        isa.available.cache_clear()


WHICH = """
#if defined(__AVX512BF16__)
#define LEVEL 4
#elif defined(__AVX512VL__) && defined(__AVX512DQ__)
#define LEVEL 3
#elif defined(__AVX2__) && defined(__F16C__)
#define LEVEL 2
#elif defined(__SSE4_2__) || defined(__ARM_FEATURE_ATOMICS)
#define LEVEL 1
#else
#define LEVEL 0
#endif
extern "C" __attribute__((visibility("default"))) int level() { return LEVEL; }
"""


def test_levels_share_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = isa.available()
    for i in (*range(len(levels)), *range(len(levels))):
        monkeypatch.setenv("ZMLX_CPU_ISA", levels[i].name)
        assert ctypes.CDLL(str(toolchain.build_library(WHICH))).level() == i
