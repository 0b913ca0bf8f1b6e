"""Every catalog entry on every target that this machine has, generated from its cases; and what its wrapper refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

import zmlx
from zmlx.catalog import Case, Entry, entries
from zmlx.catalog.entry import outputs
from zmlx.cli.recording import launch_of
from zmlx.errors import ArgumentError, ArrayError

ENTRIES = list(entries())
BY_NAME = {e.name: e for e in ENTRIES}
HAVE = set(zmlx.targets())


def word(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")


def runs() -> Iterator[Any]:
    """(entry, case, dtype, target): all cases in float32, five in half types on the CPU, the two smallest in the interpreter."""
    for target in ("interpret", "cpu", "cuda", "metal", "metal-sim"):
        for entry in ENTRIES:
            if target not in HAVE:  # one skipped test an entry says so
                mark = pytest.mark.skip(reason=f"this machine cannot run {target}: python -m zmlx doctor says why")
                yield pytest.param(entry, entry.cases[0], mx.float32, target, marks=mark, id=f"{target}-{entry.name}")
                continue
            for number, case in enumerate(entry.cases):
                for dtype in entry.dtypes:
                    most = 2 if target == "interpret" else 5 if dtype != mx.float32 and target == "cpu" else 100
                    if number < most:
                        yield pytest.param(entry, case, dtype, target, id=f"{target}-{entry.name}-{case.name}-{word(dtype)}")


@pytest.mark.parametrize(("entry", "case", "dtype", "target"), list(runs()))
def test_entry_agrees_with_its_reference(entry: Entry, case: Case, dtype: mx.Dtype, target: str) -> None:
    args = case.build(dtype)
    before = [np.array(a.astype(mx.float32)) if isinstance(a, mx.array) else a for a in args]
    with zmlx.use_target(target):
        got = entry.call(*args, **case.kwargs)
        mx.eval(got)
    assert all(o.dtype == dtype for o in outputs(got) if mx.issubdtype(o.dtype, mx.floating))
    error, ok = entry.error(got, entry.expected(case, dtype), dtype)
    assert ok, f"off by {error:.3e} where {entry.bounds(dtype)} is allowed"
    for old, new in zip(before, args, strict=True):
        assert not isinstance(new, mx.array) or np.array_equal(old, np.array(new.astype(mx.float32))), "an input has changed"


@pytest.mark.parametrize("target", ["metal", "cuda"])
@pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])
def test_entry_compiles_for_gpus_that_are_not_here(entry: Entry, target: str) -> None:
    # Within their limits of memory, threads and buffers, too.
    for case in entry.cases:
        for dtype in entry.dtypes:
            args = case.build(dtype)
            if all(a.size for a in args if isinstance(a, mx.array)):
                kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))  # noqa: B023
                assert kernel.compile(*call.arguments, target=target, **call.keywords).source


@pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])
def test_entry_is_complete(entry: Entry) -> None:
    assert entry.call.__doc__ and "Returns" in entry.call.__doc__, "the docstring says shapes and dtypes"
    assert set(entry.sizes) == {"cpu", "gpu"} and len(entry.cases) >= 5
    assert len({c.name for c in entry.cases}) == len(entry.cases), "two cases share a name"


@pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])
def test_reference_agrees_with_what_mlx_users_call(entry: Entry) -> None:
    if entry.name == "dropout":  # MLX draws other random numbers
        return check_dropout_statistics(entry)
    for case in entry.cases:
        args = case.build(mx.float32)
        if all(a.size for a in args if isinstance(a, mx.array)):
            theirs = outputs(entry.baseline(*args, **case.kwargs))
            for array, expected in zip(theirs, entry.expected(case, mx.float32), strict=True):
                assert np.allclose(np.array(array), expected, rtol=2e-4, atol=2e-4), case.name


def check_dropout_statistics(entry: Entry) -> None:
    kept = np.array(entry.reference(mx.ones(100_000), p=0.3, seed=5)) != 0
    assert abs(kept.mean() - 0.7) < 0.01
    assert abs(np.corrcoef(kept[1:], kept[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("entry", ENTRIES, ids=[e.name for e in ENTRIES])
@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=word)
def test_a_wrong_result_is_seen(entry: Entry, dtype: mx.Dtype) -> None:
    case = entry.cases[1]
    expected = entry.expected(case, dtype)
    right = [mx.array(e.astype(np.float32)).astype(dtype) if e.dtype.kind == "f" else mx.array(e) for e in expected]
    assert entry.error(tuple(right), expected, dtype)[1]
    for place, array in enumerate(right):
        off = np.array(array.astype(mx.float32))
        for value in (off.flat[0] + 0.1 * max(1.0, abs(off.flat[0])), np.nan):
            off.flat[0] = value
            assert not entry.error((*right[:place], mx.array(off), *right[place + 1 :]), expected, dtype)[1]


def test_dropout_is_a_function_of_the_seed() -> None:
    dropout = BY_NAME["dropout"].call
    x = mx.ones(1000)
    first, again, other = dropout(x, 0.5, seed=1), dropout(x, 0.5, seed=1), dropout(x, 0.5, seed=2)
    assert mx.array_equal(first, again) and not mx.array_equal(first, other)
    assert set(np.array(first).tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("columns", [3, 9000], ids=["tile", "loop"])
@pytest.mark.parametrize("name", ["softmax", "logsumexp", "sum", "rms_norm", "layer_norm", "add_rms_norm", "swiglu"])
def test_special_values_are_mlxs(name: str, columns: int) -> None:
    inf, nan = float("inf"), float("nan")
    rows = [[0.0, -inf, 1.0], [inf, 0.0, 1.0], [nan, 0.0, 1.0], [inf, -inf, nan], [-inf] * 3, [80.0, -80.0, 0.0], [1e18, -1e18, 0.0]]
    x = mx.concatenate([mx.array(rows)] * (columns // 3), axis=1)
    entry = BY_NAME[name]
    args = {"swiglu": (x, x), "rms_norm": (x, x[0]), "add_rms_norm": (x, x, x[0])}.get(name, (x,))
    got, theirs = outputs(entry.call(*args)), outputs(entry.baseline(*args))
    for ours, other in zip(got, theirs, strict=True):
        assert np.allclose(np.array(ours), np.array(other), equal_nan=True, rtol=1e-5, atol=1e-6), (ours, other)


def test_cross_entropy_of_a_target_outside_the_vocabulary_is_nan() -> None:
    loss = np.array(BY_NAME["cross_entropy"].call(mx.zeros((4, 5)), mx.array([5, -1, 4, -100])))
    assert np.isnan(loss[:2]).all() and np.allclose(loss[2:], [np.log(5), 0])


def test_gather_add_of_a_row_outside_the_table_is_nan() -> None:
    x, table = mx.ones((4, 5)), mx.arange(10.0).reshape(2, 5)
    got = np.array(BY_NAME["gather_add"].call(x, table, mx.array([2, 1, -3, -2])))
    assert np.isnan(got[[0, 2]]).all() and np.array_equal(got[[1, 3]], 1 + np.array(table)[[1, 0]])


@pytest.mark.parametrize("columns", [200, 4500], ids=["tile", "loop"])
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16], ids=word)
def test_topk_takes_the_earlier_of_equals_and_nan_first(dtype: mx.Dtype, columns: int) -> None:
    values = np.random.default_rng(0).integers(-3, 4, (5, columns)).astype(np.float32)
    values[values == 2] = -0.0
    values[1, [150, 20, 60]] = np.nan, -np.nan, np.inf
    values[2, :] = -np.inf
    values[3, 100] = 1e-7  # subnormal in float16
    x = mx.array(values).astype(dtype)
    values = np.array(x.astype(mx.float32))
    order = np.argsort(np.where(np.isnan(values), -np.inf, -values), axis=1, kind="stable")
    nans = np.isnan(np.take_along_axis(values, order, axis=1))
    order = np.take_along_axis(order, np.argsort(~nans, axis=1, kind="stable"), axis=1)[:, :13]
    got, indices = BY_NAME["topk"].call(x, k=13)
    assert np.array_equal(np.array(indices), order)
    assert np.array_equal(np.array(got.astype(mx.float32)), np.take_along_axis(values, order, axis=1), equal_nan=True)


def test_inputs_need_not_be_contiguous() -> None:
    x = mx.random.normal((40, 30))
    assert mx.allclose(BY_NAME["softmax"].call(x.T), mx.softmax(x.T, axis=-1), atol=1e-6)
    assert mx.allclose(BY_NAME["add"].call(x[::2], x[1::2]), x[::2] + x[1::2])
    assert mx.allclose(BY_NAME["sum"].call(x.T), mx.sum(x.T, axis=-1), atol=1e-4)
    targets = mx.arange(60)[::2] % 40
    assert mx.allclose(BY_NAME["cross_entropy"].call(x.T, targets), nn.losses.cross_entropy(x.T, targets), atol=1e-5)


ones = mx.ones
REFUSED = {
    "list": ("add", ([1.0], ones(1)), {}, ArrayError, "wrap it"),
    "dtype": ("softmax", (ones((2, 2), mx.int32),), {}, ArrayError, "astype"),
    "mixed": ("add", (ones(3), ones(3, mx.float16)), {}, ArrayError, "cast one"),
    "shape": ("add", (ones(3), ones(4)), {}, ArrayError, r"\(3,\) is needed"),
    "scalar": ("softmax", (mx.array(1.0),), {}, ArrayError, "at least 1"),
    "up": ("swiglu", (ones(3), ones(4)), {}, ArrayError, r"\(3,\) is needed"),
    "residual": ("add_rms_norm", (ones((2, 4)), ones(4), ones(4)), {}, ArrayError, r"\(2, 4\) is needed"),
    "layer bias": ("layer_norm", (ones((2, 4)), None, ones(3)), {}, ArrayError, r"bias .*\(4,\) is needed"),
    "float targets": ("cross_entropy", (ones((2, 4)), ones(2)), {}, ArrayError, "astype.mx.int32"),
    "target list": ("cross_entropy", (ones((2, 4)), [1, 2]), {}, ArrayError, "wrap it"),
    "targets": ("cross_entropy", (ones((2, 4)), ones(3, mx.int32)), {}, ArrayError, r"\(2,\) is needed"),
    "no classes": ("cross_entropy", (ones((2, 0)), ones(2, mx.int32)), {}, ArrayError, "one logit a class"),
    "table": ("gather_add", (ones((2, 4)), ones((3, 5)), ones(2, mx.int32)), {}, ArrayError, r"\(3, 4\) is needed"),
    "no rows": ("gather_add", (ones((2, 4)), ones((0, 4)), ones(2, mx.int32)), {}, ArrayError, r"\(1, 4\) is needed"),
    "index": ("gather_add", (ones((2, 4)), ones((3, 4)), ones(2)), {}, ArrayError, "astype.mx.int32"),
    "odd dims": ("rope", (ones((1, 2, 8)), 5), {}, ArgumentError, "from 2 to .* 8"),
    "base": ("rope", (ones((1, 2, 8)), 8), {"base": 0.0}, ArgumentError, "10000.0"),
    "too many": ("topk", (ones((2, 4)), 5), {}, ArgumentError, "from 1 to 4"),
    "most": ("topk", (ones((2, 400)), 65), {}, ArgumentError, "from 1 to 64.*mx.sort"),
    "weight": ("rms_norm", (ones((2, 4)), ones(3)), {}, ArrayError, r"\(4,\) is needed"),
    "form": ("gelu", (ones(3),), {"approximate": "sigmoid"}, ArgumentError, '"tanh"'),
    "p": ("dropout", (ones(3), 1.0), {}, ArgumentError, "from 0 up to"),
    "seed": ("dropout", (ones(3),), {"seed": -1}, ArgumentError, "from 0 to"),
    "inner": ("linear", (ones((2, 3)), ones((4, 5))), {}, ArrayError, r"\(3, 5\) is needed"),
    "bias": ("linear", (ones((2, 3)), ones((3, 5)), ones(4)), {}, ArrayError, r"\(5,\) is needed"),
    "activation": ("linear", (ones((2, 3)), ones((3, 5))), {"activation": "swish"}, ArgumentError, "gelu_tanh"),
    "groups": ("flash_attention", (ones((1, 3, 4, 16)), ones((1, 2, 4, 16)), ones((1, 2, 4, 16))), {}, ArrayError, "multiple"),
    "causal": ("flash_attention", (ones((1, 1, 4, 16)), *[ones((1, 1, 3, 16))] * 2), {"causal": True}, ArrayError, "last 3 queries"),
    "wide": ("flash_attention", (ones((1, 1, 4, 300)),) * 3, {}, ArrayError, "1 to 256"),
    "no keys": ("flash_attention", (ones((1, 1, 4, 16)), *[ones((1, 1, 0, 16))] * 2), {}, ArrayError, "at least one"),
}


@pytest.mark.parametrize(("name", "args", "kwargs", "kind", "remedy"), REFUSED.values(), ids=list(REFUSED))
def test_wrappers_refuse_with_a_remedy(name: str, args: Any, kwargs: Any, kind: type[Exception], remedy: str) -> None:
    with pytest.raises(kind, match=remedy):
        BY_NAME[name].call(*args, **kwargs)
