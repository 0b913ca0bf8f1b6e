"""IR text, the verifier and the rewrite engine."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from random_ir import Generator

from zmlx import dtypes as dt
from zmlx.errors import InternalCompilerError
from zmlx.ir.core import Block, Function, Op, Value, clone_function
from zmlx.ir.parser import ParseError, parse
from zmlx.ir.rewrite import Rewriter, Rules, rewrite
from zmlx.ir.types import ArrayType, Pointer, Type, parse_type
from zmlx.ir.verifier import verify
from zmlx.ops import REGISTRY
from zmlx.passes import pipeline
from zmlx.simt.lower import lower
from zmlx.targets.legalize import legalize
from zmlx.targets.target import target

TEXT = r"""kernel softmax(%x: *f32 {divisibility = 16}, %n: i32 {divisibility = 16}, %flag: i1) {
  %pid = program_id {axis = 0} : i32
  %c = arange {start = 0, end = 16} : 16xi32
  %ns = splat %n {shape = (16)} : 16xi32
  %m = lt %c, %ns : 16xi1
  %xs = splat %x {shape = (16)} : 16x*f32
  %p = addptr %xs, %c : 16x*f32
  %0 = constant {value = -inf, type = f32} : f32
  %1 = constant {value = -1e-05, type = bf16} : bf16
  %2 = constant {value = nan, type = f64} : f64
  %3 = constant {value = true, type = i1} : i1
  %4 = splat %0 {shape = (16)} : 16xf32
  %v = load %p, %m, %4 : 16xf32
  %s, %at = reduce %v, %c {axis = 0} : f32, i32 {
  ^(%a: f32, %i: i32, %b: f32, %j: i32):
    %5 = gt %a, %b : i1
    %6 = select %5, %a, %b : f32
    %7 = select %5, %i, %j : i32
    yield %6, %7
  }
  %8 = constant {value = 0, type = i32} : i32
  %9 = constant {value = 4, type = i32} : i32
  %q, %r = for %8, %n, %9, %p, %v {num_stages = 2} : 16x*f32, 16xf32 {
  ^(%k: i32, %q_1: 16x*f32, %r_1: 16xf32):
    %10 = addptr %q_1, %ns : 16x*f32
    yield %10, %r_1
  }
  %w = while %n : i32 {
  ^(%w_1: i32):
    %11 = gt %w_1, %8 : i1
    yield %11
  ^(%w_2: i32):
    %12 = sub %w_2, %9 : i32
    yield %12
  }
  %13 = if %flag : f32 {
  ^():
    yield %0
  ^():
    yield %s
  }
  if %flag {
  ^():
    yield
  ^():
    yield
  }
  device_print %r, %v {prefix = "a\"b\n%{}", hex = false}
  %14 = bitcast %p {to = i64} : 16xi64
  %15 = bitcast %14 {to = *f32} : 16x*f32
  device_assert %3 {message = "é"}
  return
}
"""


def function() -> Function:
    return parse(TEXT, REGISTRY)


def test_text_round_trips() -> None:
    fn = function()
    assert str(fn) == TEXT.replace("é", "\\u00e9")
    assert str(parse(str(fn), REGISTRY)) == str(fn)
    assert str(clone_function(fn)) == str(fn)
    assert [p.divisibility for p in fn.params] == [16, 16, 1]


@pytest.mark.parametrize(
    "t",
    [Type(dt.bfloat16), Type(dt.int1, (8, 16)), Type(Pointer(dt.float16), (1, 2, 4, 8)), ArrayType(dt.float32, 128, "shared")],
    ids=str,
)
def test_types_round_trip(t: Type | ArrayType) -> None:
    assert parse_type(str(t)) == t


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("addptr %xs, %c", "addptr %ys, %c", r"line 7: %ys is not defined here"),
        ("%6 = select", "%a = select", r"line 17: %a is defined twice"),
        (", 16xf32 {\n  ^(%k", ", 16xf99 {\n  ^(%k", r"line 23: unknown type 16xf99"),
        ("gt %a, %b", "gtt %a, %b", r"line 16: there is no op 'gtt'"),
        ("%s, %at =", "%s =", r"line 14: reduce has 2 result types and 1 result names"),
        ("{axis = 0} : i32", "{axis = } : i32", r"line 2: expected an attribute's value"),
        ("yield %0\n", "yield %10\n", r"line 38: %10 is not defined here"),
        ("  return\n}", "  return\n", r"expected \}"),
        ("%pid", "?pid", r"line 2: unexpected '\?'"),
        ("kernel", "kern", r"line 1: expected kernel"),
    ],
)
def test_parser_names_the_line(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ParseError, match=message):
        parse(TEXT.replace(old, new, 1), REGISTRY)


def find(fn: Function, name: str) -> Op:
    return next(op for op in fn.walk() if op.name == name)


def swap_two(fn: Function) -> None:
    ops = fn.body.ops
    ops[2], ops[3] = ops[3], ops[2]


def leak_from_region(fn: Function) -> None:
    find(fn, "device_print").operands[0] = find(fn, "for").regions[0].ops[0].result


def wrong_type(fn: Function) -> None:
    find(fn, "lt").results[0].type = Type(dt.int1, (8,))


def refused_operands(fn: Function) -> None:
    find(fn, "lt").operands[1] = fn.params[1].value


def no_return(fn: Function) -> None:
    fn.body.ops.pop()


def no_yield(fn: Function) -> None:
    find(fn, "reduce").regions[0].ops.pop()


def return_in_loop(fn: Function) -> None:
    find(fn, "for").regions[0].ops[-1] = fn.body.ops[-1]


def early_return(fn: Function) -> None:
    fn.body.ops.insert(3, Op(REGISTRY["return"], [], []))


def twice(fn: Function) -> None:
    fn.body.ops.insert(4, fn.body.ops[3])


def params_differ(fn: Function) -> None:
    fn.params.pop()


def carried_count(fn: Function) -> None:
    find(fn, "for").regions[0].ops[-1].operands.pop()


def region_arguments(fn: Function) -> None:
    find(fn, "for").regions[0].args.pop(0)


def combine_arguments(fn: Function) -> None:
    args = find(fn, "reduce").regions[0].args
    args[0].type = Type(dt.int64)


def foreign_result(fn: Function) -> None:
    find(fn, "load").results[0].op = find(fn, "lt")


def unknown_attribute(fn: Function) -> None:
    find(fn, "load").attrs["volatile"] = True


def missing_attribute(fn: Function) -> None:
    del find(fn, "splat").attrs["shape"]


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (swap_two, "op lt: operand 1, <ns: 16xi32>, is not defined here"),
        (leak_from_region, "op device_print: operand 0"),
        (wrong_type, "op lt: its results have type 8xi1, its type rule says 16xi1"),
        (refused_operands, "op lt: its type rule refuses it"),
        (no_return, "does not end in a terminator"),
        (no_yield, "op reduce|does not end in a terminator"),
        (return_in_loop, "the terminator does not fit"),
        (early_return, "op return: a terminator stands in the middle"),
        (twice, "stands in two places"),
        (params_differ, "the parameters are not the arguments of the body"),
        (carried_count, "op for"),
        (region_arguments, "op for|op addptr"),
        (combine_arguments, "op gt|op reduce"),
        (foreign_result, "op load: its result .* does not point back"),
        (unknown_attribute, r"op load: unknown attributes \['volatile'\]"),
        (missing_attribute, "op splat: its type rule fails: KeyError"),
    ],
)
def test_verifier_finds_planted_errors(plant: Callable[[Function], None], message: str) -> None:
    fn = function()
    verify(fn)
    plant(fn)
    with pytest.raises(InternalCompilerError, match=message) as caught:
        verify(fn)
    text = str(caught.value)
    assert "kernel softmax" in text and "bug of zmlx" in text
    if plant not in (params_differ,):
        assert "<-- here" in text


@pytest.mark.parametrize("name", ["cpu", "cuda", "metal"])
def test_simt_ir_is_well_formed(name: str) -> None:
    """What the lowering and legalisation of a target give verifies, and its text round-trips."""
    for seed in range(8):
        fn = pipeline.optimize(Generator(random.Random(seed)).function(8))
        if name == "metal" and "f64" in str(fn).partition("{")[2]:
            continue
        simt = lower(fn, target(name), 4)
        verify(simt)
        legalize(simt, target(name))
        verify(simt)
        assert str(parse(str(simt), REGISTRY)) == str(simt)


def test_rewrite_reaches_its_fixpoint_in_one_run() -> None:
    rules = Rules()

    @rules.rule("sub")
    def sub_is_add(op: Op, b: Rewriter) -> list[Value]:
        return [b.value(REGISTRY["add"], op.operands[0], b.value(REGISTRY["neg"], op.operands[1]))]

    @rules.rule("neg")
    def neg_is_invert(op: Op, b: Rewriter) -> list[Value]:
        return [b.value(REGISTRY["invert"], *op.operands)]

    fn = function()
    assert rewrite(fn, rules)
    verify(fn)
    names = [op.name for op in find(fn, "while").regions[1].ops]
    assert names == ["invert", "add", "yield"]
    assert not rewrite(fn, rules)


def test_rewrite_stops_rules_that_never_end() -> None:
    rules = Rules()
    rules.rule("sub")(lambda op, b: [b.value(REGISTRY["sub"], *op.operands)])
    with pytest.raises(InternalCompilerError, match="do not come to an end"):
        rewrite(function(), rules)


def test_empty_block_is_refused() -> None:
    with pytest.raises(InternalCompilerError, match="does not end in a terminator"):
        verify(Function("empty", [], Block()))
