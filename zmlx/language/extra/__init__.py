"""Where Triton's kernels look for libdevice: `from zmlx.language.extra import libdevice`."""

from zmlx.language.extra import libdevice

__all__ = ["libdevice"]
