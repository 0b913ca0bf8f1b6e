"""Launches of the kernels in kernels.cpp, without MSL and MLX between."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from zmlx.runtime import cache
from zmlx.runtime.toolchain import find_cxx
from zmlx.simulator.build import RUNTIME, runtime_library
from zmlx.simulator.process import Buffer, LaunchSpec, RawReport, Result, run

KERNELS = Path(__file__).with_name("kernels.cpp")
TEXT = KERNELS.read_text()
NAMES = re.findall(r"any\((\w+)\)[,}]", TEXT.replace("\n", ""))
F32, U32, I32, U16, U8 = np.float32, np.uint32, np.int32, np.uint16, np.uint8
ENTRY = TEXT[: TEXT.index('extern "C"')].count("\n") + 1  # the entry calls the kernels: it is no place of a mistake
TIME_LIMIT = 20.0  # an accident would stop a test here


@lru_cache(maxsize=2)
def library(sanitize: bool) -> Path:
    """kernels.cpp as a library, from the tests' cache where another process built it."""
    cxx = find_cxx()
    flags = ["-std=c++20", "-O1", "-g1", "-fPIC", "-w", "-fno-strict-aliasing", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    flags += ["-fsanitize=thread"] * sanitize
    if sanitize and cxx.kind == "clang":  # which leaves out reads that a write to the same place follows
        flags += ["-mllvm", "-tsan-instrument-read-before-write=1"]
    key = cache.digest("runtime-test-kernels", cxx.identity, TEXT, (RUNTIME / "runtime.h").read_text(), *flags)
    found = cache.library("simulator", key, ".so")
    if found is not None:
        return found
    folder = Path(mkdtemp(dir=cache.scratch_folder()))
    made, out = folder / "kernels.o", folder / "kernels.so"
    subprocess.run([cxx.path, *flags, "-I", str(RUNTIME), "-c", str(KERNELS), "-o", str(made)], check=True)
    subprocess.run([cxx.path, "-shared", str(made), "-o", str(out)], check=True)
    return cache.put_library("simulator", key, ".so", out.read_bytes())


def line_of(mark: str) -> int:
    """The line of kernels.cpp with the comment `// @mark`."""
    found = [n for n, text in enumerate(TEXT.splitlines(), 1) if re.search(rf"// @{mark}\b", text)]
    assert len(found) == 1, mark
    return found[0]


def spec(
    kernel: str,
    into: np.ndarray | int,
    out_dtype: type = F32,
    out: int = 64,
    threads: int | tuple[int, int, int] = 64,
    group: int | tuple[int, int, int] = 64,
    sanitize: bool = True,
    initial: np.ndarray | None = None,
    must_write: bool = False,
    time_limit: float = TIME_LIMIT,
    trace: tuple[int, int, int] | None = None,
    extra: Sequence[Buffer] = (),
) -> LaunchSpec:
    """A launch with buffers `which` (the kernel's number), `in` and `out`. `initial`: what `out` holds before."""
    content = np.arange(into, dtype=F32) if isinstance(into, int) else into
    which = np.array([NAMES.index(kernel)], U32)
    size = np.dtype(out_dtype).itemsize
    return LaunchSpec(
        [
            Buffer("which", 4, 4, which),
            Buffer("in", content.nbytes, content.itemsize, content),
            Buffer("out", out * size, size, initial, writable=True, initialised=initial is not None, must_write=must_write),
            *extra,
        ],
        threads if isinstance(threads, tuple) else (threads, 1, 1),
        group if isinstance(group, tuple) else (group, 1, 1),
        sanitize,
        time_limit,
        trace,
    )


def launch(kernel: str, into: np.ndarray | int = 64, **options: object) -> Result:
    made = spec(kernel, into, **options)  # type: ignore[arg-type]
    return run(runtime_library(), library(made.sanitize), made)


def output(result: Result, dtype: type = F32) -> np.ndarray:
    return result.outputs[0].view(dtype)


def kinds(result: Result) -> list[str]:
    return sorted({r.kind for r in result.reports})


def only(result: Result, kind: str) -> RawReport:
    """The one report, which is of this kind."""
    assert [r.kind for r in result.reports] == [kind], [(r.kind, r.buffer, r.message) for r in result.reports]
    return result.reports[0]


def lines(report: RawReport) -> set[int]:
    """The lines of kernels.cpp that a report names for its first thread."""
    return {n for file, n in report.lines if file.endswith(KERNELS.name) and n < ENTRY} | ({report.line} if report.line else set())


def other_lines(report: RawReport) -> set[int]:
    return {n for file, n in report.other_lines if file.endswith(KERNELS.name)} | ({report.other_line} if report.other_line else set())


__all__ = ["F32", "I32", "U8", "U16", "U32", "Buffer", "LaunchSpec", "Result", "kinds", "launch", "library", "line_of", "lines", "only",
           "other_lines", "output", "replace", "run", "runtime_library", "spec"]  # fmt: skip
