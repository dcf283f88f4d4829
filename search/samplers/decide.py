"""The next evaluation, from observations alone: no state, no Optuna."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from search.samplers.design import next_of_design
from search.samplers.kernel import Array
from search.samplers.latency import allowed_risk
from search.samplers.scores import DESIGN, judged_rung, low_design, scores
from search.samplers.situation import Situation, over, permitted, situation, with_rung
from search.samplers.values import GIVEN, Choice, Goal, Observation, Params, Source

_FIRST_RISK = 0.5  # of being over the limit, in the first look at a space whose latencies are learnt
LOW_PER_HIGH = 1.0  # cost that may go to cheaper rungs for each evaluation on the last one
_LOW_LEAST = 0.25  # cost that goes to each cheaper rung at least: what teaches most for its cost


def decide(
    source: Source,
    seen: Sequence[Observation],
    goal: Goal,
    seed: int,
    fits: Callable[[Params], bool] = lambda _: True,
) -> Choice | None:
    """The next candidate and its rung; None when the source has no more.

    Deterministic: the same observations and seed give the same choice.

    Args:
        fits: whether a candidate may be chosen at all. Those that may not are still reasoned about, so that the
            others are judged as they would be without.
    """
    seed = _mixed(seed, len(seen))
    last = len(goal.costs) - 1
    here = situation(source, seen, goal, last, seed)
    if here is None:
        return None
    # while no latency is foretold, what promises most is what is largest
    blind = goal.limit is not None and here.latency is None
    judged = None if blind else judged_rung(source, here, seen, goal.costs)
    pool = permitted(here, goal, risk_taken(source, seen, goal, first_look=judged is None))
    pool = pool[np.array([fits(here.params[row]) for row in pool], dtype=bool)]
    if len(pool) == 0:
        return None
    if judged is None:
        return _by_design(source, here, seen, goal, pool, seed)
    for rung in range(judged):
        here = with_rung(source, here, seen, rung, seed)
    owed = _owed(seen, goal)
    if owed < last:
        tried = _tried(source, seen, owed)
        new = [row for row in pool if source.key(here.params[row]) not in tried]
        pool, owed = (np.array(new), owed) if new else (pool, last)
    asks_cheaper = any(cost < GIVEN for cost in goal.costs[:-1])
    # of the rung that is asked, lest the kinds of question fall in step with the change of rungs
    turn = sum(one.rung == owed for one in seen)
    score, why = scores(
        source, here, seen, goal, pool, judged, turn, seed, elsewhere=owed < last or not asks_cheaper
    )
    best = int(np.argmax(score))
    row = int(pool[best])
    rung = _next_rung(source, here.params[row], seen, goal)
    return Choice(here.params[row], rung, why(best))


def risk_taken(source: Source, seen: Sequence[Observation], goal: Goal, *, first_look: bool) -> float:
    """How likely the next candidate may turn out over the limit.

    Where latency is learnt, the first look may take a chance, and what was over the limit up to then, when nothing
    could be foretold, is not held against later questions. Nothing was trained for it.
    """
    last = len(goal.costs) - 1
    evaluated = [one for one in seen if one.rung == last]
    if source.latency is None:
        if first_look:
            return _FIRST_RISK
        evaluated = evaluated[DESIGN:]
    infeasible = sum(over(one, goal.limit) for one in evaluated)
    return allowed_risk(goal.infeasible_share, len(evaluated), infeasible)


def _mixed(seed: int, count: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{count}".encode()).digest()[:4], "big")


def _by_design(
    source: Source, here: Situation, seen: Sequence[Observation], goal: Goal, pool: Array, seed: int
) -> Choice:
    asked = np.arange(len(here.index))
    latency = np.exp(here.latency.mean) if here.latency is not None else None
    size = DESIGN if len(goal.costs) == 1 else low_design(goal.costs[0])
    row = next_of_design(here.features.matrix, latency, pool, asked, size, seed)
    params = here.params[row]
    return Choice(params, _next_rung(source, params, seen, goal), "a first look, spread over latency")


def _owed(seen: Sequence[Observation], goal: Goal) -> int:
    """The lowest cheaper rung that has not had its least share of the cost; the last one when all have.

    A candidate that climbs asks a cheaper rung once, and the search stays with those that have climbed. Without a share
    of its own the cheaper rung would be hardly asked, while many questions there cost what one dear one does.
    """
    last = len(goal.costs) - 1
    high = _dear(seen, goal)
    for rung, cost in enumerate(goal.costs[:-1]):
        count = sum(one.rung == rung for one in seen)
        if cost < GIVEN and (count + 1) * cost <= _LOW_LEAST * (high + 1):
            return rung
    return last


def _dear(seen: Sequence[Observation], goal: Goal) -> int:
    """Evaluations on the last rung; what turned out over the limit cost none."""
    last = len(goal.costs) - 1
    return sum(one.rung == last and not over(one, goal.limit) for one in seen)


def _tried(source: Source, seen: Sequence[Observation], rung: int) -> set[str]:
    return {source.key(one.params) for one in seen if one.rung == rung}


def _next_rung(source: Source, params: Params, seen: Sequence[Observation], goal: Goal) -> int:
    """The lowest rung it was not tried on, unless the cheap rungs have had their share of the cost."""
    last = len(goal.costs) - 1
    key = source.key(params)
    tried = {one.rung for one in seen if source.key(one.params) == key}
    high = _dear(seen, goal)
    asked = [rung for rung in range(last) if goal.costs[rung] < GIVEN]
    spent = sum(goal.costs[one.rung] for one in seen if one.rung in asked)
    for rung in asked:
        if rung not in tried and spent + goal.costs[rung] <= LOW_PER_HIGH * (high + 2):
            return rung
    return last
