"""The strict tier: address spaces, checked by clang, which knows them as Metal does.

The simulator itself runs C++ in which all memory is alike. Here the same text is parsed by libclang as C++ with clang's
attributes for address spaces and declarations of MSL's library (include/msl_strict.h), and what clang says about the spaces is
reported; everything else it may say is left to the simulator and to Metal. (Not as C++ for OpenCL: there a pointer without
a space may point anywhere, and temporaries are in no space at all, where Metal has them with the thread's variables.)
Needs the `strict` extra: pip install 'zmlx[strict]'.

What it finds, also in templates as far as they are instantiated:
- a pointer or reference that takes another space's address: by initialisation, assignment, argument, return or cast
- a method called on an object in a space that the method does not name
- writing through `constant` or `const`
- an atomic or simdgroup_matrix function on memory of a space that it has no overload for
- pointers and references whose space is not said
- threadgroup variables with an initial value, or outside of kernels
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from zmlx.errors import ToolchainError
from zmlx.simulator.lint import Finding
from zmlx.simulator.preamble import mlx_preamble
from zmlx.simulator.strict import diagnostics, unsaid
from zmlx.simulator.strict.prepare import prepare

_HEADER = Path(__file__).with_name("include") / "msl_strict.h"
_ARGUMENTS = ("-x", "c++", "-std=c++23", "-nostdinc", "-w", "-Wno-narrowing", "-target", "x86_64-linux-gnu", "-ferror-limit=0")
_FILE, _BEFORE = "program_source", str(_HEADER.with_name("internal.h"))


def check(msl: str) -> list[Finding]:
    """Findings in a whole text of MSL, by line; includes of MLX must have been flattened.

    Raises ToolchainError when libclang is not installed, UnsupportedFeature for what the simulator does not run.
    """
    clang = _clang()
    prepared = prepare(msl)
    unit = clang.Index.create().parse(
        _FILE,
        args=[*_ARGUMENTS, "-include", str(_HEADER), "-include", _BEFORE],
        unsaved_files=[(_FILE, prepared.text), (_BEFORE, prepared.before)],
    )
    preamble = mlx_preamble()
    skipped = preamble.count("\n") if msl.startswith(preamble) else 0
    found = {*prepared.findings, *diagnostics.read(clang, unit, _FILE), *unsaid.find(clang, unit, _FILE, skipped, prepared.spaces)}
    return sorted(found, key=lambda f: (f.line, f.column, f.message))


def check_kernel(kernel: Any, **call: Any) -> list[Finding]:
    """The same for a `zmlx.simulator.metal_kernel`: `call` holds inputs=, output_dtypes= and template= as for calling it."""
    return check(kernel.msl(**call))


@lru_cache(maxsize=1)
def _clang() -> Any:
    try:
        from clang import cindex
    except ImportError:
        raise ToolchainError("the strict tier needs libclang, which is not installed: pip install 'zmlx[strict]'") from None
    return cindex
