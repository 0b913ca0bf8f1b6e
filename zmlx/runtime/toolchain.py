"""The compilers of generated text: the user's C++ compiler for the cpu target, NVRTC for cuda."""

from __future__ import annotations

import ctypes
import functools
import glob
import json
import os
import re
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zmlx import knobs
from zmlx.errors import ToolchainError
from zmlx.runtime import cache, isa

PRELUDE = Path(__file__).resolve().parent.parent / "targets" / "prelude"

# Strict floating point (never -ffast-math, which also flushes denormals in the whole process once such a library is
# loaded); what is given up has no bearing on results: errno, traps, and C++'s overflow and aliasing rules.
CXX_FLAGS = ("-std=c++20", "-O3", "-shared", "-fPIC", "-fwrapv", "-fno-math-errno", "-fno-trapping-math",
             "-ffp-contract=off", "-fno-strict-aliasing", "-fvisibility=hidden", "-fopenmp-simd", "-pthread")  # fmt: skip
NVRTC_FLAGS = ("--std=c++17", "-default-device", "--disable-warnings", "--fmad=false")
_INSTALL = (
    "install g++ 12 or clang++ 14 or newer (Debian/Ubuntu: apt-get install g++; macOS: xcode-select --install), or name one in ZMLX_CXX"
)
_SMALLEST = {"gcc": 12, "clang": 14}


@dataclass(frozen=True)
class Cxx:
    """A C++ compiler that was tried and works."""

    path: str
    kind: str  # "gcc" | "clang"
    version: str
    flags: tuple[str, ...]
    isa: str  # the level of the instruction set (zmlx/runtime/isa.py)
    identity: str  # changes when the compiler or the level does


def _candidates() -> Iterator[str]:
    named = knobs.CXX.get()
    if named:
        path = shutil.which(os.path.expanduser(named))
        if path is None:
            raise ToolchainError(f"ZMLX_CXX names {named!r}, which is no program that can be run; {_INSTALL}")
        yield path
        return
    versioned = (f"{base}-{v}" for v in range(22, 11, -1) for base in ("clang++", "g++"))
    for name in ("clang++", "g++", "c++", *versioned):
        path = shutil.which(name)
        if path:
            yield path


def find_cxx() -> Cxx:
    """The C++ compiler in use. Raises ToolchainError where there is none that works."""
    return _find_cxx(knobs.CXX.get(), os.environ.get("PATH", ""), isa.chosen())


@functools.lru_cache(maxsize=8)
def _find_cxx(named: str, path: str, level: isa.Level) -> Cxx:
    tried = []
    for candidate in _candidates():
        try:
            return _probe(candidate, level)
        except ToolchainError as e:
            tried.append(f"{candidate}: {e}")
    if not tried:
        raise ToolchainError(f"the cpu target needs a C++ compiler, and none was found: {_INSTALL}")
    raise ToolchainError("no C++ compiler here works:\n  " + "\n  ".join(tried) + f"\n{_INSTALL}")


def _probe(path: str, level: isa.Level) -> Cxx:
    """Tries a compiler once per machine and level: its version, and whether it takes the flags."""
    real = os.path.realpath(path)
    st = os.stat(real)
    key = cache.digest("cxx-2", path, real, str(st.st_size), str(st.st_mtime_ns), *level.flags, *CXX_FLAGS)
    known = cache.get("toolchain", key)
    if known is not None:
        kind, version, *flags = json.loads(known)
        return Cxx(path, kind, version, tuple(flags), level.name, key)
    text = _run([path, "-E", "-dM", "-x", "c++", os.devnull])
    macros = {name: value for _, name, value in (line.split(" ", 2) for line in text.splitlines() if line.count(" ") >= 2)}
    kind = "clang" if "__clang_major__" in macros else "gcc"
    names = ("__clang_major__", "__clang_minor__") if kind == "clang" else ("__GNUC__", "__GNUC_MINOR__")
    major, minor = int(macros.get(names[0], "0")), macros.get(names[1], "0")
    if major < _SMALLEST[kind]:
        raise ToolchainError(f"{kind} {major}.{minor} is too old (zmlx needs {kind} {_SMALLEST[kind]})")
    link = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
    flags_now = (*CXX_FLAGS, *level.flags, *link)
    _build(path, flags_now, 'extern "C" int zm_probe(int x) { return x + 1; }\n')
    cache.put("toolchain", key, json.dumps([kind, f"{major}.{minor}", *flags_now]).encode())
    return Cxx(path, kind, f"{major}.{minor}", flags_now, level.name, key)


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
    except OSError as e:
        raise ToolchainError(f"{command[0]} cannot be run: {e.strerror}; {_INSTALL}") from None
    except subprocess.TimeoutExpired:
        raise ToolchainError(f"{command[0]} did not finish within 300 s") from None
    if done.returncode:
        raise ToolchainError(
            f"{os.path.basename(command[0])} failed with status {done.returncode}:\n{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def _build(path: str, flags: Sequence[str], source: str, opt: str = "") -> bytes:
    folder = tempfile.mkdtemp(dir=cache.scratch_folder())
    text, out = os.path.join(folder, "kernel.cpp"), os.path.join(folder, "kernel.so")
    try:
        with open(text, "w") as f:
            f.write(source)
        _run([path, *flags, *([opt] if opt else []), "-I", str(PRELUDE), text, "-o", out])
        with open(out, "rb") as f:
            return f.read()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_library(source: str, opt: str = "") -> Path:
    """The shared library of a C++ text, from the cache or built now.

    opt: an optimisation level in place of -O3. Raises ToolchainError with the compiler's output.
    """
    cxx = find_cxx()
    key = cache.digest("host-1", cxx.identity, cache.fingerprint("targets/prelude"), opt, source)
    found = cache.library("host", key, ".so")
    if found is not None:
        return found
    return cache.put_library("host", key, ".so", _build(cxx.path, cxx.flags, source, opt))


# ---- NVRTC ----------------------------------------------------------------------------------------------------------


def _nvidia_folders() -> list[str]:
    """Where NVIDIA's wheels (which MLX's CUDA wheels bring) and toolkits lie, likeliest first."""
    packages = {sysconfig.get_paths()["purelib"], *sys.path, *site.getsitepackages(), site.getusersitepackages()}
    wheels = [d for p in packages for d in glob.glob(os.path.join(p, "nvidia", "*")) if os.path.isdir(d)]
    homes = [
        os.environ.get("CUDA_HOME", ""),
        os.environ.get("CUDA_PATH", ""),
        "/usr/local/cuda",
        *sorted(glob.glob("/usr/local/cuda-*"), reverse=True),
    ]
    return sorted(wheels, reverse=True) + [h for h in homes if h and os.path.isdir(h)]


@functools.lru_cache(maxsize=1)
def nvrtc_path() -> str | None:
    """The NVRTC library, or None."""
    found = []
    for folder in _nvidia_folders():
        for lib in ("lib", "lib64"):
            found += sorted(glob.glob(os.path.join(folder, lib, "libnvrtc.so.*")), reverse=True)
    for path in found:
        if "builtins" not in path and "alt" not in os.path.basename(path):
            return path
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            ctypes.CDLL(name)
            return name
        except OSError:
            continue
    return None


@functools.lru_cache(maxsize=1)
def cuda_includes() -> tuple[str, ...]:
    """Folders that hold CUDA's device headers (cuda_fp16.h)."""
    for folder in _nvidia_folders():
        include = os.path.join(folder, "include")
        if os.path.isfile(os.path.join(include, "cuda_fp16.h")):
            return (include,)
    return ()


@functools.lru_cache(maxsize=1)
def _nvrtc() -> tuple[ctypes.CDLL, str]:
    path = nvrtc_path()
    if path is None:
        raise ToolchainError(
            "the cuda target needs NVRTC, and no libnvrtc was found: pip install 'mlx[cuda13]' (or nvidia-cuda-nvrtc), or set CUDA_HOME"
        )
    for builtins in glob.glob(os.path.join(os.path.dirname(path), "libnvrtc-builtins.so.*")):
        ctypes.CDLL(builtins)  # NVRTC opens it by its bare name, which its own folder is not searched for
    lib = ctypes.CDLL(path)
    lib.nvrtcGetErrorString.restype = ctypes.c_char_p
    major, minor = ctypes.c_int(), ctypes.c_int()
    lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return lib, f"{major.value}.{minor.value}"


@functools.lru_cache(maxsize=1)
def cuda_arch() -> str:
    """The architecture of this machine's first GPU, e.g. "sm_90a". Raises ToolchainError where there is none."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise ToolchainError("no CUDA driver was found (libcuda.so.1)") from None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        raise ToolchainError("the CUDA driver sees no GPU")
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    return f"sm_{major.value}{minor.value}" + ("a" if major.value >= 9 else "")


def build_cubin(source: str, arch: str) -> bytes:
    """The cubin of a CUDA C++ text, from the cache or built now by NVRTC.

    arch: "sm_90a" and the like. Raises ToolchainError with NVRTC's log.
    """
    key = cache.digest("cuda-1", arch, os.path.basename(nvrtc_path() or ""), *NVRTC_FLAGS, cache.fingerprint("targets/prelude"), source)
    found = cache.get("cuda", key)
    if found is None:
        found, _ = _build_cubin(source, arch)
        cache.put("cuda", key, found)
    return found


def cubin_usage(source: str, arch: str) -> dict[str, int]:
    """What the kernel of a CUDA C++ text takes of a thread: "registers", and "local_bytes" of memory for what is not in them.

    Raises ToolchainError with NVRTC's log.
    """
    _, log = _build_cubin(source, arch, "--ptxas-options=-v")
    used, frame = re.search(r"Used (\d+) registers", log), re.search(r"(\d+) bytes stack frame", log)
    if used is None:
        raise ToolchainError(f"NVRTC does not say how many registers the kernel takes:\n{log.strip()}")
    return {"registers": int(used[1]), "local_bytes": int(frame[1]) if frame else 0}


def _build_cubin(source: str, arch: str, *more: str) -> tuple[bytes, str]:
    """The cubin and NVRTC's log; more: further options."""
    lib, version = _nvrtc()

    def check(status: int, what: str) -> None:
        if status:
            raise ToolchainError(f"NVRTC {version}: {what}: {lib.nvrtcGetErrorString(status).decode()}")

    program = ctypes.c_void_p()
    check(lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None), "cannot start")
    try:
        options = [f"--gpu-architecture={arch}", *NVRTC_FLAGS, f"-I{PRELUDE}", *(f"-I{d}" for d in cuda_includes()), *more]
        array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        status = lib.nvrtcCompileProgram(program, len(options), array)
        size = ctypes.c_size_t()
        lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetProgramLog(program, buffer)
        log = buffer.value.decode(errors="replace")
        if status:
            raise ToolchainError(f"NVRTC {version} failed for {arch}:\n{log.strip()}")
        check(lib.nvrtcGetCUBINSize(program, ctypes.byref(size)), "no cubin")
        cubin = ctypes.create_string_buffer(size.value)
        check(lib.nvrtcGetCUBIN(program, cubin), "no cubin")
        return cubin.raw, log
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))
