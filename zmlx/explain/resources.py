"""What a program takes as a whole: barriers, threadgroup memory, registers, and how many programs a core then holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zmlx.explain.layouts import amount, count
from zmlx.explain.scene import Scene
from zmlx.ir.core import Block, Value
from zmlx.ir.types import ArrayType
from zmlx.simt.shared import element_bytes
from zmlx.targets.host import STACK_ARRAY
from zmlx.targets.target import Target

# Registers a thread takes for addresses, indices and expressions beside its tiles: for the catalog's kernels NVRTC 12.9
# takes 12 more than the tiles in the middle, and 32 at the most.
BESIDES = 16


@dataclass(frozen=True)
class Core:
    """What one core (CUDA: multiprocessor) offers the programs that run on it at the same time.

    warps, programs  at most so many
    registers        of 32 bits, in all; a warp takes them in units of `unit`
    most             registers a thread can have
    shared           bytes of threadgroup memory in all; each program costs `reserved` more than it uses
    """

    name: str
    warps: int
    programs: int
    registers: int
    unit: int
    most: int
    shared: int
    reserved: int


# CUDA C++ Programming Guide, technical specifications by compute capability, 9.0. Apple publishes no such table.
CORES = {"cuda": Core("compute capability 9.0", 64, 32, 64 * 1024, 256, 255, 228 * 1024, 1024)}


def registers(array: Value) -> int:
    """32-bit registers of an array that the C++ compiler keeps in registers."""
    t = array.type
    assert isinstance(t, ArrayType)
    return -(-t.size * max(8, t.elem.bits) // 32)


def title(array: Value) -> str:
    """An array's name, or the line it belongs to."""
    loc = array.op.loc if array.op is not None else None
    return array.name or (f"line {loc.line}" if loc is not None else "unnamed")


class _Lives:
    """First and last mention of every array of one thread; what is mentioned in a loop that does not hold it lives to its end."""

    def __init__(self, body: Block) -> None:
        self.first: dict[Value, int] = {}
        self.last: dict[Value, int] = {}
        self.clock = 0
        self.block(body)

    def block(self, block: Block) -> set[Value]:
        """The arrays from outside that a block mentions."""
        mentioned: set[Value] = set()
        made = {op.results[0] for op in block.ops if op.name == "alloc"}
        for op in block.ops:
            self.clock += 1
            start = self.clock
            arrays = {v for v in op.operands if isinstance(v.type, ArrayType) and v.type.space == "register"}
            for region in op.regions:
                arrays |= self.block(region)
            self.clock += 1
            for v in arrays:
                self.first[v] = min(self.first.get(v, start), start)
                self.last[v] = self.clock
            mentioned |= arrays
        return mentioned - made


def peak(body: Block) -> tuple[int, list[Value]]:
    """The most registers that arrays take at one time, and the arrays of that time, largest first."""
    lives = _Lives(body)
    best: tuple[int, list[Value]] = (0, [])
    for now in sorted(set(lives.first.values())):
        alive = [v for v in lives.first if lives.first[v] <= now <= lives.last[v]]
        total = sum(map(registers, alive))
        if total > best[0]:
            best = total, sorted(alive, key=registers, reverse=True)
    return best


def shared_bytes(scene: Scene) -> int:
    """Threadgroup memory of a program."""
    arrays = [op for op in scene.simt.walk() if op.name == "alloc" and op.attrs["space"] == "shared"]
    ends = [op.attrs["offset"] + op.attrs["size"] * element_bytes(op.results[0].type.elem) for op in arrays]
    return -(-max(ends, default=0) // 16) * 16


def resident(core: Core, target: Target, num_warps: int, each: int, shared: int) -> tuple[int, str]:
    """Programs that one core holds at the same time, and what limits them; each: registers a thread."""
    a_warp = -(-each * target.lanes // core.unit) * core.unit
    limits = [(core.warps // num_warps, "the number of warps"), (core.programs, "the number of programs"),
              (core.registers // (a_warp * num_warps), "registers")]  # fmt: skip
    if shared:
        limits.append((core.shared // (shared + core.reserved), "threadgroup memory"))
    return min(limits, key=lambda x: x[0])


def on_gpu(scene: Scene, measured: Mapping[str, Any] | None) -> tuple[list[str], dict[str, Any]]:
    """Barriers, threadgroup memory, registers, occupancy.

    measured: what CUDA's own compiler says: "registers" and "local_bytes" of a thread, "arch".
    """
    inside = [x for group in scene.emitted.values() for x in group if x.op.name == "barrier"]
    looped = sum(any(o.name != "loop" or o.attrs["kind"] == "serial" for o in x.loops) for x in inside)
    words = [f"{count(len(inside), 'barrier')}" + (f", {looped} of them in loops." if looped else ".") if inside else "No barriers."]
    shared, target = shared_bytes(scene), scene.target
    words.append(f"{amount(shared)} of threadgroup memory, of {amount(target.shared_bytes)}." if shared else "No threadgroup memory.")
    kept, arrays = peak(scene.simt.body)
    largest = ", ".join(f"{title(v)} {registers(v)}" for v in arrays[:4])
    words.append(f"Tiles take at most about {count(kept, 'register')} of a thread at a time ({largest})." if arrays else "No tile is kept.")
    facts: dict[str, Any] = {"barriers": len(inside), "shared_bytes": shared, "tile_registers": kept}
    core = CORES.get(target.name)
    if core is None:
        if kept > 128:
            words.append("So many registers leave a core few programs at a time: use smaller tiles or more warps.")
        return words, facts
    if measured:
        each, local = measured["registers"], measured["local_bytes"]
        facts |= measured
        rest = f"keeps {amount(local)} of its tiles in memory: use smaller tiles or more warps" if local else "spills nothing to memory"
        words.append(f"CUDA's compiler ({measured['arch']}) gives a thread {count(each, 'register')}, and {rest}.")
    else:
        each = min(kept + BESIDES, core.most)
        if kept + BESIDES > core.most:
            words.append(f"That is more than the {core.most} that a thread can have: some go to memory. Use smaller tiles or more warps.")
    programs, limit = resident(core, target, scene.num_warps, each, shared)
    share = programs * scene.num_warps / core.warps
    about = "" if measured else f"at an estimated {each} registers a thread, "
    text = f"{about}a core ({core.name}) holds {count(programs, 'program')} at a time, {share:.0%} of its {core.warps} warps"
    words.append(f"{text[0].upper()}{text[1:]}; the limit is {limit}.")
    facts |= {"programs_per_core": programs, "occupancy": share, "limit": limit, "estimated": not measured}
    return words, facts


def on_host(scene: Scene, scratch: int) -> tuple[list[str], dict[str, Any]]:
    """Vectorised loops and arrays of a program. scratch: bytes of the arrays that are too large for the stack."""
    loops = [op for op in scene.simt.walk() if op.name == "loop"]
    wide = sum(map(scene.wide, loops))
    simd = sum(op.attrs["kind"] == "simd" for op in loops) - wide
    arrays = [op.results[0] for op in scene.simt.walk() if op.name == "alloc"]
    sizes = {v: v.type.size * element_bytes(v.type.elem) for v in arrays}
    stack = sum(n for n in sizes.values() if n <= STACK_ARRAY)
    lines = sorted(
        {op.loc.line for op in loops if op.attrs["kind"] == "simd" and not scene.wide(op) and op.loc is not None and op.loc.caller is None}
    )
    where = f" (line{'s' * (len(lines) > 1)} {', '.join(map(str, lines))})" if lines else ""
    others = len(loops) - simd - wide
    told = f"{count(len(loops), 'loop')} over elements: {wide} over vectors, {simd} left to the C++ compiler to vectorise{where}, "
    told += f"{others} not vectorised."
    words = [told if loops else "No loop over elements."]
    if arrays:
        largest = ", ".join(f"{title(v)} {amount(sizes[v])}" for v in sorted(arrays, key=lambda v: -sizes[v])[:4])
        words.append(f"{count(len(arrays), 'array')} of tiles and partial results ({largest}).")
        heap = f", and {amount(scratch)} of scratch memory for arrays above {amount(STACK_ARRAY)}" if scratch else ""
        words.append(f"{amount(stack)} of stack at the most{heap}.")
    else:
        words.append("No tile is kept.")
    return words, {"vector_loops": wide, "simd_loops": simd, "other_loops": others, "stack_bytes": stack, "scratch_bytes": scratch}
