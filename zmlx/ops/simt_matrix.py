"""Ops of the SIMT IR on matrices that a simdgroup holds (`simt/fragments.py` has the places of their elements).

A lane's part of a matrix is neighbouring elements of a register array, from a multiple of their number on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import DtypeError
from zmlx.ir.types import ArrayType, Type
from zmlx.ops.registry import define
from zmlx.ops.typing import none

I32 = Type(dt.int32)


def _fragment_mac(types: Sequence[Any], attrs: Mapping[str, Any], regions: Any) -> tuple[Any, ...]:
    arrays, indices = types[::2], types[1::2]
    if not all(isinstance(t, ArrayType) and t.size >= 2 for t in arrays) or any(t != I32 for t in indices):
        raise DtypeError(f"fragment_mac takes three register arrays, an int32 after each, got {', '.join(map(str, types))}")
    d, a, b = (t.elem for t in arrays)
    if d is not dt.float32 or a is not b or a not in (dt.float16, dt.bfloat16, dt.float32, dt.int8, dt.uint8):
        raise DtypeError(f"fragment_mac adds products of floats or of bytes to float32, got {d}, {a} and {b}")
    return ()


def _tensor_mac(types: Sequence[Any], attrs: Mapping[str, Any], regions: Any) -> tuple[Any, ...]:
    arrays, indices = types[::2], types[1::2]
    if not all(isinstance(t, ArrayType) for t in arrays) or any(t != I32 for t in indices):
        raise DtypeError(f"tensor_mac takes three register arrays, an int32 after each, got {', '.join(map(str, types))}")
    if any(t.size < least for t, least in zip(arrays, (16, 8, 16), strict=True)):
        raise DtypeError(f"tensor_mac takes 16, 8 and 16 registers, got {', '.join(map(str, arrays))}")
    d, a, b = (t.elem for t in arrays)
    if d is not dt.float32 or a is not b or a not in (dt.float16, dt.bfloat16, dt.float32):
        raise DtypeError(f"tensor_mac adds products of floats to float32, got {d}, {a} and {b}")
    return ()


# d[i : i + 2] += the product of the fragments a[j : j + 2] and b[k : k + 2]; all lanes of the simdgroup take part.
fragment_mac = define(
    "fragment_mac", ("d", "i", "a", "j", "b", "k"), _fragment_mac, traits="effect",
    spell={"metal": "zm_fragment_mac({0} + {1}, {2} + {3}, {4} + {5})"},
)  # fmt: skip
# d[i : i + 16] += the product of a[j : j + 8], 16×16, and b[k : k + 16], 16×32; left, right: 1 where each 16×16 part of that
# operand is held transposed. All lanes of the simdgroup take part.
tensor_mac = define(
    "tensor_mac", ("d", "i", "a", "j", "b", "k"), _tensor_mac, attrs=("left", "right"), traits="effect",
    spell={"metal": "zm_tensor_mac<{left}, {right}>({0} + {1}, {2} + {3}, {4} + {5})"},
)  # fmt: skip
# Nothing is moved across it: it orders a simdgroup's work, not its memory.
fragment_fence = define(
    "fragment_fence", (), none(0), traits="effect", spell={"metal": "simdgroup_barrier(metal::mem_flags::mem_none)"}
)  # fmt: skip
