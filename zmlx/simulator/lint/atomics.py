"""Rules about atomics."""

from __future__ import annotations

from zmlx.simulator.lint.rules import Found, Rule, calls
from zmlx.simulator.lint.text import Text
from zmlx.simulator.translate.tokens import matching

_NONE = frozenset("half bfloat double short ushort char uchar long bfloat16_t float16_t int8_t uint8_t int16_t uint16_t int64_t".split())
_FLOAT = {"float", "atomic_float"}
_WIDE = {"ulong", "uint64_t", "atomic_ulong"}
_NOT_FLOAT = frozenset(f"atomic_fetch_{op}_explicit" for op in ("min", "max", "and", "or", "xor"))
_NOT_WIDE = frozenset(f"atomic_{op}_explicit" for op in "load store exchange fetch_add fetch_sub fetch_min fetch_max fetch_and fetch_or "
                      "fetch_xor compare_exchange_weak".split())  # fmt: skip
_MEMBERS = frozenset("fetch_add fetch_sub fetch_min fetch_max fetch_and fetch_or fetch_xor exchange compare_exchange_weak".split())


def _types(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word in ("atomic", "_atomic") and text.word(k + 1) == "<" and text.word(k + 2) in _NONE and text.word(k + 3) == ">":
            yield k + 2, f"there is no atomic<{text.word(k + 2)}>"
        elif word.startswith("atomic_") and word[7:] in _NONE:
            yield k, f"there is no {word}"


def _operations(text: Text) -> Found:
    named = {t: _declared(text, t) for t in ("float", "ulong")}
    for k, word in enumerate(text.words):
        if text.word(k + 1) != "(" or not (word in _NOT_FLOAT or word in _NOT_WIDE):
            continue
        first = next(text.parameters(k + 1), (k + 2, k + 2))
        operand = set(text.words[first[0] : first[1]])
        if word in _NOT_FLOAT and (operand & named["float"] or _is_atomic(operand, _FLOAT)):
            yield k, f"there is no {word} for atomic<float>"
        elif word in _NOT_WIDE and (operand & named["ulong"] or _is_atomic(operand, _WIDE)):
            yield k, f"there is no {word} for atomic<ulong>"


def _is_atomic(operand: set[str], types: set[str]) -> bool:
    return bool(operand & {t for t in types if t.startswith("atomic_")}) or ("atomic" in operand and bool(operand & types))


def _declared(text: Text, kind: str) -> set[str]:
    """Names that are declared as atomics of a type, pointers to them or arrays."""
    types = _FLOAT if kind == "float" else _WIDE
    found = set()
    for k, word in enumerate(text.words):
        end = k + 1
        if word in ("atomic", "_atomic") and text.word(k + 1) == "<" and text.word(k + 2) in types and text.word(k + 3) == ">":
            end = k + 4
        elif not (word in types and word.startswith("atomic_")):
            continue
        while text.word(end) in ("*", "&", "const"):
            end += 1
        if text.is_name(end):
            found.add(text.word(end))
    return found


def _orders(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word.startswith("atomic_") and word.endswith("_explicit") and text.word(k + 1) == "(":
            for at in range(k + 2, min(matching(text.words, k + 1), len(text.words))):
                if text.words[at].startswith("memory_order_") and text.words[at] != "memory_order_relaxed":
                    yield at, f"{word} takes memory_order_relaxed only"


def _methods(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word in _MEMBERS and text.word(k - 1) in (".", "->") and text.word(k + 1) == "(":
            yield k, f"Metal's atomics have no {word}"


_IMPLICIT = " ".join(
    f"atomic_{op}"
    for op in "load store exchange fetch_add fetch_sub fetch_min fetch_max fetch_and fetch_or fetch_xor "
    "compare_exchange_weak compare_exchange_strong compare_exchange_strong_explicit".split()
)

RULES = (
    Rule(
        "atomic-type",
        "Metal's atomics are of bool, int, uint, float and (minimum and maximum only) ulong",
        "use atomic<float> or atomic<uint>",
        "void f(device atomic<half>* p) { }",
        "void f(device atomic<float>* p) { }",
        _types,
    ),
    Rule(
        "atomic-operation",
        "atomic<float> has load, store, exchange, compare-exchange, add and sub; atomic<ulong> atomic_min and atomic_max",
        "write a loop of atomic_compare_exchange_weak_explicit",
        "void f(device atomic<float>* p) { atomic_fetch_max_explicit(p, 1.0f, memory_order_relaxed); }",
        "void f(device atomic<float>* p) { atomic_fetch_add_explicit(p, 1.0f, memory_order_relaxed); }",
        _operations,
    ),
    Rule(
        "memory-order",
        "Metal's atomic operations are relaxed",
        "use memory_order_relaxed, and barriers between phases",
        "void f(device atomic<int>* p) { atomic_store_explicit(p, 1, memory_order_release); }",
        "void f(device atomic<int>* p) { atomic_store_explicit(p, 1, memory_order_relaxed); }",
        _orders,
    ),
    Rule(
        "atomic-function",
        "Metal has the `_explicit` functions only, and no strong compare-exchange",
        "use atomic_…_explicit(…, memory_order_relaxed)",
        "void f(device atomic<int>* p) { atomic_fetch_add(p, 1); }",
        "void f(device atomic<int>* p) { atomic_fetch_add_explicit(p, 1, memory_order_relaxed); }",
        calls(_IMPLICIT, "{} is not there in Metal"),
    ),
    Rule(
        "atomic-method",
        "Metal's atomics have no methods",
        "use atomic_…_explicit(&x, …, memory_order_relaxed)",
        "void f(device atomic<int>* p) { p->fetch_add(1); }",
        "void f(device atomic<int>* p) { atomic_fetch_add_explicit(p, 1, memory_order_relaxed); }",
        _methods,
    ),
)
