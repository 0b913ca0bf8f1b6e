"""The ladder on whole kernels: NumPy, then the interpreter, then every target. The first pair that differs names the layer."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import kernel_battery as K
import mlx.core as mx
import numpy as np
import pytest
from execute import Arrays, Case, assert_equal, bf16, interpret, run, texts, traced, values

import zmlx
from zmlx import dtypes as dt

f32, i32 = np.float32, np.int32


@dataclass
class Launch:
    """A kernel, its arguments, and the arrays that NumPy says come out (as numbers)."""

    kernel: Any
    args: dict[str, Any]
    expected: dict[str, np.ndarray]
    grid: tuple[int, int, int] = (1, 1, 1)
    tolerance: float = 0.0
    dtypes: dict[str, dt.DType] = field(default_factory=dict)

    @functools.cached_property
    def case(self) -> Case:
        fn, arrays, scalars = traced(self.kernel, self.args, self.dtypes)
        return Case(fn, arrays, scalars, self.grid)

    def want(self) -> Arrays:
        out = {}
        for name, value in self.expected.items():
            d = self.dtypes.get(name)
            out[name] = bf16(value) if d is dt.bfloat16 else np.ascontiguousarray(value, self.args[name].dtype)
        return out


def C(value: Any) -> tuple[str, Any]:
    return ("constexpr", value)


Cases = dict[str, Launch]
CASES: Cases = {}


def cases(make: Callable[[np.random.Generator], Iterator[tuple[str, Launch]]]) -> None:
    name = make.__name__
    for tag, launch in make(np.random.default_rng(len(CASES))):
        CASES[f"{name}-{tag}"] = launch


def numbers(rng: np.random.Generator, d: dt.DType, *shape: int) -> np.ndarray:
    """Storage of moderate numbers."""
    if d.is_bool:
        return rng.integers(0, 2, shape).astype(bool)
    x = rng.integers(0 if not d.is_signed else -9, 10, shape) if d.is_int else np.round(rng.standard_normal(shape) * 8) / 4
    return dt.encode(x.astype(d.compute), d)


@cases
def ragged(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    """y = x * 3 over sizes that no block divides, in every dtype."""
    for i, n in enumerate((1, 31, 1000, 4097)):
        for d in (dt.float32, *((dt.bfloat16, dt.float16, dt.int8, dt.uint16, dt.int64, dt.uint32, dt.float64)[i::4])):
            x = numbers(rng, d, n)
            y = np.zeros(n + 3, d.storage)
            want = np.concatenate([values(x, d) * d.compute.type(3), np.zeros(3, d.compute)])
            args = {"x": x, "y": y, "n": n, "BLOCK": C(256)}
            yield f"{n}-{d}", Launch(K.triple_kernel, args, {"y": want}, (-(-n // 256), 1, 1), dtypes={"x": d, "y": d})
    x = rng.integers(0, 2, 77).astype(bool)
    yield "bool", Launch(K.flip_kernel, {"x": x, "y": np.zeros(77, bool), "n": 77}, {"y": ~x}, (2, 1, 1))


@cases
def matmul(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    m, n, k = 37, 50, 70
    for d, out in (
        (dt.float32, dt.float32),
        (dt.float16, dt.float16),
        (dt.bfloat16, dt.float32),
        (dt.int8, dt.int32),
        (dt.float64, dt.float64),
    ):
        for ta, tb in ((False, False), (True, True)) if d is dt.float32 else ((False, True),):
            a, b = numbers(rng, d, m, k), numbers(rng, d, k, n)
            wide = out.compute if out is not dt.float16 else f32
            want = values(a, d).astype(wide) @ values(b, d).astype(wide)
            a, b = (np.ascontiguousarray(v.T) if turn else v for v, turn in ((a, ta), (b, tb)))
            held = {"a": a, "b": b, "c": np.zeros((m, n), out.storage)}
            strides = {"sam": 1 if ta else k, "sak": m if ta else 1, "sbk": 1 if tb else n, "sbn": k if tb else 1}
            args = held | {"M": m, "N": n, "K": k} | strides | {"BM": C(32), "BN": C(32), "BK": C(32)}
            yield f"{d}-{ta}-{tb}", Launch(K.matmul_kernel, args, {"c": want}, (2, 2, 1), 1e-5, {"a": d, "b": d, "c": out})
    a, b = numbers(rng, dt.float32, 16, 32), numbers(rng, dt.float32, 64, 32)
    args = {"a": a, "b": b, "c": np.zeros((64, 16), f32), "d": np.zeros((16, 64), f32)}
    yield "transposed", Launch(K.transposed_dot_kernel, args, {"c": (a @ b.T).T + 1, "d": (a * 2) @ (b + 1).T}, tolerance=1e-5)


@cases
def attention(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    t, dim = 50, 32
    for d, causal in ((dt.float32, True), (dt.float16, True), (dt.float32, False)):
        q, k, v = (rng.standard_normal((2, t, dim)).astype(d.compute) for _ in range(3))
        s = np.einsum("hid,hjd->hij", q.astype(f32), k.astype(f32)) * f32(0.17)
        if causal:
            s = np.where(np.arange(t)[:, None] >= np.arange(t)[None, :], s, -np.inf)
        p = np.exp(s - s.max(-1, keepdims=True))
        want = (p / p.sum(-1, keepdims=True)) @ v.astype(f32)
        args = {
            "Q": q,
            "K": k,
            "V": v,
            "O": np.zeros_like(q),
            "T": t,
            "scale": 0.17,
            "BM": C(32),
            "BN": C(16),
            "D": C(dim),
            "CAUSAL": C(causal),
        }
        yield f"{d}-{causal}", Launch(K.flash_kernel, args, {"O": want}, (2, 2, 1), 2e-3)


@cases
def reductions(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    """Every axis of tiles of rank 1 to 4, some with one element along it."""
    for shape in ((64,), (1,), (4, 64), (64, 4), (1, 128), (32, 1), (4, 8, 16), (2, 4, 8, 4), (1024,)):
        x = rng.integers(-50, 50, shape).astype(i32)
        for axis in range(len(shape)):
            apart = x * 4096 + np.arange(x.size, dtype=i32).reshape(shape)  # no ties
            outs = {"total": x.sum(axis), "top": x.max(axis), "low": x.min(axis), "at": x.argmax(axis), "last": apart.argmin(axis)}
            held = {n: np.zeros(max(1, x.size // shape[axis]), i32) for n in outs} | {"kept": np.zeros(x.size, i32)}
            want = {n: np.ravel(v) for n, v in outs.items()} | {"kept": (x - x.max(axis, keepdims=True)).ravel()}
            yield f"{shape}-{axis}", Launch(K.reduce_kernel, {"x": x, **held, "SHAPE": C(shape), "AXIS": C(axis)}, want)
    x = rng.integers(-50, 50, (4, 8, 2)).astype(i32)
    yield (
        "all",
        Launch(
            K.reduce_all_kernel,
            {"x": x, "o": np.zeros(4, i32)},
            {"o": np.array([x.sum(), x.max(), x.argmin(), np.bitwise_xor.reduce(x.ravel())])},
        ),
    )
    x = rng.integers(0, 4, (8, 32)).astype(f32)
    x[0, 3] = x[1, :] = np.nan
    x[2, :] = -np.inf
    x[3, 5] = np.inf
    top = np.fmax.reduce(x, 1)
    index = np.array([0 if np.isnan(r).all() else np.nanargmax(r) for r in x])
    yield "nan", Launch(K.argmax_nan_kernel, {"x": x, "v": np.zeros(8, f32), "i": np.zeros(8, i32)}, {"v": top, "i": index})
    for m, n in ((4, 64), (64, 4), (1, 128), (32, 32)):
        x = rng.standard_normal((m, n)).astype(f32)
        args = {"x": x, "mean": np.zeros(m, f32), "m2": np.zeros(m, f32), "s": np.zeros(n, f32), "M": C(m), "N": C(n)}
        want = {"mean": x.mean(1), "m2": x.var(1) * n, "s": x.sum(0)}
        yield f"welford-{m}-{n}", Launch(K.welford_kernel, args, want, tolerance=1e-5)
    for d in (dt.float16, dt.bfloat16, dt.int8, dt.uint8, dt.int1, dt.int64):
        x = numbers(rng, d, 8, 16)
        wide = values(x, d).astype(np.float64).sum(1)
        out = {"i": dt.int32, "u": dt.uint32, "b": dt.uint32}.get(d.short[0]) if d.bits < 32 and d.is_int else d
        out = dt.uint32 if d.is_bool else out
        yield (
            f"sum-{d}",
            Launch(K.row_sum_kernel, {"x": x, "o": np.zeros(8, out.storage)}, {"o": wide}, tolerance=1e-2, dtypes={"x": d, "o": out}),
        )


@cases
def scans(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    for shape in ((64,), (1,), (4, 64), (64, 8), (16, 1), (1, 256), (4, 8, 16), (2, 4, 8, 4), (1024,)):
        x = rng.integers(-5, 6, shape).astype(i32)
        for axis in range(len(shape)):
            for reverse in (False, True):
                turn = (lambda a, axis=axis: np.flip(a, axis)) if reverse else (lambda a: a)
                line = np.moveaxis(turn(x), axis, 0)
                a, b = np.ones_like(line[0]), np.zeros_like(line[0])
                rows = []
                with np.errstate(all="ignore"):
                    for r in line:  # x -> 3 * x + r, composed: needs the order
                        a, b = a * i32(3), b * i32(3) + r
                        rows.append(b)
                composed = turn(np.moveaxis(np.stack(rows), 0, axis))
                args = {"x": x, "s": np.zeros_like(x), "c": np.zeros_like(x), "SHAPE": C(shape), "AXIS": C(axis), "REVERSE": C(reverse)}
                want = {"s": turn(np.cumsum(turn(x), axis)), "c": composed}
                yield f"{shape}-{axis}{'-reverse' * reverse}", Launch(K.scan_kernel, args, want)


@cases
def shapes(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    x = rng.standard_normal(64).astype(f32)
    a, b = x.reshape(32, 2).T
    want = {"o": x.reshape(8, 8).T, "p": np.stack([b, a], 1).ravel(), "q": x[::-1] + np.stack([a, b * 2], 1).ravel()}
    yield "views", Launch(K.shape_kernel, {"x": x, "o": np.zeros((8, 8), f32), "p": x * 0, "q": x * 0, "N": C(64)}, want)
    x = rng.standard_normal((4, 8, 2, 4)).astype(f32)
    perm = x.transpose(3, 1, 0, 2)
    want = {
        "o": perm + 1,
        "p": perm[::-1].reshape(16, 16).T.sum(0)[None].repeat(4, 0),
        "q": np.concatenate([x.reshape(16, 16), x.reshape(16, 16).T], 1),
    }
    held = {"o": np.zeros_like(perm), "p": np.zeros((4, 16), f32), "q": np.zeros((16, 32), f32)}
    yield "composed", Launch(K.permute_kernel, {"x": x, **held}, want, tolerance=1e-6)
    x, y = rng.integers(-9, 9, (8, 1)).astype(i32), rng.integers(-9, 9, (1, 16)).astype(i32)
    yield (
        "broadcast",
        Launch(
            K.broadcast_kernel, {"x": x, "y": y, "o": np.zeros((4, 8, 16), i32)}, {"o": (np.arange(4, dtype=i32)[:, None, None] * x + y)}
        ),
    )
    yield "one", Launch(K.one_kernel, {"x": np.array([5], i32), "o": np.zeros(4, i32)}, {"o": np.array([10, 5, 0, 25])})


@cases
def control(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    x = rng.standard_normal((4, 32)).astype(f32)
    want = np.zeros_like(x)
    for pid in range(3):
        v = x[pid].copy()
        for k in range(3):
            v = v * f32(1.5) + f32(k)
        if pid % 2 == 0:
            v = v + 1
            s = v.sum(dtype=f32)
        else:
            s = v.max()
            v = v - s
        y = v
        for _ in range(2):
            v, y = y, v + s
        want[pid] = v + y * 2
    yield "mixed", Launch(K.control_kernel, {"x": x, "o": x * 0, "n": 3, "N": C(32)}, {"o": want}, (4, 1, 1), 1e-5)
    x = rng.integers(0, 100, 4096).astype(i32)
    for trips in (0, 1, 5):
        tile = np.stack([x[j * 96 : j * 96 + 32] for j in range(trips)] or [np.zeros(32, i32)])
        want = {"o": tile.sum(0), "last": np.array([trips * 7 + 100 if trips else 100, x[(trips - 1) * 96] if trips else -1])}
        args = {"x": x, "o": np.zeros(32, i32), "last": np.zeros(2, i32), "trips": trips * 16 // 16, "stride": 96}
        yield f"pointers-{trips}", Launch(K.pointer_kernel, args, want)
    n = 6
    table = np.array([[sum((i * j) % (k + 1) for k in range(j)) for j in range(n)] for i in range(n)], i32)
    yield "nested", Launch(K.nested_kernel, {"o": np.zeros((n, n), i32), "n": n}, {"o": table}, (n, 1, 1))
    x = np.array([27, 1, 97, 6, 871, 2, 3, 9], i32)

    def collatz(v: int) -> int:
        c = 0
        while v != 1:
            v, c = (v // 2 if v % 2 == 0 else 3 * v + 1), c + 1
        return c

    yield "while", Launch(K.collatz_kernel, {"x": x, "o": np.zeros(8, i32)}, {"o": np.array([collatz(int(v)) for v in x])}, (8, 1, 1))
    yield (
        "while-tile",
        Launch(
            K.newton_kernel, {"x": np.arange(1, 65, dtype=f32), "o": np.zeros(64, f32)}, {"o": np.sqrt(np.arange(1, 65))}, tolerance=1e-5
        ),
    )
    x = rng.integers(-9, 9, 64).astype(i32)
    want = np.where(x.sum() > 0, x * 2, -x)
    yield (
        "if-tile",
        Launch(
            K.chosen_kernel, {"x": x, "o": np.zeros(64, i32), "p": np.zeros(64, i32)}, {"o": want, "p": want[::-1] if x.sum() > 0 else want}
        ),
    )


@cases
def memory(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    x = rng.standard_normal(128).astype(f32)
    y = np.empty_like(x)
    y[::-1] = x + 1
    yield "inplace", Launch(K.inplace_kernel, {"x": x, "N": C(128)}, {"x": y * 2})
    x = np.arange(1000, dtype=i32)
    rolled = np.array([x[:256][(i + 1) % 256] for i in range(256)])
    yield "overlap", Launch(K.overlap_kernel, {"x": x.copy(), "N": C(256)}, {"x": np.concatenate([rolled + rolled[::-1], x[256:]])})
    x, at = rng.integers(0, 99, 512).astype(i32), rng.integers(0, 512, (2, 64)).astype(np.int64)
    yield "gather", Launch(K.gather_kernel, {"x": x, "at": at, "o": np.zeros(64, i32)}, {"o": x[at[1][x[at[0]] % 64]]})
    x = rng.integers(-99, 99, 70).astype(i32)
    yield (
        "scalar",
        Launch(
            K.scalar_kernel, {"x": x, "o": np.zeros(3, i32), "n": 70}, {"o": np.array([x[0] + x[69], x[x[0] % 7 if x[0] >= 0 else 3], 5])}
        ),
    )
    yield (
        "masked",
        Launch(K.masked_kernel, {"x": x[:7], "o": np.full(64, 9, i32)}, {"o": np.concatenate([np.full(32, 9), x[:7], np.full(25, -4)])}),
    )
    big = rng.integers(0, 9, 1 << 14).astype(np.int8)
    offset = np.int64((1 << 33) + 5)
    yield "int64", Launch(K.long_kernel, {"x": big, "o": np.zeros(64, np.int8), "far": offset, "n": 64}, {"o": big[5 : 5 + 64 * 7 : 7]})
    xs = [rng.integers(0, 99, 32).astype(i32) for _ in range(29)]
    args = {f"x{i}": v for i, v in enumerate(xs)} | {"o": np.zeros(32, i32), "p": np.zeros(32, i32)}
    yield "many", Launch(K.many_kernel, args, {"o": np.sum(xs, 0), "p": np.max(xs, 0)})
    x = rng.standard_normal((33, 65)).astype(f32)
    yield (
        "transpose",
        Launch(K.transpose_kernel, {"x": x, "o": np.zeros((65, 33), f32), "M": 33, "N": 65, "B": C(32)}, {"o": x.T}, (2, 3, 1)),
    )
    x = rng.standard_normal((5, 1000)).astype(f32)
    e = np.exp(x - x.max(1, keepdims=True))
    yield (
        "softmax",
        Launch(K.softmax_kernel, {"x": x, "o": x * 0, "n": 1000, "BLOCK": C(1024)}, {"o": e / e.sum(1, keepdims=True)}, (5, 1, 1), 1e-5),
    )


@cases
def atomics(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    x = rng.integers(0, 8, 64).astype(i32)
    counts = np.bincount(x[x < 7], minlength=8)
    yield (
        "histogram",
        Launch(
            K.histogram_kernel,
            {"x": x, "h": np.zeros(8, i32), "s": np.zeros(2, i32)},
            {"h": counts * 4, "s": np.array([x.max(), 4])},
            (4, 1, 1),
        ),
    )
    x = rng.permutation(64).astype(i32)
    want = {"h": np.arange(64) * 2, "o": np.where(x % 2 == 0, x, 0)}
    want["h"] = np.where(np.arange(64) % 2 == 0, np.arange(64) + 100, np.arange(64))
    yield "old", Launch(K.old_kernel, {"x": x, "h": np.arange(64, dtype=i32), "o": np.zeros(64, i32), "q": np.zeros(64, i32)}, want)
    yield (
        "ticket",
        Launch(K.ticket_kernel, {"t": np.zeros(1, i32), "o": np.zeros(8, i32)}, {"o": np.arange(8) + 1, "t": np.array([8])}, (8, 1, 1)),
    )


@cases
def philox(rng: np.random.Generator) -> Iterator[tuple[str, Launch]]:
    x = rng.standard_normal(1000).astype(f32)
    yield "dropout", Launch(K.dropout_kernel, {"x": x, "o": x * 0, "n": 1000, "p": 0.3, "seed": 123, "BLOCK": C(512)}, {}, (2, 1, 1), 1e-6)
    yield "known", Launch(K.rand_kernel, {"o": np.zeros(1, f32)}, {"o": np.array([0.46803567], f32)}, tolerance=1e-7)


WARPS = {"cpu": (4,), "cuda": (1, 4, 32), "metal": (1, 4, 32), "metal-sim": (4,)}


def fits(launch: Launch, target: str) -> bool:
    held = [p.value.type.elem for p in launch.case.fn.params]
    return not target.startswith("metal") or not any(getattr(e, "elem", e) is dt.float64 for e in held)  # type: ignore[union-attr]


@functools.lru_cache(maxsize=8)
def results(target: str, warps: int) -> dict[str, Any]:
    """What every kernel gives on a target, or the exception."""
    chosen = {name: replace(launch.case, num_warps=warps) for name, launch in CASES.items() if fits(launch, target)}
    out: dict[str, Any] = {}
    names = list(chosen)
    for start in range(0, len(names), 16):
        some = names[start : start + 16]
        try:
            out.update(zip(some, run([chosen[n] for n in some], target), strict=True))
        except Exception:
            for n in some:
                try:
                    (out[n],) = run([chosen[n]], target)
                except Exception as e:
                    out[n] = e
    return out


@functools.lru_cache(maxsize=1024)
def oracle(name: str) -> Arrays:
    return interpret(CASES[name].case)


@pytest.mark.parametrize("name", CASES)
def test_interpreter_agrees_with_numpy(name: str) -> None:
    launch = CASES[name]
    got = oracle(name)
    assert_equal(interpret(launch.case, optimized=False), got, launch.case.fn, what="the passes")
    if name != "atomics-ticket":
        assert_equal(got, launch.want(), launch.case.fn, max(launch.tolerance, 0), what="the interpreter")


@pytest.mark.parametrize("name", CASES)
def test_target_agrees_with_interpreter(name: str, target: str) -> None:
    launch = CASES[name]
    if not fits(launch, target):
        pytest.skip(f"{target} has no float64")
    for warps in WARPS[target]:
        # Simulated kernels are compiled one by one, so there is nothing to gain from running all of them in every process.
        got = results(target, warps)[name] if target != "metal-sim" else run([replace(launch.case, num_warps=warps)], target)[0]
        if isinstance(got, Exception):
            raise got
        if name == "atomics-ticket":  # programs come in any order
            got = {k: np.sort(v) for k, v in got.items()}
        assert_equal(
            got, oracle(name), launch.case.fn, max(launch.tolerance, 1e-5) if launch.tolerance else 0.0, what=f"{target}, {warps} warps"
        )


@pytest.mark.parametrize("name", CASES)
def test_gpu_texts(name: str) -> None:
    launch = CASES[name]
    made = texts(launch.case)
    assert "cuda" in made and ("metal" in made) == fits(launch, "metal")


def test_host_text_reads_both_elements_before_it_chooses() -> None:
    """g++ 12 -O3 vectorised `c ? a[i] : b[j]` beside a write of a[i] wrongly."""
    x = zmlx.ArraySpec(512, mx.int32)
    args = {n: zmlx.ArraySpec(128, mx.int32) for n in ("total", "top", "low", "at", "last")}
    made = K.reduce_kernel.compile(x, **args, kept=x, SHAPE=(4, 8, 16), AXIS=0, target="cpu")
    assert not re.search(r"\? \w+\[[^?]*: \w+\[", made.source)


# ---- through the public launch --------------------------------------------------------------------------------------


def test_each_target_is_named(each_target: str) -> None:
    """Shows as a skip, with the reason, what this machine cannot run."""
    with zmlx.use_target(each_target):
        x = mx.arange(1000, dtype=mx.float32)
        out = K.triple_kernel[(4,)](x, zmlx.zeros(1003), 1000, BLOCK=256)
        assert mx.array_equal(out[:1000], x * 3)


@pytest.mark.parametrize("warps", [1, 2, 4, 8, 16, 32])
def test_every_number_of_warps(warps: int, target: str) -> None:
    with zmlx.use_target(target):
        x = mx.random.normal((5, 1000))
        out = K.softmax_kernel[(5,)](x, zmlx.empty_like(x), 1000, BLOCK=1024, num_warps=warps)
        assert mx.allclose(out, mx.softmax(x, axis=-1), atol=1e-6)


def test_in_place_keeps_the_rest_and_the_other_references(target: str) -> None:
    with zmlx.use_target(target):
        x = mx.arange(100, dtype=mx.float32)
        same = x
        y = x + 0
        K.head_kernel[(1,)](y, 10)
        assert y.tolist() == [v + 1 if v < 10 else v for v in range(100)]
        assert same.tolist() == list(range(100))


def test_views_are_read_as_they_look(target: str) -> None:
    with zmlx.use_target(target):
        base = mx.arange(2003, dtype=mx.float32)
        for x in (base[3:], base[::2], mx.broadcast_to(base[:1], (1000,)), base.reshape(-1)[1:1001]):
            n = x.size
            out = K.triple_kernel[(zmlx.cdiv(n, 256),)](x, zmlx.zeros(n + 3), n, BLOCK=256)
            assert mx.array_equal(out[:n], x * 3)
