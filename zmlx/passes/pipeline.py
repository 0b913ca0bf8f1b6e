"""The passes over Tile IR, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from zmlx import knobs
from zmlx.ir.core import Function
from zmlx.ir.verifier import verify
from zmlx.passes import canonicalize, cse, dce, induction, licm

PIPELINE: tuple[ModuleType, ...] = (
    canonicalize,  # fold, merge chains, resolve known control flow
    cse,  # equal values become one
    licm,  # invariants leave their loops
    induction,  # carried tiles become base + scalar
    canonicalize,
    cse,
    licm,
    dce,  # what nothing needs goes
)

_number = itertools.count()


def optimize(fn: Function) -> Function:
    """Runs the pipeline on a function, in place, and returns it. Results stay the same bit for bit.

    With ZMLX_VERIFY=1 the IR is verified before and after every pass; with ZMLX_DUMP_DIR its text goes there, stage
    by stage.
    """
    check, dump = knobs.VERIFY.get() == "1", _dumper(fn)
    if check:
        verify(fn)
    dump("traced")
    for step in PIPELINE:
        step.run(fn)
        if check:
            verify(fn)
        dump(step.__name__.rpartition(".")[2])
    return fn


def _dumper(fn: Function) -> Callable[[str], None]:
    named = knobs.DUMP_DIR.get()
    if not named:
        return lambda stage: None
    folder = Path(named).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    kernel, stages = next(_number), itertools.count()

    def dump(stage: str) -> None:
        (folder / f"{fn.name}-{kernel}-{next(stages):02}-{stage}.zmir").write_text(str(fn))

    return dump
