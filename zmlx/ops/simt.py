"""Ops of the SIMT IR: what one thread does. Scalars use the elementwise records; arrays are the thread's or shared.

`for`, `while`, `if`, `load`, `store`, `atomic_*`, `program_id` and the elementwise ops appear with scalar operands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zmlx import dtypes as dt
from zmlx.errors import DtypeError
from zmlx.ir.types import ArrayType, Pointer, Type
from zmlx.ops.registry import define
from zmlx.ops.typing import none, same

I32 = Type(dt.int32)
Types = Sequence[Any]
Attrs = Mapping[str, Any]


def _alloc(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    elem = Pointer(attrs["pointee"]) if attrs.get("pointee") else attrs["type"]
    return (ArrayType(elem, attrs["size"], attrs["space"]),)


def _get(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    array, index = types
    if not isinstance(array, ArrayType) or index != I32:
        raise DtypeError(f"get takes an array and an int32, got {array} and {index}")
    return (Type(array.elem),)


def _set(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    array, index, value = types
    if not isinstance(array, ArrayType) or index != I32 or value != Type(array.elem):
        raise DtypeError(f"set takes an array, an int32 and an element, got {array}, {index} and {value}")
    return ()


def _loop(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    if [a.type for a in regions[0].args] != [I32]:
        raise DtypeError("the region of a loop takes an int32 index")
    return ()


def _thread(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    return (I32,)


def _shuffle(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    return (types[0],)


def _vector(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    pointer, array = types[:2]
    if not isinstance(array, ArrayType) or pointer != Type(Pointer(array.elem)):  # type: ignore[arg-type]
        raise DtypeError(f"a vector access takes a pointer and an array of its elements, got {pointer} and {array}")
    return ()


def _tile_dot(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    m, n, k = attrs["m"], attrs["n"], attrs["k"]
    sizes = [t.size for t in types if isinstance(t, ArrayType) and t.elem is types[0].elem]
    if sizes != [m * n, m * k, k * n]:
        raise DtypeError(f"tile_dot takes arrays of {m * n}, {m * k} and {k * n} elements of one type, got {', '.join(map(str, types))}")
    return ()


def _tile_transpose(types: Types, attrs: Attrs, regions: Any) -> tuple[Any, ...]:
    to, source = types
    if not isinstance(to, ArrayType) or to != source or to.size != attrs["rows"] * attrs["cols"]:
        raise DtypeError(f"tile_transpose takes two arrays of {attrs['rows'] * attrs['cols']} elements of one type, got {to} and {source}")
    return ()


# space: "register" (this thread's) or "shared" (the program's); pointee is set instead of type for arrays of pointers.
alloc = define("alloc", (), _alloc, attrs=("type", "size", "space", "pointee", "offset"), traits="effect")
get = define("get", ("array", "index"), _get)
set_ = define("set", ("array", "index", "value"), _set, traits="effect")
# Runs its region for index = start, start + 1 … end - 1: known numbers, or the operands where they are given. kind: "unroll"
# (GPU registers), "simd" (independent iterations that the C++ compiler may vectorise), "rolled" (seldom run: kept short) or "serial".
loop = define("loop", ("first?", "last?"), _loop, attrs=("start", "end", "kind"), traits="structured effect")
thread_id = define(
    "thread_id", (), _thread, traits="pure cheap", spell={"metal": "int(zm_thread)", "cuda": "int(threadIdx.x)", "host": "0"}
)
barrier = define(
    "barrier", (), none(0), attrs=("scope",), traits="effect barrier",
    spell={"cuda": "__syncthreads()", "host": ""},
)  # fmt: skip
shuffle_xor = define("shuffle_xor", ("x",), _shuffle, attrs=("mask",), spell={"c": "zm_shuffle_xor({0}, {mask})"}, traits="effect")
shuffle_up = define("shuffle_up", ("x",), _shuffle, attrs=("delta",), spell={"c": "zm_shuffle_up({0}, {delta})"}, traits="effect")
# Combines the values of all lanes by one instruction. kind: the name of the op that combines two.
reduce_lanes = define("reduce_lanes", ("x",), _shuffle, attrs=("kind",), spell={"cuda": "zm_reduce_{kind}({0})"}, traits="effect")
# `width` consecutive elements between memory and array[offset : offset + width]; where `shifted`, array[at : at + width],
# addresses that are not aligned to the vector's size are expected, and `first` and `last` say whether the aligned words that
# hold the first and the last element may be read. even: the address is a multiple of the vector's size if its array is.
vload = define(
    "vload", ("ptr", "array", "at?", "first?", "last?"), _vector, attrs=("offset", "width", "shifted", "even"), traits="reads effect"
)
vstore = define("vstore", ("ptr", "array"), _vector, attrs=("offset", "width", "even"), traits="writes effect")
# acc (m, n) += a (m, k) b (k, n), row-major arrays of one thread, by one call: the host's product of tiles.
tile_dot = define("tile_dot", ("acc", "a", "b"), _tile_dot, attrs=("m", "n", "k"), traits="effect")
# to (cols, rows) = the transpose of from (rows, cols), row-major arrays of one thread.
tile_transpose = define("tile_transpose", ("to", "from"), _tile_transpose, attrs=("rows", "cols"), traits="effect")
# Stores what forms aligned vectors together with the array of the lane before; the result has a bit for each element that
# was not stored. All lanes take part. `whole`: all elements of this lane are on; count: elements of a lane; lanes: how many
# follow each other in memory.
vstore_shifted = define("vstore_shifted", ("ptr", "array", "whole"), _thread, attrs=("count", "width", "lanes"), traits="writes effect")
# Elements from an address to the first that is aligned to `width` of them, modulo `width`.
to_aligned = define("to_aligned", ("ptr",), _thread, attrs=("width",), traits="pure", spell={"cuda": "zm_to_aligned<{width}>({0})"})
# x * y + z with one rounding where the hardware has it, else with two: for sums of products, whose order is free anyway.
mac = define(
    "mac", ("x", "y", "z"), same(3), numpy=lambda x, y, z: x * y + z, traits="elementwise pure",
    spell={"c": "{0} * {1} + {2}", ("host", "float"): "zm_mad({0}, {1}, {2})", ("cuda", "float32"): "fmaf({0}, {1}, {2})",
           ("cuda", "float64"): "fma({0}, {1}, {2})", ("metal", "float"): "metal::fma({0}, {1}, {2})"},
)  # fmt: skip
