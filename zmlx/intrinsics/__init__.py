"""The builtins of the language, one file a theme. `zmlx.language` shows them to users; `zmlx.library` is written with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zmlx.intrinsics import core, dot, hints, math, memory, reduction, shape
from zmlx.intrinsics.builtin import METHODS, Builtin, builtin
from zmlx.intrinsics.markers import PropagateNan, constexpr, range, static_range

# Every builtin by its public name, in the order of the reference.
BUILTINS: dict[str, Builtin] = {
    f.name: f for module in (core, math, memory, reduction, shape, dot, hints) for f in vars(module).values() if isinstance(f, Builtin)
}
globals().update(BUILTINS)
globals().update(core.DTYPES)
pointer_type = core.pointer_type

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__all__ = ["BUILTINS", "METHODS", "Builtin", "PropagateNan", "builtin", "constexpr", "pointer_type", "range", "static_range"]
