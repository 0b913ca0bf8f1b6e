"""What a `tl` function is: a Python function over the builder, with the signature that users see."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zmlx.errors import CallError
from zmlx.intrinsics.markers import unwrap

METHODS: dict[str, Any] = {}  # name -> Builtin or DeviceFunction, called with the tensor as the first argument


_NOTHING: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset("*"))  # no call fits: the signature itself decides


class Builtin:
    """A function of the language that the compiler implements.

    fn         (builder, *args, **kwargs) -> Value, tuple of them, or a Python constant
    name       as users write it after `tl.`
    group      the section of the language reference
    signature  without the builder
    doc        what it does
    host       what a call outside a kernel does, for the few functions of plain numbers
    """

    def __init__(
        self, fn: Callable[..., Any], name: str = "", group: str = "", doc: str = "", host: Callable[..., Any] | None = None
    ) -> None:
        self.fn, self.group, self.host = fn, group, host
        self.name = name or fn.__name__.rstrip("_")
        self.doc = inspect.cleandoc(doc or fn.__doc__ or "")
        self.__doc__, self.__name__ = self.doc, self.name
        full = inspect.signature(fn)
        self.signature = full.replace(parameters=list(full.parameters.values())[1:], return_annotation=inspect.Signature.empty)
        self.__signature__ = self.signature
        params = self.signature.parameters
        plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in params.values())
        required = {n for n, p in params.items() if p.default is p.empty}
        # After so many positional arguments: the names that may follow, and those that must.
        places = range(len(params) + 1) if plain else ()
        self._after = [(frozenset([*params][i:]), required.intersection([*params][i:])) for i in places]

    def invoke(self, b: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Calls it with a builder; arguments that do not fit the signature are a `CallError` that shows it."""
        may, must = self._after[len(args)] if len(args) < len(self._after) else _NOTHING
        if not must <= kwargs.keys() <= may:
            try:
                self.signature.bind(*args, **kwargs)
            except TypeError as e:
                raise CallError(f"tl.{self.name}: {e}", f"its signature is {self.spelling()}") from None
        return self.fn(b, *map(unwrap, args), **{k: unwrap(v) for k, v in kwargs.items()})

    def spelling(self) -> str:
        """The call as documentation writes it: tl.name(a, b=…)."""
        parts = []
        for p in self.signature.parameters.values():
            star = "*" if p.kind is p.VAR_POSITIONAL else ""
            parts.append(star + p.name + ("" if p.default is p.empty else f"={p.default!r}"))
        return f"tl.{self.name}({', '.join(parts)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.host is not None:
            return self.host(*args, **kwargs)
        raise CallError(f"tl.{self.name} was called outside a kernel", "call it inside a @zmlx.jit function, which zmlx compiles")

    def __repr__(self) -> str:
        return f"<{self.spelling()}>"


def builtin(
    fn: Callable[..., Any] | None = None,
    *,
    name: str = "",
    group: str = "",
    method: bool | str = False,
    doc: str = "",
    host: Callable[..., Any] | None = None,
) -> Any:
    """Decorates `def f(b, …)` as a `tl` function; `method` makes it one of tensors too (under its own or another name)."""

    def make(f: Callable[..., Any]) -> Builtin:
        made = Builtin(f, name, group or f.__module__.rpartition(".")[2], doc, host)
        if method:
            METHODS[method if isinstance(method, str) else made.name] = made
        return made

    return make if fn is None else make(fn)
