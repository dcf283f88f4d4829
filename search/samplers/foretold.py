"""Latency of candidates of the space before they are measured, by the physics of a device or as an estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from evaluators.estimate.case import Case
from evaluators.estimate.cpu_time import CpuTime
from evaluators.estimate.fit import Calibration, Observation, fit
from search.samplers.latency import MIN_LEARNT
from search.samplers.model import Belief
from yolov6space.candidate import Candidate

Measured = Sequence[tuple[Candidate, float]]
Foretelling = Callable[[Sequence[Candidate], Measured], Belief | None]
"""Logarithm of the latency of candidates from (candidate, milliseconds) that were measured; None while unknown."""

UNLIKE = 0.06  # what the fitted model is off besides, of networks unlike those measured: docs/search.md
MAX_FITTED = 32  # latencies that the constants of a device are fitted to


def exactly(estimate: Callable[[Candidate], float]) -> Foretelling:
    """Where nothing is measured and the estimate, in milliseconds, is what a candidate will be judged by."""

    def foretell(candidates: Sequence[Candidate], measured: Measured) -> Belief:
        return Belief(np.log([estimate(one) for one in candidates]), np.zeros(len(candidates)))

    return foretell


@dataclass(frozen=True)
class ByPhysics:
    """A device's time model (`evaluators.estimate.cpu_time`), fitted to what was measured.

    What is in `figures` (FLOPs, parameters, ...) sums a network up; a time model adds up its layers with priors for
    what each costs, so a dozen networks of any size tell the latency of others within some 10 % (docs/search.md).

    Attributes:
        known: what an earlier calibration of the device measured.
    """

    num_classes: int
    image_size: int
    batch: int = 1
    known: Sequence[Observation] = field(default=())

    def __call__(self, candidates: Sequence[Candidate], measured: Measured) -> Belief | None:
        """See `Foretelling`."""
        seen = [*self.known, *(Observation(case=self._case(one), ms=ms) for one, ms in measured)]
        if len(seen) < MIN_LEARNT:
            return None
        calibration = _fitted(tuple(_spread(seen)))
        told = {one: (ms, 0.0) for one, ms in measured}  # what is known need not be foretold
        found = np.array(
            [told.get(one) or calibration.value_and_spread(self._case(one)) for one in candidates]
        )
        return Belief(np.log(found[:, 0]), np.where(found[:, 1] > 0, np.hypot(found[:, 1], UNLIKE), 0.0))

    def _case(self, candidate: Candidate) -> Case:
        return Case(
            model=replace(candidate.model, conv="plain"),  # all kinds are deployed as plain convolutions
            precision=candidate.precision,
            batch=self.batch,
            image_size=candidate.image_size or self.image_size,
            num_classes=self.num_classes,
        )


def _spread(seen: Sequence[Observation]) -> Sequence[Observation]:
    """At most MAX_FITTED of them, evenly from the fastest to the slowest; the same for any order."""
    if len(seen) <= MAX_FITTED:
        return seen
    ordered = sorted(seen, key=lambda one: one.ms)
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, MAX_FITTED)]


@lru_cache(maxsize=4)
def _fitted(seen: tuple[Observation, ...]) -> Calibration:
    """Remembered: an older study's latencies stay the same, and a question may need several looks at its own."""
    return fit(CpuTime(), seen, robust=True)
