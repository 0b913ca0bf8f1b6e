"""`python -m zmlx sanitize`: a script runs as it would under Python, and its kernels are checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """\
import sys
import mlx.core as mx

def shift(n, size):
    kernel = mx.fast.metal_kernel(
        name="shift", input_names=["x"], output_names=["out"],
        source="uint i = thread_position_in_grid.x; out[i] = x[i + 1];",
    )
    out = kernel(inputs=[mx.arange(size, dtype=mx.float32)], grid=(n, 1, 1), threadgroup=(32, 1, 1),
                 output_shapes=[(n,)], output_dtypes=[mx.float32])[0]
    mx.eval(out)
    return out
"""


def sanitize(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-m", "zmlx", "sanitize", "script.py", *arguments]
    environment = {k: v for k, v in os.environ.items() if k not in ("ZMLX_TARGET", "ZMLX_SANITIZE")}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120)


def test_a_sound_script(tmp_path: Path) -> None:
    done = sanitize(KERNEL + "print(shift(32, 33)[:3].tolist(), 'done')\nshift(32, 40)\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1.0, 2.0, 3.0] done\n"
    assert "2 launches checked; nothing to report" in done.stderr


def test_a_fault_is_reported_and_the_script_goes_on(tmp_path: Path) -> None:
    done = sanitize(KERNEL + "shift(32, 32)\nprint('after')\n", tmp_path)
    assert done.returncode == 1
    assert done.stdout == "after\n"
    assert "out-of-bounds" in done.stderr and "x[32]" in done.stderr and "1 launch checked; 1 report" in done.stderr


def test_kernels_of_zmlx_name_the_line_of_python(tmp_path: Path) -> None:
    script = """\
import mlx.core as mx
import zmlx
import zmlx.language as tl

@zmlx.jit
def sum_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    tl.store(out_ptr, tl.sum(x, axis=0))

assert zmlx.default_target() == "metal-sim"
sum_kernel[(1,)](mx.arange(100.0), zmlx.empty((1,)), BLOCK=128)
"""
    done = sanitize(script, tmp_path)
    assert done.returncode == 1
    assert "script.py:8" in done.stderr and "x = tl.load(x_ptr + at)" in done.stderr and "out-of-bounds" in done.stderr


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('that is wrong')", 1, "that is wrong\n"),
        ("raise KeyError('lost')", 1, "KeyError: 'lost'"),
        ("raise SystemExit(0)", 0, ""),
    ],
)
def test_the_scripts_own_end_is_kept(end: str, code: int, says: str, tmp_path: Path) -> None:
    done = sanitize(f"import sys\ndef last():\n    {end}\nlast()\n", tmp_path)
    assert done.returncode == code and says in done.stderr
    assert "nothing was checked" in done.stderr
    if "Error" in says:
        assert 'File "script.py", line 4, in <module>' in done.stderr and "sanitize.py" not in done.stderr


def test_an_exit_code_of_the_script_beats_a_report(tmp_path: Path) -> None:
    done = sanitize(KERNEL + "shift(32, 32)\nsys.exit(7)\n", tmp_path)
    assert done.returncode == 7 and "out-of-bounds" in done.stderr


def test_the_script_sees_itself_as_main(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 5\n")
    script = """\
import pickle, sys
import beside
class Mine:
    pass
assert __name__ == "__main__" and __file__ == "script.py" and sys.modules["__main__"].Mine is Mine
assert sys.argv == ["script.py", "--steps", "3", "-h"], sys.argv
assert beside.VALUE == 5 and isinstance(pickle.loads(pickle.dumps(Mine())), Mine)
"""
    done = sanitize(script, tmp_path, "--steps", "3", "-h")
    assert done.returncode == 0, done.stderr


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "zmlx", "sanitize", "absent.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "no file absent.py" in done.stderr
