"""Optuna's own samplers by name, held to our rules: valid, new, within the limit as far as latency is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from search.samplers.features import features
from search.samplers.values import Params, Source

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

ATTEMPTS = 10  # asks before the nearest permitted candidate is taken instead


def _gp(seed: int) -> BaseSampler:
    import torch
    from optuna.samplers import GPSampler

    torch.set_num_threads(1)  # its matrices are tiny, and more threads only fight with running trainings
    return GPSampler(seed=seed, n_startup_trials=10, deterministic_objective=False)


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, n_startup_trials=10)


def _nsga2(seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=20)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


BASELINES: dict[str, Callable[[int], BaseSampler]] = {
    "gp": _gp,
    "tpe": _tpe,
    "nsga2": _nsga2,
    "random": _random,
}


@dataclass
class Refusals:
    """What a sampler asked against the rules."""

    invalid: int = 0
    repeated: int = 0
    infeasible: int = 0


@dataclass
class RuledStudy:
    """A study of one baseline that lives as long as the search.

    A proposal over the limit is told with its foretold latency, a violated constraint and the mean of what is
    known otherwise (Optuna wants a value); a repeated one with what is known already. What names no candidate
    at all is replaced by the nearest permitted candidate.
    """

    source: Source
    sampler: BaseSampler
    limit: float | None
    seed: int
    refused: Refusals = field(default_factory=Refusals)

    def __post_init__(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=self.sampler)
        self._known: dict[str, tuple[float, float]] = {}
        self._asked: Trial | None = None

    def ask(self) -> Params | None:
        """The next candidate; None when there are no more."""
        pool = {
            self.source.key(one): one
            for one in self.source.draw(self._known, [], self.seed + len(self._known))
        }
        pool = {key: one for key, one in pool.items() if not self._over(one)}
        if not pool:
            return None
        trial = None
        for _ in range(ATTEMPTS):
            trial = self._study.ask(dict(self.source.distributions))
            key = self.source.key(trial.params)
            if key in pool:
                self._asked = trial
                return pool[key]
            if not self._refuse(trial, key):
                break
        assert trial is not None
        nearest = self._nearest(trial.params, list(pool.values()))
        self._study.enqueue_trial(self._complete(nearest))
        self._asked = self._study.ask(dict(self.source.distributions))
        return nearest

    def tell(self, params: Params, value: float, latency: float) -> None:
        """What came of the last question."""
        assert self._asked is not None
        self._known[self.source.key(params)] = value, latency
        self._tell(self._asked, value, latency)

    def _tell(self, trial: Trial, value: float, latency: float) -> None:
        if self.limit is not None:
            trial.set_constraint("over_limit", latency / self.limit - 1.0)
        self._study.tell(trial, [value, latency])

    def _refuse(self, trial: Trial, key: str) -> bool:
        """Tell why it is refused; False if it names no candidate."""
        from optuna.trial import TrialState

        if key in self._known:
            self.refused.repeated += 1
            self._tell(trial, *self._known[key])
            return True
        try:
            foretold = self.source.figures([trial.params])
        except KeyError:
            self.refused.invalid += 1
            self._study.tell(trial, state=TrialState.FAIL)
            return False
        self.refused.infeasible += 1
        neutral = float(np.mean([value for value, _ in self._known.values()] or [0.0]))
        self._tell(trial, neutral, foretold[self.source.latency or ""][0])
        return True

    def _over(self, params: Params) -> bool:
        if self.limit is None or self.source.latency is None:
            return False
        return self.source.figures([params])[self.source.latency][0] > self.limit

    def _nearest(self, wanted: Mapping[str, Any], pool: list[Params]) -> Params:
        matrix = features([wanted, *pool], {}, self.source.choices).matrix
        return pool[int(np.argmin(((matrix[1:] - matrix[0]) ** 2).sum(axis=1)))]

    def _complete(self, params: Params) -> dict[str, Any]:
        """Optuna models only parameters that all trials share: absent ones get a first choice."""
        from optuna.distributions import CategoricalDistribution

        return {
            name: params.get(
                name, space.choices[0] if isinstance(space, CategoricalDistribution) else space.low
            )
            for name, space in self.source.distributions.items()
        }
