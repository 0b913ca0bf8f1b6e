"""The passes in their order, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from zmlx.simulator.translate import (
    attributes,
    constants,
    directives,
    function_constants,
    initialisers,
    kernels,
    literals,
    members,
    overloads,
    spaces,
    threadgroup,
    unsupported,
)
from zmlx.simulator.translate.function_constants import FunctionConstant
from zmlx.simulator.translate.kernels import Instantiation, KernelSignature
from zmlx.simulator.translate.overloads import Macros
from zmlx.simulator.translate.tokens import tokenize


@dataclass(frozen=True, slots=True)
class Translation:
    """C++ text with as many lines as the MSL, and what the MSL declares.

    The names that it passes on to a text translated after it (`translate(source, after=header)`) are the last fields.
    """

    text: str
    kernels: tuple[KernelSignature, ...]
    instantiations: tuple[Instantiation, ...]
    function_constants: tuple[FunctionConstant, ...]
    aliases: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    macros: Macros = field(default=Macros(), repr=False)
    classes: frozenset[str] = field(default=frozenset(), repr=False)
    defined: tuple[tuple[str, int | None], ...] = field(default=(), repr=False)


@lru_cache(maxsize=64)
def translate(msl: str, after: Translation | None = None) -> Translation:
    """Translates MSL whose MLX includes are flattened; `after` is the translation of the text that precedes it.

    Raises UnsupportedFeature for what the simulator does not run.
    """
    tokens = tokenize(msl)
    defined = dict(after.defined) if after else {}
    classes = unsupported.check(tokens, after.classes if after else frozenset(), defined)
    directives.tidy(tokens)
    aliases = threadgroup.expand_aliases(tokens, dict(after.aliases) if after else {})
    found_kernels, instantiations = kernels.read(tokens)
    constants_known = after.function_constants if after else ()
    found_constants = function_constants.convert(tokens, constants_known)
    attributes.strip(tokens)
    literals.convert(tokens)
    initialisers.expand(tokens)
    constants.qualify(tokens, classes)
    threadgroup.convert(tokens)
    macros = (after.macros if after else Macros()).followed_by(tokens)
    overloads.drop(tokens, macros)
    members.rewrite(tokens, macros.names)
    spaces.strip(tokens)
    spaces.rename_reserved(tokens)
    return Translation(
        text=tokens.text,
        kernels=found_kernels,
        instantiations=instantiations,
        function_constants=(*constants_known, *found_constants),
        aliases=tuple(aliases.items()),
        macros=macros,
        classes=classes,
        defined=tuple(defined.items()),
    )
