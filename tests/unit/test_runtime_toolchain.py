"""Compilers of generated text: found, absent, too old, failing."""

from __future__ import annotations

import ctypes
import stat
from pathlib import Path

import pytest

from zmlx.errors import ToolchainError
from zmlx.runtime import device, toolchain


def program(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_library_is_built_and_loads() -> None:
    path = toolchain.build_library('extern "C" __attribute__((visibility("default"))) int seven() { return 7; }\n')
    assert ctypes.CDLL(str(path)).seven() == 7
    assert toolchain.build_library('extern "C" __attribute__((visibility("default"))) int seven() { return 7; }\n') == path


def test_flags_keep_floating_point_strict() -> None:
    flags = toolchain.find_cxx().flags
    assert "-ffp-contract=off" in flags and not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations"} & set(flags)


def test_a_text_that_does_not_compile_shows_the_compilers_output() -> None:
    with pytest.raises(ToolchainError, match=r"(?s)failed with status.*kernel.cpp:1.*nonsense"):
        toolchain.build_library("nonsense here;\n")


def test_a_compiler_that_is_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZMLX_CXX", "no-such-compiler")
    with pytest.raises(ToolchainError, match=r"'no-such-compiler'.*apt-get install g\+\+"):
        toolchain.find_cxx()
    assert "no-such-compiler" in device.missing("cpu") and "cpu" not in device.targets()
    monkeypatch.delenv("ZMLX_CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"none was found.*apt-get install g\+\+"):
        toolchain.find_cxx()


def test_compilers_that_do_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZMLX_CXX", program(tmp_path / "broken", "echo 'internal error' >&2; exit 3\n"))
    with pytest.raises(ToolchainError, match=r"(?s)status 3.*internal error"):
        toolchain.find_cxx()
    monkeypatch.setenv("ZMLX_CXX", program(tmp_path / "old", "echo '#define __GNUC__ 9'; echo '#define __GNUC_MINOR__ 4'\n"))
    with pytest.raises(ToolchainError, match=r"gcc 9\.4 is too old"):
        toolchain.find_cxx()


def test_each_compiler_here_works(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for name in ("g++", "clang++"):
        monkeypatch.setenv("ZMLX_CXX", name)
        try:
            found.add(toolchain.find_cxx().kind)
        except ToolchainError:
            continue
        assert toolchain.build_library('extern "C" int zero() { return 0; }\n').exists()
    assert found


def test_nvrtc() -> None:
    if toolchain.nvrtc_path() is None:
        with pytest.raises(ToolchainError, match="pip install"):
            toolchain.build_cubin("", "sm_90a")
        pytest.skip("no NVRTC here")
    cubin = toolchain.build_cubin('extern "C" __global__ void k(float* x) { x[threadIdx.x] *= 2; }', "sm_90a")
    assert cubin[:4] == b"\x7fELF"
    with pytest.raises(ToolchainError, match=r"(?s)sm_90a.*nonsense"):
        toolchain.build_cubin("nonsense;", "sm_90a")
