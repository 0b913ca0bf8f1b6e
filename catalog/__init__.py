"""Kernels ready to use on MLX arrays, each with its reference, its cases and its configs in one file.

    from zmlx.catalog.norm.rms_norm import rms_norm

A catalog file holds the `@zmlx.jit` kernels, a small function that chooses their configuration from the shape, the
wrapper on arrays, the reference in plain MLX, and an `ENTRY` from which tests, benchmarks and docs are generated.
"""

from __future__ import annotations

if __name__ != "zmlx.catalog":
    raise ImportError("the folder catalog/ is the package zmlx.catalog: install zmlx (pip install -e .) and import zmlx.catalog")

from zmlx.catalog.entry import Case, Entry, entries

__all__ = ["Case", "Entry", "entries"]
