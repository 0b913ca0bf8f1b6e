"""Kernels of MLX's documentation and the corners of the signature, run on the CPU and checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator
from zmlx.simulator.source import ATTRIBUTES


@pytest.fixture(autouse=True, params=[False, True], ids=["plain", "sanitised"])
def _mode(request: pytest.FixtureRequest) -> Iterator[None]:
    with simulator.installed(sanitize=request.param):
        yield


def run(source: str, inputs: dict[str, Any], outputs: list[tuple[tuple[int, ...], mx.Dtype]], n: Any, group: Any = 64, **more: Any) -> Any:
    """The outputs of one launch: `out`, or `out0`, `out1` …"""
    names = ["out"] if len(outputs) == 1 else [f"out{i}" for i in range(len(outputs))]
    options = {k: more.pop(k) for k in ("header", "ensure_row_contiguous", "atomic_outputs", "compile_options", "updated") if k in more}
    kernel = simulator.metal_kernel(name="k", input_names=list(inputs), output_names=names, source=source, **options)
    results = kernel(
        inputs=list(inputs.values()),
        output_shapes=[shape for shape, _ in outputs],
        output_dtypes=[dtype for _, dtype in outputs],
        grid=n if isinstance(n, tuple) else (n, 1, 1),
        threadgroup=group if isinstance(group, tuple) else (group, 1, 1),
        **more,
    )
    return results[0] if len(results) == 1 else results


def as_numpy(x: mx.array) -> np.ndarray:
    return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)


# ---- MLX's documentation ----------------------------------------------------------------------------------------------

EXP = "uint elem = thread_position_in_grid.x; T tmp = inp[elem]; out[elem] = metal::exp(tmp);"


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=str)
def test_exp_with_a_template(dtype: mx.Dtype) -> None:
    a = mx.random.normal(shape=(4, 16)).astype(dtype)
    b = run(EXP, {"inp": a}, [(a.shape, dtype)], a.size, 256, template=[("T", dtype)])
    assert b.dtype == dtype and mx.allclose(b, mx.exp(a), rtol={mx.float32: 1e-6, mx.float16: 1e-3, mx.bfloat16: 8e-3}[dtype])


STRIDED = """
    uint elem = thread_position_in_grid.x;
    auto loc = elem_to_loc(int64_t(elem), inp_shape, inp_strides, inp_ndim);  // `uint` would lose the sign of strides
    T tmp = inp[loc];
    out[elem] = metal::exp(tmp);
"""


@pytest.mark.parametrize("view", ["whole", "every second", "transposed", "broadcast", "reversed", "inner"])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=str)
@pytest.mark.parametrize("contiguous", [False, True], ids=["as it lies", "made contiguous"])
def test_strides(view: str, dtype: mx.Dtype, contiguous: bool) -> None:
    base = mx.random.normal(shape=(8, 6, 4)).astype(dtype)
    a = {
        "whole": base,
        "every second": base[::2],
        "transposed": base.transpose(2, 0, 1),
        "broadcast": mx.broadcast_to(base[0], (3, 6, 4)),
        "reversed": base[::-1, :, ::-1],
        "inner": base[1:7, 2:4, 1:],
    }[view]
    b = run(STRIDED, {"inp": a}, [(a.shape, dtype)], a.size, 32, template=[("T", dtype)], ensure_row_contiguous=contiguous)
    assert mx.allclose(b, mx.exp(a), rtol=1e-2 if dtype == mx.bfloat16 else 1e-6)


GRID_SAMPLE = """
    uint elem = thread_position_in_grid.x;
    int H = x_shape[1], W = x_shape[2], C = x_shape[3], gH = grid_shape[1], gW = grid_shape[2];
    int w_stride = C, h_stride = W * w_stride, b_stride = H * h_stride;
    uint grid_idx = elem / C * 2;
    float ix = ((grid[grid_idx] + 1) * W - 1) / 2, iy = ((grid[grid_idx + 1] + 1) * H - 1) / 2;
    int ix_nw = floor(ix), iy_nw = floor(iy);
    int b = elem / C / gH / gW, c = elem % C;
    float weight[2][2] = {{(ix_nw + 1 - ix) * (iy_nw + 1 - iy), (ix - ix_nw) * (iy_nw + 1 - iy)},
                          {(ix_nw + 1 - ix) * (iy - iy_nw), (ix - ix_nw) * (iy - iy_nw)}};
    BODY
"""
FORWARD = """
    T sum = 0;
    for (int dy = 0; dy < 2; dy++) for (int dx = 0; dx < 2; dx++) {
        int y = iy_nw + dy, xx = ix_nw + dx;
        if (y >= 0 && y < H && xx >= 0 && xx < W) sum += weight[dy][dx] * x[b * b_stride + y * h_stride + xx * w_stride + c];
    }
    out[elem] = sum;
"""
BACKWARD = """
    for (int dy = 0; dy < 2; dy++) for (int dx = 0; dx < 2; dx++) {
        int y = iy_nw + dy, xx = ix_nw + dx;
        if (y >= 0 && y < H && xx >= 0 && xx < W) {
            int at = b * b_stride + y * h_stride + xx * w_stride + c;
            float v = weight[dy][dx] * cotangent[elem];
            atomic_fetch_add_explicit(&out0[at], v, memory_order_relaxed);
            atomic_fetch_add_explicit(&out1[0], 1.0f, memory_order_relaxed);
        }
    }
"""


def _grid_sample(x: np.ndarray, grid: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """Bilinear samples; with `spread`, the reverse: what each sample's cotangent adds to x."""
    n, h, w, c = x.shape
    out = np.zeros((n, *grid.shape[1:3], c)) if spread is None else np.zeros(x.shape)
    ix, iy = ((grid[..., 0] + 1) * w - 1) / 2, ((grid[..., 1] + 1) * h - 1) / 2
    x0, y0 = np.floor(ix).astype(int), np.floor(iy).astype(int)
    for at in np.ndindex(n, *grid.shape[1:3]):
        for dy in (0, 1):
            for dx in (0, 1):
                xx, yy = x0[at] + dx, y0[at] + dy
                if 0 <= xx < w and 0 <= yy < h:
                    weight = (1 - abs(ix[at] - xx)) * (1 - abs(iy[at] - yy))
                    if spread is None:
                        out[at] += weight * x[at[0], yy, xx]
                    else:
                        out[at[0], yy, xx] += weight * spread[at]
    return out


def test_grid_sample_and_its_gradient_with_atomic_outputs() -> None:
    rng = np.random.default_rng(0)
    x, grid = rng.standard_normal((2, 7, 6, 3)).astype(np.float32), rng.uniform(-1.2, 1.2, (2, 5, 4, 2)).astype(np.float32)
    arrays = {"x": mx.array(x), "grid": mx.array(grid)}
    shape = (2, 5, 4, 3)
    n = int(np.prod(shape))
    out = run(GRID_SAMPLE.replace("BODY", FORWARD), arrays, [(shape, mx.float32)], n, 256, template=[("T", mx.float32)])
    np.testing.assert_allclose(np.array(out), _grid_sample(x, grid), atol=1e-5)

    cotangent = rng.standard_normal(shape).astype(np.float32)
    grad, count = run(
        GRID_SAMPLE.replace("BODY", BACKWARD), arrays | {"cotangent": mx.array(cotangent)}, [(x.shape, mx.float32), ((1,), mx.float32)],
        n, 256, atomic_outputs=True, init_value=0,
    )  # fmt: skip
    np.testing.assert_allclose(np.array(grad), _grid_sample(x, grid, cotangent), atol=1e-5)
    assert count.item() > 0


def test_a_header_with_a_function_and_a_template_of_every_kind() -> None:
    header = "template <typename U> U scaled(U x, int by) { return x * U(by); }\nconstant int extra[2] = {10, 20};\n"
    source = "uint i = thread_position_in_grid.x; out[i] = scaled<T>(inp[i], N) + T(FLAG ? extra[0] : extra[1]);"
    x = mx.arange(10, dtype=mx.float32)
    for flag in (True, False):
        got = run(source, {"inp": x}, [(x.shape, x.dtype)], 10, header=header, template=[("T", mx.float32), ("N", -2), ("FLAG", flag)])
        assert got.tolist() == [v * -2 + (10 if flag else 20) for v in range(10)]


# ---- corners ----------------------------------------------------------------------------------------------------------


def test_partial_threadgroups_in_three_dimensions() -> None:
    """The last threadgroup of each axis is smaller; a thread sees the size of its own."""
    source = """
        uint3 p = thread_position_in_grid, n = threads_per_grid;
        uint i = (p.z * n.y + p.y) * n.x + p.x;
        out0[i] = threads_per_threadgroup.x * 10000 + threads_per_threadgroup.y * 100 + threads_per_threadgroup.z;
        out1[i] = thread_index_in_threadgroup;
        uint3 groups = threadgroups_per_grid;
        out2[i] = dispatch_threads_per_threadgroup.x + groups.x * 10 + groups.y * 100 + groups.z * 1000;
    """
    grid, group = (10, 5, 3), (4, 3, 2)
    sizes, index, whole = run(source, {}, [(grid[::-1], mx.uint32)] * 3, grid, group)
    for z, y, x in np.ndindex(*grid[::-1]):
        here = [min(g, n - at // g * g) for n, g, at in zip(grid, group, (x, y, z), strict=True)]
        assert sizes[z, y, x].item() == here[0] * 10000 + here[1] * 100 + here[2]
        assert index[z, y, x].item() == (z % 2 * here[1] + y % 3) * here[0] + x % 4
        assert whole[z, y, x].item() == 4 + 30 + 200 + 2000


def test_a_threadgroup_is_no_larger_than_the_grid() -> None:
    assert run("out[thread_position_in_grid.x] = threads_per_threadgroup.x;", {}, [((5,), mx.uint32)], 5, 256).tolist() == [5] * 5


def test_every_attribute_has_a_value() -> None:
    names = [n for n, kind in ATTRIBUTES.items() if kind == "uint"]
    vectors = [n for n, kind in ATTRIBUTES.items() if kind == "uint3"]
    source = f"uint i = thread_position_in_grid.x * {len(names) + 3 * len(vectors)};\n"
    source += "".join(f"out[i++] = {n};\n" for n in names) + "".join(f"out[i++] = {n}.{c};\n" for n in vectors for c in "xyz")
    values = run(source, {}, [((70, len(names) + 3 * len(vectors)), mx.uint32)], 70, 48).tolist()
    last = dict(zip([*names, *(f"{n}.{c}" for n in vectors for c in "xyz")], values[69], strict=True))
    assert last == {
        "dispatch_quadgroups_per_threadgroup": 12, "dispatch_simdgroups_per_threadgroup": 2, "quadgroup_index_in_threadgroup": 5,
        "quadgroups_per_threadgroup": 6, "simdgroup_index_in_threadgroup": 0, "simdgroups_per_threadgroup": 1,
        "thread_execution_width": 32, "thread_index_in_quadgroup": 1, "thread_index_in_simdgroup": 21, "thread_index_in_threadgroup": 21,
        "threads_per_simdgroup": 32, "dispatch_threads_per_threadgroup.x": 48, "dispatch_threads_per_threadgroup.y": 1,
        "dispatch_threads_per_threadgroup.z": 1, "grid_origin.x": 0, "grid_origin.y": 0, "grid_origin.z": 0, "grid_size.x": 70,
        "grid_size.y": 1, "grid_size.z": 1, "thread_position_in_grid.x": 69, "thread_position_in_grid.y": 0,
        "thread_position_in_grid.z": 0, "thread_position_in_threadgroup.x": 21, "thread_position_in_threadgroup.y": 0,
        "thread_position_in_threadgroup.z": 0, "threadgroup_position_in_grid.x": 1, "threadgroup_position_in_grid.y": 0,
        "threadgroup_position_in_grid.z": 0, "threadgroups_per_grid.x": 2, "threadgroups_per_grid.y": 1, "threadgroups_per_grid.z": 1,
        "threads_per_grid.x": 70, "threads_per_grid.y": 1, "threads_per_grid.z": 1, "threads_per_threadgroup.x": 22,
        "threads_per_threadgroup.y": 1, "threads_per_threadgroup.z": 1,
    }  # fmt: skip


DTYPES = [mx.bool_, mx.int8, mx.int16, mx.int32, mx.int64, mx.uint8, mx.uint16, mx.uint32, mx.uint64, mx.float16, mx.bfloat16,
          mx.float32, mx.complex64]  # fmt: skip


def test_every_dtype_arrives_and_leaves_unchanged() -> None:
    """All in one kernel: what a buffer holds is what the type says, in device and in constant memory."""
    values = {
        mx.bool_: [True, False, True], mx.int64: [-(2**62), 5, 2**62], mx.uint64: np.array([0, 2**63 + 1, 2**64 - 1], np.uint64),
        mx.int8: [-128, 0, 127],
        mx.complex64: [1 + 2j, -3j, 0.5], mx.bfloat16: [1.5, -3e38, 1e-30], mx.float16: [1.5, -65504.0, 6e-8],
    }  # fmt: skip
    inputs, outputs = {}, []
    for k, dtype in enumerate(DTYPES):
        some = mx.array(values.get(dtype, [1, 0, 100])).astype(dtype)
        inputs |= {f"small{k}": some, f"large{k}": mx.concatenate([some] * 3)}
        outputs.append(((9,), dtype))
    for half in (slice(0, 7), slice(7, 13)):  # 31 buffers are the most
        part = list(range(len(DTYPES))[half])
        text = "uint i = thread_position_in_grid.x;\n"
        for at, k in enumerate(part):
            text += f"if (i < 3) out{at}[i] = small{k}[i]; else out{at}[i] = large{k}[i];\n"
        got = run(text, {n: x for n, x in inputs.items() if int(n[5:]) in part}, outputs[half], 9)
        for at, k in enumerate(part):
            want = inputs[f"large{k}"]
            assert got[at].dtype == want.dtype
            bits = mx.uint16 if want.dtype == mx.bfloat16 else want.dtype
            np.testing.assert_array_equal(np.array(got[at].view(bits)), np.array(want.view(bits)))


def test_scalars_and_arrays_without_dimensions() -> None:
    source = "uint i = thread_position_in_grid.x; out[i] = a * b + (c ? 1.0f : 0.0f) + float(d) + float(n[i]);"
    got = run(source, {"a": 2.5, "b": mx.array(4.0), "c": True, "d": 7, "n": np.arange(3, dtype=np.int64)}, [((3,), mx.float32)], 3)
    assert got.tolist() == [18.0, 19.0, 20.0]
    assert run("out[0] = inp;", {"inp": mx.array(3.0)}, [((), mx.float32)], 1).item() == 3.0


def test_31_buffers() -> None:
    inputs = {f"x{i}": mx.full((9,), i) for i in range(30)}
    source = "uint i = thread_position_in_grid.x; out[i] = " + " + ".join(f"{n}[i]" for n in inputs) + ";"
    assert run(source, inputs, [((9,), mx.int32)], 9).tolist() == [sum(range(30))] * 9


def test_nothing_to_do() -> None:
    empty = run("out[0] = bfloat16_t(inp[0]);", {"inp": mx.zeros((0, 3))}, [((0, 4), mx.bfloat16)], 0)
    assert empty.shape == (0, 4) and empty.dtype == mx.bfloat16
    source = "uint i = thread_position_in_grid.x; out[i] = inp_shape[0] + i;"
    assert run(source, {"inp": mx.zeros((0, 3))}, [((3,), mx.int32)], 3).tolist() == [0, 1, 2]
    assert run("out[0] = 1;", {}, [((3,), mx.int32)], 0, init_value=7).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("dtype", "init", "want"), [(mx.int32, 3.7, 3), (mx.bfloat16, 1.5, 1.5), (mx.bool_, 2, True), (mx.complex64, 2, 2)]
)
def test_init_value(dtype: mx.Dtype, init: float, want: Any) -> None:
    out = run("if (thread_position_in_grid.x == 1) out[1] = out[0];", {}, [((3,), dtype)], 3, init_value=init)
    assert out.tolist() == [want] * 3


def test_threadgroup_memory_and_simdgroups() -> None:
    source = """
        threadgroup float partial[8];
        float total = simd_sum(x[thread_position_in_grid.x]);
        if (thread_index_in_simdgroup == 0) partial[simdgroup_index_in_threadgroup] = total;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (thread_index_in_threadgroup == 0) {
            float sum = 0;
            for (uint i = 0; i < simdgroups_per_threadgroup; ++i) sum += partial[i];
            out[threadgroup_position_in_grid.x] = sum;
        }
    """
    x = mx.arange(1000, dtype=mx.float32)
    got = run(source, {"x": x}, [((4,), mx.float32)], 1000, 256)
    assert got.tolist() == [float(sum(range(i, min(i + 256, 1000)))) for i in range(0, 1000, 256)]


def test_an_input_that_is_updated() -> None:
    y = mx.arange(8, dtype=mx.float32)
    mx.eval(y)
    source = "uint i = thread_position_in_grid.x; device float* w = (device float*)y; w[i] = w[i] * 2; out[i] = 1;"
    run(source, {"y": y}, [((8,), mx.float32)], 8, updated=["y"])
    assert y.tolist() == [2.0 * i for i in range(8)]


def test_math_modes_are_taken() -> None:
    for mode in ("safe", "relaxed", "fast"):
        x, options = mx.array([-float("inf")]), {"math_mode": mode}
        got = run("out[0] = metal::exp(inp[0]);", {"inp": x}, [((1,), mx.float32)], 1, compile_options=options)
        assert got.item() == 0


def test_a_lazy_input_is_evaluated() -> None:
    x = mx.arange(10) + 1
    source = "uint i = thread_position_in_grid.x; out[i] = x[i] * 2;"
    assert run(source, {"x": x}, [((10,), mx.int32)], 10).tolist() == list(range(2, 22, 2))


def test_verbose_prints_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    run("out[0] = 1;", {}, [((1,), mx.int32)], 1, verbose=True)
    printed = capsys.readouterr().out
    assert printed.startswith("Generated source code for `k`:\n```\n") and "[[kernel]] void custom_kernel_k_int32_t(" in printed


def test_msl_is_what_metal_compiles() -> None:
    kernel = simulator.metal_kernel("k", ["x"], ["out"], "out[0] = x[0];")
    text = kernel.msl(inputs=[mx.ones(3)], output_dtypes=[mx.float32])
    ending = "const constant float* x [[buffer(0)]],\n  device float* out [[buffer(1)]]) {\nout[0] = x[0];\n}\n"
    assert "elem_to_loc" in text and text.endswith(ending)
