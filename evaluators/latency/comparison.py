"""Which of two networks is faster: alternating rounds, and a decision whose error is bounded.

Each round opens both engines anew and times them by turns in the order A B B A, so that what drifts meets both
and what differs from one engine to the next is part of the scatter between rounds instead of a bias. One
round gives one logarithm of a ratio; Wilcoxon's signed-rank test over the rounds decides, exactly for so few.
The number of rounds is fixed beforehand: looking in between and stopping when it pleases would spoil the error.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.hardware import Hardware

ERROR = 0.05  # probability of naming a faster one of two equally fast networks
MIN_ROUNDS = 6  # fewest with which the test can decide at that error
DEFAULT_ROUNDS = 11

Opened = Callable[[], AbstractContextManager["Timed"]]


class Timed(Protocol):
    """What is timed: an engine with its input in place."""

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds; a GPU brings its own."""

    def run(self) -> None:
        """One pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What alternating rounds showed.

    Attributes:
        first_ms, second_ms: median of each network in each round.
        ratio: how long the second takes relative to the first; median over the rounds.
        low, high: at least 95 % confidence interval of the ratio.
        p_value: how often equally fast networks differ as much as these or more.
    """

    first_ms: tuple[float, ...]
    second_ms: tuple[float, ...]
    ratio: float
    low: float
    high: float
    p_value: float

    @property
    def faster(self) -> str | None:
        """`first`, `second`, or None when the rounds do not tell."""
        if self.p_value > ERROR:
            return None
        return "first" if self.ratio > 1 else "second"


def compare_rounds(first_ms: Sequence[float], second_ms: Sequence[float]) -> Comparison:
    """Judge the medians of rounds in which both were timed by turns.

    Raises:
        ValueError: fewer than six rounds, or not as many of one as of the other.
    """
    from scipy.stats import wilcoxon

    from evaluators.latency.statistics import median_interval

    if len(first_ms) != len(second_ms) or len(first_ms) < MIN_ROUNDS:
        raise ValueError(f"{len(first_ms)} and {len(second_ms)} rounds; give at least {MIN_ROUNDS} of both")
    logs = np.log(np.asarray(second_ms) / np.asarray(first_ms))
    low, high = median_interval(logs.tolist())
    same = not logs.any()
    return Comparison(
        first_ms=tuple(first_ms),
        second_ms=tuple(second_ms),
        ratio=float(np.exp(np.median(logs))),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        p_value=1.0 if same else float(wilcoxon(logs, method="exact").pvalue),
    )


def alternate(
    first: Opened,
    second: Opened,
    *,
    rounds: int,
    passes_seconds: float,
    wall: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Medians in milliseconds of both in every round; each turn lasts about `passes_seconds`.

    `first` and `second` open an engine with its input in place; every round opens them in another order.
    """
    firsts, seconds = [], []
    for number in range(rounds):
        with _both(first, second, swap=number % 2 == 1) as (one, other):
            for engine in (one, other):
                _turn(engine, passes_seconds / 2, wall)  # warm-up
            turns = [_turn(engine, passes_seconds, wall) for engine in (one, other, other, one)]
        firsts.append(float(np.median(turns[0] + turns[3])))
        seconds.append(float(np.median(turns[1] + turns[2])))
    return firsts, seconds


def opener(artefact: "Artefact", hardware: "Hardware", threads: int | None) -> Opened:
    """Opens an engine of the artefact with its input in place."""
    from evaluators.artefact import noise_images
    from evaluators.latency.engine import open_engine

    @contextmanager
    def opened() -> Iterator[Timed]:
        with open_engine(artefact, hardware, threads) as engine:
            engine.load(noise_images(artefact.meta.batch, artefact.meta.image_size, 0))
            yield engine

    return opened


@contextmanager
def _both(first: Opened, second: Opened, *, swap: bool) -> Iterator[tuple[Timed, Timed]]:
    """Both engines open, in the order of `first` and `second` however they were opened."""
    with ExitStack() as stack:
        one, other = (second, first) if swap else (first, second)
        engines = stack.enter_context(one()), stack.enter_context(other())
        yield engines[::-1] if swap else engines


def _turn(engine: Timed, seconds: float, wall: Callable[[], float]) -> list[float]:
    """Milliseconds of at least three passes; those of a GPU leave pauses out, and the turn does not."""
    times: list[float] = []
    clock = engine.clock
    end = wall() + seconds
    while len(times) < 3 or wall() < end:
        start = clock()
        engine.run()
        times.append((clock() - start) * 1e3)
    return times
