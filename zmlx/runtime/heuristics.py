"""`zmlx.heuristics`: constants of a kernel computed from its other arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zmlx.errors import ArgumentError, AutotuneError
from zmlx.runtime.jit import JitFunction
from zmlx.runtime.wrapper import Values, Wrapper, arguments, check_names, decorators
from zmlx.targets.compiled import Compiled


class Heuristics(Wrapper):
    """A kernel some of whose parameters are computed; `zmlx.heuristics` makes it."""

    def __init__(self, fn: JitFunction | Wrapper, values: Mapping[str, Callable[[dict[str, Any]], Any]]) -> None:
        super().__init__(fn, "heuristics")
        check_names("heuristics", values, self.kernel)
        for name, function in values.items():
            if not callable(function):
                raise AutotuneError(f"the heuristic of {name} is {function!r}; give a function of a dict of the arguments")
        taken = set(values) & {n for w in decorators(fn) for n in w.supplied}
        if taken:
            names = ", ".join(sorted(taken))
            raise AutotuneError(f"{names} of {self.__name__} has a heuristic and gets a value from another decorator too; keep one")
        self.values = dict(values)

    @property
    def supplied(self) -> frozenset[str]:
        inner = self.fn.supplied if isinstance(self.fn, Wrapper) else frozenset()
        return inner | self.values.keys()

    def _added(self, values: Values, options: Values) -> Values:
        if not values.keys().isdisjoint(self.values):
            names = ", ".join(sorted(values.keys() & self.values.keys()))
            raise ArgumentError(f"{names} of {self.__name__} is computed by a heuristic; leave it out of the launch")
        new, args = dict(values), arguments(values, options, self._defaults)
        for name, function in self.values.items():
            new[name] = function(args)
            args.add(name, new[name])
        return new

    def launch(self, grid: Any, values: Values, options: Values) -> Any:
        return self.inner_launch(grid, self._added(values, options), options)

    def complete(self, values: Values, options: Values) -> Values:
        return self.inner_complete(self._added(values, options), options)

    def compiled(self, values: Values, options: Values, target: str) -> Compiled:
        return self.inner_compiled(self._added(values, options), options, target)


def heuristics(values: Mapping[str, Callable[[dict[str, Any]], Any]]) -> Callable[[Any], Heuristics]:
    """Computes parameters of a kernel from the others at each launch.

    @zmlx.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
    @zmlx.jit
    def kernel(x_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr): ...

    values: a function of a dict of the arguments for each name. They are called in order, and later ones find the values
    of earlier ones. The dict holds what was passed, defaults, and what decorators outside supply: above `@zmlx.heuristics`,
    `@zmlx.autotune` adds the constants of the config; below it, the autotuner sees what the heuristics computed.

    Raises AutotuneError for a name that is no parameter, or that a config or another heuristic sets.
    """
    return lambda fn: Heuristics(fn, values)
