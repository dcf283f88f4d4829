"""Which candidates earn a dearer evaluation: by the expected gain of the front, with both objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.samplers.acquisition import (
    expected_hypervolume_improvement,
    expected_improvement,
    front_steps,
)
from search.samplers.features import features
from search.samplers.kernel import Array
from search.samplers.model import believe
from search.samplers.values import TARGET_WEIGHT, Choice, Goal, Observation, Source

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
    mean, deviation = _foretold(source, [cheap[key] for key in keys], value, truth, seed)
    limit = goal.limit if goal.limit is not None else float(latency.max()) * 1.1
    floor = float(min(mean.min(), np.nanmin(np.append(truth, np.inf))))
    known = np.isfinite(truth)
    reached = front_steps(truth[known], latency[known], limit, floor)
    expected = front_steps(mean, latency, limit, floor)
    heights = expected[1][np.searchsorted(expected[0], latency, side="right").clip(1, len(expected[1])) - 1]
    open_ = np.array([key not in dear for key in keys]) & (mean + CREDIBLE * deviation >= heights)
    area = expected_hypervolume_improvement(mean, deviation, latency, reached)
    gain = expected_improvement(mean, deviation, reached[1][-1])
    score = area / max(area.max(), 1e-12) + TARGET_WEIGHT[goal.focus] * gain / max(gain.max(), 1e-12)
    return [
        Choice(
            cheap[keys[row]].params,
            last,
            f"AP {mean[row]:.4g} ± {deviation[row]:.2g} expected at {latency[row]:.4g}",
        )
        for row in sorted(np.flatnonzero(open_), key=lambda row: (-score[row], keys[row]))
    ]


def _foretold(
    source: Source, candidates: Sequence[Observation], value: Array, truth: Array, seed: int
) -> tuple[Array, Array]:
    known = np.isfinite(truth)
    if known.sum() >= ENOUGH:
        params = [one.params for one in candidates]
        figures = {**source.figures(params), "cheaper rung": value.tolist()}
        rows = np.flatnonzero(known)
        found = features(params, figures, source.choices)
        everything = np.arange(len(params))
        belief = believe(found, rows, truth[rows], np.zeros(len(rows)), everything, seed=seed, trend=False)
        mean, deviation = belief.mean, belief.deviation
    else:
        change = float((truth[known] - value[known]).mean()) if known.any() else 0.0
        mean = value + change
        deviation = np.full(len(value), max(_UNSEEN * float(value.std()), 1e-3 * float(abs(value).max())))
    return np.where(known, truth, mean), np.where(known, 0.0, deviation)
