"""Results on disk: found by later processes, shared by concurrent ones, rewritten when damaged; the knobs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx import Config
from zmlx.errors import AutotuneError

SCRIPT = """
import sys
import mlx.core as mx, zmlx, zmlx.language as tl

times = iter(map(float, sys.argv[2].split(",")))

@zmlx.autotune([zmlx.Config({"BLOCK": b}) for b in (16, 32, 64)], key=["n"], do_bench=lambda call, quantiles: (call(), next(times))[1])
@zmlx.jit
def record_kernel(out_ptr, n, BLOCK: tl.constexpr):
    tl.store(out_ptr, n * 1000 + BLOCK)

zmlx.use_target(sys.argv[1]).__enter__()
print(record_kernel[(1,)](zmlx.empty((1,), mx.int32), 5).item(), record_kernel.tuning.source)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's kernels are built, once."""
    return tmp_path_factory.mktemp("built")


@pytest.fixture(autouse=True)
def folder(built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cache without results."""
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(built / "cache"))
    shutil.rmtree(built / "cache" / "autotune", ignore_errors=True)
    return built


@pytest.fixture
def script(folder: Path) -> Path:
    path = folder / "tuned.py"
    path.write_text(SCRIPT)
    return path


def start(script: Path, target: str, times: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(script), target, times], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip()


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "cache" / "autotune").rglob("*") if p.is_file())


def record(times: list[float], configs: list[Config] | None = None, **options: Any) -> zmlx.Autotuner:
    """A kernel tuned by a fake clock, the same for every call of this function."""

    def record_kernel(out_ptr, n, BLOCK: tl.constexpr, KIND: tl.constexpr = 0):
        tl.store(out_ptr, n * 1000 + BLOCK)

    answers = iter(times)
    configs = configs or [Config({"BLOCK": b}) for b in (16, 32, 64)]
    return zmlx.autotune(configs, ["n"], **{"do_bench": lambda call, quantiles: (call(), next(answers))[1], **options})(
        zmlx.jit(record_kernel)
    )


def run(kernel: zmlx.Autotuner, n: int = 5) -> tuple[int, str]:
    block = kernel[(1,)](zmlx.empty((1,), mx.int32), n).item() % 1000
    assert kernel.tuning is not None
    return block, kernel.tuning.source


# ---- between processes -------------------------------------------------------------------------------------------------


def test_a_second_process_takes_the_result_of_the_first(script: Path, target: str) -> None:
    assert answer(start(script, target, "3,2,1")) == "5064 timed"
    assert answer(start(script, target, "")) == "5064 cache", "a clock that would fail is not asked"
    script.write_text(SCRIPT.replace("n * 1000 + BLOCK", "n * 1000 + BLOCK + 0"))
    assert answer(start(script, target, "1,2,3")) == "5016 timed", "another text is another kernel"


def test_concurrent_processes_all_get_a_whole_result(script: Path, target: str, folder: Path) -> None:
    answers = [answer(p) for p in [start(script, target, "3,2,1") for _ in range(4)]]
    assert {a.split()[0] for a in answers} == {"5064"}
    assert len(entries(folder)) == 1, "one entry, and nothing temporary left"
    assert answer(start(script, target, "")) == "5064 cache"


# ---- what an entry holds for -------------------------------------------------------------------------------------------


def test_results_are_found_again_with_their_timings(folder: Path) -> None:
    first = record([3, 1, 2])
    assert run(first) == (32, "timed")
    second = record([])
    assert run(second) == (32, "cache") and second.configs_timings == first.configs_timings
    assert "from the cache" in str(second.tuning) and len(entries(folder)) == 1


def test_failing_configs_keep_their_reasons() -> None:
    configs = [Config({"BLOCK": 16, "KIND": 1 << 70}), Config({"BLOCK": 32})]

    def kernel(times: list[float]) -> zmlx.Autotuner:
        def fail_kernel(out_ptr, n, BLOCK: tl.constexpr, KIND: tl.constexpr = 0):
            tl.static_assert(KIND < 5, "no such kind")
            tl.store(out_ptr, n * 1000 + BLOCK)

        answers = iter(times)
        return zmlx.autotune(configs, ["n"], do_bench=lambda call, quantiles: next(answers))(zmlx.jit(fail_kernel))

    assert run(kernel([1])) == (32, "timed")
    again = kernel([])
    assert run(again) == (32, "cache") and "no such kind" in str(again.tuning)


@pytest.mark.parametrize("change", ["key", "configs", "hook", "pruned", "off"])
def test_what_a_result_does_not_hold_for_is_timed(change: str, folder: Path) -> None:
    assert run(record([3, 1, 2])) == (32, "timed")
    if change == "key":
        assert run(record([1, 2, 3]), n=7) == (16, "timed")
    elif change == "configs":
        assert run(record([1, 2], [Config({"BLOCK": b}) for b in (16, 32)])) == (16, "timed")
    elif change == "hook":
        assert run(record([1, 2, 3], [Config({"BLOCK": b}, pre_hook=lambda args: None) for b in (16, 32, 64)])) == (16, "timed")
    elif change == "pruned":
        early = {"early_config_prune": lambda configs, args, **rest: configs[:2]}
        assert run(record([1, 2], prune_configs_by=early)) == (16, "timed")
    else:
        assert run(record([1, 2, 3], cache_results=False)) == (16, "timed")
        assert len(entries(folder)) == 1


def damage_cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damage_foreign(data: bytes) -> bytes:
    return b"not ours"


def damage_empty(data: bytes) -> bytes:
    return b""


def sealed(payload: Any) -> bytes:
    """An entry whose checksum is right, whatever it says."""
    import hashlib

    text = json.dumps(payload).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def damage_best(data: bytes) -> bytes:
    return sealed(json.loads(data.partition(b"\n")[2]) | {"best": 99})


def damage_shape(data: bytes) -> bytes:
    return sealed([1, 2, 3])


def damage_trials(data: bytes) -> bytes:
    return sealed(json.loads(data.partition(b"\n")[2]) | {"trials": [["x", None, ""]] * 3})


@pytest.mark.parametrize("damage", [damage_cut, damage_foreign, damage_empty, damage_best, damage_shape, damage_trials])
def test_a_damaged_entry_is_timed_again_and_rewritten(damage: Any, folder: Path) -> None:
    run(record([3, 1, 2]))
    (entry,) = entries(folder)
    entry.write_bytes(damage(entry.read_bytes()))
    assert run(record([1, 2, 3])) == (16, "timed")
    assert run(record([])) == (16, "cache")


def test_a_folder_that_cannot_be_written_costs_a_warning_not_the_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("zmlx.runtime.cache._warned", False)
    with pytest.warns(zmlx.errors.CacheWarning):
        assert run(record([3, 1, 2])) == (32, "timed")


# ---- knobs -------------------------------------------------------------------------------------------------------------


def test_the_knob_off_never_times_and_reads_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    run(record([3, 1, 2]))
    monkeypatch.setenv("ZMLX_AUTOTUNE", "off")
    kernel = record([])
    assert run(kernel)[1] == "model" and run(kernel)[1] == "model"
    assert all(t == [float("inf")] * 3 for t in kernel.configs_timings.values()) and "cost model" in str(kernel.tuning)


def test_the_knob_cached_reads_and_never_times(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    run(record([3, 1, 2]))
    monkeypatch.setenv("ZMLX_AUTOTUNE", "cached")
    assert run(record([])) == (32, "cache") and run(record([]), n=7)[1] == "model"
    assert len(entries(folder)) == 1, "the model's choice is no result"


def test_a_wrong_knob_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_AUTOTUNE", "sometimes")
    with pytest.raises(AutotuneError, match="ZMLX_AUTOTUNE='sometimes'; it is on, cached or off"):
        run(record([]))


def test_the_winner_is_printed_where_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(record([3, 1, 2]), n=8)
    assert "record_kernel" not in capsys.readouterr().err
    monkeypatch.setenv("ZMLX_PRINT_AUTOTUNING", "1")
    run(record([3, 1, 2]), n=9)
    said = capsys.readouterr().err
    assert "record_kernel, n=9, int32" in said and "→  BLOCK=32, num_warps=4" in said


def test_no_cache_at_all_still_tunes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_CACHE", "0")
    assert run(record([3, 1, 2])) == (32, "timed") and run(record([3, 2, 1])) == (64, "timed")
