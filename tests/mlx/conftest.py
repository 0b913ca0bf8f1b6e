"""Every test here runs on every target that this machine has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

from simulated import sanitised

import zmlx


@pytest.fixture(params=zmlx.targets(), autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with zmlx.use_target(request.param) as name, sanitised():
        yield name
