"""Prints all text that zmlx generates for all catalog kernels: run it before and after a refactor, and compare.

    python tests/replay/replay.py > before.txt

For each entry, a small case and the largest, in float32 and bfloat16: the typed IR, and for each target its SIMT IR and text.
"""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx

from zmlx.catalog import entries
from zmlx.cli.recording import launch_of

TARGETS = ("metal", "cuda", "cpu")


def texts() -> Iterator[tuple[str, str]]:
    """(title, text) of everything, in a fixed order."""
    for entry in entries():
        launched = [c for c in entry.cases if all(a.size for a in c.build(mx.float32) if isinstance(a, mx.array))]
        for case in (launched[1], launched[-1]):
            for dtype in (mx.float32, mx.bfloat16):
                args = case.build(dtype)
                kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))  # noqa: B023
                for target in TARGETS:
                    compiled = kernel.compile(*call.arguments, target=target, **call.keywords)
                    title = f"{entry.name} {case.name} {str(dtype).removeprefix('mlx.core.')} {target}"
                    if target == TARGETS[0]:
                        yield f"{title} tile", compiled.tile_ir
                    yield f"{title} simt", compiled.simt_ir
                    yield f"{title} text", compiled.source


if __name__ == "__main__":
    for title, text in texts():
        print(f"==== {title}\n{text}")
