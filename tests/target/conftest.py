"""The targets that these tests run on: all that this machine has, or the one that ZMLX_TARGET names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "support"))

import execute
from simulated import sanitised

from zmlx.runtime import device

COMPILED = ("cpu", "cuda", "metal", "metal-sim")


def _why_not(name: str) -> str:
    wanted = os.environ.get("ZMLX_TARGET")
    return f"ZMLX_TARGET={wanted}" if wanted in COMPILED and name != wanted else device.missing(name)


RUN = [name for name in COMPILED if not _why_not(name)]


@pytest.fixture(scope="session", params=RUN)
def target(request: pytest.FixtureRequest) -> str:
    """A target with a compiler of its own, compared with the interpreter."""
    return str(request.param)


@pytest.fixture(params=COMPILED)
def each_target(request: pytest.FixtureRequest) -> str:
    """Every target; the test is skipped, with the reason, where it cannot run."""
    why = _why_not(request.param)
    if why:
        pytest.skip(f"no {request.param}: {why}")
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def _sanitised() -> Iterator[None]:
    """What runs in the simulator is checked."""
    with sanitised():
        yield


@pytest.fixture(scope="session", autouse=True)
def _cuda_compiles() -> Iterator[None]:
    """With ZMLX_TEST_NVCC=1, all CUDA text that these tests printed goes through nvcc at the end."""
    yield
    execute.check_with_nvcc()
