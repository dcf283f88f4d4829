"""What to ask next, from what is known alone; for Optuna's samplers a study is rebuilt at every question.

Nothing is kept between two questions, so the same seed and the same known outcomes give the same candidate,
in one unbroken run or after any number of interruptions.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from search.budget import LONGER_TRAINING
from search.sampler import DEFAULT_SAMPLER, distributions, to_params, to_values
from yolov6space.candidate import Candidate, SpecError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search.samplers.report import Beliefs
    from search.samplers.space_source import SpaceSource
    from search.samplers.values import Focus, Observation
    from yolov6space.space import Space

_SAMPLER_ATTEMPTS = 8
_RANDOM_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one candidate when the next question is asked.

    Attributes:
        latency_ms: measured or estimated, None while nobody has looked.
        ap: COCO AP of the deployed network after an exploring training, 0..1; None when not trained (over the
            limit) or still running.
        ended: whether nothing more will come of it.
        longer_ap: the same after a longer training, None when there was none.
        older: whether an older study or the paper found it out: its AP is what a cheaper look would show, and the
            candidate may be asked here.
        elsewhere_ms: latency on the older study's device where that is another one.
        ap_error: standard error of `ap` where judging ended after a part of the images; 0 else.
    """

    candidate: Candidate
    latency_ms: float | None
    ap: float | None
    ended: bool = True
    longer_ap: float | None = None
    older: bool = False
    elsewhere_ms: float | None = None
    ap_error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a proposal depends on besides what is known.

    Attributes:
        num_classes, image_size: what costs are costs of.
    """

    target_ms: float
    sampler: str
    seed: int
    focus: Focus = "target"
    num_classes: int = 80
    image_size: int = 640


@dataclass(frozen=True, slots=True)
class Proposal:
    """The next candidate, and why in one line."""

    candidate: Candidate
    why: str


def propose(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    """Choose the next candidate: one whose key is not in `taken`.

    Args:
        known: everything learnt so far; AP is maximised and latency minimised under the target.
        taken: keys that must not be asked again, whatever came of them.

    Returns:
        A new candidate, or None when none is found any more (the space is exhausted).
    """
    if question.sampler == DEFAULT_SAMPLER:
        return _by_ours(space, known, taken, question)
    return _by_optuna(space, known, taken, question)


def promising(space: Space, known: Sequence[Known], question: Question) -> list[Proposal]:
    """Candidates worth a longer training, the one first that is expected to move the front most.

    Those whose best credible AP does not reach the front are left out.
    """
    from search.samplers.promotion import rank_for_promotion
    from search.samplers.values import Goal

    source = _source(space, question, frozenset())
    goal = Goal(question.target_ms, question.focus, (1.0 / LONGER_TRAINING, 1.0))
    with _quietly():
        found = rank_for_promotion(source, _observations(source, known), goal, question.seed)
    return [Proposal(source.candidate_of(choice.params), choice.why) for choice in found]


def believed(space: Space, known: Sequence[Known], question: Question) -> Beliefs | None:
    """Which dimensions matter, and predicted AP of an exploring training against latency; None while unknown."""
    from search.samplers.report import beliefs
    from search.samplers.values import Goal

    source = _source(space, question, frozenset())
    told, costs = _exploring(source, known, frozenset())
    with _quietly():
        return beliefs(source, told, Goal(question.target_ms, question.focus, costs), question.seed)


def _by_ours(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    from search.samplers.decide import decide
    from search.samplers.values import Goal

    excluded = frozenset(taken) - {one.candidate.key for one in known if not one.older}
    source = _source(space, question, excluded)
    told, costs = _exploring(source, known, excluded)
    with _quietly():
        choice = decide(source, told, Goal(question.target_ms, question.focus, costs), question.seed)
    return None if choice is None else Proposal(source.candidate_of(choice.params), choice.why)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """One thread, since more only fight with running trainings; a fit that ends at a bound is no news."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _exploring(
    source: SpaceSource, known: Sequence[Known], excluded: Collection[str]
) -> tuple[list[Observation], tuple[float, ...]]:
    """What exploring trainings showed, and the costs of the rungs: an older study is a rung below this one.

    So how far its AP can be trusted here (other data, pixels or epochs) is learnt and not assumed.
    """
    from search.samplers.values import GIVEN, LATENCY_ALONE

    told = [one for one in _observations(source, [k for k in known if not k.older]) if one.rung == 0]
    given = _observations(source, [k for k in known if k.older and k.candidate.key not in excluded])
    if not given:
        return told, (1.0,)
    older = [one if one.value is not None else replace(one, rung=LATENCY_ALONE) for one in given]
    return [*older, *(replace(one, rung=1) for one in told)], (GIVEN, 1.0)


def _observations(source: SpaceSource, known: Sequence[Known]) -> list[Observation]:
    """Exploring trainings are rung 0, longer ones rung 1. A candidate outside a narrowed space is left out."""
    from search.samplers.values import Observation

    found = []
    for one in known:
        try:
            params = source.params_of(one.candidate)
        except SpecError:
            continue
        found.append(
            Observation(params, 0, one.ap, one.latency_ms, one.ended, one.elsewhere_ms, one.ap_error)
        )
        if one.longer_ap is not None:
            found.append(Observation(params, 1, one.longer_ap, one.latency_ms))
    return found


def _source(space: Space, question: Question, excluded: frozenset[str]) -> SpaceSource:
    from search.samplers.space_source import SpaceSource

    return SpaceSource(
        space, num_classes=question.num_classes, image_size=question.image_size, excluded=excluded
    )


def _by_optuna(
    space: Space, known: Sequence[Known], taken: Collection[str], question: Question
) -> Proposal | None:
    """A baseline: asked again, in the end replaced by chance, where it is not new or foretold over the limit."""
    import optuna

    from search.samplers.baselines import BASELINES

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes = distributions(space)
    past = _past_trials(space, known, question.target_ms)
    source = _source(space, question, frozenset())
    told = _observations(source, known)

    def permitted(candidate: Candidate) -> bool:
        return candidate.key not in taken and _may_be_within(source, told, candidate, question.target_ms)

    for attempt in range(_SAMPLER_ATTEMPTS):
        study = _study(past, BASELINES[question.sampler](_seed(question.seed, len(taken), attempt)))
        with _quietly():
            params = study.ask(axes).params
            candidate = space.decode(to_values(space, params))
            if permitted(candidate):
                return Proposal(candidate, f"asked by {question.sampler}")
    rng = random.Random(_seed(question.seed, len(taken), _SAMPLER_ATTEMPTS))
    new = (one for _ in range(_RANDOM_ATTEMPTS) if (one := space.sample(rng)).key not in taken)
    some = list(islice(new, _SAMPLER_ATTEMPTS))
    with _quietly():
        chosen = next((one for one in some if permitted(one)), some[0] if some else None)
    return None if chosen is None else Proposal(chosen, "drawn at random")


def _may_be_within(
    source: SpaceSource, told: Sequence[Observation], candidate: Candidate, target_ms: float
) -> bool:
    """Whether the latency of a candidate, foretold from what was measured, is as likely within the limit as not."""
    import numpy as np

    from search.samplers.features import features
    from search.samplers.latency import latency_belief, probability_within

    measured = [one for one in told if one.rung == 0 and one.latency is not None]
    params = [*(one.params for one in measured), source.params_of(candidate)]
    figures = source.figures(params)
    found = features(params, figures, source.choices)
    truth = np.array([*(one.latency for one in measured), np.nan], dtype=float)
    belief = latency_belief(found, figures, None, 0.0, truth)
    return belief is None or bool(probability_within(belief, target_ms)[-1] >= 0.5)


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
