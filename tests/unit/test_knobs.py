"""Environment variables with a meaning beyond a string."""

from __future__ import annotations

import pytest

from zmlx import knobs
from zmlx.errors import ArgumentError


def test_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZMLX_DOT", raising=False)
    assert not knobs.plain_dot()
    monkeypatch.setenv("ZMLX_DOT", "plain")
    assert knobs.plain_dot()
    monkeypatch.setenv("ZMLX_DOT", "fast")
    with pytest.raises(ArgumentError, match="ZMLX_DOT='fast' is unknown: set it to auto, threads, tensor, simdgroup or plain"):
        knobs.plain_dot()
