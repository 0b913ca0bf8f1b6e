"""Vectors, packed vectors and matrices of the simulator's headers."""

from __future__ import annotations

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from zmlx import simulator

sys.path.append(str(Path(__file__).parent / "headers"))
from msl_run import SCALARS, evaluate, rounded, to_mlx, to_numpy

LAYOUT = """
#define ZM_CHECK(t, size)                                                                                                      \\
    static_assert(sizeof(t##2) == 2 * size && alignof(t##2) == 2 * size);                                                      \\
    static_assert(sizeof(t##3) == 4 * size && alignof(t##3) == 4 * size);                                                      \\
    static_assert(sizeof(t##4) == 4 * size && alignof(t##4) == 4 * size);                                                      \\
    static_assert(sizeof(packed_##t##2) == 2 * size && alignof(packed_##t##2) == size);                                        \\
    static_assert(sizeof(packed_##t##3) == 3 * size && alignof(packed_##t##3) == size);                                        \\
    static_assert(sizeof(packed_##t##4) == 4 * size && alignof(packed_##t##4) == size);                                        \\
    static_assert(is_same_v<vec<t, 3>, t##3> && is_same_v<decltype(t##4().x), t>);
ZM_CHECK(char, 1) ZM_CHECK(uchar, 1) ZM_CHECK(short, 2) ZM_CHECK(ushort, 2) ZM_CHECK(half, 2) ZM_CHECK(bfloat, 2)
ZM_CHECK(int, 4) ZM_CHECK(uint, 4) ZM_CHECK(float, 4) ZM_CHECK(long, 8) ZM_CHECK(ulong, 8)
static_assert(sizeof(bool2) == 2 && sizeof(bool3) == 4 && sizeof(bool4) == 4);
static_assert(sizeof(float2x2) == 16 && sizeof(float3x3) == 48 && sizeof(float4x4) == 64);
static_assert(sizeof(half2x4) == 16 && alignof(float3x3) == 16);
static_assert(sizeof(half) == 2 && sizeof(bfloat) == 2 && sizeof(bool) == 1 && sizeof(int) == 4);
static_assert(sizeof(long) == 8 && sizeof(size_t) == 8);
static_assert(sizeof(atomic_uint) == 4 && sizeof(atomic_ulong) == 8 && sizeof(metal::array<half, 3>) == 6);
struct Mixed { uchar a; float3 b; half c; };
static_assert(sizeof(Mixed) == 48 && alignof(Mixed) == 16);
static_assert(is_same_v<decltype(float3() < float3()), bool3> && is_same_v<decltype(half2() * half2()), half2>);
static_assert(is_same_v<decltype(1.0h), half> && is_same_v<decltype(1.0f), float> && is_signed_v<char>);
"""


def test_sizes_and_alignments() -> None:
    assert evaluate(["1"], {"a": mx.zeros(1)}, "int", header=LAYOUT, threadgroup=1)[0].tolist() == [1]


def rows(type_name: str, statements: str, *results: str) -> list[list[float]]:
    """What vectors of four hold, after statements on `a` = (1, 2, 3, 4) and `b` = (5, 6, 7, 8)."""
    stores = "\n".join(f"r = {e}; for (int k = 0; k < 4; ++k) out[{4 * n} + k] = r[k];" for n, e in enumerate(results))
    t = type_name
    source = f"{t}4 a({t}(1), {t}(2), {t}(3), {t}(4)), b({t}(5), {t}(6), {t}(7), {t}(8)), r;\n{statements}\n{stores}"
    kernel = simulator.metal_kernel("k", [], ["out"], source)
    (out,) = kernel(inputs=[], output_shapes=[(len(results), 4)], output_dtypes=[SCALARS[t][0]], grid=(1, 1, 1), threadgroup=(1, 1, 1))
    return to_numpy(out).astype(float).tolist()


@pytest.mark.parametrize("t", ["float", "half", "bfloat", "int", "uchar"])
def test_swizzles_are_read_written_and_updated(t: str) -> None:
    statements = f"""
        {t}4 c = a; c.xz = b.yw;                          // scattered write
        {t}4 d = a; d.zyx = d.xyz;                        // reads all before it writes
        {t}4 e = a; e.yw += {t}2({t}(1), {t}(2));
        {t}4 f = a; f.xyz *= b.xxx; f.w -= {t}(1);
        {t}4 g = a; g.rgb = b.bgr; g.a = {t}(9);
        {t}4 h = a; h.xy = {t}(7);                        // a scalar for both
        {t}3 three = a.wzy; {t}2 two = three.yx;
        {t}4 j = a; j.x = j.w++; j.z = -j.y + {t}(4);
        {t}4 m = a; m.xy = m.yx; m.zw = m.xy + b.zw;
        {t}4 n = a; n.lo = {t}2({t}(0));
    """
    if t in ("int", "uchar"):
        statements += f"{t}4 q = a; q.xy |= {t}2({t}(8)); q.zw &= {t}2({t}(1)); q.x ^= {t}(1);"
    statements = "\n".join(line for line in statements.splitlines() if ".lo" not in line)  # MSL has no .lo
    results = ["c", "d", "e", "f", "g", "h", f"{t}4(three, two.x)", f"{t}4(two, two)", "j", "m", "a.wzyx", "b.xxyy + a"]
    want = [[6, 2, 8, 4], [3, 2, 1, 4], [1, 3, 3, 6], [5, 10, 15, 3], [7, 6, 5, 9], [7, 7, 3, 4], [4, 3, 2, 3], [3, 4, 3, 4], [4, 2, 2, 5],
            [2, 1, 9, 9], [4, 3, 2, 1], [6, 7, 9, 10]]  # fmt: skip
    if t in ("int", "uchar"):
        results.append("q")
        want.append([8, 10, 1, 0])
    assert rows(t, statements, *results) == want


def test_constructors_and_conversions() -> None:
    statements = """
        const int4 whole(1, -2, 3, -4); const half3 h(1.5h, 2.5h, -3.5h); const uchar4 bytes(255, 254, 1, 0);
        packed_float3 p(b.xyz); p.y = 2; p += packed_float3(a.xyz); p[2] *= 10;
        const packed_char4 small(char4(1, -2, 3, -4)); packed_half2 ph = half2(1, 2);
        device const float4* unaligned = nullptr; (void)unaligned;
        float4 sum = float4(small); sum += float4(float2(ph), float2(0));
    """
    got = rows(
        "float", statements, "float4(whole)", "float4(h, 4)", "float4(4, h)", "float4(a.xy, b.zw)", "float4(1, a.yz, 2)", "float4(bytes)",
        "float4(int4(h.x, h.y, h.z, 0))",
        "float4(char4(bytes))", "float4(p, 0)", "float4(small)", "sum", "float4(uint4(3))", "{1, 2, 3, 4}", "float4(2)",
        "float4(as_type<uchar4>(0x01020304u))",
        "float4(bool4(a.x, 0, 3, b.y - 6))",
    )  # fmt: skip
    assert got == [[1, -2, 3, -4], [1.5, 2.5, -3.5, 4], [4, 1.5, 2.5, -3.5], [1, 2, 7, 8], [1, 2, 3, 2], [255, 254, 1, 0], [1, 2, -3, 0],
        [-1, -2, 1, 0],
                   [6, 4, 100, 0], [1, -2, 3, -4], [2, 0, 3, -4], [3, 3, 3, 3], [1, 2, 3, 4], [2, 2, 2, 2], [4, 3, 2, 1], [1, 0, 1,
                   0]]  # fmt: skip


def test_operators_comparisons_and_selection() -> None:
    got = rows(
        "float", "const int4 i(1, -2, 3, -4); const float4 c(4, 3, 2, 1); float4 n = a; n /= 2.0f; n = -n; int4 s = i; s <<= 2; s %= 5; "
        "int4 t = ~i; t ^= i;",
        "a * 2", "2 * a", "1 - a", "b / a", "a * b + c", "n", "float4(a < c)", "float4(a == c.wzyx)", "float4(!(a < c))",
        "select(a, b, a < c)", "float4(s)",
        "float4(t)", "float4(all(a < b), any(a > b), all(a <= c), any(a >= c))", "float4(a < c && b > 5)", "min(a, c)", "clamp(a, 2, 3)",
        "max(a, 2.5f)",
        "fma(a, b, c)", "float4(i >> 1)", "float4(uint4(i) >> 31)", "select(a, b, bool4(true, false, true, false))", "float4(-i.yx, +i.zw)",
        "float4(length(a.xy * 0 + float2(3, 4)), dot(a.xy, b.zw), cross(a.xyz, b.zyx).x, distance(a.xw, b.xw))",
        "float4(select(a.xy, b.yx, (a < c).zw), all((a < c).xy), any((a < c).wz))",
        "float4(normalize(a.xyz * 0 + float3(0, 2, 0)), reflect(a.xy, b.xy - b.xy).y)",
    )  # fmt: skip
    assert got == [
        [2, 4, 6, 8], [2, 4, 6, 8], [0, -1, -2, -3], [5, 3, np.float32(7) / np.float32(3), 2], [9, 15, 23, 33], [-0.5, -1, -1.5, -2], [1,
        1, 0, 0], [1, 1, 1, 1],
        [0, 0, 1, 1], [5, 6, 3, 4], [4, -3, 2, -1], [-1, -1, -1, -1], [1, 0, 0, 1], [0, 1, 0, 0], [1, 2, 2, 1], [2, 2, 3, 3], [2.5, 2.5,
        3, 4],
        [9, 15, 23, 33], [0, -1, 1, -2], [0, 1, 0, 1], [5, 2, 7, 4], [2, -1, 3, -4],
        [5, 23, -8, np.sqrt(np.float32(32))], [1, 2, 1, 0], [0, 1, 0, 2],
    ]  # fmt: skip


def test_geometry() -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(3, 300)).astype(np.float32), random.normal(size=(3, 300)).astype(np.float32)
    got = evaluate(
        ["dot(x, y)", "length(x)", "length_squared(x)", "distance(x, y)", "normalize(x).x", "cross(x, y).x", "cross(x, y).z",
        "reflect(x, normalize(y)).y",
         "precise::length(x)", "fast::normalize(x).z", "sin(x).y", "float(dot(half3(x), half3(1)))"],
        {k: mx.array(row) for k, row in zip("abcdef", (*x, *y), strict=True)}, "float",
        before="const float3 x(a[i], b[i], c[i]), y(d[i], e[i], f[i]);",
    )  # fmt: skip
    p, q = x.astype(np.float64), y.astype(np.float64)
    unit = q / np.sqrt((q * q).sum(0))
    cross = np.cross(p.T, q.T).T
    norm = np.sqrt((p * p).sum(0))
    want = [(p * q).sum(0), norm, norm**2, np.sqrt(((p - q) ** 2).sum(0)), p[0] / norm, cross[0], cross[2],
        (p - 2 * unit * (unit * p).sum(0))[1], norm,
            p[2] / norm, np.sin(p[1])]  # fmt: skip
    for k, (g, w) in enumerate(zip(got, want, strict=False)):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5, err_msg=str(k))
    h = x.astype(np.float16)
    np.testing.assert_array_equal(got[11], ((h[0] + h[1]) + h[2]).astype(np.float32))  # rounded after each step


@pytest.mark.parametrize("t", ["float", "half", "bfloat"])
def test_matrices(t: str) -> None:
    """Columns of vectors; products of small integers are exact in all types."""
    random = np.random.default_rng(2)
    x, y = random.integers(-3, 4, (2, 4, 4)).astype(np.float32)  # x[column][row]
    source = f"""
        {t}4x4 m, n;
        for (int c = 0; c < 4; ++c) for (int r = 0; r < 4; ++r) {{ m[c][r] = x[c * 4 + r]; n[c][r] = y[c * 4 + r]; }}
        const {t}4x4 p = m * n, q = transpose(m) + n * {t}(2) - m;
        const {t}2x3 narrow(m[0].xyz, m[1].xyz);
        const {t}3 image = narrow * n[0].xy; const {t}2 other = n[0].xyz * narrow;
        const {t}4 column = m * n[1], row = n[1] * m;
        const {t}2x2 unit({t}(5)), four({t}(1), {t}(2), {t}(3), {t}(4));
        for (int c = 0; c < 4; ++c) for (int r = 0; r < 4; ++r) {{ out[c * 4 + r] = p[c][r]; out[16 + c * 4 + r] = q[c][r]; }}
        for (int k = 0; k < 4; ++k) {{ out[32 + k] = column[k]; out[36 + k] = row[k]; }}
        for (int k = 0; k < 4; ++k) {{ out[40 + k] = unit[k / 2][k % 2]; out[44 + k] = four[k / 2][k % 2]; }}
        for (int k = 0; k < 3; ++k) out[48 + k] = image[k];
        for (int k = 0; k < 2; ++k) out[51 + k] = other[k];
    """
    kernel = simulator.metal_kernel("k", ["x", "y"], ["out"], source)
    (out,) = kernel(inputs=[to_mlx(x.reshape(-1), t), to_mlx(y.reshape(-1), t)], output_shapes=[(53,)], output_dtypes=[SCALARS[t][0]],
                    grid=(1, 1, 1), threadgroup=(1, 1, 1))  # fmt: skip
    m, n = x.T, y.T  # [row][column]
    narrow = m[:3, :2]
    want = [(m @ n).T.reshape(-1), (m.T + 2 * n - m).T.reshape(-1), m @ n[:, 1], n[:, 1] @ m, [5, 0, 0, 5], [1, 2, 3, 4], narrow @ n[:2, 0],
            n[:3, 0] @ narrow]  # fmt: skip
    np.testing.assert_array_equal(to_numpy(out).astype(np.float32), np.concatenate(want))


@pytest.mark.parametrize("t", ["half", "bfloat"])
def test_vector_arithmetic_of_small_floats_is_rounded_per_operation(t: str) -> None:
    random = np.random.default_rng(7)
    x, y = (rounded(random.normal(0, 2, 400), t) for _ in range(2))
    got = evaluate(["(v * v + w).x", "(v / w).y", "dot(v, w)", "exp(v).x", "max(v, w).x"], {"a": to_mlx(x, t), "b": to_mlx(y, t)}, t,
                   before=f"const {t}2 v = {t}(a[i]), w = {t}(b[i]);")  # fmt: skip
    p, q = x.astype(np.float32), y.astype(np.float32)
    square, product = rounded(p * p, t).astype(np.float32), rounded(p * q, t).astype(np.float32)
    want = [square + q, p / q, product + product, np.exp(p.astype(np.float64)), np.maximum(p, q)]
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_array_equal(g, rounded(w, t), err_msg=str(k))
