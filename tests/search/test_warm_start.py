"""A new study that knows an older one: what is taken over, and that it helps from the first question."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.errors import UserError
from search.evidence import deployed_evidence, measurement_from
from search.options import SearchOptions
from search.stages import TrainJob
from search.study import Known, Question, propose
from search.warm_start import older_results
from storage import Repository
from storage.states import Rung, TrialKind
from tests.search.fakes import CLASSES, SIZE, ap, latency_ms, measurement, trained
from yolov6space.candidate import Candidate
from yolov6space.space import Space

TARGET_MS = 6.0
QUESTION = Question(
    target_ms=TARGET_MS, sampler="latency-aware", seed=0, num_classes=CLASSES, image_size=SIZE
)


def older(*, elsewhere: bool) -> list[Known]:
    """30 networks of a study with a wider limit; on another device, where all take thrice as long."""
    rng = random.Random(1)
    found: list[Known] = []
    while len(found) < 30:
        one = Space.default().sample(rng)
        here = latency_ms(one)
        if here > 12.0 and len(found) % 3:
            continue
        told = ap(one, 10) if here <= 12.0 else None
        if elsewhere:
            found.append(Known(one, None, told, older=True, elsewhere_ms=3.0 * here))
        else:
            found.append(Known(one, here, told, older=True))
    return found


def best_of(asks: int, given: list[Known]) -> float:
    known = list(given)
    taken: set[str] = set()
    for _ in range(asks):
        found = propose(Space.default(), known, taken, QUESTION)
        assert found is not None and found.candidate.key not in taken
        taken.add(found.candidate.key)
        latency = latency_ms(found.candidate)
        value = ap(found.candidate, 10) if latency <= TARGET_MS else None
        known.append(Known(found.candidate, latency, value))
    return max(one.ap or 0.0 for one in known if not one.older)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_is_known_saves_questions(elsewhere: bool) -> None:
    assert best_of(4, older(elsewhere=elsewhere)) > best_of(8, [])


@pytest.mark.parametrize("is_older", [True, False], ids=["older study", "fixed trials"])
def test_networks_over_this_limit_do_not_stand_in_for_a_first_look(is_older: bool) -> None:
    rng = random.Random(3)
    drawn = [Space.default().sample(rng) for _ in range(60)]
    given = {
        large: [
            Known(one, latency_ms(one), ap(one, 10), older=is_older)
            for one in drawn
            if (latency_ms(one) > TARGET_MS) == large
        ]
        for large in (True, False)
    }
    assert all(len(some) > 10 for some in given.values())
    reasons = {large: propose(Space.default(), some, set(), QUESTION) for large, some in given.items()}
    first_look = {large: found is not None and "first look" in found.why for large, found in reasons.items()}
    assert first_look == {True: True, False: False}


def test_an_older_network_may_be_asked_unless_it_is_taken() -> None:
    given = older(elsewhere=False)
    keys = {one.candidate.key for one in given}
    found = propose(Space.default(), given, keys, QUESTION)
    assert found is not None and found.candidate.key not in keys


def run_one(repository: Repository, study_id: int, *, to_the_end: bool) -> Candidate:
    """A trial that was measured, and perhaps trained."""
    candidate = Space.default().sample(random.Random(int(to_the_end)))
    trial = repository.add_trial(
        study_id, candidate.key, candidate.to_dict(), kind=TrialKind.SAMPLED, params=1.0, flops=1.0
    )
    assert repository.claim(trial)
    measured = measurement_from(measurement(candidate), Rung.UNTRAINED)
    if to_the_end:
        repository.record(trial, measurements=[measured])
        job = TrainJob(trial_id=trial, candidate=candidate.to_dict(), epochs=10)
        repository.finish(trial, **deployed_evidence(trained(job)).to_store())
    else:
        repository.infeasible(trial, measured, "over the limit")
    return candidate


def test_latencies_hold_on_the_same_device_only(tmp_path: Path) -> None:
    settings = {"device": "this one", "image_size": SIZE, "data": {"fingerprint": "x"}}
    with Repository.open(f"sqlite:///{tmp_path}/search.db") as repository:
        old = repository.create_study("old", settings, target_latency_ms=1.0)
        with pytest.raises(UserError, match="no results"):
            older_results(repository, "old", "new", settings)
        with pytest.raises(UserError, match="continues it"):
            older_results(repository, "old", "old", settings)
        with pytest.raises(UserError, match="nowhere"):
            older_results(repository, "nowhere", "new", settings)
        assert older_results(repository, None, "new", settings) == []
        candidates = [run_one(repository, old.id, to_the_end=end) for end in (True, False)]
        same = older_results(repository, "old", "new", settings)
        other = older_results(repository, "old", "new", {**settings, "device": "a faster one"})
    assert same == [
        Known(candidates[0], latency_ms(candidates[0]), ap(candidates[0], 10), older=True),
        Known(candidates[1], latency_ms(candidates[1]), None, older=True),
    ]
    assert other == [replace(one, latency_ms=None, elsewhere_ms=one.latency_ms) for one in same]


def test_only_our_sampler_learns_from_it() -> None:
    with pytest.raises(UserError, match="--warm-start"):
        SearchOptions(target_ms=5.0, sampler="tpe", warm_start="before")
