"""Which of several calls is the fastest: timed in turns, in two rounds of elimination, so that noise does not decide.

Rounds go A B C A B C …: a machine that slows down slows all of them. A short first phase drops what is clearly slower;
the second gives the rest the time. Noise only ever adds time, and it comes in bursts: so medians and quartiles count, never
means, and what differs by less than the noise counts as equal. Of equal calls the first wins: a second run, or another
process, decides alike.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

SAMPLE_SECONDS = 2e-3  # what one sample should take: far above the clock's resolution and one launch's latency
MAX_BATCH = 200  # launches queued for one sample
QUEUED_BYTES = 1 << 30  # of outputs alive at once in one sample
FIRST_ROUNDS = 5
LEAST_ROUNDS = 2  # of the second phase, whatever they cost
MOST_ROUNDS = 60
CLEARLY = 1.25  # times the best median: dropped after the first phase if the quartiles lie apart as well
HOPELESS = 5.0  # times the best: not even timed in the first phase
TIE = 0.005  # of the best median: equal, however quiet the machine
WIDEST_TIE = 0.05  # of the best median: different, however noisy the machine


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median of the samples and their quartiles."""

    median: float
    low: float
    high: float
    samples: int

    @staticmethod
    def of(values: Sequence[float]) -> Timing:
        if len(values) == 1:
            return Timing(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return Timing(median, low, high, len(values))

    @property
    def noise(self) -> float:
        """The standard error of the median, from the quartiles: 1.25 σ/√n, with σ = (high - low) / 1.35."""
        return 1.25 * (self.high - self.low) / 1.35 / math.sqrt(self.samples)


def fastest(timings: Sequence[Timing | None]) -> int:
    """The place of the smallest median; of those equal within the noise, the first. None stands for no timing."""
    known = [(t.median, i, t) for i, t in enumerate(timings) if t is not None]
    if not known:
        raise ValueError("nothing was timed")
    _, _, best = min(known, key=lambda k: k[:2])
    for median, i, t in sorted(known, key=lambda k: k[1]):
        noise = 3 * math.hypot(t.noise, best.noise)
        if median - best.median <= min(max(noise, TIE * best.median), WIDEST_TIE * best.median):
            return i
    raise AssertionError


def clearly_slower(t: Timing, best: Timing) -> bool:
    """Whether a first look is enough to drop a call."""
    return t.low > best.high and t.median > CLEARLY * best.median


def race(
    count: int,
    sample: Callable[[int, int], float],
    *,
    warmup: float = 25e-3,
    rep: float = 100e-3,
    most_batch: Callable[[int], int] = lambda i: MAX_BATCH,
    tick: Callable[[int], None] = lambda rounds: None,
) -> list[Timing | Exception]:
    """Times calls 0 … count-1 against each other. `sample(i, batch)` gives the seconds of one call, over a batch of them.

    warmup, rep  seconds that each call runs before it is timed, and that each survivor is timed for (about)
    most_batch   the largest batch of a call
    tick         told after every call of the warm-up and after every round, how many samples were taken
    Returns a timing for each call, or the exception that it raised.
    """
    samples: list[list[float]] = [[] for _ in range(count)]
    failed: dict[int, Exception] = {}

    def take(i: int, batch: int) -> None:
        try:
            samples[i].append(sample(i, batch))
        except Exception as e:
            failed[i] = e

    first: dict[int, float] = {}
    for i in range(count):
        start = time.perf_counter()
        take(i, 1)  # which loads, and may compile
        for _ in range(2):
            if i not in failed:
                take(i, 1)
        while i not in failed and time.perf_counter() - start < warmup:
            take(i, max(1, min(MAX_BATCH, most_batch(i), int(warmup / 4 / max(samples[i][-1], 1e-9)))))
        if i not in failed:
            first[i] = min(samples[i][1:])
        tick(1)
    if not first:
        return [failed[i] for i in range(count)]
    quickest = min(first, key=first.__getitem__)
    alive = [i for i in first if first[i] <= HOPELESS * first[quickest]]
    kept = {i: samples[i][1:] for i in first if i not in alive}
    largest, batch = min(MAX_BATCH, *(most_batch(i) for i in alive)), 1
    for _ in range(3):  # a batch hides what waiting for a single call costs, so the next guess is better
        batch = max(1, min(largest, math.ceil(SAMPLE_SECONDS / max(samples[quickest][-1], 1e-9))))
        if batch > 1 and quickest not in failed:
            take(quickest, batch)
    for i in alive:
        samples[i] = []

    def round_() -> None:
        for i in alive:
            if i not in failed:
                take(i, batch)
        alive[:] = [i for i in alive if i not in failed]
        tick(len(alive))

    start = time.perf_counter()
    for _ in range(FIRST_ROUNDS):
        round_()
    spent = (time.perf_counter() - start) / max(1, len(alive))
    timings = {i: Timing.of(samples[i]) for i in alive}
    best = min(timings.values(), key=lambda t: t.median, default=None)
    alive[:] = [i for i in alive if best is not None and not clearly_slower(timings[i], best)]
    if len(alive) > 1:
        start, budget = time.perf_counter(), (rep - spent) * len(alive)
        for n in range(MOST_ROUNDS - FIRST_ROUNDS):
            if n >= LEAST_ROUNDS and time.perf_counter() - start > budget:
                break
            round_()
    return [failed[i] if i in failed else Timing.of(kept.get(i) or samples[i]) for i in range(count)]


def device_sample(launch: Callable[[], list[mx.array]], batch: int, queued: bool) -> float:
    """Seconds of one launch, over a batch of them.

    queued: the launches go to the device all at once, as in a model, and what it takes to describe them in Python is not
    counted. Else each is waited for, and its outputs dropped before the next, which gets their memory.
    """
    mx.synchronize()
    if queued:
        graph = [launch() for _ in range(batch)]
        start = time.perf_counter()
        mx.eval(graph)
        return (time.perf_counter() - start) / batch
    start = time.perf_counter()
    for _ in range(batch):
        mx.eval(launch())
    return (time.perf_counter() - start) / batch
