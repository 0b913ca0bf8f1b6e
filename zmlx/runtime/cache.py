"""The on-disk cache: small files found by key, safe between processes and against a killed writer.

An entry is written under a temporary name and then renamed, so a reader sees all of it or none. Its first line is the
SHA-256 of the rest: what a crash, a full disk or a foreign hand left damaged is taken for absent and written again.
Libraries must be files that the loader can open, so they are named by their own content's hash, and an entry holds that
name. A folder that cannot be written costs one `CacheWarning`; the work goes on without it.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import warnings
from functools import lru_cache
from pathlib import Path

from zmlx import knobs
from zmlx.errors import CacheWarning

_STALE_SECONDS = 24 * 3600
_warned = False


def digest(*parts: str | bytes) -> str:
    """A key: the SHA-256 of the parts, unambiguous in where each ends."""
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


@lru_cache(maxsize=4)
def fingerprint(folder: str = "") -> str:
    """Identifies this build of zmlx (or of one folder of it): names, sizes and times of its files, so that a change of
    the compiler is seen."""
    root = Path(__file__).resolve().parent.parent / folder
    rows = []
    stack = [str(root)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for e in entries:
                if e.is_dir(follow_symlinks=False):
                    if e.name not in ("__pycache__", "catalog"):
                        stack.append(e.path)
                elif e.name.endswith((".py", ".h", ".cpp", ".metal")):
                    st = e.stat()
                    rows.append(f"{e.path[len(str(root)) :]}:{st.st_size}:{st.st_mtime_ns}")
    return digest(*sorted(rows))


def _warn(folder: Path, error: OSError) -> None:
    global _warned
    if not _warned:
        _warned = True
        reason = error.strerror or str(error)
        warnings.warn(
            f"the cache folder {folder} cannot be used ({reason}); kernels are compiled again in every process. "
            "Set ZMLX_CACHE_DIR to a folder that can be written, or ZMLX_CACHE=0 to say that none is wanted",
            CacheWarning,
            stacklevel=3,
        )


def _path(root: Path, kind: str, name: str) -> Path:
    return root / kind / name[:2] / name


def _write(path: Path, data: bytes) -> None:
    """Writes a whole file or nothing; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sweep(path.parent)


def _sweep(folder: Path) -> None:
    """Removes what killed writers left in a folder long ago."""
    limit = time.time() - _STALE_SECONDS
    for left in folder.glob(".tmp-*"):
        try:
            if left.stat().st_mtime < limit:
                left.unlink()
        except OSError:
            pass


def get(kind: str, key: str) -> bytes | None:
    """An entry's content, or None where there is none (or only a damaged one)."""
    root = knobs.cache_dir()
    if root is None:
        return None
    try:
        data = _path(root, kind, key).read_bytes()
    except OSError:
        return None
    head, _, payload = data.partition(b"\n")
    return payload if head == hashlib.sha256(payload).hexdigest().encode() else None


def put(kind: str, key: str, payload: bytes) -> None:
    """Stores an entry; a folder that refuses costs a warning, once."""
    root = knobs.cache_dir()
    if root is None:
        return
    try:
        _write(_path(root, kind, key), hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
    except OSError as e:
        _warn(root, e)


def library(kind: str, key: str, suffix: str) -> Path | None:
    """The file of a built library stored under a key, if it is there and undamaged."""
    root, entry = knobs.cache_dir(), get(kind, key)
    if root is None or entry is None:
        return None
    path = _path(root, kind, entry.decode("ascii", "replace") + suffix)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return path if hashlib.sha256(content).hexdigest().encode() == entry else None


def put_library(kind: str, key: str, suffix: str, content: bytes) -> Path:
    """Stores a built library under a key and returns the file to load; without a cache, a file of this process alone."""
    root = knobs.cache_dir()
    name = hashlib.sha256(content).hexdigest()
    if root is not None:
        path = _path(root, kind, name + suffix)
        try:
            _write(path, content)
            put(kind, key, name.encode())
            return path
        except OSError as e:
            _warn(root, e)
    path = scratch_folder() / (name + suffix)
    _write(path, content)  # by renaming: the same library may be loaded already, and its file must not change
    return path


@lru_cache(maxsize=1)
def scratch_folder() -> Path:
    """A folder of this process, removed when it ends: where the compiler works."""
    folder, owner = tempfile.mkdtemp(prefix="zmlx-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child, which shares the folder
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)
