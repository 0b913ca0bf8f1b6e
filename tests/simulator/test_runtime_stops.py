"""Kernels that crash or never end are reports, and the next launch is well."""

from __future__ import annotations

import platform
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "runtime_kernels"))
from runtime_harness import I32, U32, kinds, launch, line_of, lines, only, output

from zmlx import knobs

both = pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
INTEGERS = {"into": np.zeros(64, I32), "out_dtype": I32, "initial": np.zeros(64, I32)}


@both
@pytest.mark.parametrize(
    ("kernel", "words"),
    [("null", "address 0x10"), ("divide", "division by zero"), ("overflow", "private memory"), ("large_frames", "private memory"),
     ("aborts", "aborted")],
)  # fmt: skip
def test_crashes(kernel: str, words: str, sanitize: bool) -> None:
    if kernel == "divide" and platform.machine() in ("arm64", "aarch64"):
        pytest.skip("division by zero is no fault here")
    result = launch(kernel, sanitize=sanitize, **INTEGERS)
    r = only(result, "crash")
    assert result.stopped and words in r.message
    if kernel in ("null", "divide"):
        assert line_of(kernel) in lines(r)
        assert r.thread.position[0] == (3 if kernel == "null" else 0)
    after = launch("copy", 64, sanitize=sanitize)
    assert not after.reports and not after.stopped
    np.testing.assert_array_equal(output(after), np.arange(64) + 1)


@both
@pytest.mark.parametrize("kernel", ["endless", "endless_access", "waits_for_ever"])
def test_endless_loops(kernel: str, sanitize: bool) -> None:
    start = time.monotonic()
    result = launch(kernel, sanitize=sanitize, time_limit=0.3, **INTEGERS)
    assert time.monotonic() - start < 4
    r = only(result, "endless")
    assert result.stopped and "0.3 s" in r.message
    assert line_of(kernel) in lines(r)


def test_an_endless_loop_with_reports_in_flight() -> None:
    """The signal may come while the interrupted thread adds a report."""
    for _ in range(4):
        start = time.monotonic()
        result = launch("endless_race", sanitize=True, time_limit=0.1, threads=128, **INTEGERS)
        assert time.monotonic() - start < 3
        assert [r.kind for r in result.reports if r.kind == "endless"] == ["endless"]
        assert set(kinds(result)) <= {"endless", "device-race"}


def test_waiting_for_a_later_threadgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs, "threads", lambda: 1)
    result = launch("spins", np.zeros(1, U32), out_dtype=U32, out=1, initial=np.zeros(1, U32), threads=640, time_limit=0.3)
    assert kinds(result) == ["endless"]
