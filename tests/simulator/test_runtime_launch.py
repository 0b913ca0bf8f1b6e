"""The runtime by itself: places in the grid, collectives, many OS threads, the worker process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "runtime_kernels"))
from runtime_harness import F32, TIME_LIMIT, U8, U16, U32, Buffer, LaunchSpec, kinds, launch, library, output, run, runtime_library

from zmlx import knobs
from zmlx.simulator import process

both = pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])


@pytest.fixture(params=[1, 4], ids=["one", "four"])
def os_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(knobs, "threads", lambda: request.param)
    return int(request.param)


@both
@pytest.mark.parametrize(
    ("threads", "group"), [((7, 5, 3), (4, 2, 2)), ((64, 1, 1), (64, 1, 1)), ((3, 3, 3), (1, 1, 1)), ((1030, 1, 2), (1024, 1, 1))]
)
def test_places(threads: tuple[int, int, int], group: tuple[int, int, int], sanitize: bool) -> None:
    total = int(np.prod(threads))
    r = launch("places", np.zeros(1, U32), out_dtype=U32, out=18 * total, threads=threads, group=group, sanitize=sanitize, must_write=True)
    assert not r.reports
    rows = output(r, U32).reshape(*threads[::-1], 18)
    for z, y, x in np.ndindex(threads[::-1]):
        at = np.array([x, y, z])
        block, inside = at // group, at % group
        here = np.minimum(group, threads - block * group)
        index = inside[0] + here[0] * (inside[1] + here[1] * inside[2])
        expected = [*inside, *block, *here, *group, *(-(-np.array(threads) // group)), index, index // 32, index % 32]
        assert list(rows[z, y, x]) == expected, (x, y, z)


@both
@pytest.mark.parametrize("group", [1, 31, 32, 33, 256, 1000, 1024])
def test_sums_of_groups_of_all_sizes(group: int, sanitize: bool, os_threads: int) -> None:
    n = 5 * group + group // 2 + 1  # the last group is partial
    x = np.random.default_rng(group).integers(-9, 9, n).astype(F32)
    groups = -(-n // group)
    r = launch("group_sum", x, out=groups, threads=n, group=group, sanitize=sanitize, must_write=True)
    assert not r.reports
    expected = [x[i * group : (i + 1) * group].sum() for i in range(groups)]
    np.testing.assert_array_equal(output(r), expected)


@both
def test_lanes_exchange(sanitize: bool) -> None:
    x = np.arange(96, dtype=F32)
    for kernel, expected in (("simd_exchange", x.reshape(-1, 2)[:, ::-1].reshape(-1)), ("device_exchange", np.roll(x, -1))):
        r = launch(kernel, x, out=96, threads=96, group=96, sanitize=sanitize)
        assert not r.reports
        np.testing.assert_array_equal(output(r), expected)


@both
def test_lanes_that_left_and_simdgroups_of_their_own_pace(sanitize: bool) -> None:
    x = np.ones(128, F32)
    r = launch("leave_early", x, out=128, threads=128, group=128, sanitize=sanitize)
    assert not r.reports
    np.testing.assert_array_equal(output(r), np.where(np.arange(128) % 32 < 20, 20, 0))
    r = launch("unlike_simdgroups", np.arange(128, dtype=F32), out=128, threads=128, group=128, sanitize=sanitize)
    assert not r.reports
    np.testing.assert_allclose(output(r), np.arange(128).reshape(4, 32).mean(1).repeat(32), rtol=1e-6)


@both
def test_threads_of_a_group_may_wait_for_each_other(sanitize: bool) -> None:
    r = launch("wait_for_neighbour", np.zeros(1, U32), out_dtype=U32, out=1, initial=np.zeros(1, U32), sanitize=sanitize)
    assert not r.reports
    assert output(r, U32)[0] == 1


@both
def test_atomics_of_many_groups(sanitize: bool, os_threads: int) -> None:
    n = 64 * 500
    for _ in range(5):
        r = launch("count", np.zeros(1, U32), out_dtype=U32, out=4, threads=n, initial=np.zeros(4, U32), sanitize=sanitize)
        assert not r.reports
        assert list(output(r, U32)) == [n // 4] * 4


@pytest.mark.parametrize(("kernel", "dtype"), [("narrow", U16), ("narrow_bytes", U8)])
@pytest.mark.parametrize("group", [1, 3, 64])
def test_groups_write_neighbouring_bytes(kernel: str, dtype: type, group: int, os_threads: int) -> None:
    """Elements of several OS threads share words of the shadow."""
    n = 6000
    x = np.random.default_rng(0).integers(0, 250, n).astype(dtype)
    for _ in range(3):
        r = launch(kernel, x, out_dtype=dtype, out=n, threads=n, group=group, must_write=True)
        assert not r.reports
        np.testing.assert_array_equal(output(r, dtype), x)


@both
def test_empty_buffers(sanitize: bool) -> None:
    r = launch("nothing", np.zeros(0, F32), out=0, threads=3, group=1, sanitize=sanitize, must_write=True)
    assert not r.reports
    assert r.outputs[0].size == 0


@both
def test_an_empty_grid(sanitize: bool) -> None:
    r = launch("copy", 4, out=4, threads=(0, 1, 1), group=32, sanitize=sanitize)
    assert not r.reports
    assert list(output(r)) == [0] * 4


def test_the_same_buffers_one_after_the_other() -> None:
    """The shared memory grows, and nothing of an earlier launch is seen in a later one."""
    for n in (64, 4096, 64, 100_000, 128):
        r = launch("copy", np.arange(n, dtype=F32), out=n, threads=n, group=64, must_write=True)
        assert not r.reports
        np.testing.assert_array_equal(output(r), np.arange(n) + 1)


def test_offset_and_skew() -> None:
    x = np.arange(80, dtype=F32)
    which = np.zeros(1, U32)
    buffers = [Buffer("which", 4, 4, which), Buffer("in", 320, 4, x, offset=16 * 4, skew=4), Buffer("out", 256, 4, None, True, False, True)]
    r = run(runtime_library(), library(True), LaunchSpec(buffers, (64, 1, 1), (64, 1, 1), True, TIME_LIMIT))
    assert not r.reports
    np.testing.assert_array_equal(output(r), x[16:] + 1)


# ---- the process --------------------------------------------------------------------------------------------------------


def _copies(n: int = 64) -> None:
    r = launch("copy", n, out=n, threads=n, sanitize=False)
    np.testing.assert_array_equal(output(r), np.arange(n) + 1)


def test_launches_of_many_python_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(_copies, 64 + 32 * i) for i in range(40)]:
            future.result()


def test_a_worker_that_was_killed_is_replaced() -> None:
    _copies()
    worker = process._current
    assert worker is not None
    worker.process.kill()
    worker.process.wait()
    _copies()
    assert process._current is not worker


def test_a_worker_that_dies_during_a_launch_is_a_report() -> None:
    _copies()
    worker = process._current
    assert worker is not None
    threading.Timer(0.3, lambda: worker.process.send_signal(signal.SIGTERM)).start()
    r = launch("endless", 64, out_dtype=np.int32, sanitize=False)
    assert kinds(r) == ["crash"] and r.stopped
    _copies()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_a_worker_of_its_own() -> None:
    _copies()
    mine = process._current
    child = os.fork()
    if not child:
        code = 1
        try:
            _copies(96)
            code = 0 if process._current is not mine else 2
        finally:
            if process._current is not None:
                process._current.close()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _copies()
    assert process._current is mine


def test_a_fork_while_another_thread_launches() -> None:
    started = threading.Thread(target=launch, args=("endless", 64), kwargs={"out_dtype": np.int32, "sanitize": False, "time_limit": 1.0})
    started.start()
    while not process._lock.locked() and started.is_alive():
        pass
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)  # a lock that nobody frees would hold the child for ever
            _copies(96)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    started.join()


def test_an_interrupt_leaves_no_answer_for_the_next_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    _copies()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(process.select, "select", interrupted)
        with pytest.raises(KeyboardInterrupt):
            launch("group_sum", 64, out=1, sanitize=False)
    r = launch("copy", 96, out=96, threads=96, sanitize=False)
    assert not r.stopped
    np.testing.assert_array_equal(output(r), np.arange(96) + 1)
