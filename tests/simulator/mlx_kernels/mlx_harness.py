"""MLX's own Metal kernels, from the headers of the installed wheel, launched as MLX's host code launches them.

A `Family` is one source with several instances of MLX's kernel templates, told apart by a scalar input, so that one compile
serves many cases. It takes two liberties that Metal does not give: it calls `[[kernel]]` functions as plain functions, and hands
buffers of bytes to arguments in the constant address space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import simulator
from zmlx.msl import mlx_header

FLOATS = {"float": mx.float32, "half": mx.float16, "bfloat16_t": mx.bfloat16}
# Comparisons are relative to the largest value: what rounding the result, and the sums before it, may cost.
TOLERANCE = {mx.float32: 2e-5, mx.float16: 2e-3, mx.bfloat16: 1.6e-2}


# The positions that MLX's kernels take, as a custom kernel names them.
GRID, GRID_SIZE = "thread_position_in_grid", "threads_per_grid"
GROUP, GROUPS = "threadgroup_position_in_grid", "threadgroups_per_grid"
THREAD, THREADS, INDEX = "thread_position_in_threadgroup", "threads_per_threadgroup", "thread_index_in_threadgroup"
SIMD, SIMDS, LANE = "simdgroup_index_in_threadgroup", "simdgroups_per_threadgroup", "thread_index_in_simdgroup"


def reads(t: str, *names: str) -> str:
    """Inputs as arguments of type `const device t*`."""
    return ", ".join(f"(const device {t}*){name}" for name in names)


def writes(t: str, *names: str) -> str:
    """Outputs as arguments of type `device t*`."""
    return ", ".join(f"(device {t}*){name}" for name in names)


def flags(*values: bool) -> str:
    """Template arguments."""
    return ", ".join(str(value).lower() for value in values)


@dataclass(frozen=True)
class Family:
    """Instances of MLX's kernels: `calls` maps a case to the call that runs it, over the inputs and outputs by name."""

    name: str
    headers: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    calls: dict[str, str]
    constants: tuple[str, ...] = ()  # function constants, made template parameters: of each template that uses one
    fixed: dict[str, str] = field(default_factory=dict)  # function constants given one value each: {"bool has_batch": "false"}

    def source(self) -> str:
        cases = "\n".join(f"  case {i}: {call}; break;" for i, call in enumerate(self.calls.values()))
        return f"switch (which) {{\n{cases}\n}}\n"

    def header(self) -> str:
        return specialised(mlx_header(*self.headers), self.constants, self.fixed)

    def run(
        self,
        case: str,
        inputs: Sequence[Any],
        outputs: Sequence[tuple[tuple[int, ...], mx.Dtype]],
        *,
        groups: tuple[int, ...] | None = None,
        threads: tuple[int, ...] | None = None,
        threadgroup: tuple[int, ...],
        sanitize: bool,
        init_value: float | None = None,
    ) -> list[np.ndarray]:
        """The outputs of one launch, by threadgroups or by threads, as NumPy arrays (bfloat16 as float32)."""
        threadgroup = (*threadgroup, 1, 1)[:3]
        if threads is None:
            assert groups is not None
            threads = tuple(g * t for g, t in zip((*groups, 1, 1)[:3], threadgroup, strict=True))
        kernel = _kernel(self.name, sanitize, (*self.inputs, "which"), self.outputs, self.source(), self.header())
        results = kernel(
            inputs=[*map(as_input, inputs), mx.array(list(self.calls).index(case), mx.int32)],
            output_shapes=[(max(1, int(np.prod(shape))) * dtype.size,) for shape, dtype in outputs],
            output_dtypes=[mx.uint8] * len(outputs),
            grid=(*threads, 1, 1)[:3],
            threadgroup=threadgroup,
            init_value=init_value,
        )
        return [as_numpy(raw.view(dtype).reshape(shape)) for raw, (shape, dtype) in zip(results, outputs, strict=True)]


@contextmanager
def found(*expected: tuple[str, str]) -> Iterator[None]:
    """The sanitizer finds these in the launches within, kind and buffer, and nothing else; launches give their results all the same."""
    with simulator.installed(sanitize=True, on_report="collect") as session:
        yield
    assert {(report.kind, report.buffer) for report in session.reports} == set(expected), "\n".join(map(str, session.reports))


@cache
def _kernel(name: str, sanitize: bool, inputs: tuple[str, ...], outputs: tuple[str, ...], source: str, header: str) -> Any:
    return simulator.metal_kernel(
        name=f"mlx_{name}", input_names=list(inputs), output_names=list(outputs), source=source, header=header, sanitize=sanitize
    )


def as_input(value: Any) -> mx.array:
    """Python scalars and small lists stay typed (int32, float32, or a NumPy scalar's type); arrays become bytes."""
    if isinstance(value, bool | np.bool_):
        return mx.array(bool(value))
    if isinstance(value, int):
        return mx.array(value, mx.int32)
    if isinstance(value, float):
        return mx.array(value, mx.float32)
    if isinstance(value, np.generic):
        return mx.array(value)
    if isinstance(value, list):
        return mx.array(value, mx.int32)
    if isinstance(value, np.ndarray) and value.dtype == np.int64:  # strides
        return mx.array(value)
    array = value if isinstance(value, mx.array) else mx.array(value)
    return array.reshape(-1).view(mx.uint8)


def as_numpy(array: mx.array) -> np.ndarray:
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


def size(n: int) -> np.uint64:
    """A `constant size_t&` argument."""
    return np.uint64(n)


def long(n: int) -> np.int64:
    """A `constant int64_t&` argument."""
    return np.int64(n)


def strides(*values: int) -> np.ndarray:
    """A `constant int64_t*` argument."""
    return np.array(values, np.int64)


def rounded(values: np.ndarray, dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    """The values as MLX holds them, and what they are after rounding, in float64."""
    array = mx.array(values.astype(np.float32)).astype(dtype)
    return array, as_numpy(array).astype(np.float64)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: mx.Dtype, scale: float = 1.0) -> tuple[mx.array, np.ndarray]:
    return rounded(rng.standard_normal(shape) * scale, dtype)


def close(got: np.ndarray, want: np.ndarray, dtype: mx.Dtype, times: float = 1.0) -> None:
    """Equal but for rounding: relative to the largest expected magnitude, infinities and NaN in the same places."""
    got = np.asarray(got, np.float64)
    assert got.shape == want.shape
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    assert np.isfinite(got[finite]).all()
    if finite.any():
        bound = TOLERANCE[dtype] * times * max(1e-30, float(np.abs(want[finite]).max()))
        worst = float(np.abs(got[finite] - want[finite]).max())
        assert worst <= bound, f"off by {worst:.3g}, where rounding explains {bound:.3g}"


def specialised(header: str, constants: tuple[str, ...], fixed: dict[str, str]) -> str:
    """A header whose function constants are template parameters, so that one source holds several specialisations.

    Every kernel template that mentions one of `constants` (`bool has_mask`) takes all of them first; `fixed` ones become constexpr.
    """
    for constant in (*constants, *fixed):
        value = f"constant constexpr {constant} = {fixed[constant]};" if constant in fixed else ""
        header, n = re.subn(rf"(?:constant|STEEL_CONST) {constant}\s*\[\[\s*function_constant\(\d+\)\s*\]\];", value, header)
        assert n == 1, f"{n} function constants {constant!r}"
    if not constants:
        return header
    mention = re.compile(rf"\b({'|'.join(c.split()[1] for c in constants)})\b")
    own = f"template <{', '.join(constants)}, "
    parts = re.split(r"(?m)^(?=template <)", header)
    return "".join(part.replace("template <", own, 1) if "[[kernel" in part and mention.search(part) else part for part in parts)
