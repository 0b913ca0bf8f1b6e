"""Rules about names that are taken."""

from __future__ import annotations

from zmlx.simulator.lint.rules import Found, Rule
from zmlx.simulator.lint.text import PROGRAM, Text

# What MLX's preamble defines, which stands before every custom kernel.
MLX_NAMES = frozenset(
    "ConditionalType Limits LoopedElemToLoc WorkPerThread bfloat16_t cast_to ceildiv complex64_t complex_t elem_to_loc elem_to_loc_1 "
    "elem_to_loc_2 elem_to_loc_2_nd elem_to_loc_3 elem_to_loc_3_nd float16_t hypot log1p schedule_row_tile".split()
)
# Variables of its other headers: harmless as names, but not as macros.
_MLX_VARIABLES = frozenset("SIMD_SIZE QUAD_SIZE align_M align_N align_K".split())
_KEYWORDS = frozenset("kernel vertex fragment device constant threadgroup thread half bfloat visible intersection mesh object".split())
_TYPE_WORDS = frozenset(
    "auto bool char uchar short ushort int uint long ulong half bfloat float size_t float2 float3 float4 uint2 uint3".split()
)


def _mlx(text: Text) -> Found:
    if text.is_macro:
        return
    for f in text.functions:
        name = text.words[f.name]
        if name in MLX_NAMES and text.scopes[f.name] == PROGRAM and text.word(f.name - 1) != "operator":
            yield f.name, f"{name} is a name of MLX's"
    for k, word in enumerate(text.words):
        if word not in MLX_NAMES or not text.is_name(k) or text.scopes[k] != PROGRAM:
            continue
        before, after = text.word(k - 1), text.word(k + 1)
        is_class = before in ("struct", "class", "union") and after in ("{", ":", ";")
        is_variable = after in ("=", ";", "[") and (before in _TYPE_WORDS or before in ("const", "constant", "constexpr", "using"))
        if is_class or is_variable:
            yield k, f"{word} is a name of MLX's"


def _keywords(text: Text) -> Found:
    for k, word in enumerate(text.words):
        if word in _KEYWORDS and text.word(k - 1) in _TYPE_WORDS and text.word(k + 1) in ("=", ";", ",", ")", "["):
            yield k, f"{word} is a word of Metal's"


def _macros(text: Text) -> Found:
    name = text.word(2)
    if text.word(1) == "define" and name in MLX_NAMES | _MLX_VARIABLES | _KEYWORDS:
        yield 2, f"{name} is a name of {'Metal' if name in _KEYWORDS else 'MLX'}'s"


RULES = (
    Rule(
        "mlx-name",
        "MLX puts its own definitions before a custom kernel's text",
        "choose another name",
        "int ceildiv(int a, int b) { return a / b; }",
        "int blocks(int a, int b) { return a / b; }",
        _mlx,
    ),
    Rule(
        "keyword",
        "Metal's words for types, spaces and functions are no names",
        "choose another name",
        "void f() { float half = 0.5f; }",
        "void f() { float middle = 0.5f; }",
        _keywords,
    ),
    Rule(
        "macro",
        "a macro of that name changes what MLX's definitions or Metal's words say",
        "choose another name",
        "#define ceildiv(a, b) (a / b)\nconstant int x = 1;",
        "#define BLOCKS(a, b) (a / b)\nconstant int x = 1;",
        _macros,
        on_directives=True,
    ),
)
