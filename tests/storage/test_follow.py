"""The follower and the overview say the same as reading everything."""

import random

import pytest

from storage import LeaseLostError, TrialState
from storage.follow import StudyFollower
from storage.front import best_feasible, pareto_front
from storage.records import LATENCY_MS, NewEstimate
from tests.storage.demo import ME, OTHER, deployed, seed_demo


def test_follower_sees_every_kind_of_change(repository):

    study = seed_demo(repository, trials=9, owner=ME)
    follower = StudyFollower(repository, study.id)

    def same():
        assert follower.trials() == repository.trials(study.id)

    same()
    trial = repository.add_trial(study.id, "new", {"a": 1})
    same()
    repository.claim(trial, ME)
    same()
    repository.record(trial, owner=ME, measurements=deployed(0.4, 7.0, random.Random(0), "x")["measurements"])
    same()
    repository.lost(trial, "out of memory", owner=ME)
    same()
    repository.claim(trial, ME)
    repository.recover(study.id, lambda _: False)
    same()
    repository.claim(trial, ME)
    repository.finish(trial, owner=ME, **deployed(0.4, 7.0, random.Random(0), "y"))
    same()
    repository.add_evidence(trial, **deployed(0.5, 7.0, random.Random(0), "z"))
    same()
    assert follower.trials()[0] is follower.trials()[0]  # what did not change is not read again


def test_follower_outlasts_many_events(repository):
    study = seed_demo(repository, trials=3)
    follower = StudyFollower(repository, study.id)
    follower.trials()
    for index in range(700):
        repository.add_event(study.id, "note", str(index))
    repository.add_trial(study.id, "late", {})
    assert follower.trials()[-1].candidate_key == "late"


def test_overview_is_the_front_of_all_trials(repository):

    study = seed_demo(repository)
    best = best_feasible(repository.trials(study.id))
    repository.add_evidence(best.id, **deployed(best.deployed.ap / 2, 8.0, random.Random(0), "worse"))
    seed_demo(repository, "another", seed=2)
    front = pareto_front(repository.trials(study.id))
    told = repository.overview(study.id)
    assert [(p.trial_id, p.number, p.title, p.ap, p.latency_ms) for p in told.front] == [
        (t.id, t.number, t.title, t.deployed.ap, t.deployed_latency.median_ms) for t in front
    ]
    assert told.best.trial_id == best_feasible(repository.trials(study.id)).id
    assert told.counts == repository.count_by_state(study.id)
    assert told.deployed == sum(t.deployed_latency is not None for t in repository.trials(study.id))


def test_overview_of_a_device_that_is_not_here_shows_estimates(repository):
    study = repository.create_study("t4", {}, target_latency_ms=5.0)
    for index, (ap, value) in enumerate([(0.3, 4.0), (0.4, 4.5), (0.5, 6.0)]):
        trial = repository.add_trial(study.id, f"k{index}", {}, claim_by=ME)
        evidence = deployed(ap, value, random.Random(0), f"h{index}") | {"measurements": []}
        guess = NewEstimate(quantity=LATENCY_MS, value=value, low=value - 1, high=value + 1, source="model")
        repository.record(trial, owner=ME, estimates=[guess])
        repository.finish(trial, owner=ME, **evidence)
    told = repository.overview(study.id)
    assert [(p.ap, p.latency_ms, p.estimated) for p in told.front] == [(0.3, 4.0, True), (0.4, 4.5, True)]
    assert told.best.trial_id == best_feasible(repository.trials(study.id)).id


def test_lost_workers_are_retried_then_the_trial_fails(repository):
    study = repository.create_study("s", {})
    trial = repository.add_trial(study.id, "k", {}, claim_by=ME)
    assert repository.trial(trial).state is TrialState.RUNNING
    with pytest.raises(LeaseLostError):
        repository.lost(trial, "out of memory", owner=OTHER)
    assert repository.lost(trial, "out of memory", owner=ME) is TrialState.WAITING
    repository.claim(trial, ME)
    assert repository.lost(trial, "its node was lost", owner=ME) is TrialState.WAITING
    repository.claim(trial, ME)
    assert repository.lost(trial, "out of memory", owner=ME) is TrialState.FAILED
    assert repository.trial(trial).reason == "given up after 3 attempts: out of memory"


def test_a_driver_holds_its_study_by_a_lease(repository, clock):
    study = repository.create_study("s", {})
    repository.hold_study(study.id, ME, lease_seconds=60)
    mine = repository.add_trial(study.id, "k", {}, claim_by=ME, lease_seconds=60)
    clock.advance(50)
    repository.renew_study(study.id, ME, lease_seconds=60)
    clock.advance(50)
    assert repository.recover(study.id, lambda _: True) == []
    clock.advance(11)
    repository.hold_study(study.id, OTHER, is_alive=lambda _: True)
    assert repository.recover(study.id, lambda _: True) == [mine]
    with pytest.raises(LeaseLostError, match="run by process 2 on there"):
        repository.renew_study(study.id, ME)
    assert [e.kind for e in repository.events(study.id, kinds=["driver replaced"])] == ["driver replaced"]
    repository.release_study(study.id, force=True)
    with pytest.raises(LeaseLostError, match="released"):
        repository.renew_study(study.id, OTHER)
