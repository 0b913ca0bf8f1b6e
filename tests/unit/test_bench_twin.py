"""A kernel's twin under Triton: the text, and what is recorded of a launch."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

import zmlx
import zmlx.language as tl
from zmlx.bench import twin
from zmlx.bench.twin_launch import ArrayRef, recorded
from zmlx.catalog import entries

KERNELS = {k.__name__: getattr(k, "kernel", k) for e in entries() for k in e.kernels}  # of an autotuned kernel, what it tunes
SCALE = tl.constexpr(0.5)
CLOCK = object()


@zmlx.jit
def doubled(x):
    return tl.maximum(x, 0.0) * 2


@zmlx.jit
def all_sorts_kernel(x_ptr, out_ptr, n, F: tl.constexpr, BLOCK: tl.constexpr = 64):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=-float("inf")).to(tl.float32)
    tl.store(out_ptr + at, doubled(F(x)) * SCALE, mask=at < zmlx.cdiv(n, 1))


@zmlx.jit
def foreign_kernel(x_ptr):
    tl.store(x_ptr, CLOCK)


@pytest.mark.parametrize("name", KERNELS)
def test_every_catalog_kernels_twin_is_python(name: str) -> None:
    tree = ast.parse(twin.text(KERNELS[name]))
    functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
    assert name in functions
    assert all(ast.unparse(f.decorator_list[0]) == "triton.jit" for f in functions.values())
    assert "zmlx" not in ast.unparse(tree)


def test_the_text_holds_what_the_kernel_reaches() -> None:
    text = twin.text(all_sorts_kernel)
    assert text.startswith("import triton\nimport triton.language as tl\n")
    assert "SCALE = tl.constexpr(0.5)" in text
    assert text.count("@triton.jit") == 2 and "def doubled(x):" in text
    assert "F: tl.constexpr, BLOCK: tl.constexpr=64" in text and "triton.cdiv(n, 1)" in text


def test_what_triton_lacks_is_refused() -> None:
    with pytest.raises(twin.TwinError, match=r"`CLOCK` \(object\) has no counterpart"):
        twin.text(foreign_kernel)


def test_a_launch_is_recorded_and_made() -> None:
    x = mx.arange(100, dtype=mx.float32)
    with recorded() as launches:
        out = all_sorts_kernel[lambda meta: (zmlx.cdiv(100, meta["BLOCK"]),)](x, zmlx.empty_like(x), 100, F=doubled, num_warps=2)
    assert mx.array_equal(out, 2 * x)
    (launch,) = launches
    assert launch.kernel is all_sorts_kernel and launch.grid == (2, 1, 1) and launch.options == {"num_warps": 2}
    given, made = launch.arguments["x_ptr"], launch.arguments["out_ptr"]
    assert isinstance(given, ArrayRef) and mx.array_equal(given.content, x)
    assert isinstance(made, ArrayRef) and made.content is None and made.shape == (100,)
    assert launch.arguments["n"] == 100 and launch.arguments["F"] is doubled and launch.arguments["BLOCK"] == 64
    assert list(launch.written) == ["out_ptr"] and mx.array_equal(launch.written["out_ptr"], out)


@zmlx.autotune([zmlx.Config({"BLOCK": 32}, num_warps=2)], key=["n"])
@zmlx.jit
def tuned_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n), mask=at < n)


def test_an_autotuned_launch_is_recorded_with_its_choice() -> None:
    x = mx.arange(100, dtype=mx.float32)
    for _ in range(2):  # the first launch tunes, the second takes what was found
        with recorded() as launches:
            tuned_kernel[lambda meta: (zmlx.cdiv(100, meta["BLOCK"]),)](x, zmlx.empty_like(x), 100)
        (launch,) = launches
        assert launch.kernel is tuned_kernel.kernel and launch.grid == (4, 1, 1)
        assert launch.arguments["BLOCK"] == 32 and launch.options == {"num_warps": 2}


def have(*packages: str) -> Any:
    lack = [p for p in packages if importlib.util.find_spec(p) is None]
    return pytest.mark.skipif(bool(lack), reason=f"needs {' and '.join(lack)}")


@have("triton")
@pytest.mark.parametrize("name", KERNELS)
def test_triton_parses_every_catalog_kernels_twin(name: str) -> None:
    function = twin.load(KERNELS[name])
    assert isinstance(function.parse(), ast.Module)
    assert [p.name for p in function.params] == [p.name for p in KERNELS[name].params]


@have("triton", "torch")
def test_twins_compute_the_same_in_tritons_interpreter() -> None:
    script = Path(__file__).parents[1] / "support" / "twins.py"
    done = subprocess.run([sys.executable, str(script)], env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= len(KERNELS)
