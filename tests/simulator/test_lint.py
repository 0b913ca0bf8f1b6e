"""The lint: each rule's own examples; no finding in texts that Metal's compiler is known to take."""

from __future__ import annotations

import re
from pathlib import Path

import mlx.core as mx
import pytest

import zmlx
from zmlx import catalog
from zmlx.simulator import lint
from zmlx.simulator.preamble import headers_root, mlx_preamble

KERNELS = headers_root() / "mlx/backend/metal/kernels"
HEADERS = sorted(p for p in KERNELS.rglob("*.h") if "nax" not in p.name)
GOLDEN = sorted(Path(__file__).parents[1].joinpath("golden").glob("*.metal.txt"))


@pytest.mark.parametrize("rule", lint.RULES, ids=lambda r: r.name)
def test_rules(rule: lint.Rule) -> None:
    padded = "\n// a comment: double new goto std::exp\n" + rule.bad
    found = [f for f in lint.check(padded) if f.rule == rule.name]
    assert found and found[0].line == 3, lint.check(padded)
    assert rule.remedy in str(found[0])
    assert not [f for f in lint.check(rule.good) if f.rule == rule.name]


def test_comments_strings_and_directives_are_no_code() -> None:
    assert not lint.check('// double\n/* new\ngoto */\n#include <std>\nconstant char s[] = "double new";\n')


@pytest.mark.parametrize("path", HEADERS, ids=lambda p: str(p.relative_to(KERNELS)))
def test_nothing_in_mlx_headers(path: Path) -> None:
    assert not [str(f) for f in lint.check(path.read_text()) if f.rule != "mlx-name"]  # which MLX itself defines


def test_nothing_in_the_preamble() -> None:
    assert not [str(f) for f in lint.check(mlx_preamble()) if f.rule != "mlx-name"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.name)
def test_nothing_in_golden_texts(path: Path) -> None:
    assert not [str(f) for f in lint.check(path.read_text())]


@pytest.mark.parametrize("entry", tuple(catalog.entries()), ids=lambda e: e.name)
def test_nothing_in_the_catalogs_metal(entry: catalog.Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    launch = zmlx.runtime.jit.JitFunction._compile_anew

    def noted(self, key, args, *rest):  # type: ignore[no-untyped-def]
        from zmlx.frontend.codegen import trace
        from zmlx.targets.compile import compile_function
        from zmlx.targets.target import METAL

        compiled = compile_function(trace(self, args), METAL, 4, frozenset())
        texts.append(compiled.header + compiled.source)
        return launch(self, key, args, *rest)

    monkeypatch.setattr(zmlx.runtime.jit.JitFunction, "_compile_anew", noted)
    for kernel in entry.kernels:
        kernel._plans.clear()
        kernel._compiled.clear()
    with zmlx.use_target("cpu"):
        mx.eval(entry.call(*entry.cases[0].build(mx.float32), **entry.cases[0].kwargs))
    assert texts
    assert not [str(f) for text in texts for f in lint.check(text)]


def test_nothing_in_mlx_lms_kernels() -> None:
    mlx_lm = pytest.importorskip("mlx_lm")
    sources = [p.read_text() for p in Path(mlx_lm.__file__).parent.rglob("*.py")]
    texts = [m[1] for s in sources if "metal_kernel" in s for m in re.finditer(r'"""(.*?)"""', s, re.DOTALL) if "thread_position" in m[1]]
    assert texts
    assert not [str(f) for text in texts for f in lint.check(text) if "{" not in text or "{{" not in text]
