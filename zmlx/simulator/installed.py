"""Puts the simulator in the place of mx.fast.metal_kernel, so that anybody's Metal kernels run on the CPU."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx

from zmlx.simulator import session
from zmlx.simulator.kernel import MetalKernel, metal_kernel
from zmlx.simulator.session import OnReport, Session, Trace

_lock = threading.RLock()
_replaced: list[tuple[Any, str, Any, str]] = []  # (module, name, original, by whom), oldest first
_open: list[tuple[Session, bool]] = []  # with whether it pretends
_GIGABYTE = 1 << 30


class _PretendedGpu(mx.Device):
    """Equal to mx.gpu, and the CPU for everything that MLX runs on it."""

    def __eq__(self, other: object) -> bool:
        return bool(other == mx.gpu)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Device(gpu, 0)"


def install(
    sanitize: bool | None = None, *, on_report: OnReport = "raise", pretend: bool = False, time_limit: float | None = None
) -> Session:
    """Replaces mx.fast.metal_kernel until `uninstall`; see `installed`."""
    opened = Session(sanitize, on_report, time_limit)
    with _lock:
        _open.append((opened, pretend))
        _settle()
        session.push(opened)
    return opened


def uninstall(opened: Session | None = None) -> None:
    """Ends what `install` began, the last one if none is named; mx.fast.metal_kernel is MLX's again after the last."""
    with _lock:
        if opened is None:
            if not _open:
                raise RuntimeError("the simulator is not installed")
            opened = _open[-1][0]
        _open[:] = [entry for entry in _open if entry[0] is not opened]
        session.pop(opened)
        _settle()


@contextmanager
def installed(
    sanitize: bool | None = None, *, on_report: OnReport = "raise", pretend: bool = False, time_limit: float | None = None
) -> Iterator[Session]:
    """Within it, mx.fast.metal_kernel makes simulated kernels, and these are run as it says, whenever they were made.

    sanitize    check every access; None: as an outer session or ZMLX_SANITIZE says
    on_report   raise SanitizerError at the launch; "collect" into the session's `reports` and go on; "warn" besides
    pretend     mx.metal.is_available() is True and mx.default_device() equals mx.gpu, for libraries that ask before they use
                their kernels. Operations of MLX still run on the CPU
    time_limit  seconds of a launch, 60 if nothing is said; 0: none

    Kernels made before by MLX itself stay MLX's. Sessions may nest, and hold for all threads.
    """
    opened = install(sanitize, on_report=on_report, pretend=pretend, time_limit=time_limit)
    try:
        yield opened
    finally:
        uninstall(opened)


@contextmanager
def trace(thread: tuple[int, int, int] = (0, 0, 0), *, kernel: str | MetalKernel | None = None, echo: bool = True) -> Iterator[list[str]]:
    """Prints what one thread does, by its position in the grid, in every simulated launch within, or in those of one kernel.

    Yields the list of the lines. A traced launch is an instrumented one, and so a slow one.
    """
    name = kernel.name if isinstance(kernel, MetalKernel) else kernel
    following = Trace(thread, name, echo, [])
    session.begin_trace(following)
    try:
        yield following.lines
    finally:
        session.end_trace(following)


# ---- what is replaced -------------------------------------------------------------------------------------------------


def _settle() -> None:
    """Makes MLX's module what the open sessions want it to be."""
    wanted: dict[str, bool] = {"kernel": bool(_open), "pretend": any(pretends for _, pretends in _open)}
    present = {who for *_, who in _replaced}
    for who, is_wanted in wanted.items():
        if is_wanted and who not in present:
            for module, name, new in _REPLACEMENTS[who]():
                _replaced.append((module, name, getattr(module, name), who))
                setattr(module, name, new)
        elif not is_wanted and who in present:
            for module, name, original, by in reversed(_replaced):
                if by == who:
                    setattr(module, name, original)
            _replaced[:] = [entry for entry in _replaced if entry[3] != who]


def _kernel_replacements() -> list[tuple[Any, str, Any]]:
    return [(mx.fast, "metal_kernel", metal_kernel)]


def _pretences() -> list[tuple[Any, str, Any]]:
    if mx.metal.is_available():
        return []
    info, default_device = mx.device_info, mx.default_device
    set_default_device, set_wired_limit = mx.set_default_device, mx.set_wired_limit

    def device_info(*device: Any) -> dict[str, Any]:
        known = {"architecture": "simulated", "memory_size": 16 * _GIGABYTE, "max_recommended_working_set_size": 12 * _GIGABYTE}
        return known | {"max_buffer_length": 8 * _GIGABYTE} | dict(info(*map(_on_cpu, device)))

    def on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            return function(*map(_on_cpu, arguments), **{k: _on_cpu(v) for k, v in named.items()})

        called.__name__, called.__doc__ = getattr(function, "__name__", ""), function.__doc__
        return called

    def pretended_default() -> Any:
        return _PretendedGpu(mx.cpu, 0) if default_device() == mx.cpu else default_device()

    return [
        (mx.metal, "is_available", lambda: True),
        (mx, "default_device", pretended_default),
        (mx, "set_default_device", on_cpu(set_default_device)),
        (mx, "device_info", device_info),
        (mx, "set_wired_limit", set_wired_limit if sys.platform == "darwin" else lambda limit: 0),
        *((mx, name, on_cpu(getattr(mx, name))) for name in ("stream", "new_stream", "new_thread_local_stream", "default_stream")),
    ]


def _on_cpu(value: Any) -> Any:
    return mx.cpu if isinstance(value, (mx.Device, mx.DeviceType)) and value == mx.gpu else value


_REPLACEMENTS: dict[str, Callable[[], list[tuple[Any, str, Any]]]] = {"kernel": _kernel_replacements, "pretend": _pretences}
