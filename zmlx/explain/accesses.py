"""Loads, stores and atomics in words: how wide, how the lanes share memory's lines, what the mask does, how many bytes."""

from __future__ import annotations

from typing import Any

from zmlx.explain.lanes import narrow, sharing
from zmlx.explain.layouts import amount, copies, count, shape, size, spread
from zmlx.explain.places import quote, short
from zmlx.explain.reasons import Reason
from zmlx.explain.scene import Emitted, Scene
from zmlx.explain.walks import Over, vector_loops
from zmlx.ir.core import Op, Value
from zmlx.ir.types import Pointer
from zmlx.simt.decisions import Decision
from zmlx.targets import host_simd

UNTOLD = ("reverse", "wraps", "clamped", "divides", "chosen", "unknown")  # reasons behind which neighbours may well be neighbours
Said = tuple[str, list[str], str, dict[str, Any]]  # title, sentences, remedy, facts


def item(op: Op) -> int:
    """Bytes of an element behind an access's pointer."""
    elem = op.operands[0].type.elem
    assert isinstance(elem, Pointer)
    return elem.elem.itemsize


def kind_of(op: Op) -> str:
    """The element type behind an access's pointer, by name."""
    elem = op.operands[0].type.elem
    assert isinstance(elem, Pointer)
    return elem.elem.name


def mask_of(op: Op) -> Value | None:
    if op.name == "load":
        return op.operands[1] if len(op.operands) == 3 else None
    return op.operands[2] if len(op.operands) == 3 and op.name != "atomic_cas" else None


def plain(scene: Scene, op: Op) -> Said:
    """A load or store of a tile or a scalar."""
    dims = op.operands[0].shape
    if not dims:
        said = _scalar(scene, op)
    elif not (found := scene.decided(op, op.name)):
        said = scene.missing(op)
    elif scene.target.is_simt:
        said = _on_gpu(scene, op, found)
    else:
        said = _on_host(scene, op, found)
    title, words, remedy, facts = said
    if op.name == "load" and dims and facts["width"]:
        words += _kept(scene, op)
    words += _waits(scene, op)
    moved = traffic(scene, op)
    if facts["width"]:
        words.append(_traffic_words(scene, op, moved))
    return title, words, remedy, facts | moved | {"dtype": kind_of(op), "shape": list(dims)}


def _scalar(scene: Scene, op: Op) -> Said:
    if not scene.target.is_simt:
        return "one element", [], "", {"width": 1}
    if op.name == "store":
        return "one element", ["The first thread of the program writes it."], "", {"width": 1}
    return "one element", ["Every thread loads the same address, which memory answers once a warp."], "", {"width": 1}


def _on_gpu(scene: Scene, op: Op, found: list[Decision]) -> Said:
    pointer, each, words = op.operands[0], item(op), []
    worst = min(found, key=lambda d: d.facts["width"])
    layout, width = worst.facts["layout"], worst.facts["width"]
    reason = narrow(scene, pointer, layout, width, each)
    remedy = reason.remedy if reason else ""
    if width > 1:
        # Metal's packed vectors of 4-byte elements and what is put together from words need no test.
        anywhere = worst.facts.get("shifted") or (scene.target.dialect == "metal" and each >= 4)
        where = "at any address" if anywhere else "tested for alignment when it runs"
        title = f"{width * each} bytes a thread at once ({width} × {kind_of(op)}), {where}"
        if worst.facts.get("copied"):
            words.append("It is copied to threadgroup memory without passing through registers." + _early(scene, op))
        if worst.facts.get("shifted"):
            how = "each vector is put together from the two aligned words in which it lies"
            if op.name == "store":
                how = "whole aligned vectors are put together from the elements of two lanes; what is left at the ends goes one by one"
            words.append(f"Its addresses may be no multiples of {width * each} bytes: {how}.")
        if reason:
            words.append(f"No more than that because {reason.text}.")
    else:
        title = "element by element"
        if reason:
            words.append(f"Because {reason.text}.")
    shared, wasted = sharing(scene.axes[pointer], layout, width, each)
    if not reason or reason.kind not in UNTOLD:
        words.append(shared[0].upper() + shared[1:] + ".")
    words += _mask_words(scene, op, width, op.name == "load" and bool(worst.facts.get("shifted")))
    if rows := scene.decided(op, "rows"):
        words.append(f"{amount(rows[0].facts['bytes'])} pass through threadgroup memory first, so that each thread stores pieces of "
                     f"rows: {count(scene.barriers[op], 'barrier')}.")  # fmt: skip
    words.append(f"Tile {shape(layout.shape)}: {spread(layout)}.")
    others = sorted({d.facts["width"] for d in found} - {width})
    if others:
        words.append(f"Another use of it moves {' and '.join(str(w * each) for w in others)} bytes at once.")
    if copies(layout) > 1 and op.name == "load":
        words.append(f"Each element is loaded by {copies(layout)} threads; caches answer all but the first.")
    facts = {
        "width": width, "vector_bytes": width * each, "reason": reason.kind if reason else "", "registers": layout.registers,
        "copies": copies(layout), "scattered": wasted, "copied": bool(worst.facts.get("copied")),
        "shifted": any(d.facts.get("shifted") for d in found), "ahead": bool(scene.decided(op, "ahead")),
        "early": bool(scene.decided(op, "early")), "barriers": scene.barriers[op],
    }  # fmt: skip
    return title, words, remedy, facts


def _early(scene: Scene, op: Op) -> str:
    decision = scene.stages(op)
    if decision is None or op.results[0] not in decision.facts["ahead"]:
        return ""
    n = count(decision.facts["distance"], "iteration")
    words = f" The copy starts {n} before it is needed; threadgroup memory holds {decision.facts['stages']} of them."
    if decision.facts["bulk"]:
        return words + (
            " On Hopper one thread asks the copying hardware for the whole tile, where the matrix and its rows begin at multiples of 16"
            " bytes and the loop has 4 iterations or more; else all threads copy."
        )
    return words + f" All threads copy, 16 bytes at a time: {decision.facts['why']}."


def _mask_words(scene: Scene, op: Op, width: int, words: bool) -> list[str]:
    """words: whether the access loads aligned words."""
    mask = mask_of(op)
    if mask is None:
        return []
    text = quote(mask)
    if width == 1:
        return [f"The mask {text} is tested for each element."]
    found = next((d for d in scene.record.decisions if d.kind == "mask" and d.facts["mask"] is mask), None)
    if found is None:
        return []
    if found.facts["constant"]:
        return [f"The mask {text} is one and the same for a whole vector: one test decides."]
    if words:
        return [f"The mask {text} says of each word whether it is read; what lies behind the mask's end is replaced in registers."]
    if found.facts["prefix"]:
        return [
            f"The mask {text} lets whole vectors through: the last element is tested; only a vector that it cuts goes element by element."
        ]
    return [f"The mask {text} is tested for every element of a vector, which goes as one access only if all of them are on."]


def _on_host(scene: Scene, op: Op, found: list[Decision]) -> Said:
    worst = min(found, key=lambda d: d.facts["length"])
    length, code = worst.facts["length"], [x for x in scene.code(op, op.name) if x.loops]
    over = vector_loops(scene, code)
    reason, words = None, []
    if length:
        title = f"runs of {length} neighbours ({length} × {kind_of(op)})"
        words += over.words or ["The loop over them is not one that can be vectorised as a whole."]
    else:
        title = "element by element"
        reason = _why_on_host(scene, op, worst)
        words += [f"Because {reason.text}.", *over.words]
        if any(over.kinds.get(x.op.operands[0]) == host_simd.SCATTERED for x in code):
            title = "gathered into vectors"
            words.append("Lanes that read close neighbours are served by one load and a permutation, others one by one.")
    words += _host_mask_words(scene, op, code, over)
    facts = {"width": 1, "run": length, "simd": bool(over.words), "vectors": over.all, "reason": reason.kind if reason else ""}
    return title, words, reason.remedy if reason else "", facts


def _host_mask_words(scene: Scene, op: Op, code: list[Emitted], over: Over) -> list[str]:
    mask = mask_of(op)
    if mask is None or not code:
        return []
    masked = [x for x in code if len(x.op.operands) == len(op.operands)]
    at = 1 if op.name == "load" else 2
    if any(x.op.operands[at] in over.kinds for x in masked):
        how = "is tested for a whole vector at once: lanes on which it is off are not touched"
    elif masked and over.all:
        how = "is the same for a whole vector: one test decides"
    else:
        how = "is tested for each element"
    if len(masked) == len(code):
        return [f"The mask {quote(mask)} {how}."]
    rest = f"; where it ends, it {how}" if masked else ""
    return [f"The loop is cut where the mask {quote(mask)} ends, so that its first part has no mask{rest}."]


def _why_on_host(scene: Scene, op: Op, decision: Decision) -> Reason:
    """Why a loop does not walk neighbours in memory."""
    pointer, dims = op.operands[0], op.operands[0].shape
    dim = max((d for d in range(len(dims)) if dims[d] > 1), default=len(dims) - 1)
    if size(dims) == 1:
        return Reason("few", "the tile has one element")
    if not scene.reasons.counts(pointer, dim, dims[dim]):
        return scene.reasons.why(pointer, dim, dims[dim])
    layout, bits = decision.facts["layout"], decision.facts["bits"]
    inner = [d for b in bits[:1] if b < len(layout.reg) for d in range(len(dims)) if layout.reg[b][d]]
    if inner and inner[0] != dim:
        return Reason("layout", f"memory's neighbours lie along axis {dim}, but the loop of its use walks axis {inner[0]}")
    if layout.flip[dim]:
        return Reason("reverse", f"axis {dim} is walked from its end")
    return Reason("walk", "its use goes one element after the other")


def _kept(scene: Scene, op: Op) -> list[str]:
    """Whether what was loaded is kept for its uses, loaded again by each, or read in passing by the only one."""
    sinks = scene.sinks(op.results[0])
    lines = sorted({u.loc.line for u in sinks if u.loc is not None})
    where = f"line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))}"
    if scene.decided(op, "ahead"):
        return ["Loaded one iteration ahead, into registers, so that its latency passes beside an iteration's work; num_stages=1 leaves "
                "that out, and its registers."]  # fmt: skip
    if op.results[0] not in scene.plan.kept and scene.decided(op, "early"):
        return [f"Loaded early, where it is written, and kept in registers until {where} {'use' if len(lines) > 1 else 'uses'} it: its "
                "latency passes beside what lies between."]  # fmt: skip
    if op.results[0] in scene.plan.kept:
        place = "the threads' registers" if scene.target.is_simt else "an array of the program"
        inner = any(scene.loops[u] != scene.loops[op] for u in sinks)
        one = f"{where} uses it in a loop" if inner else f"memory may change before {where} uses it"
        why = f"{len(sinks)} uses ({where})" if len(sinks) > 1 else one
        return [f"Loaded once and kept in {place}: {why}."]
    if len(sinks) > 1:
        return [f"Loaded again by each of its {len(sinks)} uses ({where}), which the cache answers."]
    return []


def _waits(scene: Scene, op: Op) -> list[str]:
    """The accesses of device memory that this one had to wait for."""
    if not scene.decided(op, "wait"):
        return []
    pointer = scene.decided(op, "wait")[0].facts["pointer"]
    lines = [short(o.loc) for o in scene.tile.walk() if o.operands and o.operands[0] is pointer and o is not op and o.loc is not None]
    which = f" at {lines[0]}" if lines else ""
    return [f"A barrier stands before it: it may touch what another thread accessed{which}."]


def traffic(scene: Scene, op: Op) -> dict[str, Any]:
    """bytes: distinct bytes one run of the op touches, masks all on; trips: how often a program runs it (None: not known before)."""
    dims, info = op.operands[0].shape, scene.info(op)
    distinct = size(dims)
    if info is not None and dims:
        for n, equal in zip(dims, info.constancy, strict=True):
            distinct //= min(n, equal)
    trips, unknown = scene.trips(op)
    return {"bytes": distinct * item(op), "trips": None if unknown else trips}


def _traffic_words(scene: Scene, op: Op, moved: dict[str, Any]) -> str:
    verb, most = ("reads" if op.name == "load" else "writes"), ("at most " if mask_of(op) is not None else "")
    trips, unknown = scene.trips(op)
    if unknown:
        line = unknown[-1].loc.line if unknown[-1].loc is not None else 0
        return f"A program {verb} {most}{amount(moved['bytes'] * trips)} in each iteration of the loop at line {line}."
    times = f" ({amount(moved['bytes'])}, {trips} times)" if trips > 1 else ""
    return f"A program {verb} {most}{amount(moved['bytes'] * trips)}{times}."


def atomic(scene: Scene, op: Op) -> Said:
    """An atomic update."""
    dims, words = op.operands[0].shape, []
    if dims and scene.target.is_simt and not scene.decided(op, "atomic"):
        return scene.missing(op)
    name = f"atomic_{op.attrs.get('kind', 'cas')}"
    if not scene.target.is_simt:
        words.append("One after the other: atomics do not vectorise.")
        title = f"{name}, element by element"
    elif not dims:
        title, words = f"{name} of one element", ["The first thread of the program does it."]
    else:
        title = f"{name}, element by element"
        found = scene.decided(op, "atomic")
        layout = found[0].facts["layout"]
        words.append(f"Tile {shape(dims)}: {spread(layout)}.")
        if copies(layout) > 1:
            words.append("Of the threads that hold an element one does the update.")
            if found[0].facts["used"]:
                words.append("The others get the old value through threadgroup memory.")
        info = scene.info(op)
        if info is not None and any(c > 1 for c in info.constancy):
            words.append(f"Groups of {max(info.constancy)} elements go to one address, where they wait for each other: tl.sum them first, "
                         "and update once.")  # fmt: skip
    mask = mask_of(op)
    if mask is not None:
        words.append(f"The mask {quote(mask)} is tested for each element.")
    trips, unknown = scene.trips(op)
    most = "at most " if mask is not None else ""
    times = " in each iteration of the loop around it" if unknown else ""
    words.append(f"A program makes {most}{count(size(dims) * trips, 'update')}{times}.")
    if op.attrs.get("sem") and scene.target.is_simt:
        words.append(f"sem={op.attrs['sem']!r}: all threads of the program wait before and after it.")
    n = scene.barriers[op]
    if n:
        words.append(f"It takes {count(n, 'barrier')}.")
    moved = traffic(scene, op)
    return title, words, "", {"width": 1, "barriers": n, "dtype": kind_of(op), "shape": list(dims)} | moved
