"""A traced kernel to a target's text: passes, lowering, legalisation, printing."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from zmlx import knobs
from zmlx.dtypes import DType
from zmlx.errors import InternalCompilerError, ResourceError, ZmlxError
from zmlx.ir.core import Function, Value, clone_function
from zmlx.ir.types import Pointer, Type
from zmlx.ir.verifier import verify
from zmlx.passes.pipeline import optimize
from zmlx.simt import fuse, split
from zmlx.simt.decisions import Record
from zmlx.simt.lower import lower
from zmlx.targets.c_text import RESERVED
from zmlx.targets.compiled import Compiled, LineMap, ParamInfo
from zmlx.targets.cuda import STATIC_SHARED, CudaPrinter
from zmlx.targets.host import HostPrinter
from zmlx.targets.legalize import legalize
from zmlx.targets.metal import MetalPrinter
from zmlx.targets.spin import refuse_spinning
from zmlx.targets.target import Target

ACCESSES = frozenset({"reads", "writes", "atomic"})
PRELUDE = Path(__file__).with_name("prelude")


@cache
def prelude(name: str) -> str:
    """The text of a prelude file."""
    return (PRELUDE / name).read_text()


def compile_function(
    fn: Function,
    target: Target,
    num_warps: int = 4,
    inout: frozenset[str] = frozenset(),
    ir_texts: bool = True,
    num_stages: int | None = None,
    record: Record | None = None,
) -> Compiled:
    """Compiles a traced kernel; `inout` names the written arrays whose old content must survive.

    ir_texts: whether to print the IRs too, which a launch has no use for; without them `fn` itself is optimised in place.
    num_stages: iterations of a loop whose loads are in flight together, where the loop itself does not say; None: the target's.
    record: receives the IRs themselves and what the lowering decided.
    Raises a CompilationError for what the target cannot do. Anything else is a bug of zmlx: InternalCompilerError.
    """
    try:
        return _compile(fn, target, num_warps, inout, ir_texts, num_stages, record)
    except ZmlxError:
        raise
    except Exception as error:
        raise InternalCompilerError(
            f"compiling {fn.name} for {target.name} failed with {type(error).__name__}: {error}\n"
            f"This is a bug of zmlx: please report it with the kernel's source and this Tile IR:\n\n{fn}"
        ) from error


def _compile(
    fn: Function,
    target: Target,
    num_warps: int,
    inout: frozenset[str],
    ir_texts: bool,
    num_stages: int | None,
    record: Record | None,
) -> Compiled:
    tile = optimize(clone_function(fn) if ir_texts or target.name == "interpret" else fn)
    effects = _effects(tile)
    if "spin" in target.refuse:
        refuse_spinning(tile, target)
    tile_ir = str(tile) if ir_texts or target.name == "interpret" else ""
    entry = "zm_" + re.sub(r"\W", "_", fn.name)
    params = _params(tile, effects)
    inout = inout & {p.name for p in params if p.writes}
    if target.name == "interpret":
        return Compiled(target.name, entry, tile_ir, tile_ir, "", num_warps, 1, 0, 0, params)
    if target.is_simt and num_warps > target.max_warps:
        raise ResourceError(f"num_warps={num_warps} is more than the {target.max_warps} of a {target.name} program", "use fewer warps")
    simt = lower(tile, target, num_warps, num_stages, record)
    if not target.is_simt:
        fuse.run(simt)
        split.run(simt)
    legalize(simt, target)
    if record is not None:
        record.tile, record.simt = tile, simt
    if knobs.VERIFY.get() == "1":
        verify(simt)
    arrays, scalars, token = calling_order(params, inout)
    if len(arrays) + token + (bool(scalars) and target.dialect == "metal") > target.max_buffers:
        raise ResourceError(
            f"the kernel takes {len(arrays)} arrays; {target.name} binds at most {target.max_buffers} buffers, the scalars' one included",
            "pass fewer arrays: stack some with mx.stack and index them",
        )
    simt_ir = str(simt) if ir_texts else ""
    printer = _PRINTERS[target.dialect](simt, target)
    header = ""
    if isinstance(printer, CudaPrinter):
        used = {op.name for op in simt.walk()}
        headers = ["cuda.h", "cuda_vector.h", *(["cuda_mma.h"] if "mma" in used else []), *(["cuda_bulk.h"] if "bulk_map" in used else [])]
        source = printer.text(arrays, scalars, token, "".join(map(prelude, headers)), entry)
    elif isinstance(printer, MetalPrinter):
        headers = ["metal.h", "metal_vector.h", *_matrix_headers(simt)]
        source, header = printer.text(arrays, scalars, inout), "".join(map(prelude, headers))
    else:
        assert isinstance(printer, HostPrinter)
        source = printer.text(list(params), '#include "host.h"\n', '#include "host_debug.h"\n', entry)
    if printer.shared_bytes > target.shared_bytes:
        raise ResourceError(
            f"the kernel needs {printer.shared_bytes} bytes of threadgroup memory, {target.name} has {target.shared_bytes}",
            "use smaller tiles, or more warps for reductions over small tiles",
        )
    dynamic = printer.shared_bytes if target.name == "cuda" and printer.shared_bytes > STATIC_SHARED else 0
    threads = simt.attrs["threads"]
    return Compiled(
        target.name, entry, source, tile_ir, simt_ir, simt.attrs["num_warps"], threads, dynamic, printer.scratch_bytes, params, header,
        tuple(sorted(inout)), LineMap.of(printer.where) if target.maps_lines else LineMap(),
        isinstance(printer, HostPrinter) and printer.debug, printer.workspace_bytes if isinstance(printer, CudaPrinter) else 0,
    )  # fmt: skip


def _matrix_headers(simt: Function) -> list[str]:
    """What Metal's matrix instructions need: each part only where it is used, as older systems lack what the others include."""
    used = {op.name for op in simt.walk()} & {"fragment_mac", "tensor_mac"}
    kinds = [file for name, file in (("fragment_mac", "metal_matrix.h"), ("tensor_mac", "metal_tensor.h")) if name in used]
    return ["metal_stage.h", *kinds] if kinds else []


_PRINTERS = {"cuda": CudaPrinter, "metal": MetalPrinter, "host": HostPrinter}


def calling_order(params: tuple[ParamInfo, ...], inout: frozenset[str]) -> tuple[list[ParamInfo], list[ParamInfo], bool]:
    """Arrays as a GPU kernel takes them (read only, in-out, fresh), scalars, and whether a token stands in for outputs."""
    arrays = [p for p in params if p.is_array]
    read = [p for p in arrays if not p.writes]
    kept = [p for p in arrays if p.writes and p.name in inout]
    fresh = [p for p in arrays if p.writes and p.name not in inout]
    return read + kept + fresh, [p for p in params if not p.is_array], not fresh


def _params(fn: Function, effects: dict[str, set[str]]) -> tuple[ParamInfo, ...]:
    out, word, taken = [], 0, set(RESERVED)
    for p in fn.params:
        t = p.value.type
        assert isinstance(t, Type)
        symbol = re.sub(r"\W", "_", p.name)
        while symbol in taken or symbol.startswith("zm_"):
            symbol = "u_" + symbol if symbol.startswith("zm_") else symbol + "_"
        taken.add(symbol)
        if isinstance(t.elem, Pointer):
            kinds = effects.get(p.name, set())
            out.append(ParamInfo(p.name, symbol, t.elem.elem.name, True, "reads" in kinds, "writes" in kinds, "atomic" in kinds))
        else:
            assert isinstance(t.elem, DType)
            out.append(ParamInfo(p.name, symbol, t.elem.name, False, word=word))
            word += 2 if t.elem.bits == 64 else 1
    return tuple(out)


def _effects(fn: Function) -> dict[str, set[str]]:
    """What a kernel does to each array parameter: some of reads, writes, atomic."""
    names = {p.value: p.name for p in fn.params}
    sources: dict[Value, set[Value]] = {p.value: {p.value} for p in fn.params if isinstance(p.value.type, Type) and p.value.type.is_pointer}
    everything = set(sources)

    def origin(v: Value) -> set[Value]:
        return sources.get(v, everything)

    ops = list(fn.walk())
    changed = True
    while changed:  # loop carries need a second round
        changed = False
        for op in ops:
            flows: list[tuple[Value, list[Value]]] = []
            if op.regions and "structured" in op.traits:
                n = len(op.results)
                inits = op.operands[len(op.operands) - n :] if op.name != "if" else []
                ends = [r.terminator.operands for r in op.regions if len(r.terminator.operands) == n]
                for i, result in enumerate(op.results):
                    flows.append((result, [*(x[i] for x in ends), *inits[i : i + 1]]))
                    if op.name != "if":
                        flows += [(r.args[len(r.args) - n + i], [inits[i], *(x[i] for x in ends)]) for r in op.regions]
            elif op.results and "reads" not in op.traits:
                pointers = [r for r in op.results if r.type.is_pointer]  # type: ignore[union-attr]
                flows = [(r, [v for v in op.operands if v.type.is_pointer]) for r in pointers]  # type: ignore[union-attr]
            for result, inputs in flows:
                if not isinstance(result.type, Type) or not result.type.is_pointer:
                    continue
                known = [sources[v] for v in inputs if v in sources]
                new = set().union(*known) if known else everything if op.name == "bitcast" else set()
                if new and not new <= sources.get(result, set()):
                    sources[result] = sources.get(result, set()) | new
                    changed = True
    effects: dict[str, set[str]] = {}
    for op in ops:
        for trait in ACCESSES & op.traits:
            for root in origin(op.operands[0]):
                effects.setdefault(names[root], set()).add(trait)
    return effects
