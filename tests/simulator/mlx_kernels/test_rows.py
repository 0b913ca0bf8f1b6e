"""MLX's row-wise kernels: softmax and logsumexp (one block a row, and looped), cross entropy and its gradient."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GROUP, LANE, SIMD, THREAD, THREADS, Family, close, normal, reads, rounded, writes

_ONE = f"{GROUP}.x, {THREAD}.x,"
_LOOPED = f"{_ONE} {THREADS}.x,"


def _row(kernel: str, t: str, acc: str) -> str:
    positions = _LOOPED if kernel.endswith("looped") else _ONE
    return f"{kernel}<{t}, {acc}>({reads(t, 'x')}, {writes(t, 'y')}, axis, {positions} {LANE}, {SIMD})"


CALLS = {f"{form}_{t}": _row(form, t, "float") for form in ("logsumexp", "logsumexp_looped") for t in FLOATS}
for form in ("softmax_single_row", "softmax_looped"):
    for t in FLOATS:
        CALLS[f"{form}_{t}"] = _row(form, t, t)
        CALLS[f"{form}_{t}_precise"] = _row(form, t, "float")
ROWS = Family("rows", ("softmax.h", "logsumexp.h"), ("x", "axis"), ("y",), CALLS)

_ENTROPY: dict[str, str] = {}
for t in FLOATS:
    given = f"{reads(t, 'x')}, {reads('int32_t', 'targets')}"
    _ENTROPY[f"loss_{t}"] = f"cross_entropy<{t}>({given}, {writes('float', 'y')}, axis, {_LOOPED} {LANE}, {SIMD})"
    _ENTROPY[f"vjp_{t}"] = f"cross_entropy_vjp<{t}>({given}, {reads('float', 'loss', 'cotangent')}, {writes(t, 'y')}, axis, {_LOOPED[:-1]})"
ENTROPY = Family("cross_entropy", ("cross_entropy.h",), ("x", "targets", "loss", "cotangent", "axis"), ("y",), _ENTROPY)


def _threads(axis: int, looped: bool) -> int:
    return 1024 if looped else -(-axis // 128) * 32


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _logsumexp(x: np.ndarray) -> np.ndarray:
    top = x.max(-1, keepdims=True)
    return np.log(np.exp(x - top).sum(-1)) + top[..., 0]


@pytest.mark.parametrize("precise", ["", "_precise"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [1, 31, 128, 999, 4096, 4100])
def test_softmax(axis: int, dtype: str, precise: str, sanitize: bool) -> None:
    t, looped = FLOATS[dtype], axis > 4096
    x, exact = normal(np.random.default_rng(axis), (3, axis), t)
    case = f"softmax_{'looped' if looped else 'single_row'}_{dtype}{precise}"
    (got,) = ROWS.run(case, [x, axis], [(x.shape, t)], groups=(3,), threadgroup=(_threads(axis, looped),), sanitize=sanitize)
    # Summed in the element's own type where not precise, and MLX loops on it.
    loose = 1.0 if precise or t is mx.float32 else 8.0
    close(got, _softmax(exact), t, loose)


def test_softmax_of_masked_rows(sanitize: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 300)).astype(np.float32)
    x[:, 40:250] = -np.inf
    case = "softmax_single_row_float"
    (got,) = ROWS.run(case, [mx.array(x), 300], [(x.shape, mx.float32)], groups=(2,), threadgroup=(96,), sanitize=sanitize)
    close(got, _softmax(x.astype(np.float64)), mx.float32)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [1, 33, 1000, 4096, 5001])
def test_logsumexp(axis: int, dtype: str, sanitize: bool) -> None:
    t, looped = FLOATS[dtype], axis > 4096
    x, exact = normal(np.random.default_rng(axis), (4, axis), t, 3.0)
    case = f"logsumexp{'_looped' if looped else ''}_{dtype}"
    (got,) = ROWS.run(case, [x, axis], [((4,), t)], groups=(4,), threadgroup=(_threads(axis, looped),), sanitize=sanitize)
    close(got, _logsumexp(exact), t)


def test_logsumexp_of_infinities(sanitize: bool) -> None:
    x = np.zeros((2, 64), np.float32)
    x[0], x[1, 5] = -np.inf, np.inf
    (got,) = ROWS.run("logsumexp_float", [mx.array(x), 64], [((2,), mx.float32)], groups=(2,), threadgroup=(32,), sanitize=sanitize)
    np.testing.assert_array_equal(got, [-np.inf, np.inf])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("axis", "threads"), [(7, 32), (1000, 256), (3001, 96)])
def test_cross_entropy(axis: int, threads: int, dtype: str, sanitize: bool) -> None:
    t = FLOATS[dtype]
    rng = np.random.default_rng(axis)
    x, exact = normal(rng, (5, axis), t, 2.0)
    targets = np.array([0, axis - 1, -1, axis // 2, -axis], np.int32)
    loss = _logsumexp(exact) - exact[np.arange(5), targets]
    unused = mx.zeros((8,))
    args = [x, mx.array(targets), unused, unused, axis]
    (got,) = ENTROPY.run(f"loss_{dtype}", args, [((5,), mx.float32)], groups=(5,), threadgroup=(threads,), sanitize=sanitize)
    close(got, loss, mx.float32)

    cotangent = rng.standard_normal(5)
    want = _softmax(exact)
    want[np.arange(5), targets] -= 1
    want *= rounded(cotangent, mx.float32)[1][:, None]
    args = [x, mx.array(targets), mx.array(loss.astype(np.float32)), mx.array(cotangent.astype(np.float32)), axis]
    (got,) = ENTROPY.run(f"vjp_{dtype}", args, [(x.shape, t)], groups=(5,), threadgroup=(threads,), sanitize=sanitize)
    close(got, want, t)
