"""Ops of the SIMT IR for tile products: copies into shared memory, and products on matrix units (prelude/cuda_mma.h)."""

from __future__ import annotations

from zmlx import dtypes as dt
from zmlx.ir.types import Type
from zmlx.ops.registry import define
from zmlx.ops.typing import none

# Whether an address is a multiple of `bytes`.
is_aligned = define(
    "is_aligned", ("ptr",), lambda types, attrs, regions: (Type(dt.int1),), attrs=("bytes",), traits="pure cheap",
    spell={"cuda": "(unsigned long long){0} % {bytes} == 0"},
)  # fmt: skip
# 16 bytes of device memory to array[index …] in shared memory, some time before a `copies_wait` returns.
copy_async = define("copy_async", ("ptr", "array", "index"), none(3), traits="effect")
copies_commit = define("copies_commit", (), none(0), traits="effect", spell={"cuda": "zm_copies_commit()"})
# Until at most `count` groups of copies are under way; a barrier then shows them to all threads.
copies_wait = define("copies_wait", (), none(0), attrs=("count",), traits="effect", spell={"cuda": "zm_copies_wait<{count}>()"})
# The barriers of a ring of `stages` (zm_ring_…). do: make, end (of the ring); fill, filled, freed, free (of a
# stage); expect (`bytes` of a stage, which bulk copies bring). make takes whether they do, in the place of a stage.
ring = define("ring", ("ring", "stage?", "phase?"), lambda types, attrs, regions: (), attrs=("do", "stages", "bytes"), traits="effect")
# Whether this machine copies boxes of a matrix by itself, and here is room for what describes them (zm_bulk_…).
bulk_ready = define(
    "bulk_ready", (), lambda types, attrs, regions: (Type(dt.int1),), traits="pure", spell={"cuda": "zm_bulk_ready(zm_workspace)"}
)
# Describes map `number` of a program's `count`: a matrix at `base` of `columns` by `rows`, rows `stride` bytes apart, of which
# boxes of `box` rows will be copied. Warp 0 does so; array is shared memory that it may use until it has.
bulk_map = define(
    "bulk_map", ("base", "stride", "columns", "rows", "array"), none(5), attrs=("number", "count", "row_bytes", "box"), traits="effect"
)
# One thread: the box at (column, row) to array[index …]; the barrier of `stage` counts its bytes.
bulk_copy = define(
    "bulk_copy", ("column", "row", "array", "index", "ring", "stage"), none(6), attrs=("number", "count", "row_bytes", "box", "panels"),
    traits="effect",
)  # fmt: skip
# array[offset : offset + width] of this thread to shared[index …], at once.
put = define(
    "put", ("shared", "index", "array"), none(3), attrs=("width",), traits="effect",
    spell={"cuda": "zm_put<{width}>({0} + {1}, {2})", "metal": "zm_put<{width}>({0} + {1}, {2})"},
)  # fmt: skip
# The way back: shared[index …] to array[offset : offset + width].
take = define(
    "take", ("shared", "index", "array", "offset"), none(4), attrs=("width",), traits="effect",
    spell={"cuda": "zm_take<{width}>({2} + {3}, {0} + {1})", "metal": "zm_take<{width}>({2} + {3}, {0} + {1})"},
)  # fmt: skip
# What this thread has written to shared memory is seen by matrix units that read it on their own, after a barrier.
publish = define("publish", (), none(0), traits="effect", spell={"cuda": "zm_publish()"})
# acc += a @ b; a and b start at their indices. config: the template arguments of zm_mma.
mma = define("mma", ("acc", "a", "a_at", "b", "b_at", "lane"), none(6), attrs=("config",), traits="effect")
# Until at most `count` products are under way: before that, acc and the operands are not to be touched.
mma_wait = define("mma_wait", ("acc",), none(1), attrs=("count",), traits="effect", spell={"cuda": "zm_mma_wait<{count}>({0})"})
