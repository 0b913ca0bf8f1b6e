"""Random Tile IR on every target against the interpreter: what the program means is what each target computes, exactly.

The programs are portable (see random_ir): no races, every op exact. They reach the lowering past the frontend, in
shapes and mixtures that no kernel of the catalog has.
"""

from __future__ import annotations

import random

import pytest
from execute import Case, assert_equal, interpret, run
from random_ir import Generator, buffers, outputs, scalars

from zmlx.ir.core import Block, Function

COUNT = 48


def case(seed: int, size: int) -> Case:
    fn = Generator(random.Random(seed), portable=True).function(size)
    return Case(fn, {**buffers(seed), **outputs()}, scalars())


def without_float64(c: Case) -> Case:
    """The program without parameters of a type that Metal lacks; it must not use them."""
    params = [p for p in c.fn.params if "f64" not in str(p.value.type)]
    names = {p.name for p in params}
    body = Block()
    body.args, body.ops = [p.value for p in params], c.fn.body.ops
    return Case(Function(c.fn.name, params, body, c.fn.attrs), {n: a for n, a in c.arrays.items() if n in names}, c.scalars)


@pytest.mark.parametrize("first", range(0, COUNT, 16))
def test_targets_agree_with_the_interpreter(target: str, first: int) -> None:
    cases = [case(seed, 3 + seed % 14) for seed in range(first, first + 16)]
    if target.startswith("metal"):
        cases = [without_float64(c) for c in cases if "f64" not in str(c.fn).partition("{\n")[2]]
    for i, (c, got) in enumerate(zip(cases, run(cases, target), strict=True)):
        assert_equal(got, interpret(c), c.fn, what=f"program {first + i} on {target}\n{c.fn}")
