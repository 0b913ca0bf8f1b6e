"""Races among calls with made-up times: noise must not decide, ties go to the first. No clock is asserted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import mlx.core as mx
import pytest

from zmlx.runtime import timing
from zmlx.runtime.timing import Timing, fastest, race


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of its own, a microsecond a look: how many rounds there are must not depend on the machine."""
    ticks = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks) * 1e-6)


def sampler(
    times: list[float], noise: Callable[[random.Random, int], float], seed: int = 0
) -> tuple[Callable[[int, int], float], list[int]]:
    """sample(i, batch) with multiplicative noise, and the list of what was sampled in order."""
    rng, order = random.Random(seed), []

    def sample(i: int, batch: int) -> float:
        order.append(i)
        return times[i] * (1 + noise(rng, len(order)))

    return sample, order


def bursts(rng: random.Random, n: int) -> float:
    """Now and then another process takes the machine for a while: three times as slow."""
    return rng.expovariate(50) + (2.0 if (n // 7) % 4 == 0 else 0.0)


def quiet(rng: random.Random, n: int) -> float:
    return 0.0


def winner(times: list[float], noise: Callable[[random.Random, int], float], seed: int) -> int:
    sample, _ = sampler(times, noise, seed)
    found = race(len(times), sample, warmup=0, rep=0.2e-3)
    return fastest([t if isinstance(t, Timing) else None for t in found])


@pytest.mark.parametrize("seed", range(20))
def test_the_fastest_wins_under_bursts(seed: int) -> None:
    assert winner([1.3e-3, 2e-3, 1e-3, 1.4e-3, 9e-3], bursts, seed) == 2


@pytest.mark.parametrize("seed", range(20))
def test_equal_calls_go_to_the_first_under_noise(seed: int) -> None:
    assert winner([3e-3, 1e-3, 1e-3, 1e-3], lambda rng, n: rng.gauss(0, 0.01), seed) == 1


def test_a_machine_that_slows_down_slows_all() -> None:
    assert winner([1.1e-3, 1.0e-3, 1.1e-3], lambda rng, n: n / 20, 0) == 1


def test_rounds_are_interleaved() -> None:
    sample, order = sampler([1e-3, 1.01e-3, 1.02e-3], quiet)
    race(3, sample, warmup=0, rep=1e-6)
    warm, batch, rest = order[:9], order[9:12], order[12:]
    assert (
        warm == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        and batch == [0, 0, 0]
        and rest == [0, 1, 2] * (len(rest) // 3)
        and len(rest) >= 3 * timing.FIRST_ROUNDS
    )


def test_the_slow_leave_early_and_keep_a_timing() -> None:
    sample, order = sampler([1e-3, 1.4e-3, 50e-3, 1.01e-3], quiet)
    found = race(4, sample, warmup=0, rep=1e-6)
    assert order.count(2) == 3, "hopeless: only warmed up"
    assert order.count(1) == 3 + timing.FIRST_ROUNDS and order.count(0) - 3 == order.count(3) > order.count(1), "3: to find the batch"
    assert [round(1e3 * t.median, 2) for t in found if isinstance(t, Timing)] == [1.0, 1.4, 50.0, 1.01]


def test_noisy_calls_are_not_dropped_after_a_first_look() -> None:
    noisy, best = Timing(1.3, 0.95, 1.6, 5), Timing(1.0, 0.99, 1.01, 5)
    assert not timing.clearly_slower(noisy, best) and timing.clearly_slower(Timing(1.3, 1.2, 1.6, 5), best)
    assert not timing.clearly_slower(Timing(1.1, 1.09, 1.11, 5), best), "apart, but close: the second phase decides"


@pytest.mark.parametrize("fails_at", [1, 3, 4, 7])
def test_a_call_that_raises_is_out_and_the_others_go_on(fails_at: int) -> None:
    plain, _ = sampler([1e-3, 2e-3, 1.05e-3], quiet)
    count = [0]

    def sample(i: int, batch: int) -> float:
        if i == 0:
            count[0] += 1
            if count[0] == fails_at:
                raise RuntimeError("lost")
        return plain(i, batch)

    found = race(3, sample, warmup=0, rep=1e-6)
    assert isinstance(found[0], RuntimeError) and count[0] == fails_at
    assert fastest([t if isinstance(t, Timing) else None for t in found]) == 2


def test_all_raise() -> None:
    def sample(i: int, batch: int) -> float:
        raise MemoryError(str(i))

    assert [str(e) for e in race(2, sample)] == ["0", "1"] and race(0, sample) == []
    with pytest.raises(ValueError, match="nothing was timed"):
        fastest([None, None])


def test_batches_are_large_for_short_calls_and_bounded() -> None:
    batches: set[int] = set()

    def sample(i: int, batch: int) -> float:
        batches.add(batch)
        return 1e-6 if i == 0 else 3e-6

    race(2, sample, warmup=0, rep=1e-6)
    assert batches == {1, timing.MAX_BATCH}
    batches.clear()
    race(2, lambda i, batch: batches.add(batch) or 20e-6 + 100e-6 / batch, warmup=0, rep=1e-6)
    assert max(batches) == 94, "what one wait costs does not count twice: 2 ms / (20 + 100 / 80) µs"
    batches.clear()
    race(2, sample, warmup=0, rep=1e-6, most_batch=lambda i: (50, 10)[i])
    assert batches == {1, 10}, "one batch for all, that all can hold"


def test_a_tie_is_no_wider_than_said() -> None:
    noisy = Timing(1.0, 0.5, 1.5, 5)
    assert fastest([Timing(1.04, 0.5, 1.5, 5), noisy]) == 0 and fastest([Timing(1.06, 0.5, 1.5, 5), noisy]) == 1
    exact = Timing(1.0, 1.0, 1.0, 50)
    assert fastest([Timing(1.004, 1.004, 1.004, 50), exact]) == 0 and fastest([Timing(1.006, 1.006, 1.006, 50), exact]) == 1
    assert fastest([None, exact, exact]) == 1


@pytest.mark.parametrize("queued", [True, False])
def test_a_sample_launches_and_evaluates_a_batch(queued: bool) -> None:
    made: list[mx.array] = []

    def launch() -> list[mx.array]:
        made.append(mx.full((4,), len(made)) + 1)
        return [made[-1]]

    assert timing.device_sample(launch, 7, queued) > 0
    assert [a.tolist()[0] for a in made] == list(range(1, 8))
