"""One small kernel for every kind of user error.

The offending line is marked `# error: phrase`. Each test compiles its kernel and checks the class of the error, that it
points at the marked line, that the phrase is in its message, what is underlined, and that it says what to write instead.
"""
# Kernels that are wrong on purpose:
# ruff: noqa: F401, F821, RUF059, SIM105, F841, B007, C416, E731, UP

from __future__ import annotations

import linecache
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx import errors
from zmlx.errors import (
    CallError,
    CarriedTypeError,
    CompilationError,
    ConstexprError,
    ControlFlowError,
    DotError,
    DtypeError,
    GlobalNameError,
    IndexingError,
    LiteralRangeError,
    Loc,
    MaskError,
    NotCallableError,
    PointerError,
    RecursionLimitError,
    ReduceError,
    ShapeError,
    StaticAssertError,
    TileSizeError,
    UndefinedNameError,
    UnknownAttributeError,
    UnsupportedSyntaxError,
)  # fmt: skip
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg

jit = JitCallable


@dataclass
class Case:
    kernel: JitCallable
    error: type[CompilationError]
    underlined: str
    constants: dict[str, Any]


CASES: list[Case] = []


def wrong(error: type[CompilationError], underlined: str, **constants: Any) -> Callable[[Any], Any]:
    """Collects a kernel. Parameters: out, x, y, … are float32 arrays, n, m, k int32, UPPER a constexpr (16)."""

    def collect(kernel: JitCallable) -> JitCallable:
        CASES.append(Case(kernel, error, underlined, constants))
        return kernel

    return collect


def arguments(kernel: JitCallable, constants: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for p in kernel.params:
        if p.name in constants:
            out[p.name] = constants[p.name] if isinstance(constants[p.name], (ArrayArg, ScalarArg)) else ConstexprArg(constants[p.name])
        elif p.is_constexpr:
            out[p.name] = ConstexprArg(16)
        else:
            out[p.name] = ScalarArg(dt.int32) if p.name in ("n", "m", "k") else ArrayArg(dt.float32, 16)
    return out


def failure(kernel: JitCallable, constants: dict[str, Any]) -> CompilationError:
    with pytest.raises(CompilationError) as info:
        trace(kernel, arguments(kernel, constants))
    return info.value


def text_of(loc: Loc) -> str:
    lines = [linecache.getline(loc.file, i) for i in range(loc.line, loc.end_line + 1)]
    lines[-1] = lines[-1][: loc.end_col]
    lines[0] = lines[0][loc.col :]
    return "".join(lines)


# -- names -----------------------------------------------------------------------------------------------------------


@wrong(UndefinedNameError, "offset")
@jit
def misspelt_name(out, n):
    offsets = tl.arange(0, 16)
    tl.store(out + offset, 1.0)  # error: `offset` is not defined


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


# -- calls -----------------------------------------------------------------------------------------------------------


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


@wrong(NotCallableError, "tl.float32")
@jit
def calling_a_dtype(out, n):
    tl.store(out, tl.float32(n))  # error: a dtype is not called


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


# -- constants -------------------------------------------------------------------------------------------------------


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


# -- types and shapes ------------------------------------------------------------------------------------------------


@wrong(DtypeError, "a | 2")
@jit
def bitwise_of_floats(out, x):
    a = tl.load(x)
    tl.store(out, a | 2)  # error: `|` takes integers


@wrong(DtypeError, "a // 2")
@jit
def floor_division_of_floats(out, x):
    a = tl.load(x)
    tl.store(out, a // 2)  # error: `//` takes integers


@wrong(DtypeError, "n + None")
@jit
def arithmetic_with_none(out, n):
    tl.store(out, n + None)  # error: None where a tensor or a number is meant


@wrong(DtypeError, "n * (1, 2)")
@jit
def arithmetic_with_a_tuple(out, n):
    tl.store(out, n * (1, 2))  # error: where a tensor or a number is meant


@wrong(DtypeError, "tl.exp(n)")
@jit
def exp_of_an_integer(out, n):
    tl.store(out, tl.exp(n))  # error: tl.exp takes floats


@wrong(DtypeError, "len(a)")
@jit
def length_of_a_tensor(out):
    a = tl.arange(0, 16)
    tl.store(out, len(a))  # error: len() of a tensor


@wrong(DtypeError, "tl.load(x)")
@jit
def float_tensor_bound(out, x):
    for i in range(tl.load(x)):  # error: a bound of a range must be an integer scalar
        tl.store(out, i)


@wrong(ShapeError, "a + b")
@jit
def shapes_that_do_not_broadcast(out):
    a = tl.arange(0, 16)
    b = tl.arange(0, 8)
    tl.store(out, tl.sum(a + b, axis=0))  # error: do not broadcast


@wrong(TileSizeError, "tl.arange(0, 100)")
@jit
def not_a_power_of_two(out):
    tl.store(out + tl.arange(0, 100), 1.0)  # error: must be a power of two, got 100


@wrong(TileSizeError, "tl.zeros((2048, 1024), tl.float32)")
@jit
def too_large(out):
    big = tl.zeros((2048, 1024), tl.float32)  # error: 2097152 elements


@wrong(PointerError, "out * 2")
@jit
def pointer_arithmetic(out):
    tl.store(out * 2, 1.0)  # error: a pointer takes only integer offsets


@wrong(PointerError, "tl.load(n)")
@jit
def load_of_a_number(out, n):
    tl.store(out, tl.load(n))  # error: tl.load takes a pointer


@wrong(MaskError, "tl.load(x, other=0.0)")
@jit
def other_without_mask(out, x):
    tl.store(out, tl.load(x, other=0.0))  # error: other


@wrong(ReduceError, "tl.sum(n, axis=0)")
@jit
def reduction_of_a_scalar(out, n):
    tl.store(out, tl.sum(n, axis=0))  # error: tl.sum


@wrong(DotError, "tl.dot(a, a)")
@jit
def dot_of_vectors(out):
    a = tl.arange(0, 16)
    tl.store(out, tl.dot(a, a))  # error: tl.dot


# -- control flow ----------------------------------------------------------------------------------------------------


@wrong(ControlFlowError, "mask")
@jit
def tile_condition(out, n):
    mask = tl.arange(0, 16) < n
    if mask:  # error: a condition must be one value
        tl.store(out, 1.0)


@wrong(ControlFlowError, "mask")
@jit
def tile_ternary(out, n):
    mask = tl.arange(0, 16) < n
    tl.store(out, 1.0 if mask else 0.0)  # error: a condition must be one value


@wrong(PointerError, "out")
@jit
def pointer_condition(out, n):
    while out:  # error: a pointer is no condition
        n += 1


@wrong(CarriedTypeError, "y = 2.5")
@jit
def branches_of_two_types(out, n):
    if n > 0:
        y = 1
    else:
        y = 2.5  # error: `y` is i32 if the condition holds
    tl.store(out, y)


@wrong(CarriedTypeError, "y = tl.arange(0, 16)")
@jit
def branch_changes_shape(out, n):
    y = 1
    if n > 0:
        y = tl.arange(0, 16)  # error: `y` is 16xi32 if the condition holds
    tl.store(out, y)


@wrong(CarriedTypeError, "x if n > 0 else tl.arange(0, 16)")
@jit
def ternary_of_two_types(out, n):
    x = 1.5
    tl.store(out, x if n > 0 else tl.arange(0, 16))  # error: the two sides have different types


@wrong(CarriedTypeError, "acc = acc + 1.5")
@jit
def loop_changes_type(out, n):
    acc = 0
    for i in range(n):
        acc = acc + 1.5  # error: `acc` is i32 before the loop
    tl.store(out, acc)


@wrong(CarriedTypeError, "acc += tl.load(x + tl.arange(0, 16))")
@jit
def loop_changes_shape(out, x, n):
    acc = 0.0
    for i in range(n):
        acc += tl.load(x + tl.arange(0, 16))  # error: `acc` is f32 before the loop of line
    tl.store(out, tl.sum(acc, axis=0))


@wrong(CarriedTypeError, "k = k.to(tl.int64) // 2")
@jit
def while_changes_type(out, k):
    while k > 0:
        k = k.to(tl.int64) // 2  # error: `k` is i32 before the loop
    tl.store(out, k)


@wrong(CarriedTypeError, "y = 1.5")
@jit
def overwritten_then_read(out, n):
    y = 1
    for i in range(n):
        y = 1.5  # error: and f32 after an iteration
    tl.store(out, y)


@wrong(CarriedTypeError, "n > 0")
@jit
def _two_return_types(out, n):
    tl.store(out, returns_two_types(n))


@jit
def returns_two_types(n):
    if n > 0:  # error: returns i32 if this holds and the constant 0.5 otherwise
        return n
    return 0.5


@jit
def returns_sometimes(n):
    if n > 0:  # error: returns a value on one path and nothing on the other
        return n


@wrong(ControlFlowError, "n > 0")
@jit
def _returns_sometimes(out, n):
    tl.store(out, returns_sometimes(n))


@wrong(ControlFlowError, "True")
@jit
def endless_loop(out, n):
    while True:  # error: this loop never ends
        n += 1


@wrong(ControlFlowError, "x")
@jit
def loop_over_a_tensor(out):
    x = tl.arange(0, 16)
    for v in x:  # error: a loop runs over a range or a tuple
        tl.store(out, v)


@wrong(ControlFlowError, "n + 1")
@jit
def kernel_returns_a_value(out, n):
    return n + 1  # error: a kernel returns nothing


@wrong(ControlFlowError, "a, b, c")
@jit
def unpacking_too_few(out):
    a, b, c = 1, 2  # error: 3 names on the left, 2 values on the right


@wrong(ControlFlowError, "a, b")
@jit
def unpacking_a_tensor(out, n):
    a, b = n  # error: 2 names on the left, one value


@jit
def forever(x):
    return forever(x) + 1  # error: forever() calls itself without end


@wrong(RecursionLimitError, "forever(x)")
@jit
def _recursion(out, n):
    tl.store(out, forever(n))


# -- subscripts ------------------------------------------------------------------------------------------------------


@wrong(IndexingError, "0")
@jit
def element_access(out):
    x = tl.arange(0, 16)
    tl.store(out, x[0])  # error: a tile has no element access


@wrong(IndexingError, "out[0]")
@jit
def subscripted_pointer(out, n):
    tl.store(out, out[0])  # error: a pointer has no elements to name


@wrong(IndexingError, "0:4")
@jit
def sliced_tile(out):
    x = tl.arange(0, 16)
    tl.store(out, x[0:4])  # error: a tile cannot be sliced


@wrong(IndexingError, "x[:, :]")
@jit
def too_many_dimensions(out):
    x = tl.arange(0, 16)
    tl.store(out, x[:, :])  # error: names 2 dimensions of a tensor that has 1


@wrong(IndexingError, "x[0]")
@jit
def assigned_element(out):
    x = tl.arange(0, 16)
    x[0] = 1  # error: cannot be assigned to in place


@wrong(IndexingError, "t[2]")
@jit
def tuple_index_out_of_range(out):
    t = (1, 2)
    tl.store(out, t[2])  # error: index 2 is out of range for a tuple of 2


@wrong(IndexingError, "t[n]")
@jit
def tuple_index_at_run_time(out, n):
    t = (1, 2)
    tl.store(out, t[n])  # error: the index of a tuple must be known at compile time


# -- syntax ----------------------------------------------------------------------------------------------------------


@wrong(UnsupportedSyntaxError, "[i for i in (1, 2)]")
@jit
def comprehension(out):
    a = [i for i in (1, 2)]  # error: a comprehension is not supported


@wrong(UnsupportedSyntaxError, "lambda a: a")
@jit
def lambda_(out):
    f = lambda a: a  # error: a lambda is not supported


@wrong(UnsupportedSyntaxError, "{1: 2}")
@jit
def dict_(out):
    d = {1: 2}  # error: a dict is not supported


@wrong(UnsupportedSyntaxError, "b := n")
@jit
def walrus(out, n):
    tl.store(out, (b := n))  # error: an assignment inside an expression


@wrong(UnsupportedSyntaxError, "def inner(a):")
@jit
def nested_function(out):
    def inner(a):  # error: a nested function is not supported
        return a


@wrong(UnsupportedSyntaxError, "try:")
@jit
def try_(out):
    try:  # error: try is not supported
        tl.store(out, 1.0)
    except ValueError:
        pass


@wrong(UnsupportedSyntaxError, "with out:")
@jit
def with_(out):
    with out:  # error: a `with` block is not supported
        pass


@wrong(UnsupportedSyntaxError, "break")
@jit
def break_(out, n):
    for i in range(n):
        if i > 3:
            break  # error: break is not supported


@wrong(UnsupportedSyntaxError, "continue")
@jit
def continue_(out, n):
    for i in range(n):
        continue  # error: continue is not supported


@wrong(UnsupportedSyntaxError, "return")
@jit
def return_in_loop(out, n):
    for i in range(n):
        if i > 3:
            return  # error: return inside a loop


@wrong(UnsupportedSyntaxError, "tl.store(out, 1.0)")
@jit
def loop_else(out, n):
    for i in range(n):
        tl.store(out, i)
    else:
        tl.store(out, 1.0)  # error: `else` after a loop


@wrong(UnsupportedSyntaxError, "import math")
@jit
def import_(out):
    import math  # error: an import is not supported


@wrong(UnsupportedSyntaxError, "global SIZE")
@jit
def global_(out):
    global SIZE  # error: global is not supported
    tl.store(out, 1.0)


@wrong(UnsupportedSyntaxError, "raise ValueError")
@jit
def raise_(out):
    raise ValueError  # error: raise is not supported


@wrong(UnsupportedSyntaxError, "a @ a")
@jit
def matmul_operator(out):
    a = tl.zeros((16, 16), tl.float32)
    b = a @ a  # error: `@` is not supported


@wrong(UnsupportedSyntaxError, "out.value")
@jit
def attribute_assignment(out):
    out.value = 1  # error: only names can be assigned to


@wrong(UnsupportedSyntaxError, "n is m")
@jit
def is_between_tensors(out, n, m):
    tl.store(out, n is m)  # error: `is` compares with None


@wrong(UnsupportedSyntaxError, "n in (1, 2)")
@jit
def in_of_a_tensor(out, n):
    tl.store(out, n in (1, 2))  # error: `in` looks constants up


@wrong(UnsupportedSyntaxError, 'b"abc"')
@jit
def bytes_constant(out):
    a = b"abc"  # error: bytes constants


@wrong(UnsupportedSyntaxError, "i, j")
@jit
def range_of_pairs(out, n):
    for i, j in range(n):  # error: a range yields one index
        tl.store(out, i)


@wrong(NotCallableError, "a.dtype.is_fp32")
@jit
def method_not_called(out, x):
    a = tl.load(x)
    if a.dtype.is_fp32:  # error: is a method, which is always true
        tl.store(out, 1.0)


# -- the checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [pytest.param(c, id=c.kernel.name) for c in CASES])
def test_error(case: Case) -> None:
    e = failure(case.kernel, case.constants)
    assert type(e) is case.error, e
    assert e.loc is not None, e
    marked = re.search(r"# error: (.*)$", linecache.getline(e.loc.file, e.loc.line))
    assert marked, f"points at an unmarked line:\n{e}"
    assert marked[1].strip() in e.message, e
    assert text_of(e.loc) == case.underlined, e
    assert e.remedy, e
    shown = str(e)
    assert f"{e.loc.file}:{e.loc.line}:{e.loc.col + 1}: " in shown and "^" * min(3, len(case.underlined.splitlines()[0])) in shown
    assert f"instead: {e.remedy}" in shown


def test_there_are_many_kinds() -> None:
    assert len(CASES) >= 90
    classes = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, CompilationError)}
    raised = {c.error for c in CASES} | {CompilationError, errors.TargetError, errors.ResourceError}
    assert classes == raised, f"no test raises {classes - raised}"


# -- remedies and chains ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "remedy"),
    [
        (subscripted_pointer, "tl.load(out + 0)"),
        (misspelt_name, "did you mean `offsets`?"),
        (misspelt_function, "tl.arange"),
        (misspelt_attribute, "x.shape"),
        (misspelt_keyword, "did you mean `mask`?"),
        (device_keyword_misspelt, "did you mean `factor`?"),
        (missing_in_module, "math.sqrt"),
        (python_global, "SIZE = tl.constexpr(16)"),
        (plain_python_function, "decorate it with @zmlx.jit"),
        (numpy_function, "tl.exp"),
        (tile_condition, "tl.where"),
        (loop_changes_type, ".to(tl.int32)"),
        (loop_changes_shape, "tl.zeros((16,), tl.float32)"),
        (branches_of_two_types, ".to(tl.int32)"),
        (not_a_power_of_two, "128"),
        (missing_argument, "tl.load(pointer"),
        (device_argument_missing, "scale(x, factor)"),
        (break_, "while"),
        (matmul_operator, "tl.dot"),
        (kernel_returns_a_value, "tl.store"),
    ],
)
def test_the_remedy_says_what_to_write(kernel: JitCallable, remedy: str) -> None:
    assert remedy in failure(kernel, {}).remedy


def test_both_lines_are_named() -> None:
    e = failure(branches_of_two_types, {})
    first = e.loc.line - 2  # type: ignore[union-attr]
    assert f"(line {first})" in e.message and f"(line {first + 2})" in e.message


@jit
def inner(a, b):
    return a | b


@jit
def middle(a):
    c = inner(a, 1.5)
    return c


@jit
def outer_kernel(out, n):
    x = middle(n)
    tl.store(out, middle(x))


def test_the_chain_of_calls() -> None:
    e = failure(outer_kernel, {})
    assert e.loc is not None and e.loc.caller is not None and e.loc.caller.caller is not None
    assert [text_of(e.loc), text_of(e.loc.caller), text_of(e.loc.caller.caller)] == ["a | b", "inner(a, 1.5)", "middle(n)"]
    shown = str(e)
    assert re.search(
        r"a \| b(.|\n)*inner\(\) was called from(.|\n)*inner\(a, 1.5\)(.|\n)*middle\(\) was called from(.|\n)*middle\(n\)", shown
    )
    assert len(re.findall(r"\| +\^+$", shown, re.M)) == 3


@jit
def library_kernel(out, n):
    tl.store(out, tl.softmax(n))


def test_errors_inside_the_library_point_at_the_users_call() -> None:
    e = failure(library_kernel, {})
    assert e.loc is not None and e.loc.file == __file__ and text_of(e.loc) == "tl.softmax(n)" and e.loc.caller is None


def test_recursion_is_shown_once_around() -> None:
    shown = str(failure(_recursion, {}))
    assert shown.count("forever(x)") == 1 and "tl.store(out, forever(n))" in shown


@jit
def wrong_combine(a, b, c):
    return a


@jit
def combine_kernel(out):
    tl.store(out, tl.reduce(tl.arange(0, 16), 0, wrong_combine))


def test_a_combine_function_of_the_wrong_arity() -> None:
    e = failure(combine_kernel, {})
    assert isinstance(e, CallError) and "wrong_combine() is called with 2 values" in e.message and "wrong_combine(a, b, c)" in e.remedy
