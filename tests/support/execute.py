"""Runs many kernels on a target at the cost of few compilations, through the backends that launches use.

Functions are compiled together: on the CPU the texts of a batch are one library, on CUDA one cubin a kernel. Arrays
are NumPy storage arrays (bfloat16 as uint16); MLX has no float64 arrays on a GPU, so they travel as int64.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from zmlx import dtypes as dt
from zmlx.errors import ResourceError, TargetError
from zmlx.frontend.codegen import trace
from zmlx.frontend.source import ArrayArg, ConstexprArg, JitCallable, ScalarArg
from zmlx.interp.tile import run as interpret_ir
from zmlx.ir.core import Function, clone_function
from zmlx.ir.types import Pointer
from zmlx.ir.verifier import verify
from zmlx.passes.pipeline import optimize
from zmlx.runtime import toolchain
from zmlx.runtime.roles import Role, Scalar
from zmlx.targets.compile import compile_function
from zmlx.targets.compiled import Compiled
from zmlx.targets.target import target as target_of

Arrays = dict[str, np.ndarray]
BATCH = 16  # kernels of one library
CARRIER = {dt.float64: dt.int64, dt.bfloat16: dt.uint16}  # what MLX is told an array holds


@dataclass
class Case:
    """One launch: Tile IR, its arrays (left as they are) and scalars, and how to launch it."""

    fn: Function
    arrays: Mapping[str, np.ndarray]
    scalars: Mapping[str, Any] = field(default_factory=dict)
    grid: tuple[int, int, int] = (1, 1, 1)
    num_warps: int = 4


def bf16(x: Any) -> np.ndarray:
    """Storage of numbers as bfloat16."""
    return dt.bf16_to_bits(np.asarray(x, np.float32))


def values(storage: np.ndarray, dtype: dt.DType) -> np.ndarray:
    """Numbers behind a storage array."""
    return dt.decode(storage, dtype)


def traced(
    kernel: JitCallable, args: Mapping[str, Any], dtypes: Mapping[str, dt.DType] | None = None
) -> tuple[Function, Arrays, dict[str, Any]]:
    """The Tile IR for arguments: arrays, Python numbers, ("constexpr", value) pairs; and what is left for run time.

    dtypes names arrays whose storage type does not say what they hold.
    """
    spec: dict[str, Any] = {}
    arrays: Arrays = {}
    scalars: dict[str, Any] = {}
    for name, v in args.items():
        if isinstance(v, np.ndarray):
            known = (dtypes or {}).get(name) or next(d for d in dt.ALL if d.storage == v.dtype and d is not dt.bfloat16)
            spec[name], arrays[name] = ArrayArg(known, 16), v
        elif isinstance(v, tuple) and v and v[0] == "constexpr":
            spec[name] = ConstexprArg(v[1])
        elif isinstance(v, (bool, int, float, np.generic)):
            scalars[name] = v.item() if isinstance(v, np.generic) else v
            kind = dt.BY_NAME[str(v.dtype)] if isinstance(v, np.generic) else dt.int1 if isinstance(v, bool) else None
            kind = kind or (dt.float32 if isinstance(v, float) else dt.int32 if -(1 << 31) <= v < 1 << 31 else dt.int64)
            spec[name] = ScalarArg(kind, 16 if kind.bits >= 32 and kind.is_int and int(v) % 16 == 0 else 1)
        else:
            raise TypeError(f"{name}: {type(v).__name__}")
    return trace(kernel, spec), arrays, scalars


def interpret(case: Case, optimized: bool = True) -> Arrays:
    """All arrays after the interpreter ran the kernel, as traced or as the passes left it."""
    fn = clone_function(case.fn)
    verify(fn)
    if optimized:
        optimize(fn)
        verify(fn)
    arrays = {k: v.copy() for k, v in case.arrays.items()}
    interpret_ir(fn, {k: v.reshape(-1) for k, v in arrays.items()}, case.scalars, case.grid)
    return arrays


def run(cases: Sequence[Case], target: str) -> list[Arrays]:
    """All arrays after each launch on a target."""
    out: list[Arrays] = []
    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        out += [launch(case, c) for case, c in zip(some, compile_together(some, target, start), strict=True)]
    return out


def compile_together(cases: Sequence[Case], target: str, first: int = 0) -> list[Compiled]:
    """Compiled kernels; on the CPU they share one text, so that the C++ compiler runs once."""
    made = []
    for i, case in enumerate(cases):
        fn = replace(case.fn, name=f"{case.fn.name}_{first + i}")
        inout = frozenset(case.arrays) if target_of(target).is_simt else frozenset()
        try:
            made.append(compile_function(fn, target_of(target), case.num_warps, inout))
        except ResourceError:  # a token takes the 31st buffer of Metal
            made.append(compile_function(fn, target_of(target), case.num_warps))
    if target != "cpu":
        return made
    text = "\n".join(c.source for c in made)
    return [replace(c, source=text) for c in made]


def _array(a: np.ndarray, d: dt.DType) -> mx.array:
    array = mx.array(a.view(np.int64) if a.dtype == np.float64 else a)
    return array.view(mx.bfloat16) if d is dt.bfloat16 else array


def _storage(a: mx.array, like: np.ndarray) -> np.ndarray:
    return np.array(a.view(mx.uint16) if a.dtype == mx.bfloat16 else a).reshape(like.shape).view(like.dtype)


def launch(case: Case, compiled: Compiled) -> Arrays:
    """Runs a compiled kernel by the backend of its target."""
    roles, scalars = [], []
    for p in compiled.params:
        dtype = dt.BY_NAME[p.dtype_name]
        if p.is_array:
            writes = p.writes or p.atomic
            # Metal's text sees the type of the array.
            carrier = dtype if compiled.target.startswith("metal") else CARRIER.get(dtype, dtype)
            roles.append(Role(p.name, p.symbol, carrier, writes, "old" if writes else None))
        else:
            scalars.append(Scalar(p.name, dtype, p.word))
    backend: Any
    if compiled.target == "cpu":
        from zmlx.runtime.host_backend import HostKernel

        backend = HostKernel(compiled, roles, scalars)
    else:
        from zmlx.runtime import mlx_backend

        backend = mlx_backend.KERNELS[compiled.target](compiled, roles, scalars)
    passed = [_array(case.arrays[r.name], r.dtype) for r in roles]
    new = backend.execute(passed, [case.scalars[s.name] for s in scalars], case.grid, None)
    mx.eval(new)
    written = iter(new)
    out = {}
    for r in roles:
        old = case.arrays[r.name]
        out[r.name] = _storage(next(written), old) if r.writes else old
    return out


# ---- comparing ------------------------------------------------------------------------------------------------------


def ordered(x: np.ndarray, dtype: dt.DType) -> np.ndarray:
    """Floats as integers in the same order, neighbours one apart; both zeros are 0."""
    bits = dt.encode(x, dtype).view(f"i{dtype.itemsize}").astype(object if dtype.bits == 64 else np.int64)
    magnitude = bits & ((1 << (dtype.bits - 1)) - 1)
    return np.where(bits < 0, -magnitude, magnitude)


def distance(got: np.ndarray, want: np.ndarray, dtype: dt.DType) -> np.ndarray:
    """Units in the last place between two storage arrays; 0 for equal integers and for two NaNs, else huge."""
    x, y = values(got, dtype), values(want, dtype)
    if not dtype.is_float:
        return np.where(x == y, 0.0, 1e30)
    nan = np.isnan(x) | np.isnan(y)
    apart = np.abs(ordered(x, dtype) - ordered(y, dtype)).astype(np.float64)
    return np.where(nan, np.where(np.isnan(x) & np.isnan(y), 0.0, 1e30), apart)


def assert_equal(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], fn: Function, tolerance: float = 0.0, what: str = ""
) -> None:
    """All arrays agree: exactly, or floats within |x - y| <= tolerance * (1 + |y|) (16 times that in half types)."""
    for p in fn.params:
        if p.name not in want:
            continue
        elem = p.value.type.elem  # type: ignore[union-attr]
        assert isinstance(elem, Pointer)
        d = elem.elem
        x, y = got[p.name].reshape(-1), want[p.name].reshape(-1)
        if tolerance and d.is_float:
            a, b = values(x, d).astype(np.float64), values(y, d).astype(np.float64)
            bound = {dt.float16: max(tolerance, 2e-3), dt.bfloat16: max(tolerance, 1.6e-2)}.get(d, tolerance)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(all="ignore"):
                bad = ~(same | (np.abs(a - b) <= bound * (1 + np.abs(b))))
        else:
            bad = distance(x, y, d) > 0
        if bad.any():
            at = np.flatnonzero(bad)
            shown = ", ".join(f"[{i}] {values(x[i : i + 1], d)[0]!r} for {values(y[i : i + 1], d)[0]!r}" for i in at[:6])
            raise AssertionError(f"{what}: {p.name} differs in {at.size} of {x.size} elements: {shown}")


# ---- text for the targets that are not here -------------------------------------------------------------------------

_cuda: list[str] = []


def texts(case: Case) -> dict[str, Compiled]:
    """The kernel compiled to text for CUDA and Metal. Metal may refuse (float64, and what the target lists)."""
    out = {}
    fn = replace(case.fn, name=f"{case.fn.name}_{len(_cuda)}")
    for name in ("cuda", "metal"):
        for inout in (frozenset(case.arrays), frozenset[str]()):  # a token takes the 31st buffer of Metal
            try:
                out[name] = compile_function(fn, target_of(name), case.num_warps, inout)
                break
            except (TargetError, ResourceError) as e:
                assert name == "metal", e
    if "cuda" in out:
        _cuda.append(out["cuda"].source)
    return out


def check_with_nvcc() -> None:
    """Compiles the CUDA texts collected so far, all in one, if ZMLX_TEST_NVCC=1."""
    nvcc = shutil.which("nvcc")
    if os.environ.get("ZMLX_TEST_NVCC") != "1" or nvcc is None or not _cuda:
        return
    folder = Path(toolchain.cache.scratch_folder())
    for start in range(0, len(_cuda), 64):
        text = folder / f"all-{start}.cu"
        text.write_text("\n".join(_cuda[start : start + 64]))
        done = subprocess.run(
            [nvcc, "-cubin", "-arch=sm_90", "-std=c++17", "-diag-suppress=177,550", str(text), "-o", os.devnull],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, re.sub(r"(?m)^.*warning.*$\n?", "", done.stderr)[:4000]
    _cuda.clear()
