"""What `zmlx.autotune` and `zmlx.heuristics` share: a kernel inside decorators that supply some of its arguments.

A launch goes through the decorators from the outside in. Each adds values to those that were passed, by name; the kernel
itself takes the values of all its parameters, in order.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from zmlx.errors import ArgumentError, AutotuneError
from zmlx.frontend.source import NO_DEFAULT
from zmlx.runtime import device
from zmlx.runtime.configs import OPTIONS
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.launcher import argument_error
from zmlx.targets.compiled import Compiled

Values = dict[str, Any]
_LAUNCH_OPTIONS = (*OPTIONS, "stream")


class Arguments(Values):
    """All arguments of a launch by name, as hooks and heuristics see them. Arrays are written into, never replaced."""

    def __setitem__(self, name: str, value: Any) -> None:
        raise ArgumentError(f"an argument cannot be replaced here; write into the array: args[{name!r}][...] = …")

    def add(self, name: str, value: Any) -> None:
        """Adds what a heuristic computed."""
        super().__setitem__(name, value)


class Wrapper:
    """A kernel with a decorator around it; `fn` is what the decorator was applied to, `kernel` the innermost."""

    def __init__(self, fn: Any, decorator: str) -> None:
        if not isinstance(fn, (JitFunction, Wrapper)):
            name = getattr(fn, "__name__", repr(fn))
            raise AutotuneError(f"@zmlx.{decorator} goes above @zmlx.jit; {name} is no kernel yet")
        self.fn = fn
        self.kernel: JitFunction = fn.kernel if isinstance(fn, Wrapper) else fn
        self.params = self.kernel.params
        self.names = tuple(p.name for p in self.params)
        self._known = frozenset(self.names)
        self._positional = tuple(p.name for p in self.params if not p.keyword_only)
        self._defaults = {p.name: p.default for p in self.params if p.default is not NO_DEFAULT}
        self.__name__, self.__qualname__, self.__module__ = self.kernel.__name__, self.kernel.__qualname__, self.kernel.__module__
        self.__doc__, self.__wrapped__ = self.kernel.__doc__, self.kernel.fn

    # ---- for users ---------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ArgumentError(f"{self.__name__} is a kernel: say how many programs to run, {self.__name__}[grid](...)")

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        return partial(self._start, grid)

    @property
    def launcher(self) -> Callable[..., Any]:
        """`kernel[grid](*args, **kwargs)` as one function of (grid, *args, **kwargs)."""
        return self._start

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.kernel.__qualname__}>"

    def compile(self, *args: Any, target: str | None = None, **kwargs: Any) -> Compiled:
        """As `JitFunction.compile`, with what the decorators supply: of configs, the one that a launch with these
        arguments has been tuned to, else the first that compiles."""
        options = _options(kwargs)
        name = device.known(target) if target is not None else device.current_target()
        return self.compiled(self.passed(args, kwargs), options, name)

    # ---- for the decorators ------------------------------------------------------------------------------------------

    @property
    def supplied(self) -> frozenset[str]:
        """Parameters that this decorator and those inside it give values to."""
        return frozenset()

    def launch(self, grid: Any, values: Values, options: Values) -> Any:
        """Launches with these values of what the decorators outside know."""
        raise NotImplementedError

    def complete(self, values: Values, options: Values) -> Values:
        """The values with those that heuristics here and inside add."""
        raise NotImplementedError

    def compiled(self, values: Values, options: Values, target: str) -> Compiled:
        """`compile` after the arguments are bound."""
        raise NotImplementedError

    def passed(self, args: tuple[Any, ...], kwargs: Values) -> Values:
        """Arguments by name. Raises ArgumentError for what the kernel has no parameter for, or got twice."""
        values = dict(zip(self._positional, args, strict=False))
        values.update(kwargs)
        if len(values) != len(args) + len(kwargs) or not values.keys() <= self._known:
            raise argument_error(self.__name__, self.params, len(args), kwargs) or ArgumentError("the arguments do not fit")
        return values

    def _start(self, grid: Any, /, *args: Any, **kwargs: Any) -> Any:
        options = _options(kwargs) if kwargs else {}
        return self.launch(grid, self.passed(args, kwargs), options)

    # ---- ends of the chain -------------------------------------------------------------------------------------------

    def inner_launch(self, grid: Any, values: Values, options: Values) -> Any:
        """Launches what is inside this decorator."""
        return self.fn.launcher(grid, **values, **options)

    def inner_complete(self, values: Values, options: Values) -> Values:
        """`complete` of what is inside."""
        return self.fn.complete(values, options) if isinstance(self.fn, Wrapper) else values

    def inner_compiled(self, values: Values, options: Values, target: str) -> Compiled:
        """`compiled` of what is inside."""
        if isinstance(self.fn, Wrapper):
            return self.fn.compiled(values, options, target)
        own = {n: v for n, v in options.items() if n in OPTIONS}
        return self.kernel.compile(**values, **own, target=target)

    @property
    def innermost(self) -> Wrapper:
        """The decorator next to the kernel."""
        return self.fn.innermost if isinstance(self.fn, Wrapper) else self

    def ordered(self, values: Values, options: Values) -> tuple[Any, ...]:
        """The values of all parameters in order; a parameter with an option's name receives the option."""
        return tuple(
            options.get(p.name, 4 if p.name == "num_warps" else None) if p.name in OPTIONS else values.get(p.name, p.default)
            for p in self.params
        )


def _options(kwargs: Values) -> Values:
    """Takes the launch options out of keywords."""
    return {name: kwargs.pop(name) for name in _LAUNCH_OPTIONS if name in kwargs}


def arguments(values: Values, options: Mapping[str, Any], defaults: Values) -> Arguments:
    """What hooks, heuristics and performance models are told."""
    args = Arguments(defaults)
    args.update(values)
    for name in OPTIONS:
        if options.get(name) is not None:
            args.add(name, options[name])
    return args


def decorators(fn: Any) -> Iterator[Wrapper]:
    """The decorators of a kernel, outermost first."""
    while isinstance(fn, Wrapper):
        yield fn
        fn = fn.fn


def check_names(what: str, names: Iterable[Any], kernel: JitFunction) -> None:
    """Raises AutotuneError for a name that no parameter of the kernel has, and for a string in place of a list."""
    if isinstance(names, str):
        raise AutotuneError(f"{what} of {kernel.__name__} is a list of names of arguments, got {names!r}")
    known = [p.name for p in kernel.params]
    for name in names:
        if name not in known:
            folded = {n.casefold(): n for n in known}
            near = difflib.get_close_matches(str(name).casefold(), folded, 1)
            hint = f"did you mean {folded[near[0]]!r}? It has" if near else "it has"
            raise AutotuneError(f"{what} of {kernel.__name__} names {name!r}, which is no parameter; {hint} {', '.join(known)}")
