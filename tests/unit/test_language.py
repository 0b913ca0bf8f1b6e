"""The builtins at the level of the IR: types, shapes, signatures, and every kind of error with its remedy."""

from __future__ import annotations

import re
from typing import Any

import pytest

import zmlx.language as tl
from zmlx import errors
from zmlx.dtypes import BY_SHORT
from zmlx.intrinsics import BUILTINS, METHODS, Builtin
from zmlx.intrinsics.math import RECORDS
from zmlx.ir.core import Block, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops import REGISTRY
from zmlx.ops.coerce import TileBuilder
from zmlx.ops.device import DeviceFunction, device_function


def tile(elem: str, *shape: int) -> Value:
    return Value(Type(Pointer(BY_SHORT[elem[1:]]) if elem[0] == "*" else BY_SHORT[elem], shape))


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Calls a builtin as the frontend does; combine functions are Python functions over the builder here."""
    b = TileBuilder(Block())
    b.inline = lambda fn, values: fn.fn(b, *values)
    return BUILTINS[name].invoke(b, args, kwargs)


def typed(result: Any) -> str:
    return " ".join(typed(r) for r in result) if isinstance(result, tuple) else str(result.type)


SUMS = {"i1": "u32", "i8": "i32", "i16": "i32", "i32": "i32", "i64": "i64", "u8": "u32", "u16": "u32", "u32": "u32", "u64": "u64",
        "f16": "f16", "bf16": "bf16", "f32": "f32", "f64": "f64"}  # fmt: skip
EXTREMA = {"i1": "i32", "i8": "i32", "i16": "i32", "i32": "i32", "i64": "i64", "u8": "i32", "u16": "i32", "u32": "u32", "u64": "u64",
           "f16": "f32", "bf16": "f32", "f32": "f32", "f64": "f64"}  # fmt: skip


@pytest.mark.parametrize("d", SUMS)
def test_reduced_types(d: str) -> None:
    x = tile(d, 4, 8)
    assert typed(call("sum", x, 1)) == f"4x{SUMS[d]}"
    assert typed(call("cumsum", x, 1)) == f"4x8x{SUMS[d]}"
    assert typed(call("cumprod", x)) == f"4x8x{d}"
    assert typed(call("sum", x, 0, dtype=tl.float32)) == "8xf32"
    for name in ("max", "min"):
        assert typed(call(name, x, 0)) == f"8x{EXTREMA[d]}"
        assert typed(call(name, x, 0, return_indices=True)) == f"8x{EXTREMA[d]} 8xi32"
        assert typed(call("arg" + name, x, 0)) == "8xi32"
    if d[0] in "iu":
        assert typed(call("xor_sum", x)) == d
    else:
        with pytest.raises(errors.DtypeError, match="takes integers"):
            call("xor_sum", x)


def test_axes() -> None:
    x = tile("f32", 2, 4, 8)
    assert typed(call("sum", x)) == "f32"
    assert typed(call("sum", x, keep_dims=True)) == "1x1x1xf32"
    assert typed(call("sum", x, -1)) == "2x4xf32"
    assert typed(call("sum", x, 1, keep_dims=True)) == "2x1x8xf32"
    assert typed(call("argmax", x, None)) == "i32"
    assert typed(call("argmax", x, None, keep_dims=True)) == "1x1x1xi32"
    assert typed(call("argmax", x, 2, keep_dims=True)) == "2x4x1xi32"
    assert typed(call("max", tile("f32", 8), 0)) == "f32"
    assert typed(call("max", tile("f32", 8), 0, keep_dims=True)) == "1xf32"
    assert call("cumsum", x, -1, reverse=True).op.attrs == {"axis": 2, "reverse": True}


def test_custom_combine() -> None:
    @device_function
    def both(b: TileBuilder, v1: Value, i1: Value, v2: Value, i2: Value) -> tuple[Value, ...]:
        return b.binary("add", v1, v2), b.binary("or", i1, i2)

    @device_function
    def add(b: TileBuilder, x: Value, y: Value) -> Value:
        return b.binary("add", x, y)

    @device_function
    def widening(b: TileBuilder, x: Value, y: Value) -> Value:
        return b.cast(x, tl.float32)

    pair = (tile("f32", 8), tile("i32", 8))
    assert typed(call("reduce", pair, 0, both)) == "f32 i32"
    assert typed(call("reduce", tile("f32", 8), 0, add, keep_dims=True)) == "1xf32"
    assert typed(call("reduce", (tile("f32", 4, 8),), None, add)) == "f32"
    assert typed(call("reduce", tile("f32", 4, 8), 0, tl.maximum)) == "8xf32"
    assert typed(call("associative_scan", pair, 0, both, reverse=True)) == "8xf32 8xi32"
    for fn, message in ((widening, "returns"), (lambda x, y: x, "combine function"), (3, "combine function")):
        with pytest.raises(errors.ReduceError, match=message):
            call("reduce", tile("f16", 8), 0, fn)


UNARY_FLOATS = [d.name for d in RECORDS if len(d.operands) == 1 and d.name not in ("abs", "isnan", "isinf", "isfinite")]


@pytest.mark.parametrize("name", UNARY_FLOATS)
def test_float_functions(name: str) -> None:
    for d in ("f16", "bf16", "f32", "f64"):
        assert typed(call(name, tile(d, 4))) == f"4x{d}"
    assert typed(call(name, 2)) == "f32"
    with pytest.raises(errors.DtypeError, match=rf"tl\.{name} takes floats, got 4xi32") as e:
        call(name, tile("i32", 4))
    assert e.value.remedy == "cast it first: x.to(tl.float32)"
    with pytest.raises(errors.DtypeError, match="pointer"):
        call(name, tile("*f32", 4))
    assert METHODS[name] is BUILTINS[name] and getattr(tl.math, name) is BUILTINS[name]


def test_every_documented_math_record_is_public() -> None:
    assert {"exp", "exp2", "log", "log2", "log1p", "sqrt", "rsqrt", "sqrt_rn", "sin", "cos", "tanh", "erf", "floor", "ceil", "round",
            "sigmoid", "fma", "pow", "abs", "isnan", "isinf"} <= {d.name for d in RECORDS}  # fmt: skip
    for d in RECORDS:
        assert REGISTRY[d.name] is d and isinstance(getattr(tl, d.name), Builtin)


def test_math_of_two() -> None:
    x, h = tile("f32", 4), tile("f16", 4)
    assert typed(call("maximum", h, 0.0)) == "4xf16"
    assert call("maximum", x, x).op.name == "maximum"
    assert call("maximum", x, x, propagate_nan=tl.PropagateNan.ALL).op.name == "maximum_nan"
    assert call("minimum", x, x, True).op.name == "minimum_nan"
    assert call("minimum", tile("i32", 4), 3, True).op.name == "minimum"
    assert typed(call("clamp", x, 0.0, 1)) == "4xf32"
    assert typed(call("fdiv", h, h)) == "4xf32"
    assert typed(call("div_rn", x, 3)) == "4xf32"
    assert typed(call("fma", h, 2.0, x)) == "4xf32"
    assert typed(call("umulhi", tile("u32", 4), 0xD2511F53)) == "4xu32"
    assert typed(call("umulhi", tile("i32", 4), tile("i32"))) == "4xi32"
    assert typed(call("copysign", x, -1.0)) == "4xf32"
    for name, args in (("fdiv", (tile("i32"), 2)), ("umulhi", (tile("u8"), 2)), ("umulhi", (x, x)), ("minimum", (tile("*f32"), 1))):
        with pytest.raises(errors.DtypeError) as e:
            call(name, *args)
        assert e.value.remedy
    with pytest.raises(errors.ConstexprError, match="propagate_nan"):
        call("maximum", x, x, "all")


def test_creation() -> None:
    assert typed(call("arange", 0, 8)) == "8xi32"
    assert typed(call("zeros", (4, 8), tl.float16)) == "4x8xf16"
    assert typed(call("zeros", [tl.constexpr(4)], tl.int1)) == "4xi1"
    assert typed(call("full", (4,), -float("inf"), tl.bfloat16)) == "4xbf16"
    assert typed(call("full", (4,), tile("i32"), tl.float32)) == "4xf32"
    assert typed(call("full", (), 3, tl.int64)) == "i64"
    assert typed(call("zeros_like", tile("u8", 4))) == "4xu8"
    assert typed(call("to_tensor", 2**31)) == "u32"
    assert typed(call("program_id", 1)) == "i32"
    assert typed(call("where", tile("i1", 4), 1.0, 0.0)) == "4xf32"
    assert typed(call("where", tile("i1", 4), tile("f16", 2, 1), -1e9)) == "2x4xf16"
    assert typed(call("where", tile("i1"), tile("*f32", 4), tile("*f32"))) == "4x*f32"
    assert typed(call("cast", 300, tl.int8)) == "i8" and call("cast", 300, tl.int8).op.attrs["value"] == 44
    assert typed(call("cdiv", tile("i32"), 128)) == "i32"
    assert call("cdiv", 100, 32) == 4 == tl.cdiv(100, 32)
    assert call("next_power_of_2", 100) == 128 == tl.next_power_of_2(100)


def test_shape_functions() -> None:
    x = tile("f32", 4, 8)
    for shape in (((2, 16),), (2, 16), ([2, 16],)):
        assert typed(call("reshape", x, *shape)) == typed(call("view", x, *shape)) == "2x16xf32"
    assert typed(call("ravel", x)) == "32xf32"
    assert typed(call("trans", x)) == "8x4xf32"
    assert typed(call("trans", tile("f32", 2, 4, 8))) == "2x8x4xf32"
    assert typed(call("permute", tile("f32", 2, 4, 8), (2, 0, 1))) == typed(call("trans", tile("f32", 2, 4, 8), -1, 0, 1)) == "8x2x4xf32"
    assert typed(call("expand_dims", tile("f32", 8), 0)) == "1x8xf32"
    assert typed(call("expand_dims", tile("f32", 8), (0, -1))) == "1x8x1xf32"
    assert typed(call("expand_dims", tile("f32"), 0)) == "1xf32"
    assert typed(call("broadcast_to", tile("f32", 8), 4, 8)) == typed(call("broadcast_to", tile("f32"), (4, 8))) == "4x8xf32"
    assert typed(call("broadcast", tile("f32", 4, 1), tile("i32", 8))) == "4x8xf32 4x8xi32"
    assert typed(call("join", tile("f32", 8), tile("f32"))) == "8x2xf32"
    assert typed(call("split", tile("f32", 8, 2))) == "8xf32 8xf32"
    assert typed(call("interleave", x, x)) == "4x16xf32"
    assert typed(call("interleave", tile("f32"), tile("f32"))) == "2xf32"
    assert typed(call("cat", tile("f32", 8), tile("f32", 8), can_reorder=True)) == "16xf32"
    assert typed(call("cat", x, x, dim=-1)) == "4x16xf32"
    assert call("flip", x).op.attrs == {"axis": 1}
    assert typed(call("squeeze", tile("f32", 8, 1), 1)) == "8xf32"


def test_memory() -> None:
    p = tile("*f16", 8)
    assert len(call("load", p).op.operands) == 1
    assert len(call("load", p, mask=tile("i1", 8)).op.operands) == 3
    assert typed(call("load", p, tile("i1"), -float("inf"), cache_modifier=".cg", eviction_policy="evict_last", volatile=True)) == "8xf16"
    assert typed(call("load", p, True)) == "8xf16"
    assert typed(call("load", tile("*i1"))) == "i1"
    b = TileBuilder(Block())
    BUILTINS["store"].invoke(b, (p, 1, tile("i1", 8)), {})
    BUILTINS["store"].invoke(b, (tile("*u8"), -1), {})
    stores = [op for op in b.block.ops if op.name == "store"]
    assert [str(v.type) for v in stores[0].operands] == ["8x*f16", "8xf16", "8xi1"]
    assert stores[1].operands[1].op.attrs["value"] == 255  # type: ignore[union-attr]
    assert typed(call("atomic_add", tile("*f32", 8), 1, mask=tile("i1", 8), sem="relaxed", scope="gpu")) == "8xf32"
    assert call("atomic_max", tile("*i32"), 1, sem="acq_rel").op.attrs == {"kind": "max", "sem": "acq_rel"}
    assert typed(call("atomic_cas", tile("*i32"), 0, 1)) == "i32"


def test_dot() -> None:
    a, b = tile("f16", 16, 32), tile("f16", 32, 16)
    assert typed(call("dot", a, b)) == "16x16xf32"
    assert typed(call("dot", a, b, out_dtype=tl.float16)) == "16x16xf16"
    assert typed(call("dot", a, b, tile("f32", 16, 16))) == "16x16xf32"
    assert typed(call("dot", tile("i8", 16, 32), tile("i8", 32, 16))) == "16x16xi32"
    s, t = tile("f32", 16, 8), tile("f32", 8, 16)
    assert call("dot", s, t).op.attrs["input_precision"] == "tf32"
    assert call("dot", s, t, allow_tf32=False).op.attrs["input_precision"] == "ieee"
    assert call("dot", s, t, input_precision="tf32x3").op.attrs["input_precision"] == "tf32x3"
    for x, y, least in (("f16", 8, 16), ("bf16", 8, 16), ("f32", 4, 8), ("i8", 16, 32)):
        with pytest.raises(errors.DotError, match=f"needs at least {least}"):
            call("dot", tile(x, 16, y), tile(x, y, 16))


def test_hints() -> None:
    assert call("multiple_of", tile("i32", 4, 8), (4, 8)).op.attrs == {"kind": "multiple_of", "values": (4, 8)}
    assert call("max_contiguous", tile("i32"), 16).op.attrs["values"] == (16,)
    assert call("static_assert", True) is None
    assert call("debug_barrier") is None
    assert call("device_print", "x", tile("f32", 8), 3) is None
    assert call("device_assert", tile("i32", 8), "msg", mask=tile("i1")) is None
    assert call("assume", tile("i1")) is None


def test_static_print(capsys: pytest.CaptureFixture[str]) -> None:
    call("static_print", "block", 128, tile("f32", 8), sep="|")
    assert capsys.readouterr().out == "block|128|tensor: 8xf32\n"


ERRORS: list[tuple[type[errors.ZmlxError], str, str, tuple[Any, ...], dict[str, Any]]] = [
    # class, phrase of message and remedy, function, arguments
    (errors.CallError, "missing a required argument.*signature is tl.load\\(pointer, mask=None", "load", (), {}),
    (errors.CallError, "unexpected keyword argument", "exp", (tile("f32"),), {"fast": True}),
    (errors.CallError, "too many positional", "program_id", (0, 1), {}),
    (errors.CallError, "prefix.*string", "device_print", (tile("f32"),), {}),
    (errors.ConstexprError, "known at compile time.*tl.constexpr parameter", "arange", (0, tile("i32")), {}),
    (errors.ConstexprError, "must be an integer", "arange", (0, 8.0), {}),
    (errors.ConstexprError, "empty", "arange", (8, 8), {}),
    (errors.ConstexprError, "axes 0, 1 and 2", "program_id", (3,), {}),
    (errors.ConstexprError, "known at compile time", "zeros", ((tile("i32"),), tl.float32), {}),
    (errors.ConstexprError, "fp_downcast_rounding", "cast", (tile("f32"), tl.float16, "rtx"), {}),
    (errors.ConstexprError, "run-time condition.*tl.device_assert", "static_assert", (tile("i1"),), {}),
    (errors.ConstexprError, "unknown sem", "atomic_add", (tile("*f32"), 1), {"sem": "seq"}),
    (errors.ConstexprError, "unknown scope", "atomic_add", (tile("*f32"), 1), {"scope": "block"}),
    (errors.StaticAssertError, "assertion failed: no", "static_assert", (False, "no"), {}),
    (errors.StaticAssertError, "False", "assume", (False,), {}),
    (errors.TileSizeError, "power of two, got 100.*use 128 and mask", "arange", (0, 100), {}),
    (errors.TileSizeError, "power of two, got 0", "zeros", ((0,), tl.float32), {}),
    (errors.TileSizeError, "elements; the most is", "zeros", ((2048, 1024), tl.float32), {}),
    (errors.ShapeError, "at most 4 dimensions", "zeros", ((1, 1, 1, 1, 1), tl.float32), {}),
    (errors.ShapeError, "cannot be broadcast", "broadcast_to", (tile("f32", 8), (8, 4)), {}),
    (errors.ShapeError, "keeps the number", "reshape", (tile("f32", 8), (16,)), {}),
    (errors.ShapeError, "does not permute", "permute", (tile("f32", 8, 8), 0, 0), {}),
    (errors.ShapeError, "two or more dimensions.*x\\[:, None\\]", "trans", (tile("f32", 8),), {}),
    (errors.ShapeError, "last dimension is 2", "split", (tile("f32", 8),), {}),
    (errors.ShapeError, "one type", "cat", (tile("f32", 8), tile("f16", 8)), {}),
    (errors.ShapeError, "one type", "join", (tile("f32", 8), tile("f16", 8)), {}),
    (errors.ShapeError, "not 1", "squeeze", (tile("f32", 8), 0), {}),
    (errors.ShapeError, "out of range", "expand_dims", (tile("f32", 8), 3), {}),
    (errors.ShapeError, "takes 1 values", "multiple_of", (tile("i32", 8), (8, 8)), {}),
    (errors.ShapeError, "the value of tl.store.*ptr \\+ tl.arange", "store", (tile("*f32"), tile("f32", 8)), {}),
    (errors.LiteralRangeError, "negative", "full", ((4,), -1, tl.uint32), {}),
    (errors.LiteralRangeError, "out of range", "full", ((4,), 300, tl.int8), {}),
    (errors.DtypeError, "must be an element type", "zeros", ((4,), 32), {}),
    (errors.DtypeError, "None", "exp", (None,), {}),
    (errors.DtypeError, "a tuple", "exp", ((1, 2),), {}),
    (errors.DtypeError, "lose bits", "cast", (tile("f32"), tl.int32, "rtz"), {}),
    (errors.DtypeError, "keeps the width", "cast", (tile("f32"), tl.float16), {"bitcast": True}),
    (errors.DtypeError, "takes numbers, got pointers", "sum", (tile("*f32", 8),), {}),
    (errors.DtypeError, "integers, the array holds", "atomic_and", (tile("*f32"), 1), {}),
    (errors.DtypeError, "no form for int8", "atomic_add", (tile("*i8"), 1), {}),
    (errors.PointerError, "takes a pointer.*ptr \\+ offsets", "load", (tile("f32", 8),), {}),
    (errors.PointerError, "takes a pointer", "store", (3, 4), {}),
    (errors.PointerError, "cannot be cast", "cast", (tile("*f32"), tl.float32), {}),
    (errors.PointerError, "one type", "where", (tile("i1"), tile("*f32"), 0), {}),
    (errors.PointerError, "no condition", "device_assert", (tile("*f32"),), {}),
    (errors.MaskError, "without a mask", "load", (tile("*f32"),), {"other": 0.0}),
    (errors.MaskError, "not int1.*offsets < n", "load", (tile("*f32", 8), tile("i32", 8)), {}),
    (errors.MaskError, "mask of tl.load has shape", "load", (tile("*f32"), tile("i1", 8)), {}),
    (errors.MaskError, "`other` of tl.load has shape", "load", (tile("*f32", 8), tile("i1", 8), tile("f32", 4)), {}),
    (errors.UnsupportedSyntaxError, "block pointers.*tile of pointers", "load", (tile("*f32"),), {"boundary_check": (0,)}),
    (errors.ReduceError, "axis 2", "sum", (tile("f32", 8), 2), {}),
    (errors.ReduceError, "got a scalar", "sum", (tile("f32"),), {}),
    (errors.ReduceError, "one shape", "reduce", ((tile("f32", 8), tile("f32", 4)), 0, tl.maximum), {}),
    (errors.ReduceError, "zmlx.jit function", "reduce", (tile("f32", 8), 0, max), {}),
    (errors.DotError, "two 2-D tiles", "dot", (tile("f32", 16), tile("f32", 16)), {}),
    (errors.DotError, "one element type", "dot", (tile("f32", 16, 16), tile("f16", 16, 16)), {}),
    (errors.DotError, "inner dimensions differ", "dot", (tile("f32", 16, 16), tile("f32", 32, 16)), {}),
    (errors.DotError, "accumulator", "dot", (tile("f32", 16, 16), tile("f32", 16, 16), tile("i32", 16, 16)), {}),
    (errors.DotError, "not both", "dot", (tile("f32", 16, 16), tile("f32", 16, 16), None, "ieee", True), {}),
    (errors.DotError, "unknown input_precision", "dot", (tile("f32", 16, 16), tile("f32", 16, 16), None, "fp8"), {}),
    (errors.DotError, "takes int8", "dot", (tile("i32", 16, 16), tile("i32", 16, 16)), {}),
]


@pytest.mark.parametrize(("error", "phrase", "name", "args", "kwargs"), ERRORS, ids=[f"{e[2]}-{e[1][:20]}" for e in ERRORS])
def test_errors(error: type[errors.ZmlxError], phrase: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(error) as e:
        call(name, *args, **kwargs)
    assert type(e.value) is error
    assert re.search(phrase, str(e.value), re.S), str(e.value)
    assert isinstance(e.value, errors.CompilationError) and e.value.remedy


def test_outside_a_kernel() -> None:
    for f in (tl.load, tl.softmax):
        assert isinstance(f, (Builtin, DeviceFunction))
        with pytest.raises(errors.CallError, match="outside a kernel"):
            f(1)
    with pytest.raises(errors.CallError, match="integers"):
        tl.cdiv(1.5, 2)


def test_constexpr() -> None:
    assert tl.constexpr(tl.constexpr(3)).value == 3
    assert (tl.constexpr(3) * 2 + 1).value == 7 and (2 ** tl.constexpr(3)).value == 8
    assert bool(tl.constexpr(3) < 4) and tl.constexpr(3) == 3 and not tl.constexpr(0)
    assert [0, 1, 2][tl.constexpr(1)] == 1
    assert tl.constexpr[int] is tl.constexpr


def test_ranges() -> None:
    r = tl.range(2, 10, 2, num_stages=3)
    assert (r.start, r.end, r.step, r.num_stages) == (2, 10, 2, 3)
    s = tl.static_range(4)
    assert (s.start, s.end, s.step) == (0, 4, 1)


def test_remedies_for_unknown_names() -> None:
    assert "tl.softmax" in tl.remedy_for("sofmax")
    assert "tile of pointers" in tl.remedy_for("make_block_ptr")
    assert "x.reshape" in tl.remedy_for("reshpe", of_tensor=True)
    assert "tl.maximum" in tl.remedy_for("maximum", of_tensor=True)


def test_names() -> None:
    for name in tl.__all__:
        assert getattr(tl, name) is not None
    assert {"shape", "dtype", "T"} <= set(tl.ATTRIBUTES)
    from zmlx.language.extra import libdevice

    assert libdevice.fast_expf is tl.exp  # type: ignore[attr-defined]


def test_reference_and_stub_are_fresh() -> None:
    from zmlx.language import reference

    hint = "stale: run python -m zmlx.language.reference"
    assert reference.STUB.read_text() == reference.stub(), hint
    assert reference.PAGE.read_text() == reference.page(reference.PAGE.read_text()), hint
    for f in BUILTINS.values():
        assert f.doc and f.group in reference.GROUPS, f.name
