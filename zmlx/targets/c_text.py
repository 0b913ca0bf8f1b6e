"""C expressions as text: parentheses, numbers, names that are taken."""

from __future__ import annotations

import re
from functools import cache, lru_cache

import numpy as np

NAME = re.compile(r"[\w.]+")
CALLEE = re.compile(r"[\w:]+(?:<[\w: *,]+>)?(?=\()")
WORD = re.compile(r"\w+")
SINGLE = re.compile(r"[\w.]+|\(-?[\w.]+\)")  # a name, a number, a negative number
ELEMENT = re.compile(r"\w+(?=\[)")
RESERVED = frozenset(
    "alignas alignof and asm atomic auto bool break case catch char class const constant constexpr continue default delete device do "
    "double else enum explicit extern false float for friend goto half if inline int kernel long metal mutable namespace new not "
    "operator or private protected public register restrict return short signed sizeof static struct switch template this threadgroup "
    "throw true try typedef typename uchar uint ulong union unsigned ushort using vector vertex fragment virtual void volatile while "
    "xor Limits ceildiv log1p hypot cast_to complex_t WorkPerThread SIMD_SIZE QUAD_SIZE program main exp log sin cos tan tanh pow "
    "sqrt floor ceil round abs min max fma arrays scalars grid scratch report begin end std blockIdx threadIdx gridDim blockDim".split()
)


@cache
def slots(spell: str, operands: int) -> tuple[bool, tuple[bool, ...]]:
    """Whether a template repeats its first operand, and which operands it already sets apart by brackets or commas."""
    bare = []
    for i in range(operands):
        before, slot, after = spell.partition(f"{{{i}}}")
        bare.append(bool(slot) and slot not in after and before.removesuffix(" ").endswith(("(", ",")) and after.startswith((",", ")")))
    return operands > 0 and spell.count("{0}") != 1, tuple(bare)


@lru_cache(maxsize=1 << 12)
def atom(text: str) -> str:
    """Parentheses around anything that is not one term: a name, a number, a call, an element of an array."""
    if NAME.fullmatch(text) or wrapped(text):
        return text
    for head in (CALLEE.match(text), ELEMENT.match(text)):
        if head is not None and wrapped(text[head.end() :]):
            return text
    return f"({text})"


def wrapped(text: str) -> bool:
    """Whether one pair of brackets holds the whole text."""
    if text[:1] + text[-1:] not in ("()", "[]"):
        return False
    opening, closing = text[0], text[-1]
    if opening not in text[1:-1]:
        return closing not in text[1:-1]
    depth = 0
    for i, c in enumerate(text):
        depth += (c == opening) - (c == closing)
        if depth == 0:
            return i == len(text) - 1
    return False


def float32_text(number: float) -> str:
    """The shortest decimal that reads back as the same float32."""
    single = np.float32(number)
    text = np.format_float_scientific(single, unique=True, trim="-") if abs(number) >= 1e16 or 0 < abs(number) < 1e-4 else str(single)
    return text if "." in text or "e" in text else text + ".0"
