"""What all tests share: a cache folder of their own, and goldens that refresh on demand."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the goldens instead of comparing with them")


def pytest_configure(config: pytest.Config) -> None:
    # Set before xdist starts its workers, which inherit it: kernels are built once a run, and never found in a user's cache.
    if "ZMLX_CACHE_DIR" not in os.environ:
        folder = os.environ["ZMLX_CACHE_DIR"] = tempfile.mkdtemp(prefix="zmlx-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden(name, text): the text equals tests/golden/<name>, or becomes it under --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        assert path.exists(), f"no golden {name}: look at the text, then run pytest --update-golden"
        assert text == path.read_text(), f"{name} changed: if it is meant, run pytest --update-golden and read the diff"

    return check
