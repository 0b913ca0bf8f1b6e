"""MLX's Metal kernel headers, as the installed wheel ships them, flattened into one text.

On a Mac, MLX puts its `utils.h`, with everything that it includes, before a custom kernel; `mlx_preamble` is that text.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from zmlx.errors import ToolchainError

KERNELS = "mlx/backend/metal/kernels"
PREPENDED = "utils.h"
_INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*"([^"]+)"')
_ONCE = re.compile(r"[ \t]*#[ \t]*pragma[ \t]+once\b")
_LICENSE = re.compile(r"(?:[ \t]*//[^\n]*(?:Copyright|License)[^\n]*\n|\s*/\*(?:(?!\*/).)*Copyright.*?\*/)\s*", re.DOTALL)


class HeadersMissingError(ToolchainError):
    """MLX's Metal kernel headers are not where they were looked for."""


def headers_root(folder: str | Path | None = None) -> Path:
    """The folder that MLX's includes are relative to: in the installed wheel, or under `folder`.

    `folder` may be what `download_headers` filled, an unpacked wheel, or its `include` folder.
    """
    if folder is not None:
        for root in (Path(folder), Path(folder) / "include", Path(folder) / "mlx" / "include"):
            if (root / KERNELS / PREPENDED).is_file():
                return root
        raise HeadersMissingError(f"{folder} holds no MLX headers: {KERNELS}/{PREPENDED} is not in it, nor in mlx/include below it")
    spec = importlib.util.find_spec("mlx")  # finds, does not import
    if spec is None:
        raise HeadersMissingError("MLX's Metal headers come with MLX, which is not installed; pip install mlx")
    for place in spec.submodule_search_locations or ():
        if (Path(place) / "include" / KERNELS / PREPENDED).is_file():
            return Path(place) / "include"
    raise HeadersMissingError(
        f"the installed MLX has no {KERNELS}/{PREPENDED} in its include folder; pip install mlx (the wheels hold it; "
        "a build from source may not), or fetch a wheel's headers with zmlx.msl.download_headers(version, folder)"
    )


@lru_cache(maxsize=8)
def mlx_preamble(folder: str | Path | None = None) -> str:
    """What MLX puts before a custom kernel: utils.h and all that it includes, without license comments."""
    return _preamble(headers_root(folder))[0]


def preamble_headers(folder: str | Path | None = None) -> frozenset[str]:
    """The names, relative to the kernels' folder, of the headers that the preamble holds."""
    return _preamble(headers_root(folder))[1]


@lru_cache(maxsize=8)
def _preamble(root: Path) -> tuple[str, frozenset[str]]:
    held: set[str] = set()
    text = flatten(root, PREPENDED, held)
    return text, frozenset(held)


def flatten(root: Path, name: str, held: set[str]) -> str:
    """A kernel header with its includes in their places, each once; `held` are those already there, and is added to."""
    if name in held:
        return ""
    held.add(name)
    path = root / KERNELS / name
    lines = []
    for line in _LICENSE.sub("", path.read_text(encoding="utf-8"), count=1).splitlines():
        if include := _INCLUDE.match(line):
            inner = flatten(root, _included(root, path, include.group(1)), held)
            if inner:
                lines.append(inner.rstrip("\n"))
        elif not _ONCE.match(line):
            lines.append(line)
    return "\n".join(lines).strip("\n") + "\n"


def _included(root: Path, path: Path, spelled: str) -> str:
    """An include's name relative to the kernels' folder."""
    for candidate in (root / spelled, path.parent / spelled):
        if candidate.is_file():
            return candidate.resolve().relative_to((root / KERNELS).resolve()).as_posix()
    raise HeadersMissingError(f"{path} includes {spelled}, which is not under {root}")
