"""Passes: each keeps what a program computes, bit for bit; and each does what it is for."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_ir import BUFFERS, GRID, Generator, buffers, scalars

from zmlx import dtypes as dt
from zmlx.interp.tile import run
from zmlx.ir.core import Function, clone_function
from zmlx.ir.parser import parse
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY
from zmlx.passes import canonicalize, cse, dce, induction, licm, pipeline

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def random_function(seed: int, size: int, indices: bool = False) -> Function:
    return Generator(random.Random(seed), indices).function(size)


def observed(fn: Function, seed: int = 0) -> dict[str, bytes]:
    """All memory after a run; NaNs are alike."""
    arrays = buffers(seed)
    run(fn, arrays, scalars(), GRID)
    out = {}
    for d in BUFFERS:
        a = arrays[f"p_{d.short}"]
        nan = np.isnan(dt.decode(a, d)) if d.is_float else np.zeros(a.shape, bool)
        out[d.short] = np.where(nan, 0, a.view(f"u{a.dtype.itemsize}")).tobytes() + nan.tobytes()
    return out


@QUICK
@given(st.integers(0, 2**32), st.integers(3, 25))
def test_pipeline_keeps_results(seed: int, size: int) -> None:
    fn = random_function(seed, size)
    verify(fn)
    before, text = observed(fn), str(fn)
    assert str(parse(text, REGISTRY)) == text
    for step in pipeline.PIPELINE:
        step.run(fn)
        verify(fn)
        assert str(parse(str(fn), REGISTRY)) == str(fn)
        assert observed(fn) == before, f"{step.__name__} changed the results of\n{text}\nto\n{fn}"
