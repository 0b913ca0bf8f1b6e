"""Errors of names, calls and constants."""
# ruff: noqa: F821, F841, B007, UP

from __future__ import annotations

import math

import numpy as np
from wrong_kernel import jit, wrong

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.errors import (
    CallError,
    ConstexprError,
    GlobalNameError,
    LiteralRangeError,
    NotCallableError,
    StaticAssertError,
    UndefinedNameError,
    UnknownAttributeError,
)
from zmlx.frontend.source import ArrayArg

# -- names ---------------------------------------------------------------------------------------------------------------


@wrong(UndefinedNameError, "offset")
@jit
def misspelt_name(out, n):
    offsets = tl.arange(0, 16)
    tl.store(out + offset, 1.0)  # error: `offset` is not defined


@wrong(UndefinedNameError, "arange")
@jit
def prefix_forgotten(out):
    tl.store(out + arange(0, 16), 1.0)  # error: `arange` is not defined


@wrong(UndefinedNameError, "total")
@jit
def read_before_assignment(out, n):
    tl.store(out, total)  # error: `total` is read before it is assigned
    total = 1


@wrong(UndefinedNameError, "y")
@jit
def assigned_in_one_branch(out, n):
    if n > 0:
        y = 1.0
    tl.store(out, y)  # error: `y` may have no value here


@wrong(UndefinedNameError, "y", FLAG=False)
@jit
def assigned_in_a_branch_not_compiled(out, FLAG: tl.constexpr):
    if FLAG:
        y = 1.0
    tl.store(out, y)  # error: `y` has no value here


@wrong(UndefinedNameError, "last")
@jit
def assigned_in_loop_only(out, n):
    for i in range(n):
        last = i
    tl.store(out, last)  # error: `last` may have no value here


@wrong(UndefinedNameError, "i")
@jit
def index_after_loop(out, n):
    for i in range(n):
        tl.store(out + i, 1.0)
    tl.store(out, i)  # error: `i` is the index of the loop


@wrong(UndefinedNameError, "total")
@jit
def augmented_before_assignment(out, n):
    total += n  # error: `total` is read before it is assigned
    tl.store(out, total)


SIZE = 16
ARRAY = np.zeros(3)


@wrong(GlobalNameError, "SIZE")
@jit
def python_global(out):
    tl.store(out + tl.arange(0, SIZE), 1.0)  # error: `SIZE` is a Python global (16)


@wrong(GlobalNameError, "ARRAY")
@jit
def array_global(out):
    tl.store(out, ARRAY)  # error: `ARRAY` is a Python object (ndarray)


@wrong(GlobalNameError, "plain")
@jit
def function_as_value(out):
    tl.store(out, tl.reduce(tl.arange(0, 4), 0, plain))  # error: `plain` is a Python function


@wrong(UnknownAttributeError, "tl.arrange")
@jit
def misspelt_function(out):
    tl.store(out + tl.arrange(0, 16), 1.0)  # error: `tl` has no `arrange`


@wrong(UnknownAttributeError, "tl.make_block_ptr")
@jit
def missing_function(out):
    p = tl.make_block_ptr(out)  # error: `tl` has no `make_block_ptr`


@wrong(UnknownAttributeError, "x.shap")
@jit
def misspelt_attribute(out):
    x = tl.arange(0, 16)
    tl.store(out, x.shap[0])  # error: has no attribute `shap`


@wrong(UnknownAttributeError, "math.sqroot")
@jit
def missing_in_module(out):
    tl.store(out, math.sqroot(1.0))  # error: `math` has no `sqroot`


@wrong(UnknownAttributeError, "tl.float32.bitz")
@jit
def dtype_attribute(out):
    tl.store(out, tl.float32.bitz)  # error: float32 has no attribute `bitz`


# -- calls ---------------------------------------------------------------------------------------------------------------


def plain(x):
    return x


@jit
def scale(x, factor):
    return x * factor


@jit
def sized(n, SIZE: tl.constexpr):
    return tl.zeros((SIZE,), tl.float32) + n


@wrong(NotCallableError, "plain")
@jit
def plain_python_function(out):
    tl.store(out, plain(1.0))  # error: `plain` is a plain Python function


@wrong(NotCallableError, "np.exp")
@jit
def numpy_function(out):
    tl.store(out, np.exp(1.0))  # error: `np.exp` is not part of the kernel language


@wrong(NotCallableError, "x")
@jit
def calling_a_tensor(out):
    x = tl.arange(0, 16)
    tl.store(out + x, x(0))  # error: `x` is a tensor


@wrong(NotCallableError, "isinstance")
@jit
def python_isinstance(out, n):
    tl.store(out, isinstance(n, int))  # error: isinstance() has no meaning


@wrong(NotCallableError, "sum")
@jit
def python_sum(out, x):
    tl.store(out, sum(tl.load(x + tl.arange(0, 16))))  # error: Python's sum()


@wrong(CallError, "tl.float32(n, 1)")
@jit
def dtype_of_two_values(out, n):
    tl.store(out, tl.float32(n, 1))  # error: tl.float32 takes one value, got 2


@wrong(NotCallableError, "range")
@jit
def range_as_a_value(out, n):
    r = range(n)  # error: stands only in the header of a loop


@wrong(NotCallableError, "N")
@jit
def calling_a_number(out, N: tl.constexpr):
    tl.store(out, N(1))  # error: the constant 16 cannot be called


@wrong(NotCallableError, "scale[(1,)]")
@jit
def launching_in_a_kernel(out):
    scale[(1,)](out, 2)  # error: a kernel cannot launch a kernel


@wrong(CallError, "maks=n > 0")
@jit
def misspelt_keyword(out, n):
    tl.store(out, 1.0, maks=n > 0)  # error: tl.store has no parameter `maks`


@wrong(CallError, "tl.load()")
@jit
def missing_argument(out):
    tl.store(out, tl.load())  # error: missing a required argument: 'pointer'


@wrong(CallError, "tl.program_id(0, 1)")
@jit
def too_many_arguments(out):
    tl.store(out, tl.program_id(0, 1))  # error: too many positional arguments


@wrong(CallError, "scale(1.0)")
@jit
def device_argument_missing(out):
    tl.store(out, scale(1.0))  # error: missing a required argument: 'factor'


@wrong(CallError, "faktor=2")
@jit
def device_keyword_misspelt(out):
    tl.store(out, scale(1.0, faktor=2))  # error: scale has no parameter `faktor`


@wrong(CallError, "options")
@jit
def double_star(out, n):
    options = (1, 2)
    tl.store(out, 1.0, **options)  # error: `**` is not supported


@wrong(CallError, "steps=2")
@jit
def range_keyword(out, n):
    for i in tl.range(0, n, steps=2):  # error: tl.range has no keyword argument `steps`
        tl.store(out, i)


@wrong(CallError, "range()")
@jit
def range_without_arguments(out):
    for i in range():  # error: range takes at least one argument
        tl.store(out, i)


@wrong(CallError, "max(n)")
@jit
def python_max_of_one(out, n):
    tl.store(out, max(n))  # error: max() of one tensor


# -- constants -----------------------------------------------------------------------------------------------------------


@wrong(ConstexprError, "tl.arange(0, n)")
@jit
def arange_of_a_runtime_size(out, n):
    tl.store(out + tl.arange(0, n), 1.0)  # error: must be known at compile time


@wrong(ConstexprError, "n")
@jit
def constexpr_parameter(out, n):
    tl.store(out + tl.arange(0, 16), sized(1.0, n))  # error: `SIZE` of sized is a tl.constexpr


@wrong(ConstexprError, "n * 2")
@jit
def constexpr_annotation(out, n):
    size: tl.constexpr = n * 2  # error: a tl.constexpr must be known at compile time


@wrong(ConstexprError, "1 // ZERO", ZERO=0)
@jit
def division_by_zero(out, ZERO: tl.constexpr):
    tl.store(out, 1 // ZERO)  # error: ZeroDivisionError


@wrong(ConstexprError, "N + 'a'")
@jit
def constant_type_error(out, N: tl.constexpr):
    tl.store(out, N + 'a')  # fmt: skip  # error: TypeError


@wrong(ConstexprError, "1 << N", N=10**9)
@jit
def huge_constant(out, N: tl.constexpr):
    tl.store(out, 1 << N)  # error: bits


@wrong(ConstexprError, "float(n)")
@jit
def python_float(out, n):
    tl.store(out, float(n))  # error: float() takes a constant


@wrong(ConstexprError, "math.sqrt(n)")
@jit
def math_of_a_tensor(out, n):
    tl.store(out, math.sqrt(n))  # error: math.sqrt computes with constants


@wrong(ConstexprError, "n")
@jit
def static_range_of_a_tensor(out, n):
    for i in tl.static_range(n):  # error: a bound of tl.static_range must be known
        tl.store(out, i)


@wrong(ConstexprError, "tl.static_range(N)", N=100000)
@jit
def static_range_too_long(out, N: tl.constexpr):
    for i in tl.static_range(N):  # error: would unroll 100000 iterations
        tl.store(out, i)


@wrong(ConstexprError, "0")
@jit
def step_of_zero(out, n):
    for i in range(n, 5, 0):  # error: the step of a range is 0
        tl.store(out, i)


@wrong(ConstexprError, "N / 2")
@jit
def float_bound(out, N: tl.constexpr):
    for i in range(N / 2):  # error: must be an integer
        tl.store(out, i)


@wrong(ConstexprError, "size: tl.constexpr = size * 2")
@jit
def constexpr_changes_in_loop(out, n):
    size: tl.constexpr = 4
    for i in range(n):
        size: tl.constexpr = size * 2  # error: the constexpr `size` is the constant 4 before the loop


@wrong(ConstexprError, "tl.static_assert(n > 0)")
@jit
def static_assert_of_a_tensor(out, n):
    tl.static_assert(n > 0)  # error: run-time condition


@wrong(StaticAssertError, 'tl.static_assert(N == 8, f"N is {N}")')
@jit
def static_assert_fails(out, N: tl.constexpr):
    tl.static_assert(N == 8, f"N is {N}")  # error: N is 16


@wrong(StaticAssertError, "N == 8")
@jit
def assert_fails(out, N: tl.constexpr):
    assert N == 8, f"N is {N}"  # error: N is 16


@wrong(ConstexprError, "n")
@jit
def assert_message(out, n):
    assert n > 0, n  # error: the message of an assertion is a string


@wrong(LiteralRangeError, "tl.load(x) + 300", x=ArrayArg(dt.uint8))
@jit
def literal_out_of_range(out, x):
    tl.store(out, tl.load(x) + 300)  # error: 300 is out of range for uint8
