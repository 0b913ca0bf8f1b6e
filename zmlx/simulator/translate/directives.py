"""Preprocessor lines that a host compiler should not see as they stand."""

from __future__ import annotations

from zmlx.simulator.translate.tokens import Tokens

# Headers of features that are refused where they are used: without a use they are harmless.
_ABSENT = frozenset(
    "metal_texture metal_raytracing metal_tensor metal_imageblocks metal_mesh metal_command_buffer metal_visible_function_table "
    "metal_graphics metal_interpolate metal_cooperative_tensor metal_tensor_ops metal_depth metal_pull_model".split()
)


def tidy(tokens: Tokens) -> None:
    for directive in tokens.directives:
        whole = [directive.at, *(i for i in range(directive.at + 1, (directive.rest or (directive.at,))[-1] + 1))]
        if directive.name == "line" or directive.name.isdigit():
            tokens.blank(whole)  # lines are those of this text
        elif directive.name in ("include", "import") and path(tokens, directive.rest) in _ABSENT:
            tokens.blank(whole)
        elif directive.name == "import":
            name = next(i for i in whole if tokens.texts[i] == "import")
            tokens.texts[name] = "include"
    tokens.settle()


def path(tokens: Tokens, rest: tuple[int, ...]) -> str:
    """The file that an include names."""
    return "".join(tokens.texts[i] for i in rest).strip('<>"')
