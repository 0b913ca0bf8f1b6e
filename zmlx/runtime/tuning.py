"""What an autotuning found: a timing or a reason for each config; its table, and how it lies on disk."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from zmlx.runtime import cache
from zmlx.runtime.configs import Config
from zmlx.runtime.timing import Timing

KIND = "autotune"  # of entries in the cache


@dataclass(frozen=True)
class Trial:
    """One config: its timing, or the reason why it has none."""

    config: Config
    timing: Timing | None = None
    reason: str = ""


@dataclass(frozen=True)
class Tuning:
    """The outcome for one key. `print(kernel.tuning)` shows it as a table, fastest first.

    kernel, key  whose, and the values and dtypes that it holds for
    trials       one for each config, in their order
    best         the place of the config in use
    source       "timed" now, read from the "cache", a choice of the cost "model", or the "only" one: these have no timings
    seconds      that the timing took, with compiling
    """

    kernel: str
    key: str
    trials: tuple[Trial, ...]
    best: int
    source: str
    seconds: float = 0.0

    @property
    def config(self) -> Config:
        return self.trials[self.best].config

    @property
    def timings(self) -> dict[Config, list[float]]:
        """Milliseconds of each config: median, lower and upper quartile; infinite for one that cannot run."""
        none = (math.inf, math.inf, math.inf)
        times = [(t.timing.median, t.timing.low, t.timing.high) if t.timing else none for t in self.trials]
        return {t.config: [1e3 * x for x in row] for t, row in zip(self.trials, times, strict=True)}

    def __str__(self) -> str:
        took = f"{self.seconds:.2f} s"
        hows = {"timed": f"timed in {took}", "cache": f"from the cache (it took {took})", "model": "chosen by the cost model"}
        how = hows.get(self.source, "the only config")
        order = sorted(range(len(self.trials)), key=lambda i: (i != self.best, self._median(i), i))
        rows = [("", "config", "median", "quartiles", "")]
        for i in order:
            t = self.trials[i]
            times = (_ms(t.timing.median), f"{_ms(t.timing.low)} … {_ms(t.timing.high)}") if t.timing else ("-", "-")
            rows.append(("→" if i == self.best else "", str(t.config), *times, " ".join(t.reason.split("\n", 1)[0].split())))
        widths = [max(len(r[c]) for r in rows) for c in range(4)]
        lines = ["  ".join(text.ljust(w) for text, w in zip(r, [*widths, 0], strict=True)).rstrip() for r in rows]
        return "\n".join([f"{self.kernel}, {self.key}: {how}", *lines])

    def _median(self, i: int) -> float:
        timing = self.trials[i].timing
        return timing.median if timing else math.inf

    # ---- on disk -----------------------------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Stores it in the cache; a concurrent writer's entry is replaced as a whole."""
        trials = [[repr(t.config), _row(t.timing), t.reason] for t in self.trials]
        data = {"kernel": self.kernel, "key": self.key, "best": self.best, "seconds": self.seconds, "trials": trials}
        cache.put(KIND, name, json.dumps(data).encode())

    @staticmethod
    def load(name: str, kernel: str, key: str, configs: Sequence[Config]) -> Tuning | None:
        """What was stored for these configs; None where there is nothing, or nothing that makes sense."""
        data = cache.get(KIND, name)
        if data is None:
            return None
        try:
            found = json.loads(data)
            trials = tuple(
                Trial(c, None if row is None else Timing(float(row[0]), float(row[1]), float(row[2]), int(row[3])), str(reason))
                for c, (text, row, reason) in zip(configs, found["trials"], strict=True)
                if text == repr(c)
            )
            best = found["best"]
            if type(best) is not int or not 0 <= best < len(trials) == len(configs) or trials[best].timing is None:
                return None
            return Tuning(kernel, key, trials, best, "cache", float(found["seconds"]))
        except (ValueError, KeyError, TypeError, IndexError):
            return None


def _row(t: Timing | None) -> list[float] | None:
    return [t.median, t.low, t.high, t.samples] if t else None


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.4g} µs"


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal and rich or tqdm is installed; else nothing."""
    module = _bar_module() if sys.stderr.isatty() else None
    if module is None:
        yield lambda steps: None
    elif module.__name__.startswith("rich"):
        # No refreshing thread: it would run while something is timed.
        console = import_module("rich.console").Console(stderr=True)
        with module.Progress(console=console, transient=True, auto_refresh=False) as bar:
            task, shown = bar.add_task(title, total=total), [0.0]

            def tick(steps: int) -> None:
                bar.advance(task, steps)
                if time.monotonic() - shown[0] > 0.1:
                    bar.refresh()
                    shown[0] = time.monotonic()

            yield tick
    else:
        with module.tqdm(total=total, desc=title, leave=False, mininterval=0) as bar:
            yield lambda steps: bar.update(min(steps, total - bar.n)) and None


def _bar_module() -> Any:
    for name in ("rich.progress", "tqdm"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return None
