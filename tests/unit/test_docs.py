"""The docs are true: their Python runs, what they quote is what the code prints, their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def names(documents: list[Path]) -> list[str]:
    return [d.relative_to(ROOT).as_posix() for d in documents]


WITH_CODE = [d for d in DOCUMENTS if BLOCK.search(d.read_text())]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What readers have: none of the settings with which other tests simulate Metal, for a whole session of theirs."""
    for name in ("ZMLX_SANITIZE", "ZMLX_SIM_OPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("document", WITH_CODE, ids=names(WITH_CODE))
def test_python_blocks_run(document: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"__name__": "document"}
    for number, source in enumerate(BLOCK.findall(document.read_text())):
        file = tmp_path / f"block_{number}.py"  # a kernel's source must be in a file
        file.write_text(source)
        exec(compile(source, str(file), "exec"), scope)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_generated_blocks_are_fresh(document: Path) -> None:
    text = document.read_text()
    assert generator().refreshed(text) == text, "stale: run python docs/generate.py"


@pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))
def test_links_lead_somewhere(document: Path) -> None:
    prose = FENCED.sub("", document.read_text())
    dead = [target for target in LINK.findall(prose) if not (document.parent / target).exists()]
    assert not dead


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/setup", ".ci/run"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_the_readmes_commands_are_its_scripts() -> None:
    text = (ROOT / "README.md").read_text()
    assert "$ scripts/demo" in text and "$ scripts/test" in text
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text(), "CI runs what the README says"


def test_the_readme_says_what_was_never_run() -> None:
    text = (ROOT / "README.md").read_text()
    assert "Metal's speed is unmeasured" in text and "never run on a Mac yet" in text
    assert "NEVER RUN YET" in (ROOT / ".github" / "workflows" / "metal.yml").read_text()
