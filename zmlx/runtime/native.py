"""The optional native extension (`pip install ./native`): primitives that MLX's stock wheel does not offer.

Without it zmlx works on: CPU launches are then eager. An extension built for another MLX is said once, by a warning.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

from zmlx import knobs
from zmlx.errors import NativeWarning


@functools.lru_cache(maxsize=1)
def _load() -> Any:
    try:
        import zmlx_native
    except ModuleNotFoundError as e:
        if e.name != "zmlx_native":
            warnings.warn(f"zmlx-native is installed but not used: {e}", NativeWarning, stacklevel=2)
        return None
    except ImportError as e:
        warnings.warn(f"zmlx-native is installed but not used, so CPU launches are eager: {e}", NativeWarning, stacklevel=2)
        return None
    return zmlx_native


def extension() -> Any:
    """The module zmlx_native, or None: not installed, not fitting, or turned off by ZMLX_NATIVE=0."""
    return _load() if knobs.NATIVE.get() != "0" else None
