"""What is known when a question is asked, in the form a decision needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.samplers.features import Features, features
from search.samplers.kernel import Array
from search.samplers.latency import as_here, latency_belief, pooled, probability_within, settled
from search.samplers.model import Belief, believe
from search.samplers.values import Goal, Observation, Params, Source

ELSEWHERE = "latency elsewhere"  # figure: latency on another device, measured there or foretold
AROUND = 10  # good candidates that a large source looks around


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a decision rests on. Rows: first the known candidates, then the pool.

    Attributes:
        rows: (known,) candidates that were observed at least once, by key.
        latency: belief about the logarithm, None while nothing can be said.
        within: (N,) probability of being within the limit.
    """

    params: list[Params]
    index: dict[str, int]
    pool: Array
    features: Features
    latency: Belief | None
    within: Array


def over(one: Observation, limit: float | None) -> bool:
    """Whether it turned out to be over the limit."""
    return limit is not None and one.latency is not None and one.latency > limit


def situation(
    source: Source, seen: Sequence[Observation], goal: Goal, last: int, seed: int
) -> Situation | None:
    known: dict[str, Params] = {}
    measured: dict[str, float] = {}
    elsewhere: dict[str, float] = {}
    for one in seen:
        key = source.key(one.params)
        known.setdefault(key, one.params)
        if one.latency is not None:
            measured[key] = one.latency
        if one.elsewhere is not None:
            elsewhere[key] = one.elsewhere
    # over the limit or failed once is enough, on whichever rung
    done = {
        source.key(one.params)
        for one in seen
        if one.rung == last or over(one, goal.limit) or (one.ended and one.value is None and one.rung >= 0)
    }
    drawn = source.draw(done, [one.params for one in _good(seen, goal)], seed)
    if not drawn:
        return None
    params = [*known.values(), *(one for one in drawn if source.key(one) not in known)]
    index = {key: row for row, key in enumerate(known)}
    pool = [index[key] for key in known if key not in done]
    pool += range(len(known), len(params))
    figures = source.figures(params)
    found = features(params, figures, source.choices)
    estimate = np.asarray(figures[source.latency]) if source.latency else None
    there, here = _by_row(elsewhere, known, len(params)), _by_row(measured, known, len(params))
    other = source.foretold(params, _pairs(known, elsewhere), here=False) if elsewhere else None
    other = other or latency_belief(found, figures, None, 0.0, there)
    if other is not None:  # far from this device's latency, perhaps, and yet a figure to learn from
        figures = {**figures, ELSEWHERE: np.exp(other.mean).tolist()}
        found = features(params, figures, source.choices)
    latency = source.foretold(params, _pairs(known, measured))
    latency = latency or latency_belief(found, figures, estimate, source.latency_error, here)
    if other is not None and (latency is None or latency.deviation.any()):
        scaled = as_here(other, here)
        latency = scaled if latency is None else pooled(latency, scaled)
    if latency is not None:
        latency = settled(latency, here)
    within = np.ones(len(params))
    if latency is not None and goal.limit is not None:
        within = probability_within(latency, goal.limit)
    return Situation(params, index, np.array(pool, dtype=int), found, latency, within)


def _pairs(known: Mapping[str, Params], values: Mapping[str, float]) -> list[tuple[Params, float]]:
    return [(known[key], value) for key, value in values.items()]


def _by_row(values: Mapping[str, float], known: Mapping[str, Params], size: int) -> Array:
    """(size,) values of the known candidates, which come first; NaN for all others."""
    found = np.full(size, np.nan)
    found[: len(known)] = [values.get(key, np.nan) for key in known]
    return found


def _good(seen: Sequence[Observation], goal: Goal) -> list[Observation]:
    """The front, then others, of the dearest rung first and by falling value."""
    rest = [one for one in seen if one.value is not None and not over(one, goal.limit)]
    rest.sort(key=lambda one: (-one.rung, -(one.value or 0.0)))
    front: list[Observation] = []
    for one in rest:
        if not front or (one.latency or np.inf) < (front[-1].latency or np.inf):
            front.append(one)
    return [*front, *(one for one in rest if one not in front)][:AROUND]


def permitted(here: Situation, goal: Goal, risk: float) -> Array:
    """Rows of the pool within the limit as far as is known; nothing certain is risked."""
    if goal.limit is None or here.latency is None:
        return here.pool
    within = here.within[here.pool]
    fine = within >= 1.0 - risk
    if not fine.any() and (here.latency.deviation[here.pool] > 0).any():
        fine = within >= max(0.02, np.quantile(within, 0.95))  # no safe one: the safest
    return here.pool[fine]


def with_rung(
    source: Source, here: Situation, seen: Sequence[Observation], rung: int, seed: int
) -> Situation:
    """The features with what is believed of a cheaper rung as one more figure.

    Believed also where it was evaluated: what its neighbours showed takes some of the chance out of one cheap look.
    """
    rows, values, noise = observed(source, here, seen, rung)
    if len(rows) < 5:
        return here
    belief = believe(here.features, rows, values, noise, np.arange(len(here.params)), seed=seed)
    some = belief.mean[np.concatenate([rows, here.pool])]
    low, high = np.quantile(some, 0.02), some.max()  # poor ones may be alike; the best must not be
    column = np.clip((belief.mean - low) / max(high - low, 1e-12), 0.0, 1.0)
    old = here.features
    name = f"rung {rung}"
    added = Features(
        np.column_stack([old.matrix, column]),
        {**old.groups, name: (old.matrix.shape[1],)},
        old.summaries | {name},
    )
    return replace(here, features=added)


def observed(
    source: Source, here: Situation, seen: Sequence[Observation], rung: int
) -> tuple[Array, Array, Array]:
    """Rows, values and standard errors of what is known on a rung; a failure counts as the least, uncertainly."""
    told = [
        one
        for one in seen
        if one.rung == rung
        and one.ended
        and (
            one.value is not None or here.within[here.index[source.key(one.params)]] > 0
        )  # else over the limit
    ]
    values = np.array([np.nan if one.value is None else one.value for one in told], dtype=float)
    rows = np.array([here.index[source.key(one.params)] for one in told], dtype=int)
    failed = ~np.isfinite(values)
    if failed.all():
        return rows[:0], values[:0], values[:0]
    values[failed] = values[~failed].min()
    return rows, values, np.where(failed, float(values.std()), [one.error for one in told])
