"""`zmlx.Config`: one choice of a kernel's constants and launch options, among which the autotuner picks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zmlx.dtypes import DType
from zmlx.errors import AutotuneError
from zmlx.ops.device import DeviceFunction
from zmlx.runtime.launcher import check_options

OPTIONS = ("num_warps", "num_stages")


def _source(v: Any) -> str:
    """A constant as one writes it."""
    if isinstance(v, DType):
        return f"tl.{v.name}"
    if isinstance(v, DeviceFunction):
        return v.fn.__name__
    if isinstance(v, tuple):
        return f"({', '.join(map(_source, v))}{',' * (len(v) == 1)})"
    return repr(v)


class Config:
    """One candidate of `zmlx.autotune`.

    kwargs      values of kernel parameters by name, as a rule constexprs: {"BLOCK": 1024}
    num_warps   warps of one program: 1, 2, 4, 8, 16 or 32
    num_stages  loads in flight of a pipelined loop, 1 to 16; None leaves it to the compiler
    pre_hook    called with a dict of all arguments before a launch of this config: on copies before it is timed, on the
                arrays of the call before the launch proper. It writes into arrays, `args["c"][...] = 0`.

    The repr is Python that makes an equal config (without its hook). Configs are values: equal ones compare equal, and
    may be keys. Raises AutotuneError for names or options that no kernel can have.
    """

    __slots__ = ("kwargs", "num_stages", "num_warps", "pre_hook")

    def __init__(
        self,
        kwargs: Mapping[str, Any],
        num_warps: int = 4,
        num_stages: int | None = None,
        pre_hook: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        if not isinstance(kwargs, Mapping):
            raise AutotuneError(f'Config takes a dict of constants first, such as {{"BLOCK": 1024}}, got {kwargs!r}')
        for name in kwargs:
            if not isinstance(name, str) or not name.isidentifier():
                raise AutotuneError(f"Config({dict(kwargs)!r}): {name!r} is no name of a parameter")
            if name in OPTIONS:
                raise AutotuneError(f"{name} is an option of the config, beside its constants: Config({{…}}, {name}={kwargs[name]!r})")
        if pre_hook is not None and not callable(pre_hook):
            raise AutotuneError(f"pre_hook={pre_hook!r} of a Config is no function; give one that takes a dict of the arguments")
        check_options("a Config", num_warps, num_stages)
        self.kwargs = dict(kwargs)
        self.num_warps, self.num_stages, self.pre_hook = num_warps, num_stages, pre_hook

    def all_kwargs(self) -> dict[str, Any]:
        """The constants and the options that are set, as keywords of a launch."""
        stages = {} if self.num_stages is None else {"num_stages": self.num_stages}
        return self.kwargs | {"num_warps": self.num_warps} | stages

    def __repr__(self) -> str:
        parts = ["{" + ", ".join(f"{n!r}: {_source(v)}" for n, v in self.kwargs.items()) + "}"]
        if self.num_warps != 4:
            parts.append(f"num_warps={self.num_warps}")
        if self.num_stages is not None:
            parts.append(f"num_stages={self.num_stages}")
        return f"zmlx.Config({', '.join(parts)})"

    def __str__(self) -> str:
        """Short, for tables: BLOCK=1024, num_warps=4."""
        return ", ".join(f"{n}={_source(v)}" for n, v in self.all_kwargs().items())

    def _identity(self) -> tuple[Any, ...]:
        # Not kept: a pruning function may change kwargs. Values count with their types: 1, 1.0 and True are different constants.
        values = tuple((n, type(v), repr(v)) for n, v in sorted(self.kwargs.items()))
        return values, self.num_warps, self.num_stages, self.pre_hook

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())
