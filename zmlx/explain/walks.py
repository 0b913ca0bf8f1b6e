"""The host's loops over elements in words: which are written over vectors, which are left to the C++ compiler, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.explain.scene import Emitted, Scene
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Pointer
from zmlx.targets import host_simd


@dataclass(frozen=True)
class Over:
    """What is said of the innermost loops around some ops.

    words   sentences; none where no such loop is to be vectorised
    all     whether all are written over vectors
    kinds   what `host_simd` says of the values in those that are
    """

    words: list[str]
    all: bool
    kinds: dict[Value, str]


def vector_loops(scene: Scene, code: Sequence[Emitted]) -> Over:
    loops = [loop for loop in dict.fromkeys(x.loops[-1] for x in code) if loop.attrs.get("kind") == "simd"]
    wide = [loop for loop in loops if scene.wide(loop)]
    others = [loop for loop in loops if not scene.wide(loop)]
    kinds = {v: kind for loop in wide for v, kind in scene.classified[loop][0].items()}
    words = ["The loop is written over vectors, as wide as the CPU's." if not others
             else "Part of it runs in loops that are written over vectors, as wide as the CPU's."] if wide else []  # fmt: skip
    if others:
        obstacle = scene.classified[others[0]][1]
        assert obstacle is not None
        words.append(f"The C++ compiler is told to vectorise the loop (#pragma omp simd): {_because(others[0], obstacle)}.")
    return Over(words, bool(code) and len(wide) == len({x.loops[-1] for x in code}), kinds)


def _because(loop: Op, obstacle: Op) -> str:
    """Why a loop is not written over vectors."""
    if obstacle is loop:
        if knobs.CPU_SIMD.get() == "0":
            return f"{knobs.CPU_SIMD.name}=0 is set"
        return f"fewer than {host_simd.LEAST_TRIPS} elements are not worth vectors of their own"
    if obstacle.regions:
        return "it holds a loop or a branch"
    elem = next(e for v in (*obstacle.operands[:1], *obstacle.results) if (e := _element(v)))
    if elem not in host_simd.STORED and elem is not dt.int1:
        return f"it has no vectors of {elem.name}"
    line = f" at line {obstacle.loc.line}" if obstacle.loc is not None else ""
    return f"`{obstacle.name}` of {elem.name}{line} has no form over vectors"


def _element(v: Value) -> dt.DType | None:
    """The type of a value's elements, or of those behind a pointer."""
    elem = v.type.elem
    return elem.elem if isinstance(elem, Pointer) else elem
