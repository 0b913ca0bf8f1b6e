"""`python -m zmlx doctor`: which targets, compilers and versions are here, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from zmlx import knobs


def register(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="say what this machine can run and what is missing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the report; 0 when the default target can run."""
    problems: list[str] = []
    sections = {"versions": versions, "targets": targets, "compilers": compilers, "cache": cache, "knobs": listing}
    for title, section in sections.items():
        print(title)
        for name, text in section(problems):
            print(f"  {name:<16} {text}")
        print()
    if problems:
        print("missing")
        for problem in problems:
            print(f"  - {problem}")
    else:
        print("nothing is missing")
    return 1 if any(p.startswith("nothing to run on") for p in problems) else 0


def versions(problems: list[str]) -> Iterator[tuple[str, str]]:
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}, {knobs.threads()} cores for this process"
    import numpy

    yield "numpy", numpy.__version__
    try:
        import mlx.core as mx
    except ImportError as error:
        yield "mlx", f"cannot be imported: {error}"
        problems.append(f"mlx has no backend here: {backend_hint()}")
        return
    import zmlx

    yield "mlx", f"{version('mlx')}, default device {mx.default_device()}"
    yield "zmlx", zmlx.__version__
    yield "zmlx-native", native_state()


def native_state() -> str:
    """Whether CPU launches are lazy, and if not why."""
    from zmlx.runtime import native

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        module = native.extension()
    if module is not None:
        return f"built for MLX {module.built_for}: CPU launches are lazy"
    if said:
        return str(said[0].message)
    off = knobs.NATIVE.get() == "0"
    return "turned off by ZMLX_NATIVE=0" if off else "not installed, so CPU launches are eager: pip install ./native"


def targets(problems: list[str]) -> Iterator[tuple[str, str]]:
    try:
        from zmlx.errors import ZmlxError
        from zmlx.runtime import device
    except ImportError:
        yield "none", "MLX cannot be imported"
        problems.append("nothing to run on: install MLX first")
        return
    try:
        default = device.default_target()
    except ZmlxError as error:
        default = ""
        problems.append(f"nothing to run on: {error}")
    for name in device.NAMES:
        lack = device.missing(name)
        what = ": Metal's text on the CPU, checked with ZMLX_SANITIZE=1 or `python -m zmlx sanitize`" if name == "metal-sim" else ""
        if not lack and device.target(name).tensor_ops:
            what = f"{what}, with Metal 4's tensor operations"
        yield name, f"compiles here, cannot run: {lack}" if lack else f"runs here{' (default)' * (name == default)}{what}"
    if lack := device.missing("cpu"):
        problems.append(f"{'nothing to run on' if default == 'cpu' else 'the cpu target'}: {lack}")
    if shutil.which("nvidia-smi") and (lack := device.missing("cuda")):
        problems.append(f"the cuda target, though an NVIDIA driver is here: {lack}")


def compilers(problems: list[str]) -> Iterator[tuple[str, str]]:
    try:
        from zmlx.errors import ToolchainError
        from zmlx.runtime import toolchain
    except ImportError:
        return
    try:
        chosen = toolchain.find_cxx()
        yield "C++", f"{chosen.kind} {chosen.version} ({chosen.path})" + (", named by ZMLX_CXX" if knobs.CXX.get() else "")
        yield "cpu kernels for", chosen.isa + (", named by ZMLX_CPU_ISA" if knobs.CPU_ISA.get() else "")
    except ToolchainError:
        yield "C++", "none that works (see the cpu target)"
    try:
        yield "libclang", f"{version('libclang')} (strict checks of simulated Metal kernels)"
    except PackageNotFoundError:
        yield "libclang", "none (only strict checks of simulated Metal kernels need it: pip install 'zmlx[strict]')"
    yield "NVRTC", str(toolchain.nvrtc_path() or "none (only the cuda target needs it)")


def cache(problems: list[str]) -> Iterator[tuple[str, str]]:
    folder = knobs.cache_dir()
    if folder is None:
        yield "folder", "off (ZMLX_CACHE=0): every process compiles anew"
        return
    files = [p for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    yield "folder", str(folder)
    yield "holds", f"{len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.1f} MB (safe to delete at any time)"
    if not writable(folder):
        yield "writable", "no: kernels are compiled anew in every process"
        problems.append(f"the cache folder {folder} cannot be written: set ZMLX_CACHE_DIR to one that can")


def listing(problems: list[str]) -> Iterator[tuple[str, str]]:
    for knob in knobs.ALL:
        value = os.environ.get(knob.name)
        yield knob.name, f"{'unset' if value is None else repr(value)}: {knob.doc}"


def writable(folder: Path) -> bool:
    """Whether the cache can make its folder and a file in it: tried, because permissions do not tell all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def backend_hint() -> str:
    """How to get MLX with a backend here."""
    return "pip install mlx" if platform.system() == "Darwin" else "pip install 'zmlx[cpu]', or 'zmlx[cuda]' with an NVIDIA GPU"
