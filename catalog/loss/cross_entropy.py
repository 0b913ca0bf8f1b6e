"""Cross entropy of logits and class indices, in float32, whatever the size of the vocabulary."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

import zmlx
import zmlx.language as tl
from zmlx.catalog import checks
from zmlx.catalog.entry import Case, Entry
from zmlx.catalog.reduce.logsumexp import config
from zmlx.errors import ArrayError


@zmlx.jit
def cross_entropy_kernel(logits_ptr, targets_ptr, out_ptr, n_cols, ignore_index, LOGSUMEXP: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    target = tl.load(targets_ptr + row).to(tl.int64)
    logits_ptr += row.to(tl.int64) * n_cols
    # A target outside the vocabulary reads nothing and makes the loss NaN.
    score = tl.load(logits_ptr + target, mask=(target >= 0) & (target < n_cols), other=float("nan")).to(tl.float32)
    loss = LOGSUMEXP(logits_ptr, n_cols, BLOCK) - score
    tl.store(out_ptr + row, tl.where(target == ignore_index, 0.0, loss))


def cross_entropy(logits: mx.array, targets: mx.array, ignore_index: int = -100) -> mx.array:
    """log(sum(exp(logits))) - logits[target] for each row of logits, and 0 where the target is ignore_index.

    logits: (..., vocabulary); float32, float16 or bfloat16. targets: (...), integers. Returns targets' shape and logits'
    dtype; computed in float32 and rounded once. The loss of any other target outside the vocabulary is NaN.
    """
    checks.floats("cross_entropy", logits=logits)
    checks.rank("cross_entropy", "logits", logits, 1)
    checks.integers("cross_entropy", "targets", targets)
    checks.shape("cross_entropy", "targets", targets, logits.shape[:-1])
    n_cols = logits.shape[-1]
    if n_cols == 0:
        raise ArrayError("cross_entropy: logits have an empty last axis; give it one logit a class")
    out = zmlx.empty(targets.shape, logits.dtype)
    if logits.size == 0:
        return out
    return cross_entropy_kernel[(targets.size,)](logits, targets, out, n_cols, ignore_index, **config(n_cols))


def cross_entropy_reference(logits: mx.array, targets: mx.array, ignore_index: int = -100) -> mx.array:
    logits = logits - mx.max(logits, axis=-1, keepdims=True)
    ignored = targets == ignore_index
    score = mx.take_along_axis(logits, mx.where(ignored, 0, targets)[..., None], axis=-1)[..., 0]
    loss = mx.log(mx.sum(mx.exp(logits), axis=-1)) - score
    return mx.where(ignored, mx.zeros_like(loss), loss)


def _baseline(logits: mx.array, targets: mx.array, ignore_index: int = -100) -> mx.array:
    ignored = targets == ignore_index
    loss = nn.losses.cross_entropy(logits, mx.where(ignored, 0, targets))
    return mx.where(ignored, mx.zeros_like(loss), loss)


def _case(*shape: int, scale: float = 1.0, **kwargs: int) -> Case:
    def args(r: Any) -> tuple[Any, ...]:
        targets = r.integers(0, shape[-1], shape[:-1])
        if targets.size > 2:
            targets.flat[1] = kwargs.get("ignore_index", -100)
        return scale * r.standard_normal(shape), targets

    return Case("x".join(map(str, shape)) + "".join(f"-{k}{v}" for k, v in kwargs.items()), args, kwargs)


CASES = (
    _case(1, 1),
    _case(3, 7),
    _case(2, 3, 128, scale=10.0),
    _case(4, 1000, ignore_index=3),
    _case(1000),
    _case(3, 8193),
    _case(3, 32000, scale=20.0),
    _case(0, 8),
)
ENTRY = Entry(
    "cross_entropy",
    cross_entropy,
    cross_entropy_reference,
    baseline=_baseline,
    kernels=(cross_entropy_kernel,),
    cases=CASES,
    sizes={"cpu": _case(128, 32000), "gpu": _case(2048, 32000)},
)
