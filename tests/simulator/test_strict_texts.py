"""Neither the strict tier nor the lint finds anything in texts that Metal takes: MLX's, mlx-lm's and zmlx's own."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

import zmlx
from zmlx import catalog, msl, simulator
from zmlx.simulator import lint, strict
from zmlx.simulator.kernel import MetalKernel
from zmlx.simulator.preamble import mlx_preamble

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "mlx_kernels")]
HEADERS = (
    "softmax.h", "logsumexp.h", "unary_ops.h", "binary_ops.h", "sort.h", "scan.h", "reduce.h", "gemv.h", "sdpa_vector.h", "quantized.h",
    "fp_quantized.h", "fft.h", "steel/gemm/gemm.h",
)  # fmt: skip


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the kernels that a test launches; they are not run, and give zeros."""
    found = []

    def noted(self: MetalKernel, *, inputs: Any, output_shapes: Any, output_dtypes: Any, template: Any = None, **_: Any) -> list[mx.array]:
        found.append(self.msl(inputs=inputs, output_dtypes=output_dtypes, template=template))
        return [mx.zeros(s, dtype=d) for s, d in zip(output_shapes, output_dtypes, strict=True)]

    monkeypatch.setattr(MetalKernel, "__call__", noted)
    return found


def _check(text: str) -> None:
    pytest.importorskip("clang.cindex", reason="libclang is not installed: pip install 'zmlx[strict]'")
    own = mlx_preamble().count("\n")
    assert not [str(f) for f in strict.check(text)]
    assert not [str(f) for f in lint.check(text) if f.line > own]


@pytest.mark.parametrize("name", HEADERS)
def test_mlx(name: str) -> None:
    _check(mlx_preamble() + msl.mlx_header(name))


@pytest.mark.parametrize("name", ["flash_attention", "linear"])
def test_tensor_ops(name: str, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMLX_DOT", "tensor")
    (entry,) = (e for e in catalog.entries() if e.name == name)
    for kernel in entry.kernels:
        kernel._plans.clear()
    with zmlx.use_target("metal-sim"):
        mx.eval(*(entry.call(*case.build(mx.float16), **case.kwargs) for case in entry.cases))
    for kernel in entry.kernels:
        kernel._plans.clear()
    matrices = [text for text in texts if "zm_tensor_mac<" in text]
    assert matrices
    for text in matrices[:3]:
        _check(text)


@pytest.mark.parametrize("entry", tuple(catalog.entries()), ids=lambda e: e.name)
def test_catalog(entry: catalog.Entry, texts: list[str]) -> None:
    for kernel in entry.kernels:
        kernel._plans.clear()
        kernel._compiled.clear()
    with zmlx.use_target("metal-sim"):
        mx.eval(entry.call(*entry.cases[0].build(mx.float32), **entry.cases[0].kwargs))
    assert texts
    for text in texts:
        _check(text)


# The calls of other tests, which launch mlx-lm's kernels: module, function, arguments.
MLX_LM = {
    "gated_delta": ("", "gated_delta", False, mx.float32),
    "masked_gated_delta": ("", "masked_gated_delta", True),
    "packed_gated_delta": ("", "packed_gated_delta"),
    "rwkv7": ("", "rwkv7"),
    "ssm": ("", "ssm", mx.float16),
    "bitlinear": ("", "bitlinear", mx.bfloat16, False),
    "attention_residuals": ("", "attention_residuals"),
    "sinkhorn": ("", "sinkhorn", 1),
    "qk_norm": ("_fused", "qk_norm", 64, mx.bfloat16),
    "qk_norm_rope": ("_fused", "qk_norm_rope", 7, mx.float32),
    "expert_routing": ("_fused", "expert_routing"),
    "post_expert_norm_combine": ("_fused", "post_expert_norm_combine", 96),
    "rms_norm_sigmoid_gate": ("_fused", "rms_norm_sigmoid_gate", mx.float32),
    "norm_add_norm": ("_fused", "norm_add_norm", 200, True),
    "kl_divergence": ("_losses", "kl_divergence", 33),
    "js_divergence": ("_losses", "js_divergence", 33),
}


@pytest.mark.parametrize("name", MLX_LM)
def test_mlx_lm(name: str, texts: list[str]) -> None:
    pytest.importorskip("mlx_lm")
    module, function, *arguments = MLX_LM[name]
    launch = getattr(importlib.import_module(f"test_mlx_lm{module}"), f"test_{function}")
    with simulator.installed(), contextlib.suppress(AssertionError):  # zeros are not what the kernel would give
        launch(*arguments)
    assert texts
    for text in texts:
        _check(text)
