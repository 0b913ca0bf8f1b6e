"""The cache of built kernels: found again, safe against other processes, killed writers and damage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from zmlx import simulator
from zmlx.simulator import build

SCRIPT = """
import sys, mlx.core as mx
from zmlx import simulator
from zmlx.simulator import build
count = []
compiler = build._compiler
build._compiler = lambda command: count.append(command) or compiler(command)
kernel = simulator.metal_kernel("cached", ["x"], ["out"], "out[thread_position_in_grid.x] = x[0] + " + sys.argv[1] + ";")
out = kernel(inputs=[mx.ones(9)], grid=(9, 1, 1), threadgroup=(9, 1, 1), output_shapes=[(9,)], output_dtypes=[mx.float32])[0]
print(out[8].item(), len(count))
"""


def start(folder: Path, value: int) -> subprocess.Popen[str]:
    environment = os.environ | {"ZMLX_CACHE_DIR": str(folder)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(value)], env=environment, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[float, int]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    value, compilations = out.split()
    return float(value), int(compilations)


def launched(value: int) -> None:
    kernel = simulator.metal_kernel("cached", ["x"], ["out"], f"out[thread_position_in_grid.x] = x[0] + {value};")
    out = kernel(inputs=[mx.ones(9)], grid=(9, 1, 1), threadgroup=(9, 1, 1), output_shapes=[(9,)], output_dtypes=[mx.float32])[0]
    assert out.tolist() == [value + 1.0] * 9


def compilations(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    compiler = build._compiler

    def counting(command: list[str]) -> Any:
        commands.append(command)
        return compiler(command)

    monkeypatch.setattr(build, "_compiler", counting)
    return commands


def test_another_process_finds_it(tmp_path: Path) -> None:
    value, first = finished(start(tmp_path, 1))
    assert value == 2 and first == 4  # the runtime, the prelude, the kernel and its link
    assert finished(start(tmp_path, 1)) == (2, 0)
    assert finished(start(tmp_path, 2)) == (3, 2)


def test_processes_at_once(tmp_path: Path) -> None:
    running = [start(tmp_path, 1) for _ in range(2)]
    assert [finished(p)[0] for p in running] == [2.0] * 2
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_writer_that_was_killed(tmp_path: Path) -> None:
    victim = start(tmp_path, 1)
    for _ in range(500):
        if list((tmp_path / "simulator-prelude").rglob(".tmp-*")):
            break
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert finished(start(tmp_path, 1))[0] == 2


def test_damage_is_noticed(tmp_path: Path) -> None:
    assert finished(start(tmp_path, 1)) == (2, 4)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.parent.parent.name != "toolchain" and path.suffix != ".h":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    value, compilations = finished(start(tmp_path, 1))
    assert value == 2 and compilations >= 3
    assert finished(start(tmp_path, 1)) == (2, 0)


def test_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CACHE", "0")
    commands = compilations(monkeypatch)
    launched(10)
    assert commands
    commands.clear()
    launched(10)
    assert not commands


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        launched(11)


def test_kernels_of_one_process_do_not_share_variables() -> None:
    """Inline variables and functions of the same name in two headers stay apart."""
    results = []
    for value in (1, 2):
        header = f"inline float value() {{ return {value}; }}\nstruct S {{ static constexpr constant float v = {value}; }};\n"
        kernel = simulator.metal_kernel("apart", [], ["out"], "threadgroup float t; t = value() + S::v; out[0] = t;", header)
        results.append(kernel(inputs=[], grid=(1, 1, 1), threadgroup=(1, 1, 1), output_shapes=[(1,)], output_dtypes=[mx.float32])[0].item())
    assert results == [2.0, 4.0]


def test_the_optimisation_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = compilations(monkeypatch)
    monkeypatch.setenv("ZMLX_SIM_OPT", "-O0")
    monkeypatch.setenv("ZMLX_CACHE", "0")
    launched(12)
    assert commands and all("-O0" in c for c in commands if "-c" in c)


def test_a_first_run_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Translation and compilation of a kernel whose header is MLX's largest."""
    from zmlx.msl import mlx_header

    launched(1)
    header = mlx_header("quantized.h") + f"// {time.time()}\n"
    kernel = simulator.metal_kernel("quick", [], ["out"], "out[0] = 1;", header)
    start = time.perf_counter()
    kernel(inputs=[], grid=(1, 1, 1), threadgroup=(1, 1, 1), output_shapes=[(1,)], output_dtypes=[mx.float32])
    assert time.perf_counter() - start < 6  # 1.5 s where nothing else runs
