"""The conductor over a real SQLite file, with a world that answers at once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from search.budget import TimePlan, TrainingCost
from search.conductor import Conductor
from search.driver import fixed_trials
from search.roles import JudgementError, Policy
from search.stages import TrainJob
from storage import Repository, TrialRecord, TrialState
from storage.follow import StudyFollower
from storage.records import LATENCY_MS, NewEstimate
from storage.states import TrialKind
from tests.search.fakes import CLASSES, SIZE, FakeJudge, SilentView, ap, gflops, latency_ms, trained
from yolov6space.candidate import Candidate
from yolov6space.space import Space

TARGET_MS = 8.8


class Clock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.open(f"sqlite:///{tmp_path / 'search.db'}") as opened:
        yield opened


def conductor(
    repository: Repository,
    *,
    trials: int | None = 6,
    fixed: int = 0,
    budget_s: float | None = None,
    clock: Callable[[], float] | None = None,
    judge: FakeJudge | None = None,
    seed: int = 0,
    only_fixed: bool = False,
    target_ms: float = TARGET_MS,
) -> Conductor:
    known = {study.name for study in repository.list_studies()}
    study = (
        repository.get_study("s")
        if "s" in known
        else repository.create_study("s", {}, target_latency_ms=TARGET_MS)
    )
    return Conductor(
        repository=repository,
        study=study,
        space=Space.default(),
        policy=Policy(
            target_ms=target_ms,
            only_fixed=only_fixed,
            image_size=SIZE,
            num_classes=CLASSES,
            epochs=5,
            train_images=100,
            sampler="random",
            seed=seed,
            trials=trials,
            fixed=tuple(islice(fixed_trials(), fixed)),
        ),
        plan=TimePlan(budget_s=budget_s, cost=TrainingCost(0.0, 0.01), clock=clock or Clock()),
        judge=judge or FakeJudge(),
        view=SilentView(),
    )


def run(one: Conductor, jobs: int | None = None) -> list[TrainJob]:
    """Answer every job at once; stop after `jobs` of them as a kill would, the last one unanswered."""
    one.add_fixed_trials()
    done: list[TrainJob] = []
    while (job := one.next_job()) is not None:
        done.append(job)
        if jobs is not None and len(done) == jobs:
            return done
        one.succeeded(job, trained(job))
    return done


def next_one(one: Conductor) -> TrainJob | None:
    """The next job, asked for as often as Ray Tune would; None while only running ones could bring another."""
    return next((job for _ in range(50) if (job := one.next_job()) is not None), None)


def story(repository: Repository) -> list[tuple[str, str]]:
    return [(trial.candidate_key, str(trial.state)) for trial in repository.trials(1)]


def test_over_the_limit_is_never_trained(repository: Repository) -> None:
    one = conductor(repository)
    jobs = run(one)
    trials = repository.trials(1)
    trained_keys = {Candidate.from_dict(job.candidate).key for job in jobs}
    infeasible = {trial.candidate_key for trial in trials if trial.state is TrialState.INFEASIBLE}
    assert infeasible and not infeasible & trained_keys
    assert all(trial.reason and "limit 8.8 ms" in trial.reason for trial in trials if not trial.feasible)
    assert sum(trial.state is TrialState.FINISHED for trial in trials) == 6


def test_estimated_infeasible_costs_no_measurement(repository: Repository) -> None:
    judge = FakeJudge()
    run(conductor(repository, trials=8, fixed=12, judge=judge))
    estimated = [trial for trial in repository.trials(1) if trial.estimates]
    assert estimated
    assert not {trial.candidate_key for trial in estimated} & set(judge.asked)
    assert all(trial.latency is None for trial in estimated)


def test_on_a_calibrated_device_only_the_hopeless_go_unmeasured(repository: Repository) -> None:
    judge = FakeJudge()
    search = replace(conductor(repository, trials=6, judge=judge), estimator=pessimist)
    run(search)
    trials = repository.trials(1)
    skipped = [trial for trial in trials if trial.estimates]
    assert skipped
    for trial in skipped:
        assert latency_ms(Candidate.from_dict(trial.spec)) * 1.2 * 0.8 > TARGET_MS
        assert trial.state is TrialState.INFEASIBLE
        assert "estimated by a fake" in str(trial.reason)
    near = [one for one in trials if 0.85 < latency_ms(Candidate.from_dict(one.spec)) / TARGET_MS < 1.0]
    assert {one.candidate_key for one in near} <= set(judge.asked), "near the limit the device decides"


def pessimist(candidate: Candidate) -> NewEstimate:
    """20 % too slow, with an interval that allows for it."""
    value = 1.2 * latency_ms(candidate)
    return NewEstimate(
        quantity=LATENCY_MS, value=value, low=0.8 * value, high=1.2 * value, source="estimated by a fake"
    )


def test_no_candidate_twice(repository: Repository) -> None:
    judge = FakeJudge()
    run(conductor(repository, trials=10, fixed=6, judge=judge))
    assert len(judge.asked) == len(set(judge.asked))
    keys = [key for key, _ in story(repository)]
    assert len(keys) == len(set(keys))


def test_fixed_trials_come_first_and_only_once(repository: Repository) -> None:
    run(conductor(repository, trials=3, fixed=12))
    run(conductor(repository, trials=3, fixed=12))
    trials = repository.trials(1)
    assert [trial.kind for trial in trials[:12]] == ["fixed"] * 12
    assert sum(trial.kind == "fixed" for trial in trials) == 12
    assert trials[0].title == "YOLOv6-N int8" and trials[0].state is TrialState.FINISHED
    assert trials[5].title == "YOLOv6-L int8" and trials[5].state is TrialState.INFEASIBLE


@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_interrupted_equals_unbroken(tmp_path: Path, killed_after: int) -> None:
    def search(name: str, *parts: int | None) -> list[tuple[str, str]]:
        with Repository.open(f"sqlite:///{tmp_path / name}") as repository:
            for jobs in parts:
                one = conductor(repository, trials=5, fixed=2)
                repository.recover(one.study.id, is_alive=lambda _: False)
                run(one, jobs)
            return story(repository)

    unbroken = search("unbroken.db", None)
    assert search(f"killed{killed_after}.db", killed_after, None) == unbroken


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
        base = conductor(repository, budget_s=1000)
        one = replace(base, study=study, policy=replace(base.policy, fixed=fixed, trials=1, epochs=40))
        one.plan.cost = TrainingCost(0.0, 1000 / 150 / 100 / gflops(candidate))
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


def test_who_follows_the_study_too_spares_reading_it_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = StudyFollower._read_all, 0

    def counted(self: StudyFollower) -> None:
        nonlocal times
        times += 1
        read(self)

    monkeypatch.setattr(StudyFollower, "_read_all", counted)
    one = conductor(repository, trials=3, fixed=1)
    follower = StudyFollower(repository, one.study.id)
    run(replace(one, follower=follower))
    assert len(follower.trials()) >= 3 and times == 1


def test_judgement_that_fails_fails_its_trial_only(repository: Repository) -> None:
    first = next(iter(fixed_trials()))[1]
    one = conductor(repository, trials=3, fixed=1, judge=FakeJudge(frozenset({first.key})))
    run(one)
    trials = repository.trials(1)
    assert trials[0].state is TrialState.FAILED and trials[0].reason == "the compiler crashed"
    assert sum(trial.state is TrialState.FINISHED for trial in trials) == 3


def test_what_the_compiler_refuses_is_never_trained(repository: Repository) -> None:
    seen: list[str] = []

    def gate(candidate: dict[str, Any]) -> bool:
        seen.append(Candidate.from_dict(candidate).key)
        if len(seen) % 2:
            raise JudgementError("tensorrt_rtx refuses the graph: node a (Conv): no kernel")
        return True

    one = replace(conductor(repository, trials=3), gate=gate)
    trained_keys = {Candidate.from_dict(job.candidate).key for job in run(one)}
    assert trained_keys == set(seen[1::2])
    refused = [trial for trial in repository.trials(one.study.id) if trial.state is TrialState.FAILED]
    assert {trial.candidate_key for trial in refused} == set(seen[::2])
    assert all("node a (Conv)" in str(trial.reason) for trial in refused)
    over = [trial for trial in repository.trials(one.study.id) if trial.state is TrialState.INFEASIBLE]
    assert over and not {trial.candidate_key for trial in over} & set(seen)  # compiling comes after the limit


def test_limit_that_nothing_meets_ends_the_search(repository: Repository) -> None:
    one = conductor(repository, trials=2)
    one = replace(one, policy=replace(one.policy, target_ms=0.5))
    assert run(one) == [] and one.done
    assert len(repository.trials(1)) == 60
    assert any("in a row" in event for event in one.view.events)


def test_longer_training_is_not_repeated_in_a_later_run(repository: Repository) -> None:
    one = conductor(repository, trials=2)
    while (job := one.next_job()) is not None:
        one.succeeded(job, trained(job, better=job.epochs_before == 0))
    again = run(conductor(repository, trials=2))
    assert again == []


def test_a_machine_problem_puts_the_trial_back(repository: Repository) -> None:
    def broken(candidate: dict[str, object]) -> dict[str, object]:
        raise UserError("no space left")

    one = replace(conductor(repository), judge=broken)
    with pytest.raises(UserError):
        one.next_job()
    assert [trial.state for trial in repository.trials(1)] == [TrialState.WAITING]


def test_failed_and_out_of_time_jobs(repository: Repository) -> None:
    one = conductor(repository, trials=4)
    first, second = one.next_job(), None
    assert first is not None
    one.failed(first, "loss is not finite")
    second = one.next_job()
    assert second is not None
    one.failed(second, "would end after the deadline", out_of_time=True)
    states = {trial.id: trial for trial in repository.trials(1)}
    assert states[first.trial_id].state is TrialState.FAILED
    assert states[first.trial_id].reason == "loss is not finite"
    assert states[second.trial_id].state is TrialState.WAITING
    again = conductor(repository, trials=4).next_job()
    assert again is not None and again.trial_id == second.trial_id


@pytest.mark.parametrize("end", ["fails", "is lost", "is out of time"])
def test_a_trial_that_comes_to_nothing_beside_the_last_one_is_made_up_for(
    repository: Repository, end: str
) -> None:
    one = conductor(repository, trials=2)
    first, second = next_one(one), next_one(one)
    assert first is not None and second is not None
    assert next_one(one) is None and not one.done
    one.succeeded(first, trained(first))
    if end == "is lost":
        one.lost(second, "its node was lost")
    else:
        one.failed(second, "no", out_of_time=end == "is out of time")
    third = next_one(one)
    assert third is not None and not third.epochs_before
    assert (third.trial_id == second.trial_id) == (end == "is lost")
    one.succeeded(third, trained(third))
    assert sum(trial.state is TrialState.FINISHED for trial in repository.trials(1)) == 2


def test_training_longer_than_the_time_left_waits(repository: Repository) -> None:
    one = conductor(repository, trials=None, fixed=1, budget_s=20.0)
    one.add_fixed_trials()
    assert one.next_job() is None and one.done
    trial = repository.trials(1)[0]
    assert trial.state is TrialState.WAITING and trial.untrained_latency is not None


def test_time_budget_ends_the_search(repository: Repository) -> None:
    clock = Clock()
    one = conductor(repository, trials=None, budget_s=600.0, clock=clock)
    while (job := one.next_job()) is not None:
        result = trained(job)
        clock.now += result["training_seconds"] + 2.0
        one.succeeded(job, result)
    assert one.done and 0.5 * 600 < clock.now <= 600 * 1.02


def test_the_search_for_scales_is_part_of_the_time_a_training_takes(repository: Repository) -> None:
    plain = next(fixed_trials())[1]
    repopt = replace(plain, model=replace(plain.model, conv="repopt"))
    one = conductor(repository, budget_s=1000)
    deploying = one.plan.deploy_seconds
    plain_s, repopt_s = (one._training_seconds(candidate, 20) - deploying for candidate in (plain, repopt))
    assert repopt_s / plain_s == pytest.approx(1.1 * gflops(repopt) / gflops(plain))


def test_release_running_puts_back_to_waiting(repository: Repository) -> None:
    one = conductor(repository)
    job = one.next_job()
    assert job is not None
    one.release_running()
    assert repository.trial(job.trial_id).state is TrialState.WAITING


def test_exhausted_space_ends(repository: Repository) -> None:
    space = Space.default()
    width = next(dimension for dimension in space.dimensions if dimension.name == "width")
    only = {dimension.name: dimension.choices[0] for dimension in space.dimensions}
    narrow = Space.from_dict(
        {
            "name": "narrow",
            "dimensions": {**{k: [v] for k, v in only.items()}, "width": list(width.choices[:2])},
        }
    )
    one = replace(conductor(repository, trials=None), space=narrow)
    run(one)
    assert one.done and len(repository.trials(1)) == 2


def _ap(trial: TrialRecord) -> float:
    return trial.deployed.ap or 0.0 if trial.deployed else 0.0
