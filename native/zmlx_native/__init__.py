"""Native MLX primitives for zmlx. Importing fails, with the reason, where they do not fit the installed MLX.

HostLaunch(kernel, run, roles, dtypes, threads)  a compiled CPU kernel, ready to be put into MLX's graph
clear_kept()                                     gives large buffers that are kept for outputs back; returns their bytes
"""

import mlx.core as _mx  # registers MLX's types before _ext looks for them

from . import _ext
from ._ext import HostLaunch, built_for, clear_kept

_found = _mx.__version__.split("+")[0]
if _found != built_for:
    raise ImportError(f"zmlx-native was built for MLX {built_for}, and MLX {_found} is installed; build it again: pip install ./native")
if _ext.probe(_mx.array([1, 2])) != 2:
    raise ImportError("zmlx-native and MLX do not understand each other's arrays; build it again: pip install ./native")

__all__ = ["HostLaunch", "built_for", "clear_kept"]
