"""Which targets there are, which of them this machine can run, and which one launches go to."""

from __future__ import annotations

import contextvars
import functools
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import mlx.core as mx

from zmlx import knobs
from zmlx.errors import TargetUnavailableError, ToolchainError
from zmlx.runtime import toolchain
from zmlx.targets import target as data

NAMES = ("metal", "cuda", "cpu", "interpret", "metal-sim")  # best first

# Kept: the simulator may pretend for others that there is a Metal device.
_metal_is_available, _device_info = mx.metal.is_available, mx.device_info
standing = ""  # where launches go outside `use_target`, once it was asked for; `default` sets it for a while
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("zmlx_target", default=None)
chosen = _chosen.get  # what `use_target` says here and now, or None


@functools.lru_cache(maxsize=8)
def _missing(name: str, named_compiler: str) -> str:
    if name == "metal" and not _metal_is_available():
        return "MLX sees no Metal device (it needs a Mac with Apple silicon)"
    if name == "cuda":
        if not mx.cuda.is_available():
            return "MLX sees no CUDA device (pip install 'mlx[cuda13]', on a machine with an NVIDIA GPU and driver)"
        if toolchain.nvrtc_path() is None:
            return "no libnvrtc was found (pip install 'mlx[cuda13]', or set CUDA_HOME)"
    if name in ("cpu", "metal-sim"):
        try:
            toolchain.find_cxx()
        except ToolchainError as e:
            return str(e)
    return ""


def missing(name: str) -> str:
    """What this machine lacks to run a target; "" when it can."""
    return _missing(known(name), knobs.CXX.get())


def has_tensor_ops(architecture: str, macos: str) -> bool:
    """Whether a Mac's GPU has units for Metal 4's tensor operations, by the rule of MLX 0.32's own kernels (is_nax_available).

    architecture: as Metal names it, e.g. "applegpu_g17s"; its generation is 17 or higher, 18 for those that end in p (phones).
    macos: the system's version, e.g. "26.2", the lowest that will do.
    """
    family = re.search(r"g(\d+)([a-z])$", architecture)
    version = re.match(r"(\d+)(?:\.(\d+))?", macos)
    if family is None or version is None:
        return False
    return int(family[1]) >= (18 if family[2] == "p" else 17) and (int(version[1]), int(version[2] or 0)) >= (26, 2)


@functools.lru_cache(maxsize=8)
def target(name: str) -> data.Target:
    """A target's data, with what this machine's device adds to it."""
    found = data.target(name)
    if name != "metal" or not _metal_is_available():
        return found
    architecture = str(_device_info(mx.gpu).get("architecture", ""))
    return replace(found, tensor_ops=has_tensor_ops(architecture, platform.mac_ver()[0]))


def known(name: str) -> str:
    """The name, if there is such a target."""
    if name not in NAMES:
        raise TargetUnavailableError(f"there is no target {name!r}; use one of {', '.join(NAMES)}")
    return name


def targets() -> tuple[str, ...]:
    """The targets that this machine can run, best first."""
    return tuple(name for name in NAMES if not missing(name))


def _from_environment() -> str:
    named = knobs.TARGET.get()
    if named:
        if named not in NAMES:
            raise TargetUnavailableError(f"ZMLX_TARGET={named!r} is no target; use one of {', '.join(NAMES)}")
        return named
    return "metal" if _metal_is_available() else "cuda" if mx.cuda.is_available() else "cpu"


def default_target() -> str:
    """Where launches go outside `use_target`: ZMLX_TARGET if it was set when first asked for, else Metal if MLX has it,
    else CUDA, else the CPU."""
    global standing
    standing = standing or _from_environment()
    return standing


def current_target() -> str:
    """Where launches go now."""
    return _chosen.get() or standing or default_target()


@contextmanager
def use_target(name: str) -> Iterator[str]:
    """Sends launches to a target: `with zmlx.use_target("cpu"): …`. Other threads and tasks are not affected.

    "metal-sim" runs Metal's text on the CPU, in the simulator; inside `zmlx.simulator.installed(sanitize=True)` it is checked.

    Raises TargetUnavailableError for an unknown name; a launch raises it where this machine cannot run the target.
    """
    token = _chosen.set(known(name))
    try:
        yield name
    finally:
        _chosen.reset(token)


@contextmanager
def default(name: str) -> Iterator[None]:
    """Makes a target the default of the whole process for a while, whatever ZMLX_TARGET says; `use_target` goes before it."""
    global standing
    outer, standing = standing, known(name)
    try:
        yield
    finally:
        standing = outer
