"""The contract of `storage.repository`, in memory, on SQLite and on PostgreSQL."""

import dataclasses
import math
import random
import threading
from datetime import UTC

import pytest

from foundation.errors import UserError
from storage import (
    LATENCY_MS,
    DuplicateCandidateError,
    LeaseLostError,
    NewArtefact,
    NewEstimate,
    NewEvaluation,
    NewMeasurement,
    Origin,
    RecordRefusedError,
    Repository,
    Rung,
    TrialKind,
    TrialState,
)
from tests.storage.demo import deployed, latency

ME, OTHER = "here:1:100.00", "there:2:200.00"
ESTIMATE = NewEstimate(quantity=LATENCY_MS, value=20.0, low=15.0, high=30.0, source="FLOPs")


@pytest.fixture
def study(repository):
    return repository.create_study("night", {"seed": 3, "data": {"name": "cells"}}, target_latency_ms=8.8)


@pytest.fixture
def trial(repository, study):
    return repository.add_trial(study.id, "c0ffee", {"model": {"width": 0.25}}, params=10, flops=20)


def ends(repository, trial_id):
    """Every way to end or change a trial, each as a call by ME."""
    return [
        lambda: repository.renew(trial_id, ME),
        lambda: repository.record(trial_id, owner=ME),
        lambda: repository.finish(trial_id, owner=ME),
        lambda: repository.infeasible(trial_id, ESTIMATE, "too slow", owner=ME),
        lambda: repository.fail(trial_id, "broken", owner=ME),
        lambda: repository.release(trial_id, owner=ME),
    ]


def test_study_round_trip(repository, study):
    assert repository.get_study("night") == study
    assert study.settings == {"seed": 3, "data": {"name": "cells"}}
    assert study.target_latency_ms == 8.8
    assert study.created_at.tzinfo is UTC
    later = repository.create_study("day", {})
    assert [found.name for found in repository.list_studies()] == ["day", "night"]
    assert later.target_latency_ms is None


def test_settings_are_added_and_never_changed(repository, study):
    before = dict(study.settings)
    completed = repository.complete_settings(study.id, {"seed": 4, "focus": "front"})
    assert completed.settings == {**before, "focus": "front"}
    assert repository.complete_settings(study.id, {"focus": "target"}).settings == completed.settings


def test_missing_study_lists_the_known_ones(repository, study):
    with pytest.raises(UserError, match=r"no study 'nigth'.*it has night"):
        repository.get_study("nigth")


@pytest.mark.parametrize("name", ["night", "", "x" * 201])
def test_study_names_are_unique_and_sane(repository, study, name):
    with pytest.raises(UserError):
        repository.create_study(name, {})


def test_numbers_count_up_in_each_study(repository, study):
    other = repository.create_study("other", {})
    for index in range(3):
        repository.add_trial(study.id, f"key{index}", {"index": index})
    repository.add_trial(other.id, "key0", {"index": 0})
    assert [(t.number, t.candidate_key) for t in repository.trials(study.id)] == [
        (0, "key0"),
        (1, "key1"),
        (2, "key2"),
    ]
    assert [t.number for t in repository.trials(other.id)] == [0]


def test_new_trial_is_waiting(repository, study):
    names = {"kind": TrialKind.FIXED, "name": "YOLOv6-N", "label": "n"}
    trial_id = repository.add_trial(study.id, "abc", {"a": [1, {"b": None}]}, params=4, flops=9, **names)
    record = repository.trial(trial_id)
    assert record.state is TrialState.WAITING
    assert (record.kind, record.name, record.title, record.label) == (
        TrialKind.FIXED,
        "YOLOv6-N",
        "YOLOv6-N",
        "n",
    )
    assert record.spec == {"a": [1, {"b": None}]}
    assert (record.params, record.flops, record.attempts, record.owner) == (4, 9, 0, None)
    assert record.feasible is None


def test_a_candidate_is_tried_once_in_a_study(repository, study, trial):
    with pytest.raises(DuplicateCandidateError) as refusal:
        repository.add_trial(study.id, "c0ffee", {"model": {"width": 0.25}})
    assert (refusal.value.trial_id, refusal.value.number) == (trial, 0)
    assert len(repository.trials(study.id)) == 1


def test_a_trial_of_no_study_is_refused(repository):
    with pytest.raises(RecordRefusedError):
        repository.add_trial(999, "c0ffee", {})


def test_claim_is_exclusive_and_named(repository, trial):
    assert repository.claim(trial, ME)
    assert not repository.claim(trial, OTHER)
    assert not repository.claim(trial, ME)
    assert repository.trial(trial).owner == ME
    assert repository.trial(trial).state is TrialState.RUNNING


def test_one_of_many_threads_gets_each_trial(another, study, repository):
    trials = [repository.add_trial(study.id, f"k{index}", {}) for index in range(10)]
    got: list[tuple[int, int]] = []
    start = threading.Barrier(4)

    def work(worker: int) -> None:
        with another() as mine:
            start.wait()
            for trial_id in trials:
                if mine.claim(trial_id, f"h:{worker}:1"):
                    got.append((trial_id, worker))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(trial_id for trial_id, _ in got) == trials
    assert {t.id: t.owner for t in repository.trials(study.id)} == {t: f"h:{worker}:1" for t, worker in got}


def test_threads_adding_the_same_candidates_make_each_once(another, study):
    added: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        with another() as mine:
            start.wait()
            for index in range(10):
                try:
                    added.append(mine.add_trial(study.id, f"k{index}", {"i": index}))
                except DuplicateCandidateError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with another() as repository:
        assert sorted(t.number for t in repository.trials(study.id)) == list(range(10))
    assert len(added) == 10


def test_only_the_owner_may_change_a_running_trial(repository, trial):
    repository.claim(trial, OTHER)
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError, match="running by process 2 on there"):
            call()
    assert repository.trial(trial).state is TrialState.RUNNING


@pytest.mark.parametrize("end", range(2, 5))
def test_ended_trials_never_change(repository, trial, end):
    repository.claim(trial, ME)
    ends(repository, trial)[end]()
    before = repository.trial(trial)
    assert before.state.is_finished
    assert before.finished_at is not None and before.owner is None
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError):
            call()
    assert not repository.claim(trial, ME)
    assert repository.trial(trial) == before


def test_waiting_trials_can_be_judged_but_not_finished(repository, study):
    first, second, third = (repository.add_trial(study.id, key, {}) for key in "abc")
    repository.infeasible(first, ESTIMATE, "at least 15 ms")
    repository.fail(second, "cannot be built")
    with pytest.raises(LeaseLostError, match="waiting"):
        repository.finish(third, owner=ME)
    states = [t.state for t in repository.trials(study.id)]
    assert states == [TrialState.INFEASIBLE, TrialState.FAILED, TrialState.WAITING]
    assert repository.trial(first).reason == "at least 15 ms"
    assert repository.trial(first).estimates[0].low == 15.0
    assert repository.trial(first).feasible is False


def test_finish_keeps_everything(repository, study, trial):
    rng = random.Random(0)
    told = deployed(0.5, 7.0, rng, "feed")
    repository.claim(trial, ME)
    repository.record(trial, owner=ME, measurements=[latency(Rung.UNTRAINED, 7.2, rng)])
    repository.finish(trial, owner=ME, estimates=[ESTIMATE], **told)
    record = repository.trial(trial)
    assert record.state is TrialState.FINISHED
    assert set(record.evaluations) == {Origin.TRAINED, Origin.DEPLOYED}
    for origin, new in zip((Origin.TRAINED, Origin.DEPLOYED), told["evaluations"], strict=True):
        stored = dataclasses.asdict(record.evaluations[origin])
        assert {name: stored[name] for name in dataclasses.asdict(new)} == dataclasses.asdict(new)
    assert record.deployed_latency is not None and record.untrained_latency is not None
    assert record.deployed_latency.median_ms == 7.0
    assert record.untrained_latency.median_ms == 7.2
    assert record.latency is record.deployed_latency
    assert record.feasible is True
    assert repository.samples_ms(record.deployed_latency.id) == tuple(told["measurements"][0].samples_ms)
    assert repository.environment(record.deployed_latency.environment_id)["threads"] == 2
    assert record.deployed_latency.environment_id == record.untrained_latency.environment_id
    assert [a.path for a in repository.artefacts(trial)] == ["runs/feed"]
    assert repository.trials(study.id) == [record]


def test_later_evidence_of_a_finished_trial_replaces_the_shown_one(repository, trial):
    rng = random.Random(0)
    repository.claim(trial, ME)
    with pytest.raises(LeaseLostError):
        repository.add_evidence(trial, **deployed(0.6, 9.9, rng, "beef"))
    repository.finish(trial, owner=ME, **deployed(0.5, 7.0, rng, "feed"))
    repository.add_evidence(trial, **deployed(0.6, 9.9, rng, "beef"))
    record = repository.trial(trial)
    assert record.deployed is not None and record.deployed_latency is not None
    assert (record.deployed.ap, record.deployed_latency.median_ms) == (0.6, 9.9)
    assert record.feasible is False


def test_latency_of_another_artefact_is_not_shown_beside_the_ap(repository, trial):
    rng = random.Random(0)
    told = deployed(0.5, 7.0, rng, "feed")
    repository.claim(trial, ME)
    repository.finish(trial, owner=ME, **{**told, "measurements": [latency(Rung.DEPLOYED, 1.0, rng, "beef")]})
    assert repository.trial(trial).deployed_latency is None
    assert repository.trial(trial).feasible is None


def test_two_studies_share_candidates_and_artefact_contents(repository, study, trial):
    other = repository.create_study("other", {}, target_latency_ms=3.0)
    twin = repository.add_trial(other.id, "c0ffee", {"model": {"width": 0.25}})
    for trial_id in (trial, twin):
        repository.claim(trial_id, ME)
        repository.finish(trial_id, owner=ME, **deployed(0.5, 7.0, random.Random(0), "feed"))
    assert repository.trial(trial).feasible is True
    assert repository.trial(twin).feasible is False
    assert repository.artefacts(twin)[0].trial_id == twin


@pytest.mark.parametrize(
    "wrong",
    [
        {"evaluations": [NewEvaluation(origin=Origin.TRAINED, ap=1.2)]},
        {"evaluations": [NewEvaluation(origin=Origin.TRAINED, ap=-0.1)]},
        {"evaluations": [NewEvaluation(origin=Origin.TRAINED, ap=0.1, ap50=35.9)]},
        {"evaluations": [NewEvaluation(origin=Origin.DEPLOYED, ap=0.1)]},
        {"evaluations": [NewEvaluation(origin="guessed", ap=0.1)]},
        {"evaluations": [NewEvaluation(origin=Origin.TRAINED, ap=0.1, figures={"loss": math.nan})]},
        {"measurements": [NewMeasurement(rung=Rung.UNTRAINED, median_ms=0, low_ms=0, high_ms=0, p99_ms=0)]},
        {"measurements": [NewMeasurement(rung=Rung.UNTRAINED, median_ms=2, low_ms=3, high_ms=4, p99_ms=5)]},
        {"measurements": [NewMeasurement(rung=Rung.DEPLOYED, median_ms=2, low_ms=1, high_ms=3, p99_ms=5)]},
        {"estimates": [NewEstimate(quantity=LATENCY_MS, value=1, low=2, high=3, source="x")]},
        {"artefacts": [NewArtefact(hash="a", path="p", size_bytes=-1)]},
    ],
)
def test_impossible_values_are_refused_and_nothing_changes(repository, trial, wrong):
    repository.claim(trial, ME)
    with pytest.raises(RecordRefusedError):
        repository.finish(trial, owner=ME, **wrong)
    record = repository.trial(trial)
    assert record.state is TrialState.RUNNING
    assert not record.evaluations and not record.estimates and record.latency is None


def test_not_a_number_is_refused_before_it_gets_to_the_database():
    with pytest.raises(ValueError, match="ap is nan"):
        NewEvaluation(origin=Origin.TRAINED, ap=math.nan)
    with pytest.raises(ValueError, match="high_ms is inf"):
        NewMeasurement(rung=Rung.UNTRAINED, median_ms=1, low_ms=1, high_ms=math.inf, p99_ms=1)


def test_release_gives_back_without_an_attempt(repository, trial):
    repository.claim(trial, ME)
    repository.release(trial, owner=ME)
    record = repository.trial(trial)
    assert (record.state, record.owner, record.attempts, record.started_at) == (
        TrialState.WAITING,
        None,
        0,
        None,
    )
    assert repository.claim(trial, OTHER)


def test_recover_takes_back_what_the_dead_held(repository, study):
    mine, theirs, waiting = (repository.add_trial(study.id, key, {}) for key in "abc")
    repository.claim(mine, ME)
    repository.claim(theirs, OTHER)
    assert repository.recover(study.id, lambda owner: owner == ME) == [theirs]
    assert [t.state for t in repository.trials(study.id)] == [
        TrialState.RUNNING,
        TrialState.WAITING,
        TrialState.WAITING,
    ]
    assert [t.attempts for t in repository.trials(study.id)] == [0, 1, 0]
    with pytest.raises(LeaseLostError):
        repository.finish(theirs, owner=OTHER)
    assert repository.trial(waiting).attempts == 0


def test_who_comes_back_late_ends_nothing_that_waits_again(repository, study, trial):
    repository.claim(trial, ME)
    repository.recover(study.id, lambda _: False)
    for call in ends(repository, trial):
        with pytest.raises(LeaseLostError, match="is waiting, not held by process 1 on here"):
            call()
    assert repository.trial(trial).state is TrialState.WAITING


def test_recover_takes_back_expired_leases_even_of_the_living(repository, study, trial, clock):
    repository.claim(trial, ME, lease_seconds=60)
    clock.advance(59)
    assert repository.recover(study.id, lambda _: True) == []
    repository.renew(trial, ME, lease_seconds=60)
    clock.advance(59)
    assert repository.recover(study.id, lambda _: True) == []
    clock.advance(1)
    assert repository.recover(study.id, lambda _: True) == [trial]
    assert repository.events(study.id)[-1].message == "process 1 on here let its lease end"


def test_a_trial_that_keeps_losing_its_worker_fails(repository, study, trial):
    for attempt in (1, 2):
        repository.claim(trial, ME)
        repository.recover(study.id, lambda _: False)
        assert (repository.trial(trial).state, repository.trial(trial).attempts) == (
            TrialState.WAITING,
            attempt,
        )
    repository.claim(trial, ME)
    repository.recover(study.id, lambda _: False)
    record = repository.trial(trial)
    assert record.state is TrialState.FAILED
    assert record.reason == "given up after 3 attempts: process 1 on here died"


def test_one_driver_at_a_time(repository, study):
    repository.hold_study(study.id, ME, is_alive=lambda _: True)
    repository.hold_study(study.id, ME, is_alive=lambda _: True)
    with pytest.raises(UserError, match="study night is being run by process 1 on here"):
        repository.hold_study(study.id, OTHER, is_alive=lambda _: True)
    assert repository.get_study("night").driver_owner == ME
    repository.hold_study(study.id, OTHER, is_alive=lambda _: False)
    assert not repository.release_study(study.id, ME)
    assert repository.release_study(study.id, OTHER)
    repository.hold_study(study.id, ME)
    assert repository.release_study(study.id, force=True)
    assert repository.get_study("night").driver_owner is None


def test_events_tell_the_story_in_order(repository, study, trial):
    repository.claim(trial, ME)
    repository.release(trial, owner=ME)
    repository.claim(trial, ME)
    repository.fail(trial, "no memory\nleft", owner=ME)
    repository.add_event(study.id, "note", "the end")
    story = [(event.kind, event.message) for event in repository.events(study.id)]
    assert [kind for kind, _ in story] == [
        "created", "added", "claimed", "released", "claimed", "failed", "note",
    ]  # fmt: skip
    assert repository.trial(trial).reason == "no memory left"
    assert [event.kind for event in repository.events(study.id, limit=2)] == ["failed", "note"]
    assert len(repository.events(study.id, trial_id=trial)) == 5


def test_passwords_do_not_get_into_reasons_and_events(repository, study, trial):
    repository.fail(trial, "cannot reach postgresql://bob:hunter2@db/x?password=hunter2")
    repository.add_event(study.id, "note", "connected to postgresql://bob:hunter2@db/x")
    assert "hunter2" not in str(repository.trials(study.id)) + str(repository.events(study.id))
    assert "postgresql://bob:***@db/x" in repository.events(study.id)[-1].message


def test_counts_name_every_state(repository, study, trial):
    assert repository.count_by_state(study.id) == {
        TrialState.WAITING: 1,
        TrialState.RUNNING: 0,
        TrialState.FINISHED: 0,
        TrialState.INFEASIBLE: 0,
        TrialState.FAILED: 0,
    }


def test_missing_trial_is_a_user_error(repository):
    with pytest.raises(UserError, match="no trial with id 77"):
        repository.trial(77)


def test_read_only_reads_and_never_writes(repository, study, trial):
    url = getattr(repository, "opened_at", None)
    if url is None:
        pytest.skip("a database in memory has no second way in")
    with Repository.open(url, read_only=True) as reader:
        assert reader.trials(study.id) == repository.trials(study.id)
        with pytest.raises(UserError, match="read-only"):
            reader.claim(trial, ME)
    assert repository.trial(trial).state is TrialState.WAITING
