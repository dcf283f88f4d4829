"""Timing passes: until they are steady, then until their median is known well enough.

Two clocks: that of the engine times passes, and on a GPU knows nothing of pauses between them; `wall` ends loops.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluators.latency.statistics import MIN_SAMPLES, relative_half_width

WITHIN = 0.01  # relative half-width of the interval of the median at which sampling stops
MIN_SECONDS = 0.5  # sample at least so long: a shorter run can fall between two disturbances
PATIENCE = 2.0  # times the time for sampling, unless told otherwise
STRETCH_SECONDS = 0.1  # of passes between two looks at the processor
RECOVERY_SECONDS = 0.01  # of untimed passes after a look: it has emptied caches, and its threads still spin
STEADY = 0.02  # warm-up ends when a block of passes is not faster than the one before by more than this
WARMUP_BLOCK_SECONDS = 0.05

Clock = Callable[[], float]


class Watched(Protocol):
    """What says whether the processor is slow just now."""

    def is_slow(self) -> bool:
        """Look; takes a few milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How long one engine is sampled.

    Attributes:
        seconds: of passes that count, at most (a little longer where six passes take longer).
        within: relative half-width of the interval of the median at which sampling ends before that.
        patience: seconds after which a processor that is slow is no longer waited for; None: twice `seconds`.
    """

    seconds: float = 3.0
    within: float = WITHIN
    patience: float | None = None

    @property
    def longest(self) -> float:
        """Seconds that sampling may take where the processor is slow."""
        return PATIENCE * self.seconds if self.patience is None else max(self.seconds, self.patience)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Times of passes in milliseconds, in order.

    Attributes:
        samples_ms: what counts.
        left_out: how many more passes were timed while the processor was slow, and do not count.
        slow: the processor was slow for so long that those passes had to count as well.
    """

    samples_ms: list[float]
    left_out: int = 0
    slow: bool = False


def warm_up(
    run: Callable[[], None],
    *,
    at_most_seconds: float,
    clock: Clock = time.perf_counter,
    wall: Clock = time.perf_counter,
) -> list[float]:
    """Run blocks of passes until a block is no faster than the one before; returns their milliseconds."""
    passes: list[float] = []
    deadline = wall() + at_most_seconds
    previous = float("inf")
    while True:
        times = _passes(run, WARMUP_BLOCK_SECONDS, clock, wall, at_least=2)
        passes += times
        median = float(np.median(times))
        if median > previous * (1 - STEADY) or wall() >= deadline:
            return passes
        previous = median


def sample(
    run: Callable[[], None],
    sampling: Sampling,
    *,
    clock: Clock = time.perf_counter,
    wall: Clock = time.perf_counter,
    processor: Watched | None = None,
) -> Sampled:
    """Time single passes, until the median is known well enough or they have taken long enough.

    It has to be known so well twice, the second time with a fifth more samples: looking again and again would
    else stop where the interval is narrow by chance, and such an interval misses too often.

    With `processor`, passes count only where it was not slow before and after them; their own times decide
    nothing, so leaving some out biases nothing. If it is slow for as long as `sampling` waits, all passes count.
    """
    everything: list[float] = []
    counted: list[float] = []
    spent = 0.0
    until = wall() + sampling.longest
    narrow = False
    check_at = MIN_SAMPLES
    for stretch, lasted, calm in _stretches(run, clock, wall, processor):
        everything += stretch
        if calm:
            counted += stretch
            spent += lasted
        if len(counted) >= check_at:
            was_narrow, narrow = narrow, relative_half_width(counted) <= sampling.within
            if spent >= sampling.seconds or (spent >= MIN_SECONDS and narrow and was_narrow):
                return Sampled(counted, len(everything) - len(counted))
            check_at = len(counted) + max(1, len(counted) // 5)
        if wall() >= until and len(everything) >= MIN_SAMPLES and len(counted) < len(everything):
            enough = spent >= MIN_SECONDS and len(counted) >= MIN_SAMPLES
            return (
                Sampled(counted, len(everything) - len(counted)) if enough else Sampled(everything, slow=True)
            )
    raise AssertionError("stretches never end")


def _stretches(
    run: Callable[[], None], clock: Clock, wall: Clock, processor: Watched | None
) -> Iterator[tuple[list[float], float, bool]]:
    """Short runs of passes for ever: how many seconds each lasted, was the processor calm before and after it."""
    was_slow = processor is not None and processor.is_slow()
    while True:
        if processor is not None:
            _passes(run, RECOVERY_SECONDS, clock, wall)
        start = wall()
        stretch = _passes(run, STRETCH_SECONDS, clock, wall)
        lasted = wall() - start
        slow = processor is not None and processor.is_slow()
        yield stretch, lasted, not (was_slow or slow)
        was_slow = slow


def _passes(
    run: Callable[[], None], seconds: float, clock: Clock, wall: Clock, at_least: int = 1
) -> list[float]:
    times: list[float] = []
    end = wall() + seconds
    while len(times) < at_least or wall() < end:
        start = clock()
        run()
        times.append((clock() - start) * 1e3)
    return times
