"""What is stored of a trial: results, later evidence, refused values; in memory, on SQLite and on PostgreSQL."""

import dataclasses
import math
import random

import pytest

from storage import (
    LATENCY_MS,
    LeaseLostError,
    NewArtefact,
    NewEstimate,
    NewEvaluation,
    NewMeasurement,
    Origin,
    RecordRefusedError,
    Rung,
    TrialState,
)
from tests.storage.demo import ESTIMATE, ME, deployed, latency


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
