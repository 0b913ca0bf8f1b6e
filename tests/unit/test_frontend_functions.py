"""Device functions, statements, and where kernels come from."""

from __future__ import annotations

import linecache
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
from traced import arguments, compiled, from_text, jit, launch, ops, value_of

import zmlx
import zmlx.language as tl
from zmlx import dtypes as dt
from zmlx.errors import CompilationError, InternalCompilerError, UndefinedNameError, UnsupportedSyntaxError
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg, Source


@jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    """A docstring."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out + offsets, tl.load(x + offsets, mask=mask) + tl.load(y + offsets, mask=mask), mask=mask)


# -- device functions ----------------------------------------------------------------------------------------------------


@jit
def twice(x):
    return x * 2


@jit
def minmax(a, b):
    if a < b:
        return a, b
    return b, a


@jit
def apply(fn: tl.constexpr, x, times: tl.constexpr = 1):
    for _ in tl.static_range(times):
        x = fn(x)
    return x


@jit
def clipped(x, lo=0.0, *, hi):
    if x < lo:
        return lo
    elif x > hi:
        return hi
    y = x + 0.0
    return y


@jit
def nothing(p, x):
    if x > 0:
        tl.store(p, x)


@jit
def device_kernel(out, a, b):
    low, high = minmax(a, b)
    tl.store(out, low)
    tl.store(out + 1, high)
    tl.store(out + 2, apply(twice, a, times=3))
    tl.store(out + 3, clipped(a, hi=2.0))
    nothing(out + 4, b)
    t = minmax(*(b, a))
    tl.store(out + 5, t[0] + apply(fn=tl.abs, x=a))


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (5.0, -3.0), (-1.0, -1.0)])
def test_device_functions(a, b):
    want = [min(a, b), max(a, b), a * 8, min(max(a, 0), 2), max(b, 0), min(a, b) + abs(a)]
    assert value_of(device_kernel, size=6, a=a, b=b).tolist() == want


@jit
def block_of(n, shape: tl.constexpr):
    tl.static_assert(n == 16)
    return tl.zeros((n,), tl.float32) + tl.full(shape, 1, tl.float32)


@jit
def constants_through_kernel(out, N: tl.constexpr):
    tl.store(out + tl.arange(0, N), block_of(N, (N,)))


def test_constants_stay_constants_in_device_functions():
    assert (value_of(constants_through_kernel, size=16, N=16) == 1).all()


@jit
def factorial(n: tl.constexpr):
    if n <= 1:
        return 1
    return n * factorial(n - 1)


@jit
def recursive_kernel(out):
    tl.store(out, factorial(5))


def test_recursion_that_constants_end():
    assert value_of(recursive_kernel, "int32") == 120


@jit
def add(a, b):
    return a + b


@jit
def argmax_step(v, i, w, j):
    take = (w > v) | ((w == v) & (j < i))
    return tl.where(take, w, v), tl.where(take, j, i)


@jit
def combine_kernel(out, x, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    best, at = tl.reduce((v, i), 0, argmax_step)
    tl.store(out, best + at.to(tl.float32) * 100)
    tl.store(out + 1, tl.reduce(v, 0, add))
    tl.store(out + 2 + i, tl.associative_scan(v, 0, add))
    tl.store(out + 2 + N, tl.softmax(v).sum(axis=0))


def test_combine_functions_are_inlined():
    x = np.array([1, 5, 2, 5], np.float32)
    out = value_of(combine_kernel, size=7, x=x, N=4)
    assert out.tolist() == [105, 13, 1, 6, 8, 13, 1]


def test_inlined_ops_know_their_callers():
    fn = compiled(device_kernel, out=np.zeros(1, np.float32), a=1.0, b=2.0)
    inner = next(op for op in fn.walk() if op.loc.function == "twice")
    assert [inner.loc.function, inner.loc.caller.function, inner.loc.caller.caller.function] == ["twice", "apply", "device_kernel"]
    library = next(
        op for op in compiled(combine_kernel, out=np.zeros(1, np.float32), x=np.zeros(4, np.float32), N=4).walk() if op.name == "exp"
    )
    assert "tl.softmax(v)" in linecache.getline(library.loc.file, library.loc.line)


@jit
def host_functions_kernel(out, n, N: tl.constexpr):
    tl.store(out, zmlx.cdiv(n, 4) + zmlx.cdiv(N, 4) + zmlx.next_power_of_2(N))


def test_host_functions_work_in_kernels():
    assert value_of(host_functions_kernel, n=5, N=6) == 2 + 2 + 8


# -- statements ----------------------------------------------------------------------------------------------------------


@jit
def assert_kernel(out, n, N: tl.constexpr):
    assert N > 0, f"N is {N}"
    assert n < 10, "n is small"
    print("n is", n)
    tl.store(out, n)


def test_assert_and_print():
    assert "device_assert" in ops(compiled(assert_kernel, out=np.zeros(1, np.float32), n=1, N=1))
    lines = launch(assert_kernel, out=np.zeros(1, np.float32), n=3, N=1)
    assert len(lines) == 1 and "n is" in lines[0] and "3" in lines[0]


def test_static_print(capsys):
    @jit
    def show(out, N: tl.constexpr):
        x = tl.arange(0, N)
        tl.static_print("N", N, x, f"{x} {N:04d} {'s'!r}")

    compiled(show, out=np.zeros(1, np.float32), N=4)
    assert capsys.readouterr().out == "N 4 x: 4xi32 4xi32 0004 's'\n"


# -- sources -------------------------------------------------------------------------------------------------------------


def test_kernels_from_notebooks_and_columns_of_non_ascii_lines():
    k = from_text('@jit\ndef k(out):\n    "ä"; tl.store(out, "é" + 1)\n', "k")
    with pytest.raises(CompilationError) as e:
        trace(k, {"out": ArrayArg(dt.float32)})
    assert e.value.loc is not None and (e.value.loc.line, e.value.loc.col, e.value.loc.end_col) == (3, 23, 30)
    assert str(e.value).count("^^^^^^^") == 1


def test_indented_and_decorated_functions():
    def other(fn):
        return fn

    class Holder:
        @jit
        @other
        def kernel(out, N: tl.constexpr = 3, *, M: tl.constexpr = 4):
            """Indented
            docstring."""
            tl.store(out, N * M)

    assert [(p.name, p.is_constexpr, p.keyword_only) for p in Holder.kernel.params] == [
        ("out", False, False),
        ("N", True, False),
        ("M", True, True),
    ]
    assert value_of(Holder.kernel) == 12
    assert "@jit" not in Holder.kernel.source.text


def test_do_not_specialize_by_name_and_position():
    k = JitCallable(add_kernel.fn, do_not_specialize=["n", 0])
    assert [p.name for p in k.params if p.do_not_specialize] == ["x", "n"]
    with pytest.raises(CompilationError, match="do_not_specialize"):
        JitCallable(add_kernel.fn, do_not_specialize=["m"])


@pytest.mark.parametrize(
    "fn", [lambda x: x, len, JitCallable, 3, "text", (lambda: (yield))], ids=["lambda", "builtin", "class", "number", "string", "generator"]
)
def test_what_is_no_kernel(fn):
    with pytest.raises(UnsupportedSyntaxError) as e:
        jit(fn)
    assert e.value.remedy


def test_methods_and_variadic_functions_are_refused():
    class C:
        def method(self, x):
            pass

    def variadic(*args):
        pass

    for fn in (C.method, C().method, variadic, add_kernel):
        with pytest.raises(UnsupportedSyntaxError):
            jit(fn)


def test_a_function_without_source():
    scope: dict[str, Any] = {}
    exec("def k(x):\n    pass\n", scope)
    with pytest.raises(UnsupportedSyntaxError, match="source of `k` cannot be read") as e:
        trace(jit(scope["k"]), {"x": ArrayArg(dt.float32)})
    assert "notebook" in e.value.remedy


def test_a_file_that_changed_since_import():
    text = "def k(x):\n    pass\n"
    k = from_text(text, "k")
    linecache.cache[k.fn.__code__.co_filename] = (1, None, ["def k(x, y):\n", "    pass\n"], "")
    with pytest.raises(UnsupportedSyntaxError, match="changed"):
        k.params  # noqa: B018


def test_the_hash_sees_what_a_trace_can_see():
    def make(body: str, **names: Any) -> str:
        return from_text(f"def k(out):\n    {body}\n", "k", **names).source_hash

    helper = from_text("def h(x):\n    return x\n", "h")
    changed = from_text("def h(x):\n    return x + 1\n", "h")
    assert make("tl.store(out, C)", C=tl.constexpr(1)) == make("tl.store(out, C)", C=tl.constexpr(1))
    different = [
        make("tl.store(out, C)", C=tl.constexpr(1)), make("tl.store(out, C)", C=tl.constexpr(2)),
        make("tl.store(out, C)", C=tl.constexpr(2.0)),
        make("tl.store(out, h(1))", h=helper), make("tl.store(out, h(1))", h=changed),
        make("tl.store(out, m.h(1))", m=types.SimpleNamespace(h=helper)), make("tl.store(out, m.h(1))", m=types.SimpleNamespace(h=changed)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


def test_the_hash_is_stable_across_processes():
    folder = __file__.rpartition("/")[0]
    code = f"import sys; sys.path.insert(0, {folder!r}); import test_frontend_functions as t; print(t.device_kernel.source_hash)"
    path = ":".join(sys.path)
    found = set()
    for seed in ("1", "2"):
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        found.add(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout)
    assert len(found) == 1


def test_traces_are_equal():
    fns = [str(compiled(device_kernel, out=np.zeros(1, np.float32), a=1.0, b=2.0)) for _ in range(2)]
    assert fns[0] == fns[1]


def test_kernel_arguments_are_checked():
    with pytest.raises(CompilationError, match="`n` of `add_kernel` is missing"):
        trace(add_kernel, {"x": ArrayArg(dt.float32), "y": ArrayArg(dt.float32), "out": ArrayArg(dt.float32), "BLOCK": ConstexprArg(4)})
    with pytest.raises(CompilationError, match="no parameter `z`"):
        trace(add_kernel, {"z": ArrayArg(dt.float32)})
    with pytest.raises(CompilationError, match=r"`BLOCK` is a tl\.constexpr"):
        args: dict[str, Any] = dict.fromkeys(("x", "y", "out"), ArrayArg(dt.float32))
        trace(add_kernel, {**args, "n": ScalarArg(dt.int32), "BLOCK": ScalarArg(dt.int32)})


def test_a_bug_of_the_compiler_says_so(monkeypatch, tmp_path):
    def broken(b, *args, **kwargs):
        raise KeyError("oops")

    monkeypatch.setattr(tl.program_id, "fn", broken)
    given = {name: np.zeros(1, np.float32) for name in ("x", "y", "out")}
    with pytest.raises(InternalCompilerError, match=r"bug of zmlx(.|\n)*report(.|\n)*ZMLX_DUMP_DIR"):
        compiled(add_kernel, **given, n=3, BLOCK=16)
    monkeypatch.setenv("ZMLX_DUMP_DIR", str(tmp_path / "new"))
    with pytest.raises(InternalCompilerError, match=r"add_kernel.partial.tile"):
        compiled(add_kernel, **given, n=3, BLOCK=16)
    assert (tmp_path / "new" / "add_kernel.partial.tile").read_text().startswith("kernel add_kernel(")


def test_deep_expressions_and_long_kernels():
    deep = from_text("def k(out, a):\n    tl.store(out, " + " + ".join(["a"] * 2000) + ")\n", "k")
    with pytest.raises(UnsupportedSyntaxError, match="nested too deep"):
        compiled(deep, out=np.zeros(1, np.int32), a=1)

    def work(n: int) -> int:
        """The Python calls of a trace of n statements."""
        k = from_text("def k(out, a):\n    x = a\n" + "".join(f"    x = x * {i} + a\n" for i in range(n)) + "    tl.store(out, x)\n", "k")
        args = arguments(k, {"out": np.zeros(1, np.int32), "a": 1})
        trace(k, args)
        calls = 0

        def count(frame: Any, event: str, arg: Any) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            trace(k, args)
        finally:
            sys.setprofile(None)
        return calls

    assert work(800) < 8.5 * work(100)


def test_undefined_names_in_notebooks_after_deletion():
    k = from_text("def k(out):\n    tl.store(out, gone)\n", "k")
    with pytest.raises(UndefinedNameError, match="`gone` is not defined"):
        compiled(k, out=np.zeros(1, np.float32))


def test_what_a_text_says_is_kept_on_disk_and_read_without_parsing(monkeypatch, tmp_path):
    monkeypatch.setenv("ZMLX_CACHE", "1")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path))

    def again() -> Source:
        return Source(named.fn)

    named = from_text("@jit\ndef k(out, N: tl.constexpr, *, m=C):\n    tl.store(out, C + N)\n", "k", C=tl.constexpr(3), jit=jit)
    parsed = Source(named.fn)
    assert set(parsed.facts.names) == {"tl", "tl.store", "C"} and parsed.constexprs == {"N"} and parsed.text.startswith("def k(")
    monkeypatch.setattr(Source, "_parse", lambda self: pytest.fail("parsed again"))
    assert (again().facts, again().text, again().constexprs) == (parsed.facts, parsed.text, parsed.constexprs)
    # What the names mean is looked up anew, and a file that is another by now is still refused.
    before = jit(named.fn).source_hash
    named.fn.__globals__["C"] = tl.constexpr(4)
    assert jit(named.fn).source_hash != before
    linecache.cache[named.fn.__code__.co_filename][2][1] = "def other(out, N: tl.constexpr, *, m=C):\n"
    monkeypatch.undo()
    with pytest.raises(UnsupportedSyntaxError, match="changed"):
        again().facts  # noqa: B018


def test_a_text_that_seems_to_end_early_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("ZMLX_CACHE", "1")
    monkeypatch.setenv("ZMLX_CACHE_DIR", str(tmp_path))
    hashes = set()
    for ending in ("1", "2"):  # the line at the margin ends the function for a reader that knows no strings
        k = from_text(f'def k(out):\n    x = """Long\nagainst the margin."""\n    tl.store(out, {ending})\n', "k")
        assert k.source.text.endswith(f"{ending})\n")
        hashes.add(k.source_hash)
    assert len(hashes) == 2 and not list(tmp_path.rglob("facts/*/*"))
