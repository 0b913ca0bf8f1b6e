"""Copies of mlx-lm's modules whose Metal kernels the simulator runs, beside the real ones, which stay as they are."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from zmlx import simulator


def simulated(name: str, *edits: tuple[str, str]) -> ModuleType:
    """mlx_lm's module `name`, executed anew where Metal seems to be there: it makes its kernels as on a Mac.

    `edits` replace text of the module first.
    """
    whole = f"mlx_lm.{name}"
    found = importlib.util.find_spec(whole)
    assert found is not None and found.origin is not None
    spec = importlib.util.spec_from_file_location(f"{whole}__simulated", found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    text = Path(found.origin).read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    with simulator.installed(pretend=True):
        exec(compile(text, found.origin, "exec"), module.__dict__)
    return module
