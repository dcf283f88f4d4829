"""What a conductor trains longer, and what counts of it."""

from dataclasses import replace

import pytest

from search.driver import fixed_trials
from storage import Repository, TrialRecord
from storage.states import TrialKind
from tests.search.conducting import TARGET_MS, conductor, run
from tests.search.fakes import ap, gflops, latency_ms, trained
from yolov6space.candidate import Candidate


def test_finalists_train_longer_from_their_own_weights(repository: Repository) -> None:
    jobs = run(conductor(repository, trials=5))
    longer = [job for job in jobs if job.epochs_before]
    assert 1 <= len(longer) <= 3
    assert all(job.epochs == 20 and job.init_weights.endswith("weights.safetensors") for job in longer)
    best = max(repository.trials(1), key=_ap)
    assert best.deployed is not None and best.deployed.epochs == 25
    assert best.deployed_latency is not None
    assert best.deployed_latency.artefact_hash == best.deployed.artefact_hash


def test_a_finalist_with_a_teacher_gets_the_epochs_its_time_allows(repository: Repository) -> None:
    epochs = {}
    candidate = next(fixed_trials())[1]
    for distillation in ("none", "self"):
        study = repository.create_study(distillation, {}, target_latency_ms=TARGET_MS)
        recipe = replace(candidate.recipe, distillation=distillation)
        fixed = (("one", replace(candidate, recipe=recipe)),)
        base = conductor(repository, budget_s=30.0 + 125 * gflops(candidate))  # a second per GFLOP and epoch
        one = replace(base, study=study, policy=replace(base.policy, fixed=fixed, trials=1, epochs=40))
        one.add_fixed_trials()
        jobs = []
        while (job := one.next_job()) is not None:
            jobs.append(job)
            one.succeeded(job, trained(job))
        assert [job.distils for job in jobs] == [False, distillation == "self"]
        epochs[distillation] = jobs[1].epochs
    assert epochs["self"] == pytest.approx(epochs["none"] * 3 / 4, abs=2)


def test_longer_training_that_is_worse_does_not_count(repository: Repository) -> None:
    one = conductor(repository, trials=2)
    while (job := one.next_job()) is not None:
        one.succeeded(job, trained(job, better=job.epochs_before == 0))
    for trial in repository.trials(1):
        assert trial.deployed is None or trial.deployed.epochs == 5
    assert any("kept" in event.message for event in repository.events(1))


def test_only_sampled_candidates_have_an_ap_to_beat(repository: Repository) -> None:
    jobs = run(conductor(repository, trials=8, fixed=2))
    kinds = {trial.id: trial.kind for trial in repository.trials(repository.get_study("s").id)}
    exploring = [job for job in jobs if not job.epochs_before]
    assert all(job.ap_to_beat is None for job in exploring if kinds[job.trial_id] is TrialKind.FIXED)
    assert all(job.ap_to_beat is None for job in jobs if job.epochs_before)
    assert any(job.ap_to_beat is not None for job in exploring)
    seen: list[tuple[float, float]] = []  # latency and AP of what was trained before
    for job in exploring:
        candidate = Candidate.from_dict(job.candidate)
        faster = [one for latency, one in seen if latency <= latency_ms(candidate)]
        if kinds[job.trial_id] is not TrialKind.FIXED:
            assert job.ap_to_beat == (max(faster) if faster else None)
        value = ap(candidate, job.epochs)
        if job.ap_to_beat is None or value >= 0.9 * job.ap_to_beat:
            seen.append((latency_ms(candidate), value))


def test_a_verdict_on_a_part_is_told_and_makes_no_finalist(repository: Repository) -> None:
    one = conductor(repository, trials=12)
    jobs = run(one)
    trials = repository.trials(repository.get_study("s").id)
    parts = {trial.id for trial in trials if trial.deployed and "of_images" in trial.deployed.protocol}
    assert parts
    assert not parts & {job.trial_id for job in jobs if job.epochs_before}
    assert any("from 24 images: AP is clearly below" in event for event in one.view.events)


def test_longer_training_is_not_repeated_in_a_later_run(repository: Repository) -> None:
    one = conductor(repository, trials=2)
    while (job := one.next_job()) is not None:
        one.succeeded(job, trained(job, better=job.epochs_before == 0))
    again = run(conductor(repository, trials=2))
    assert again == []


def _ap(trial: TrialRecord) -> float:
    return trial.deployed.ap or 0.0 if trial.deployed else 0.0
