"""What a kernel costs before it first runs: tracing and lowering, the compiler of the text, a warm disk cache.

Medians over processes of their own, in ms; the second launch's time is taken off, importing Python modules is not counted.
first: nothing cached, the compiler's probe and the build of the thread pool included, which a machine pays once. cold: a
new kernel after that; text: its way from the source to C++ (or CUDA, MSL): parsing, tracing, passes, lowering, printing.
warm: a kernel in a new process with a disk cache, after another kernel has been launched; alone: the same as the process's
first kernel, which also looks at the compiler and the cache folder and loads the thread pool.

Text needs no device, so CUDA's and Metal's is measured everywhere, in rows of its own: of the realistic case for a GPU, in
float16, where products take matrix instructions and loops are pipelined.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from zmlx.catalog import entries
from zmlx.errors import ZmlxError

CHILD = r"""
import json, sys, time
import mlx.core as mx
import zmlx
from zmlx import bench
from zmlx.catalog import entries
from zmlx.runtime.jit import JitFunction

name, target, state = sys.argv[1:4]
if state != "warm":  # a warm start needs none of the compiler's modules
    import zmlx.frontend.codegen, zmlx.targets.compile
if state == "prepare":
    from zmlx.runtime import host_backend
    host_backend._launch_function()
    sys.exit()
entry = next(e for e in entries() if e.name == name)
case = entry.sizes["gpu"] if state == "text" else next(iter(entry.cases))
args = case.build(mx.float16 if state == "text" and mx.float16 in entry.dtypes else mx.float32)
mx.eval(*[a for a in args if isinstance(a, mx.array)])
other = next(e for e in entries() if e.name == ("gelu" if name == "add" else "add"))
other_args = other.cases[0].build(mx.float32)
kernels, spent = [], {"text": 0.0, "inside": False}
def timed(call):
    def run(*args, **kwargs):
        if spent["inside"]:  # a part of what is being timed
            return call(*args, **kwargs)
        start, spent["inside"] = time.perf_counter(), True
        try:
            return call(*args, **kwargs)
        finally:
            spent["text"] += time.perf_counter() - start
            spent["inside"] = False
    return run
if state != "warm":
    source, codegen, compiling = (sys.modules["zmlx." + m] for m in ("frontend.source", "frontend.codegen", "targets.compile"))
    source.Source.__init__, source.Source._parse = timed(source.Source.__init__), timed(source.Source._parse)
    codegen.trace = timed(codegen.trace)
    compiling.compile_function = timed(compiling.compile_function)
anew = JitFunction._compile_anew
def noted(self, *rest):
    kernels.append(self.__name__)
    return anew(self, *rest)
JitFunction._compile_anew = noted
if state == "text":
    class Written(BaseException):
        pass
    def build(self, values, _, num_warps, num_stages):
        self._compile(self._bind(values, target), target, num_warps, num_stages, ir_texts=False)
        raise Written
    JitFunction.build = build
    try:
        entry.call(*args, **case.kwargs)
    except Written:
        print(json.dumps({"text": spent["text"], "kernels": kernels, "machine": bench.machine()}))
    sys.exit()
with zmlx.use_target(target):
    if state == "warm" and sys.argv[4] == "second":
        mx.eval(other.call(*other_args))
        kernels.clear()
    start = time.perf_counter()
    out = entry.call(*args, **case.kwargs)
    mx.eval(out)
    total = time.perf_counter() - start
    start = time.perf_counter()
    mx.eval(entry.call(*args, **case.kwargs))
    again = time.perf_counter() - start
    text, own = spent["text"], list(kernels)
    mx.eval(other.call(*other_args))  # so that the disk cache has it
print(json.dumps({"total": total - again, "text": text, "kernels": own, "traced": "zmlx.targets.compile" in sys.modules,
                  "machine": bench.machine()}))
"""


def child(name: str, target: str, state: str, cache: str, bytecode: str, turn: str = "first") -> dict[str, Any]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "ZMLX_CACHE_DIR": cache,
        "PYTHONPYCACHEPREFIX": bytecode,
    }
    done = subprocess.run([sys.executable, "-c", CHILD, name, target, state, turn], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ZmlxError(f"{name} failed in a process of its own:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1]) if state != "prepare" else {}


def measure(name: str, target: str, rounds: int, bytecode: str) -> dict[str, Any]:
    """Milliseconds of one kernel: the first start of a machine, cold starts, the text's part of them, warm starts."""
    first, cold, warm, alone = [], [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            first.append(child(name, target, "first", folder, bytecode))
        with tempfile.TemporaryDirectory() as folder:
            if target == "cpu":
                child(name, target, "prepare", folder, bytecode)
            cold.append(child(name, target, "cold", folder, bytecode))
            warm += [child(name, target, "warm", folder, bytecode, "second") for _ in range(2)]
            alone += [child(name, target, "warm", folder, bytecode) for _ in range(2)]
    assert not any(w["traced"] for w in (*warm, *alone))
    return {
        "benchmark": "compile",
        "kernel": name,
        "kernels": first[0]["kernels"],
        "first_ms": _ms(first),
        "cold_ms": _ms(cold),
        "text_ms": _ms(cold, "text"),
        "warm_ms": _ms(warm),
        "alone_ms": _ms(alone),
        **first[0]["machine"],
        "target": target,
    }


def text(name: str, target: str, rounds: int, bytecode: str) -> dict[str, Any]:
    """Milliseconds from one kernel's source to a GPU's text, on a machine that need not have one."""
    runs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(child(name, target, "text", folder, bytecode))
    head = {"benchmark": "compile", "kernel": name, "kernels": runs[0]["kernels"], "text_ms": _ms(runs, "text")}
    return head | runs[0]["machine"] | {"target": target}


def _ms(runs: list[dict[str, Any]], what: str = "total") -> list[float]:
    """Median, least and most."""
    values = sorted(1e3 * r[what] for r in runs)
    return [round(v, 2) for v in (statistics.median(values), values[0], values[-1])]


def measured(only: Sequence[str], target: str, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each of the catalog's entries, or those named; then one for their text on each GPU that is not the target."""
    names = [e.name for e in entries() if not only or e.name in only]
    with tempfile.TemporaryDirectory() as bytecode:
        for name in names:
            yield measure(name, target, rounds, bytecode)
        for other in ("cuda", "metal"):
            for name in names if other != target else ():
                yield text(name, other, rounds, bytecode)
