"""One search over a table: a sampler asks, the table answers, the clock of the asks is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from search.benchmarking.table import Table, TableSource, key_of
from search.samplers.baselines import BASELINES, RuledStudy
from search.samplers.values import Focus, Goal

if TYPE_CHECKING:
    from search.samplers.kernel import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is searched in a table. Values are maximised and latencies minimised; signs are turned before.

    Attributes:
        value, latency: of every row.
        cheap: figures known beforehand, by column name, true; `latency_name` may be one of them.
        cheap_noise: relative standard error of a simulated estimate of them, 0 for none.
        low: values of the cheaper rungs and the cost of one evaluation there, cheapest first.
    """

    table: Table
    value: Array
    latency: Array
    latency_name: str
    limit: float
    cheap: dict[str, Array]
    cheap_noise: float = 0.0
    low: tuple[tuple[Array, float], ...] = ()
    focus: Focus = "target"


@dataclass
class Play:
    """What happened in one search.

    Attributes:
        rows: evaluated on the last rung, in order.
        low_cost: spent on cheaper rungs, in units of one evaluation.
        seconds: of every ask.
        invalid, repeated, infeasible: proposals refused before evaluation.
    """

    rows: list[int] = field(default_factory=list)
    low_cost: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    invalid: int = 0
    repeated: int = 0
    infeasible: int = 0


def play(task: Task, sampler: str, seed: int, budget: int) -> Play:
    """Search with `budget` evaluations on the last rung; fewer if the table has no more candidates."""
    found = Play()
    steps = _baseline(task, sampler, seed, found) if sampler in BASELINES else _ours(task, seed, found)
    before = time.perf_counter()
    for _ in steps:
        found.seconds.append(time.perf_counter() - before)
        if len(found.rows) >= budget:
            break
        before = time.perf_counter()
    return found


def source(task: Task, seed: int) -> TableSource:
    """The table as a source of candidates; the simulated error is drawn once per row and seed."""
    rng = np.random.default_rng(seed)
    known = {
        name: values * np.exp(task.cheap_noise * rng.standard_normal(len(values)))
        for name, values in task.cheap.items()
    }
    latency = task.latency_name if task.latency_name in known else None
    return TableSource(task.table, known, latency, task.cheap_noise, task.limit)


def _ours(task: Task, seed: int, found: Play) -> Iterator[None]:
    import optuna

    from search.samplers.latency_aware import RUNG, ExhaustedError, LatencyAwareSampler, suggest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rungs = [*task.low, (task.value, 1.0)]
    goal = Goal(task.limit, task.focus, tuple(cost for _, cost in rungs))
    sampler = LatencyAwareSampler(source(task, seed), goal, seed=seed)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    spent = 0.0
    while True:
        trial = study.ask()
        try:
            asked = trial.relative_params
        except ExhaustedError:
            return
        for name in asked:
            suggest(trial, name, (trial.relative_search_space or {})[name])
        rung = int(trial.params.get(RUNG, len(rungs) - 1))
        row = task.table.rows[key_of({name: value for name, value in asked.items() if name != RUNG})]
        study.tell(trial, [float(rungs[rung][0][row]), float(task.latency[row])])
        if rung < len(rungs) - 1:
            spent += rungs[rung][1]
        else:
            found.rows.append(row)
            found.low_cost.append(spent)
        yield


def _baseline(task: Task, name: str, seed: int, found: Play) -> Iterator[None]:
    study = RuledStudy(source(task, seed), BASELINES[name](seed), task.limit, seed)
    while (params := study.ask()) is not None:
        row = task.table.rows[key_of(params)]
        study.tell(params, float(task.value[row]), float(task.latency[row]))
        found.rows.append(row)
        found.low_cost.append(0.0)
        found.invalid, found.repeated = study.refused.invalid, study.refused.repeated
        found.infeasible = study.refused.infeasible
        yield
