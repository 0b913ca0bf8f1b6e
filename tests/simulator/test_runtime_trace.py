"""What a traced thread did, line by line."""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "runtime_kernels"))
from runtime_harness import KERNELS, launch, line_of


def value(x: float) -> str:
    return struct.pack("<f", x).hex()


def test_a_thread_in_order() -> None:
    at = {mark: f"@{KERNELS.name}:{line_of(mark)}" for mark in ("traced_in", "traced_sum", "traced_out")}
    result = launch("traced", 64, trace=(5, 0, 0))
    assert not result.reports
    rows = [re.sub(r"@\S*/", "@", row) for row in result.trace]
    assert rows == [
        f"read in 20 4 {value(5)} {at['traced_in']}",
        f"write shared 20 4 {value(5)} {at['traced_in']}",
        f"collective threadgroup_barrier {line_of('traced_barrier')}",
        f"read shared 20 4 {value(5)} {at['traced_sum']}",
        f"collective simd_sum {line_of('traced_sum')}",
        f"write out 20 4 {value(sum(range(32)))} {at['traced_out']}",
        "note done",
    ]


def test_a_plain_launch_traces_collectives() -> None:
    result = launch("traced", 64, sanitize=False, trace=(33, 0, 0))
    words = [row.split()[:2] for row in result.trace]
    assert words == [["collective", "threadgroup_barrier"], ["collective", "simd_sum"], ["note", "done"]]


def test_a_trace_is_bounded() -> None:
    result = launch("endless_access", 64, trace=(0, 0, 0), time_limit=0.3)
    assert result.stopped
    assert 1000 < len(result.trace) < 100_000


def test_a_trace_of_a_thread_that_is_not_there() -> None:
    result = launch("traced", 64, trace=(900, 0, 0))
    assert not [row for row in result.trace if not row.startswith("note")]
