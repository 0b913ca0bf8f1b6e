"""What the tests of MLX's own kernels share: their harness on the path, and each test plain and sanitised."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(params=[False, True], ids=["plain", "sanitised"])
def sanitize(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
