"""The contract of `storage.repository`: studies, events, counts; in memory, on SQLite and on PostgreSQL."""

from datetime import UTC

import pytest

from foundation.errors import UserError
from storage import (
    DuplicateCandidateError,
    RecordRefusedError,
    Repository,
    TrialKind,
    TrialState,
)
from tests.storage.demo import ME


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
