"""What `python -m zmlx bench` compares: the catalog's entries, by suite. No entry is named here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx.bench.measure import DTYPES, Task
from zmlx.catalog import Case, Entry, entries
from zmlx.errors import ArgumentError

SUITES = {
    "streaming": "entries bound by memory traffic, at a realistic size",
    "large": "the same on a GPU at eight times the size, where starting and ending a kernel hardly counts",
    "dot": "matrix products and attention",
    "ragged": "rows of 1000 and 4097 elements beside the next multiple of 128, in time for each byte",
    "launch": "what a warm launch costs the host",
    "compile": "what a kernel costs before it first runs",
}
COMPARED = ("streaming", "large", "dot", "ragged")
RAGGED = (1000, 4097)
ALIGNMENT = 128
GROWTH = 8  # of the first axis


def tasks(suite: str, gpu: bool, only: Sequence[str], dtypes: Sequence[str]) -> Iterator[Task]:
    """The comparisons of a suite, entry by entry. Raises ArgumentError for an entry or a dtype that there is not."""
    known = [e.name for e in entries()]
    for name in only:
        if name not in known:
            raise ArgumentError(f"the catalog has no entry {name!r}; there are: {', '.join(known)}")
    for name in dtypes:
        if name not in DTYPES:
            raise ArgumentError(f"no dtype {name!r}; write one of {', '.join(DTYPES)}")
    for entry in entries():
        if entry.streaming == (suite != "dot") and (not only or entry.name in only):
            for case, name, extra in MAKERS[suite](entry, gpu):
                make = _Inputs(case)
                for dtype in dtypes or _dtypes(suite, gpu):
                    if DTYPES[dtype] in entry.dtypes:
                        yield Task(suite, entry, name, make, case.kwargs, dtype, extra)


def _dtypes(suite: str, gpu: bool) -> Sequence[str]:
    if suite == "dot":
        return ("float16", "bfloat16") if gpu else ("float32",)
    return ("float16", "bfloat16", "float32") if gpu else ("float32", "float16", "bfloat16")


class _Inputs:
    """A case's arguments for each dtype. Drawing the numbers takes longest, so they are drawn once."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.drawn: tuple[Any, ...] | None = None

    def __call__(self, dtype: mx.Dtype) -> tuple[Any, ...]:
        if self.drawn is None:
            self.drawn = self.case.build(mx.float32)
        floats = [isinstance(a, mx.array) and mx.issubdtype(a.dtype, mx.floating) for a in self.drawn]
        return tuple(a.astype(dtype) if is_float else a for a, is_float in zip(self.drawn, floats, strict=True))


Made = Iterator[tuple[Case, str, dict[str, Any]]]


def _streaming(entry: Entry, gpu: bool) -> Made:
    case = entry.sizes["gpu" if gpu else "cpu"]
    yield case, case.name, {}


def _large(entry: Entry, gpu: bool) -> Made:
    if not gpu:
        return
    case, size = entry.sizes["gpu"], _first_shape(entry.name, gpu)
    grown = (GROWTH * size[0], *size[1:])
    options = case.name.removeprefix("x".join(map(str, size)))
    yield _resized(case, size, grown), "x".join(map(str, grown)) + options, {}


def _dot(entry: Entry, gpu: bool) -> Made:
    for case in entry.studies if gpu and entry.studies else [entry.sizes["gpu" if gpu else "cpu"]]:
        yield case, case.name, {}


def _ragged(entry: Entry, gpu: bool) -> Made:
    """Each ragged length, and the aligned one that it is compared with. Entries without rows to resize have no tasks."""
    case = entry.sizes["gpu" if gpu else "cpu"]
    size = _first_shape(entry.name, gpu)
    if len(size) != 2:
        return
    for length in RAGGED:
        for n in (length, -(-length // ALIGNMENT) * ALIGNMENT):
            rows = max(1, size[0] * size[1] // n)
            yield _resized(case, size, (rows, n)), f"{rows}x{n}", {"row": n, "aligned": n % ALIGNMENT == 0, "beside": length}


@cache
def _first_shape(name: str, gpu: bool) -> tuple[int, ...]:
    """The shape of the first array of an entry's case; making the arguments to look at them takes a while."""
    case = next(e for e in entries() if e.name == name).sizes["gpu" if gpu else "cpu"]
    return next((a.shape for a in case.args(np.random.default_rng(0)) if isinstance(a, np.ndarray)), ())


def _resized(case: Case, old: tuple[int, ...], new: tuple[int, ...]) -> Case:
    """The case's arguments with rows of another length: axes of the old sizes get the new ones, and so do the axes that
    integers index, which are taken to be the shortest that they fit."""
    to = dict(zip(old, new, strict=True))

    def resize(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        array = np.resize(value, tuple(to.get(d, d) for d in value.shape))
        if array.dtype.kind in "iu":
            fits = [d for d in sorted(old) if value.max(initial=0) < d]
            return array % to[fits[0]] if fits else array
        return array

    return Case("", lambda r: tuple(resize(a) for a in case.args(r)), case.kwargs)


MAKERS = {"streaming": _streaming, "large": _large, "dot": _dot, "ragged": _ragged}
