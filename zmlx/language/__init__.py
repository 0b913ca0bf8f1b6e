"""`import zmlx.language as tl`: everything that a kernel may name.

The functions are the builtins of `zmlx.intrinsics` and the device functions of `zmlx.library`; the dtypes are those of
`zmlx.dtypes`. `METHODS` and `ATTRIBUTES` say what tensors have in kernels (`x.to(…)`, `x.shape`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zmlx.dtypes import DType as dtype
from zmlx.intrinsics import BUILTINS, METHODS, PropagateNan, constexpr, math, pointer_type, range, static_range
from zmlx.intrinsics.core import DTYPES
from zmlx.ir.core import Value as tensor
from zmlx.language import extra
from zmlx.library import LIBRARY
from zmlx.ops.coerce import TileBuilder

__all__ = ["PropagateNan", "constexpr", "dtype", "extra", "math", "pointer_type", "range", "static_range", "tensor"]
__all__ += [*DTYPES, *BUILTINS, *LIBRARY]  # noqa: PLE0604
globals().update(DTYPES | BUILTINS | LIBRARY)
METHODS |= {"softmax": LIBRARY["softmax"]}

# What tensors have besides methods: name -> (builder, value) -> Python constant or Value.
ATTRIBUTES: dict[str, Callable[[TileBuilder, Any], object]] = {
    "shape": lambda b, v: v.shape,
    "dtype": lambda b, v: v.type.elem,
    "type": lambda b, v: v.type,
    "numel": lambda b, v: v.type.size,
    "T": lambda b, v: BUILTINS["trans"].fn(b, v),
}

_POINTERS = "use a tile of pointers and a mask: tl.load(ptr + offsets, mask=offsets < n)"
# Names of Triton's language that zmlx lacks, and what to write instead.
MISSING: dict[str, str] = {
    "make_block_ptr": _POINTERS,
    "advance": "add to the pointers: ptrs += step",
    "make_tensor_descriptor": _POINTERS,
    "load_tensor_descriptor": _POINTERS,
    "store_tensor_descriptor": _POINTERS,
    "dot_scaled": "scale the operands, then tl.dot",
    "inline_asm_elementwise": "write it with tl functions: they run on every target",
    "gather": "load with computed pointers: tl.load(ptr + indices)",
    "histogram": "use tl.atomic_add on an array of counts",
    "sort": "tl has no sort yet: sort with mx.sort around the kernel",
    "topk": "tl has no topk yet: use tl.max(x, axis, return_indices=True) in a loop",
    "float8e4nv": "store as uint8: tl has no 8-bit floats yet",
    "float8e5": "store as uint8: tl has no 8-bit floats yet",
    "float8e4b15": "store as uint8: tl has no 8-bit floats yet",
    "block_type": "name shape and dtype apart: x.shape, x.dtype",
    "max_int": "write the number, or tl.full",
}


def remedy_for(name: str, of_tensor: bool = False) -> str:
    """What to write instead of a `tl` name (or a tensor's method or attribute) that does not exist."""
    if not of_tensor and name in MISSING:
        return MISSING[name]
    if of_tensor and name in BUILTINS:
        return f"it is a function: tl.{name}(x, …)"
    known = sorted([*METHODS, *ATTRIBUTES] if of_tensor else __all__)
    prefix = "x." if of_tensor else "tl."
    close = difflib.get_close_matches(name, known, 3, 0.6)
    if close:
        return "did you mean " + " or ".join(prefix + c for c in close) + "?"
    return "docs/language.md lists what there is"


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
