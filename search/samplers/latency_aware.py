"""Our sampler, on Optuna's interface."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from search.samplers.decide import decide
from search.samplers.values import Choice, Goal, Observation, Source

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

RUNG = "rung"  # the parameter that says how dear an evaluation is wanted, where there are several kinds
LATENCY = "latency"  # user attribute: latency measured for a trial that got no AP
WHY = "why"  # user attribute: why this candidate was chosen


class ExhaustedError(Exception):
    """There is no candidate left that is valid, new and within the limit as far as is known."""


class LatencyAwareSampler(BaseSampler):
    """Proposes what is valid, new and within the limit, and is expected to move the front most.

    For studies of two objectives: the first maximised (AP), the second minimised (latency). Latency is known,
    or foretold, before an evaluation; only the first objective is modelled. Nothing is kept between two
    questions: the trials of the study are the whole state.

    Args:
        source: the candidates and what is known of them beforehand.
        goal: the limit, what to press on, and the rungs. With several, an integer parameter `rung` asks for
            the kind of evaluation, and only trials on the last rung count for the front.

    Raises:
        ExhaustedError: when asked for a trial and nothing is left.
    """

    def __init__(self, source: Source, goal: Goal, *, seed: int = 0) -> None:
        self._source = source
        self._goal = goal
        self._seed = seed
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters of the source, and the rung."""
        from optuna.distributions import IntDistribution

        space = dict(self._source.distributions)
        if len(self._goal.costs) > 1:
            space[RUNG] = IntDistribution(0, len(self._goal.costs) - 1)
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The chosen candidate; a dimension that does not apply is left out."""
        choice = self.choose(study)
        if choice is None:
            raise ExhaustedError
        study._storage.set_trial_user_attr(trial._trial_id, WHY, choice.why)
        params = dict(choice.params)
        if RUNG in search_space:
            params[RUNG] = choice.rung
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Parameters that the source does not know are drawn at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def choose(self, study: Study) -> Choice | None:
        """The next evaluation with its reason; None when nothing is left."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that ends at a bound is no news
            return decide(self._source, self._observations(study), self._goal, self._seed)

    def _observations(self, study: Study) -> Sequence[Observation]:
        last = len(self._goal.costs) - 1
        found = []
        for trial in study.get_trials(deepcopy=False):
            params = {name: trial.params[name] for name in self._source.choices if name in trial.params}
            if not params:
                continue  # a trial that is being asked for right now
            values = trial.values if trial.state is TrialState.COMPLETE else None
            found.append(
                Observation(
                    params=params,
                    rung=int(trial.params.get(RUNG, last)),
                    value=values[0] if values else None,
                    latency=values[1] if values else trial.user_attrs.get(LATENCY),
                    ended=trial.state.is_finished(),
                )
            )
        return found


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Take one parameter of a trial, whatever its kind: for those that apply to the chosen candidate."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high)
