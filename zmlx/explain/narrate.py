"""A compilation's record to an Explanation: one entry for each op that a user would ask about, and the totals."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from zmlx.errors import Loc
from zmlx.explain import accesses, exchanges, resources
from zmlx.explain.accesses import Said
from zmlx.explain.layouts import amount, count
from zmlx.explain.places import chain, line, short
from zmlx.explain.report import Entry, Explanation, Totals
from zmlx.explain.scene import Scene
from zmlx.simt.decisions import Record
from zmlx.targets.compiled import Compiled
from zmlx.targets.target import Target

_BY_OP = {
    "load": accesses.plain, "store": accesses.plain, "atomic_rmw": accesses.atomic, "atomic_cas": accesses.atomic,
    "reduce": exchanges.reduction, "scan": exchanges.reduction, "dot": exchanges.product,
}  # fmt: skip
_KIND = {"atomic_rmw": "atomic", "atomic_cas": "atomic"}


def explain(
    record: Record,
    compiled: Compiled,
    target: Target,
    numbers: Mapping[str, int] | None = None,
    grid: tuple[int, ...] | None = None,
    measured: Mapping[str, Any] | None = None,
) -> Explanation:
    """Puts a recorded compilation into words.

    numbers   values of integer parameters, from which the lengths of loops follow
    grid      programs of the launch that is meant, for its total traffic
    measured  registers and spills that the target's own compiler reports, as `resources.on_gpu` takes them
    """
    scene = Scene(record, target, compiled.num_warps, numbers)
    conversions = [d for d in record.decisions if d.kind == "convert"]
    entries = []
    for op in scene.tile.walk():
        if op.name in _BY_OP:
            entries.append(_entry(_KIND.get(op.name, op.name), op.loc, _BY_OP[op.name](scene, op)))
        mine = [d for d in conversions if d.facts["value"] in op.results]
        entries += [_entry("convert", op.loc, exchanges.conversion(scene, d)) for d in mine]
    for d in conversions:
        if d.op is None:  # a value that a loop carries
            entries.append(_entry("convert", d.loc, exchanges.conversion(scene, d)))
    words, facts = resources.on_gpu(scene, measured) if target.is_simt else resources.on_host(scene, compiled.scratch_bytes)
    told, moved = _traffic(scene, grid)
    fn = scene.tile
    return Explanation(fn.name, target.name, compiled.num_warps, compiled.threads, tuple(entries), Totals((*words, *told), facts | moved))


def _entry(kind: str, loc: Loc | None, said: Said) -> Entry:
    title, words, remedy, facts = said
    if loc is None:
        return Entry(kind, "", 0, "", title, tuple(words), remedy, (), facts)
    calls = tuple(f"{short(p)} in {p.function}" for p in chain(loc)[1:])
    return Entry(kind, loc.file, loc.line, line(loc), title, tuple(words), remedy, calls, facts)


def _traffic(scene: Scene, grid: tuple[int, ...] | None) -> tuple[list[str], dict[str, Any]]:
    """Bytes that a program (and the grid) reads and writes."""
    totals, open_ended = {"read": 0, "written": 0}, False
    for op in scene.tile.walk():
        if not op.has("reads") and not op.has("writes"):
            continue
        moved = accesses.traffic(scene, op)
        open_ended |= moved["trips"] is None
        for trait, key in (("reads", "read"), ("writes", "written")):
            if op.has(trait) and moved["trips"] is not None:
                totals[key] += moved["bytes"] * moved["trips"]
    facts: dict[str, Any] = {"bytes_read": totals["read"], "bytes_written": totals["written"], "traffic_is_whole": not open_ended}
    if open_ended and not any(totals.values()):
        return ["What a program moves depends on loops whose length is only known when it runs."], facts
    beside = "; loops whose length is only known when it runs are not counted" if open_ended else ""
    words = [f"A program reads at most {amount(totals['read'])} and writes at most {amount(totals['written'])}{beside}."]
    if grid is not None:
        programs = prod(grid)
        facts |= {"programs": programs, "grid_bytes_read": programs * totals["read"], "grid_bytes_written": programs * totals["written"]}
        read, written = (amount(programs * totals[key]) for key in ("read", "written"))
        words.append(f"{count(programs, 'program')}: at most {read} read and {written} written, before caches.")
    return words, facts
