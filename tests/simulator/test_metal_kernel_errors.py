"""Bad calls, text that does not compile, refused features, limits: what is said, and where."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import pytest

from zmlx import simulator
from zmlx.simulator import MetalCompileError, MetalKernelError, SanitizerError, UnsupportedFeature

GOOD: dict[str, Any] = {
    "inputs": [mx.ones(16)], "output_shapes": [(16,)], "output_dtypes": [mx.float32], "grid": (16, 1, 1), "threadgroup": (16, 1, 1),
}  # fmt: skip


def made(source: str = "out[thread_position_in_grid.x] = x[0];", header: str = "", **options: Any) -> simulator.MetalKernel:
    return simulator.metal_kernel("k", ["x"], ["out"], source, header, **options)


def refused(source: str, header: str = "", **call: Any) -> str:
    with pytest.raises(MetalCompileError) as caught:
        made(source, header)(**GOOD | call)
    return str(caught.value)


# ---- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inputs": []}, "Expected `inputs` to have size 1 but got size 0"),
        ({"output_shapes": [(1,), (2,)]}, "Expected `output_shapes` to have size 1 but got size 2"),
        ({"output_dtypes": []}, "Expected `output_dtypes` to have size 1 but got size 0"),
        ({"output_dtypes": ["float32"]}, "no dtype of MLX"),
        ({"output_dtypes": [mx.float64]}, "does not have float64"),
        ({"inputs": [mx.array([1.0], mx.float64)]}, "`x` is float64"),
        ({"inputs": [[1.0, 2.0]]}, r"inputs\[0\] is a list"),
        ({"template": [("T", "float")]}, "Invalid template argument. Must be `mlx.core.Dtype`, `int` or `bool`"),
        ({"template": [("N", 1 << 40)]}, "no 32-bit integer"),
        ({"template": ["T"]}, "list of .name, value. pairs"),
        ({"grid": (16,)}, "`grid` must be a tuple of 3"),
        ({"grid": (-1, 1, 1)}, "`grid` is .-1, 1, 1."),
        ({"threadgroup": (0, 1, 1)}, "at least 1"),
        ({"output_shapes": [(-1,)]}, "negative size"),
        ({"threadgroup": (1024, 2, 1)}, r"Thread group size \(2048\) is greater"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_calls_that_mlx_refuses(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MetalKernelError, match=says) as caught:
        made()(**GOOD | change)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"compile_options": {"math_mode": "quick"}}, "'safe', 'relaxed', or 'fast'"),
        ({"compile_options": {"speed": 1}}, "Unknown compile option `speed`"),
        ({"compile_options": ["math_mode"]}, "to be a dict"),
    ],
)
def test_options_that_mlx_refuses(options: dict[str, Any], says: str) -> None:
    with pytest.raises(MetalKernelError, match=says):
        made(**options)


def test_at_least_one_output() -> None:
    with pytest.raises(ValueError, match="at least one output"):
        simulator.metal_kernel("k", ["x"], [], "")


def test_tracing_is_refused() -> None:
    for transform in (mx.compile, mx.vmap):
        with pytest.raises(ValueError, match="call it outside of them"):
            transform(lambda x: made()(**GOOD | {"inputs": [x]})[0])(mx.ones((4, 16)))


def test_gradients_are_refused_rather_than_zero() -> None:
    def loss(x: mx.array) -> mx.array:
        return made()(**GOOD | {"inputs": [x]})[0].sum()

    with pytest.raises(ValueError, match="no derivative"):
        mx.grad(loss)(mx.ones(16))
    with pytest.raises(ValueError, match="no derivative"):
        mx.jvp(loss, [mx.ones(16)], [mx.ones(16)])


def test_a_custom_function_gives_a_kernel_its_gradient() -> None:
    double = made("uint i = thread_position_in_grid.x; out[i] = x[i] * 2;")

    @mx.custom_function
    def f(x: mx.array) -> mx.array:
        return double(**GOOD | {"inputs": [x]})[0]

    @f.vjp
    def _(_x: Any, cotangent: mx.array, _out: mx.array) -> mx.array:
        return double(**GOOD | {"inputs": [cotangent]})[0]

    value, gradient = mx.value_and_grad(lambda x: f(x).sum())(mx.ones(16))
    assert value.item() == 32 and gradient.tolist() == [2.0] * 16


# ---- text that does not compile ---------------------------------------------------------------------------------------


def test_an_undeclared_name() -> None:
    said = refused("\n    uint i = thread_position_in_grid.x;\n    out[i] = x[i] * scale;\n")
    assert "program_source:3:" in said and "use of undeclared identifier 'scale'" in said
    _, line, mark = said[said.index("program_source:3") :].split("\n")[:3]
    assert line.strip() == "out[i] = x[i] * scale;" and line.index("scale") == mark.index("^^^^^") and mark.count("^") == 5


def test_several_errors_in_their_order() -> None:
    said = refused("float a = first;\nfloat b = second;\nout[0] = a + b;")
    assert said.index("program_source:1:11: error") < said.index("program_source:2:11: error")


def test_a_missing_semicolon() -> None:
    said = refused("float a = 1\nout[0] = a;")
    assert "expected" in said and "';'" in said and "program_source:" in said


def test_an_error_in_the_header() -> None:
    said = refused("out[0] = helper(x[0]);", "// one\n// two\ninline float helper(float v) { return v + missing; }\n")
    assert "header:3:" in said and "return v + missing;" in said and "undeclared identifier 'missing'" in said


def test_an_error_in_an_instantiated_template_names_the_call() -> None:
    header = "struct S { float v; };\ntemplate <typename U> float doubled(U x) {\n  return x.missing;\n}\n"
    said = refused("S s{x[0]};\nout[0] = doubled(s);", header)
    assert "header:3:" in said and "missing" in said and "source:2" in said and "out[0] = doubled(s);" in said
    assert "zm/" not in said and ".cpp" not in said


def test_a_template_argument_that_is_not_passed() -> None:
    said = refused("T v = x[0]; out[0] = v;")
    assert "'T'" in said and 'template=[("T", mx.float32)]' in said


def test_a_shape_of_an_input_without_dimensions() -> None:
    said = refused("out[0] = x_shape[0];", inputs=[mx.array(1.0)])
    assert "x_shape" in said and "reshape it to (1,)" in said


def test_an_input_is_const() -> None:
    assert "program_source:1:" in refused("x[0] = 1;")


def test_an_unclosed_brace() -> None:
    for template in ([], [("T", mx.float32)]):
        said = refused("if (x[0] > 0) {\n  out[0] = 1;", template=template)
        assert "program_source:2:" in said and "the braces of the source do not pair" in said and "zm_entry" not in said


def test_a_brace_too_many() -> None:
    said = refused("if (x[0] > 0) {\n  out[0] = 1; }}")
    assert "program_source:2:" in said and "the braces of the source do not pair" in said


def test_shape_arguments_without_an_attribute_break_two_outputs_as_on_a_mac() -> None:
    kernel = simulator.metal_kernel("k", ["x"], ["a", "b"], "a[0] = x_shape[0] + x_ndim; b[0] = 1;")
    with pytest.raises(MetalCompileError):
        kernel(**GOOD | {"output_shapes": [(1,)] * 2, "output_dtypes": [mx.float32] * 2})


def test_a_function_constant_has_no_value() -> None:
    said = refused("out[0] = wide ? 1 : 0;", "constant bool wide [[function_constant(3)]];\n")
    assert "function constant" in said and "template parameter" in said


def test_32_buffers() -> None:
    names = [f"x{i}" for i in range(31)]
    kernel = simulator.metal_kernel("k", names, ["out"], "out[0] = x0[0];")
    call = GOOD | {"inputs": [mx.ones(16)] * 31, "output_shapes": [(1,)]}
    with pytest.raises(MetalCompileError, match="takes 32 buffers"):
        kernel(**call)
    with simulator.installed(sanitize=True), pytest.raises(SanitizerError) as caught:
        kernel(**call)
    assert [r.kind for r in caught.value.reports] == ["limit"]


# ---- refused features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "header", "name", "place"),
    [
        ("\n  texture2d<float> t;\n", "", "textures", "program_source:2:3"),
        ("out[0] = 1;", "\n\nconstexpr sampler s(filter::linear);\n", "samplers", "header:3:1"),
        ("out[0] = 1;", "using execution = execution_simdgroups<4>;\n", "tensor operations of several simdgroups", "header:1:1"),
        ("raytracing::intersector<> i;", "", "ray tracing", "program_source:1:1"),
    ],
)
def test_features_are_refused_by_name(source: str, header: str, name: str, place: str) -> None:
    with pytest.raises(UnsupportedFeature, match=name) as caught:
        made(source, header)(**GOOD)
    said = str(caught.value)
    assert said.startswith(f"{place}: the simulator does not run") and "instead:" in said


# ---- kernels that do not end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sanitize", [False, True])
def test_an_endless_loop_is_stopped(sanitize: bool) -> None:
    source = "\nuint i = thread_position_in_grid.x;\nwhile (x[0] > 0) {\n  out[i] += 1;\n}\n"
    with pytest.raises(SanitizerError) as caught:
        made(source, sanitize=sanitize, time_limit=0.3)(**GOOD | {"init_value": 0})
    report = caught.value.reports[0]
    assert report.kind == "endless" and report.line is not None and report.line.origin == "source" and 3 <= report.line.number <= 4


def test_a_wait_for_a_thread_that_never_comes_is_stopped() -> None:
    source = """
        threadgroup atomic_uint flag;
        if (thread_index_in_threadgroup == 0) atomic_store_explicit(&flag, 0u, memory_order_relaxed);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        while (atomic_load_explicit(&flag, memory_order_relaxed) == 0u) {}
        out[thread_position_in_grid.x] = 1;
    """
    with pytest.raises(SanitizerError) as caught:
        made(source, time_limit=0.3)(**GOOD)
    assert caught.value.reports[0].kind == "endless"


def test_a_crash_is_a_report_and_the_next_launch_runs() -> None:
    with pytest.raises(SanitizerError) as caught:
        made("device float* p = (device float*)8; *p = x[0];")(**GOOD)
    report = caught.value.reports[0]
    assert report.kind == "crash" and report.line is not None and report.line.number == 1
    assert made()(**GOOD)[0].tolist() == [1.0] * 16
