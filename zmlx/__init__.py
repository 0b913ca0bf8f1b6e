"""GPU kernels for MLX, written in Python with Triton's semantics.

import mlx.core as mx, zmlx, zmlx.language as tl

@zmlx.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) + tl.load(y_ptr + at, mask=at < n), mask=at < n)

out = add_kernel[(zmlx.cdiv(n, 1024),)](x, y, zmlx.empty_like(x), n, BLOCK=1024)
"""

from zmlx import errors, language
from zmlx.runtime import device as _device
from zmlx.runtime.autotuner import Autotuner, autotune
from zmlx.runtime.configs import Config
from zmlx.runtime.device import default_target, use_target
from zmlx.runtime.fresh import empty, empty_like, full, strides, zeros
from zmlx.runtime.heuristics import Heuristics, heuristics
from zmlx.runtime.jit import JitFunction, jit
from zmlx.runtime.signature import ArraySpec

__version__ = "0.11.0"

# The function hides the package zmlx.targets, so it takes the name after the package has been imported (by the launcher).
targets = _device.targets


def cdiv(a: int, b: int) -> int:
    """a / b rounded up, for positive ints: how many blocks of b cover a."""
    return -(-a // b)


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is not below n; 1 for n < 1."""
    return 1 << (n - 1).bit_length() if n > 1 else 1


__all__ = [
    "ArraySpec",
    "Autotuner",
    "Config",
    "Heuristics",
    "JitFunction",
    "__version__",
    "autotune",
    "cdiv",
    "default_target",
    "empty",
    "empty_like",
    "errors",
    "full",
    "heuristics",
    "jit",
    "language",
    "next_power_of_2",
    "strides",
    "targets",
    "use_target",
    "zeros",
]
