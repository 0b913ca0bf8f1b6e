"""The generated MSL is MLX's own, letter by letter: MLX generates it on any machine while a function is exported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from zmlx.simulator.source import ATTRIBUTES, TYPE_NAMES, Generator, InputKind

ELEMENTWISE = "uint elem = thread_position_in_grid.x;\nout[elem] = inp[elem];"
SHAPES = "uint n = inp_ndim; auto loc = elem_to_loc(thread_position_in_grid.x, inp_shape, inp_strides, inp_ndim); out[0] = inp[loc];"


def generated_by_mlx(arguments: dict[str, Any], inputs: Sequence[mx.array], call: dict[str, Any]) -> str:
    """What MLX prints for `verbose=True`."""
    kernel = mx.fast.metal_kernel(**arguments)

    def traced(*arrays: mx.array) -> list[mx.array]:
        return kernel(inputs=list(arrays), grid=(1, 1, 1), threadgroup=(1, 1, 1), verbose=True, **call)

    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "printed"
        saved = os.dup(1)
        with printed.open("w") as file:
            os.dup2(file.fileno(), 1)
            try:
                mx.export_function(os.path.join(folder, "exported"), traced, *inputs)
            finally:
                os.dup2(saved, 1)
                os.close(saved)
        return printed.read_text().split("```\n", 1)[1].rsplit("\n```\n", 1)[0]


def generated(arguments: dict[str, Any], inputs: Sequence[mx.array], call: dict[str, Any]) -> str:
    generator = Generator(
        arguments["name"], arguments["input_names"], arguments["output_names"], arguments["source"],
        arguments.get("header", ""), arguments.get("atomic_outputs", False),
    )  # fmt: skip
    return generator.program([InputKind.of(x) for x in inputs], call["output_dtypes"], call.get("template", [])).text


def the_same(arguments: dict[str, Any], inputs: Sequence[mx.array], dtypes: Sequence[mx.Dtype], template: Any = None) -> str:
    call: dict[str, Any] = {"output_shapes": [(1,)] * len(dtypes), "output_dtypes": list(dtypes)}
    if template is not None:
        call["template"] = template
    ours = generated(arguments, inputs, call)
    assert ours == generated_by_mlx(arguments, inputs, call)
    return ours


def named(source: str, inputs: Sequence[str] = ("inp",), outputs: Sequence[str] = ("out",), **more: Any) -> dict[str, Any]:
    return {"name": "k", "input_names": list(inputs), "output_names": list(outputs), "source": source, **more}


@pytest.mark.parametrize("shape", [(16,), (7,), (8,), (), (1,), (4, 4), (0,)], ids=str)
@pytest.mark.parametrize("source", [ELEMENTWISE, SHAPES], ids=["elementwise", "shapes"])
def test_inputs_of_every_size(source: str, shape: tuple[int, ...]) -> None:
    the_same(named(source), [mx.zeros(shape)], [mx.float32])


@pytest.mark.parametrize("dtype", [d for d in TYPE_NAMES if d != mx.float64], ids=str)
def test_every_dtype(dtype: mx.Dtype) -> None:
    text = the_same(named(ELEMENTWISE), [mx.zeros((9,), dtype=dtype)], [dtype], [("T", dtype)])
    assert f"<{TYPE_NAMES[dtype]}>;" in text


def test_template_arguments() -> None:
    template = [("T", mx.bfloat16), ("N", -3), ("M", 0), ("B", True), ("C", False)]
    text = the_same(named(ELEMENTWISE, header="#define X 1\n"), [mx.zeros((9,))], [mx.float16], template)
    assert text.startswith("#define X 1\ntemplate <typename T, int N, int M, bool B, bool C>\n")


def test_every_attribute() -> None:
    for name in ATTRIBUTES:
        the_same(named(f"out[0] = {name};"), [mx.zeros((9,))], [mx.float32])
    the_same(named(" ".join(ATTRIBUTES)), [mx.zeros((9,))], [mx.float32])


def test_atomic_outputs() -> None:
    text = the_same(named(ELEMENTWISE, outputs=("a", "b"), atomic_outputs=True), [mx.zeros((9,))], [mx.float32, mx.uint32])
    assert "device atomic<uint32_t>* b" in text


@pytest.mark.parametrize("source", ["out[0] = 1;", "out[0] = inp_ndim; other[0] = 2;", "out[0] = inp_shape[0] + inp_ndim + grid_size.x;"])
@pytest.mark.parametrize("inputs", [0, 1, 3])
def test_ends_of_the_parameter_list(source: str, inputs: int) -> None:
    """With shape arguments and no attribute, MLX closes the list after the first output: a text that no compiler takes."""
    names = [("inp", "b", "c")[i] for i in range(inputs)]
    the_same(named(source, names, ("out", "other")), [mx.zeros((9, 2))] * inputs, [mx.float32] * 2)


def test_a_header_without_a_line_end() -> None:
    text = the_same(named(ELEMENTWISE, header="struct S {};"), [mx.zeros((9,))], [mx.float32])
    assert text.startswith("struct S {};[[kernel]] void")


def test_lines_of_the_parts() -> None:
    generator = Generator("k", ["inp"], ["out"], "\nfirst\nsecond\n", "one\ntwo\n", False)
    program = generator.program([InputKind(mx.float32, False, False)], [mx.float32], [("T", mx.float32)])
    lines = program.text.splitlines()
    assert program.header_lines == 2 and lines[program.source_start] == "first" and program.source_lines == 4
