"""The best clock that this machine has."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from zmlx.bench.clocks.cupti import CuptiClock
from zmlx.bench.clocks.events import EventClock
from zmlx.bench.timing import on_gpu
from zmlx.errors import TargetUnavailableError
from zmlx.runtime import device


@functools.lru_cache(maxsize=1)
def choose() -> Any:
    """A device clock on CUDA; None, the wall clock, elsewhere. Says which it is, and why CUPTI was not to be had."""
    if not on_gpu() or device.current_target() != "cuda":
        _say("clock: the host's, around batches of calls")
        return None
    # Full precision for MLX's and the references' float32 products, as for zmlx's: TF32 would be another computation.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    try:
        clock = CuptiClock()
    except TargetUnavailableError as e:
        _say(f"clock: CUDA events, since CUPTI is not to be had ({e}); MLX's own kernels have no device time by it")
        return EventClock()
    _say(f"clock: CUPTI ({clock.recorder.path})")
    return clock


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
