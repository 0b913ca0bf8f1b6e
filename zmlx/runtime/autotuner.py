"""`zmlx.autotune`: a kernel that finds out which of several configs is the fastest, once for each key.

A launch looks its key up in memory, then on disk; else it times the configs, on the launch's own arguments, without
changing them. Where nothing can be timed (inside mx.compile, on a simulated target, with ZMLX_AUTOTUNE=off) the cost model
chooses instead, and that choice is not remembered as a result.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx

from zmlx import knobs
from zmlx.errors import ArgumentError, AutotuneError, AutotuneWarning
from zmlx.runtime import cache, candidates
from zmlx.runtime.candidates import Candidate, NotTraceable
from zmlx.runtime.configs import OPTIONS, Config
from zmlx.runtime.launcher import argument_error
from zmlx.runtime.machine import identity
from zmlx.runtime.pruning import Pruning
from zmlx.runtime.signature import ArraySpec
from zmlx.runtime.timing import FIRST_ROUNDS, Timing
from zmlx.runtime.tuning import Trial, Tuning, progress
from zmlx.runtime.tuning_key import key_function, key_text
from zmlx.runtime.wrapper import Arguments, Values, Wrapper, arguments, check_names, decorators
from zmlx.targets.compiled import Compiled

Hook = Callable[..., Any]
_QUANTILES = (0.5, 0.2, 0.8)


class Autotuner(Wrapper):
    """A kernel with configs; `zmlx.autotune` makes it. Launched like any kernel, without what the configs set.

    best_config      the config of the last launch
    configs_timings  of the last launch's key: milliseconds of each config, [median, lower, upper quartile]; inf: cannot run
    tuning           the same as a record with reasons; print it for a table
    """

    def __init__(self, fn: Any, configs: Sequence[Config], key: Sequence[str], prune_configs_by: Mapping[str, Any] | None,
                 reset_to_zero: Sequence[str], restore_value: Sequence[str], pre_hook: Hook | None, post_hook: Hook | None,
                 warmup: float, rep: float, cache_results: bool, do_bench: Hook | None) -> None:  # fmt: skip
        super().__init__(fn, "autotune")
        for what, names in (("key", key), ("reset_to_zero", reset_to_zero), ("restore_value", restore_value)):
            check_names(what, names, self.kernel)
        self.configs = list(configs)
        self.keys, self.reset_to_zero, self.restore_value = list(key), list(reset_to_zero), list(restore_value)
        self.pre_hook, self.post_hook, self.do_bench = pre_hook, post_hook, do_bench
        self.warmup, self.rep, self.cache_results = warmup, rep, cache_results
        self.pruning = Pruning.of(prune_configs_by, self.__name__)
        self._check()
        self._sets = frozenset(n for c in self.configs for n in c.kwargs)
        self._key = key_function(self.kernel, self.keys, self._sets)
        self._warm: dict[Any, tuple[Tuning, Callable[..., Any], Values]] = {}
        self._found: dict[Any, Tuning] = {}
        self._traced: dict[Any, Tuning] = {}
        self._lock = threading.RLock()
        self.tuning: Tuning | None = None

    def _check(self) -> None:
        """Raises AutotuneError for what can never work."""
        name = self.__name__
        if not self.configs or not all(isinstance(c, Config) for c in self.configs):
            raise AutotuneError(f"autotune of {name} takes a list of zmlx.Config, at least one; got {self.configs!r}")
        sets = {n for c in self.configs for n in c.kwargs}
        for c in self.configs:
            check_names(repr(c), c.kwargs, self.kernel)
            lacking = [n for n in sorted(sets - c.kwargs.keys()) if n not in self._defaults]
            if lacking:
                raise AutotuneError(f"{c!r} of {name} does not set {', '.join(lacking)}, which other configs do; set it in all of them")
        inner = {n for w in decorators(self.fn) for n in w.supplied}
        for n in self.keys:
            if n in sets or n in inner:
                raise AutotuneError(f"key of {name} names {n!r}, which {'the configs set' if n in sets else 'a decorator inside computes'}")
        if any(isinstance(w, Autotuner) for w in decorators(self.fn)):
            raise AutotuneError(f"{name} is autotuned twice; put all configs into one list")
        twice = sets & inner
        if twice:
            raise AutotuneError(f"{', '.join(sorted(twice))} of {name} is set by the configs and by a decorator inside; keep one")
        if self.warmup < 0 or self.rep <= 0:
            raise AutotuneError(f"warmup={self.warmup}, rep={self.rep} of {name}: both are milliseconds, rep above 0")

    @property
    def supplied(self) -> frozenset[str]:
        inner = self.fn.supplied if isinstance(self.fn, Wrapper) else frozenset()
        return inner | self._sets

    @property
    def best_config(self) -> Config | None:
        return self.tuning.config if self.tuning is not None else None

    @property
    def configs_timings(self) -> dict[Config, list[float]]:
        return self.tuning.timings if self.tuning is not None else {}

    # ---- launching ---------------------------------------------------------------------------------------------------

    def _start(self, grid: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            tuning, launch, fixed = self._warm[self._key(*args, **kwargs)]
        except (KeyError, TypeError):
            return super()._start(grid, *args, **kwargs)
        self.tuning = tuning
        return launch(grid, *args, **kwargs, **fixed)

    def launch(self, grid: Any, values: Values, options: Values) -> Any:
        self._refuse(values, options)
        key = self._key(**values, **options)
        tuning = self._lookup(self._found, key)
        if tuning is None:
            with self._lock:
                tuning = self._tune(key, grid, values, options)
        config = tuning.config
        given, own = values | config.kwargs, options | _launch_options(config)
        if config.pre_hook is not None:
            config.pre_hook(arguments(given, own, self._defaults))
        elif key in self._found:
            self._warm[key] = (tuning, self.fn.launcher, config.kwargs | _launch_options(config))
        self.tuning = tuning
        return self.inner_launch(grid, given, own)

    def complete(self, values: Values, options: Values) -> Values:
        raise AssertionError("an autotuner is inside no other")

    def compiled(self, values: Values, options: Values, target: str) -> Compiled:
        self._refuse(values, options)
        found = self._found.get(self._key(**values, **options, _target=target))
        errors: list[Exception] = []
        for config in [found.config] if found else self.configs:
            try:
                return self.inner_compiled(values | config.kwargs, options | _launch_options(config), target)
            except Exception as e:
                errors.append(e)
        raise errors[0]

    def _refuse(self, values: Values, options: Values) -> None:
        """Raises ArgumentError for what the launch sets and the configs set too."""
        staged = any(c.num_stages is not None for c in self.configs)
        twice = [n for n in values if n in self._sets] + [n for n in OPTIONS if n in options and (n == "num_warps" or staged)]
        if twice:
            raise ArgumentError(
                f"{', '.join(twice)} of {self.__name__} is set by its configs; leave it out of the launch, or launch the kernel "
                f"without them: {self.__name__}.kernel[grid](..., {twice[0]}=…)"
            )

    # ---- tuning, under the lock --------------------------------------------------------------------------------------

    def _tune(self, key: tuple[Any, ...], grid: Any, values: Values, options: Values) -> Tuning:
        """The tuning of a key: found on disk, timed now, or the cost model's choice."""
        found = self._lookup(self._found, key)
        if found is not None:  # by another thread, while this one waited
            return found
        target, mode = key[0], knobs.autotune()
        problem = argument_error(self.__name__, self.params, 0, values | dict.fromkeys(self.supplied))
        if problem is not None:
            raise problem
        for what, names in (("reset_to_zero", self.reset_to_zero), ("restore_value", self.restore_value)):
            for n in names:
                v = values.get(n)
                if not isinstance(v, (mx.array, ArraySpec)):
                    raise AutotuneError(f"{what} of {self.__name__} names {n}, which is a {type(v).__name__} here; it is for arrays")
        configs = self._pruned(values, options)
        text = key_text(key, self.keys)
        if len(configs) == 1:
            return self._keep(self._found, key, Tuning(self.__name__, text, (Trial(configs[0]),), 0, "only"))
        if mode == "off" or not (target in candidates.TIMED or self.do_bench is not None):
            return self._model(key, text, configs, grid, values, options)
        stored = self._stored_name(text, target, configs) if self.cache_results else ""
        known = Tuning.load(stored, self.__name__, text, configs) if stored else None
        if known is not None:
            return self._keep(self._found, key, known)
        if mode == "cached":
            return self._model(key, text, configs, grid, values, options)
        try:
            candidates.settle(values)
        except NotTraceable:
            return self._model(key, text, configs, grid, values, options, traced=True)
        tuning = self._time(text, configs, grid, values, options, target)
        if stored:
            tuning.save(stored)
        return self._keep(self._found, key, tuning)

    def _time(self, text: str, configs: Sequence[Config], grid: Any, values: Values, options: Values, target: str) -> Tuning:
        start = time.perf_counter()
        field = [self._candidate(c, values, options, hooks=True) for c in configs]
        with progress(f"autotune {self.__name__}", len(field) * (2 + FIRST_ROUNDS)) as tick:
            hooked = self.pre_hook is not None or any(c.pre_hook for c in configs)
            candidates.prepare(self.kernel, field, target, grid, not hooked, tick)
            candidates.set_spilling_aside(field)
            if self.do_bench is not None:
                self._call_bench(field, options.get("stream"))
            else:
                candidates.time_them(field, target, options.get("stream"), self.warmup * 1e-3, self.rep * 1e-3, tick)
        if self.post_hook is not None:
            for c in field:
                self.post_hook(c.args, exception=c.error)
        best = candidates.fastest(field)
        if best is None:
            raise self._nothing_runs(field)
        for c in candidates.bugs(field):
            warnings.warn(f"{c.config!r} of {self.__name__} is left out: {c.error}", AutotuneWarning, stacklevel=5)
        tuning = Tuning(self.__name__, text, tuple(c.trial() for c in field), best, "timed", time.perf_counter() - start)
        if knobs.PRINT_AUTOTUNING.get() == "1":
            print(tuning, file=sys.stderr)
        return tuning

    def _model(
        self, key: Any, text: str, configs: Sequence[Config], grid: Any, values: Values, options: Values, traced: bool = False
    ) -> Tuning:
        """The cost model's choice, made once for a key."""
        table = self._traced if traced else self._found  # what is traced now may be timed next time
        found = self._lookup(table, key)
        if found is not None:
            return found
        field = [self._candidate(c, values, options, hooks=False) for c in configs]
        chosen = candidates.choose(self.kernel, field, key[0], grid)
        if chosen is None:
            raise self._nothing_runs(field)
        if traced:
            warnings.warn(
                f"{self.__name__} is launched where nothing can be timed (inside mx.compile or mx.vmap), and it has not been tuned for "
                f"{text}: {chosen.config!r} is the cost model's choice. Launch it once outside with such arguments; the result is "
                "kept on disk",
                AutotuneWarning,
                stacklevel=6,
            )
        tuning = Tuning(self.__name__, text, tuple(c.trial() for c in field), field.index(chosen), "model")
        return self._keep(table, key, tuning)

    def _candidate(self, config: Config, values: Values, options: Values, hooks: bool) -> Candidate:
        """A config with the arguments that it would be launched with; with `hooks`, on array objects of its own."""
        c = Candidate(config)
        try:
            mine = candidates.own(values, self.reset_to_zero) if hooks else values
            launch = options | _launch_options(config)
            c.num_stages = launch.get("num_stages")
            full = self.inner_complete(mine | config.kwargs, launch)
            c.args = arguments(full, launch, self._defaults)
            if hooks:
                for hook in (config.pre_hook, self.pre_hook):
                    if hook is not None:
                        hook(c.args)
                candidates.settle(c.args)
            c.values = self.innermost.ordered(full, launch)
        except Exception as e:
            c.fail(e)
        return c

    def _call_bench(self, field: Sequence[Candidate], stream: Any) -> None:
        assert self.do_bench is not None
        for c in field:
            if c.runs and c.plan is not None:
                try:
                    c.timing = _from_bench(self.do_bench(lambda c=c: mx.eval(c.launch(stream)), quantiles=_QUANTILES))
                except Exception as e:
                    c.fail(e)

    def _pruned(self, values: Values, options: Values) -> list[Config]:
        named = arguments(values, options, self._defaults)

        def full(c: Config) -> Arguments:
            return arguments(values | c.kwargs, options | _launch_options(c), self._defaults)

        return self.pruning(self.configs, named, full)

    def _nothing_runs(self, field: Sequence[Candidate]) -> Exception:
        only = candidates.only_error(field)
        if only is not None:
            return only
        lines = [f"  {c.config!r}: {c.trial().reason}" for c in field]
        return AutotuneError(f"no config of {self.__name__} can run:\n" + "\n".join(lines))

    # ---- keys and places ---------------------------------------------------------------------------------------------

    @staticmethod
    def _lookup(table: dict[Any, Tuning], key: Any) -> Tuning | None:
        try:
            return table.get(key)
        except TypeError:
            return None

    @staticmethod
    def _keep(table: dict[Any, Tuning], key: Any, tuning: Tuning) -> Tuning:
        try:
            table[key] = tuning
        except TypeError:
            raise ArgumentError(f"{tuning.kernel} has an argument in its autotuning key that cannot be a key: {tuning.key}") from None
        return tuning

    def _stored_name(self, text: str, target: str, configs: Sequence[Config]) -> str:
        kernel = (self.kernel.__module__, self.kernel.__qualname__, self.kernel.source_hash)
        listed = [f"{c!r} {getattr(c.pre_hook, '__qualname__', c.pre_hook is not None)}" for c in configs]
        return cache.digest("autotune-1", cache.fingerprint(), *kernel, identity(target), knobs.DOT.get(), text, *listed)


def _launch_options(config: Config) -> Values:
    stages = {} if config.num_stages is None else {"num_stages": config.num_stages}
    return {"num_warps": config.num_warps} | stages


def _from_bench(result: Any) -> Timing:
    """What a do_bench returned, in milliseconds: a number, or the median with two quantiles."""
    median, low, high = (result, result, result) if isinstance(result, (int, float)) else result
    return Timing(1e-3 * median, 1e-3 * low, 1e-3 * high, 1)


def autotune(
    configs: Sequence[Config],
    key: Sequence[str],
    prune_configs_by: Mapping[str, Any] | None = None,
    reset_to_zero: Sequence[str] = (),
    restore_value: Sequence[str] = (),
    pre_hook: Hook | None = None,
    post_hook: Hook | None = None,
    warmup: float = 25,
    rep: float = 100,
    cache_results: bool = True,
    do_bench: Hook | None = None,
) -> Callable[[Any], Autotuner]:
    """Lets a kernel find the fastest of several configs, once for each key.

    @zmlx.autotune(configs=[zmlx.Config({"BLOCK": 256}), zmlx.Config({"BLOCK": 1024}, num_warps=8)], key=["n"])
    @zmlx.jit
    def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr): ...

    kernel[lambda args: (zmlx.cdiv(n, args["BLOCK"]),)](x, out, n)

    configs           zmlx.Config each; equally fast ones: the first wins
    key               names of arguments; when a value changes, or the dtype of an array or the target, the configs are timed
                      anew. An array that is named counts by its shape
    prune_configs_by  early_config_prune: (configs, args, **args) -> configs to keep; perf_model: (**args) -> a time;
                      top_k: how many of the shortest by perf_model are timed, or which share of all (a float)
    reset_to_zero     arrays that hold zeros while configs are timed
    restore_value     arrays that keep their content; all do here, so it only has to name arrays
    pre_hook          called with a dict of the arguments before a config is timed, on copies of the arrays
    post_hook         called with the dict and exception=, after it was timed
    warmup, rep       milliseconds that a config runs before it is timed, and is timed for
    cache_results     keep results on disk, for later processes
    do_bench          times a call in place of zmlx: (call, quantiles=(0.5, 0.2, 0.8)) -> milliseconds, one or three

    Timing changes no array: the launch proper happens once, on what was passed. Raises AutotuneError for names that the
    kernel does not have, at once; at a launch, where no config can run, with the reason of each.
    """
    return lambda fn: Autotuner(
        fn, configs, key, prune_configs_by, reset_to_zero, restore_value, pre_hook, post_hook, warmup, rep, cache_results, do_bench
    )
