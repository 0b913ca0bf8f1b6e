"""What the translation refuses: by name and line, so that nothing runs in a way that Metal would not."""

from __future__ import annotations

from zmlx.errors import ZmlxError


class UnsupportedFeature(ZmlxError):
    """Something of MSL that the simulator does not run."""

    def __init__(self, name: str, line: int, remedy: str = "") -> None:
        self.name, self.line, self.remedy = name, line, remedy
        super().__init__(f"line {line}: the simulator does not run {name}" + (f"; instead: {remedy}" if remedy else ""))
