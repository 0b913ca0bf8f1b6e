"""Errors of types, shapes, control flow, subscripts and syntax."""
# ruff: noqa: F401, RUF059, SIM105, F841, B007, C416, E731, UP

from __future__ import annotations

from wrong_kernel import jit, wrong

import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.errors import (
    CarriedTypeError,
    ControlFlowError,
    DotError,
    DtypeError,
    IndexingError,
    MaskError,
    NotCallableError,
    PointerError,
    RecursionLimitError,
    ReduceError,
    ShapeError,
    TileSizeError,
    UnsupportedSyntaxError,
)
from zmlx.frontend.source import ArrayArg

# -- types and shapes ----------------------------------------------------------------------------------------------------


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


# -- control flow --------------------------------------------------------------------------------------------------------


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


# -- subscripts ----------------------------------------------------------------------------------------------------------


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


# -- syntax --------------------------------------------------------------------------------------------------------------


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
