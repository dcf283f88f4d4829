"""Which candidates earn a dearer evaluation: by the expected gain of the front, with both objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.samplers.acquisition import (
    expected_improvement,
    front_steps,
    hypervolume_improvement_of,
)
from search.samplers.features import features
from search.samplers.kernel import Array
from search.samplers.model import believe
from search.samplers.values import TARGET_WEIGHT, Choice, Goal, Observation, Source
from search.samplers.warp import Warp, outcomes

CREDIBLE = 2.0  # standard deviations above the mean that a candidate may still reach
ENOUGH = 5  # dear evaluations from which a model of them is made
_UNSEEN = 0.3  # of the spread on the cheap rung: what a dearer evaluation may change before any was seen


def rank_for_promotion(source: Source, seen: Sequence[Observation], goal: Goal, seed: int) -> list[Choice]:
    """Candidates of the rung before the last, the greatest expected gain first; the hopeless are left out.

    A candidate is hopeless when its best credible value on the last rung stays below the front that is
    expected there, or when its evaluation ended early because it was clearly below.
    """
    last = len(goal.costs) - 1
    cheap = {
        source.key(one.params): one
        for one in seen
        if one.rung == last - 1 and one.value is not None and one.error == 0
    }
    dear = {source.key(one.params): one for one in seen if one.rung == last}
    keys = [key for key, one in cheap.items() if goal.limit is None or (one.latency or np.inf) <= goal.limit]
    if not keys:
        return []
    value = np.array([cheap[key].value for key in keys], dtype=float)
    latency = np.array([cheap[key].latency for key in keys], dtype=float)
    truth = np.array(
        [np.nan if (one := dear.get(key)) is None or one.value is None else one.value for key in keys]
    )
    warp, mean, deviation = _foretold(source, [cheap[key] for key in keys], value, truth, seed)
    middle, reach = warp.back(mean), warp.back(mean + deviation) - warp.back(mean)
    limit = goal.limit if goal.limit is not None else float(latency.max()) * 1.1
    floor = float(middle.min())
    known = np.isfinite(truth)
    reached = front_steps(truth[known], latency[known], limit, floor)
    expected = front_steps(middle, latency, limit, floor)
    heights = expected[1][np.searchsorted(expected[0], latency, side="right").clip(1, len(expected[1])) - 1]
    open_ = np.array([key not in dear for key in keys]) & (warp.back(mean + CREDIBLE * deviation) >= heights)
    area = hypervolume_improvement_of(*outcomes(warp, mean, deviation), latency, reached)
    gain = expected_improvement(mean, deviation, warp.to(reached[1][-1]))
    score = area / max(area.max(), 1e-12) + TARGET_WEIGHT[goal.focus] * gain / max(gain.max(), 1e-12)
    return [
        Choice(
            cheap[keys[row]].params,
            last,
            f"AP {middle[row]:.4g} ± {reach[row]:.2g} expected at {latency[row]:.4g}",
        )
        for row in sorted(np.flatnonzero(open_), key=lambda row: (-score[row], keys[row]))
    ]


def _foretold(
    source: Source, candidates: Sequence[Observation], value: Array, truth: Array, seed: int
) -> tuple[Warp, Array, Array]:
    """The scale of the belief, and on it mean and deviation of every candidate on the last rung."""
    known = np.isfinite(truth)
    if known.sum() >= ENOUGH:
        params = [one.params for one in candidates]
        figures = {**source.figures(params), "cheaper rung": value.tolist()}
        rows = np.flatnonzero(known)
        found = features(params, figures, source.choices)
        warp = Warp.fitted(truth[rows])
        targets, exact = warp.to(truth[rows]), np.zeros(len(rows))
        belief = believe(found, rows, targets, exact, np.arange(len(params)), seed=seed)
        mean, deviation = belief.mean, belief.deviation
    else:
        shifted = value + (float((truth[known] - value[known]).mean()) if known.any() else 0.0)
        unsure = max(_UNSEEN * float(value.std()), 1e-3 * float(abs(value).max()))
        warp = Warp.fitted(shifted)
        mean, deviation = warp.to(shifted), warp.error_to(shifted, np.full(len(value), unsure))
    mean = np.where(known, warp.to(np.where(known, truth, 0.0)), mean)
    return warp, mean, np.where(known, 0.0, deviation)
