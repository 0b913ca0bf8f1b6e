"""What a timing holds for: this device, with this software, as a text that another process finds equal."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib.metadata import version

import mlx.core as mx

from zmlx import knobs
from zmlx.runtime import isa, toolchain


@lru_cache(maxsize=16)
def _identity(target: str, threads: int, *settings: str) -> str:
    if target in ("metal", "cuda"):
        info = mx.device_info(mx.gpu)
        parts = [str(info.get(name, "")) for name in ("device_name", "architecture")]
        parts += [toolchain.cuda_arch(), toolchain.nvrtc_path() or ""] if target == "cuda" else [platform.mac_ver()[0]]
    else:
        parts = [isa.processor(), str(threads), toolchain.find_cxx().identity, *settings]
    return "\n".join([target, version("mlx"), *parts])


def identity(target: str) -> str:
    """The device behind a target and what drives it: a name, versions, on the CPU the number of threads."""
    return _identity(target, knobs.threads(), knobs.CXX.get(), knobs.CPU_ISA.get(), knobs.CPU_SIMD.get())
