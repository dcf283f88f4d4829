"""Questions of Optuna's own samplers, held to the rules of ours; a study of Optuna is rebuilt at every one."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from search.observing import observations, quietly, source_of
from search.question import Known, Proposal, Question
from search.sampler import distributions, to_params, to_values
from yolov6space.candidate import Candidate, SpecError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.samplers.space_source import SpaceSource
    from search.samplers.values import Observation
    from yolov6space.space import Space

_SAMPLER_ATTEMPTS = 8
_RANDOM_ATTEMPTS = 2000


def by_optuna(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    """A baseline: asked again, in the end replaced by chance, where it is not new or foretold over the limit."""
    import optuna

    from search.samplers.baselines import BASELINES

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes = distributions(space)
    past = _past_trials(space, known, question.target_ms)
    source = source_of(space, question, frozenset())
    told = observations(source, known)

    def new(candidate: Candidate) -> bool:
        return candidate.key not in taken and (question.affordable is None or question.affordable(candidate))

    def permitted(candidate: Candidate) -> bool:
        return new(candidate) and _may_be_within(source, told, candidate, question.target_ms)

    for attempt in range(_SAMPLER_ATTEMPTS):
        study = _study(past, BASELINES[question.sampler](_seed(question.seed, len(taken), attempt)))
        with quietly():
            params = study.ask(axes).params
            candidate = space.decode(to_values(space, params))
            if permitted(candidate):
                return Proposal(candidate, f"asked by {question.sampler}")
    rng = random.Random(_seed(question.seed, len(taken), _SAMPLER_ATTEMPTS))
    drawn = (space.sample(rng) for _ in range(_RANDOM_ATTEMPTS))
    some = list(islice(filter(new, drawn), _SAMPLER_ATTEMPTS))
    with quietly():
        chosen = next((one for one in some if permitted(one)), some[0] if some else None)
    return None if chosen is None else Proposal(chosen, "drawn at random")


def _may_be_within(
    source: SpaceSource, told: Sequence[Observation], candidate: Candidate, target_ms: float
) -> bool:
    """Whether the latency of a candidate, foretold from what was measured, is as likely within the limit as not."""
    from search.samplers.latency import probability_within

    measured = [(one.params, one.latency) for one in told if one.rung == 0 and one.latency is not None]
    foretold = source.foretold([source.params_of(candidate)], measured)
    return foretold is None or bool(probability_within(foretold, target_ms)[0] >= 0.5)


def _study(past: Sequence[FrozenTrial], sampler: object) -> Study:
    import optuna

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.add_trials(past)
    return study


def _past_trials(space: Space, known: Sequence[Known], target_ms: float) -> list[FrozenTrial]:
    """Known outcomes as Optuna trials.

    An untrained candidate gets the mean AP of the trained ones: Optuna wants a value, and the mean is the one
    that says nothing for or against it; its latency then speaks through the constraint alone.
    """
    from optuna.trial import create_trial

    trained = [one.ap for one in known if one.ap is not None]
    neutral_ap = sum(trained) / len(trained) if trained else 0.0
    axes = distributions(space)
    trials = []
    for one in known:
        if one.latency_ms is None:
            continue
        try:
            values = space.encode(one.candidate)
        except SpecError:
            continue  # a fixed trial outside a narrowed space: shown on the front, not modelled
        trials.append(
            create_trial(
                values=[neutral_ap if one.ap is None else one.ap, one.latency_ms],
                params=to_params(space, values),
                distributions=axes,
                constraints={"latency_over_target": one.latency_ms / target_ms - 1.0},
            )
        )
    return trials


def _seed(seed: int, question: int, attempt: int) -> int:
    return random.Random(f"{seed}/{question}/{attempt}").getrandbits(31)
