"""Host loops made one, and choices made where a mask is cut: what is written, and that results are the interpreter's."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl


@zmlx.jit
def sum_between(x_ptr, y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    mask = cols < n
    h = tl.load(x_ptr + cols, mask=mask, other=0.0) + tl.load(y_ptr + cols, mask=mask, other=0.0)
    tl.store(a_ptr + cols, h, mask=mask)
    tl.store(b_ptr + cols, h * tl.sum(h, axis=0), mask=mask)


@zmlx.jit
def reads_what_it_wrote(x_ptr, y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    mask = cols < n
    x = tl.load(x_ptr + cols, mask=mask, other=0.0)
    tl.store(a_ptr + cols, x + tl.load(y_ptr + cols, mask=mask, other=0.0), mask=mask)
    tl.debug_barrier()
    tl.store(b_ptr + cols, x + tl.load(a_ptr + n - 1 - cols, mask=mask, other=0.0), mask=mask)


@zmlx.jit
def writes_what_it_read(x_ptr, y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    mask = cols < n
    tl.store(b_ptr + cols, tl.load(x_ptr + cols, mask=mask, other=0.0), mask=mask)
    tl.store(a_ptr + cols, tl.load(b_ptr + cols, mask=mask, other=0.0) * 2.0, mask=mask)
    tl.store(b_ptr + cols, tl.load(x_ptr + cols, mask=mask, other=0.0) + 1.0, mask=mask)


@zmlx.jit
def two_masks(x_ptr, y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + cols, mask=cols < n, other=0.0)
    tl.store(a_ptr + cols, x, mask=cols < n)
    tl.store(b_ptr + cols, x * tl.sum(x, axis=0), mask=cols < n // 2)


@zmlx.jit
def gaps(x_ptr, y_ptr, a_ptr, b_ptr, n, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    mask = cols < n
    x = tl.load(x_ptr + cols, mask=mask, other=0.0)
    gap = tl.where(mask, x - tl.sum(x, axis=0) / n, 3.0)
    tl.store(a_ptr + cols, gap, mask=mask)
    tl.store(b_ptr + cols, x + tl.sum(gap * gap, axis=0), mask=mask)


KERNELS = {k.__name__: k for k in (sum_between, reads_what_it_wrote, writes_what_it_read, two_masks, gaps)}
BLOCK = 128


def run(kernel: Any, target: str, n: int) -> list[mx.array]:
    x, y = (mx.random.normal((n,), key=mx.random.key(k)) for k in (1, 2))
    with zmlx.use_target(target):
        out = kernel[(1,)](x, y, mx.zeros((n,)), mx.zeros((n,)), n, BLOCK=BLOCK)
        mx.eval(out)
    return list(out)


@pytest.mark.parametrize("n", [1, 16, 31, 100, 128])
@pytest.mark.parametrize("name", KERNELS)
def test_against_the_interpreter(name: str, n: int) -> None:
    for got, want in zip(run(KERNELS[name], "cpu", n), run(KERNELS[name], "interpret", n), strict=True):
        assert mx.allclose(got, want, rtol=1e-5, atol=1e-5)


def written(kernel: Any) -> str:
    x = mx.zeros((100,))
    with zmlx.use_target("cpu"):
        source = kernel.compile(x, x, x, x, 100, BLOCK=BLOCK).source
    return source[source.index("_program(") :]


def stores_of_loops(source: str) -> list[int]:
    """How many stores to arrays of the kernel each loop makes that makes any."""
    loops = source.split("zm_for(")[1:]
    return [n for n in (loop.split("});")[0].count("zm_put(a_ptr") + loop.split("});")[0].count("zm_put(b_ptr") for loop in loops) if n]


def test_two_stores_of_the_same_elements_are_one_loop() -> None:
    assert stores_of_loops(written(sum_between)) == [2]


@pytest.mark.parametrize("name", ["reads_what_it_wrote", "writes_what_it_read", "two_masks"])
def test_what_may_not_move_stays(name: str) -> None:
    assert set(stores_of_loops(written(KERNELS[name]))) == {1}


def test_no_choice_is_left_where_the_mask_is_on() -> None:
    assert written(gaps).count("zm_select(") == 1  # in the chunk in which the mask ends
