"""From generated MSL to a library that the worker loads: translation, the entry, the C++ compiler, the cache.

MLX's preamble and the simulator's own headers are precompiled once per machine, compiler and set of flags, which takes the
better part of a second off every kernel. Everything on disk appears whole under its name or not at all, so that processes
may build at once and a killed one leaves nothing that a later one would trip over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from zmlx import knobs
from zmlx.errors import ToolchainError
from zmlx.runtime import cache
from zmlx.runtime.toolchain import Cxx, find_cxx
from zmlx.simulator.diagnostics import ENTRY_FILE, FILE, HEADER_FILE, Layout, MetalCompileError, metal_errors, unsupported
from zmlx.simulator.preamble import mlx_preamble
from zmlx.simulator.source import Program
from zmlx.simulator.translate import KernelSignature, Parameter, Translation, UnsupportedFeature, translate

HERE = Path(__file__).resolve().parent
INCLUDE, RUNTIME = HERE / "include", HERE / "runtime"
_DAY = 24 * 3600

# No contraction and no fast math: results are those of MSL's text, operation by operation. A kernel's inline functions and
# variables are its own (hidden, not unique): other kernels in the same process hold others of the same names. An endless loop
# stays, where C++ may drop it.
_FLAGS = ("-std=c++20", "-fPIC", "-pthread", "-w", "-Wno-narrowing", "-fsigned-char", "-fwrapv", "-fno-strict-aliasing",
          "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
          "-fno-finite-loops")  # fmt: skip
# g++ 12 turns `aligned ? *(uint4*)p : four elements of p`, in a loop, into the aligned load alone where it converts branches.
_GCC = ("-fno-gnu-unique", "-fno-tree-loop-if-convert", "-fdiagnostics-column-unit=byte")
_CLANG = ("-ferror-limit=20", "-fno-spell-checking", "-gdwarf-4")  # addr2line loses the inlined frames of its DWARF 5
_MESSAGES = ("-fdiagnostics-color=never", "-fno-diagnostics-show-caret", "-fno-diagnostics-show-option")
_CLANG_MESSAGES = ("-fno-color-diagnostics", "-fno-caret-diagnostics", "-fno-diagnostics-show-option")


@dataclass(frozen=True)
class Flavour:
    """How kernels are compiled now: the compiler, plain or instrumented, and how much it optimises."""

    cxx: Cxx
    sanitize: bool
    optimisation: str

    @staticmethod
    def now(sanitize: bool) -> Flavour:
        return Flavour(find_cxx(), sanitize, knobs.SIM_OPT.get() or "-O2")

    @property
    def flags(self) -> tuple[str, ...]:
        major = int(self.cxx.version.split(".")[0])
        if self.cxx.kind == "gcc":
            own = (*_GCC, *_MESSAGES, *(("-fexcess-precision=16",) if major >= 13 else ()))
        else:  # a half is rounded after every operation, by compilers that would else wait
            own = (*_CLANG, *_CLANG_MESSAGES, *(("-Xclang", "-ffloat16-excess-precision=none") if major >= 16 else ()))
        machine = tuple(f for f in self.cxx.flags if f.startswith(("-march=", "-mcpu=")))
        # Instrumented text is compiled with, but never linked with, the option: the runtime has its own __tsan_ functions.
        # clang leaves out a read that a write of the same place follows, which hides reads of what nobody wrote, and
        # accesses of more than 16 bytes.
        checks: tuple[str, ...] = ("-fsanitize=thread",) if self.sanitize else ()
        if checks and self.cxx.kind != "gcc":
            checks += ("-mllvm", "-tsan-instrument-read-before-write=1", "-fno-vectorize", "-fno-slp-vectorize")
        return (*_FLAGS, *own, *machine, self.optimisation, "-g1", *checks, "-I", str(INCLUDE), "-I", str(RUNTIME))

    @property
    def link(self) -> tuple[str, ...]:
        return ("-shared", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)

    @property
    def key(self) -> str:
        return cache.digest(self.cxx.identity, _content(INCLUDE), _content(RUNTIME), *self.flags)


@lru_cache(maxsize=4)
def _content(folder: Path) -> str:
    """A digest of a folder's files: headers without a suffix count too."""
    h = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        data = path.read_bytes()
        h.update(f"{path.relative_to(folder)}:{len(data)}:".encode())
        h.update(data)
    return h.hexdigest()


# ---- the runtime ------------------------------------------------------------------------------------------------------


_runtimes: dict[str, Path] = {}  # by the compiler: one of this process, as the worker has it loaded


def runtime_library() -> Path:
    """What runs the kernels: fibers, barriers, the sanitizer. Built once a machine."""
    cxx = find_cxx()
    known = _runtimes.get(cxx.identity)
    if known is None or not known.is_file():
        known = _runtimes[cxx.identity] = _built_runtime(cxx)
    return known


def _built_runtime(cxx: Cxx) -> Path:
    flags = ("-std=c++20", "-O2", "-g1", "-fPIC", "-pthread", "-w", "-ftls-model=initial-exec", "-fno-strict-aliasing", "-shared",
             *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()))  # fmt: skip
    key = cache.digest("simulator-runtime-1", cxx.identity, _content(RUNTIME), *flags)
    found = cache.library("simulator", key, ".so")
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(dir=cache.scratch_folder()) as work:
        out = Path(work) / "runtime.so"
        sources = sorted(map(str, RUNTIME.glob("*.cpp")))
        done = _compiler([cxx.path, *flags, "-I", str(RUNTIME), *sources, "-o", str(out)])
        if done.returncode:
            raise ToolchainError(f"the simulator's runtime library does not compile with {cxx.path}:\n{done.stderr.strip()}")
        return cache.put_library("simulator", key, ".so", out.read_bytes())


# ---- kernels ----------------------------------------------------------------------------------------------------------


_loaded: dict[tuple[Any, ...], Path] = {}


def library(program: Program, sanitize: bool) -> Path:
    """The library of a kernel: of this process, from the cache, or built now.

    Raises MetalCompileError for text that does not compile, UnsupportedFeature for what is refused by name.
    """
    settings = (program, sanitize, knobs.CXX.get(), knobs.SIM_OPT.get(), knobs.cache_dir())
    known = _loaded.get(settings)
    if known is not None and known.is_file():
        return known
    flavour = Flavour.now(sanitize)
    key = cache.digest("simulator-kernel-2", flavour.key, mlx_preamble(), program.name, *parts(program))
    found = cache.library("simulator", key, ".so")
    if found is None:
        found = cache.put_library("simulator", key, ".so", _compile(program, flavour))
    _loaded[settings] = found
    return found


def parts(program: Program) -> tuple[str, str]:
    """The text in two pieces that are translated one after the other: a header of whole lines, which many kernels share."""
    if program.header.endswith("\n") and not program.header.endswith("\\\n"):
        return program.header, program.signature + program.source + program.ending
    return "", program.text


def layout(program: Program) -> Layout:
    return Layout(mlx_preamble(), program)


def _compile(program: Program, flavour: Flavour) -> bytes:
    where = layout(program)
    text = cpp(program, where)
    with tempfile.TemporaryDirectory(dir=cache.scratch_folder()) as work:
        # The file has the name that #line gives its lines: some versions of addr2line know a unit's own name only.
        source, made, out = (str(Path(work) / name) for name in (FILE, "kernel.o", "kernel.so"))
        Path(source).write_text(text)

        def compiled() -> subprocess.CompletedProcess[str]:
            return _compiler([flavour.cxx.path, *flavour.flags, *_prelude(flavour, where), "-x", "c++", "-c", source, "-o", made])

        done = compiled()
        if done.returncode and metal_errors(done.stderr, where) is None:
            _forget_prelude(flavour)  # damaged, or a header that it is made of has another time now
            done = compiled()
        if done.returncode:
            raise metal_errors(done.stderr, where) or ToolchainError(
                f"{flavour.cxx.path} failed on a simulated kernel with status {done.returncode}:\n{done.stderr.strip()[-4000:]}"
            )
        done = _compiler([flavour.cxx.path, *flavour.link, made, "-o", out])
        if done.returncode:
            raise ToolchainError(f"{flavour.cxx.path} cannot link a simulated kernel:\n{done.stderr.strip()[-4000:]}")
        return Path(out).read_bytes()


def cpp(program: Program, where: Layout) -> str:
    """The kernel's C++, which follows the prelude."""
    header, rest = parts(program)
    before = _translated(where.preamble, None, where, 1)
    pieces = []
    if header:
        before = _translated(header, before, where, where.preamble_lines + 1)
        pieces.append(f'#line {where.preamble_lines + 1} "{FILE}"\n{before.text}')
    start = where.preamble_lines + header.count("\n") + 1
    main = _translated(rest, before, where, start)
    _refuse_function_constants(main, program, where)
    pieces.append(f'#line {start} "{FILE}"\n{main.text}')
    kernel = next((k for k in main.kernels if k.name == program.name), None)
    if kernel is None:
        raise MetalCompileError([], f"the text defines no {program.name}: a brace or parenthesis in `header` or `source` is not closed")
    arguments = next((i.arguments for i in main.instantiations if i.kernel == program.name), "")
    pieces.append(f'#line 1 "{ENTRY_FILE}"\n{entry(kernel, arguments)}')
    return "\n".join(pieces)


def _translated(text: str, after: Translation | None, where: Layout, start: int) -> Translation:
    try:
        return translate(text, after) if after is not None else translate(text)
    except UnsupportedFeature as e:
        raise unsupported(e, where, start) from None


def _refuse_function_constants(main: Translation, program: Program, where: Layout) -> None:
    words = set(_words(program.source))
    for constant in main.function_constants:
        if constant.name in words:
            raise MetalCompileError(
                [],
                f"the source reads {constant.name}, a function constant: a custom kernel cannot give it a value",
                "make it a template parameter, or define it in `header` as `constant constexpr`",
            )


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text).split()


# ---- the entry --------------------------------------------------------------------------------------------------------

_VECTORS = {
    "dispatch_threads_per_threadgroup": "g.full_threadgroup[{i}]",
    "grid_origin": "0u",
    "grid_size": "g.threads[{i}]",
    "thread_position_in_grid": "g.group[{i}] * g.full_threadgroup[{i}] + t.position[{i}]",
    "thread_position_in_threadgroup": "t.position[{i}]",
    "threadgroup_position_in_grid": "g.group[{i}]",
    "threadgroups_per_grid": "g.groups[{i}]",
    "threads_per_grid": "g.threads[{i}]",
    "threads_per_threadgroup": "g.threadgroup[{i}]",
}
_HERE = "g.threadgroup[0] * g.threadgroup[1] * g.threadgroup[2]"
_FULL = "g.full_threadgroup[0] * g.full_threadgroup[1] * g.full_threadgroup[2]"
_NUMBERS = {
    "dispatch_quadgroups_per_threadgroup": f"({_FULL} + 3) / 4",
    "dispatch_simdgroups_per_threadgroup": f"({_FULL} + 31) / 32",
    "quadgroup_index_in_threadgroup": "t.index / 4",
    "quadgroups_per_threadgroup": f"({_HERE} + 3) / 4",
    "simdgroup_index_in_threadgroup": "t.simdgroup",
    "simdgroups_per_threadgroup": f"({_HERE} + 31) / 32",
    "thread_execution_width": "32",
    "thread_index_in_quadgroup": "t.index % 4",
    "thread_index_in_simdgroup": "t.lane",
    "thread_index_in_threadgroup": "t.index",
    "threads_per_simdgroup": "32",
}


def entry(kernel: KernelSignature, arguments: str) -> str:
    """`zm_kernel`, which the runtime calls on every thread: the kernel with its buffers and its place in the grid."""
    name = f"{kernel.name}<{arguments}>" if arguments else kernel.name
    values = ",\n      ".join(_value(p) for p in kernel.parameters)
    return f"""namespace {{
struct zm_pointer {{ void* p; template <class T> operator T*() const {{ return static_cast<T*>(p); }} }};
struct zm_reference {{ void* p; template <class T> operator T&() const {{ return *static_cast<T*>(p); }} }};
}}
extern "C" __attribute__((visibility("default"))) void zm_kernel(void* const* b) {{
  const ::zm::Thread& t = ::zm::self();
  const ::zm::Grid& g = ::zm::grid();
  (void)t, (void)g, (void)b;
  ::{name}(
      {values});
}}
"""


def _value(p: Parameter) -> str:
    if p.buffer is not None:
        return f"{'zm_reference' if p.is_reference else 'zm_pointer'}{{b[{p.buffer}]}}"
    attribute = p.attribute or ""
    if attribute in _NUMBERS:
        return f"{p.type}({_NUMBERS[attribute]})"
    if attribute in _VECTORS:
        width = int(p.type[-1]) if p.type[-1] in "23" else 1
        values = ", ".join(_VECTORS[attribute].format(i=i) for i in range(width))
        return f"{p.type}({values})"
    raise MetalCompileError([], f"the kernel's argument {p.name} has the attribute [[{attribute}]], which custom kernels do not get")


# ---- the prelude ------------------------------------------------------------------------------------------------------


def _prelude(flavour: Flavour, where: Layout) -> tuple[str, ...]:
    """Options that put the simulator's headers and MLX's preamble, precompiled, before a kernel."""
    folder = _precompiled(flavour, where)
    if flavour.cxx.kind == "gcc":
        return ("-include", str(folder / HEADER_FILE))
    return ("-include-pch", str(folder / f"{HEADER_FILE}.pch"))


def _prelude_folder(flavour: Flavour) -> Path:
    root = knobs.cache_dir()
    key = cache.digest("simulator-prelude-1", flavour.key, mlx_preamble())
    return (cache.scratch_folder() if root is None else root / "simulator-prelude") / key


def _precompiled(flavour: Flavour, where: Layout) -> Path:
    """The folder that holds the prelude and its precompiled form."""
    folder = _prelude_folder(flavour)
    name = f"{HEADER_FILE}.{'gch' if flavour.cxx.kind == 'gcc' else 'pch'}"
    if (folder / name).is_file():
        return folder
    try:
        return _precompile(flavour, where, folder, name)
    except OSError:  # a cache that cannot be written: put_library says so
        folder = cache.scratch_folder() / folder.name
        return folder if (folder / name).is_file() else _precompile(flavour, where, folder, name)


def _precompile(flavour: Flavour, where: Layout, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    header = folder / HEADER_FILE
    text = _translated(where.preamble, None, where, 1).text
    with _placed(header) as temporary:
        Path(temporary).write_text(f'#include "zm/msl.h"\n#line 1 "{FILE}"\n{text}')
        os.utime(temporary, (0, 0))  # compilers note it: the same for every process that writes the same text
    with _placed(folder / name) as temporary:
        done = _compiler([flavour.cxx.path, *flavour.flags, "-x", "c++-header", str(header), "-o", temporary])
        if done.returncode:
            raise ToolchainError(
                f"MLX's preamble does not compile for the simulator with {flavour.cxx.path}:\n{done.stderr.strip()[-4000:]}"
            )
    return folder


@contextmanager
def _placed(path: Path) -> Iterator[str]:
    """A name to write to; the file then takes the place of `path` at once."""
    handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    os.close(handle)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _forget_prelude(flavour: Flavour) -> None:
    shutil.rmtree(_prelude_folder(flavour), ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Removes what killed processes left, and the preludes of compilers and versions of long ago, which are large."""
    for left in (*folder.glob(".tmp-*"), *folder.parent.glob("*/*.?ch")):
        try:
            age = time.time() - left.stat().st_mtime
            if age > (_DAY if left.name.startswith(".") else 30 * _DAY):
                left.unlink()
        except OSError:
            pass


def _compiler(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, timeout=600)
    except OSError as e:
        raise ToolchainError(f"{command[0]} cannot be run: {e.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ToolchainError(f"{command[0]} did not finish within 600 s") from None
