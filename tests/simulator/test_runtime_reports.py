"""Each kind of report: planted in a kernel against the runtime's interface, and found with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "runtime_kernels"))
from runtime_harness import F32, I32, U8, U32, Buffer, kinds, launch, line_of, lines, only, other_lines, output

from zmlx.simulator.report import KINDS, Line, Report, Thread

TWO_GROUPS = {"into": 128, "threads": 128, "out": 128, "initial": np.zeros(128, F32)}
ZEROS = {"into": np.zeros(1, U32), "out_dtype": U32, "initial": np.zeros(64, U32)}


@pytest.mark.parametrize(
    ("kernel", "buffer", "index", "access", "thread", "options"),
    [
        ("read_past_end", "in", 64, "read", 63, {}),
        ("read_before_start", "in", -2, "read", 0, {}),
        ("write_past_end", "out", 64, "write", 61, {"initial": np.zeros(64, F32)}),
        ("half_outside", "in", 126, "read", 63, {"into": 127, "out": 128}),
        ("atomic_past_end", "out", 64, "atomic access", 63, ZEROS),
    ],
)
def test_outside_of_a_buffer(kernel: str, buffer: str, index: int, access: str, thread: int, options: dict) -> None:
    found = [r for r in launch(kernel, **options).reports if r.kind == "out-of-bounds"]
    assert len(found) == 1
    r = found[0]
    assert (r.buffer, r.offset // 4, r.access, r.space, r.thread.position[0]) == (buffer, index, access, "device", thread)
    assert lines(r) == {line_of(kernel)}


def test_an_index_that_wrapped_names_its_own_buffer() -> None:
    r = only(launch("wrapped_index"), "out-of-bounds")
    assert (r.buffer, r.offset // 4, r.count) == ("in", 2**32 - 3, 3)
    assert "below zero" in r.message


def test_outside_of_threadgroup_memory() -> None:
    r = only(launch("shared_past_end"), "out-of-bounds")
    assert (r.buffer, r.space, r.offset, r.length, r.thread.position[0]) == ("shared", "threadgroup", 256, 256, 63)
    assert lines(r) == {line_of("shared_past_end")}


@pytest.mark.parametrize(
    ("kernel", "kind", "lines_named", "options"),
    [
        ("shared_write_write", "race", ["shared_write_write"], {}),
        ("shared_write_read", "race", ["shared_write", "shared_read"], {}),
        ("weak_barrier", "race", ["weak_barrier"], {}),
        ("barrier_of_device", "race", ["barrier_of_device"], {}),
        ("barrier_of_none", "race", ["barrier_of_none"], {}),
        ("collective_is_no_barrier", "race", ["collective_is_no_barrier"], {}),
        ("bytes_race", "race", ["bytes_race"], {"out_dtype": U8}),
        ("device_same_group", "device-race", ["device_same_group"], {}),
        ("device_same_value", "device-race", ["device_same_value"], {"threads": 128}),
        ("device_across_groups", "device-race", ["device_across_groups"], TWO_GROUPS),
        ("atomic_and_not", "device-race", [], ZEROS),
        ("read_of_atomic", "device-race", ["read_of_atomic"], ZEROS),
    ],
)  # fmt: skip
def test_races(kernel: str, kind: str, lines_named: list[str], options: dict) -> None:
    result = launch(kernel, **options)
    assert kinds(result) == [kind]
    named = {n for r in result.reports for n in lines(r) | other_lines(r)}
    assert named.issuperset(map(line_of, lines_named))
    assert all(r.other != r.thread for r in result.reports)
    assert result.reports[0].other is not None


def test_a_race_after_several_readers() -> None:
    """63 threads have read, each unordered with the one that writes: which is the last reader itself."""
    reports = launch("shared_read_write").reports
    first = reports[0]
    assert (first.kind, first.access, first.thread.position[0]) == ("race", "write", 63)
    assert first.other is not None and first.other.position[0] < 63
    assert lines(first) == {line_of("shared_read_write")}


def test_threadgroup_memory_that_nobody_wrote() -> None:
    for _ in range(2):  # nothing is known any more of what an earlier launch wrote
        r = only(launch("shared_not_written"), "uninitialised-threadgroup")
        assert (r.buffer, r.offset, r.thread.position[0], r.count) == ("shared", 36, 54, 1)
        assert lines(r) == {line_of("shared_not_written")}
    r = only(launch("left_over", threads=128, out=128), "uninitialised-threadgroup")
    assert r.thread.group[0] == 1 and r.count == 64
    r = only(launch("part_of_word"), "uninitialised-threadgroup")
    assert r.count == 64


def test_outputs() -> None:
    r = only(launch("output_read"), "uninitialised-output")
    assert (r.buffer, r.count) == ("out", 64) and lines(r) == {line_of("output_read")}
    assert not launch("output_read", initial=np.zeros(64, F32)).reports
    result = launch("output_not_written", must_write=True)
    r = only(result, "unwritten-output")
    assert (r.buffer, r.offset) == ("out", 20) and "8 of 64" in r.message
    expected = np.where(np.arange(64) % 8 == 5, 0, np.arange(64))
    np.testing.assert_array_equal(output(result), expected)
    assert not launch("output_not_written", initial=np.zeros(64, F32)).reports


def test_divergent_barriers() -> None:
    r = only(launch("divergent_barrier"), "divergent-barrier")
    assert r.line == line_of("divergent_barrier") and "32 of 64" in r.message
    assert r.thread.position[0] < 32 <= r.other.position[0]
    result = launch("other_barrier")
    assert kinds(result) == ["divergent-barrier"]
    assert (result.reports[0].line, result.reports[0].other_line) == (line_of("one_barrier"), line_of("other_barrier"))
    np.testing.assert_array_equal(output(result), np.ones(64))


def test_divergent_simd_operations() -> None:
    result = launch("divergent_simd")
    r = only(result, "divergent-simd")
    assert r.line == line_of("divergent_simd") and r.count == 2 and "16 of the simdgroup's 32" in r.message
    np.testing.assert_array_equal(output(result), np.where(np.arange(64) % 2, 16, 1))
    assert only(launch("divergent_simd_barrier"), "divergent-simd").line == line_of("divergent_simd_barrier")


def test_misaligned_vectors() -> None:
    reports = launch("misaligned", 512, out=256).reports
    r = reports[0]
    assert (r.kind, r.buffer, r.offset, r.bytes) == ("misaligned", "in", 4, 16)
    assert lines(r) == {line_of("misaligned")}
    assert [x.kind for x in reports[1:]] in ([], ["crash"])  # some machines stop at such a vector


def test_inputs_are_constant() -> None:
    r = only(launch("write_input"), "write-to-const")
    assert (r.buffer, r.access, r.count) == ("in", "write", 64) and lines(r) == {line_of("write_input")}


def test_limits() -> None:
    r = only(launch("much_shared_memory"), "limit")
    assert r.line == line_of("much_shared_memory") and "32772" in r.message
    assert only(launch("shared_beyond_all"), "limit")
    assert "1025 threads" in only(launch("copy", 2048, out=2048, threads=2048, group=1025), "limit").message
    more = [Buffer(f"b{i}", 4, 4, np.zeros(1, F32)) for i in range(29)]
    assert "32 buffers" in only(launch("copy", extra=more), "limit").message
    assert not launch("copy", extra=more[1:]).reports


def test_features_that_are_missing() -> None:
    r = only(launch("unsupported"), "unsupported")
    assert r.message == "textures"


def test_one_report_a_place_and_a_limit_to_all() -> None:
    result = launch("many_places", out=256, initial=np.zeros(256, F32))
    assert len(result.reports) == 128 and result.lost > 0
    assert all(r.count == 63 for r in result.reports)


def test_plain_launches_are_not_checked() -> None:
    for kernel in ("read_past_end", "shared_write_read", "shared_not_written", "output_read", "write_input"):
        assert not launch(kernel, sanitize=False).reports


def test_the_same_text_in_every_run() -> None:
    first = launch("weak_barrier").reports
    assert all(launch("weak_barrier").reports == first for _ in range(5))


def test_words() -> None:
    one = Thread((2, 0, 0), (5, 0, 0), 0, 5)
    two = Thread((2, 0, 0), (40, 1, 0), 1, 8)
    report = Report(
        "race", "a write and a read by another thread", "k", "shared", "threadgroup", "write", 4, 12, 256, 4, one, two,
        Line("source", 7, "shared[i] = x;"), Line("header", 3, "float y = shared[0];"), count=9,
    )  # fmt: skip
    text = str(report)
    for part in ("race:", "threadgroup shared[3]", "source:7: shared[i] = x;", "header:3:", "thread 5 of threadgroup 2",
                 "thread (40, 1, 0)", "9 times", KINDS["race"]):  # fmt: skip
        assert part in text
    assert I32 is np.int32
