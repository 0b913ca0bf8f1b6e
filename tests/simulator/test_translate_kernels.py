"""What a translation says about kernels, and what it refuses by name."""

from __future__ import annotations

import pytest

from zmlx.simulator.translate import Instantiation, KernelSignature, Parameter, UnsupportedFeature, translate


def kernel(msl: str) -> KernelSignature:
    (found,) = translate(msl).kernels
    return found


CUSTOM = """
template <typename T, int N = 4>
[[kernel]] void custom_kernel_f(
  const device T* x [[buffer(0)]],
  const constant int* x_shape [[buffer(1)]],
  const constant int64_t& n [[buffer(2)]],
  device atomic<vec<uint, 2>>* out [[buffer(3)]],
  uint3 thread_position_in_grid [[thread_position_in_grid]]) {
  out[0] = x[1];
}

template [[host_name("custom_kernel_f_float")]] [[kernel]] decltype(custom_kernel_f<float, 8>) custom_kernel_f<float, 8>;
"""


def test_a_custom_kernel_as_mlx_writes_it() -> None:
    found = translate(CUSTOM)
    assert found.kernels == (
        KernelSignature(
            "custom_kernel_f",
            "typename T, int N = 4",
            (
                Parameter("x", "T", "device", "buffer(0)", True, True, False, buffer=0),
                Parameter("x_shape", "int", "constant", "buffer(1)", True, True, False, buffer=1),
                Parameter("n", "int64_t", "constant", "buffer(2)", True, False, True, buffer=2),
                Parameter("out", "atomic<vec<uint, 2>>", "device", "buffer(3)", False, True, False, buffer=3),
                Parameter("thread_position_in_grid", "uint3", None, "thread_position_in_grid", False, False, False),
            ),
            3,
        ),
    )
    assert found.instantiations == (Instantiation("custom_kernel_f_float", "custom_kernel_f", "float, 8", 12),)
    assert "template decltype(custom_kernel_f<float, 8>) custom_kernel_f<float, 8>;" in " ".join(found.text.split())


@pytest.mark.parametrize(
    "head",
    ["kernel void f", "[[kernel]] void f", '[[host_name("g")]] [[kernel]] void f', "[[host_name(\"g\")]] kernel void f",
    "[[kernel, host_name(\"g\")]] void f"],
)  # fmt: skip
def test_spellings_of_a_kernel(head: str) -> None:
    found = kernel(f"int g() {{ return 1; }}\n{head}(uint i [[thread_position_in_grid]]) {{}}")
    assert (found.name, found.line, found.template) == ("f", 2, "")
    assert found.host_name == ("g" if "host_name" in head else None)


def test_attributes_of_a_kernel_and_its_parameters() -> None:
    found = kernel(
        "[[kernel, max_total_threads_per_threadgroup(WM * WN * 32)]] void f(\n"
        "  const device metal::half4* mask [[buffer(5), function_constant(has_mask)]],\n"
        "  threadgroup float* shared [[threadgroup(0)]], constant uint shape[4], device T *a, volatile device uint &flag [[buffer(1)]],\n"
        "  uint lane [[thread_index_in_simdgroup]], ushort2 p [[thread_position_in_threadgroup]], device B& b) {}"
    )
    assert found.max_threads == "WM * WN * 32"
    assert [(p.name, p.type, p.space, p.attribute, p.condition, p.buffer) for p in found.parameters] == [
        ("mask", "metal::half4", "device", "buffer(5)", "has_mask", 5),
        ("shared", "float", "threadgroup", "threadgroup(0)", None, None),
        ("shape", "uint", "constant", None, None, 0),
        ("a", "T", "device", None, None, 2),
        ("flag", "uint", "device", "buffer(1)", None, 1),
        ("lane", "uint", None, "thread_index_in_simdgroup", None, None),
        ("p", "ushort2", None, "thread_position_in_threadgroup", None, None),
        ("b", "B", "device", None, None, 3),
    ]
    assert [(p.is_const, p.is_pointer, p.is_reference) for p in found.parameters[:5]] == [
        (True, True, False),
        (False, True, False),
        (True, True, False),
        (False, True, False),
        (False, False, True),
    ]


def test_explicit_instantiations() -> None:
    found = translate(
        'template [[host_name("a" "b")]] [[kernel]] decltype(f<float, (2 > 1)>) f<float, (2 > 1)>;\n'
        'template [[host_name("c")]] kernel void f<half>(device half* x [[buffer(0)]]);\n'
    )
    assert found.instantiations == (Instantiation("ab", "f", "float, (2 > 1)", 1), Instantiation("c", "f", "half", 2))
    assert found.kernels == ()


def test_kernels_in_branches_are_found_and_others_are_not() -> None:
    names = [
        k.name
        for k in translate(
            "#if A\nkernel void a() {}\n#else\nkernel void b() {}\n#endif\n// kernel void c() {}\nvoid d() {}\n[[gnu::noinline]] void e();"
        ).kernels
    ]
    assert names == ["a", "b"]


REFUSED = [
    ("void f(metal::texture2d<float, access::read> t [[texture(0)]]);", "textures"),
    ("texture2d_array<half> t;", "textures"),
    ("depth2d<float> d;", "textures"),
    ("constexpr sampler s(filter::linear);", "samplers"),
    ("void f(sampler s [[sampler(0)]]);", "samplers"),
    ("imageblock<P> b;", "imageblocks"),
    ("raytracing::intersector<> i;", "ray tracing"),
    ("primitive_acceleration_structure a;", "ray tracing"),
    ("intersection_function_table<> t;", "ray tracing"),
    ("visible_function_table<int(int)> t;", "visible function tables"),
    ("vertex float4 f() { return 0; }", "vertex functions"),
    ("fragment half4 f(V v [[stage_in]]) { return 0; }", "fragment functions"),
    ("[[fragment]] half4 f() { return 0; }", "fragment functions"),
    ("kernel void f(V v [[stage_in]]) {}", "[[stage_in]] arguments"),
    ("[[mesh]] void f();", "mesh shaders"),
    ("object_data P& p;", "mesh shaders"),
    ("mpp::tensor_ops::convolution2d<d, execution_simdgroup> op;", "convolutions"),
    ("mpp::tensor_ops::matmul2d<d, execution_simdgroups<4>> op;", "tensor operations of several simdgroups"),
    ("tensor<device half, dextents<int, 2>> t;", "tensors"),
    ("auto c = op.get_destination_cooperative_tensor<A, B>(); cooperative_tensor<float> t;", "cooperative tensors"),
    ("command_buffer b;", "indirect command buffers"),
    ("simdgroup_event e;", "asynchronous copies"),
    ('void f() __asm("air.simdgroup_async_copy_2d");', "intermediate language"),
    ("device atomic<half>* a;", "atomics of half"),
    ("device atomic_short* a;", "atomics of short"),
    ("struct A { device float* p [[id(0)]]; };", "argument buffers"),
    ("#define T texture2d<float>", "textures"),
    ("#if __METAL_VERSION__ >= 310\ntexture2d<float> t;\n#endif", "textures"),
    ("#ifdef __HAVE_IT\ntexture2d<float> t;\n#endif", "textures"),
]
ALLOWED = [
    "// texture2d<float> t;",
    'auto s = "texture2d<float>";',
    "int sampler = 1; x.sampler = sampler;",
    "float tensor = 2; tensor *= 3;",
    "struct tensor { int a; }; tensor t; tensor<2> u;",
    "struct S { int mesh, vertex; }; s.vertex = 1; s->fragment = 2;",
    "#if 0\ntexture2d<float> t;\n#endif",
    "#if __METAL_VERSION__ >= 400\ntensor<float> t;\n#else\nint t;\n#endif",
    "#if !defined(__METAL__)\nsampler s;\n#elif defined(__METAL_VERSION__) && __METAL_VERSION__ < 310\nsampler s;\n#endif",
    "#ifndef __METAL__\nsampler s;\n#endif",
    "#ifdef __METAL__\n#else\nsampler s;\n#endif",
    "#define TEXTURES 0\n#if TEXTURES\n#if OTHER\nsampler s;\n#endif\n#endif",
    "#if (1 + 2 * 3 == 7) && !(4 / 2 != 2) || X\n#else\nsampler s;\n#endif",
    "#ifdef HAS_TENSOR\ntensor<float> t;\n#endif",
    "#if defined(HAS_TENSOR) && HAS_TENSOR > 1\ntensor<float> t;\n#endif",
    "#if !HAS_TENSOR\n#else\ntensor<float> t;\n#endif",
    "#if __has_include(<metal_tensor>)\ntensor<float> t;\n#endif",
    "#include <metal_texture>",
    "device atomic<uint>* a; atomic_int b; atomic<float> c;",
    "int depth = 1; depth2 texture; float depth2d = 3;",
]


@pytest.mark.parametrize(("msl", "name"), REFUSED)
def test_what_the_simulator_lacks_is_refused_by_name_and_line(msl: str, name: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        translate(f"int first;\n\n{msl}\n")
    assert name in refused.value.name
    assert refused.value.line == (4 if msl.startswith("#if") else 3)
    assert f"line {refused.value.line}" in str(refused.value)


@pytest.mark.parametrize("msl", ALLOWED)
def test_a_mention_is_no_use(msl: str) -> None:
    translate(msl)


def test_macros_of_the_header_decide_what_is_compiled() -> None:
    msl = "#if HAS_TENSOR > 1\ntensor<float> t;\n#endif"
    translate(msl, translate("#define HAS_TENSOR 1\n"))
    with pytest.raises(UnsupportedFeature, match="tensors"):
        translate(msl, translate("#define HAS_TENSOR 2\n"))
    with pytest.raises(UnsupportedFeature, match="tensors"):
        translate(msl, translate("#define HAS_TENSOR (OTHER)\n"))


def test_a_class_of_the_header_is_no_feature() -> None:
    translate("tensor t;", translate("struct tensor { int a; };"))
