"""What a compiled kernel is: texts and facts, no code of the compiler. A warm launch imports this and nothing below it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """One run-time parameter of a kernel.

    symbol      its name in the generated text
    dtype_name  element type of an array, type of a scalar ("int1", "int32", "float32" …)
    reads       the kernel loads from it; writes: it stores to it; atomic: it updates it atomically
    word        a scalar's first 32-bit word in the packed buffer of the Metal target
    """

    name: str
    symbol: str
    dtype_name: str
    is_array: bool
    reads: bool = False
    writes: bool = False
    atomic: bool = False
    word: int = 0


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel compiled for one target, as text; what `kernel.compile(...)` returns.

    source          the generated text (MSL body, CUDA C++, host C++; Tile IR for the interpreter)
    header          text that precedes the kernel on Metal
    threads         threads of one program
    shared_bytes    dynamic shared memory of a launch; scratch_bytes: memory of one host thread
    inout           written arrays whose old content the text carries over
    reports         the kernel prints or asserts
    """

    target: str
    entry: str
    source: str
    tile_ir: str
    simt_ir: str
    num_warps: int
    threads: int
    shared_bytes: int
    scratch_bytes: int
    params: tuple[ParamInfo, ...]
    header: str = ""
    inout: tuple[str, ...] = ()
    reports: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> Compiled:
        """Raises ValueError, KeyError or TypeError for what `to_json` did not write."""
        data = json.loads(text)
        data["params"] = tuple(ParamInfo(**p) for p in data["params"])
        data["inout"] = tuple(data["inout"])
        return Compiled(**{f.name: data[f.name] for f in fields(Compiled)})
