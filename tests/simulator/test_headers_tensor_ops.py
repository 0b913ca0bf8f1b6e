"""matmul2d of MetalPerformancePrimitives for one simdgroup: against NumPy, as MLX's own kernels call it, and where it is misused."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

import zmlx.msl as msl
from zmlx.simulator import MetalCompileError, SanitizerError, strict
from zmlx.simulator.preamble import mlx_preamble

sys.path.append(str(Path(__file__).parent / "headers"))
from lane_run import launch

INCLUDE = "#include <MetalPerformancePrimitives/MetalPerformancePrimitives.h>\n"
# Each lane's elements, part after part of 16 × 16, from and to row-major memory: this test's own statement of the places.
PLACES = """
template <typename T, typename U> void take(thread T& to, const device U* from, int rows, int columns, uint lane) {
    for (int i = 0; i < rows * columns / 32; ++i) {
        int part = i / 8, r = (lane & 2) / 2 + (lane & 4) / 2 + (lane & 16) / 4 + (i & 4) * 2, c = (lane & 1) * 4 + (lane & 8) + (i & 3);
        to[i] = from[(part / (columns / 16) * 16 + r) * columns + part % (columns / 16) * 16 + c];
    }
}
"""


def source(m: int, n: int, k: int, left: bool, right: bool, t: str, mode: str = "multiply_accumulate", scope: str = "") -> str:
    flags = f"{str(left).lower()}, {str(right).lower()}"
    return f"""
    const uint lane = thread_position_in_grid.x;
    constexpr auto what = mpp::tensor_ops::matmul2d_descriptor({m}, {n}, {k}, {flags}, false,
                                                               mpp::tensor_ops::matmul2d_descriptor::mode::{mode});
    mpp::tensor_ops::matmul2d<what, metal::execution_simdgroup{scope}> product;
    auto l = product.template get_left_input_cooperative_tensor<{t}, {t}, float>();
    auto r = product.template get_right_input_cooperative_tensor<{t}, {t}, float>();
    auto d = product.template get_destination_cooperative_tensor<decltype(l), decltype(r), float>();
    take(l, a, {f"{k}, {m}" if left else f"{m}, {k}"}, lane);
    take(r, b, {f"{n}, {k}" if right else f"{k}, {n}"}, lane);
    take(d, c, {m}, {n}, lane);
    product.run(l, r, d);
    for (int i = 0; i < int(d.get_capacity()); ++i) out[lane * {m * n // 32} + i] = d[i];
    """


def in_order(x: np.ndarray) -> np.ndarray:
    """The elements of a matrix, lane after lane."""
    found = []
    for lane in range(32):
        row, column = lane // 16 * 4 + lane // 2 % 4, lane // 8 % 2 * 8 + lane % 2 * 4
        parts = [(i, j) for i in range(0, x.shape[0], 16) for j in range(0, x.shape[1], 16)]
        found += [x[i + row + r, j + column + c] for i, j in parts for r in (0, 8) for c in range(4)]
    return np.array(found)


def operands(m: int, n: int, k: int, dtype: mx.Dtype) -> tuple[mx.array, mx.array, mx.array]:
    random = np.random.default_rng(7)
    a, b, c = (mx.array(random.integers(-8, 9, shape).astype(np.float32)) for shape in ((m, k), (k, n), (m, n)))
    return a.astype(dtype), b.astype(dtype), c


@pytest.mark.parametrize("mode", ["multiply_accumulate", "multiply"])
@pytest.mark.parametrize(("left", "right"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    ("m", "n", "k", "t", "dtype"),
    [(16, 32, 16, "half", mx.float16), (32, 16, 16, "bfloat", mx.bfloat16), (16, 16, 32, "float", mx.float32)],
)
def test_products(m: int, n: int, k: int, t: str, dtype: mx.Dtype, left: bool, right: bool, mode: str) -> None:
    a, b, c = operands(m, n, k, dtype)
    inputs = {"a": a.T if left else a, "b": b.T if right else b, "c": c}
    got = launch(source(m, n, k, left, right, t, mode), inputs, (m * n,), mx.float32, 32, header=INCLUDE + PLACES, sanitize=True)
    x, y = (np.array(v.astype(mx.float32)) for v in (a, b))
    np.testing.assert_array_equal(got, in_order(x @ y + (np.array(c) if mode == "multiply_accumulate" else 0)))


def test_a_lane_that_stays_away_is_reported_at_the_line() -> None:
    a, b, c = operands(16, 32, 16, mx.float16)
    branch = "if (lane < 16) product.run(l, r, d);\n simdgroup_barrier(mem_flags::mem_none);"
    text = source(16, 32, 16, False, False, "half").replace("product.run(l, r, d);", branch)
    with pytest.raises(SanitizerError) as caught:
        launch(text, {"a": a, "b": b, "c": c}, (512,), mx.float32, 32, header=INCLUDE + PLACES, sanitize=True)
    (report,) = caught.value.reports
    line = next(i for i, x in enumerate(text.split("\n"), 1) if "product.run" in x)
    assert report.kind == "divergent-simd" and report.line and report.line.number == line, report
    assert "matmul2d" in report.message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (source(16, 32, 32, False, False, "half"), "16x32x16, 32x16x16 and 16x16x32"),
        (source(8, 8, 8, False, False, "half"), "16x32x16, 32x16x16 and 16x16x32"),
        (source(16, 32, 16, False, False, "int8_t"), "operands of half, bfloat or float, summed in float"),
        (source(16, 32, 16, False, False, "half").replace("run(l, r, d)", "run(r, l, d)"), "the first operand is this product's left one"),
    ],
)
def test_what_is_not_known_is_refused(text: str, says: str) -> None:
    a, b, c = operands(16, 32, 16, mx.float16)
    with pytest.raises(MetalCompileError, match=says):
        launch(text, {"a": a, "b": b, "c": c}, (512,), mx.float32, 32, header=INCLUDE + PLACES)


def strict_findings(body: str) -> list[str]:
    pytest.importorskip("clang.cindex", reason="libclang is not installed: pip install 'zmlx[strict]'")
    ids = "uint lane [[thread_index_in_simdgroup]]"
    signature = f"kernel void k(const device half* a, const device half* b, const device float* c, device float* out, {ids})"
    body = body.replace("const uint lane = thread_position_in_grid.x;", "")
    return [f.message for f in strict.check(f"{mlx_preamble()}{INCLUDE}{PLACES}{signature} {{{body}}}\n")]


def test_the_strict_tier_knows_that_lanes_hold_their_own_elements() -> None:
    right = source(16, 32, 16, False, False, "half")
    assert not strict_findings(right)
    (found,) = strict_findings(right + "device float* mine = &d[0];\n")
    assert "'device float*' with an rvalue of type 'float*'" in found


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("header", ["steel/gemm/nax.h", "steel/attn/nax.h"])
def test_mlx_tiles(header: str, left: bool, right: bool) -> None:
    """MLX's own tiles of fragments, loaded, multiplied and stored by its own code: its places are those of this simulator."""
    a, b, _ = operands(32, 32, 32, mx.bfloat16)
    text = f"""
    using namespace mlx::steel;
    NAXTile<bfloat, 2, 2> left, right;
    NAXTile<float, 2, 2> sum;
    sum.clear();
    left.load(a, 32);
    right.load(b, 32);
    tile_matmad_nax(sum, left, metal::bool_constant<{str(left).lower()}>{{}}, right, metal::bool_constant<{str(right).lower()}>{{}});
    sum.store(out, 32);
    """
    inputs = {"a": a.T if left else a, "b": b.T if right else b}
    got = launch(text, inputs, (32, 32), mx.float32, 32, header=msl.mlx_header(header), sanitize=True)
    x, y = (np.array(v.astype(mx.float32)) for v in (a, b))
    np.testing.assert_array_equal(got, x @ y)
