"""Which configs of an autotuned kernel are worth timing, as its author says: `prune_configs_by`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zmlx.errors import AutotuneError
from zmlx.runtime.configs import Config
from zmlx.runtime.wrapper import Arguments

_NAMES = ("early_config_prune", "perf_model", "top_k")


@dataclass(frozen=True)
class Pruning:
    """early(configs, args, **keywords) gives the configs to keep; model(**args of one config) a time, of which the
    `top` smallest stay: a number, or a share of all configs up to 1.0."""

    kernel: str
    early: Callable[..., Sequence[Config]] | None = None
    model: Callable[..., float] | None = None
    top: int | float = 1.0

    @staticmethod
    def of(options: Mapping[str, Any] | None, kernel: str) -> Pruning:
        """From the dict that users write. Raises AutotuneError for what it cannot hold."""
        options = options or {}
        for name in options:
            if name not in _NAMES:
                raise AutotuneError(f"prune_configs_by of {kernel} has {name!r}; it takes {', '.join(_NAMES)}")
        early, model, top = (options.get(n) for n in _NAMES)
        for name, function in zip(_NAMES[:2], (early, model), strict=True):
            if function is not None and not callable(function):
                raise AutotuneError(f"{name} of {kernel} is {function!r}, which cannot be called")
        if top is None:
            top = 1.0
        if isinstance(top, bool) or not isinstance(top, (int, float)) or top <= 0 or (isinstance(top, float) and top > 1):
            raise AutotuneError(f"top_k={top!r} of {kernel}; it is a number of configs, or a share of them as a float up to 1.0")
        if "top_k" in options and model is None:
            raise AutotuneError(f"top_k of {kernel} needs a perf_model, which says which configs come first")
        return Pruning(kernel, early, model, top)

    def __call__(self, configs: Sequence[Config], named: Arguments, full: Callable[[Config], Arguments]) -> list[Config]:
        """The configs to time, in their order. `named`: the launch's arguments; `full`: with those of a config."""
        kept = list(configs)
        if self.early is not None:
            kept = list(self.early(list(configs), named, **named))
            if not kept:
                raise AutotuneError(f"early_config_prune of {self.kernel} leaves no config; keep at least one")
            strange = [c for c in kept if not isinstance(c, Config)]
            if strange:
                raise AutotuneError(f"early_config_prune of {self.kernel} returns {strange[0]!r}; it returns a list of zmlx.Config")
        if self.model is not None:
            count = max(1, int(len(configs) * self.top)) if isinstance(self.top, float) else self.top
            if len(kept) > count:
                times = [self.model(**full(c)) for c in kept]
                best = sorted(range(len(kept)), key=lambda i: (times[i], i))[:count]
                kept = [kept[i] for i in sorted(best)]
        return kept
