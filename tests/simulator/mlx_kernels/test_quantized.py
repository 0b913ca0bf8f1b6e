"""MLX's affine quantised kernels: matrix by vector in each of its forms, gathered, matrix by matrix, and (de)quantisation."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GRID, GRID_SIZE, GROUP, INDEX, LANE, SIMD, Family, as_numpy, close, normal, reads, strides, writes

_HEADERS = ("quantized_utils.h", "steel/gemm/gemm.h", "quantized.h")
_WHERE = f"{GROUP}, {SIMD}, {LANE}"
_BATCH = "x_batch, x_dims, x_steps, w_batch, w_dims, w_steps, s_steps, s_steps"
# 4 and 8 bits with each group size in half; one of them in the other types too
FORMATS = [("half", group, bits) for bits in (4, 8) for group in (32, 64, 128)] + [("float", 64, 4), ("bfloat16_t", 64, 4)]


Format = tuple[str, int, int]


def _weights(t: str) -> str:
    return f"{reads('uint32_t', 'w')}, {reads(t, 'scales', 'biases', 'x')}"


def _name(kernel: str, kind: Format) -> str:
    return "_".join([kernel, *map(str, kind)])


def _vector(kernel: str, kind: Format, *more: str) -> str:
    where = f"{GROUP}, quadgroup_index_in_threadgroup, thread_index_in_quadgroup" if "quad" in kernel else _WHERE
    if "split" in kernel:
        where = f"last, {where}"
    parameters = ", ".join([*map(str, kind), *more])
    return f"affine_{kernel}<{parameters}>({_weights(kind[0])}, {writes(kind[0], 'y')}, in_size, out_size, {_BATCH}, {where})"


def _gathered_vector(kernel: str, kind: Format) -> str:
    t, group, bits = kind
    io = f"{_weights(t)}, {reads('uint32_t', 'left', 'right')}, {writes(t, 'y')}, in_size, out_size"
    return f"affine_gather_{kernel}<{t}, {group}, {bits}>({io}, {_BATCH}, batches, batch_dims, left_steps, right_steps, {_WHERE})"


def _matrix(kernel: str, kind: Format) -> str:
    t, group, bits = kind
    aligned = "false, " if kernel == "qmm_t" else ""
    io = f"{_weights(t)}, {writes(t, 'y')}, in_size, out_size, rows"
    return f"affine_{kernel}<{t}, {group}, {bits}, {aligned}false>({io}, {_BATCH}, {GROUP}, {INDEX}, {SIMD}, {LANE})"


_INPUTS = ("w", "scales", "biases", "x", "in_size", "out_size", "rows", *_BATCH.split(", ")[:-1])
ONE = ("half", 64, 4)
QMV = Family(
    "qmv",
    _HEADERS,
    _INPUTS,
    ("y",),
    {_name("qmv_fast", kind): _vector("qmv_fast", kind, "false") for kind in FORMATS}
    | {_name("qmv", kind): _vector("qmv", kind, "true") for kind in FORMATS}
    | {f"quad_{d}": _vector("qmv_quad", ONE, str(d), "false") for d in (64, 128)},
)
QVM = Family(
    "qvm",
    _HEADERS,
    (*_INPUTS, "last"),
    ("y",),
    {_name("qvm", kind): _vector("qvm", kind, "false") for kind in FORMATS} | {"split": _vector("qvm_split_k", ONE, "8")},
)
GATHERED = [("qmv", kind) for kind in FORMATS] + [("qmv_fast", ONE), ("qmv_fast", ("half", 32, 8)), ("qvm", ONE), ("qvm", ("float", 64, 4))]
GATHER = Family(
    "gather_qmv",
    _HEADERS,
    (*_INPUTS, "left", "right", "batches", "batch_dims", "left_steps", "right_steps"),
    ("y",),
    {_name(kernel, kind): _gathered_vector(kernel, kind) for kernel, kind in GATHERED},
)
MATRICES = [(kernel, kind) for kernel in ("qmm_t", "qmm_n") for kind in (ONE, ("bfloat16_t", 32, 8), ("float", 128, 4))]
QMM = Family("qmm", _HEADERS, _INPUTS, ("y",), {_name(kernel, kind): _matrix(kernel, kind) for kernel, kind in MATRICES})

_CODE: dict[str, str] = {}
for kind in FORMATS:
    t, group, bits = kind
    parameters, where = f"<{t}, {group}, {bits}>", f"{GRID}.xy, {GRID_SIZE}.xy"
    coded = f"{writes('uint8_t', 'y')}, {writes(t, 's', 'b')}"
    _CODE[_name("quantize", kind)] = f"affine_quantize{parameters}({reads(t, 'w')}, {coded}, {where})"
    given = f"{reads('uint8_t', 'w')}, {reads(t, 'scales', 'biases')}"
    _CODE[_name("dequantize", kind)] = f"affine_dequantize{parameters}({given}, {writes(t, 'y')}, {where})"
CODE = Family("quantize", _HEADERS, ("w", "scales", "biases"), ("y", "s", "b"), _CODE)


class Weights:
    """Quantised weights of some shape, and what they stand for."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], t: str, group: int, bits: int) -> None:
        w = mx.array(rng.standard_normal(shape)).astype(FLOATS[t])
        self.packed = mx.quantize(w, group, bits)
        q, scales, biases = self.packed
        shifts = np.arange(0, 32, bits, dtype=np.uint32)
        codes = (np.array(q)[..., None] >> shifts & (2**bits - 1)).reshape(shape).astype(np.float64)
        scale, bias = (np.repeat(as_numpy(v).astype(np.float64), group, -1) for v in (scales, biases))
        self.values = codes * scale + bias
        self.arguments = [q, scales, biases]
        self.steps = strides(int(q.size) // shape[0]), strides(int(scales.size) // shape[0])  # of the first axis

    def one(self, x: mx.array, k: int, n: int, rows: int) -> list:
        """The arguments of a launch without batches."""
        zero = strides(0)
        return [*self.arguments, x, k, n, rows, 1, [1, rows], strides(0, 0), 1, [1], zero, zero]


def _ids(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("kind", FORMATS, ids=_ids)
def test_qmv(kind: Format, sanitize: bool) -> None:
    t = kind[0]
    rng = np.random.default_rng(1)
    for kernel, k, n in (("qmv_fast", 512, 16), ("qmv", 384, 20), ("qmv", 640, 3)):
        weights = Weights(rng, (n, k), *kind)
        x, exact = normal(rng, (2, k), FLOATS[t])
        (got,) = QMV.run(
            _name(kernel, kind),
            weights.one(x, k, n, 2),
            [((2, n), FLOATS[t])],
            groups=(2, -(-n // 8)),
            threadgroup=(32, 2),
            sanitize=sanitize,
        )
        close(got, exact @ weights.values.T, FLOATS[t])


def test_batched_qmv(sanitize: bool) -> None:
    """Batches of weights, shared by batches of inputs that lie apart."""
    rng = np.random.default_rng(2)
    weights = Weights(rng, (3, 8, 256), "half", 64, 4)
    x, exact = normal(rng, (3, 2, 256), mx.float16)
    w_step, s_step = weights.steps
    args = [*weights.arguments, x, 256, 8, 2, 1, [3, 2, 256], strides(512, 256, 1), 1, [3, 8, 32], w_step, s_step]
    (got,) = QMV.run("qmv_half_64_4", args, [((3, 2, 8), mx.float16)], groups=(2, 1, 3), threadgroup=(32, 2), sanitize=sanitize)
    close(got, exact @ weights.values.transpose(0, 2, 1), mx.float16)


@pytest.mark.parametrize("k", [64, 128])
def test_qmv_quad(k: int, sanitize: bool) -> None:
    rng = np.random.default_rng(3)
    weights = Weights(rng, (64, k), "half", 64, 4)
    x, exact = normal(rng, (2, k), mx.float16)
    outputs = [((2, 64), mx.float16)]
    (got,) = QMV.run(f"quad_{k}", weights.one(x, k, 64, 2), outputs, groups=(2, 1), threadgroup=(32,), sanitize=sanitize)
    close(got, exact @ weights.values.T, mx.float16)


@pytest.mark.parametrize("kind", FORMATS, ids=_ids)
def test_qvm(kind: Format, sanitize: bool) -> None:
    t = kind[0]
    rng = np.random.default_rng(4)
    for k, n in ((64, 128), (50, 256)):
        weights = Weights(rng, (k, n), *kind)
        x, exact = normal(rng, (2, k), FLOATS[t])
        (got,) = QVM.run(
            _name("qvm", kind),
            [*weights.one(x, k, n, 2), 0],
            [((2, n), FLOATS[t])],
            groups=(2, -(-n // 64)),
            threadgroup=(32, 2),
            sanitize=sanitize,
        )
        close(got, exact @ weights.values, FLOATS[t])


@pytest.mark.parametrize("k", [512, 500])
def test_qvm_split(k: int, sanitize: bool) -> None:
    rng = np.random.default_rng(5)
    parts, n = 8, 64
    part = -(-k // parts)
    weights = Weights(rng, (k, n), "half", 64, 4)
    x, exact = normal(rng, (1, k), mx.float16)
    w_step, s_step = weights.steps
    args = [*weights.arguments, x, part, n, 1, 1, [parts, 1, part], strides(part, k, 1)]
    args += [1, [parts, k, n // 8], part * w_step, part * s_step, k - (parts - 1) * part]
    launch = {"groups": (1, 1, parts), "threadgroup": (32, 2)}
    (got,) = QVM.run("split", args, [((parts, 1, n), mx.float16)], sanitize=sanitize, **launch)
    close(got.astype(np.float64).sum(0), exact @ weights.values, mx.float16, 2)


@pytest.mark.parametrize(("kernel", "kind"), GATHERED, ids=_ids)
def test_gathered(kernel: str, kind: Format, sanitize: bool) -> None:
    t = kind[0]
    rng = np.random.default_rng(6)
    k, n, block = {"qmv": (256, 12, 8), "qmv_fast": (512, 8, 8), "qvm": (96, 64, 64)}[kernel]
    weights = Weights(rng, (4, k, n) if kernel == "qvm" else (4, n, k), *kind)
    values = weights.values if kernel == "qvm" else weights.values.transpose(0, 2, 1)
    x, exact = normal(rng, (3, 1, k), FLOATS[t])
    left, right = np.array([0, 2, 1, 2, 0], np.uint32), np.array([3, 0, 1, 3, 2], np.uint32)
    w_step, s_step = weights.steps
    args = [*weights.arguments, x, k, n, 1, 1, [3, 1, k], strides(k, k, 1), 1, [4, n, k], w_step, s_step]
    args += [mx.array(left), mx.array(right), 1, [5], strides(1), strides(1)]
    launch = {"groups": (1, -(-n // block), 5), "threadgroup": (32, 2)}
    (got,) = GATHER.run(_name(kernel, kind), args, [((5, 1, n), FLOATS[t])], sanitize=sanitize, **launch)
    close(got, exact[left] @ values[right], FLOATS[t])


@pytest.mark.parametrize(("kernel", "kind"), MATRICES, ids=_ids)
def test_qmm(kernel: str, kind: Format, sanitize: bool) -> None:
    t, transposed = kind[0], kernel == "qmm_t"
    rng = np.random.default_rng(8)
    # Rows that do not fill a tile; where the weights are transposed, columns neither.
    m, k, n = (37, 128, 40) if transposed else (37, 96, 128)
    weights = Weights(rng, (n, k) if transposed else (k, n), *kind)
    x, exact = normal(rng, (m, k), FLOATS[t])
    launch = {"groups": (-(-n // 32), -(-m // 32)), "threadgroup": (32, 2, 2)}
    (got,) = QMM.run(_name(kernel, kind), weights.one(x, k, n, m), [((m, n), FLOATS[t])], sanitize=sanitize, **launch)
    close(got, exact @ (weights.values.T if transposed else weights.values), FLOATS[t])


@pytest.mark.parametrize("kind", FORMATS, ids=_ids)
def test_quantize_and_back(kind: Format, sanitize: bool) -> None:
    t, group, bits = kind
    dtype = FLOATS[t]
    w, exact = normal(np.random.default_rng(9), (8, 256), dtype)
    count = exact.size
    unused = mx.zeros((8,))
    packed = ((8, 256 * bits // 32), mx.uint32)
    threads = count // (group // 32)
    codes, scales, biases = CODE.run(
        _name("quantize", kind),
        [w, unused, unused],
        [packed, ((8, 256 // group), dtype), ((8, 256 // group), dtype)],
        threads=(threads,),
        threadgroup=(min(1024, threads),),
        sanitize=sanitize,
    )
    q = mx.array(codes)
    s, b = (mx.array(v).astype(dtype) for v in (scales, biases))
    threads = count * bits // 8
    (got, _, _) = CODE.run(
        _name("dequantize", kind),
        [q, s, b],
        [((8, 256), dtype), ((1,), mx.uint8), ((1,), mx.uint8)],
        threads=(threads,),
        threadgroup=(min(1024, threads),),
        sanitize=sanitize,
        init_value=0,
    )
    want_q, want_s, want_b = mx.quantize(w, group, bits)
    close(scales, as_numpy(want_s).astype(np.float64), dtype)
    close(biases, as_numpy(want_b).astype(np.float64), dtype)
    # Where rounding the scale and the offset moves a value over half a step, MLX's CPU code may choose the next code.
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    ours, theirs = ((array[..., None] >> shifts & (2**bits - 1)).astype(np.int64) for array in (codes, np.array(want_q)))
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1 and (difference == 0).mean() > (0.98 if dtype is mx.float32 else 0.9)
    close(got, as_numpy(mx.dequantize(q, s, b, group, bits)).astype(np.float64), dtype)
