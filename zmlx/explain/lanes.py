"""How the lanes of a warp meet memory in one access, and why a thread moves no more at once than it does."""

from __future__ import annotations

from zmlx.explain.layouts import amount, count, shape, size
from zmlx.explain.reasons import Reason
from zmlx.explain.scene import Scene
from zmlx.ir.core import Value
from zmlx.passes.axis_info import AxisInfo
from zmlx.simt.layout import Layout

LINE = 32  # bytes: the least that memory delivers


def pieces(info: AxisInfo, layout: Layout, width: int) -> tuple[int, int]:
    """(number, elements) of the separate runs of memory that the lanes of a warp touch in one access; at most, at least."""
    runs: dict[tuple[int, ...], set[int]] = {}
    for lane in range(1 << len(layout.lane)):
        groups, offset = [], 0
        for c, run, equal in zip(layout.at(0, lane, 0), info.contiguity, info.constancy, strict=True):
            groups.append(c // (run if run > 1 else equal))
            offset += c % run if run > 1 else 0
        runs.setdefault(tuple(groups), set()).update(range(offset, offset + width))
    lengths = []
    for offsets in runs.values():
        ordered = sorted(offsets)
        starts = [i for i, x in enumerate(ordered) if i == 0 or ordered[i - 1] != x - 1]
        lengths += [b - a for a, b in zip(starts, [*starts[1:], len(ordered)], strict=True)]
    return len(lengths), min(lengths)


def sharing(info: AxisInfo, layout: Layout, width: int, item: int) -> tuple[str, bool]:
    """How the lanes share what memory delivers, and whether much of it goes unused."""
    if all(not any(b) for b in layout.lane):
        return "all lanes of a warp touch the same element", False
    n, elements = pieces(info, layout, width)
    if n == 1:
        return f"the lanes of a warp touch one run of {amount(elements * item)} of memory at a time", False
    text = f"the lanes of a warp touch up to {n} separate pieces of {amount(elements * item)} at a time"
    if elements * item >= LINE:
        return text, False
    whole = max(map(min, info.contiguity, layout.shape)) * item  # a program's threads touch all of its tile
    if whole >= LINE:
        return f"{text}, which over the whole tile make up runs of {amount(whole)}: caches serve most of them", False
    return f"{text}, for each of which memory delivers a whole line ({LINE} bytes or more)", True


def narrow(scene: Scene, pointer: Value, layout: Layout, width: int, item: int) -> Reason | None:
    """Why a thread moves fewer bytes at once than the target can; None where it moves as many."""
    most = scene.target.vector_bytes // item
    if width >= most:
        return None
    info, dims = scene.axes[pointer], layout.shape
    dim = max(reversed(range(len(dims))), key=lambda d: info.contiguity[d])
    if info.contiguity[dim] == 1:
        dim = max((d for d in range(len(dims)) if dims[d] > 1), default=len(dims) - 1)
        return scene.reasons.why(pointer, dim, min(most, dims[dim]))
    if layout.flip[dim]:
        return Reason("reverse", f"axis {dim} is walked from its end", "")
    if layout.registers == 1:
        return _few(scene, dims, most, 1)
    last = len(dims) - 1
    if layout.reg[0][dim] != 1 and dim != last:
        return Reason("layout", f"memory's neighbours lie along axis {dim}, while lanes and registers walk axis {last} first",
                      "build the tile with the contiguous axis last, and tl.trans it behind the load (before the store)")  # fmt: skip
    bits = 0
    while bits < len(layout.reg) and layout.reg[bits][dim] == 1 << bits:
        bits += 1
    each = 1 << bits
    if info.contiguity[dim] < min(each, most) or (each < most and info.contiguity[dim] == each and dims[dim] > each):
        return scene.reasons.why(pointer, dim, min(2 * info.contiguity[dim], dims[dim]))
    if width == 1 and each > 1:
        return Reason("walk", "what uses the tile walks the elements of a thread in another order than memory's")
    if each == layout.registers:
        return _few(scene, dims, most, each)
    if each == 1:
        axis = next((d for d in range(len(dims)) if layout.reg[0][d]), dim)
        if axis == dim:
            apart = f"gives a thread elements that lie {layout.reg[0][dim]} apart"
            return Reason("layout", f"the layout of what makes or uses the tile {apart}")
        return Reason("layout", f"memory's neighbours lie along axis {dim}, but its use makes a thread hold neighbours along axis {axis}")
    return Reason("layout", f"the layout of what makes or uses the tile gives a thread only {count(each, 'neighbour')}")


def _few(scene: Scene, dims: tuple[int, ...], most: int, each: int) -> Reason:
    n, full = size(dims), scene.threads * most
    fewer = n // (scene.target.lanes * most)
    remedy = f"make the tile larger: from {full} elements on"
    if 1 <= fewer < scene.num_warps:
        remedy += f", or with num_warps={fewer},"
    remedy += f" each thread moves {scene.target.vector_bytes} bytes at once"
    few = f"a tile of {shape(dims)} gives each of {count(scene.threads, 'thread')} only {count(each, 'neighbour')}"
    return Reason("few", few, remedy)
