"""Random kernels: the passes keep what the interpreter computes, and every target computes it too, bit for bit.

Several kernels share one C++ compilation. ZMLX_TEST_EXAMPLES=1000 (and ZMLX_TEST_SEED) make long runs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

import cuda_host
import pytest
import random_kernels
from dots import dot_is
from execute import Arrays, Case, assert_equal, interpret, run, texts, traced
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from zmlx import dtypes as dt
from zmlx.errors import TargetError
from zmlx.ir.core import clone_function
from zmlx.passes.pipeline import optimize
from zmlx.simt.fragments import TENSOR, choose
from zmlx.targets.spin import refuse_spinning
from zmlx.targets.target import METAL_SIM
from zmlx.targets.target import target as target_of

EXAMPLES = int(os.environ.get("ZMLX_TEST_EXAMPLES", "4"))
START = int(os.environ.get("ZMLX_TEST_SEED", "0"))
TOGETHER = 8  # kernels of one example
# Not shrunk, as every step would cost a C++ compilation: the message names seed and size.
QUICK = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
                 phases=(Phase.explicit, Phase.generate))  # fmt: skip
SEEDS = st.lists(st.integers(0, 1 << 30), min_size=TOGETHER, max_size=TOGETHER, unique=True)
TOLERANCE = 1e-4  # of what transcendental functions give


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def build(seed: int, size: int, folder: Path, wide: bool) -> Case:
    """The kernel of a seed, traced."""
    kernel = random_kernels.Kernel(random.Random(seed), f"random_{seed}", size, wide)
    module = random_kernels.module(random_kernels.PREAMBLE + kernel.text(), folder, f"random_{seed}_{size}_{int(wide)}")
    arrays = random_kernels.arrays(kernel, seed)
    fn, held, scalars = traced(getattr(module, kernel.name), arrays | random_kernels.scalars(seed), {n: dt.BY_SHORT[n[2:]] for n in arrays})
    return Case(fn, held, scalars, (random_kernels.PROGRAMS, 1, 1), num_warps=random.Random(seed).choice([1, 2, 4, 8]))


def compare(got: Arrays, want: Arrays, case: Case, what: str) -> None:
    smooth = {n for n in want if n.startswith("t_")}
    assert_equal({n: a for n, a in got.items() if n not in smooth}, {n: a for n, a in want.items() if n not in smooth}, case.fn, what=what)
    assert_equal({n: got[n] for n in smooth}, {n: want[n] for n in smooth}, case.fn, TOLERANCE, what=what)


def refused(case: Case, target: str) -> bool:
    """Whether the kernel seems to wait for other programs, which Metal lets nobody do."""
    if "spin" in target_of(target).refuse:
        try:
            refuse_spinning(optimize(clone_function(case.fn)), target_of(target))
        except TargetError:
            return True
    return False


def agree(seeds: Sequence[int], size: int, folder: Path, target: str) -> None:
    built = [(seed, build(seed, size, folder, wide=not target.startswith("metal"))) for seed in seeds]
    seeds, cases = zip(*((seed, case) for seed, case in built if not refused(case, target)), strict=True)
    wanted = []
    for seed, case in zip(seeds, cases, strict=True):
        raw, optimized = interpret(case, optimized=False), interpret(case)
        assert_equal(optimized, raw, case.fn, what=f"seed {seed}, size {size}: the passes")
        wanted.append(raw)
    for seed, case, want, got in zip(seeds, cases, wanted, run(cases, target), strict=True):
        compare(got, want, case, f"seed {seed}, size {size}: {target}")


@QUICK
@given(seeds=SEEDS, size=st.integers(2, 8))
def test_targets_agree(seeds: list[int], size: int, target: str, folder: Path) -> None:
    agree([START + s for s in seeds], size, folder, target)


@settings(QUICK, max_examples=max(1, EXAMPLES // 2))
@given(first=st.integers(0, 1 << 30))
def test_tensor_ops_of_metal_agree(first: int, folder: Path) -> None:
    """Kernels with products that Metal 4's tensor operations can do, forced there; the next ones after a seed."""
    with dot_is("tensor"):
        found = []
        for seed in range(START + first, START + first + 400):
            case = build(seed, 5, folder, wide=False)
            if any(op.name == "dot" and choose(op, METAL_SIM) is TENSOR for op in case.fn.walk()) and not refused(case, "metal-sim"):
                found.append((seed, case))
            if len(found) == 2:
                break
        assert found
        for (seed, case), got in zip(found, run([case for _, case in found], "metal-sim"), strict=True):
            compare(got, interpret(case, optimized=False), case, f"seed {seed}: tensor operations")


@settings(QUICK, max_examples=10 * EXAMPLES)
@given(seed=st.integers(0, 1 << 30), size=st.integers(2, 10))
def test_passes_agree_and_gpu_texts_print(seed: int, size: int, folder: Path) -> None:
    case = build(START + seed, size, folder, wide=False)
    assert_equal(interpret(case), interpret(case, optimized=False), case.fn, what=f"seed {START + seed}, size {size}")
    assert set(texts(case)) == ({"cuda"} if refused(case, "metal") else {"cuda", "metal"})


@QUICK
@given(seed=st.integers(0, 1 << 30), size=st.integers(2, 6))
@example(seed=36 - START, size=5)  # a tile and its mirror in one thread
def test_cuda_text_on_a_host(seed: int, size: int, folder: Path) -> None:
    case = build(START + seed, size, folder, wide=True)
    if cuda_host.runs(case):
        got = cuda_host.run(case, folder, f"cuda_{START + seed}_{size}", shift=seed % 2)
        compare(got, interpret(case, optimized=False), case, f"seed {START + seed}, size {size}: cuda's text on the host")
