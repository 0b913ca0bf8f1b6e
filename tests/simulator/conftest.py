"""The simulator's own tests say themselves what is checked."""

from __future__ import annotations

import pytest

from zmlx import knobs


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings with which other tests simulate Metal, for a whole session of theirs."""
    for knob in (knobs.SANITIZE, knobs.SIM_OPT):
        monkeypatch.delenv(knob.name, raising=False)
