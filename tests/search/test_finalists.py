"""Longer trainings over several runs: what was begun goes on, what killed its workers is given up."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from search.conductor import Conductor
from search.driver import fixed_trials
from search.finalists import BEGUN, CUT_SHORT, LONGER, LOST, Begun, Past
from search.stages import TrainJob
from storage import Repository
from storage.records import EventRecord
from tests.search.conducting import Clock, conductor
from tests.search.fakes import trained
from yolov6space.candidate import Candidate, Precision

CANDIDATE = next(fixed_trials())[1]
NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.open(f"sqlite:///{tmp_path / 'search.db'}") as opened:
        yield opened


def later_run(
    repository: Repository,
    budget_s: float | None = None,
    fixed: Sequence[Candidate] = (CANDIDATE,),
    clock: Clock | None = None,
) -> Conductor:
    """A run that explores these candidates alone."""
    one = conductor(repository, trials=len(fixed), budget_s=budget_s, clock=clock)
    named = tuple((f"fixed {place}", candidate) for place, candidate in enumerate(fixed))
    one = replace(one, policy=replace(one.policy, fixed=named))
    one.add_fixed_trials()
    return one


def finalist(one: Conductor, answer: Callable[[TrainJob], dict[str, Any]] = trained) -> TrainJob | None:
    """The next longer training; exploring ones are answered."""
    while (job := one.next_job()) is not None and not job.epochs_before:
        one.succeeded(job, answer(job))
    return job


def kinds(repository: Repository) -> list[str]:
    wanted = (BEGUN, CUT_SHORT, LOST, LONGER, "longer failed")
    return [event.kind for event in repository.events(1, kinds=wanted)]


def test_a_longer_training_that_a_kill_cut_off_is_the_same_one_in_the_next_run(
    repository: Repository,
) -> None:
    first = finalist(later_run(repository, budget_s=60))
    assert first is not None and 2 < first.epochs < 20
    again = finalist(later_run(repository, budget_s=1000))
    assert again is not None
    assert replace(again, deadline=None) == replace(first, deadline=None)


def test_what_was_interrupted_on_purpose_needs_only_the_rest_of_its_time(repository: Repository) -> None:
    one = later_run(repository)
    first = finalist(one)
    assert first is not None and first.epochs == 20
    one.progressed(first, {"step": 80, "steps": 100, "phase": ""})
    one.release_running()
    short = later_run(repository, budget_s=40)  # 20 epochs take 86 s, a fifth of them 27
    again = finalist(short)
    assert again is not None and again.epochs == 20
    assert any("goes on with what was begun (80% were done)" in event for event in short.view.events)


def test_what_was_begun_and_does_not_fit_any_more_makes_room_for_less(repository: Repository) -> None:
    first = finalist(later_run(repository))
    assert first is not None and first.epochs == 20
    less = finalist(later_run(repository, budget_s=60))
    assert less is not None and 2 < less.epochs < 20
    same = finalist(later_run(repository))
    assert same is not None and same.epochs == less.epochs


def test_a_lost_worker_costs_an_attempt_and_not_the_longer_training(repository: Repository) -> None:
    one = later_run(repository)
    for _ in range(2):
        job = finalist(one)
        assert job is not None
        one.lost(job, "its node was lost")
    one = later_run(repository)  # attempts are counted over all runs
    job = finalist(one)
    assert job is not None
    one.lost(job, "its node was lost")
    assert finalist(one) is None and one.done
    assert kinds(repository) == [BEGUN, LOST, BEGUN, LOST, BEGUN, "longer failed"]
    assert "given up after 3 attempts: its node was lost" in repository.events(1)[-1].message


def test_a_longer_training_that_kills_every_driver_is_given_up(repository: Repository) -> None:
    for _ in range(3):
        assert finalist(later_run(repository)) is not None
    last = later_run(repository)
    assert finalist(last) is None
    assert kinds(repository) == [BEGUN, BEGUN, BEGUN, "longer failed"]
    assert last.view.events[-1].startswith("no further longer training: no other within the limit")


def test_interruptions_on_purpose_cost_no_attempt(repository: Repository) -> None:
    for _ in range(4):
        one = later_run(repository)
        job = finalist(one)
        assert job is not None
        one.failed(job, "training needs 9 s more", out_of_time=True)
    assert finalist(later_run(repository)) is not None


def test_a_longer_training_that_turns_out_slow_is_begun_again_for_fewer_epochs(
    repository: Repository,
) -> None:
    clock = Clock()
    one = later_run(repository, 400, clock=clock)
    first = finalist(one)
    assert first is not None
    one.progressed(first, {"step": 5, "steps": 100, "phase": "", "images_per_second": 4.0})
    clock.now += 10.0
    one.failed(first, "training needs 400 s more", out_of_time=True)
    second = finalist(one)
    assert second is not None and second.trial_id == first.trial_id
    assert 0 < second.epochs < first.epochs
    assert second.epochs * 100 / 4.0 <= one.plan.left()
    one.failed(second, "no worker was free in time", out_of_time=True)  # and so tells no pace
    assert finalist(one) is None and one.done


def test_a_network_that_differs_in_precision_alone_gets_the_same_epochs(repository: Repository) -> None:
    """So that its weights are there already, however much time is left by then."""
    repository.create_study("s", {}, target_latency_ms=100.0)
    twin = replace(CANDIDATE, precision=Precision())
    clock = Clock()
    one = later_run(repository, 400, (CANDIDATE, twin), clock)
    one = replace(one, policy=replace(one.policy, target_ms=100.0))

    def better_in_fp32(job: TrainJob) -> dict[str, Any]:
        result = trained(job)
        if Candidate.from_dict(job.candidate) == twin:
            ap = 0.7 if job.epochs_before else 0.4
            result["deployed"] = {**result["deployed"], "figures": {"AP": ap, "AP50": 0.8}}
        return result

    first = finalist(one, better_in_fp32)
    assert first is not None
    one.succeeded(first, better_in_fp32(first))
    clock.now += 365
    second = finalist(one)
    assert second is not None and second.trial_id != first.trial_id
    assert second.epochs == first.epochs == 20


def test_what_was_begun_is_data_and_its_text_may_change(repository: Repository) -> None:
    one = later_run(repository)
    job = finalist(one)
    assert job is not None
    one.progressed(job, {"step": 1, "steps": 3, "phase": ""})
    one.release_running()
    told = repository.events(1, kinds=(BEGUN, CUT_SHORT))
    assert [dict(event.data or {}) for event in told] == [
        {"epochs": job.epochs, "start": told[0].message.split()[-1]},
        {"done": 1 / 3},
    ]
    reworded = [replace(event, message="something else") for event in told]
    assert Past.of(reworded) == Past.of(told)
    assert Past.of(told).begun == Begun(job.epochs, told[0].message.split()[-1])
    assert Past.of(told).done == 1 / 3


@pytest.mark.parametrize("as_data", [True, False], ids=["data", "text of an older database"])
def test_the_past_as_events_tell_it(as_data: bool) -> None:
    def past(*told: tuple[str, str]) -> Past:
        return Past.of(
            EventRecord(
                id=place,
                trial_id=1,
                at=NOW,
                kind=kind,
                message="reworded" if as_data and message in values else message,
                data=values.get(message) if as_data else None,
            )
            for place, (kind, message) in enumerate(told)
        )

    begun, other = Begun(20, "hash-5"), Begun(7, "hash-5")
    values = {
        str(begun): {"epochs": 20, "start": "hash-5"},
        str(other): {"epochs": 7, "start": "hash-5"},
        "longer training: interrupted (40 % done)": {"done": 0.4},
    }
    start, shorter = (BEGUN, str(begun)), (BEGUN, str(other))
    assert past() == Past()
    assert past(start) == Past(begun=begun, attempts=1)
    cut = (CUT_SHORT, "longer training: interrupted (40 % done)")
    assert past(start, cut, start) == Past(begun=begun, done=0.4, attempts=1)
    assert past(start, cut, shorter).done == 0  # that was another training
    assert past(start, (LOST, "x"), start, (LOST, "x")).attempts == 2
    ended = past(start, (LONGER, "AP 0.5"))
    assert ended.ended and ended.trained
    assert past((LONGER, "from an older release")).ended
