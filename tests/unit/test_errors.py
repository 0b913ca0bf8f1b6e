"""One small kernel for every kind of user error: tests/support/wrong_*.py.

Each test compiles its kernel and checks the class of the error, that it points at the marked line, that the phrase there
is in its message, what is underlined, and that it says what to write instead.
"""

from __future__ import annotations

import linecache
import re

import pytest
import wrong_flow as flow
import wrong_names as names
from wrong_kernel import CASES, Case, failure, jit, text_of

import zmlx.language as tl
from zmlx import errors
from zmlx.errors import CallError, CompilationError, RecursionLimitError
from zmlx.frontend.source import JitCallable

# -- the checks ----------------------------------------------------------------------------------------------------------


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


# -- remedies and chains -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "remedy"),
    [
        (flow.subscripted_pointer, "tl.load(out + 0)"),
        (names.prefix_forgotten, "did you mean `tl.arange`?"),
        (names.misspelt_name, "did you mean `offsets`?"),
        (names.misspelt_function, "tl.arange"),
        (names.misspelt_attribute, "x.shape"),
        (names.misspelt_keyword, "did you mean `mask`?"),
        (names.device_keyword_misspelt, "did you mean `factor`?"),
        (names.missing_in_module, "math.sqrt"),
        (names.python_global, "SIZE = tl.constexpr(16)"),
        (names.plain_python_function, "decorate it with @zmlx.jit"),
        (names.numpy_function, "tl.exp"),
        (flow.tile_condition, "tl.where"),
        (flow.loop_changes_type, ".to(tl.int32)"),
        (flow.loop_changes_shape, "tl.zeros((16,), tl.float32)"),
        (flow.branches_of_two_types, ".to(tl.int32)"),
        (flow.not_a_power_of_two, "128"),
        (names.missing_argument, "tl.load(pointer"),
        (names.device_argument_missing, "scale(x, factor)"),
        (flow.break_, "while"),
        (flow.matmul_operator, "tl.dot"),
        (flow.kernel_returns_a_value, "tl.store"),
    ],
)
def test_the_remedy_says_what_to_write(kernel: JitCallable, remedy: str) -> None:
    assert remedy in failure(kernel, {}).remedy


def test_both_lines_are_named() -> None:
    e = failure(flow.branches_of_two_types, {})
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
    shown = str(failure(flow._recursion, {}))
    assert shown.count("forever(x)") == 1 and "tl.store(out, forever(n))" in shown


@jit
def ping(x):
    y = 1.0
    if x > 1:
        if x > 2:
            for i in range(x):  # noqa: B007
                y = 1 + (2 + (3 + (4 + (5 + (6 + (7 + pong(x)))))))
    return y


@jit
def pong(x):
    return ping(x) + 1


@jit
def mutual_kernel(out, n):
    tl.store(out, ping(n))


def test_mutual_recursion_with_much_in_between() -> None:
    e = failure(mutual_kernel, {})
    assert isinstance(e, RecursionLimitError) and "calls itself without end" in e.message and len(str(e).splitlines()) < 30


@jit
def wrong_combine(a, b, c):
    return a


@jit
def combine_kernel(out):
    tl.store(out, tl.reduce(tl.arange(0, 16), 0, wrong_combine))


def test_a_combine_function_of_the_wrong_arity() -> None:
    e = failure(combine_kernel, {})
    assert isinstance(e, CallError) and "wrong_combine() is called with 2 values" in e.message and "wrong_combine(a, b, c)" in e.remedy
