"""MLX's attention kernels: one query at a time in one and in two passes, and the tiled kernel for whole prompts."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import pytest
from mlx_harness import FLOATS, GROUP, GROUPS, LANE, SIMD, THREAD, THREADS, Family, close, flags, normal, reads, rounded, size, writes

_SIMD = "simdgroup_index_in_threadgroup, thread_index_in_simdgroup"
BLOCKS = 32


@dataclass(frozen=True)
class Kind:
    t: str = "half"
    d: int = 64
    causal: bool = False
    mask: str = ""  # "bool" or "float"
    sinks: bool = False
    transposed: bool = False

    @property
    def name(self) -> str:
        words = [self.t, str(self.d), self.causal and "causal", self.mask, self.sinks and "sinks", self.transposed and "transposed"]
        return "_".join(word for word in words if word)

    @property
    def constants(self) -> str:
        return flags(bool(self.mask), self.transposed, self.causal, self.mask == "bool", self.mask == "float", self.sinks)


KINDS = [
    Kind(),
    Kind("float", 128),
    Kind("bfloat16_t", 96),
    Kind(causal=True),
    Kind(mask="bool"),
    Kind(mask="float", sinks=True),
    Kind("float", 64, True, transposed=True),
]
_KEYS = "n, k_head, k_seq, v_head, v_seq, scale"


def _mask(t: str) -> str:
    return f"{reads('bool', 'mask')}, {reads(t, 'mask')}, mask_kv, mask_q, mask_head, {reads(t, 'sinks')}"


def _vector(k: Kind) -> str:
    io = f"{reads(k.t, 'q', 'k', 'v')}, {writes(k.t, 'y')}"
    return f"sdpa_vector<{k.constants}, {k.t}, {k.d}>({io}, gqa, {_KEYS}, {_mask(k.t)}, heads, {GROUP}, {GROUPS}, {SIMD}, {LANE})"


def _partial(t: str) -> str:
    return f"{reads(t, 'q', 'k', 'v')}, {writes(t, 'y')}, {writes('float', 'sums', 'maxs')}, {_KEYS}"


def _first(k: Kind) -> str:
    where = f"{THREADS}, {THREAD}, {GROUP}, {GROUPS}, {LANE}"
    return f"sdpa_vector_2pass_1<{k.constants}, {k.t}, {k.d}>({_partial(k.t)}, {_mask(k.t)}, {where})"


def _second(t: str, d: int) -> str:
    io = f"{reads(t, 'partials')}, {reads('float', 'sums', 'maxs')}, {writes(t, 'y')}"
    return f"sdpa_vector_2pass_2<{t}, {d}>({io}, parts, {GROUP}, {GROUPS}, {SIMD}, {LANE})"


_INPUTS = ("q", "k", "v", "gqa", *_KEYS.split(", "), "mask", "mask_kv", "mask_q", "mask_head", "sinks", "heads")
_CONSTANTS = ("bool has_mask", "bool query_transposed", "bool do_causal", "bool bool_mask", "bool float_mask", "bool has_sinks")
_FIXED = {"int blocks": str(BLOCKS)}
VECTOR = Family("sdpa_vector", ("sdpa_vector.h",), _INPUTS, ("y",), {k.name: _vector(k) for k in KINDS}, _CONSTANTS, _FIXED)
FIRST = Family(
    "sdpa_first",
    ("sdpa_vector.h",),
    _INPUTS,
    ("y", "sums", "maxs"),
    {k.name: _first(k) for k in KINDS}
    | {"gqa": f"sdpa_vector_2pass_1_gqa<half, 64, 64, 4, 2>({_partial('half')}, {GROUP}, {GROUPS}, {THREAD}, {LANE})"},
    _CONSTANTS,
    _FIXED,
)
SECOND = Family(
    "sdpa_second",
    ("sdpa_vector.h",),
    ("partials", "sums", "maxs", "parts"),
    ("y",),
    {f"{t}_{d}": _second(t, d) for t, d in sorted({(k.t, k.d) for k in KINDS})},
    fixed=_FIXED | dict.fromkeys(_CONSTANTS, "false"),
)

BQ, BK = 32, 32
PROMPTS = {  # align_Q, align_K, has_mask, do_causal, has_sinks, save_lse: type, mask's type
    "fits": ("true, true, false, false, false, false", "half", "half"),
    "edges": ("false, false, false, true, false, true", "half", "half"),
    "masked": ("false, false, true, false, true, false", "float", "bool"),
    "bfloat": ("false, false, true, false, false, false", "bfloat16_t", "bfloat16_t"),
}


def _prompt(constants: str, t: str, m: str) -> str:
    io = f"{reads(t, 'q', 'k', 'v')}, {writes(t, 'y')}, (const constant AttnParams*)sizes, (const constant AttnMaskParams*)mask_steps"
    rest = f"{reads(m, 'mask')}, {reads(t, 'sinks')}, {writes('float', 'lse')}, {LANE}, {SIMD}, {GROUP}, {THREAD}"
    return f"attention<{constants}, {t}, {BQ}, {BK}, 64, 64, 4, 1, {m}>({io}, {rest})"


PROMPT = Family(
    "attention",
    ("steel/attn/attn.h", "steel/attn/kernels/steel_attention.h"),
    ("q", "k", "v", "sizes", "mask_steps", "mask", "sinks"),
    ("y", "lse"),
    {case: _prompt(*parameters) for case, parameters in PROMPTS.items()},
    ("bool align_Q", "bool align_K", "bool has_mask", "bool do_causal", "bool has_sinks", "bool save_lse"),
)


def _reference(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, added: np.ndarray | float, sinks: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Attention of (B, H, L, D) queries over (B, Hkv, N, D) keys, and the log of the sums; -inf in `added` masks."""
    group = q.shape[1] // k.shape[1]
    k, v = (np.repeat(x, group, axis=1) for x in (k, v))
    scores = scale * q @ k.swapaxes(-1, -2) + added
    top = scores.max(-1, keepdims=True)
    if sinks is not None:
        top = np.maximum(top, sinks[None, :, None, None])
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks[None, :, None, None] - top)
    return e @ v / total, (np.log(total) + top)[..., 0]


def _causal(length: int, n: int) -> np.ndarray:
    return np.where(np.arange(n) > n - length + np.arange(length)[:, None], -np.inf, 0.0)


class Problem:
    """Inputs of the vector kernels for 2 batches, 4 query heads, 2 of keys, and some queries."""

    def __init__(self, kind: Kind, n: int, length: int) -> None:
        t, d = FLOATS[kind.t], kind.d
        rng = np.random.default_rng(n)
        b, h, kv, self.scale = 2, 4, 2, d**-0.5
        q, exact_q = normal(rng, (b, h, length, d), t)
        k, exact_k = normal(rng, (b, kv, n, d), t)
        v, exact_v = normal(rng, (b, kv, n, d), t)
        added: np.ndarray | float = 0.0
        mask, sinks, exact_sinks = mx.zeros((8,)), mx.zeros((8,)), None
        if kind.causal:
            added = _causal(length, n)
        if kind.mask == "bool":
            chosen = rng.random((b, h, length, n)) < 0.7
            mask, added = mx.array(chosen), np.where(chosen, 0.0, -np.inf)
        elif kind.mask == "float":
            mask, added = normal(rng, (b, h, length, n), t)
        if kind.sinks:
            sinks, exact_sinks = normal(rng, (h,), t)
        if kind.transposed:  # stored (B, L, H, D); MLX takes it for one batch only
            q = mx.contiguous(q.transpose(0, 2, 1, 3))
        self.want, _ = _reference(exact_q, exact_k, exact_v, self.scale, added, exact_sinks)
        self.shape = (b, h, length, d)
        self.arguments = [q, k, v, h // kv, n, size(n * d), size(d), size(n * d), size(d), self.scale]
        self.arguments += [mask, 1, n, length * n, sinks, h]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
@pytest.mark.parametrize(("n", "length"), [(7, 1), (100, 3)])
def test_vector(n: int, length: int, kind: Kind, sanitize: bool) -> None:
    if kind.transposed:
        length = 1
    problem = Problem(kind, n, length)
    outputs = [(problem.shape, FLOATS[kind.t])]
    (got,) = VECTOR.run(kind.name, problem.arguments, outputs, groups=(8, length), threadgroup=(1024,), sanitize=sanitize)
    close(got, problem.want, FLOATS[kind.t])


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_two_passes(kind: Kind, sanitize: bool) -> None:
    n, length = 150, 1 if kind.transposed else 2
    problem = Problem(kind, n, length)
    _two_passes(kind.name, kind, problem, (32, 2, length), sanitize)


def test_two_passes_for_groups_of_heads(sanitize: bool) -> None:
    """Four query heads share one of the keys' here."""
    kind = Kind()
    rng = np.random.default_rng(9)
    n, d = 200, kind.d
    problem = Problem(kind, n, 1)
    (q, exact_q), (k, exact_k), (v, exact_v) = (normal(rng, shape, mx.float16) for shape in ((2, 4, 1, d), (2, 1, n, d), (2, 1, n, d)))
    problem.want, _ = _reference(exact_q, exact_k, exact_v, problem.scale, 0.0, None)
    problem.arguments[:4] = [q, k, v, 4]
    _two_passes("gqa", kind, problem, (32, 4), sanitize, kv_heads=1)


def _two_passes(case: str, kind: Kind, problem: Problem, threadgroup: tuple[int, ...], sanitize: bool, kv_heads: int = 2) -> None:
    t, (b, h, length, d) = FLOATS[kind.t], problem.shape
    rows = (b, h, length, BLOCKS)
    outputs = [((*rows, d), t), (rows, mx.float32), (rows, mx.float32)]
    launch = {"groups": (kv_heads, b, BLOCKS), "threadgroup": threadgroup}
    partials, sums, maxs = FIRST.run(case, problem.arguments, outputs, sanitize=sanitize, **launch)
    args = [mx.array(partials).astype(t), mx.array(sums), mx.array(maxs), BLOCKS]
    (got,) = SECOND.run(f"{kind.t}_{d}", args, [(problem.shape, t)], groups=(b * h, length), threadgroup=(1024,), sanitize=sanitize)
    close(got, problem.want, t, 1.5)


@pytest.mark.parametrize("case", PROMPTS)
def test_prompt(case: str, sanitize: bool) -> None:
    constants, dtype, mask_type = PROMPTS[case]
    t, d, b, h, kv = FLOATS[dtype], 64, 1, 2, 1
    length, n = (64, 96) if case == "fits" else (45, 70)
    rng = np.random.default_rng(length)
    q, exact_q = normal(rng, (b, h, length, d), t)
    k, exact_k = normal(rng, (b, kv, n, d), t)
    v, exact_v = normal(rng, (b, kv, n, d), t)
    added: np.ndarray | float = _causal(length, n) if case == "edges" else 0.0
    mask, sinks, exact_sinks = mx.zeros((8,)), mx.zeros((8,)), None
    if mask_type == "bool":
        chosen = rng.random((b, h, length, n)) < 0.6
        mask, added = mx.array(chosen), np.where(chosen, 0.0, -np.inf)
        sinks, exact_sinks = rounded(rng.standard_normal(h), t)
    elif case == "bfloat":
        mask, added = normal(rng, (b, h, length, n), t)
    whole_q, whole_k = length // BQ, n // BK
    tiles = [-(-length // BQ), -(-n // BK), whole_q, whole_k, length - whole_q * BQ, n - whole_k * BK, n - length]
    steps = [(heads * rows * d, rows * d, d) for heads, rows in ((h, length), (kv, n), (kv, n), (h, length))]
    packed = struct.pack("6if7i12q", b, h, d, length, n, h // kv, d**-0.5, *tiles, *sum(steps, ()))
    sizes = mx.array(np.frombuffer(packed, np.uint8))
    mask_steps = mx.array(np.frombuffer(struct.pack("3q", h * length * n, length * n, n), np.uint8))
    want, lse = _reference(exact_q, exact_k, exact_v, d**-0.5, added, exact_sinks)
    saved = constants.endswith("true")
    got, got_lse = PROMPT.run(
        case,
        [q, k, v, sizes, mask_steps, mask, sinks],
        [((b, h, length, d), t), ((b, h, length) if saved else (1,), mx.float32)],
        groups=(tiles[0], h, b),
        threadgroup=(32, 4),
        sanitize=sanitize,
        init_value=None if saved else 0,
    )
    close(got, want, t)
    if saved:
        close(got_lse, lse, mx.float32)
