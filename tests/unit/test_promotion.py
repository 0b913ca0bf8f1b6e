"""Promotion against tables written out by hand from the language's rules."""

from __future__ import annotations

import pytest

from zmlx.dtypes import ALL, BY_SHORT, DType
from zmlx.errors import DtypeError, LiteralRangeError, PointerError, ShapeError
from zmlx.ir.core import Block, Value
from zmlx.ir.types import Pointer, Type
from zmlx.ops.coerce import TileBuilder

ORDER = ["i1", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64"]
ADD = """
i1   | i1   i8   i16  i32  i64  u8   u16  u32  u64  f16  f32  f32  f64
i8   | i8   i8   i16  i32  i64  u8   u16  u32  u64  f16  f32  f32  f64
i16  | i16  i16  i16  i32  i64  i16  u16  u32  u64  f16  f32  f32  f64
i32  | i32  i32  i32  i32  i64  i32  i32  u32  u64  f16  f32  f32  f64
i64  | i64  i64  i64  i64  i64  i64  i64  i64  u64  f16  f32  f32  f64
u8   | u8   u8   i16  i32  i64  u8   u16  u32  u64  f16  f32  f32  f64
u16  | u16  u16  u16  i32  i64  u16  u16  u32  u64  f16  f32  f32  f64
u32  | u32  u32  u32  u32  i64  u32  u32  u32  u64  f16  f32  f32  f64
u64  | u64  u64  u64  u64  u64  u64  u64  u64  u64  f16  f32  f32  f64
f16  | f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f16  f32  f64
bf16 | f32  f32  f32  f32  f32  f32  f32  f32  f32  f16  bf16 f32  f64
f32  | f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f32  f64
f64  | f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64  f64
"""
UNSIGNED = {"i1", "u8", "u16", "u32", "u64"}


def build() -> TileBuilder:
    return TileBuilder(Block())


def tile(elem: str, *shape: int) -> Value:
    return Value(Type(Pointer(BY_SHORT[elem[1:]]) if elem[0] == "*" else BY_SHORT[elem], shape))


def table() -> list[tuple[str, str, str]]:
    rows = [line.split("|") for line in ADD.strip().splitlines()]
    return [(a.strip(), b, c) for a, cells in rows for b, c in zip(ORDER, cells.split(), strict=True)]


@pytest.mark.parametrize(("a", "b", "expected"), table())
def test_tensors(a: str, b: str, expected: str) -> None:
    x, y = tile(a, 4), tile(b, 4)
    assert str(build().binary("add", x, y).type) == f"4x{expected}"
    assert str(build().binary("mul", x, tile(b)).type) == f"4x{expected}"  # 0-d tensors promote as tensors
    quotient = "f64" if "f64" in (a, b) else "f32"
    assert str(build().binary("truediv", x, y).type) == f"4x{quotient}"
    assert str(build().binary("lt", x, y).type) == "4xi1"
    floats = {"f16", "bf16", "f32", "f64"} & {a, b}
    if floats:
        assert str(build().binary("mod", x, y).type) == f"4x{quotient}"
        for name in ("floordiv", "and", "or", "xor", "lshift", "rshift"):
            with pytest.raises(DtypeError, match="takes integers"):
                build().binary(name, x, y)
    elif (a in UNSIGNED) != (b in UNSIGNED):
        for name in ("floordiv", "mod"):
            with pytest.raises(DtypeError, match="one is signed, one is not") as e:
                build().binary(name, x, y)
            assert f"y.to(tl.{BY_SHORT[a]})" in e.value.remedy
        assert str(build().binary("and", x, y).type) == f"4x{expected}"
    else:
        for name in ("floordiv", "mod", "and", "lshift", "rshift"):
            assert str(build().binary(name, x, y).type) == f"4x{expected}"


LITERALS = [
    # tensor, literal, sum, quotient
    ("f16", 2.0, "f16", "f32"), ("f16", 2, "f16", "f32"), ("f16", True, "f16", "f32"), ("bf16", 2, "bf16", "f32"),
    ("bf16", 0.5, "bf16", "f32"),
    ("f32", 2.0, "f32", "f32"), ("f32", 1e300, "f32", "f32"), ("f64", 1, "f64", "f64"),
    ("u8", 1, "u8", "f32"), ("i8", -1, "i8", "f32"), ("i8", True, "i8", "f32"), ("u64", 2**63, "u64", "f32"), ("i64", 2**40, "i64", "f32"),
    ("i32", 0.5, "f32", "f32"), ("i64", 0.5, "f32", "f32"), ("u8", 1e300, "f64", "f64"), ("i32", 1e-40, "f64", "f64"),
    ("i32", 0.0, "f32", "f32"),
    ("i1", True, "i1", "f32"), ("i1", 1, "i32", "f32"), ("i1", 2**31, "u32", "f32"), ("i1", 2**40, "i64", "f32"), ("i1", 1.5, "f32", "f32"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "literal", "total", "quotient"), LITERALS)
def test_python_numbers(a: str, literal: float, total: str, quotient: str) -> None:
    for swap in (False, True):
        operands = (literal, tile(a, 4)) if swap else (tile(a, 4), literal)
        assert str(build().binary("add", *operands).type) == f"4x{total}"
        assert str(build().binary("truediv", *operands).type) == f"4x{quotient}"


@pytest.mark.parametrize(
    ("x", "expected"),
    [(True, "i1"), (0, "i32"), (-(2**31), "i32"), (2**31 - 1, "i32"), (2**31, "u32"), (2**32 - 1, "u32"), (2**32, "i64"),
     (-(2**31) - 1, "i64"),
     (2**63 - 1, "i64"), (2**63, "u64"), (2**64 - 1, "u64"), (0.0, "f32"), (1.5, "f32"), (3.4e38, "f32"), (3.5e38, "f64"), (1e-38, "f64"),
     (1.2e-38, "f32"), (float("inf"), "f32"), (float("nan"), "f32"), (-1e300, "f64")],
)  # fmt: skip
def test_literal_alone(x: float, expected: str) -> None:
    assert str(build().to_value(x).type) == expected


@pytest.mark.parametrize(
    ("a", "x", "message"),
    [("u8", 256, "out of range"), ("u8", -1, "negative"), ("u32", -1, "negative"), ("i8", 128, "out of range"),
     ("i8", -129, "out of range"),
     ("i32", 2**31, "out of range"), ("i64", 2**63, "out of range"), ("u64", 2**64, "fits no type"), ("i64", -(2**63) - 1, "fits no type")],
)  # fmt: skip
def test_literal_out_of_range(a: str, x: int, message: str) -> None:
    for name in ("add", "lt", "and", "floordiv"):
        with pytest.raises(LiteralRangeError, match=message) as e:
            build().binary(name, tile(a, 4), x)
        assert e.value.remedy


def test_halves_round_their_literals() -> None:
    b = build()
    assert b.constant(0.1, BY_SHORT["bf16"]).op.attrs["value"] == 0.10009765625  # type: ignore[union-attr]
    assert b.constant(0.1, BY_SHORT["f16"]).op.attrs["value"] == 0.0999755859375  # type: ignore[union-attr]
    assert b.constant(1e6, BY_SHORT["f16"]).op.attrs["value"] == float("inf")  # type: ignore[union-attr]
    assert str(b.constant(-0.0, BY_SHORT["f16"]).op.attrs["value"]) == "-0.0"  # type: ignore[union-attr]


SHAPES = [
    ((4,), (), (4,)), ((), (), ()), ((4, 1), (8,), (4, 8)), ((4, 8), (8,), (4, 8)), ((1, 8), (4, 1), (4, 8)),
    ((2, 1, 4), (8, 1), (2, 8, 4)),
    ((1,), (1, 1), (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "expected"), SHAPES)
def test_broadcast(a: tuple[int, ...], b: tuple[int, ...], expected: tuple[int, ...]) -> None:
    for p, q in ((a, b), (b, a)):
        assert build().binary("add", tile("f32", *p), tile("f32", *q)).shape == expected


@pytest.mark.parametrize(("a", "b"), [((4,), (8,)), ((4, 2), (4,)), ((2, 4), (4, 2))])
def test_shapes_that_do_not_broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="do not broadcast") as e:
        build().binary("add", tile("f32", *a), tile("f32", *b))
    assert "x[:, None]" in e.value.remedy


@pytest.mark.parametrize("d", ORDER[:9])
def test_pointers_take_integers(d: str) -> None:
    b = build()
    assert str(b.binary("add", tile("*f32"), tile(d, 8)).type) == "8x*f32"
    assert str(b.binary("add", tile(d, 8), tile("*f32", 8)).type) == "8x*f32"
    assert str(b.binary("sub", tile("*f32", 8), tile(d)).type) == "8x*f32"
    assert str(b.binary("add", tile("*i8"), 2**40).type) == "*i8"


def test_pointer_minus_keeps_the_sign() -> None:
    b = build()
    assert b.binary("sub", tile("*f32"), 3).op.operands[1].op.attrs["value"] == -3  # type: ignore[union-attr]
    narrow = b.binary("sub", tile("*f32"), tile("u8")).op.operands[1]  # type: ignore[union-attr]
    assert str(narrow.type) == "i32"
    assert str(b.binary("sub", tile("*f32"), tile("u32")).op.operands[1].type) == "i64"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("add", tile("*f32"), tile("f32")), ("add", tile("*f32"), 1.0), ("add", tile("*f32"), tile("*f32")),
     ("sub", tile("*f32"), tile("*f32")),
     ("sub", 1, tile("*f32")), ("mul", tile("*f32"), 2), ("eq", tile("*f32"), 0), ("lt", tile("*f32"), tile("*f16")),
     ("pow", tile("*f32"), 2)],
)  # fmt: skip
def test_pointer_errors(name: str, x: Value, y: Value) -> None:
    with pytest.raises(PointerError) as e:
        build().binary(name, x, y)
    assert e.value.remedy


def test_pointers_compare() -> None:
    assert str(build().binary("eq", tile("*f32", 4), tile("*f32")).type) == "4xi1"


def test_pow() -> None:
    b = build()
    assert b.binary("pow", tile("f16", 4), 2).op.name == "mul"  # type: ignore[union-attr]
    assert str(b.binary("pow", tile("f16", 4), 3).type) == "4xf16"
    assert str(b.binary("pow", tile("i32", 4), 0.5).type) == "4xf32"
    assert str(b.binary("pow", tile("f32", 4), tile("i32")).type) == "4xf32"
    assert str(b.binary("pow", tile("i8", 4), 5).type) == "4xi8"
    assert str(b.binary("pow", 2.0, tile("f16", 4)).type) == "4xf16"
    for y in (tile("i32"), -1):
        with pytest.raises(DtypeError, match="no integer in general"):
            b.binary("pow", tile("i32", 4), y)


def test_logic_is_on_truth() -> None:
    b = build()
    assert str(b.logical_and(tile("f32", 4), tile("i8")).type) == "4xi1"
    assert str(b.logical_or(tile("i1", 4), True).type) == "4xi1"
    assert str(b.unary("not", tile("i32", 4)).type) == "4xi1"
    with pytest.raises(DtypeError, match="takes integers"):
        b.unary("invert", tile("f32", 4))
    with pytest.raises(PointerError, match="takes a number"):
        b.unary("neg", tile("*f32"))


@pytest.mark.parametrize("to", ALL, ids=str)
@pytest.mark.parametrize("source", ALL, ids=str)
def test_casts(source: DType, to: DType) -> None:
    b = build()
    x = Value(Type(source, (4,)))
    assert b.cast(x, to).type == Type(to, (4,))
    if source.bits == to.bits:
        assert b.cast(x, to, bitcast=True).type == Type(to, (4,))
    else:
        with pytest.raises(DtypeError, match="keeps the width"):
            b.cast(x, to, bitcast=True)
    if source.is_float and to.is_float and to.bits < source.bits:
        assert b.cast(x, to, "rtz").op.attrs["rounding"] == "rtz"  # type: ignore[union-attr]
    elif source is not to:
        with pytest.raises(DtypeError, match="lose bits"):
            b.cast(x, to, "rtz")
