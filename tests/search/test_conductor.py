"""What a conductor proposes: within the limit, valid, never twice, the same after an interruption."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage import Repository, TrialState
from storage.follow import StudyFollower
from storage.records import LATENCY_MS, NewEstimate
from tests.search.conducting import TARGET_MS, conductor, run, story
from tests.search.fakes import FakeJudge, latency_ms
from yolov6space.candidate import Candidate


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


def test_where_estimates_decide_nothing_over_the_limit_is_asked(repository: Repository) -> None:
    def exact(candidate: Candidate) -> NewEstimate:
        value = latency_ms(candidate)
        return NewEstimate(quantity=LATENCY_MS, value=value, low=value, high=value, source="a fake")

    search = conductor(repository, trials=8, sampler="latency-aware")
    run(replace(search, policy=replace(search.policy, estimated=True), estimator=exact))
    trials = repository.trials(1)
    assert len(trials) == 8 and all(trial.state is TrialState.FINISHED for trial in trials)
    assert all(trial.latency_estimate is not None for trial in trials)


def test_a_limit_that_nothing_meets_is_not_called_an_exhausted_space(repository: Repository) -> None:
    def slow(candidate: Candidate) -> NewEstimate:
        value = 1000.0 * latency_ms(candidate)
        return NewEstimate(quantity=LATENCY_MS, value=value, low=value, high=value, source="a fake")

    told: list[str] = []
    search = conductor(repository, sampler="latency-aware")
    search.view.event = told.append  # type: ignore[method-assign]
    run(replace(search, policy=replace(search.policy, estimated=True), estimator=slow))
    assert any("likely within 8.8 ms" in line and "--target-latency" in line for line in told)
    assert not any("exhausted" in line for line in told)


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
