"""Launches of a wrapper's kernels, recorded with their arguments and made again as Triton's, on CUDA tensors of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import mlx.core as mx

from zmlx.bench import twin
from zmlx.bench.tensors import to_torch
from zmlx.dtypes import DType
from zmlx.frontend.source import JitCallable
from zmlx.intrinsics.markers import constexpr
from zmlx.runtime.fresh import EmptyArray, ZeroArray
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.launcher import Plan


@dataclass
class ArrayRef:
    """An array argument: which of the call's arrays, and how it came: with content, empty or zeroed."""

    key: int
    content: mx.array | None
    shape: tuple[int, ...]
    dtype: mx.Dtype
    zeroed: bool


@dataclass
class Recorded:
    """One launch: the kernel, its grid, arguments by name (arrays as ArrayRef), options, and what it left in its outputs."""

    kernel: JitFunction
    grid: tuple[int, int, int]
    arguments: dict[str, Any]
    options: dict[str, Any]
    written: dict[str, mx.array] = field(default_factory=dict)


@contextmanager
def recorded() -> Iterator[list[Recorded]]:
    """Collects the launches made in the `with` body, which still run: an autotuned kernel's with the configuration it chose."""
    launches: list[Recorded] = []
    keep: list[Any] = []  # objects whose ids are keys
    plans: Any = Plan  # each has a launch of its own, in a slot
    slot: Any = plans.launch

    def launch(self: Plan, grid: Any, stream: Any, *values: Any) -> Any:
        kernel, num_warps, num_stages = self.origin
        options = {"num_warps": num_warps} | ({} if num_stages is None else {"num_stages": num_stages})
        keep.append(values)
        made = Recorded(kernel, self.dims(grid, values), dict(zip(self.names, map(_reference, values), strict=True)), options)
        launches.append(made)
        result = slot.__get__(self)(grid, stream, *values)
        # Other handles of the new values: later launches may rebind these.
        made.written = {self.names[i]: mx.contiguous(values[i]) for i in self.written}
        return result

    plans.launch = property(lambda plan: partial(launch, plan), slot.__set__)
    try:
        yield launches
    finally:
        plans.launch = slot


def _reference(value: Any) -> Any:
    if not isinstance(value, mx.array):
        return value
    fresh = isinstance(value, (EmptyArray, ZeroArray))
    content = None if fresh else mx.contiguous(value)
    return ArrayRef(id(value), content, tuple(value.shape), value.dtype, isinstance(value, ZeroArray))


class TwinCall:
    """The recorded launches under Triton, on tensors of their own. Calling it queues them; zeroed outputs are zeroed again.

    Raises ImportError without PyTorch and Triton, TwinError where the source has no twin; Triton's own errors come from calls.
    """

    def __init__(self, launches: list[Recorded], on: str = "cuda") -> None:
        import torch

        self.tensors: dict[int, Any] = {}
        self.steps: list[tuple[Any, tuple[int, int, int], dict[str, Any]]] = []
        self.zeroed: list[Any] = []
        for launch in launches:
            arguments = dict(launch.options)
            for name, value in launch.arguments.items():
                if isinstance(value, ArrayRef):
                    if value.key not in self.tensors:
                        self.tensors[value.key] = to_torch(value.content, on) if value.content is not None else _fresh(torch, value, on)
                        if value.zeroed:
                            self.zeroed.append(self.tensors[value.key])
                    arguments[name] = self.tensors[value.key]
                elif name not in arguments:
                    arguments[name] = constant(value)
            self.steps.append((twin.load(launch.kernel), launch.grid, arguments))

    def __call__(self) -> list[dict[str, Any]]:
        """Queues the launches; returns each one's arguments, in which its outputs are."""
        for tensor in self.zeroed:
            tensor.zero_()
        for function, grid, arguments in self.steps:
            function[grid](**arguments)
        return [arguments for _, _, arguments in self.steps]


def constant(value: Any) -> Any:
    """A launch argument that is no array, as Triton takes it."""
    if isinstance(value, constexpr):
        value = value.value
    if isinstance(value, JitCallable):
        return twin.load(value)
    if isinstance(value, mx.Dtype):
        return _dtype(str(value).rpartition(".")[2])
    if isinstance(value, DType):
        return _dtype(value.name)
    if isinstance(value, tuple):
        return tuple(constant(v) for v in value)
    return value


def _dtype(name: str) -> Any:
    import triton.language as tl

    return getattr(tl, name)


def _fresh(torch: Any, value: ArrayRef, device: str) -> Any:
    dtype = getattr(torch, str(value.dtype).rpartition(".")[2].replace("bool_", "bool"))
    return (torch.zeros if value.zeroed else torch.empty)(value.shape, dtype=dtype, device=device)
