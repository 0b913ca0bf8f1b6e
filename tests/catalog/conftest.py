"""Simulated kernels of the catalog are checked while they run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

from simulated import sanitised


@pytest.fixture(scope="session", autouse=True)
def _sanitised() -> Iterator[None]:
    with sanitised():
        yield
