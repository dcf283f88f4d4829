"""What every candidate promises, judged by the dearest rung on which enough is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from search.samplers.acquisition import (
    expected_hypervolume_improvement,
    expected_improvement,
    front_steps,
)
from search.samplers.kernel import Array
from search.samplers.model import believe
from search.samplers.situation import Situation, observed
from search.samplers.values import Focus, Goal, Observation, Source

DESIGN = 10  # questions before the model is asked
HIGH_ENOUGH = 5  # evaluations on a dearer rung from which candidates are judged by it
PRESS_EVERY: dict[Focus, int] = {"target": 2, "front": 6}  # questions that press on the best within the limit
_OTHER = 0.1  # weight of the other wish in each question
_GOOD_FROM = 0.5  # quantile of the observed values from which one is good


def judged_rung(
    source: Source, here: Situation, seen: Sequence[Observation], costs: tuple[float, ...]
) -> int | None:
    """The dearest rung on which enough is known to judge candidates by it."""
    last = len(costs) - 1
    for rung in range(last, -1, -1):
        enough = DESIGN if last == 0 else low_design(costs[0]) if rung == 0 else HIGH_ENOUGH
        if len(observed(source, here, seen, rung)[0]) >= enough:
            return rung
    return None


def low_design(cost: float) -> int:
    """First questions on the cheapest of several rungs: more where they cost less."""
    return int(np.clip(1.2 / cost, DESIGN, 3 * DESIGN))


def scores(
    source: Source,
    here: Situation,
    seen: Sequence[Observation],
    goal: Goal,
    pool: Array,
    judged: int,
    seed: int,
) -> tuple[Array, Callable[[int], str]]:
    """What each row of the pool promises, and words for it.

    Judged by a cheaper rung, the front is that of the candidates which have been on the last one already.
    """
    last = len(goal.costs) - 1
    rows, values, noise = observed(source, here, seen, judged)
    everything = np.arange(len(here.params))
    belief = believe(here.features, rows, values, noise, everything, seed=seed)
    running = [here.index[source.key(one.params)] for one in seen if one.rung == judged and not one.ended]
    if running:  # believed to come out as expected, so that parallel questions differ
        rows = np.concatenate([rows, running])
        values = np.concatenate([values, belief.mean[running]])
        noise = np.concatenate([noise, np.zeros(len(running))])
        belief = believe(here.features, rows, values, noise, everything, seed=seed)
    latency = np.exp(here.latency.mean) if here.latency is not None else np.ones(len(here.params))
    limit = goal.limit if goal.limit is not None else float(latency.max()) * 1.1
    floor = float(values.min())
    modelled = rows, values, noise
    exact = noise == 0  # an uncertain value teaches the model, but is no point of the front
    rows, values = rows[exact], values[exact]
    if judged < last:
        promoted = {here.index[source.key(one.params)] for one in seen if one.rung == last}
        there = np.array(sorted(promoted), dtype=int)
        reached = belief.mean.copy()
        reached[rows] = values
        rows, values = there, reached[there]
    front = front_steps(values, latency[rows], limit, floor)
    mean, deviation = belief.mean[pool], belief.deviation[pool]
    area = expected_hypervolume_improvement(mean, deviation, latency[pool], front)
    gain = expected_improvement(mean, deviation, front[1][-1])
    weights = (1.0, _OTHER)
    if len(seen) % PRESS_EVERY[goal.focus] == 0:
        # the best lies among the good ones: a model of these alone tells them apart
        good = np.maximum(modelled[1], np.quantile(modelled[1], _GOOD_FROM))
        upper = believe(here.features, modelled[0], good, modelled[2], pool, seed=seed)
        gain = expected_improvement(upper.mean, upper.deviation, front[1][-1])
        weights = (_OTHER, 1.0)
    score = (weights[0] * _unit(area) + weights[1] * _unit(gain)) * here.within[pool]

    def why(best: int) -> str:
        return (
            f"AP {mean[best]:.4g} ± {deviation[best]:.2g} expected at {latency[pool[best]]:.4g}; "
            f"rank {1 + int((area > area[best]).sum())} of {len(pool)} for the front, "
            f"{1 + int((gain > gain[best]).sum())} for the best within the limit"
        )

    return score, why


def _unit(values: Array) -> Array:
    most = values.max()
    return values / most if most > 0 else values
