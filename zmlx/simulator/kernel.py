"""`metal_kernel`: the signature of mx.fast.metal_kernel, executed on the CPU.

A launch runs at once, where MLX's is a node of a lazy graph; results are evaluated arrays. Precise arithmetic serves every
`math_mode`: fast and relaxed math may differ from it, never the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from zmlx.simulator import arrays, build, findings, process, session
from zmlx.simulator.diagnostics import Layout, MetalCompileError, MetalKernelError, MetalKernelTypeError, Place
from zmlx.simulator.preamble import mlx_preamble
from zmlx.simulator.report import Report
from zmlx.simulator.source import TYPE_NAMES, Generator, InputKind, Program

MOST_THREADS, MOST_BUFFERS = 1024, 31
_MATH_MODES = ("safe", "relaxed", "fast")


def metal_kernel(
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    source: str,
    header: str = "",
    ensure_row_contiguous: bool = True,
    atomic_outputs: bool = False,
    compile_options: object | None = None,
    *,
    sanitize: bool | None = None,
    time_limit: float | None = None,
    updated: Sequence[str] = (),
) -> MetalKernel:
    """`mx.fast.metal_kernel` on the CPU.

    sanitize    checks every access of every launch; None: as `installed(sanitize=…)` or ZMLX_SANITIZE says at the launch
    time_limit  seconds after which a launch is stopped with a report; 0: never
    updated     inputs that the text writes through, its const cast away; the arrays' own memory changes, as on a Mac
    """
    return MetalKernel(
        name, input_names, output_names, source, header, ensure_row_contiguous, atomic_outputs, compile_options,
        sanitize, time_limit, updated,
    )  # fmt: skip


class MetalKernel:
    """A kernel; call it as MLX's. `msl` gives the text that a call runs."""

    def __init__(
        self,
        name: str,
        input_names: Sequence[str],
        output_names: Sequence[str],
        source: str,
        header: str,
        ensure_row_contiguous: bool,
        atomic_outputs: bool,
        compile_options: object | None,
        sanitize: bool | None,
        time_limit: float | None,
        updated: Sequence[str],
    ) -> None:
        for what, value in (("name", name), ("source", source), ("header", header)):
            if not isinstance(value, str):
                raise MetalKernelTypeError(f"[metal_kernel] `{what}` must be a str, not {type(value).__name__}.")
        for what, names in (("input_names", input_names), ("output_names", output_names)):
            if isinstance(names, str) or not all(isinstance(n, str) for n in names):
                raise MetalKernelTypeError(f"[metal_kernel] `{what}` must be a sequence of str.")
        if not output_names:
            raise MetalKernelError("[metal_kernel] Must specify at least one output.")
        _check_options(compile_options)
        self.name = name
        self.generator = Generator(name, input_names, output_names, source, header, atomic_outputs)
        self.ensure_row_contiguous = ensure_row_contiguous
        self.sanitize, self.time_limit = sanitize, time_limit
        self.inout = frozenset(updated)
        self.python_line: Place | None = None
        """Says which Python line is behind a line of `source`; reports then name it."""
        self._programs: dict[Any, Program] = {}

    def __repr__(self) -> str:
        return f"<simulated Metal kernel {self.name}>"

    def msl(self, *, inputs: Sequence[Any], output_dtypes: Sequence[mx.Dtype], template: Any = None, preamble: bool = True) -> str:
        """The text that Metal would compile for a call with these arguments; preamble=False leaves out what MLX puts first."""
        made = _as_arrays(inputs)
        self._check_counts(len(made), len(output_dtypes), len(output_dtypes))
        program = self._program(made, _checked_dtypes(output_dtypes), _checked_template(template))
        return mlx_preamble() + program.text if preamble else program.text

    def __call__(
        self,
        *,
        inputs: Sequence[Any],
        output_shapes: Sequence[Sequence[int]],
        output_dtypes: Sequence[mx.Dtype],
        grid: tuple[int, int, int],
        threadgroup: tuple[int, int, int],
        template: Sequence[tuple[str, Any]] | None = None,
        init_value: float | None = None,
        verbose: bool = False,
        stream: Any = None,
    ) -> list[mx.array]:
        made = _as_arrays(inputs)
        self._check_counts(len(made), len(output_shapes), len(output_dtypes))
        dtypes, shapes = _checked_dtypes(output_dtypes), [_checked_shape(s) for s in output_shapes]
        threads, group = _checked_size("grid", grid, 0), _checked_size("threadgroup", threadgroup, 1)
        program = self._program(made, dtypes, _checked_template(template))
        if verbose:
            print(f"Generated source code for `{self.name}`:\n```\n{program.text}\n```")

        def run(*operands: mx.array) -> list[mx.array]:
            _evaluate(operands)
            return self._launch(program, operands, shapes, dtypes, threads, group, init_value)

        # Without inputs there is nothing to differentiate; inputs written in place must be the caller's own.
        if not made or self.inout:
            return run(*made)
        outputs = list(_without_derivatives(run)(*made))
        mx.eval(outputs)
        return outputs

    def _check_counts(self, inputs: int, shapes: int, dtypes: int) -> None:
        g = self.generator
        for what, actual, expected in (
            ("inputs", inputs, len(g.inputs)),
            ("output_shapes", shapes, len(g.outputs)),
            ("output_dtypes", dtypes, len(g.outputs)),
        ):
            if actual != expected:
                raise MetalKernelError(f"[metal_kernel] Expected `{what}` to have size {expected} but got size {actual}.")

    def _program(self, inputs: Sequence[mx.array], dtypes: Sequence[mx.Dtype], template: Sequence[tuple[str, Any]]) -> Program:
        kinds = tuple(map(InputKind.of, inputs))
        for kind, name in zip(kinds, self.generator.inputs, strict=True):
            if kind.dtype == mx.float64:
                raise MetalKernelError(f"[metal_kernel] The input `{name}` is float64, which Metal does not have; use astype(mx.float32).")
        key = (kinds, tuple(dtypes), tuple((n, type(v), v) for n, v in template))
        found = self._programs.get(key)
        if found is None:
            found = self._programs[key] = self.generator.program(kinds, dtypes, template)
        return found

    def _launch(
        self,
        program: Program,
        inputs: Sequence[mx.array],
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[mx.Dtype],
        grid: tuple[int, int, int],
        threadgroup: tuple[int, int, int],
        init_value: float | None,
    ) -> list[mx.array]:
        sanitize = session.sanitizing() if self.sanitize is None else self.sanitize
        trace = session.tracing(self.name)
        checked = sanitize or trace is not None
        g = self.generator
        buffers = [
            b
            for name, array, wanted in zip(g.inputs, inputs, g.wanted, strict=True)
            for b in arrays.input_buffers(name, array, wanted, self.ensure_row_contiguous, name in self.inout)
        ]
        buffers += [arrays.output_buffer(n, s, d, init_value) for n, s, d in zip(g.outputs, shapes, dtypes, strict=True)]
        if not checked:
            _check_limits(threadgroup, len(buffers))
        library = build.library(program, checked)
        spec = process.LaunchSpec(
            buffers=buffers,
            grid=grid,
            threadgroup=(_clipped(threadgroup, grid) if _volume(threadgroup) <= MOST_THREADS else threadgroup),
            sanitize=checked,
            time_limit=session.time_limit() if self.time_limit is None else self.time_limit,
            trace=trace.thread if trace is not None else None,
        )
        result = process.run(build.runtime_library(), library, spec)
        session.count(hash((program.name, program.text)))
        where = build.layout(program)
        if trace is not None:
            self._show(trace, result.trace, where)
        updated = [a for n, a in zip(g.inputs, inputs, strict=True) if n in self.inout]
        for array, data in zip(updated, result.outputs, strict=False):
            arrays.write_back(array, data)
        if sanitize or result.stopped or not checked:
            session.settle(self._reports(result, buffers, where), result.lost)
        made = result.outputs[len(updated) :]
        return [arrays.as_array(data, s, d) for data, s, d in zip(made, shapes, dtypes, strict=True)]

    def _reports(self, result: process.Result, buffers: Sequence[process.Buffer], where: Layout) -> list[Report]:
        sizes = {b.name: b.element_size for b in buffers}
        return [findings.report(r, self.name, sizes, where, self.python_line) for r in result.reports]

    def _show(self, trace: session.Trace, lines: Sequence[str], where: Layout) -> None:
        shown = [f"{self.name}, thread {trace.thread}:", *(f"  {findings.trace_line(t, where, self.python_line)}" for t in lines)]
        trace.lines += shown
        if trace.echo:
            print("\n".join(shown))


# ---- arguments --------------------------------------------------------------------------------------------------------


def _check_options(options: object) -> None:
    if options is None:
        return
    if not isinstance(options, dict):
        raise MetalKernelError("[metal_kernel] Expected `compile_options` to be a dict.")
    for key, value in options.items():
        if key != "math_mode":
            raise MetalKernelError(f"[metal_kernel] Unknown compile option `{key}`.")
        if value not in _MATH_MODES:
            raise MetalKernelError("[metal_kernel] Expected math_mode to be 'safe', 'relaxed', or 'fast'.")


def _as_arrays(values: Sequence[Any]) -> list[mx.array]:
    found = []
    for i, value in enumerate(values):
        if isinstance(value, (list, tuple, str, bytes)) or value is None:
            raise MetalKernelTypeError(f"[metal_kernel] inputs[{i}] is a {type(value).__name__}; pass an array or a number.")
        found.append(value if isinstance(value, mx.array) else mx.array(value))
    return found


def _checked_dtypes(dtypes: Sequence[Any]) -> list[mx.Dtype]:
    for dtype in dtypes:
        if not isinstance(dtype, mx.Dtype):
            raise MetalKernelTypeError(f"[metal_kernel] {dtype!r} in `output_dtypes` is no dtype of MLX, such as mx.float32.")
        if dtype == mx.float64:
            raise MetalKernelError("[metal_kernel] Metal does not have float64; use mx.float32.")
    return list(dtypes)


def _checked_template(template: Sequence[tuple[str, Any]] | None) -> list[tuple[str, Any]]:
    checked = []
    for item in template or ():
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
            raise MetalKernelTypeError("[metal_kernel] `template` must be a list of (name, value) pairs.")
        name, value = item
        if not isinstance(value, (bool, int, mx.Dtype)):
            raise MetalKernelError("[metal_kernel] Invalid template argument. Must be `mlx.core.Dtype`, `int` or `bool`.")
        if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            raise MetalKernelError(f"[metal_kernel] The template argument {name} is {value}, which is no 32-bit integer.")
        if value == mx.float64 or (isinstance(value, mx.Dtype) and value not in TYPE_NAMES):
            raise MetalKernelError(f"[metal_kernel] The template argument {name} is {value}, which Metal does not have.")
        checked.append((name, value))
    return checked


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if isinstance(shape, int) or not all(isinstance(n, int) for n in shape):
        raise MetalKernelTypeError(f"[metal_kernel] {shape!r} in `output_shapes` is no sequence of integers.")
    if any(n < 0 for n in shape):
        raise MetalKernelError(f"[metal_kernel] The output shape {tuple(shape)} has a negative size.")
    return tuple(shape)


def _checked_size(what: str, size: Sequence[int], least: int) -> tuple[int, int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 3 or not all(isinstance(n, int) for n in size):
        raise MetalKernelTypeError(f"[metal_kernel] `{what}` must be a tuple of 3 integers, not {size!r}.")
    if any(not least <= n < 1 << 31 for n in size):
        raise MetalKernelError(f"[metal_kernel] `{what}` is {tuple(size)}; each size must be at least {least}.")
    x, y, z = size
    return x, y, z


def _volume(size: Sequence[int]) -> int:
    return size[0] * size[1] * size[2]


def _clipped(threadgroup: tuple[int, int, int], grid: tuple[int, int, int]) -> tuple[int, int, int]:
    """MLX makes threadgroups no larger than the grid."""
    x, y, z = (max(1, min(t, n)) for t, n in zip(threadgroup, grid, strict=True))
    return x, y, z


def _check_limits(threadgroup: Sequence[int], buffers: int) -> None:
    """What Metal refuses; a checked launch reports it instead."""
    if _volume(threadgroup) > MOST_THREADS:
        raise MetalKernelError(
            f"Thread group size ({_volume(threadgroup)}) is greater than the maximum allowed threads per threadgroup ({MOST_THREADS})."
        )
    if buffers > MOST_BUFFERS:
        raise MetalCompileError(
            [],
            f"'buffer' attribute parameter is out of bounds: the kernel takes {buffers} buffers, and Metal binds {MOST_BUFFERS}",
            "pass fewer arrays, and name fewer shapes and strides in the source: each is a buffer",
        )


def _evaluate(operands: Sequence[mx.array]) -> None:
    try:
        mx.eval(operands)
    except ValueError as e:
        if "[eval]" not in str(e):
            raise
        raise MetalKernelError(
            f"{e}\nA simulated Metal kernel runs at once and cannot be traced by mx.compile or mx.vmap: call it outside of them."
        ) from None


def _without_derivatives(run: Callable[..., list[mx.array]]) -> Any:
    """MLX's custom kernels have no derivatives; without this, a gradient would silently be zero."""
    function: Any = mx.custom_function(run)

    def refuse(*_: Any) -> Any:
        raise MetalKernelError("[metal_kernel] A custom kernel has no derivative: wrap it in mx.custom_function and give it a vjp.")

    function.vjp(refuse)
    function.jvp(refuse)
    return function
