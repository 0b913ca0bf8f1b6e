"""Finds a kernel in a file, and the arguments of its first launch there, without carrying that launch out."""

from __future__ import annotations

import contextlib
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from zmlx.catalog import Entry
from zmlx.errors import ArgumentError, UndefinedNameError
from zmlx.frontend.source import JitCallable
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.wrapper import Wrapper

Kernel = JitFunction | Wrapper  # a wrapper compiles what its decorators choose


@dataclass(frozen=True)
class Call:
    """The arguments of a launch, as they were written, and its grid where one is known."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    grid: Any = None


class _Found(BaseException):
    """Leaves the user's script at the launch that was looked for; no `except Exception` of theirs stops it."""

    def __init__(self, kernel: Kernel, call: Call) -> None:
        self.kernel, self.call = kernel, call


@contextlib.contextmanager
def intercepted(name: str | None = None) -> Iterator[None]:
    """Within it, launching the kernel of that name (any, without a name) raises _Found; other kernels launch as ever."""
    kinds: tuple[Any, ...] = (JitFunction, Wrapper)
    originals = [kind.__getitem__ for kind in kinds]

    def launcher(self: Kernel, grid: Any) -> Any:
        if name is not None and self.__name__ != name:
            return originals[isinstance(self, Wrapper)](self, grid)

        def found(*arguments: Any, **keywords: Any) -> None:
            raise _Found(self, Call(arguments, keywords, grid))

        return found

    for kind in kinds:
        kind.__getitem__ = launcher
    try:
        yield
    finally:
        for kind, original in zip(kinds, originals, strict=True):
            kind.__getitem__ = original


def launch_of(call: Callable[[], Any]) -> tuple[Kernel, Call]:
    """The first launch that a call makes, which is not carried out."""
    with intercepted():
        try:
            call()
        except _Found as found:
            return found.kernel, found.call
    raise ArgumentError("the call launches no kernel")


def execute(file: Path, run_name: str) -> dict[str, Any]:
    """Runs a file with its folder on the path, as Python does for a script."""
    sys.path.insert(0, str(file.resolve().parent))
    try:
        return runpy.run_path(str(file), run_name=run_name)
    finally:
        sys.path.pop(0)


def kernel(file: Path, name: str) -> Kernel:
    """The kernel of that name in a file, which is imported but not run as a script."""
    return _pick(execute(file, "zmlx_show"), file, name)


def first_launch(file: Path, name: str) -> tuple[Kernel, Call]:
    """The kernel and the arguments of its first launch: in the file run as a script, or in its catalog entry's cases."""
    with intercepted(name):
        try:
            names = execute(file, "__main__")
            entry = names.get("ENTRY")
            if isinstance(entry, Entry):
                for case in entry.cases:
                    entry.call(*case.build(mx.float32), **case.kwargs)
        except _Found as found:
            return found.kernel, found.call
    _pick(names, file, name)
    raise ArgumentError(
        f"{file} never launches {name}, so its arguments are unknown; give them: --arg x_ptr=f32[1024] --arg n=1024 --arg BLOCK=256"
    )


def _pick(names: dict[str, Any], file: Path, name: str) -> Kernel:
    found = names.get(name)
    if isinstance(found, (JitFunction, Wrapper)):
        return found
    kernels = [n for n, v in names.items() if isinstance(v, (JitCallable, Wrapper))]
    if name in names:
        raise ArgumentError(f"{name} in {file} is no kernel; decorate it with @zmlx.jit")
    raise UndefinedNameError(f"{file} holds no kernel {name}", f"name one of {', '.join(kernels) or 'its kernels, once it has some'}")
