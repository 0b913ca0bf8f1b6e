"""The libdevice names that public kernels use, as aliases of `tl` functions; the `fast_` ones are as precise as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zmlx.intrinsics import BUILTINS, Builtin

_SAME = (
    "exp exp2 expm1 log log2 log1p sin cos tan tanh erf sqrt rsqrt floor ceil trunc rint round abs pow fma copysign isnan isinf "
    "umulhi div_rn sqrt_rn"
)
_ALIASES = {
    "fast_expf": "exp", "fast_logf": "log", "fast_log2f": "log2", "fast_sinf": "sin", "fast_cosf": "cos", "fast_tanf": "tan",
    "fast_tanhf": "tanh", "fast_powf": "pow", "fast_dividef": "fdiv", "fabs": "abs", "fmax": "maximum", "fmin": "minimum",
    "mulhi": "umulhi", "isinfd": "isinf", "isnand": "isnan", "finitef": "isfinite", "nearbyint": "rint",
}  # fmt: skip
FUNCTIONS: dict[str, Builtin] = {n: BUILTINS[n] for n in _SAME.split()} | {a: BUILTINS[n] for a, n in _ALIASES.items()}
globals().update(FUNCTIONS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
