"""The progress bar of the autotuner: on a terminal only, with rich, with tqdm, with neither."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from zmlx.runtime import tuning


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with tuning.progress("autotune some_kernel", 4) as tick:
        for _ in range(6):  # more than was announced
            tick(1)
    return stream.getvalue()


def without(*names: str) -> Any:
    real = tuning.import_module

    def find(name: str) -> Any:
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(name)
        return real(name)

    return find


@pytest.mark.parametrize("library", ["rich", "tqdm"])
def test_a_terminal_gets_a_bar(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library)
    monkeypatch.setattr(tuning, "import_module", without(*{"rich", "tqdm"} - {library}))
    text = said(monkeypatch, Terminal())
    assert "autotune some_kernel" in text and "100%" in text


def test_nothing_else_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, io.StringIO()) == ""
    monkeypatch.setattr(tuning, "import_module", without("rich", "tqdm"))
    assert said(monkeypatch, Terminal()) == ""
