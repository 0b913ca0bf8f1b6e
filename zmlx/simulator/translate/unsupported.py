"""What the simulator refuses by name: the parts of MSL that are not for computing, and those that need the hardware."""

from __future__ import annotations

import re

from zmlx.simulator.translate import attributes
from zmlx.simulator.translate.conditions import Defined, inactive
from zmlx.simulator.translate.errors import UnsupportedFeature
from zmlx.simulator.translate.spaces import SPACES
from zmlx.simulator.translate.tokens import Tokens, is_word

_TEXTURES = re.compile(r"(texture(1d|2d|3d|cube|_buffer)|depth(2d|cube))(_ms)?(_array)?")

# Types that stand before `<`, `::` or a variable's name.
_TYPES = {
    "sampler": "samplers",
    "imageblock": "imageblocks",
    "acceleration_structure": "ray tracing",
    "instance_acceleration_structure": "ray tracing",
    "primitive_acceleration_structure": "ray tracing",
    "intersector": "ray tracing",
    "intersection_query": "ray tracing",
    "intersection_function_table": "ray tracing",
    "intersection_result": "ray tracing",
    "raytracing": "ray tracing",
    "visible_function_table": "visible function tables",
    "mesh_grid_properties": "mesh shaders",
    "command_buffer": "indirect command buffers",
    "render_command": "indirect command buffers",
    "compute_command": "indirect command buffers",
    "render_pipeline_state": "indirect command buffers",
    "compute_pipeline_state": "indirect command buffers",
    "patch_control_point": "tessellation",
    "interpolant": "interpolants",
    "rasterization_rate_map_data": "rasterization rate maps",
    "rasterization_rate_map_decoder": "rasterization rate maps",
    "tensor": "tensors",
    "tensor_handle": "tensors",
    "tensor_inline": "tensors",
    "cooperative_tensor": "cooperative tensors",
    "convolution2d": "convolutions (MetalPerformancePrimitives)",
    "convolution2d_descriptor": "convolutions (MetalPerformancePrimitives)",
    "execution_simdgroups": "tensor operations of several simdgroups",
    "simdgroup_event": "asynchronous copies (simdgroup_event)",
}
_FUNCTIONS = {
    "simdgroup_async_copy": "asynchronous copies (simdgroup_async_copy)",
    "discard_fragment": "fragment functions",
    "dfdx": "fragment functions",
    "dfdy": "fragment functions",
    "fwidth": "fragment functions",
    "get_sample_position": "fragment functions",
    "get_num_samples": "fragment functions",
}
_WORDS = {"ray_data": "ray tracing", "object_data": "mesh shaders", "threadgroup_imageblock": "imageblocks"}
_STAGES = {"vertex": "vertex functions", "fragment": "fragment functions"}
_ATTRIBUTES = {
    "stage_in": "[[stage_in]] arguments",
    "vertex": "vertex functions",
    "fragment": "fragment functions",
    "mesh": "mesh shaders",
    "object": "mesh shaders",
    "payload": "mesh shaders",
    "intersection": "ray tracing",
    "visible": "visible functions",
    "stitchable": "stitchable functions",
    "texture": "textures",
    "sampler": "samplers",
    "patch": "tessellation",
    "color": "fragment functions",
    "early_fragment_tests": "fragment functions",
    "imageblock_data": "imageblocks",
    "id": "argument buffers",
}
_NOT_ATOMIC = frozenset("half bfloat short ushort char uchar long double int8_t uint8_t int16_t uint16_t int64_t".split())


def check(tokens: Tokens, known_classes: frozenset[str], defined: Defined) -> frozenset[str]:
    """Raises for the first use of what is refused; gives the names of the text's own classes.

    `defined` are the macros of the text before this one; this one's are added.
    """
    dead = inactive(tokens, defined)
    classes = known_classes.union(*(_declared(tokens.words(segment)) for segment in tokens.all_segments()))
    for segment in tokens.all_segments():
        words = tokens.words(segment)
        for k, word in enumerate(words):
            name = _refused(words, k, word, classes)
            if name and not dead(segment[k]):
                raise UnsupportedFeature(name, tokens.line(segment[k]))
    return classes


def _declared(words: list[str]) -> set[str]:
    """The names of classes, aliases, namespaces and type parameters."""
    names = set()
    for k in range(len(words) - 2):
        word, name, following = words[k : k + 3]
        if (
            word in ("struct", "class", "union", "enum")
            or (word == "namespace" and words[k - 1 : k] != ["using"])
            or (word in ("using", "typename") and following in ("=", ",", ">"))
        ) and is_word(name):
            names.add(name)
    return names


def _refused(words: list[str], k: int, word: str, classes: frozenset[str]) -> str | None:
    following = words[k + 1] if k + 1 < len(words) else ""
    if word == "[":
        if following == "[":
            for attribute in attributes.read(words, k)[1]:
                if attribute.name in _ATTRIBUTES:
                    return _ATTRIBUTES[attribute.name]
        return None
    before = words[k - 1] if k else ""
    if word in _WORDS:
        return _WORDS[word]
    if word in _STAGES:
        return _STAGES[word] if is_word(following) and before not in (".", "->") else None
    if word in ("asm", "__asm", "__asm__"):
        return "functions of the compiler's intermediate language (asm)" if following == "(" else None
    if word in classes or before in (".", "->"):
        return None
    if word[:7] == "atomic_" and word[7:] in _NOT_ATOMIC:
        return f"atomics of {word[7:]} (Metal has none)"
    if word in _TYPES:
        return _TYPES[word] if following in ("<", "::") or is_word(following) or before in SPACES else None
    if word in _FUNCTIONS:
        return _FUNCTIONS[word] if following == "(" and not is_word(before) else None
    if word[:5] in ("textu", "depth") and _TEXTURES.fullmatch(word) and (following == "<" or is_word(following)):
        return "textures"
    if word == "atomic" and following == "<" and k + 3 < len(words) and words[k + 3] == ">" and words[k + 2] in _NOT_ATOMIC:
        return f"atomics of {words[k + 2]} (Metal has none)"
    return None
