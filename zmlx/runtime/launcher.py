"""A plan: everything about a launch that its key decides, so that a warm launch only looks up, packs and calls."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from zmlx.errors import ArgumentError, GridError, LaunchOptionError
from zmlx.frontend.source import NO_DEFAULT
from zmlx.runtime import generated

_MAX_GRIDS = 256
_INT_MAX = (1 << 31) - 1
Execute = Callable[[tuple[mx.array, ...], Sequence[Any], tuple[int, int, int], Any], list[mx.array]]


class Plan:
    """A loaded kernel, bound to the places of its arguments.

    names       all parameters of the kernel, in order; a launch passes their values in that order
    places      where among them the arrays are, and where the run-time numbers; written: where the arrays that it writes
    execute     the backend's launch: (arrays, scalars, grid, stream) -> new values of the written arrays
    launch      the launch proper, which rebinds them; made by `launching`
    origin      the jit function, num_warps and num_stages that it was loaded for: whoever watches launches can make them anew
    """

    __slots__ = ("execute", "grids", "kernel", "launch", "names", "origin", "places", "target", "threads", "written")

    def __init__(self, kernel: str, names: Sequence[str], target: str, threads: int, arrays: Sequence[int], written: Sequence[int],
                 scalars: Sequence[int], execute: Execute) -> None:  # fmt: skip
        self.kernel, self.names, self.target, self.threads = kernel, tuple(names), target, threads
        self.places, self.written = (tuple(arrays), tuple(scalars)), tuple(written)
        self.execute = execute
        self.origin: tuple[Any, int, int | None] = (None, 4, None)
        self.grids: dict[Any, tuple[int, int, int]] = {}
        self.launch = self.launching(execute)

    def launching(self, execute: Execute) -> Callable[..., Any]:
        """`launch(grid, stream, *values)` by a backend: it returns what was written, None, one array, or a tuple in parameter
        order. Raises GridError and LaunchOptionError."""
        values = [f"v{i}" for i in range(len(self.names))]
        arrays, scalars = (generated.listed(values[i] for i in places) for places in self.places)
        lines = [
            f"def launch(grid, stream, {generated.listed(values)}):",
            "    try:",
            "        dims = grids[grid]",
            "    except (KeyError, TypeError):",
            f"        dims = dims_of(grid, ({generated.listed(values)}))",
            "    if stream is not None:",
            "        check_stream(stream)",
            f"    {'new = ' if self.written else ''}execute(({arrays}), ({scalars}), dims, stream)",
        ]
        for k, i in enumerate(self.written):
            lines += [f"    v{i}.__class__ = array", f"    v{i}[...] = new[{k}]"]
        if self.written:
            lines.append("    return " + ", ".join(values[i] for i in self.written))
        env = {"grids": self.grids, "dims_of": self.dims, "check_stream": check_stream, "execute": execute, "array": mx.array}
        return generated.function("launch", "\n".join(lines), "a launch", env)

    def passed(self, values: Sequence[Any]) -> tuple[tuple[mx.array, ...], tuple[Any, ...]]:
        """Of the values of all parameters, the arrays and the run-time numbers, as `execute` takes them."""
        arrays, scalars = self.places
        return tuple(values[i] for i in arrays), tuple(values[i] for i in scalars)

    def dims(self, grid: Any, values: tuple[Any, ...]) -> tuple[int, int, int]:
        """The grid as three numbers of programs. Raises GridError."""
        given = grid
        if callable(grid):
            grid = grid(dict(zip(self.names, values, strict=True)))
        dims = check_grid(self.kernel, grid, self.target, self.threads)
        if not callable(given) and (isinstance(given, int) or all(type(d) is int for d in given)):
            if len(self.grids) >= _MAX_GRIDS:
                self.grids.clear()
            self.grids[tuple(given) if isinstance(given, list) else given] = dims
        return dims


_STREAMS = tuple(t for t in (getattr(mx, n, None) for n in ("Stream", "Device", "DeviceType", "ThreadLocalStream")) if t is not None)


def check_stream(stream: Any) -> None:
    """Raises LaunchOptionError for what is no stream or device of MLX."""
    if not isinstance(stream, _STREAMS):
        kind = type(stream).__name__
        raise LaunchOptionError(f"stream= takes an MLX stream or device, got {kind}; make one with mx.new_stream(mx.gpu)")


def check_grid(kernel: str, grid: Any, target: str, threads: int) -> tuple[int, int, int]:
    """Three numbers of programs from what the user gave. Raises GridError."""
    example = f"{kernel}[(zmlx.cdiv(n, BLOCK),)](...)"
    dims = grid if isinstance(grid, (tuple, list)) else (grid,)
    if not 1 <= len(dims) <= 3:
        raise GridError(f"the grid of {kernel} has {len(dims)} dimensions; give 1 to 3, e.g. {example}")
    out = []
    for axis, d in enumerate(dims):
        if isinstance(d, bool) or not hasattr(d, "__index__") or isinstance(d, mx.array):
            hint = "use // or zmlx.cdiv, which give an int" if isinstance(d, float) else f"give integers, e.g. {example}"
            raise GridError(f"the grid of {kernel} is {grid!r}, where axis {axis} is a {type(d).__name__}; {hint}")
        out.append(operator.index(d))
    for axis, n in enumerate(out):
        if n <= 0:
            raise GridError(
                f"the grid of {kernel} is {tuple(out)}, so no program would run (axis {axis}); skip the launch when there is nothing to do"
            )
        limit = 65535 if target == "cuda" and axis else _INT_MAX
        if axis == 0 and target not in ("cpu", "interpret"):
            limit //= threads  # MLX counts threads, in an int
        if n > limit:
            raise GridError(
                f"the grid of {kernel} is {tuple(out)}; {target} takes at most {limit} programs along axis {axis}: "
                "move some to another axis, or let each program do more"
            )
    return (*out, 1, 1)[:3]  # type: ignore[return-value]


def check_options(kernel: str, num_warps: Any, num_stages: Any) -> None:
    """Raises LaunchOptionError for options out of range."""
    if isinstance(num_warps, bool) or not isinstance(num_warps, int) or num_warps not in (1, 2, 4, 8, 16, 32):
        raise LaunchOptionError(f"num_warps={num_warps!r} for {kernel}; it is one of 1, 2, 4, 8, 16, 32")
    if num_stages is not None and (isinstance(num_stages, bool) or not isinstance(num_stages, int) or not 1 <= num_stages <= 16):
        raise LaunchOptionError(f"num_stages={num_stages!r} for {kernel}; it is an integer from 1 to 16")


def argument_error(kernel: str, params: Sequence[Any], given: int, kwargs: dict[str, Any]) -> ArgumentError | None:
    """Why `given` positional arguments and these keywords do not bind to a kernel's parameters; None if they do."""
    options = ("num_warps", "num_stages", "stream")
    names = [p.name for p in params]
    shown = f"{kernel}({', '.join(names)})"
    positional = [p for p in params if not p.keyword_only]
    if given > len(positional):
        return ArgumentError(f"{shown} takes {len(positional)} arguments by position, got {given}; options such as num_warps= go by name")
    bound = [p.name for p in positional[:given]]
    for name in kwargs:
        if name not in names and name not in options:
            return ArgumentError(f"{shown} has no parameter {name!r}; {_closest(name, [*names, *options])}")
        if name in bound:
            return ArgumentError(f"{shown} got {name} twice, by position and by name; pass it once")
    missing = [p for p in params if p.name not in (*bound, *kwargs, *options) and p.default is NO_DEFAULT]
    constexprs = [p.name for p in missing if p.is_constexpr]
    if constexprs and len(constexprs) == len(missing):
        return ArgumentError(f"{shown} needs the constexpr {', '.join(constexprs)}; pass it by name: {constexprs[0]}=…")
    if missing:
        return ArgumentError(f"{shown} needs {', '.join(p.name for p in missing)} as well")
    return None


def _closest(name: str, names: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, names, 1)
    return f"did you mean {found[0]}=?" if found else f"it takes {', '.join(names)}"
