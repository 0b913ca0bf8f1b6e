"""The command line, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zmlx
from zmlx.cli import main

ROOT = Path(__file__).parents[2]
SCRIPT = """\
import mlx.core as mx, zmlx, zmlx.language as tl

@zmlx.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    cols = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + cols, tl.load(x_ptr + cols, mask=cols < n) * 2.0, mask=cols < n)

@zmlx.jit
def idle_kernel(x_ptr):
    tl.store(x_ptr, 1.0)

def plain(x):
    return x

if __name__ == "__main__":
    x = mx.ones(100)
    scale_kernel[(1,)](x, zmlx.empty_like(x), 100, BLOCK=128)
    raise SystemExit("the launch was carried out")
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize(
    ("target", "has"),
    [("metal", "x_ptr"), ("cuda", "__global__"), ("cpu", 'extern "C"'), ("tile", "program_id"), ("simt", "x_ptr"), ("interpret", "x_ptr")],
)
def test_show_records_the_launch_of_a_script(script: Path, target: str, has: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{script}:scale_kernel", "--target", target]) == 0
    assert has in capsys.readouterr().out


def test_show_takes_arguments(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--arg", "x_ptr=f16[100]", "--arg", "out_ptr=f16[100]", "--arg", "n=100", "--arg", "BLOCK=64"]
    assert main(["show", f"{script}:scale_kernel", "--target", "tile", *args]) == 0
    assert "f16" in capsys.readouterr().out


def test_show_uses_the_first_case_of_a_catalog_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{ROOT}/catalog/norm/rms_norm.py:rms_norm_kernel", "--target", "cuda"]) == 0
    assert "weight_ptr" in capsys.readouterr().out


def test_show_compiles_what_an_autotuned_kernel_would_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tuned.py"
    decorator = '@zmlx.autotune([zmlx.Config({"BLOCK": b}) for b in (100, 64)], key=["n"])'
    path.write_text(SCRIPT.replace("@zmlx.jit\ndef scale", f"{decorator}\n@zmlx.jit\ndef scale").replace(", BLOCK=128", ""))
    assert "autotune" in path.read_text()
    assert main(["show", f"{path}:scale_kernel", "--target", "tile"]) == 0
    assert "arange {start = 0, end = 64}" in capsys.readouterr().out
    assert main(["show", f"{path}:scale_kernel", "--arg", "x_ptr=f32[9]", "--arg", "out_ptr=f32[9]", "--arg", "n=9"]) == 0
    assert "x_ptr" in capsys.readouterr().out


WRONG = {
    "no colon": ("mine.py", "FILE.py:KERNEL"),
    "no file": ("absent.py:f_kernel", "no file"),
    "no kernel": ("mine.py:other_kernel", "scale_kernel"),
    "no jit": ("mine.py:plain", "@zmlx.jit"),
    "never launched": ("mine.py:idle_kernel", "--arg"),
}


@pytest.mark.parametrize(("kernel", "says"), WRONG.values(), ids=list(WRONG))
def test_show_says_what_is_wrong(
    kernel: str, says: str, script: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(script.parent)
    script.write_text(SCRIPT.split("if __name__")[0])
    assert main(["show", kernel]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("spec", "says"), [("x", "NAME=SPEC"), ("x=q8[3]", "no dtype q8"), ("x=much", "neither an array")])
def test_show_refuses_a_bad_argument(spec: str, says: str, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{script}:scale_kernel", "--arg", spec]) == 2
    assert says in capsys.readouterr().err


def test_doctor_reports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for part in ("mlx", "metal", "cuda", "interpret", "metal-sim", "ZMLX_CACHE_DIR", "C++", "(default)", "libclang"):
        assert part in out


def test_doctor_fails_where_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZMLX_CXX", "no-such-compiler")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("zmlx.runtime.device.default_target", lambda: "cpu")
    assert main(["doctor"]) == 1
    missing = capsys.readouterr().out.split("\nmissing\n")[1]
    assert "no-such-compiler" in missing and "install g++" in missing and "ZMLX_CACHE_DIR" in missing


def test_demo_says_what_the_target_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZMLX_CXX", "no-such-compiler")
    with zmlx.use_target("interpret"):  # not the cpu's: whatever has been compiled before must not matter
        monkeypatch.setattr("zmlx.default_target", lambda: "cpu")
        assert main(["demo"]) == 2
    assert "no-such-compiler" in capsys.readouterr().err


def test_demo_runs_in_the_interpreter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("zmlx.default_target", lambda: "interpret")
    with zmlx.use_target("interpret"):
        assert main(["demo", "--only", "cumsum", "--seconds", "0"]) == 0
    assert "3x7" in capsys.readouterr().out


def test_demo_checks_times_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "demo.json"
    assert main(["demo", "--only", "add", "--seconds", "0.1", "--json", str(file)]) == 0
    assert "ok" in capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["machine"]["target"] and found["rows"][0]["kernel"] == "add" and found["rows"][0]["zmlx_ms"] > 0


def test_demo_fails_when_a_kernel_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    from zmlx.catalog import entries
    from zmlx.cli import demo

    add = next(e for e in entries() if e.name == "add")
    monkeypatch.setattr(demo, "entries", lambda: [replace(add, call=lambda x, y: x - y)])
    assert main(["demo", "--seconds", "0.1"]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_demo_of_an_unknown_entry_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--only", "nothing"]) == 2
    assert "softmax" in capsys.readouterr().out
