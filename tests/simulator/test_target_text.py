"""zmlx's own Metal text holds to what Metal's compiler asks and C++ does not: the lint, and address spaces by the strict tier."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import mlx.core as mx
import pytest

import zmlx
from zmlx.catalog import Entry, entries
from zmlx.runtime.mlx_backend import SimulatedKernel
from zmlx.simulator import MetalKernel, lint, strict
from zmlx.simulator.preamble import mlx_preamble

ENTRIES = list(entries())
STRICT = ("softmax", "linear", "dropout")  # reductions, staging, bits


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts of the kernels that are launched; nothing is compiled or run."""
    found: list[str] = []

    def noted(self: MetalKernel, **call: object) -> list[mx.array]:
        found.append(self.msl(inputs=call["inputs"], output_dtypes=call["output_dtypes"], preamble=False))  # type: ignore[arg-type]
        return [mx.zeros(s, d) for s, d in zip(call["output_shapes"], call["output_dtypes"], strict=True)]  # type: ignore[call-overload]

    monkeypatch.setattr(MetalKernel, "__call__", noted)
    monkeypatch.setattr(SimulatedKernel, "copy", lambda self, array, after, stream: array)
    with zmlx.use_target("metal-sim"):
        yield found


@pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])
def test_lint(entry: Entry, texts: list[str]) -> None:
    for dtype in entry.dtypes:
        for case in entry.cases:
            entry.call(*case.build(dtype), **case.kwargs)
    assert texts
    for text in dict.fromkeys(texts):
        assert not (found := lint.check(text)), "\n".join(map(str, found))


@pytest.mark.skipif(importlib.util.find_spec("clang") is None, reason="the extra `strict` (libclang) is not installed")
@pytest.mark.parametrize("name", STRICT)
def test_address_spaces(name: str, texts: list[str]) -> None:
    (entry,) = (e for e in ENTRIES if e.name == name)
    case = entry.cases[2]
    entry.call(*case.build(mx.float16), **case.kwargs)
    assert texts and not (found := strict.check(mlx_preamble() + texts[-1])), "\n".join(map(str, found))
