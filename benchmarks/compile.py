"""What a kernel costs before it first runs: tracing and lowering, the compiler of the text, a warm disk cache.

    python benchmarks/compile.py [--out benchmarks/results/compile.jsonl] [--only softmax] [--rounds 3]

Each number is the median over processes of its own. cold: nothing cached (the compiler's probe and the thread pool are
warm after the first process, and counted apart as "first"). warm: the same in a new process, from the disk cache. The
launch itself is included; importing Python modules is not, but for those of the compiler, which a warm start needs not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHILD = r"""
import json, sys, time
import mlx.core as mx
import zmlx
from zmlx import bench
from zmlx.catalog import entries
from zmlx.runtime.jit import JitFunction

name, target = sys.argv[1:3]
entry = next(e for e in entries() if e.name == name)
case = next(iter(entry.cases))
args = case.build(mx.float32)
mx.eval(*[a for a in args if isinstance(a, mx.array)])
kernels, spent = [], {"text": 0.0}
anew = JitFunction._compile_anew
def timed(self, *rest):
    start = time.perf_counter()
    found = anew(self, *rest)
    spent["text"] += time.perf_counter() - start
    kernels.append(self.__name__)
    return found
JitFunction._compile_anew = timed
with zmlx.use_target(target):
    start = time.perf_counter()
    out = entry.call(*args, **case.kwargs)
    mx.eval(out)
    total = time.perf_counter() - start
    start = time.perf_counter()
    mx.eval(entry.call(*args, **case.kwargs))
    again = time.perf_counter() - start
print(json.dumps({"total": total - again, "text": spent["text"], "kernels": kernels, "traced": "zmlx.targets.compile" in sys.modules,
                  "machine": bench.machine()}))
"""


def child(name: str, target: str, cache: str) -> dict[str, Any]:
    env = os.environ | {"ZMLX_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", CHILD, name, target], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, target: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of one kernel: first and later cold starts, the text's part of them, and warm starts."""
    with tempfile.TemporaryDirectory() as folder:
        first = child(name, target, folder)
        cold, text, warm = [], [], []
        for _ in range(rounds):
            for kind in ("kernels", "cuda"):
                subprocess.run(["rm", "-rf", os.path.join(folder, kind)], check=True)
            # The pool's library stays: it is built once a machine. Its entry is the oldest.
            host = sorted(Path(folder, "host").rglob("*"), key=lambda p: p.stat().st_mtime) if Path(folder, "host").is_dir() else []
            for path in [p for p in host if p.is_file()][2:] if not first["traced"] else []:
                path.unlink()
            cold.append(child(name, target, folder))
            text.append(cold[-1]["text"])
            warm.append(child(name, target, folder))
        assert not any(w["traced"] for w in warm)

        def ms(values: list[float]) -> float:
            return round(1e3 * statistics.median(values), 2)

        return {
            "benchmark": "compile",
            "kernel": name,
            "target": target,
            "kernels": first["kernels"],
            "first_ms": ms([first["total"]]),
            "trace_to_text_ms": ms(text),
            "built_text_known_ms": ms([c["total"] for c in cold]),
            "warm_ms": ms([w["total"] for w in warm]),
            **first["machine"],
            "command": " ".join(["python", *sys.argv]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default="cpu")
    options = parser.parse_args()
    from zmlx.catalog import entries

    rows = [measure(e.name, options.target, options.rounds) for e in entries() if not options.only or e.name in options.only]
    for row in rows:
        print(json.dumps(row))
    if options.out:
        options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
