"""installed(), what becomes of reports, Python lines, and the trace of one thread."""

from __future__ import annotations

import sys
import textwrap
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from zmlx import simulator
from zmlx.errors import Loc
from zmlx.simulator import SanitizerError

PAST_THE_END = "uint i = thread_position_in_grid.x;\nout[i] = x[i + 1];"
MLX_KERNEL = mx.fast.metal_kernel


def launch(source: str = PAST_THE_END, make: Any = None, header: str = "", name: str = "shift", n: int = 32, **options: Any) -> mx.array:
    kernel = (make or simulator.metal_kernel)(name=name, input_names=["x"], output_names=["out"], source=source, header=header, **options)
    return run(kernel, n)


def run(kernel: Any, n: int = 32) -> mx.array:
    return kernel(
        inputs=[mx.arange(32, dtype=mx.float32)], grid=(n, 1, 1), threadgroup=(32, 1, 1), output_shapes=[(32,)], output_dtypes=[mx.float32],
    )[0]  # fmt: skip


LIBRARY = """
    import mlx.core as mx

    _double = None
    if mx.metal.is_available():
        _double = mx.fast.metal_kernel(
            name="double", input_names=["x"], output_names=["out"],
            source="uint i = thread_position_in_grid.x; out[i] = x[i] * 2;",
        )

    def double(x):
        if _double is None or mx.default_device() != mx.gpu:
            return None
        with mx.stream(mx.gpu):
            y = x + 0
        return _double(inputs=[y], grid=(x.size, 1, 1), threadgroup=(32, 1, 1), output_shapes=[x.shape], output_dtypes=[x.dtype],
                       stream=mx.default_stream(mx.gpu))[0]
"""


@pytest.fixture
def library() -> Iterator[Any]:
    """Somebody's package, imported anew."""

    def load() -> types.ModuleType:
        module = types.ModuleType("somebodys_kernels")
        exec(textwrap.dedent(LIBRARY), module.__dict__)
        sys.modules[module.__name__] = module
        return module

    yield load
    sys.modules.pop("somebodys_kernels", None)


def test_a_library_that_asks_for_a_gpu(library: Any) -> None:
    x = mx.arange(100, dtype=mx.float32)
    assert library().double(x) is None
    with simulator.installed(sanitize=True, pretend=True) as session:
        module = library()
        assert module.double(x).tolist() == [2.0 * i for i in range(100)]
        assert session.launches == 1 and session.kernels == 1 and not session.reports
        gpu = mx.default_device()
        assert gpu == mx.gpu and gpu != mx.cpu and mx.metal.is_available()
        assert not gpu != mx.gpu  # noqa: SIM202
        mx.set_default_device(mx.gpu)
        assert (mx.ones(3) + 1).tolist() == [2.0] * 3  # MLX's own operations go on
        assert mx.device_info()["max_recommended_working_set_size"] > 0
    assert mx.default_device() == mx.cpu and not mx.metal.is_available()
    assert module.double(x) is None


def test_it_takes_mlxs_place_and_gives_it_back() -> None:
    with simulator.installed():
        assert mx.fast.metal_kernel is simulator.metal_kernel
        with simulator.installed(pretend=True):
            assert mx.fast.metal_kernel is simulator.metal_kernel and mx.metal.is_available()
        assert mx.fast.metal_kernel is simulator.metal_kernel and not mx.metal.is_available()
        with pytest.raises(ZeroDivisionError), simulator.installed():
            1 / 0  # noqa: B018
        assert mx.fast.metal_kernel is simulator.metal_kernel
    assert mx.fast.metal_kernel is MLX_KERNEL


def test_install_and_uninstall() -> None:
    outer, inner = simulator.install(), simulator.install(sanitize=True)
    simulator.uninstall(outer)
    with pytest.raises(SanitizerError):
        launch(make=mx.fast.metal_kernel)
    assert inner.launches == 1 and outer.launches == 0
    simulator.uninstall()
    assert mx.fast.metal_kernel is MLX_KERNEL
    with pytest.raises(RuntimeError, match="not installed"):
        simulator.uninstall()


def test_kernels_made_before_stay_mlxs() -> None:
    before = mx.fast.metal_kernel(name="k", input_names=[], output_names=["out"], source="out[0] = 1;")
    with simulator.installed():
        assert type(before) is type(MLX_KERNEL("k", [], ["out"], "")) and not isinstance(before, simulator.MetalKernel)


def test_checks_are_chosen_at_the_launch() -> None:
    kernel = simulator.metal_kernel("shift", ["x"], ["out"], PAST_THE_END)
    assert run(kernel).shape == (32,)  # plain: what lies behind the input is read
    with simulator.installed(sanitize=True):
        with pytest.raises(SanitizerError):
            run(kernel)
        with simulator.installed(sanitize=False):
            run(kernel)
        with simulator.installed(), pytest.raises(SanitizerError):
            run(kernel)
    run(kernel)
    with pytest.raises(SanitizerError):
        launch(sanitize=True)


def test_the_innermost_session_collects() -> None:
    with simulator.installed(sanitize=True, on_report="collect") as outer:
        with simulator.installed(on_report="collect") as inner:
            out = launch()
        launch()
    assert out[:31].tolist() == [float(i) for i in range(1, 32)]
    assert [r.kind for r in inner.reports] == ["out-of-bounds"] == [r.kind for r in outer.reports]


def test_warnings() -> None:
    with simulator.installed(sanitize=True, on_report="warn") as session, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        launch()
    assert [w.category for w in caught] == [simulator.SanitizerWarning] and "x[32]" in str(caught[0].message) and len(session.reports) == 1


def test_sessions_hold_for_all_threads() -> None:
    found: list[str] = []
    kernel = simulator.metal_kernel("shift", ["x"], ["out"], PAST_THE_END)

    def work() -> None:
        try:
            run(kernel)
        except SanitizerError as e:
            found.append(e.reports[0].kind)

    with simulator.installed(sanitize=True):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert found == ["out-of-bounds"] * 4


def test_kernels_and_launches_are_counted() -> None:
    with simulator.installed(sanitize=False) as session:
        for _ in range(3):
            launch("out[thread_position_in_grid.x] = x[0];")
        launch("out[thread_position_in_grid.x] = x[1];")
    assert (session.kernels, session.launches) == (2, 4)


# ---- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_names_buffer_index_threads_and_line() -> None:
    with pytest.raises(SanitizerError) as caught:
        launch(sanitize=True)
    (report,) = caught.value.reports
    assert (report.kind, report.buffer, report.index, report.access, report.bytes) == ("out-of-bounds", "x", 32, "read", 4)
    assert report.line is not None and (report.line.origin, report.line.number) == ("source", 2)
    assert report.thread is not None and report.thread.position == (31, 0, 0)
    said = str(caught.value)
    assert "shift" in said and "x[32]" in said and "source:2: out[i] = x[i + 1];" in said


def test_a_race_names_both_lines() -> None:
    source = """
        threadgroup float shared[32];
        uint i = thread_position_in_grid.x;
        shared[i] = x[i];
        out[i] = shared[31 - i];
    """
    with pytest.raises(SanitizerError) as caught:
        launch(source, sanitize=True)
    report = next(r for r in caught.value.reports if r.kind == "race")
    assert report.buffer == "shared" and report.other is not None and report.thread is not None
    assert report.line is not None and report.other_line is not None and {report.line.number, report.other_line.number} == {4, 5}


HEADER = "// one\ninline float at(const device float* p, uint i) {\n  return p[i];\n}\n"


def test_a_fault_in_a_function_of_the_header_names_the_call_too() -> None:
    with pytest.raises(SanitizerError) as caught:
        launch("uint i = thread_position_in_grid.x;\nout[i] = at(x, i + 1);", header=HEADER, sanitize=True)
    (report,) = caught.value.reports
    assert report.line is not None and (report.line.origin, report.line.number) == ("header", 3)
    assert [(c.origin, c.number) for c in report.callers] == [("source", 2)]
    assert "header:3: return p[i];\n  called from source:2: out[i] = at(x, i + 1);" in str(report)


def test_a_fault_in_the_header_of_a_kernel_written_in_python_is_named_at_the_call() -> None:
    kernel = simulator.metal_kernel("shift", ["x"], ["out"], "out[thread_position_in_grid.x] = at(x, 99);", HEADER, sanitize=True)
    kernel.python_line = lambda line: Loc(__file__, 1, 0, 1, 3)
    with pytest.raises(SanitizerError) as caught:
        run(kernel)
    (report,) = caught.value.reports
    assert (
        report.line is not None and report.line.origin == "source" and report.line.python.startswith(f"{__file__}:1") and not report.callers
    )


def test_outputs_that_are_not_written() -> None:
    with pytest.raises(SanitizerError) as caught:
        launch("uint i = thread_position_in_grid.x; if (i != 7) out[i] = x[i];", sanitize=True)
    (report,) = caught.value.reports
    assert (report.kind, report.buffer, report.index) == ("unwritten-output", "out", 7) and report.thread is None


def test_views_are_as_aligned_as_on_a_mac() -> None:
    """x[1:] begins 4 bytes after a multiple of 16 there: a float4 in it is misaligned."""
    source = "uint i = thread_position_in_grid.x; ((device float4*)x)[i] = float4(i); out[i] = 1;"
    kernel = simulator.metal_kernel("fill4", ["x"], ["out"], source, sanitize=True, updated=["x"])
    whole = mx.arange(40, dtype=mx.float32)

    def filled(x: mx.array) -> list[float]:
        mx.eval(x)
        kernel(inputs=[x], grid=(8, 1, 1), threadgroup=(8, 1, 1), output_shapes=[(8,)], output_dtypes=[mx.float32])
        return x.tolist()

    want = [float(i // 4) for i in range(32)]
    assert filled(whole)[:32] == want and filled(whole[4:])[:32] == want
    with pytest.raises(SanitizerError) as caught:
        filled(whole[1:])
    assert ("misaligned", "x") in {(r.kind, r.buffer) for r in caught.value.reports}  # the processor may refuse it then


def test_lines_of_python() -> None:
    file = __file__
    line = next(i for i, text in enumerate(Path(file).read_text().splitlines(), 1) if text.startswith("PAST_THE_END"))
    asked: list[int] = []

    def python_line(number: int) -> Loc | None:
        asked.append(number)
        return Loc(file, line, 0, line, 12, "inner", Loc(file, line + 1, 0, line + 1, 10)) if number == 2 else None

    kernel = simulator.metal_kernel("shift", ["x"], ["out"], PAST_THE_END, sanitize=True)
    kernel.python_line = python_line
    with pytest.raises(SanitizerError) as caught:
        run(kernel)
    said = str(caught.value)
    assert f"{file}:{line}" in said and "PAST_THE_END = " in said and "^" * 12 in said
    assert f"called from {file}:{line + 1}" in said and "MLX_KERNEL = " in said and asked == [2]


# ---- trace ------------------------------------------------------------------------------------------------------------


def test_trace_shows_what_a_thread_does(capsys: pytest.CaptureFixture[str]) -> None:
    source = "uint i = thread_position_in_grid.x;\nfloat v = x[i] * 2;\nv = simd_sum(v);\nout[i] = v;"
    with simulator.trace(thread=(3, 0, 0)) as lines:
        launch(source)
    printed = capsys.readouterr().out
    assert printed.splitlines() == lines and lines[0] == "shift, thread (3, 0, 0):"
    assert [line.rpartition("source:")[2].split(":")[0] for line in lines[1:]] == ["2", "3", "4"]
    assert "x" in lines[1] and "simd_sum" in lines[2] and "out" in lines[3]
    launch(source)
    assert len(lines) == 4


def test_trace_of_one_kernel() -> None:
    one = simulator.metal_kernel("one", ["x"], ["out"], "out[thread_position_in_grid.x] = x[0];")
    with simulator.trace(kernel=one, echo=False) as lines:
        launch(name="other", source="out[thread_position_in_grid.x] = x[1];")
        run(one)
    assert lines[0] == "one, thread (0, 0, 0):" and len(lines) == 3


def test_a_trace_checks_nothing_by_itself() -> None:
    with simulator.trace(echo=False):
        launch()
