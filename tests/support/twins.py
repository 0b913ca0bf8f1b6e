"""Every catalog entry's launches under Triton's interpreter (TRITON_INTERPRET=1) beside zmlx's own; prints how many agreed.

The interpreter has no bfloat16: it computes with the bits as integers. It also gives loops Python's integers, which have no
`.to`: what it refuses is named.
"""

from __future__ import annotations

import sys

import mlx.core as mx
from triton.runtime.errors import InterpreterError

from zmlx.bench import checking
from zmlx.bench.twin_launch import TwinCall, recorded
from zmlx.catalog import entries

count = 0
for entry in entries():
    for dtype in (mx.float32, mx.float16):
        for case in entry.cases:
            with recorded() as launches:
                entry.call(*case.build(dtype), **case.kwargs)
            if not launches:
                continue
            try:
                made = TwinCall(launches, "cpu")()
            except InterpreterError as e:
                print(f"Triton's interpreter refuses {entry.name} {case.name}: {e}", file=sys.stderr)
                continue
            got = [arguments[n] for launch, arguments in zip(launches, made, strict=True) for n in launch.written]
            expected = [v for launch in launches for v in launch.written.values()]
            atol, rtol = entry.bounds(dtype)
            error, good = checking.compare(got, expected, (2 * atol, 2 * rtol))
            assert good, f"{entry.name} {case.name} {dtype}: off by {error}"
            count += len(got)
print(count, "outputs agree")
