"""How the tests run the target metal-sim: checked, and compiled for little time rather than for speed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from zmlx import knobs

SETTINGS = {knobs.SANITIZE.name: "1", knobs.SIM_OPT.name: "-O1"}


@contextmanager
def sanitised() -> Iterator[None]:
    """Simulated kernels are checked; a launch with something to report raises."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
