"""Every test here runs on every target that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zmlx


@pytest.fixture(params=zmlx.targets(), autouse=True)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    with zmlx.use_target(request.param) as name:
        yield name
