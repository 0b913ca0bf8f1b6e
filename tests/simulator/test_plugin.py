"""The pytest option and the fixture: a test fails with what its kernels did wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = """\
import mlx.core as mx
import pytest

def shift(size):
    kernel = mx.fast.metal_kernel(
        name="shift", input_names=["x"], output_names=["out"],
        source="uint i = thread_position_in_grid.x; out[i] = x[i + 1];",
    )
    out = kernel(inputs=[mx.arange(size, dtype=mx.float32)], grid=(32, 1, 1), threadgroup=(32, 1, 1),
                 output_shapes=[(32,)], output_dtypes=[mx.float32])[0]
    mx.eval(out)
    return out

@pytest.fixture
def shifted():
    return shift(32)

"""
SOUND = "def test_sound(): assert shift(33)[0].item() == 1\n"
WRONG = "def test_wrong(): shift(32)\n"


def run(text: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS + text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    listed = subprocess.run([sys.executable, "-c", "from importlib.metadata import entry_points as e; print(e(group='pytest11').names)"],
                            capture_output=True, text=True).stdout  # fmt: skip
    plugin = [] if "'zmlx'" in listed else ["-p", "zmlx.pytest_plugin"]  # an installation older than the entry point
    command = [sys.executable, "-m", "pytest", "-q", "-rA", *plugin, *options, "test_it.py"]
    environment = {k: v for k, v in os.environ.items() if k not in ("ZMLX_TARGET", "ZMLX_SANITIZE") and not k.startswith("PYTEST_")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=180)


def test_the_option_checks_every_test(tmp_path: Path) -> None:
    done = run(SOUND + WRONG, tmp_path, "--zmlx-sanitize")
    assert done.returncode == 1, done.stdout
    assert "PASSED test_it.py::test_sound" in done.stdout and "FAILED test_it.py::test_wrong" in done.stdout
    assert "out-of-bounds" in done.stdout and "x[32]" in done.stdout
    assert "2 launches checked" in done.stdout


def test_a_fault_in_a_fixture_is_the_tests(tmp_path: Path) -> None:
    done = run("def test_of_fixture(shifted): pass\n", tmp_path, "--zmlx-sanitize")
    assert "FAILED test_it.py::test_of_fixture" in done.stdout and "out-of-bounds" in done.stdout


def test_a_failure_of_the_test_itself_is_kept(tmp_path: Path) -> None:
    done = run("def test_both():\n    shift(32)\n    assert 1 == 2\n", tmp_path, "--zmlx-sanitize")
    assert "assert 1 == 2" in done.stdout and "out-of-bounds" in done.stdout


def test_the_fixture_checks_one_test(tmp_path: Path) -> None:
    text = """
def test_wrong(sanitize_kernels):
    shift(32)

def test_sound(sanitize_kernels):
    shift(33)
    assert sanitize_kernels.launches == 1 and not sanitize_kernels.reports
"""
    done = run(text, tmp_path)
    assert "FAILED test_it.py::test_wrong" in done.stdout and "PASSED test_it.py::test_sound" in done.stdout
    assert "out-of-bounds" in done.stdout


def test_with_workers(tmp_path: Path) -> None:
    done = run(SOUND + WRONG, tmp_path, "--zmlx-sanitize", "-n", "1")
    assert "2 launches checked" in done.stdout and "FAILED test_it.py::test_wrong" in done.stdout


def test_without_it_nothing_is_changed(tmp_path: Path) -> None:
    text = (
        "import zmlx\ndef test_plain(): assert zmlx.default_target() != 'metal-sim' and type(mx.fast.metal_kernel).__name__ == 'nb_func'\n"
    )
    done = run(text, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "checked" not in done.stdout
