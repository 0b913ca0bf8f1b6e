"""Tokens give the text back, whatever it is; segments follow the preprocessor."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zmlx.simulator.translate.tokens import closing_angle, matching, opening, opening_angle, tokenize

PIECES = [
    "threadgroup", "float", "x", "1.5e-3", "0x1p3", "1'000", '"a\\"b"', "'c'", 'R"(raw " \n)"', "// note\n", "/* a\nb */", "/*", '"open',
    "#define A(x) \\\n  x##1\n", "#if A\n", "#else\n", "#endif\n", "\n", "\\\n", " ", "\t", "<", ">", ">>", "::", "->", "[[", "]]",
    "(", ")",
    "{", "}", ";", ",", "#", "é", "\r\n", "@", "u8", 'R"',
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
def test_joined_tokens_are_the_text(text: str) -> None:
    tokens = tokenize(text)
    assert tokens.text == text
    assert [text[at : at + len(t)] for at, t in zip(tokens.starts, tokens.texts, strict=True)] == tokens.texts
    seen = [i for segment in tokens.all_segments() for i in segment]
    assert len(seen) == len(set(seen))  # no token lies in two segments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a /* b */ c // d", ["a", "c"]),
        ("// a \\\n b\nc", ["c"]),
        ('R"x(a)" )x" b', ['R"x(a)" )x"', "b"]),
        ("1'000.5e+3f x", ["1'000.5e+3f", "x"]),
        (".5 1.x 0x1.8p-3", [".5", "1.x", "0x1.8p-3"]),
        ("A<B<c>>d", ["A", "<", "B", "<", "c", ">", ">", "d"]),
        ("a->b::c", ["a", "->", "b", "::", "c"]),
        ('"a\\"b" u8"c"', ['"a\\"b"', 'u8"c"']),
        ("a # b", ["a", "#", "b"]),
        ("#pragma x y\na", ["a"]),
        ("/* c */ #define X y\na", ["a"]),
        ("#define X y \\\n z\na", ["a"]),
        ("#define X /* \n */ y\na", ["a"]),
    ],
)
def test_what_means_something(text: str, words: list[str]) -> None:
    tokens = tokenize(text)
    assert tokens.words(tokens.segments[0]) == words


def test_macros_have_parameters_and_a_body() -> None:
    tokens = tokenize("#define PI 3.0\n#define ADD(a, b) \\\n  ((a) + (b)) // sum\n#define CALL (x)\n#define NOTHING")
    macros = {m.name: (m.parameters, tokens.words(m.body)) for m in tokens.macros}
    assert macros["PI"] == (None, ["3.0"])
    assert macros["ADD"] == (("a", "b"), ["(", "(", "a", ")", "+", "(", "b", ")", ")"])
    assert macros["CALL"] == (None, ["(", "x", ")"])
    assert macros["NOTHING"] == (None, [])


def test_only_the_first_branch_belongs_to_the_text_around_it() -> None:
    tokens = tokenize("a\n#if X\nb {\n# if Y\nc\n# else\nd\n# endif\n#elif Z\ne {\n#else\nf {\n#endif\ng }\n")
    assert [tokens.words(s) for s in tokens.segments] == [["a", "b", "{", "c", "g", "}"], ["d"], ["e", "{"], ["f", "{"]]
    place = {tokens.texts[i]: tokens.branches(i) for s in tokens.segments for i in s}
    assert place["a"] == place["g"] == ()
    assert place["c"][: len(place["b"])] == place["b"]
    assert len({place["b"], place["c"], place["d"], place["e"], place["f"]}) == 5


def test_brackets_match() -> None:
    words = "template < A < B > , C = ( 1 > 2 ) > void f ( g ( x ) [ 2 ] )".split()
    assert closing_angle(words, 1) == 14
    assert opening_angle(words, 14) == 1
    assert matching(words, 17) == len(words) - 1
    assert opening(words, len(words) - 1) == 17
    assert matching(["("], 0) == 1
    assert closing_angle(["a", "<", "b", ";"], 1) == 4
    assert opening([")"], 0) == -1
