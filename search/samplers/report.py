"""What the search believes, for people: which dimensions matter, and AP against latency with uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.kernel import Array
from search.samplers.model import believe
from search.samplers.situation import observed, situation, with_rung
from search.samplers.values import Goal, Observation, Params, Source
from search.samplers.warp import Warp

ENOUGH = 5  # evaluations before there is a belief worth showing
CREDIBLE = 1.96  # 95 %


@dataclass(frozen=True, slots=True)
class Predicted:
    """One candidate that was not evaluated; estimates with 95 % intervals, never measurements."""

    latency: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What one model says about the candidates at hand.

    Attributes:
        importance: by dimension, the share of the predicted variance that it explains alone, 0..1.
        front: the predicted front of what was not evaluated, by rising latency.
    """

    importance: dict[str, float]
    front: tuple[Predicted, ...]


def beliefs(source: Source, seen: Sequence[Observation], goal: Goal, seed: int) -> Beliefs | None:
    """Beliefs from the observations on the last rung; None while there are too few."""
    last = len(goal.costs) - 1
    here = situation(source, seen, goal, last, seed)
    if here is None:
        return None
    for rung in range(last):
        here = with_rung(source, here, seen, rung, seed)
    rows, values, noise = observed(source, here, seen, last)
    if len(rows) < ENOUGH or len(here.pool) == 0:
        return None
    warp = Warp.fitted(values)  # as the questions are chosen
    belief = believe(here.features, rows, warp.to(values), warp.error_to(values, noise), here.pool, seed=seed)
    middle = warp.back(belief.mean)
    low, high = (warp.back(belief.mean + sign * CREDIBLE * belief.deviation) for sign in (-1, 1))
    params = [here.params[row] for row in here.pool]
    importance = {name: _explained(params, name, middle) for name in source.choices}
    front: list[Predicted] = []
    if here.latency is not None:
        latency = np.exp(here.latency.mean[here.pool])
        likely = here.within[here.pool] >= 0.5
        for index in np.lexsort((-middle, latency)):
            if likely[index] and (not front or middle[index] > front[-1].value):
                told = (float(each[index]) for each in (latency, middle, low, high))
                front.append(Predicted(*told))
    return Beliefs(dict(sorted(importance.items(), key=lambda pair: -pair[1])), tuple(front))


def _explained(params: Sequence[Params], name: str, mean: Array) -> float:
    """First-order share of the variance: between the means of each value of the dimension."""
    total = float(mean.var())
    if total <= 0:
        return 0.0
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(params):
        groups.setdefault(repr(one.get(name)), []).append(index)
    if len(groups) > len(mean) / 5:  # numbers that hardly repeat: by tenths
        values = np.array([float(one.get(name) or 0.0) for one in params])
        tenths = np.searchsorted(np.quantile(values, np.linspace(0.1, 0.9, 9)), values)
        groups = {str(tenth): np.flatnonzero(tenths == tenth).tolist() for tenth in np.unique(tenths)}
    between = sum(
        len(rows) * (float(mean[rows].mean()) - float(mean.mean())) ** 2 for rows in groups.values()
    )
    return between / len(mean) / total
