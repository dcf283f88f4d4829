"""What to ask next. Optuna's study lives in memory and is rebuilt from what is known at every question.

Nothing is kept between two questions, so the same seed and the same known outcomes give the same candidate,
in one unbroken run or after any number of interruptions.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.sampler import SAMPLERS, distributions, to_params, to_values
from yolov6space.candidate import Candidate, SpecError

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from yolov6space.space import Space

_SAMPLER_ATTEMPTS = 8
_RANDOM_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one candidate when the next question is asked.

    Attributes:
        latency_ms: measured or estimated, None while nobody has looked.
        ap: COCO AP of the deployed network, 0..1; None when not trained (over the limit) or still running.
    """

    candidate: Candidate
    latency_ms: float | None
    ap: float | None


def propose(
    space: Space, known: Sequence[Known], taken: Collection[str], *, target_ms: float, sampler: str, seed: int
) -> Candidate | None:
    """Choose the next candidate: one whose key is not in `taken`.

    Args:
        known: everything learnt so far; AP is maximised and latency minimised under `target_ms`.
        taken: keys that must not be asked again, whatever came of them.

    Returns:
        A new candidate, or None when none is found any more (the space is exhausted).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes = distributions(space)
    past = _past_trials(space, known, target_ms)
    for attempt in range(_SAMPLER_ATTEMPTS):
        study = _study(past, SAMPLERS[sampler](_seed(seed, len(taken), attempt)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna's notes on experimental features
            params = study.ask(axes).params
        candidate = space.decode(to_values(space, params))
        if candidate.key not in taken:
            return candidate
    rng = random.Random(_seed(seed, len(taken), _SAMPLER_ATTEMPTS))
    for _ in range(_RANDOM_ATTEMPTS):
        candidate = space.sample(rng)
        if candidate.key not in taken:
            return candidate
    return None


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
