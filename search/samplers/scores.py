"""What every candidate promises, judged by the dearest rung on which enough is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.distance import cdist

from search.samplers.acquisition import (
    expected_improvement,
    front_steps,
    hypervolume_improvement_of,
)
from search.samplers.kernel import Array
from search.samplers.model import believe
from search.samplers.situation import Situation, observed
from search.samplers.values import Focus, Goal, Observation, Source
from search.samplers.warp import Warp, outcomes

DESIGN = 10  # questions before the model is asked
HIGH_ENOUGH = 5  # evaluations on a dearer rung from which candidates are judged by it
PRESS_EVERY: dict[Focus, int] = {"target": 2, "front": 6}  # questions that press on the best within the limit
_OTHER = 0.1  # weight of the other wish in each question
_LOOK_ELSEWHERE_EVERY = 2  # pressing questions, of which one goes where nothing like it was asked
_GOOD_SHARE, _GOOD_LEAST = 0.025, 5  # candidates that such a question chooses among


def judged_rung(
    source: Source, here: Situation, seen: Sequence[Observation], costs: tuple[float, ...]
) -> int | None:
    """The dearest rung on which enough is known to judge candidates by it."""
    last = len(costs) - 1
    for rung in range(last, -1, -1):
        enough = DESIGN if last == 0 else low_design(costs[0]) if rung == 0 else HIGH_ENOUGH
        rows = observed(source, here, seen, rung)[0]
        rows = rows[here.within[rows] > 0.5]  # what is over this limit says little of what is within
        if len(rows) >= enough:
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
    turn: int,
    seed: int,
    *,
    elsewhere: bool = True,
) -> tuple[Array, Callable[[int], str]]:
    """What each row of the pool promises, and words for it.

    Judged by a cheaper rung, the front is that of the candidates which have been on the last one already.

    Args:
        turn: number of the question, by which the kinds of question take turns.
        elsewhere: whether some questions go where nothing was asked; a cheaper rung is the better place for them.
    """
    last = len(goal.costs) - 1
    rows, values, noise = observed(source, here, seen, judged)
    everything = np.arange(len(here.params))
    warp = Warp.fitted(values)
    targets, errors = warp.to(values), warp.error_to(values, noise)
    belief = believe(here.features, rows, targets, errors, everything, seed=seed)
    running = [here.index[source.key(one.params)] for one in seen if one.rung == judged and not one.ended]
    if running:  # believed to come out as expected, so that parallel questions differ
        rows = np.concatenate([rows, running])
        targets = np.concatenate([targets, belief.mean[running]])
        values = np.concatenate([values, warp.back(belief.mean[running])])
        errors = np.concatenate([errors, np.zeros(len(running))])
        belief = believe(here.features, rows, targets, errors, everything, seed=seed)
    latency = np.exp(here.latency.mean) if here.latency is not None else np.ones(len(here.params))
    limit = goal.limit if goal.limit is not None else float(latency.max()) * 1.1
    floor = float(values.min())
    asked = rows
    exact = errors == 0  # an uncertain value teaches the model, but is no point of the front
    rows, values = rows[exact], values[exact]
    if judged < last:
        promoted = {here.index[source.key(one.params)] for one in seen if one.rung == last}
        there = np.array(sorted(promoted), dtype=int)
        reached = warp.back(belief.mean)
        reached[rows] = values
        rows, values = there, reached[there]
    front = front_steps(values, latency[rows], limit, floor)
    mean, deviation = belief.mean[pool], belief.deviation[pool]
    area = hypervolume_improvement_of(*outcomes(warp, mean, deviation), latency[pool], front)
    gain = expected_improvement(mean, deviation, warp.to(front[1][-1]))
    middle, reach = warp.back(mean), warp.back(mean + deviation) - warp.back(mean)

    def why(best: int) -> str:
        return (
            f"AP {middle[best]:.4g} ± {reach[best]:.2g} expected at {latency[pool[best]]:.4g}; "
            f"rank {1 + int((area > area[best]).sum())} of {len(pool)} for the front, "
            f"{1 + int((gain > gain[best]).sum())} for the best within the limit"
        )

    presses, rest = divmod(turn, PRESS_EVERY[goal.focus])
    looks = presses % _LOOK_ELSEWHERE_EVERY != 0
    if rest or (looks and not elsewhere):
        return (_unit(area) + _OTHER * _unit(gain)) * here.within[pool], why
    if not looks:
        return (_OTHER * _unit(area) + _unit(gain)) * here.within[pool], why
    unlike = _unlike(here, pool, mean, asked)
    return _unit(unlike) * here.within[pool], lambda best: f"unlike all known good ones; {why(best)}"


def _unlike(here: Situation, pool: Array, mean: Array, asked: Array) -> Array:
    """Of the best by expectation, the distance from all that was asked in the choices; 0 for the others.

    Expected improvement trusts the model where it is sure. Among hundreds of candidates that it takes for equally
    good, those that share the choices of known ones are sure, and asked one after another; what it has never
    seen the like of stays unasked unless somebody asks for it.
    """
    best = np.argsort(-mean, kind="stable")[: max(int(_GOOD_SHARE * len(pool)), _GOOD_LEAST)]
    matrix = here.features.matrix[:, here.features.chosen]
    found = np.zeros(len(pool))
    found[best] = cdist(matrix[pool[best]], matrix[asked]).min(axis=1) + 1e-9
    return found


def _unit(values: Array) -> Array:
    most = values.max()
    return values / most if most > 0 else values
