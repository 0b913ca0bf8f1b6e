"""The cpu target's threads: how many there are, that idle ones use no time, that launches from several threads share them.

Each test is a process of its own: the pool lives as long as one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from zmlx.runtime import device

pytestmark = pytest.mark.skipif("cpu" not in device.targets(), reason="no C++ compiler")

PRELUDE = """
import os, threading, time
import mlx.core as mx, numpy as np
import zmlx, zmlx.language as tl
mx.set_default_device(mx.cpu)

@zmlx.jit
def uneven(out_ptr, scale, BLOCK: tl.constexpr):
    # Program i does work that grows with i.
    i = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for _ in range(tl.program_id(0) * scale):
        total = total * 0.5 + 1.0
    tl.store(out_ptr + tl.program_id(0) * BLOCK + i, total)

def launch(programs, scale=20):
    with zmlx.use_target("cpu"):
        out = uneven[(programs,)](zmlx.empty((programs, 64), mx.float32), scale, BLOCK=64)
    mx.eval(out)
    return np.array(out)

def check(out):
    n = np.arange(out.shape[0]) * 20
    assert np.allclose(out, 2 * (1 - 0.5 ** np.minimum(n, 60.0))[:, None]), out[:, 0]

def threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
"""


def run(body: str, **env: str) -> str:
    text = PRELUDE + textwrap.dedent(body)
    path = os.path.abspath(os.path.dirname(__file__))
    source = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"zmlx-pool-{os.getpid()}.py")
    with open(source, "w") as f:  # kernels are read from files
        f.write(text)
    try:
        done = subprocess.run([sys.executable, source], capture_output=True, text=True, env=os.environ | env, cwd=path, timeout=120)
    finally:
        os.remove(source)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_pool_has_the_threads_it_was_given(count: int) -> None:
    out = run(
        """
        mx.eval(mx.zeros(4) + 1)
        before = threads()
        for _ in range(3):
            check(launch(64))
        print(threads() - before)
        """,
        ZMLX_THREADS=str(count),
    )
    assert int(out) == (count - 1 if sys.platform == "linux" else 0)


def test_idle_threads_use_no_time() -> None:
    out = run(
        """
        check(launch(64))
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(1.0)
        print(time.process_time() - start)
        """,
        ZMLX_THREADS="4",
    )
    assert float(out) < 0.2  # four threads that spin would use as much as the cores have


def test_a_grid_of_uneven_programs_is_computed_once_each() -> None:
    run("for n in (1, 2, 3, 7, 64, 333): check(launch(n))", ZMLX_THREADS="3")


def test_launches_of_several_threads_share_the_pool() -> None:
    run(
        """
        failed = []
        def work(k):
            try:
                for i in range(10):
                    check(launch(1 + (7 * k + i) % 50))
            except BaseException as e:
                failed.append(e)
        workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        [w.start() for w in workers]
        [w.join() for w in workers]
        assert not failed, failed
        """,
        ZMLX_THREADS="3",
        ZMLX_NATIVE="0",
    )


def test_what_kernels_print_is_their_own() -> None:
    out = run(
        """
        @zmlx.jit
        def says(out_ptr, n):
            tl.device_print("at", tl.program_id(0) + n)
            tl.store(out_ptr + tl.program_id(0), n)

        def work(k):
            with zmlx.use_target("cpu"):
                mx.eval(says[(20,)](zmlx.empty((20,), mx.int32), 100 * k))
        workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        [w.start() for w in workers]
        [w.join() for w in workers]
        """,
        ZMLX_THREADS="3",
        ZMLX_NATIVE="0",
    )
    numbers = sorted(int(line.split()[-1]) for line in out.splitlines())
    assert numbers == sorted(100 * k + i for k in range(4) for i in range(20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    run(
        """
        check(launch(64))
        child = os.fork()
        if child == 0:
            try:
                check(launch(64))
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        check(launch(64))
        """,
        ZMLX_THREADS="3",
        ZMLX_NATIVE="0",
    )
