"""All of MLX's kernel headers, translated, pass a C++ compiler against the simulator's, kernels instantiated by MLX's macro."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from zmlx import msl
from zmlx.simulator import preamble
from zmlx.simulator.translate import translate

SIMULATOR = Path(preamble.__file__).parent
CLANG = next((c for c in ("clang++", *(f"clang++-{n}" for n in range(22, 14, -1))) if shutil.which(c)), "")
COMPILERS = [c for c in ("g++", CLANG) if shutil.which(c)]

# Headers that go together in one text, and kernels of theirs with template arguments as MLX chooses them.
GROUPS: dict[str, tuple[list[str], list[str]]] = {
    "quantized": (
        ["quantized.h"],
        [
            "affine_qmv_quad, half, 64, 4, 64, false", "affine_qmv_fast, float, 64, 4, false", "affine_qmv, bfloat16_t, 32, 3, true",
            "affine_qmv_wide, float, 64, 4, 4, 8, false", "affine_qvm, float, 128, 8, false", "affine_qvm_split_k, half, 64, 6, 8",
            "affine_qmm_t, float, 64, 4, true, false", "affine_qmm_n, half, 32, 5, false", "affine_gather_qmv_fast, float, 64, 2",
            "affine_gather_qmm_rhs, bfloat16_t, 64, 4, 16, 32, 32, 1, 2, true", "affine_quantize, float, 64, 4",
            "affine_dequantize, half, 64, 6",
        ],
    ),
    "elementwise": (
        ["binary.h", "unary.h", "ternary.h", "copy.h", "arange.h", "cexpf.h", "erf.h", "expm1f.h", "fp4.h", "fp8.h"],
        [
            "binary_vv, float, float, Add", "binary_ss, bfloat16_t, bfloat16_t, Power",
            "binary_g, complex64_t, complex64_t, Divide, 2, int",
            "binary_vs2, int64_t, int64_t, Remainder", "binary_g_nd3, half, bool, Greater", "unary_v, bfloat16_t, bfloat16_t, Tanh",
            "unary_g, float, float, Erf", "unary_v, complex64_t, complex64_t, Exp", "ternary_v, half, Select, false, true",
            "copy_v, float, complex64_t", "copy_gg, half, int, 2, int", "copy_gg_dynamic_nd2, bool, bfloat16_t", "arange, float",
        ],
    ),
    "rows": (
        ["softmax.h", "logsumexp.h", "cross_entropy.h", "reduce.h", "scan.h", "searchsorted.h", "dot.h", "binary_two.h"],
        [
            "softmax_single_row, half, float", "softmax_looped, bfloat16_t", "logsumexp, float", "logsumexp_looped, half",
            "cross_entropy, float", "cross_entropy_vjp, bfloat16_t", "init_reduce, float, Sum<float>", "all_reduce, half, half, Max<half>",
            "row_reduce_small, bfloat16_t, bfloat16_t, Min<bfloat16_t>, int, 1", "row_reduce_simple, int64_t, int64_t, Sum<int64_t>",
            "row_reduce_looped, complex64_t, complex64_t, Prod<complex64_t>, int, 2", "col_reduce_small, bool, bool, And<bool>, int, 1",
            "col_reduce_looped, float, float, Sum<float>, int, 1, 32, 32", "contiguous_scan, float, float, CumSum<float>, 4, true, false",
            "strided_scan, int64_t, int64_t, CumMax<int64_t>, 4, false, true", "block_sort, float, uint, true, 128, 8",
            "mb_block_merge, half, uint, false, 128, 8", "searchsorted, float, true", "dot_product, float, 4, 128, 4",
            "binary_vv2, float, float, DivMod",
        ],
    ),
    "attention": (
        ["sdpa_vector.h", "sdpa_blocked.h"],
        [
            "sdpa_vector, half, 64", "sdpa_vector_2pass_1, float, 128", "sdpa_vector_2pass_2, bfloat16_t, 64",
            "sdpa_blocked_causal_mask, float",
        ],
    ),
    "steel attention": (
        ["steel/attn/attn.h", "steel/attn/kernels/steel_attention.h"],
        ["attention, half, 32, 32, 64, 64, 4, 1", "attention, float, 32, 16, 128, 128, 4, 1, bool"],
    ),
    "gemm": (
        ["steel/gemm/kernels/steel_gemm_splitk.h", "steel/gemm/kernels/steel_gemm_masked.h", "steel/conv/kernels/steel_conv.h",
         "steel/conv/kernels/steel_conv_3d.h", "steel/conv/kernels/steel_conv_general.h", "gemv.h", "hadamard.h",
         "steel/utils/type_traits.h",
         "fft.h", "gated_delta_update.h", "gated_delta_update_vjp.h", "steel/attn/params.h"],
        [
            "gemm_splitk, half, float, 32, 32, 16, 2, 2, false, true, true, true", "gemm_splitk_accum, float, half",
            "implicit_gemm_conv_2d, float, 32, 32, 16, 2, 2, 0, false", "implicit_gemm_conv_2d_general, half, 32, 32, 16, 2, 2",
            "gemv, float, 1, 8, 1, 32, 4, 4, false, true", "gemv_t, bfloat16_t, 1, 2, 8, 4, 4, 4, true, false",
            "hadamard_n, float, 64, 8, 4", "fft, 256, float2, float2", "gated_delta_seq, half, 128, 128, 4, 8, 0",
        ],
    ),
    "fused gemm": (["steel/gemm/kernels/steel_gemm_fused.h", "atomic.h", "indexing/masked_scatter.h", "indexing/scatter.h",
                    "indexing/scatter_axis.h", "indexing/gather.h", "indexing/gather_axis.h", "indexing/gather_front.h"],
                   ["gemm, half, 64, 64, 16, 2, 2, false, true", "gather_axis, float, int, int, true, false",
                    "scatter_axis, float, uint, int, Sum<float>, true, true", "gather_front, half, int, int, 4"]),
    "segmented gemm": (["steel/gemm/kernels/steel_gemm_segmented.h"], ["segmented_mm, float, 32, 32, 16, 2, 2, true, false"]),
    "gathered gemm": (["steel/gemm/kernels/steel_gemm_gather.h"], ["gather_mm_rhs, bfloat16_t, 16, 64, 16, 1, 2, false, true",
                                                                  "gather_mm, half, 64, 64, 16, 2, 2, false, false"]),
    "fp quantized": (
        ["fp_quantized.h", "gemv_masked.h"],
        ["fp_qmv_fast, float, 32, 4, false", "fp_qmm_t, half, 16, 4, true, false", "fp_quantize, bfloat16_t, 32, 8, false",
         "gemv_masked, half, bool, bool, 1, 8, 1, 32, 4, 4, true", "gemv_t_masked, float, nomask_t, float, 1, 2, 8, 4, 4, 4, false"],
    ),
    "tensor operations": (
        ["steel/gemm/kernels/steel_gemm_fused_nax.h"],
        ["gemm, half, 64, 64, 256, 2, 2, false, true, float", "gemm, float, 64, 128, 64, 2, 4, true, false, float"],
    ),
    "tensor operations, gathered": (
        ["steel/gemm/kernels/steel_gemm_gather_nax.h"], ["gather_mm_rhs_nax, bfloat, 16, 128, 128, 1, 4, false, false, float"],
    ),
    "tensor operations, attention": (
        ["steel/attn/kernels/steel_attention_nax.h"], ["attention_nax, half, 64, 32, 64, 64, 4, 1, half, float"],
    ),
    "tensor operations, quantized": (["quantized_nax.h"], ["affine_qmm_t_nax, half, 64, 4, true, false, 64, 64, 64, 2, 2"]),
}  # fmt: skip


def test_the_groups_hold_every_header() -> None:
    root, held = preamble.headers_root(), set(preamble.preamble_headers())
    for names, _ in GROUPS.values():
        for name in names:
            for each in msl._in_order(root, name):
                preamble.flatten(root, each, held)
    assert not {name for name in msl.mlx_headers() if "nax" not in name} - held


# clang differs from g++ in a few places only, which these groups hold.
CASES = [(group, c) for group in GROUPS for c in COMPILERS if c == "g++" or group in ("elementwise", "rows", "gemm")]


@pytest.mark.parametrize(("group", "compiler"), CASES)
def test_headers_compile(group: str, compiler: str, tmp_path: Path) -> None:
    names, kernels = GROUPS[group]
    before = translate(preamble.mlx_preamble())
    header = translate(msl.mlx_header(*names), before)
    made = translate("".join(f'instantiate_kernel("k{i}", {kernel})\n' for i, kernel in enumerate(kernels)), header)
    source = tmp_path / "kernels.cpp"
    source.write_text(f'#include "zm/msl.h"\n{before.text}\n{header.text}\n{made.text}')
    folders = [f"-I{SIMULATOR / folder}" for folder in ("include", "runtime")]
    ran = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-w", "-Wno-narrowing", *folders, source], capture_output=True, text=True
    )
    assert ran.returncode == 0, "\n".join(line for line in ran.stderr.splitlines() if "error" in line)[:4000]
