"""The same source gives the same text in every process: caches are keyed by it, and diffs are read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPLAY = Path(__file__).with_name("replay.py")


def replay(seed: str, folder: Path) -> str:
    """All generated text, in a fresh process that has neither our hash seed nor our cache."""
    env = os.environ | {"PYTHONHASHSEED": seed, "ZMLX_CACHE_DIR": str(folder / seed)}
    done = subprocess.run([sys.executable, str(REPLAY)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_text_does_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    first, second = replay("1", tmp_path), replay("2", tmp_path)
    assert first.count("==== ") > 100
    for one, other in zip(first.split("==== "), second.split("==== "), strict=True):
        assert one == other


@pytest.mark.parametrize("word", ["metal", "cuda", "cpu"])
def test_text_names_no_path_of_this_machine(word: str, tmp_path: Path) -> None:
    from replay import texts  # type: ignore[import-not-found]

    here = str(REPLAY.parents[2])
    for title, text in texts():
        if f" {word} " in title and title.endswith("text"):
            assert here not in text, title
