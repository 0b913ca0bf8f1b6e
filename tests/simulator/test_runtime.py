"""Planted mistakes in MSL: every kind of report with its buffer, element, lines and threads; and what is no mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator
from zmlx.simulator.report import KINDS, Report

IDS = (
    "const uint i = thread_position_in_grid.x, t = thread_index_in_threadgroup, lane = thread_index_in_simdgroup; "
    "(void)i; (void)t; (void)lane;\n"
)


def run(
    source: str,
    n: int = 64,
    group: int | tuple[int, int, int] = 64,
    *,
    size: int = 64,
    dtype: mx.Dtype = mx.float32,
    x: mx.array | None = None,
    sanitize: bool = True,
    init_value: float | None = None,
    atomic: bool = False,
    time_limit: float = 20.0,
    extra: Sequence[mx.array] = (),
) -> tuple[np.ndarray, list[Report]]:
    """(the output, the reports) of one launch over `x` = 0, 1, 2 …"""
    names = ["x", *(f"x{k}" for k in range(len(extra)))]
    kernel = simulator.metal_kernel("planted", names, ["out"], IDS + source, atomic_outputs=atomic, time_limit=time_limit)
    with simulator.installed(sanitize=sanitize, on_report="collect") as session:
        (out,) = kernel(
            inputs=[mx.arange(64, dtype=mx.float32) if x is None else x, *extra], output_shapes=[(size,)], output_dtypes=[dtype],
            grid=(n, 1, 1), threadgroup=group if isinstance(group, tuple) else (group, 1, 1), init_value=init_value,
        )  # fmt: skip
    return np.array(out), session.reports


def number(source: str, mark: str) -> int:
    """The line that ends in `// mark`."""
    (found,) = (k for k, line in enumerate((IDS + source).splitlines(), 1) if line.endswith(f"// {mark}"))
    return found


# ---- reports ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """A mistake. The line of the report ends in `// here`, that of the other thread's access in `// there`."""

    kind: str
    source: str
    buffer: str = ""
    index: int | None = None  # the element; of threadgroup memory the byte
    thread: int | None = None  # the position in the threadgroup
    other: int | None = None
    launch: dict[str, Any] = field(default_factory=dict)


PLANTED = {
    "read past the end": Planted("out-of-bounds", "out[i] = x[i + 1];  // here", "x", 64, 63),
    "read before the start": Planted("out-of-bounds", "out[i] = x[int(i) - 2];  // here", "x", -2, 0),
    "write past the end": Planted("out-of-bounds", "out[i + (i == 60 ? 9 : 0)] = x[i];  // here", "out", 69, 60, launch={"init_value": 0}),
    "threadgroup read past the end": Planted(
        "out-of-bounds", "threadgroup float s[64];\ns[t] = x[i];\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = s[t + 1]; "
        " // here", "s", 256, 63
    ),
    "missing barrier": Planted("race", "threadgroup float s[64];\ns[t] = x[i];  // there\nout[i] = t < 32 ? 0 : s[t - 32];  // here", "s",
    0, 32, 0),
    "two writers": Planted("race",
    "threadgroup float s[4];\ns[0] = x[i];  // here\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = s[0];", "s", 0, 1, 0),
    "barrier without memory": Planted(
        "race", "threadgroup float s[64];\ns[t] = x[i];  // there\nthreadgroup_barrier(mem_flags::mem_none);\n"
        "out[i] = t < 32 ? 0 : s[t - 32];  // here", "s", 0, 32, 0
    ),
    "barrier of other memory": Planted(
        "race", "threadgroup float s[64];\ns[t] = x[i];  // there\nthreadgroup_barrier(mem_flags::mem_device);\n"
        "out[i] = t < 32 ? 0 : s[t - 32];  // here", "s", 0, 32, 0
    ),
    "simdgroup barrier between simdgroups": Planted(
        "race", "threadgroup float s[64];\ns[t] = x[i];  // there\nsimdgroup_barrier(mem_flags::mem_threadgroup);\n"
        "out[i] = t < 32 ? 0 : s[t - 32];  // here", "s", 124, 63, 31
    ),
    "several readers, then a writer": Planted(
        "race", "threadgroup float s[2];\nif (t == 0) s[0] = 1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nfloat v = s[0]; "
        " // there\n"
        "if (t == 31) s[0] = 2;  // here\nout[i] = v;", "s", 0, 31,
    ),
    "neighbour's output": Planted("device-race", "out[i] = x[i];\nout[i] += i ? out[i - 1] : 0.0f;  // here", "out", 0, 1, 0),
    "two threadgroups, one element": Planted("device-race", "out[i % 64] = x[i % 64];  // here", "out", 0, 0, 0, {"n": 128, "group": 64}),
    "plain beside atomic": Planted(
        "device-race", "if (i < 63) atomic_fetch_add_explicit(&out[0], 1.0f, memory_order_relaxed);\nelse ((device float*)out)[0] = 1; "
        " // here", "out", 0, 63, 62,
        launch={"atomic": True, "init_value": 0},
    ),
    "uninitialised threadgroup memory": Planted(
        "uninitialised-threadgroup",
        "threadgroup float s[64];\nif (t != 7) s[t] = 1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = s[t];  // here", "s",
        28, 7
    ),
    "output read": Planted("uninitialised-output", "out[i] += x[i];  // here", "out", 0, 0),
    "output not covered": Planted("unwritten-output", "if (i != 9 && i != 11) out[i] = x[i];", "out", 9),
    "barrier in a branch": Planted("divergent-barrier",
    "out[i] = x[i];\nif (t < 32) threadgroup_barrier(mem_flags::mem_threadgroup);  // here", "", None, 0),
    "simd_sum in a branch": Planted("divergent-simd",
    "float v = x[i];\nif (lane < 8) v = simd_sum(v);  // here\nelse v = simd_max(v);\nout[i] = v;", "", None, 0),
    "misaligned vector": Planted("misaligned", "*(device float2*)(out + 1) = float2(1);  // here", "out", 1, 0, launch={"n": 1,
    "init_value": 0}),
    "write to an input": Planted("write-to-const", "((device float*)x)[i] = 1;  // here\nout[i] = 1;", "x", 0, 0),
    "too much threadgroup memory": Planted("limit", "threadgroup float s[9000];  // here\ns[t] = 1;\nout[i] = 1;"),
    "division by zero": Planted("crash", "out[i] = 7 / int(x[i] - 5);  // here", "", None, 5),
    "private memory": Planted("crash",
    "volatile float big[100000];\nfor (int k = 0; k < 100000; ++k) big[k] = x[i];\nout[i] = big[int(x[i])];"),
    "far away": Planted("crash", "out[i] = *(device const float*)(ulong(x[i]) + 64);  // here", launch={"sanitize": False}),
    "endless loop": Planted("endless", "volatile int k = 0;\nwhile (k >= 0) k = int(x[i]);  // here\nout[i] = k;",
    launch={"time_limit": 1.0, "sanitize": False}),
    "wait for a lane that waits": Planted(
        "endless", "threadgroup atomic_int flag;\natomic_store_explicit(&flag, 0, memory_order_relaxed);\nif (lane != 0) {\n"
        "while (!atomic_load_explicit(&flag, memory_order_relaxed)) { }\n}\nout[i] = 1;", launch={"n": 2, "size": 2, "time_limit": 1.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_planted_mistake(what: str) -> None:
    p = PLANTED[what]
    _, reports = run(p.source, **p.launch)
    # clang writes a misaligned vector in two places of one line: that is one finding
    found = {(r.kind, r.buffer, r.offset, r.line and r.line.number): r for r in reversed(reports)}
    assert [key[0] for key in found] == [p.kind], "\n\n".join(map(str, reports))
    (r,) = found.values()
    assert r.kernel == "planted"
    if p.buffer:
        index = r.offset if r.space == "threadgroup" else r.index
        assert (r.buffer, index) == (p.buffer, p.index)
    if p.thread is not None:
        assert r.thread is not None
        assert (r.thread.position[0], r.thread.simdgroup, r.thread.lane) == (p.thread, p.thread // 32, p.thread % 32)
    if p.other is not None:
        assert r.other is not None and r.other.position[0] == p.other
    if "// here" in p.source:
        assert r.line is not None and (r.line.origin, r.line.number) == ("source", number(p.source, "here")), str(r)
    if "// there" in p.source:
        assert r.other_line is not None and r.other_line.number == number(p.source, "there"), str(r)
    assert KINDS[r.kind] in str(r)


def test_too_many_threads_and_buffers() -> None:
    _, reports = run("out[i] = x[i];", 2048, 2048, size=2048, x=mx.zeros(2048))
    assert [r.kind for r in reports] == ["limit"] and "2048 threads" in reports[0].message
    extra = [mx.zeros(1)] * 31
    _, reports = run("out[i] = x[i]" + "".join(f" + x{k}[0]" for k in range(31)) + ";", extra=extra)
    assert [r.kind for r in reports] == ["limit"] and "33 buffers" in reports[0].message


def test_an_unsupported_function_is_named_when_it_is_reached() -> None:
    _, reports = run("out[i] = __metal_simd_xor(x[i]);")
    assert [r.kind for r in reports] == ["unsupported"] and "simd_xor" in reports[0].message


def test_every_kind_is_planted() -> None:
    assert {p.kind for p in PLANTED.values()} | {"unsupported"} == set(KINDS)


@pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
def test_after_a_crash_the_next_launch_runs(sanitize: bool) -> None:
    _, reports = run("out[i] = 7 / int(x[i] - 5);", sanitize=sanitize)
    assert [r.kind for r in reports] == ["crash"] and "division" in reports[0].message
    out, reports = run("out[i] = 2 * x[i];", sanitize=sanitize)
    assert not reports and out.tolist() == [2.0 * k for k in range(64)]


# ---- what is right ----------------------------------------------------------------------------------------------------

SUM = """
    threadgroup float part[32];
    float v = simd_sum(x[i % 64]);
    if (lane == 0) part[simdgroup_index_in_threadgroup] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float total = 0;
    for (uint k = 0; k < (threads_per_threadgroup.x + 31) / 32; ++k) total += part[k];
    out[i] = total;
"""


@pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
@pytest.mark.parametrize(("n", "group"), [(5, 1), (100, 64), (1024, 1024), (33, 32), (1500, 1000), (1, 1)])
def test_threadgroups_of_all_sizes(n: int, group: int, sanitize: bool) -> None:
    """Groups of one thread, a partial last group, the largest."""
    out, reports = run(SUM, n, group, size=n, sanitize=sanitize)
    x = np.arange(n) % 64
    want = np.concatenate([np.full(min(group, n - k), x[k : k + group].sum()) for k in range(0, n, group)])
    assert not reports
    np.testing.assert_array_equal(out, want)


RIGHT = {
    "bytes of one word from two threadgroups": ("out[i] = char(i);", {"dtype": mx.int8, "n": 61, "group": 3, "size": 61},
    lambda i: np.int8(i)),
    "halves of one word from two threads": ("out[i] = half(x[i]);", {"dtype": mx.float16, "n": 63, "group": 7, "size": 63}, lambda i: i),
    "bytes in threadgroup memory": (
        "threadgroup char s[64];\ns[t] = char(t);\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = s[63 - t];", {},
        lambda i: 63 - i,
    ),
    "a simdgroup barrier within the simdgroup": (
        "threadgroup float s[64];\ns[t] = x[i];\nsimdgroup_barrier(mem_flags::mem_threadgroup);\nout[i] = s[t ^ 1];", {}, lambda i: i ^ 1,
    ),
    "a barrier of device memory": (
        "out[i] = x[i];\nthreadgroup_barrier(mem_flags::mem_device);\nfloat v = out[63 - i];\n"
        "threadgroup_barrier(mem_flags::mem_device);\nout[i] = v;", {},
        lambda i: 63 - i,
    ),
    "atomics of many threadgroups": (
        "for (int k = 0; k < 3; ++k) atomic_fetch_add_explicit(&out[k + i % 61], 1, memory_order_relaxed);",
        {"atomic": True, "dtype": mx.int32, "n": 61 * 64, "group": 32, "init_value": 0, "size": 63}, lambda i: 64 * (np.minimum(i,
        2) + 1 - np.maximum(i - 60, 0)),
    ),
    "threads that leave before a simdgroup operation": (
        "if (lane >= 20) { out[i] = 0; return; }\nout[i] = simd_max(x[i]);", {}, lambda i: np.where(i % 32 < 20, i // 32 * 32 + 19, 0),
    ),
    "many readers, a barrier, then a writer": (
        "threadgroup float s[1];\nif (t == 0) s[0] = 1;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\nfloat v = s[0];\n"
        "threadgroup_barrier(mem_flags::mem_threadgroup);\nif (t == 5) s[0] = 2;\nthreadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "out[i] = v + s[0];", {},
        lambda i: 3 + 0 * i,
    ),
    "a wait for another simdgroup": (
        "threadgroup atomic_uint flag;\nif (t == 0) atomic_store_explicit(&flag, 0, memory_order_relaxed);\n"
        "threadgroup_barrier(mem_flags::mem_threadgroup);\n"
        "if (t == 40) atomic_store_explicit(&flag, 7, memory_order_relaxed);\nuint v = 0;\n"
        "while (v == 0) v = atomic_load_explicit(&flag, memory_order_relaxed);\nout[i] = v;",
        {}, lambda i: 7 + 0 * i,
    ),
    "an unaligned packed vector": ("((device packed_float3*)out)[i] = packed_float3(i, i, i);", {"n": 21, "size": 63}, lambda i: i // 3),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_no_mistake(what: str) -> None:
    source, launch, want = RIGHT[what]
    out, reports = run(source, **launch)
    assert not reports, "\n\n".join(map(str, reports))
    np.testing.assert_array_equal(out, want(np.arange(out.size)))


@pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
def test_arrays_without_elements(sanitize: bool) -> None:
    out, reports = run("if (x_shape[0] > 0) out[i] = x[i];", size=0, x=mx.zeros((0,)), sanitize=sanitize)
    assert out.size == 0 and not reports
    out, reports = run("out[i] = 1;", 0)
    assert [r.kind for r in reports] == (["unwritten-output"])


def test_reading_an_array_without_elements_is_out_of_bounds() -> None:
    _, reports = run("out[i] = x[0];", x=mx.zeros((0,)))
    assert [(r.kind, r.buffer, r.index, r.count) for r in reports] == [("out-of-bounds", "x", 0, 64)]


@pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
def test_os_threads_do_not_change_results(sanitize: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outs = []
    for threads in ("1", "2"):
        monkeypatch.setenv("ZMLX_THREADS", threads)
        out, reports = run(SUM + "out[i] = exp(out[i] * 1e-3f) * x[i % 64];", 6400, 64, size=6400, sanitize=sanitize)
        assert not reports
        outs.append(out)
    np.testing.assert_array_equal(*outs)
    assert len(set(outs[0].tolist())) > 50


def test_two_processes_at_once() -> None:
    """Each builds and launches; they share the cache. (A fork's worker is tested in test_runtime_launch.py: MLX does not survive one.)"""
    program = f"""
import mlx.core as mx
from zmlx import simulator
k = simulator.metal_kernel("both", ["x"], ["out"], "uint i = thread_position_in_grid.x; out[i] = x[i] * {os.getpid()};", sanitize=True)
for n in range(64, 84):
    x = mx.arange(n, dtype=mx.float32)
    (out,) = k(inputs=[x], output_shapes=[(n,)], output_dtypes=[mx.float32], grid=(n, 1, 1), threadgroup=(32, 1, 1))
    assert out.tolist() == [{os.getpid()}.0 * v for v in range(n)]
print("right")
"""
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=120)[0] for p in both] == ["right\n"] * 2


def test_a_trace_shows_values_and_lines() -> None:
    kernel = simulator.metal_kernel("k", ["x"], ["out"], "uint i = thread_position_in_grid.x;\nfloat v = simd_sum(x[i]);\nout[i] = v;",
        sanitize=True)
    with simulator.trace((3, 0, 0), echo=False) as lines:
        kernel(inputs=[mx.arange(4.0)], output_shapes=[(4,)], output_dtypes=[mx.float32], grid=(4, 1, 1), threadgroup=(4, 1, 1))
    (read,) = (line for line in lines if "read x" in line)
    (collective,) = (line for line in lines if "simd_sum" in line and "read" not in line)
    (write,) = (line for line in lines if "write out" in line)
    assert np.float32(3).tobytes().hex() in read and "source:2" in read
    assert "source:2" in collective
    assert np.float32(6).tobytes().hex() in write and "source:3" in write
