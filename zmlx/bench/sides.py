"""The sides of a comparison: zmlx, its kernels without MLX's launch, MLX's own form, the same compiled, the kernel's source under
Triton, PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from zmlx import knobs
from zmlx.bench import torch_forms
from zmlx.bench.clocks.driver import Driver
from zmlx.bench.clocks.events import Replay
from zmlx.bench.clocks.events import recorded as recorded_cubins
from zmlx.bench.tensors import leaves, to_torch
from zmlx.bench.twin_launch import TwinCall, recorded
from zmlx.catalog import Entry
from zmlx.runtime import device

NAMES = ("zmlx", "direct", "mlx", "compile", "triton", "torch")
AGAINST = NAMES[1:]


def usual(target: str) -> tuple[str, ...]:
    """The baselines to compare with where none were named: all, but `direct` on CUDA only."""
    return tuple(name for name in AGAINST if name != "direct" or target == "cuda")


@dataclass
class Side:
    """One way to compute an entry.

    call    starts call number i, to rotate its inputs; the result may be lazy or queued
    wait    makes results real and waits for the device
    outputs the arrays that the side computes for the first inputs, to compare with `expected`, or with the reference if None
    strict  whether a result out of bounds has no time: kernels of this project. Baselines are what users call; theirs is noted
    queues  whether its work goes to CUDA's default stream, where events see it
    form    what is called, in words
    free    gives back what the side holds besides arrays
    """

    name: str
    call: Callable[[int], Any]
    wait: Callable[[list[Any]], None]
    outputs: Callable[[], list[Any]]
    form: str
    strict: bool = False
    queues: bool = False
    comparable: bool = True
    expected: list[Any] | None = None
    free: Callable[[], None] = lambda: None

    def run(self, i: int) -> None:
        """One whole call."""
        self.wait([self.call(i)])


@dataclass(frozen=True)
class Missing:
    """A side that cannot be had, and why."""

    name: str
    status: str  # "missing" (not installed, no form for it) or "refused" (Triton refuses the kernel)
    reason: str


@dataclass(frozen=True)
class Subject:
    """What is computed: an entry on inputs of which there are several copies."""

    entry: Entry
    inputs: Sequence[tuple[Any, ...]]
    kwargs: Mapping[str, Any]
    gpu: bool

    def arguments(self, i: int) -> tuple[Any, ...]:
        return self.inputs[i % len(self.inputs)]


def build(subject: Subject, names: Sequence[str]) -> list[Side | Missing]:
    """The named sides, zmlx first. A side that cannot be built says why; what a call raises comes when it is made."""
    makers = {"direct": direct, "mlx": mlx, "compile": compiled, "triton": triton, "torch": torch}
    return [zmlx(subject), *(_tried(makers[name], name, subject) for name in names)]


def _tried(make: Callable[[Subject], Side | Missing], name: str, subject: Subject) -> Side | Missing:
    try:
        return make(subject)
    except ImportError as e:
        package = "PyTorch" if name == "torch" else "Triton and PyTorch"
        return Missing(name, "missing", f"needs {package}, which zmlx does not install: {e}")
    except Exception as e:  # whatever a baseline does, it is a row, not the end of the benchmark
        return Missing(name, "refused", brief(e))


def brief(error: BaseException) -> str:
    """An error on one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:300]


def _mlx_wait(results: list[Any]) -> None:
    mx.eval(results)
    mx.synchronize()


def _of_mlx(name: str, subject: Subject, call: Callable[..., Any], form: str, strict: bool = False) -> Side:
    def outputs() -> list[Any]:
        return leaves(call(*subject.arguments(0)))

    return Side(name, lambda i: call(*subject.arguments(i)), _mlx_wait, outputs, form, strict)


def zmlx(subject: Subject) -> Side:
    entry, kwargs = subject.entry, subject.kwargs
    return _of_mlx("zmlx", subject, lambda *args: entry.call(*args, **kwargs), f"zmlx.catalog {entry.name}", strict=True)


def direct(subject: Subject) -> Side | Missing:
    """zmlx's very cubins, launched by the driver on the default stream as Triton's are, without MLX between: what MLX's launch adds."""
    if device.current_target() != "cuda":
        return Missing("direct", "missing", "only CUDA's launches can be made again without MLX")
    driver, replays = Driver(), []
    for i in range(len(subject.inputs)):
        with recorded_cubins() as launches:
            mx.eval(subject.entry.call(*subject.arguments(i), **subject.kwargs))
        if any(launch.zeroed for launch in launches):
            return Missing("direct", "refused", "an output starts as zeros, which MLX writes before the launch")
        replays.append(Replay(driver, launches))

    def outputs() -> list[Any]:
        replays[0](0)
        return replays[0].outputs()

    def wait(results: list[Any]) -> None:
        driver.synchronize()

    def free() -> None:
        for replay in replays:
            replay.free()

    expected = launches[-1].made
    def call(i: int) -> None:
        replays[i % len(replays)](i)

    form = "zmlx's cubins, launched by the driver"
    return Side("direct", call, wait, outputs, form, strict=True, queues=True, expected=expected, free=free)


def mlx(subject: Subject) -> Side:
    entry, kwargs = subject.entry, subject.kwargs
    return _of_mlx("mlx", subject, lambda *args: entry.baseline(*args, **kwargs), "MLX, eager")


def compiled(subject: Subject) -> Side:
    entry, kwargs = subject.entry, subject.kwargs
    return _of_mlx("compile", subject, mx.compile(lambda *args: entry.baseline(*args, **kwargs)), "mx.compile of MLX's form")


def triton(subject: Subject) -> Side | Missing:
    """The launches of zmlx's wrapper, made by Triton. Its results are compared with zmlx's, which have been checked."""
    if not subject.gpu:
        return Missing("triton", "missing", "Triton runs on NVIDIA and AMD GPUs")
    with recorded() as launches:
        mx.eval(subject.entry.call(*subject.arguments(0), **subject.kwargs))
    calls = [TwinCall(launches) for _ in subject.inputs]
    expected = [array for launch in launches for array in launch.written.values()]

    def outputs() -> list[Any]:
        made = calls[0]()
        _torch_wait([])
        return [arguments[n] for launch, arguments in zip(launches, made, strict=True) for n in launch.written]

    form = "the same source under triton.jit: " + ", ".join(launch.kernel.__name__ for launch in launches)
    return Side("triton", lambda i: calls[i % len(calls)](), _torch_wait, outputs, form, strict=True, queues=True, expected=expected)


def torch(subject: Subject) -> Side | Missing:
    """PyTorch's form: a library's function on a GPU, or what inductor makes of it."""
    import torch as pytorch

    form = torch_forms.forms().get(subject.entry.name)
    if form is None:
        return Missing("torch", "missing", "no form of this entry in zmlx/bench/torch_forms.py")
    if subject.gpu and not pytorch.cuda.is_available():
        return Missing("torch", "missing", "this PyTorch sees no GPU")
    if not subject.gpu:
        pytorch.set_num_threads(knobs.threads())
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # few small functions: a pool takes longer to start
    inputs = [tuple(to_torch(a, "cuda" if subject.gpu else "cpu") for a in args) for args in subject.inputs]
    inductor = form.fused or not subject.gpu

    def plain(*args: Any) -> Any:
        return form.call(*args, **subject.kwargs)

    pytorch._dynamo.reset()  # else the forms before count as recompilations of this one, and the ninth is not compiled
    function = pytorch.compile(plain, dynamic=False) if inductor else plain

    def call(i: int) -> Any:
        with pytorch.no_grad():
            return function(*inputs[i % len(inputs)])

    def outputs() -> list[Any]:
        return leaves(call(0))

    how = "inductor" if inductor else "PyTorch, eager"
    wait = _torch_wait if subject.gpu else (lambda results: None)
    return Side("torch", call, wait, outputs, how, queues=True, comparable=form.deterministic)


def _torch_wait(results: list[Any]) -> None:
    import torch as pytorch

    pytorch.cuda.synchronize()
