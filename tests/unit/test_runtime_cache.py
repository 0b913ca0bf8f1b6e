"""The on-disk cache: concurrent processes, a killed writer, damage, folders that cannot be written."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest

from zmlx.errors import CacheWarning
from zmlx.runtime import cache

KERNEL = """
import sys, time, warnings
import mlx.core as mx
import zmlx, zmlx.language as tl
from zmlx.runtime import cache, toolchain
cache.fingerprint = lambda folder="": "the same build"  # also while zmlx is being edited

@zmlx.jit
def scale_kernel(x_ptr, out_ptr, k, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at) * k)

built = []
build = toolchain._build
toolchain._build = lambda *a, **k: (built.append(1), build(*a, **k))[1]
with zmlx.use_target("cpu"):
    x = mx.arange(64).astype(mx.float32)
    out = scale_kernel[(1,)](x, zmlx.empty_like(x), 3, BLOCK=64)
assert mx.array_equal(out, x * 3)
print("traced" if "zmlx.targets.compile" in sys.modules else "found", "built", len(built))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ZMLX_CACHE", "1")
    monkeypatch.setattr(cache, "_warned", False)
    return tmp_path / "cache"


def run(tmp_path: Path, folder: Path, count: int = 1, **env: str) -> list[str]:
    script = tmp_path / "kernel.py"
    script.write_text(textwrap.dedent(KERNEL))
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"ZMLX_CACHE_DIR": str(folder), "PYTHONPATH": root} | env
    started = [
        subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(count)
    ]
    outputs = [p.communicate(timeout=120)[0] for p in started]
    assert all(p.returncode == 0 for p in started), outputs
    return outputs


def test_entries_come_back(folder: Path) -> None:
    assert cache.get("kernels", "ab" * 32) is None
    cache.put("kernels", "ab" * 32, b"content\nwith lines")
    assert cache.get("kernels", "ab" * 32) == b"content\nwith lines"
    assert not list(folder.rglob(".tmp-*"))


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: d + b"x", lambda d: b"\0" * len(d)])
def test_a_damaged_entry_is_absent_and_replaced(folder: Path, damage) -> None:
    cache.put("kernels", "cd" * 32, b"content")
    (path,) = [p for p in folder.rglob("*") if p.is_file()]
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("kernels", "cd" * 32) is None
    cache.put("kernels", "cd" * 32, b"content")
    assert cache.get("kernels", "cd" * 32) == b"content"


def test_a_damaged_library_is_absent(folder: Path) -> None:
    path = cache.put_library("host", "ef" * 32, ".so", b"\x7fELF")
    assert cache.library("host", "ef" * 32, ".so") == path
    path.write_bytes(b"\x7fEL")
    assert cache.library("host", "ef" * 32, ".so") is None
    path.unlink()
    assert cache.library("host", "ef" * 32, ".so") is None


def test_keys_tell_where_parts_end() -> None:
    assert cache.digest("ab", "c") != cache.digest("a", "bc") != cache.digest("abc")


def _write_and_read(folder: str, worker: int) -> None:
    os.environ["ZMLX_CACHE_DIR"] = folder
    for round_ in range(30):
        for key in range(5):
            name = f"{key:064x}"
            content = f"{key} ".encode() * 5000
            if (round_ + worker) % 2:
                cache.put("kernels", name, content)
            found = cache.get("kernels", name)
            assert found is None or found == content


def test_concurrent_writers(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_and_read, args=(str(folder), w)) for w in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    assert not list(folder.rglob(".tmp-*"))


def _write_for_ever(folder: str) -> None:
    os.environ["ZMLX_CACHE_DIR"] = folder
    while True:
        cache.put("kernels", "0" * 64, os.urandom(64) * 20000)


def test_a_killed_writer_leaves_nothing_wrong(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for delay in (0.0, 0.03):
        writer = context.Process(target=_write_for_ever, args=(str(folder),))
        writer.start()
        while not list(folder.rglob("0" * 64)):
            time.sleep(0.01)
        time.sleep(delay)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        found = cache.get("kernels", "0" * 64)
        assert found is not None and found == found[:64] * 20000
    left = folder / "kernels" / "00" / ".tmp-old"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    cache.put("kernels", "0" * 64, b"new")
    assert cache.get("kernels", "0" * 64) == b"new" and not left.exists()


def test_a_folder_that_cannot_be_written_warns_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_warned", False)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(blocked / "cache"))
    with pytest.warns(CacheWarning, match="ZMLX_CACHE_DIR"):
        cache.put("kernels", "0" * 64, b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("kernels", "0" * 64, b"x")
        assert cache.get("kernels", "0" * 64) is None
        path = cache.put_library("host", "1" * 64, ".so", b"library")
    assert path.read_bytes() == b"library"


def test_a_full_disk_warns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left"):
        cache.put("kernels", "0" * 64, b"x")
    assert not list(folder.rglob(".tmp-*")) and cache.get("kernels", "0" * 64) is None


def test_turned_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CACHE", "0")
    cache.put("kernels", "0" * 64, b"x")
    assert cache.get("kernels", "0" * 64) is None and not folder.exists()
    assert cache.put_library("host", "1" * 64, ".so", b"library").read_bytes() == b"library"


def test_kernels_across_processes(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = run(tmp_path, folder, count=2)  # both at once
    assert any("traced" in out for out in first)
    assert run(tmp_path, folder) == ["found built 0\n"]  # neither traced nor built again
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-7])
    (healed,) = run(tmp_path, folder)
    assert healed.startswith("traced") and not healed.endswith("built 0\n")
    assert run(tmp_path, folder) == ["found built 0\n"]
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    (out,) = run(tmp_path, blocked / "cache")
    assert out.count("CacheWarning") == 1 and "traced" in out


def test_a_library_without_a_cache_is_never_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two builds of one text give one name; the first may be loaded by now, and loaded code is the file's.
    monkeypatch.setenv("ZMLX_CACHE", "0")
    first = cache.put_library("host", "key", ".so", b"x" * 5000)
    with open(first, "rb") as loaded:
        second = cache.put_library("host", "other key", ".so", b"x" * 5000)
        assert second == first and os.fstat(loaded.fileno()).st_ino != second.stat().st_ino
        assert loaded.read() == b"x" * 5000
