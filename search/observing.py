"""What is known of candidates, as observations of the sampler."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from search.question import Known, Question
from yolov6space.candidate import SpecError

if TYPE_CHECKING:
    from search.samplers.foretold import Foretelling
    from search.samplers.space_source import SpaceSource
    from search.samplers.values import Observation
    from yolov6space.space import Space


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """One thread, since more only fight with running trainings; a fit that ends at a bound is no news."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def exploring(
    source: SpaceSource, known: Sequence[Known], excluded: Collection[str], look_cost: float | None
) -> tuple[list[Observation], tuple[float, ...]]:
    """What exploring trainings showed, and the costs of the rungs: below are looks with inherited weights, and an older
    study.

    So how far their AP can be trusted here (other weights, data, pixels or epochs) is learnt and not assumed.
    """
    from search.samplers.values import GIVEN, LATENCY_ALONE

    ours = [one for one in known if not one.older]
    rungs: list[list[Observation]] = []
    costs: list[float] = []
    given = observations(source, [k for k in known if k.older and k.candidate.key not in excluded])
    if given:
        rungs.append([one if one.value is not None else replace(one, rung=LATENCY_ALONE) for one in given])
        costs.append(GIVEN)
    if look_cost is not None:
        looked = [replace(one, ap=one.shared_ap, ended=True) for one in ours if one.shared_ap is not None]
        rungs.append([one for one in observations(source, looked) if one.rung == 0])
        costs.append(look_cost)
    trained = observations(source, [one for one in ours if not one.only_looked_at])
    rungs.append([one for one in trained if one.rung == 0])
    costs.append(1.0)
    told = [
        one if one.rung == LATENCY_ALONE else replace(one, rung=rung)
        for rung, some in enumerate(rungs)
        for one in some
    ]
    return told, tuple(costs)


def observations(source: SpaceSource, known: Sequence[Known]) -> list[Observation]:
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


def source_of(space: Space, question: Question, excluded: frozenset[str]) -> SpaceSource:
    from search.samplers.foretold import ByPhysics, exactly
    from search.samplers.space_source import SpaceSource

    classes, size = question.num_classes, question.image_size
    foretelling: Foretelling = ByPhysics(classes, size, question.batch, question.calibration)
    if question.estimate is not None:
        foretelling = exactly(question.estimate)
    return SpaceSource(
        space,
        num_classes=classes,
        image_size=size,
        excluded=excluded,
        foretelling=foretelling,
        foretelling_elsewhere=ByPhysics(classes, size),
    )
