"""`kernel.explain`: what it says of each access and exchange is what the generated text does, and why, in the user's words."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
import random_kernels
from execute import traced
from explained_kernels import (
    atomics_kernel,
    barrier_kernel,
    called_kernel,
    carried_kernel,
    dot_kernel,
    gather_kernel,
    indices_kernel,
    masked_kernel,
    option_kernel,
    ragged_kernel,
    reductions_kernel,
    repeated_kernel,
    running_kernel,
    scans_kernel,
    strided_kernel,
    summed_kernel,
    tiny_kernel,
    transposed_kernel,
)

import zmlx
from zmlx import dtypes as dt
from zmlx.catalog import Entry as CatalogEntry
from zmlx.catalog import entries
from zmlx.cli import main
from zmlx.cli.recording import launch_of
from zmlx.errors import ArgumentError, ShapeError, TargetError
from zmlx.explain.narrate import explain
from zmlx.explain.report import Entry, Explanation
from zmlx.explain.scene import UNRECORDED
from zmlx.ir.core import clone_function
from zmlx.ir.parser import parse
from zmlx.ops import REGISTRY
from zmlx.runtime import toolchain
from zmlx.simt.decisions import Record
from zmlx.targets.compile import compile_function
from zmlx.targets.target import target as target_of

TARGETS = ("metal", "cuda", "cpu")
GPUS = ("metal", "cuda")
HALF = zmlx.ArraySpec((1 << 16,), mx.bfloat16)
FLOAT = zmlx.ArraySpec((1 << 16,), mx.float32)
BYTES = zmlx.ArraySpec((1 << 16,), mx.int8)
INT = zmlx.ArraySpec((1 << 16,), mx.int32)


def at(explanation: Explanation, code: str, kind: str = "") -> Entry:
    """The one entry of a line that holds some code."""
    found = [e for e in explanation.entries if code in e.text and kind in ("", e.kind)]
    assert len(found) == 1, f"{code}: {[(e.kind, e.text) for e in found]}"
    return found[0]


def said(entry: Entry) -> str:
    return " ".join((entry.title, *entry.words, entry.remedy))


# ---- accesses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", GPUS)
def test_ragged_half_vectors(target: str) -> None:
    e = tiny_kernel.explain(HALF, HALF, 1000, BLOCK=1024, target=target)
    load = at(e, "tl.load", "load")
    assert load.title.startswith("16 bytes a thread at once (8 × bfloat16), tested for alignment")
    assert "The mask `at < n` lets whole vectors through" in said(load)
    assert "8 registers × 32 lanes × 4 warps" in said(load)
    assert load.facts["bytes"] == 2048 and load.facts["dtype"] == "bfloat16"


def test_a_divisible_length_makes_the_mask_the_same_for_a_vector() -> None:
    load = at(tiny_kernel.explain(HALF, HALF, 1024, BLOCK=1024, target="metal"), "tl.load", "load")
    assert "one and the same for a whole vector" in said(load)


def test_small_tiles_say_how_large_they_should_be() -> None:
    load = at(tiny_kernel.explain(HALF, HALF, 1000, BLOCK=256, target="metal"), "tl.load", "load")
    assert load.facts["vector_bytes"] == 4 and load.facts["reason"] == "few"
    assert "from 1024 elements on, or with num_warps=1, each thread moves 16 bytes" in load.remedy
    better = at(tiny_kernel.explain(HALF, HALF, 1000, BLOCK=256, num_warps=1, target="metal"), "tl.load", "load")
    assert better.facts["vector_bytes"] == 16 and not better.remedy


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_stride_is_named(target: str) -> None:
    e = strided_kernel.explain(HALF, HALF, 100, 3, 50, 60, BM=64, BN=64, target=target)
    load = at(e, "* sn", "load")
    assert load.title == ("gathered into vectors" if target == "cpu" else "element by element") and load.facts["reason"] == "stride"
    assert "axis 1 lie `sn` apart" in said(load) and "leave `sn` out" in load.remedy
    store = at(e, "tl.store", "store")
    assert store.facts["reason"] == ""
    if target != "cpu":
        assert load.facts["scattered"] and store.facts["vector_bytes"] == 16


@pytest.mark.parametrize("target", GPUS)
def test_a_stride_of_one_is_seen(target: str) -> None:
    load = at(strided_kernel.explain(HALF, HALF, 100, 1, 50, 60, BM=64, BN=64, target=target), "* sn", "load")
    assert load.facts["vector_bytes"] == 16 and "4 separate pieces of 128 bytes" in said(load)


@pytest.mark.parametrize("target", TARGETS)
def test_a_gather_names_what_is_loaded(target: str) -> None:
    e = gather_kernel.explain(INT, HALF, HALF, 1000, BLOCK=1024, target=target)
    load = at(e, "table_ptr + i", "load")
    assert load.facts["reason"] == "gather"
    assert "`tl.load(index_ptr + at, mask=at < n, other=0)`, which is loaded from memory at explained_kernels.py:" in said(load)
    assert at(e, "i = tl.load").facts["reason"] == ""


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("at % n)", "wraps", "`at % n` wraps around at multiples of `n`"),
        ("tl.minimum", "clamped", "`tl.minimum(at, n - 1)` is clamped"),
        ("n - at", "reverse", "`n - at` counts down"),
        ("at // 3", "divides", "`at // 3` divides by 3"),
        ("at * m", "stride", "lie `m` apart"),
        ("at * 4", "stride", "lie 4 apart (`at * 4`)"),
        ("tl.where", "chosen", "`tl.where(at < n, at, 0)` chooses"),
        ("(at + 1).to(tl.int8)", "narrow", "may wrap around"),
        ("at + at", "stride", "lie 2 apart"),
        ("at ^ m", "unknown", "cannot see that `at ^ m` counts up"),
    ],
)
def test_each_way_to_lose_neighbours(code: str, kind: str, says: str) -> None:
    for target in TARGETS:
        load = at(indices_kernel.explain(HALF, HALF, 1001, 77, BLOCK=1024, target=target), code, "load")
        assert load.facts["reason"] == kind and says in said(load), said(load)


def test_a_hint_is_a_remedy() -> None:
    load = at(indices_kernel.explain(HALF, HALF, 1001, 77, BLOCK=1024, target="metal"), "at ^ m", "load")
    assert "tl.max_contiguous(tl.multiple_of(at ^ m, 8), 8)" in load.remedy


@pytest.mark.parametrize("target", TARGETS)
def test_transposed_uses(target: str) -> None:
    e = transposed_kernel.explain(HALF, HALF, 64, B=64, target=target)
    assert at(e, "x = tl.load").facts["reason"] == "layout"
    if target in GPUS:  # the tile is built along memory's rows, which are its columns
        y = at(e, "y = tl.load")
        assert "memory's neighbours lie along axis 0" in said(y) and "tl.trans it" in y.remedy


@pytest.mark.parametrize("target", TARGETS)
def test_pointers_that_a_loop_carries(target: str) -> None:
    e = carried_kernel.explain(HALF, HALF, 4096, 2, BLOCK=1024, target=target)
    plain, strided = at(e, "tl.load(p)"), at(e, "tl.load(q)")
    assert plain.facts["reason"] == "" and strided.facts["reason"] == "stride" and "`m` apart" in said(strided)
    assert plain.facts["trips"] == 4 and "A program reads 8 KiB (2 KiB, 4 times)." in plain.words
    assert e.totals.facts["bytes_read"] == 2 * 4 * 2048 and e.totals.facts["traffic_is_whole"]


def test_loops_of_unknown_length_are_said() -> None:
    load = at(reductions_kernel.explain(FLOAT, FLOAT, FLOAT, R=16, C=64, target="metal"), "in range", "load")
    assert load.facts["trips"] is None and "in each iteration of the loop at line" in said(load)


def test_rows_at_odd_addresses_are_put_together_from_words() -> None:
    e = ragged_kernel.explain(HALF, HALF, HALF, 1001, BLOCK=1024, target="cuda")
    load, weight, store = at(e, "x = tl.load"), at(e, "weight = tl.load"), at(e, "tl.store")
    assert load.facts["shifted"] and load.title == "16 bytes a thread at once (8 × bfloat16), at any address"
    assert "two aligned words" in said(load) and "The mask `cols < n` says of each word whether it is read" in said(load)
    assert store.facts["shifted"] and "from the elements of two lanes" in said(store)
    assert not weight.facts["shifted"] and "tested for alignment" in weight.title
    even = ragged_kernel.explain(HALF, HALF, HALF, 1024, BLOCK=1024, target="cuda")
    metal = ragged_kernel.explain(HALF, HALF, HALF, 1001, BLOCK=1024, target="metal")
    assert not any(x.facts.get("shifted") for x in (*even.entries, *metal.entries))
    floats = ragged_kernel.explain(FLOAT, FLOAT, FLOAT, 1001, BLOCK=1024, target="metal")
    assert at(floats, "x = tl.load").title == "16 bytes a thread at once (4 × float32), at any address"


@pytest.mark.parametrize("target", GPUS)
def test_a_load_written_early_is_made_early(target: str) -> None:
    load = at(ragged_kernel.explain(HALF, HALF, HALF, 1001, BLOCK=1024, target=target), "weight = tl.load")
    assert load.facts["early"] and "Loaded early, where it is written, and kept in registers until line" in said(load)
    source = ragged_kernel.compile(HALF, HALF, HALF, 1001, BLOCK=1024, target=target).source
    before = re.split(r"__syncthreads\(\);|threadgroup_barrier\(", source)[-2]
    assert re.search(r"zm_vload<8>\(weight", before)


def test_loads_an_iteration_ahead() -> None:
    for target, stages, ahead in (("cuda", None, True), ("cuda", 1, False), ("metal", None, False), ("metal", 2, True)):
        options = {} if stages is None else {"num_stages": stages}
        e = running_kernel.explain(FLOAT, FLOAT, 4096, BLOCK=1024, target=target, **options)
        source = running_kernel.compile(FLOAT, FLOAT, 4096, BLOCK=1024, target=target, **options).source
        load = at(e, "tl.load")
        assert load.facts["ahead"] == ahead == ("Loaded one iteration ahead, into registers" in said(load)) == ("ahead[" in source)


# ---- exchanges ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", GPUS)
def test_reductions_of_one_warp_and_of_several(target: str) -> None:
    e = reductions_kernel.explain(FLOAT, FLOAT, FLOAT, R=16, C=64, target=target)
    rows, columns, looped = at(e, "axis=1", "reduce"), at(e, "axis=0", "reduce"), at(e, "in range", "reduce")
    assert rows.facts["warps"] == 1 and rows.facts["barriers"] == 0 and "It stays within one warp" in said(rows)
    assert "sum of 16 × 64 float32 along axis 1" in rows.title
    assert columns.facts["warps"] > 1 and columns.facts["barriers"] >= 1 and "maximum of" in columns.title
    assert f"{columns.facts['warps']} warps exchange results through" in said(columns)
    assert looped.facts["barriers"] == 2 and "in each iteration" in said(looped) and "reduce once behind it" in looped.remedy
    alone = at(reductions_kernel.explain(FLOAT, FLOAT, FLOAT, R=16, C=64, num_warps=1, target=target), "in range", "reduce")
    assert alone.facts["barriers"] == 0 and alone.facts["shared_bytes"] == 0 and not alone.remedy


@pytest.mark.parametrize("target", GPUS)
def test_reductions_that_share_a_barrier(target: str) -> None:
    e = ragged_kernel.explain(HALF, HALF, HALF, 1001, BLOCK=1024, target=target)
    first, second = at(e, "# of rows"), at(e, "tl.sum(x * x)")
    assert first.facts["barriers"] == 1 == e.totals.facts["barriers"] and second.facts["barriers"] == 0
    assert f"It serves 1 more reduction (explained_kernels.py:{second.line})." in said(first)
    assert f"meets at that of the reduction at explained_kernels.py:{first.line}." in said(second)
    alone = ragged_kernel.explain(HALF, HALF, HALF, 1001, BLOCK=1024, num_warps=1, target=target)
    assert [at(alone, code).words[2:] for code in ("# of rows", "tl.sum(x * x)")] == 2 * [
        ("It stays within one warp, so no threadgroup memory is needed.", "No barrier.", "Tile 1024: 8 registers × 32 lanes × 4 registers.")
    ]


@pytest.mark.parametrize("target", GPUS)
def test_why_a_barrier_only_frees_memory(target: str) -> None:
    e = reductions_kernel.explain(FLOAT, FLOAT, FLOAT, R=16, C=64, target=target)
    assert "the last lets readers finish before another iteration" in said(at(e, "in range", "reduce"))
    large = scans_kernel.explain(FLOAT, FLOAT, BLOCK=2048, target=target)
    assert not any("another iteration" in said(x) for x in large.entries)


def test_products_are_stored_by_rows() -> None:
    store = at(dot_kernel.explain(HALF, HALF, HALF, M=64, N=64, K=32, target="cuda"), "tl.store")
    assert "8 KiB pass through threadgroup memory first" in said(store) and store.facts["barriers"] >= 1
    assert store.facts["vector_bytes"] == 16


def test_loops_over_vectors() -> None:
    load = at(masked_kernel.explain(FLOAT, FLOAT, 1000, BLOCK=1024, target="cpu"), "tl.load")
    assert load.facts["vectors"] and "written over vectors" in said(load)
    assert "is tested for a whole vector at once: lanes on which it is off are not touched" in said(load)
    tiny = at(tiny_kernel.explain(FLOAT, FLOAT, 1000, BLOCK=1024, target="cpu"), "tl.load")
    assert tiny.facts["vectors"] and "first part has no mask." in said(tiny)


def test_why_a_loop_is_not_over_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec, block, why in ((BYTES, 1024, "it has no vectors of int8"), (FLOAT, 8, "fewer than 16 elements")):
        load = at(masked_kernel.explain(spec, spec, 1000, BLOCK=block, target="cpu"), "tl.load")
        assert not load.facts["vectors"] and load.facts["simd"] and why in said(load)
        assert "is tested for each element" in said(load)
    monkeypatch.setenv("ZMLX_CPU_SIMD", "0")
    load = at(masked_kernel.explain(FLOAT, FLOAT, 1000, BLOCK=1024, target="cpu"), "tl.load")
    assert not load.facts["vectors"] and "ZMLX_CPU_SIMD=0 is set" in said(load)


def test_products_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    dot = at(summed_kernel.explain(FLOAT, FLOAT, FLOAT, 5, N=32, target="cpu"), "tl.dot", "dot")
    assert "1 operand read column after column" in said(dot) and "added to where it is" in said(dot)
    once = at(dot_kernel.explain(FLOAT, FLOAT, FLOAT, M=64, N=64, K=32, target="cpu"), "tl.dot", "dot")
    assert "column after column" not in said(once) and "added to where it is" not in said(once)
    monkeypatch.setenv("ZMLX_DOT", "plain")
    plain = at(dot_kernel.explain(FLOAT, FLOAT, FLOAT, M=64, N=64, K=32, target="cpu"), "tl.dot", "dot")
    assert plain.facts["path"] == "plain" and "vectorise" in said(plain)


def test_reductions_on_the_host() -> None:
    e = reductions_kernel.explain(FLOAT, FLOAT, FLOAT, R=16, C=64, target="cpu")
    rows = said(at(e, "axis=1", "reduce"))
    assert "32 partial results are kept side by side" in rows and "The loop is written over vectors" in rows
    long = zmlx.ArraySpec((1 << 16,), mx.int64)
    whole = reductions_kernel.explain(long, long, long, R=16, C=64, target="cpu")
    assert "(#pragma omp simd): it has no vectors of int64." in said(at(whole, "axis=1", "reduce"))
    assert "axis 0 is walked outside it" in said(at(e, "axis=0", "reduce"))


@pytest.mark.parametrize("target", GPUS)
def test_scans(target: str) -> None:
    e = scans_kernel.explain(FLOAT, FLOAT, BLOCK=2048, target=target)
    forwards, backwards = at(e, "# forwards", "scan"), at(e, "# backwards", "scan")
    assert forwards.facts["registers"] == 16 and forwards.facts["barriers"] >= 1
    assert "Reverse" in said(backwards) and "axis 0 from its end" in said(backwards)
    moved = at(e, "# backwards", "convert")
    assert moved.facts["bytes"] == 8192 and "changes hands between threads" in moved.title and "# backwards" in said(moved)


@pytest.mark.parametrize("target", TARGETS)
def test_products(target: str) -> None:
    e = dot_kernel.explain(HALF, HALF, FLOAT, M=32, N=64, K=16, target=target)
    dot = at(e, "tl.dot", "dot")
    assert dot.title.startswith("32 × 16 by 16 × 64, bfloat16 → float32: ") and "65,536 operations" in said(dot)
    assert len(dot.words) >= 2 and not dot.title.endswith(": ")


@pytest.mark.parametrize(
    ("target", "spec", "path", "says"),
    [
        ("cuda", HALF, "tensor", "tensor cores"),
        ("cuda", FLOAT, "staged", "Not on matrix units because input_precision='ieee'"),
        ("cpu", FLOAT, "host", "a block of the result stays in vector registers"),
        ("metal", FLOAT, "simdgroup", "simdgroup matrices"),
    ],
)
def test_the_way_of_a_product(target: str, spec: zmlx.ArraySpec, path: str, says: str) -> None:
    out = INT if spec.dtype.is_int else FLOAT
    dot = at(dot_kernel.explain(spec, spec, out, M=64, N=64, K=32, target=target), "tl.dot", "dot")
    assert dot.facts["path"] == path and says in said(dot)
    assert bool(dot.remedy) == ("because" in said(dot))


def test_products_whose_loop_fetches_ahead() -> None:
    spec = zmlx.ArraySpec((4, 32, 32), mx.float16)
    for stages, ahead in ((None, True), (2, True), (1, False)):
        e = summed_kernel.explain(spec, spec, FLOAT, 4, N=32, target="metal", num_stages=stages)
        dot, load = at(e, "tl.dot", "dot"), at(e, "a = tl.load")
        assert dot.facts["ahead"] == load.facts["ahead"] == ahead == ("fetches the next iteration's left and the right" in said(dot))
        assert dot.facts["halves"] == 1 + ahead and dot.facts["barriers"] == 2 - ahead
        assert ("because num_stages=1 is asked for" in said(dot)) == (not ahead)
        assert dot.facts["shared_bytes"] == e.totals.facts["shared_bytes"] == (1 + ahead) * 2 * 32 * (32 + 8) * 2


def test_why_a_product_is_not_on_simdgroup_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    small = zmlx.ArraySpec((1,), mx.int8)
    dot = at(dot_kernel.explain(small, small, INT, M=32, N=32, K=2048, target="metal"), "tl.dot", "dot")
    assert "because sums of 2048 products of int8 are not exact there" in said(dot) and "at most 1024" in dot.remedy
    monkeypatch.setenv("ZMLX_DOT", "plain")
    dot = at(dot_kernel.explain(HALF, HALF, FLOAT, M=32, N=64, K=16, target="metal"), "tl.dot", "dot")
    assert "because ZMLX_DOT=plain is set" in said(dot)


@pytest.mark.parametrize("target", TARGETS)
def test_device_functions_say_where_they_were_called(target: str) -> None:
    e = called_kernel.explain(FLOAT, FLOAT, BLOCK=1024, target=target)
    load, total = at(e, "return tl.load", "load"), at(e, "return tl.sum", "reduce")
    assert re.fullmatch(r"explained_kernels\.py:\d+ in called_kernel", load.calls[0]) and len(load.calls) == 1
    assert "Called from explained_kernels.py:" in str(e) and total.calls


@pytest.mark.parametrize("target", GPUS)
def test_atomics(target: str) -> None:
    e = atomics_kernel.explain(INT, INT, INT, 200, BLOCK=64, target=target)
    old, ticket, most = (at(e, code, "atomic") for code in ("old = ", "ticket = ", "atomic_max"))
    assert "The others get the old value through threadgroup memory." in said(old) and old.facts["barriers"] >= 1
    assert "The mask `at < n`" in said(old) and "at most 64 updates" in said(old)
    assert "The first thread of the program does it." in said(ticket)
    assert "Groups of 4 elements go to one address" in said(most)


@pytest.mark.parametrize("target", GPUS)
def test_barriers_of_device_memory_name_what_is_waited_for(target: str) -> None:
    e = barrier_kernel.explain(FLOAT, FLOAT, BLOCK=1024, target=target)
    store = at(e, "tl.store(out_ptr", "store")
    assert f"what another thread accessed at explained_kernels.py:{store.line}." in said(at(e, "back = tl.load", "load"))
    assert e.totals.facts["barriers"] == 1


# ---- the whole ------------------------------------------------------------------------------------------------------


def launches() -> Iterator[Any]:
    for entry in entries():
        for case in [c for c in entry.cases if all(a.size for a in c.build(mx.float32) if isinstance(a, mx.array))][1::4]:
            yield pytest.param(entry, case, id=f"{entry.name}-{case.name}")


LAUNCHES = list(launches())


@pytest.mark.parametrize(("entry", "case"), LAUNCHES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_op_of_the_catalog_is_explained(entry: CatalogEntry, case: Any, target: str) -> None:
    args = case.build(mx.bfloat16)
    kernel, call = launch_of(lambda: entry.call(*args, **case.kwargs))
    compiled = kernel.compile(*call.arguments, target=target, **call.keywords)
    e = kernel.explain(*call.arguments, target=target, grid=call.grid, **call.keywords)
    text = str(e)
    names = [op.name.partition("_")[0] for op in parse(compiled.tile_ir, REGISTRY).walk()]
    wanted = [n for n in names if n in ("load", "store", "atomic", "reduce", "scan", "dot")]
    told = [x.kind for x in e.entries if x.kind != "convert"]
    assert sorted(told) == sorted(wanted)
    for x in e.entries:
        assert x.title not in ("left out", UNRECORDED), f"{x}: write a low.decided(...) where the lowering takes this decision"
        assert f"{x.file.rpartition('/')[2]}:{x.line}  " in text and x.title and x.words
        place = f"{x.file.rpartition('/')[2]}:{x.line}  "
        assert x.text and x.text.startswith(text[text.index(place) + len(place) :][:20].split("\n")[0])
    check_totals(e, compiled.source)


def check_totals(e: Explanation, source: str) -> None:
    """The totals are those of the text that is compiled."""
    facts = e.totals.facts
    if e.target == "cpu":
        assert facts["simd_loops"] == source.count("#pragma omp simd")
        assert facts["vector_loops"] == source.count("zm_for(")
        assert sum(x.facts.get("path") == "host" for x in e.entries) == source.count("zm_dot<")
        assert any("transposed" in w for x in e.entries if x.kind == "dot" for w in x.words) == ("zm_transpose<" in source)
        return
    body = source[source.rindex('extern "C"') if e.target == "cuda" else 0 :]
    assert facts["barriers"] == len(re.findall(r"threadgroup_barrier\(|__syncthreads\(", body))
    exchanged = sum(x.facts.get("barriers", 0) for x in e.entries)
    waits = sum("A barrier stands before it" in w for x in e.entries for w in x.words)
    assert exchanged + waits <= facts["barriers"]
    shared = re.search(r"zm_shared_words\[(\d+)\]|zm_shared\[(\d+)\]", body)
    if shared is None:
        assert facts["shared_bytes"] == 0 or "extern __shared__" in body
    else:
        assert facts["shared_bytes"] == (16 * int(shared[1]) if shared[1] else -(-int(shared[2]) // 16) * 16)
    widths = {int(w) for w in re.findall(r"zm_v(?:load|store)(?:_shifted)?<(\d+)", body)}
    for kind in ("load", "store"):
        assert any(x.facts.get("shifted") for x in e.entries if x.kind == kind) == (f"zm_v{kind}_shifted<" in body)
    assert {x.facts["width"] for x in e.entries if x.facts.get("width", 1) > 1 and not x.facts.get("copied")} <= widths
    assert any(x.facts.get("copied") for x in e.entries) == ("zm_copy_async16" in body)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("kernel", "args", "constants"),
    [
        (scans_kernel, (FLOAT, FLOAT), {"BLOCK": 2048}),
        (ragged_kernel, (HALF, HALF, HALF, 1001), {"BLOCK": 1024}),
        (running_kernel, (FLOAT, FLOAT, 4096), {"BLOCK": 1024}),
        (masked_kernel, (BYTES, BYTES, 1000), {"BLOCK": 1024}),
        (masked_kernel, (FLOAT, FLOAT, 1000), {"BLOCK": 1024}),
        (summed_kernel, (FLOAT, FLOAT, FLOAT, 5), {"N": 32}),
        (dot_kernel, (HALF, HALF, FLOAT), {"M": 32, "N": 64, "K": 16}),
        (atomics_kernel, (INT, INT, INT, 200), {"BLOCK": 256}),
        (barrier_kernel, (FLOAT, FLOAT), {"BLOCK": 512}),
        (reductions_kernel, (FLOAT, FLOAT, FLOAT), {"R": 16, "C": 64}),
    ],
)
def test_totals_are_those_of_the_text(kernel: zmlx.JitFunction, args: tuple[Any, ...], constants: dict[str, int], target: str) -> None:
    check_totals(kernel.explain(*args, target=target, **constants), kernel.compile(*args, target=target, **constants).source)


@pytest.mark.parametrize("seed", range(6))
def test_random_kernels_are_explained(seed: int, tmp_path: Path) -> None:
    kernel = random_kernels.Kernel(random.Random(seed), f"random_{seed}", 12, True)
    module = random_kernels.module(random_kernels.PREAMBLE + kernel.text(), tmp_path, f"explained_{seed}")
    arrays = random_kernels.arrays(kernel, seed)
    given = arrays | random_kernels.scalars(seed)
    fn = traced(getattr(module, kernel.name), given, {n: dt.BY_SHORT[n[2:]] for n in arrays})[0]
    for target in map(target_of, TARGETS):
        record = Record()
        try:
            compiled = compile_function(clone_function(fn), target, 4, record=record)
        except TargetError:
            continue  # waits for other programs, or takes more than the target has
        e = explain(record, compiled, target)
        assert not [x for x in e.entries if x.title == UNRECORDED] and str(e)
        check_totals(e, compiled.source)


def test_explaining_changes_no_text_and_reads_no_cache() -> None:
    spec = (FLOAT, FLOAT, 1000)
    before = tiny_kernel.compile(*spec, BLOCK=1024, target="metal").source
    assert tiny_kernel.explain(*spec, BLOCK=1024, target="metal").entries  # although it has been compiled
    tiny_kernel._compiled.clear()
    assert tiny_kernel.compile(*spec, BLOCK=1024, target="metal").source == before


def test_the_same_words_of_a_line_are_said_once() -> None:
    e = repeated_kernel.explain(FLOAT, FLOAT, BLOCK=1024, target="metal")
    loads = [x for x in e.entries if x.kind == "load"]
    assert len(loads) == 2 and loads[0].line == loads[1].line and loads[0].calls != loads[1].calls
    assert str(e).count("load: ") == 1
    first, second = (x.calls[0] for x in loads)
    assert f"Called from {first}, {second}." in str(e)


def test_traffic_of_a_grid() -> None:
    e = tiny_kernel.explain(FLOAT, FLOAT, 4096, BLOCK=1024, target="metal", grid=lambda a: (a["n"] // a["BLOCK"],))
    assert e.totals.facts["programs"] == 4 and e.totals.facts["grid_bytes_read"] == 4 * 4096
    assert "4 programs: at most 16 KiB read and 16 KiB written, before caches." in str(e)


def test_registers_and_occupancy() -> None:
    facts = tiny_kernel.explain(FLOAT, FLOAT, 4096, BLOCK=1024, target="cuda").totals.facts
    assert 0 < facts["occupancy"] <= 1 and facts["programs_per_core"] >= 1
    large = scans_kernel.explain(FLOAT, FLOAT, BLOCK=16384, num_warps=1, target="cuda")
    assert large.totals.facts["tile_registers"] >= 512 and "smaller tiles" in " ".join(large.totals.words)
    assert "of stack" in str(scans_kernel.explain(FLOAT, FLOAT, BLOCK=1024, target="cpu"))
    assert "of scratch memory" in str(scans_kernel.explain(FLOAT, FLOAT, BLOCK=16384, target="cpu"))


@pytest.mark.skipif(toolchain.nvrtc_path() is None, reason="needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")
def test_cudas_own_registers_and_spills() -> None:
    facts = tiny_kernel.explain(FLOAT, FLOAT, 4096, BLOCK=1024, target="cuda").totals.facts
    assert 8 <= facts["registers"] <= 64 and facts["local_bytes"] == 0 and not facts["estimated"]
    large = scans_kernel.explain(FLOAT, FLOAT, BLOCK=16384, num_warps=1, target="cuda")
    assert large.totals.facts["local_bytes"] > 0 and "use smaller tiles or more warps" in " ".join(large.totals.words)


def test_json_holds_everything() -> None:
    e = scans_kernel.explain(FLOAT, FLOAT, BLOCK=2048, target="metal")
    data = json.loads(e.to_json())
    assert data["kernel"] == "scans_kernel" and data["target"] == "metal" and data["threads"] == 128
    assert [x["title"] for x in data["entries"]] == [x.title for x in e.entries]
    assert data["totals"]["facts"]["barriers"] == e.totals.facts["barriers"]
    line = e.entries[0].line
    assert e.at(line) == tuple(x for x in e.entries if x.line == line)


def test_a_parameter_with_the_name_of_an_option_receives_it() -> None:
    assert option_kernel.explain(FLOAT, num_warps=2, target="metal").entries[0].facts["shape"] == [128]
    assert option_kernel.compile(FLOAT, num_warps=8, target="cuda").threads == 256


def test_what_cannot_be_explained_is_refused() -> None:
    with pytest.raises(ArgumentError, match="give target='metal'"):
        tiny_kernel.explain(FLOAT, FLOAT, 1000, BLOCK=1024, target="interpret")
    with pytest.raises(ArgumentError, match="BLOCK"):
        tiny_kernel.explain(FLOAT, FLOAT, 1000)
    with pytest.raises(ShapeError):
        tiny_kernel.explain(FLOAT, FLOAT, 1000, BLOCK=1000, target="metal")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = "catalog/norm/softmax.py:softmax_kernel"
    args = [x for spec in ("x_ptr=f16[4096]", "out_ptr=f16[4096]", "n_cols=1000", "BLOCK=1024") for x in ("--arg", spec)]
    assert main(["explain", kernel, *args]) == 0
    assert "16 bytes a thread at once (8 × float16)" in capsys.readouterr().out
    assert main(["explain", kernel, "--target", "cpu", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["target"] == "cpu" and data["totals"]["facts"]["programs"] == 1
    assert main(["explain", kernel, "--grid", "many"]) == 2
    assert "--grid 8,4" in capsys.readouterr().err
