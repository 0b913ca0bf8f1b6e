"""Reductions, scans, products and changes of layout in words: what threads do alone, and what they exchange and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx import knobs
from zmlx.explain.accesses import Said
from zmlx.explain.layouts import amount, bases, count, shape, size, spread
from zmlx.explain.places import line, quote, short
from zmlx.explain.scene import Scene
from zmlx.explain.walks import vector_loops
from zmlx.ir.core import Op, Value
from zmlx.simt import dot_metal, fragments, tensor
from zmlx.simt.decisions import Decision
from zmlx.simt.layout import Layout
from zmlx.simt.shared import element_bytes
from zmlx.targets.target import Target

# The ways of a product, by the word with which the lowering records the one it took.
PATHS = {
    "tensor": ("tensor cores", "The operands lie in threadgroup memory as the tensor cores read them, the result stays in registers."),
    "simdgroup": ("simdgroup matrices", "Simdgroups multiply 8 × 8 pieces of the operands, the result stays in registers."),
    "tensor_ops": ("tensor operations of Metal 4",
                   "Simdgroups multiply 16 × 16 by 16 × 32 pieces of the operands, the result stays in registers."),
    "staged": ("plain multiply-adds",
               "Pieces of both operands pass through threadgroup memory; each thread sums its own rows and columns, fused."),
    "host": ("blocks in vector registers",
             "Both operands become arrays of the result's type, row by row; a block of the result stays in vector registers while it is "
             "summed, from k = 0 upwards."),
    "plain": ("plain loops", "A loop over the columns, which the C++ compiler is told to vectorise, inside loops over rows and depth."),
}  # fmt: skip


# Why an operand, or (side None) a product with all of them, is not fetched an iteration ahead, by the lowering's word.
_LATE = {
    "asked": "num_stages=1 is asked for",
    "memory": "two halves of what is staged do not fit into threadgroup memory, or only in pieces with more barriers than now",
    "others": "two halves do not fit into threadgroup memory beside the kernel's other exchanges",
    "registers": f"it would take more than {dot_metal.MOST_FETCHED} bytes of each thread's registers (num_stages=2 asks for it)",
    "plain": "another product of the loop has no piece that fits into threadgroup memory",
    "written": "the loop may write what it is loaded from",
    "carried": "its address, mask or value is only known when the iteration before has run",
    "kept": "other uses in the loop keep it in registers",
    "computed": "it is computed from what the iteration itself makes",
    "scalar": "it is computed with a scalar that the loop loads",
}

# Barriers that no data waits for, by the word with which the lowering records them.
_REUSED = {
    "readers": "; the first lets earlier readers of the same threadgroup memory finish",
    "iteration": "; the last lets readers finish before another iteration writes the same threadgroup memory",
}


def along(layout: Layout, axis: int) -> tuple[int, int, int]:
    """How many elements of an axis a thread's registers, the lanes and the warps hold."""
    who = [w for _, w in bases(layout, axis)]
    return 1 << who.count("register"), 1 << who.count("lane"), 1 << who.count("warp")


def reduction(scene: Scene, op: Op) -> Said:
    """A reduction or a scan."""
    dims = op.operands[0].shape
    axis = op.attrs["axis"] % len(dims)
    found = scene.decided(op, op.name)
    if not found:
        return scene.missing(op)
    layout = found[0].facts["layout"]
    what = f"{_combine(op)} of {shape(dims)} {_kinds(op.operands)}" + (f" along axis {axis}" if len(dims) > 1 else "")
    if not scene.target.is_simt:
        facts = {"axis": axis, "barriers": 0, "shuffles": 0, "shared_bytes": 0, "shape": list(dims)}
        return f"{what}, by one thread", _host_words(scene, op, layout, axis), "", facts
    registers, lanes, warps = along(layout, axis)
    sliced = layout.slice(axis)
    steps = lanes.bit_length() - 1
    shuffles = steps * sliced.registers * len(op.operands)
    each = f", for each of its {sliced.registers} results" if sliced.registers > 1 else ""
    words, nbytes, remedy = [], 0, ""
    if registers > 1:
        words.append(f"Each thread {'folds' if op.name == 'reduce' else 'scans'} its {registers} elements in registers{each}.")
    if lanes > 1:
        words.append(f"{lanes} lanes of a warp exchange results in {count(steps, 'step')} ({count(shuffles, 'shuffle')} a thread).")
    if warps > 1:
        nbytes = sum(-(-warps * size(sliced.shape) * element_bytes(v.type.elem) // 16) * 16 for v in op.operands)
        words.append(f"{warps} warps exchange results through {amount(nbytes)} of threadgroup memory.")
    elif lanes > 1:
        words.append("It stays within one warp, so no threadgroup memory is needed.")
    else:
        words.append("No thread needs another's elements.")
    barriers = scene.barriers[op]
    words.append(_barriers(scene, op, found[0].facts.get("group", [op]) if warps > 1 else [op]))
    if op.name == "reduce" and warps > 1 and scene.loops[op]:
        remedy = "where the loop only accumulates, add up whole tiles in it, element by element, and reduce once behind it"
    words.append(f"Tile {shape(dims)}: {spread(layout)}.")
    if op.attrs.get("reverse"):
        words.append("Reverse: the same on the tile walked from its end.")
    path = [p for p, there in (("registers", registers > 1), ("shuffles", lanes > 1), ("threadgroup memory", warps > 1)) if there]
    facts = {
        "axis": axis, "registers": registers, "lanes": lanes, "warps": warps, "shuffles": shuffles, "shared_bytes": nbytes,
        "barriers": barriers, "shape": list(dims),
    }  # fmt: skip
    return what + (": " + ", ".join(path) if path else ""), words, remedy, facts


def _barriers(scene: Scene, op: Op, group: Sequence[Op]) -> str:
    """Those of a reduction or scan. group: the reductions that meet at the same ones; the first of them has them."""
    barriers, first = scene.barriers[op], group[0]
    if first is not op:
        where = f" at {short(first.loc)}" if first.loc is not None else ""
        return f"No barrier of its own: it meets at that of the reduction{where}."
    if not barriers:
        return "No barrier."
    why = [text for word, text in _REUSED.items() if word in scene.reused[op]]
    others = ", ".join(dict.fromkeys(short(o.loc) for o in group[1:] if o.loc is not None))
    shared = f" It serves {count(len(group) - 1, 'more reduction')} ({others})." if len(group) > 1 else ""
    return f"{count(barriers, 'barrier')}{_each_time(scene, op)}{''.join(why)}.{shared}"


def _combine(op: Op) -> str:
    """What a reduction or scan computes, where that is one operation."""
    ops = [o.name for o in op.regions[0].ops if not o.has("terminator")]
    names = {"add": "sum", "mul": "product"}
    return names.get(ops[0], ops[0]) if len(ops) == 1 else "combination"


def _kinds(values: Sequence[Value]) -> str:
    return " and ".join(dict.fromkeys(v.type.dtype.name for v in values))  # type: ignore[union-attr]


def _each_time(scene: Scene, op: Op) -> str:
    trips, unknown = scene.trips(op)
    if unknown:
        return " in each iteration of the loop around it"
    return f", {trips} times" if trips > 1 else ""


def _host_words(scene: Scene, op: Op, layout: Layout, axis: int) -> list[str]:
    inner = axis == len(layout.shape) - 1
    if op.name == "scan":
        if inner:
            return ["One element after the other: each needs the one before."]
        return [f"Along axis {axis} one after the other, the elements of the last axis side by side."]
    code = [x for x in scene.code(op, "set") if x.loops and x.loops[-1].attrs.get("kind") == "simd"]
    if not code:
        return ["In one loop, element after element."]
    longest = max((x.loops[-1] for x in code), key=lambda loop: len(loop.regions[0].ops))  # the others start and end it
    how = vector_loops(scene, [x for x in code if x.loops[-1] is longest]).words
    parts = [x.op.results[0] for x in scene.code(op, "alloc") if x.op.results[0].name == "part"]
    if parts:
        lanes = parts[0].type.size
        return [f"{lanes} partial results are kept side by side and folded at the end: so the loop is vectorised, and "
                "floats are added in an order that does not depend on the compiler.", *how]  # fmt: skip
    return [f"The results lie side by side: the loop over them is vectorised, and axis {axis} is walked outside it.", *how]


def product(scene: Scene, op: Op) -> Said:
    """A tile product."""
    a, b, _ = op.operands
    found = scene.decided(op, "dot")
    if not found:
        return scene.missing(op)
    decided = found[0].facts
    path = str(decided["path"])
    title, how = PATHS.get(path, (path, ""))
    kinds = f"{a.type.dtype.name} → {op.results[0].type.dtype.name}"  # type: ignore[union-attr]
    (m, k), n = a.shape, b.shape[1]
    words = [how] if how else []
    shared = sum(_bytes(x.op.results[0]) for x in scene.code(op, "alloc") if x.op.attrs["space"] == "shared")
    barriers, remedy = scene.barriers[op], ""
    if path == "staged":
        reason = _no_matrix_units(op, scene.target)
        words += [f"Not on matrix units because {reason[0]}."] if reason else []
        remedy = reason[1] if reason else ""
    if scene.target.is_simt:
        rows, columns = decided.get("warps", (1, 1))
        why = decided.get("no_tensor") if path == "simdgroup" else None
        words += [f"Not by tensor operations of Metal 4: {why}."] if why else []
        words += [f"The warps share the result {rows} × {columns}."] if rows * columns > 1 else []
        words += ["The left operand is multiplied from the registers that hold it."] if decided.get("registers") else []
        on_metal = path in ("simdgroup", "tensor_ops")
        if on_metal:
            sides = " and the ".join(("left", "right")[side] for side in decided["staged"])
            depth = f", {decided['piece']} of {k} along the sum at a time" if decided["piece"] < k else ""
            words.append(f"Through threadgroup memory: the {sides} operand{'s' * (len(decided['staged']) > 1)}{depth}." if sides
                         else "The lanes take both operands where they are: in registers, or from device memory.")  # fmt: skip
            columns = " and the ".join(("left", "right")[side] for side in decided["turned"])
            words += [f"Lanes take the {columns} operand{'s' * (len(decided['turned']) > 1)} by columns, as memory has it, and the "
                      "instruction transposes."] if columns else []  # fmt: skip
            words += _in_halves(scene, op, decided)
            shared += decided["held_bytes"]
        words.append(f"Result {m} × {n}: {spread(decided['layout'])}.")
        already = "No threadgroup memory." if on_metal else "Its operands are in threadgroup memory already."
        words.append(f"{amount(shared)} of threadgroup memory, {count(barriers, 'barrier')} each time." if shared or barriers else already)
    else:
        turned = len(scene.code(op, "tile_transpose"))
        if turned:
            words.append(f"{count(turned, 'operand')} read column after column, as memory has it, and then transposed.")
        words += ["The carried tile is added to where it is."] if decided["in_place"] else []
    stages = scene.stages(op)
    if stages is not None and stages.facts["ahead"]:
        words.append(f"The loop around it keeps {stages.facts['stages']} iterations of operands in flight, with one barrier each.")
    words.append(f"{2 * m * n * k:,} operations{_each_time(scene, op)}.")
    facts = {"path": path, "m": m, "n": n, "k": k, "shared_bytes": shared, "barriers": barriers}
    if path in ("simdgroup", "tensor_ops"):
        facts |= {"halves": decided["halves"], "ahead": bool(decided["early"])}
    return f"{m} × {k} by {k} × {n}, {kinds}: {title}", words, remedy, facts


def _in_halves(scene: Scene, op: Op, decided: Mapping[str, Any]) -> list[str]:
    """What is fetched while a simdgroup multiplies, and why something is not."""
    words = []
    if decided["early"]:
        sides = " and the ".join(("left", "right")[side] for side in decided["early"])
        words.append(f"The loop fetches the next iteration's {sides} operand{'s' * (len(decided['early']) > 1)} into registers before it "
                     "multiplies, and writes to the other of two halves of threadgroup memory behind that.")  # fmt: skip
    if decided["fixed"]:
        side = ("left", "right")[decided["fixed"][0]]
        words.append(f"The {side} operand is written there once, before the loop, which does not change it.")
    if decided["piece"] < op.operands[0].shape[1]:
        words.append("While one piece is multiplied the next is fetched into registers; threadgroup memory holds both."
                     if decided["halves"] == 2 else "One piece after the other: nothing is fetched while one is multiplied.")  # fmt: skip
    for late in scene.decided(op, "late"):
        side, why = late.facts["side"], _LATE[late.facts["why"]]
        if side is None:
            words.append(f"Nothing is fetched ahead because {why}.")
        elif side in decided["staged"]:
            words.append(f"The {('left', 'right')[side]} operand is not fetched an iteration ahead because {why}.")
    return list(dict.fromkeys(words))


def _no_matrix_units(op: Op, target: Target) -> tuple[str, str] | None:
    """Why a product does not run on a GPU's matrix units, and what would let it; None for a target that has none."""
    if target.matrix:
        return _no_fragments(op)
    if target.dialect != "cuda":
        return None
    (m, k), n = op.operands[0].shape, op.operands[1].shape[1]
    elem = op.operands[0].type.dtype  # type: ignore[union-attr]
    if knobs.plain_dot():
        return f"{knobs.DOT.name}=plain is set", f"unset {knobs.DOT.name}"
    if elem not in tensor.ELEMENTS:
        return f"there are none for {elem.name}", "use float32 or a half type"
    if elem is dt.float32 and op.attrs.get("input_precision") == "ieee":
        return "input_precision='ieee' asks for float32 products", "use input_precision='tf32x3' (nearly as exact), 'tf32', or a half type"
    if (m + n) * k * elem.itemsize > tensor.MOST_BYTES:
        return f"the operands take more than {amount(tensor.MOST_BYTES)} of threadgroup memory", "use smaller tiles"
    least = f"use at least 16 rows, 8 columns, and {32 // elem.itemsize} along the axis that is summed"
    return f"{m} × {k} by {k} × {n} is too small for one", least


def _no_fragments(op: Op) -> tuple[str, str]:
    """The same for simdgroup matrices."""
    (m, k), n = op.operands[0].shape, op.operands[1].shape[1]
    elem = op.operands[0].type.dtype  # type: ignore[union-attr]
    if knobs.plain_dot():
        return f"{knobs.DOT.name}=plain is set", f"unset {knobs.DOT.name}"
    most = fragments.ELEMENTS.get(elem)
    if most is not None and k > most:
        return f"sums of {k} products of {elem.name} are not exact there", f"use at most {most} along the axis that is summed"
    if min(m, n, k) < fragments.SIMDGROUP.size:
        return f"{m} × {k} by {k} × {n} is too small for one", f"use at least {fragments.SIMDGROUP.size} of each"
    return "no piece of the operands fits into threadgroup memory", "use smaller tiles"


def _bytes(array: Value) -> int:
    return array.type.size * element_bytes(array.type.elem)


def conversion(scene: Scene, decision: Decision) -> Said:
    """A kept tile that moves between threads because a user needs another layout."""
    value, barriers = decision.facts["value"], decision.facts["barriers"]
    nbytes = value.type.size * element_bytes(value.type.elem)
    words = [f"It was: {spread(decision.facts['home'])}.", f"It becomes: {spread(decision.facts['layout'])}.",
             f"{amount(nbytes)} pass through threadgroup memory, with {count(barriers, 'barrier')}."]  # fmt: skip
    if decision.loc is not None:
        words.append(f"What needs it so is at {short(decision.loc)}: `{line(decision.loc)}`.")
    title = f"{quote(value)} ({shape(value.shape)}, {amount(nbytes)}) changes hands between threads"
    return title, words, "", {"bytes": nbytes, "barriers": barriers, "shape": list(value.shape)}
