"""The same source gives the same text in every process: caches are keyed by it, and diffs are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPLAY = Path(__file__).with_name("replay.py")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """All generated text, from two fresh processes that share neither hash seed nor cache."""
    found = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "ZMLX_CACHE_DIR": str(tmp_path_factory.mktemp(f"cache{seed}"))}
        done = subprocess.run([sys.executable, str(REPLAY)], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.split("==== "))
    return found


@pytest.mark.xdist_group("replay")
def test_text_does_not_depend_on_the_hash_seed(outputs: list[list[str]]) -> None:
    first, second = outputs
    assert len(first) > 100
    for one, other in zip(first, second, strict=True):
        assert one == other


@pytest.mark.xdist_group("replay")
def test_text_names_no_path_of_this_machine(outputs: list[list[str]]) -> None:
    here = str(REPLAY.parents[2])
    for text in outputs[0]:
        assert here not in text, text.splitlines()[0]
