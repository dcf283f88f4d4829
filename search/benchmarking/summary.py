"""Searches over many seeds, and their figures at a few budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from search.benchmarking.play import Play, Task, play
from search.benchmarking.score import Yardstick

CHECKPOINTS = (25, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Line:
    """One sampler after so many evaluations, means over the seeds.

    Attributes:
        share: hypervolume over that of the true front, 0..1.
        best: best value within the limit, None when some seed found none.
        regret: what it falls short of the table's best within the limit.
        invalid, repeated, infeasible_asked: proposals that the rules refused, in the whole search.
        infeasible: part of the evaluations that were over the limit, 0..1.
        cheaper_cost: spent on cheaper rungs, in evaluations.
        seconds, slowest: of one ask, mean and worst, in the whole search.
    """

    sampler: str
    evaluations: int
    share: float
    share_of_seeds: tuple[float, ...]
    best: float | None
    regret: float
    infeasible: float
    cheaper_cost: float
    invalid: float
    repeated: float
    infeasible_asked: float
    seconds: float
    slowest: float

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def lines_of(task: Task, sampler: str, plays: Sequence[Play], budget: int, sign: float = 1.0) -> list[Line]:
    """Figures at 25, 50, 100, 200 evaluations and at the budget.

    Args:
        sign: -1 where the value was turned round to be maximised.
    """
    measure = Yardstick(task.value, task.latency, task.limit)
    found = []
    for count in sorted({count for count in CHECKPOINTS if count < budget} | {budget}):
        rows = [np.array(one.rows[:count], dtype=int) for one in plays]
        shares = tuple(measure.share(one) for one in rows)
        best = fmean(measure.best_of(one) for one in rows)
        found.append(
            Line(
                sampler=sampler,
                evaluations=count,
                share=fmean(shares),
                share_of_seeds=shares,
                best=None if np.isnan(best) else sign * best,
                regret=fmean(measure.regret(one) for one in rows),
                infeasible=fmean(float((task.latency[one] > task.limit).mean()) for one in rows),
                cheaper_cost=fmean(one.low_cost[:count][-1] for one in plays),
                invalid=fmean(one.invalid for one in plays),
                repeated=fmean(one.repeated for one in plays),
                infeasible_asked=fmean(one.infeasible for one in plays),
                seconds=fmean(second for one in plays for second in one.seconds),
                slowest=max(second for one in plays for second in one.seconds),
            )
        )
    return found


def play_all(
    task: Task, sampler: str, seeds: Iterable[int], budget: int, *, jobs: int, told: Callable[[int], None]
) -> list[Play]:
    """One search per seed, `jobs` of them at once.

    Args:
        told: is called with the number of finished searches.
    """
    found = []
    if jobs == 1:
        for seed in seeds:
            found.append(_single_threaded(task, sampler, seed, budget))
            told(len(found))
        return found
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(_single_threaded, task, sampler, seed, budget) for seed in seeds]
        for future in waiting:
            found.append(future.result())
            told(len(found))
    return found


def _single_threaded(task: Task, sampler: str, seed: int, budget: int) -> Play:
    import warnings

    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on experimental features
        return play(task, sampler, seed, budget)
