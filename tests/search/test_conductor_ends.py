"""How a conductor's jobs and runs end: failures, machine problems, time."""

from dataclasses import replace
from typing import Any

import pytest

from foundation.errors import UserError
from search.driver import fixed_trials
from search.roles import JudgementError
from storage import Repository, TrialState
from tests.search.conducting import Clock, conductor, next_one, run
from tests.search.fakes import FakeJudge, gflops, trained
from yolov6space.candidate import Candidate
from yolov6space.space import Space


def test_judgement_that_fails_fails_its_trial_only(repository: Repository) -> None:
    first = next(iter(fixed_trials()))[1]
    one = conductor(repository, trials=3, fixed=1, judge=FakeJudge(frozenset({first.key})))
    run(one)
    trials = repository.trials(1)
    assert trials[0].state is TrialState.FAILED and trials[0].reason == "the compiler crashed"
    assert sum(trial.state is TrialState.FINISHED for trial in trials) == 3


def test_what_a_disturbed_machine_leaves_open_waits_for_a_quieter_one(repository: Repository) -> None:
    class Disturbed(FakeJudge):
        def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
            told = super().__call__(candidate)
            return {**told, "samples_ms": [8.0, 37.0, 40.0, 45.0] * 3, "disturbance": "a neighbour"}

    judge = Disturbed()
    one = conductor(repository, fixed=1, only_fixed=True, judge=judge)
    one.add_fixed_trials()
    assert next_one(one) is None and len(judge.asked) == 1
    assert repository.trials(1)[0].state is TrialState.WAITING
    assert any("perhaps within the limit, 38.50 ms" in line for line in one.view.events)
    run(conductor(repository, fixed=1, only_fixed=True))
    assert repository.trials(1)[0].state is TrialState.FINISHED


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
    one = conductor(repository, trials=None, fixed=1, budget_s=10.0)
    one.add_fixed_trials()
    assert one.next_job() is None and one.done
    trial = repository.trials(1)[0]
    assert trial.state is TrialState.WAITING and trial.untrained_latency is not None
    assert any(" s and 10 s are left to explore" in line for line in one.view.events)
    assert one.view.events[-1] == "no further longer training: no network within the limit was trained yet"


def test_the_end_of_exploring_goes_to_networks_that_still_fit(repository: Repository) -> None:
    clock = Clock()
    one = conductor(repository, trials=None, budget_s=600.0, clock=clock, sampler="latency-aware")
    first = next_one(one)
    assert first is not None
    one.succeeded(first, trained(first))
    too_long = []
    for left in (35.0, 30.0, 27.0, 25.0):
        clock.now = 300.0 - left
        freely = one._knowledge.propose({trial.candidate_key for trial in repository.trials(1)})
        assert freely is not None
        too_long.append(one._proposals.training_seconds(freely.candidate) > left)
        job = next_one(one)
        assert job is not None and not job.epochs_before
        assert one._proposals.training_seconds(Candidate.from_dict(job.candidate)) <= left
        one.succeeded(job, trained(job))
    assert any(too_long)
    clock.now = 298.0
    longer = one.next_job()
    assert longer is None or longer.epochs_before
    assert any(
        "2 s left to explore: too little to measure and train any other" in line for line in one.view.events
    )


def test_time_budget_ends_the_search(repository: Repository) -> None:
    clock = Clock()
    one = conductor(repository, trials=None, budget_s=600.0, clock=clock)
    while (job := one.next_job()) is not None:
        result = trained(job)
        clock.now += result["training_seconds"] + 2.0
        one.succeeded(job, result)
    assert one.done and 0.5 * 600 < clock.now <= 600 * 1.02


def test_nothing_is_measured_once_the_time_to_explore_is_used_up(repository: Repository) -> None:
    clock, judge = Clock(), FakeJudge()
    one = conductor(repository, fixed=6, budget_s=600.0, clock=clock, judge=judge)
    one.add_fixed_trials()
    first = next_one(one)
    assert first is not None
    one.succeeded(first, trained(first))
    asked = list(judge.asked)
    clock.now = 301.0
    longer = one.next_job()
    assert (longer is None or longer.epochs_before) and judge.asked == asked
    assert {trial.state for trial in repository.trials(1)[1:]} == {TrialState.WAITING}


def test_all_of_the_time_is_for_exploring_until_there_is_a_network_to_train_longer(
    repository: Repository,
) -> None:
    clock = Clock()
    one = conductor(repository, trials=None, fixed=1, budget_s=600.0, clock=clock)
    one.add_fixed_trials()
    clock.now = 400.0
    first = one.next_job()
    assert first is not None and not first.epochs_before
    one.succeeded(first, trained(first))
    longer = one.next_job()
    assert longer is not None and longer.epochs_before


def test_how_long_measuring_takes_is_learnt_from_what_was_measured(repository: Repository) -> None:
    clock = Clock()

    class Slow(FakeJudge):
        def __call__(self, candidate: dict[str, Any]) -> dict[str, Any]:
            clock.now += 30.0
            return super().__call__(candidate)

    one = conductor(repository, fixed=6, budget_s=6000.0, clock=clock, judge=Slow(), only_fixed=True)
    run(one)
    estimated = [t for t in repository.trials(1) if t.latency is None and t.latency_estimate is not None]
    assert estimated and 20.0 < one.plan.measuring_seconds <= 30.0


def test_the_search_for_scales_is_part_of_the_time_a_training_takes(repository: Repository) -> None:
    plain = next(fixed_trials())[1]
    repopt = replace(plain, model=replace(plain.model, conv="repopt"))
    one = conductor(repository, budget_s=1000)
    deploying = one.plan.deploy_seconds
    plain_s, repopt_s = (
        one._proposals.training_seconds(candidate) - deploying for candidate in (plain, repopt)
    )
    # one epoch more than five
    assert repopt_s / plain_s == pytest.approx(6 / 5 * gflops(repopt) / gflops(plain))


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


def test_starting_processes_is_learnt_as_time_besides_training(repository: Repository) -> None:
    one = conductor(repository, budget_s=1000)
    before, job = one.plan.deploy_seconds, one.next_job()
    assert job is not None
    one.succeeded(job, {**trained(job), "starting_seconds": 40.0})
    assert one.plan.deploy_seconds == pytest.approx((before + 2.0 + 40.0) / 2)
