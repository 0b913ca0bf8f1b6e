"""Planted mistakes: mechanical mutants of correct kernels, which the sanitizer must name, and the kernels themselves, on which it
must be silent."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator

sys.path.append(str(Path(__file__).parent / "mutants"))
from mutant_kernels import KERNELS, Kernel
from mutant_operators import EXEMPT, Mutant, mutants

MUTANTS = {m.name: m for m in mutants()}
TIME_LIMIT = 1.0  # seconds that an endless mutant may take


def launch(kernel: Kernel, source: str, name: str) -> list[mx.array]:
    fn = simulator.metal_kernel(
        name=name, input_names=list(kernel.inputs), output_names=list(kernel.outputs), source=source, header=kernel.header,
        atomic_outputs=kernel.atomic_outputs,
    )  # fmt: skip
    dtype = {"float32": mx.float32, "uint32": mx.uint32}[kernel.dtype]
    return fn(
        inputs=[mx.array(v) for v in kernel.inputs.values()], output_shapes=list(kernel.outputs.values()),
        output_dtypes=[dtype] * len(kernel.outputs), grid=kernel.grid, threadgroup=kernel.threadgroup, init_value=kernel.init_value,
    )  # fmt: skip


def found(mutant: Mutant) -> list[simulator.Report]:
    limit = TIME_LIMIT if mutant.operator.name == "endless" else 20.0
    with simulator.installed(sanitize=True, on_report="collect", time_limit=limit) as session:
        launch(mutant.kernel, mutant.source, "mutant")
    return session.reports


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("sanitize", [False, True], ids=["plain", "sanitised"])
def test_correct_kernels_are_right_and_without_a_report(kernel: Kernel, sanitize: bool) -> None:
    with simulator.installed(sanitize=sanitize):
        outputs = launch(kernel, kernel.source, kernel.name)
    for out, expected in zip(outputs, kernel.reference(*kernel.inputs.values()), strict=True):
        np.testing.assert_allclose(np.array(out), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_named(name: str) -> None:
    mutant = MUTANTS[name]
    reports = found(mutant)
    assert mutant.operator.kinds & {r.kind for r in reports}, f"line {mutant.line}: {[str(r) for r in reports]}\n{mutant.source}"
    assert all(r.line is None or r.line.origin == "source" for r in reports)


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 60
    assert len({m.operator.name for m in MUTANTS.values()}) >= 20
    assert not set(EXEMPT) & set(MUTANTS)
    assert len(EXEMPT) <= 0.2 * len(MUTANTS)
