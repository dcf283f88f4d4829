"""A run of the driver without Ray: who holds the study, and what a resume finds."""

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from search import driver
from search.budget import TrainingCost
from search.options import SearchOptions
from search.published_rung import published_results
from search.stages import Bench
from storage import Repository, TrialState
from storage.urls import STORAGE_VARIABLE
from tests.search.fakes import FakeJudge, trained
from yolov6space.candidate import Candidate
from yolov6space.space import Space


class Judge(FakeJudge):
    def training_cost(self) -> tuple[TrainingCost, int]:
        return TrainingCost(0.0, 0.01), 1


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchOptions:
    """A search whose jobs are answered at once; in the midst of each, its lease and driver are looked at."""

    def run_jobs(source: Any, bench: object, **_: object) -> None:
        while (job := source.next_job()) is not None:
            with Repository.open(url, read_only=True) as repository:
                study = repository.get_study("s")
                assert study.driver_owner is not None and study.driver_expires_at is not None
                held_by = repository.trial(job.trial_id).owner
                assert held_by == (None if job.epochs_before else study.driver_owner)
            source.succeeded(job, trained(job))

    url = f"sqlite:///{tmp_path}/search.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "ray_session", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(driver, "nodes", lambda: [{"CPU": 2.0}])
    monkeypatch.setattr(driver, "RemoteJudge", lambda bench: Judge())
    monkeypatch.setattr(driver, "run_jobs", run_jobs)
    return SearchOptions(
        target_ms=8.8,
        hardware="cpu",
        storage=url,
        study="s",
        trials=2,
        time_budget_s=None,
        epochs=2,
        sampler="random",
        fixed_trials="none",
        only_fixed=False,
    )


def test_a_run_holds_its_study_and_frees_it(options: SearchOptions) -> None:
    with pytest.raises(UserError, match="there is no database"):
        driver.run_search(dataclasses.replace(options, resume=True), quiet=True)
    result = driver.run_search(options, quiet=True)
    assert sum(trial.state is TrialState.FINISHED for trial in result.trials) == 2
    more = driver.run_search(dataclasses.replace(options, trials=3, resume=True), quiet=True)
    assert [t.candidate_key for t in more.trials][: len(result.trials)] == [
        t.candidate_key for t in result.trials
    ]
    with Repository.open(str(options.storage)) as repository:
        assert repository.get_study("s").driver_owner is None
        repository.hold_study(more.study.id, "elsewhere:1:1.00")
    with pytest.raises(UserError, match="being run by process 1 on elsewhere"):
        driver.run_search(dataclasses.replace(options, resume=True), quiet=True)


def test_variants_and_searches_share_a_study_whatever_is_proposed(
    options: SearchOptions, tmp_path: Path
) -> None:
    """`only_fixed` is search.variants: it proposes nothing, so it neither asks nor decides how."""
    variants = SearchOptions(
        target_ms=8.8, hardware="cpu", storage=options.storage, study="s", epochs=2, only_fixed=True
    )
    driver.run_search(variants, quiet=True)
    searched = driver.run_search(dataclasses.replace(options, focus="front", trials=3), quiet=True)
    assert (searched.study.settings["focus"], searched.study.settings["sampler"]) == ("front", "random")
    again = driver.run_search(variants, quiet=True)
    assert len(again.trials) == len(searched.trials) and again.study.settings["focus"] == "front"
    with pytest.raises(UserError, match=r"another focus .'front', now 'target'"):
        driver.run_search(options, quiet=True)
    with pytest.raises(UserError, match="another seed"):
        driver.run_search(dataclasses.replace(variants, seed=1), quiet=True)


def test_published_figures_guide_a_study_and_are_none_of_its_results(options: SearchOptions) -> None:
    begun = dataclasses.replace(options, sampler="latency-aware", warm_start="published")
    result = driver.run_search(begun, quiet=True)
    assert result.study.settings["warm_start"] == "published"
    assert {trial.deployed.origin for trial in result.trials if trial.deployed} == {"deployed"}
    assert all(trial.deployed for trial in result.trials if trial.state is TrialState.FINISHED)
    assert len(result.trials) < len(published_results(Space.default()))  # those are no trials
    with pytest.raises(UserError, match="another warm_start"):
        driver.run_search(dataclasses.replace(begun, warm_start=None), quiet=True)


def test_trials_left_by_a_driver_on_another_machine_go_on(options: SearchOptions) -> None:
    result = driver.run_search(options, quiet=True)
    left = Candidate.from_dict(result.trials[-1].spec)
    other = dataclasses.replace(left, recipe=dataclasses.replace(left.recipe, box_loss=other_loss(left)))
    with Repository.open(str(options.storage)) as repository:
        left_over = repository.add_trial(
            result.study.id, other.key, other.to_dict(), claim_by="far-away:7:1.00", lease_seconds=3600
        )
        assert repository.trial(left_over).state is TrialState.RUNNING
    more = driver.run_search(dataclasses.replace(options, trials=3, resume=True), quiet=True)
    assert [one.state for one in more.trials if one.id == left_over] == [TrialState.FINISHED]


def other_loss(candidate: Candidate) -> str:
    return "ciou" if candidate.recipe.box_loss == "giou" else "giou"


def test_a_password_on_the_command_line_is_not_shown_to_a_cluster(options: SearchOptions) -> None:
    shared = dataclasses.replace(
        options, ray_address="head:6379", storage="postgresql://search:hidden7word@db/search"
    )
    with pytest.raises(UserError, match="YOLOV6_SEARCH_STORAGE") as refused:
        driver.run_search(shared, quiet=True)
    assert "hidden7word" not in str(refused.value)


def test_workers_do_not_inherit_the_address(options: SearchOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def session(*_: object) -> contextlib.AbstractContextManager[None]:
        seen.append(os.environ.get(STORAGE_VARIABLE))
        return contextlib.nullcontext()

    monkeypatch.setattr(driver, "ray_session", session)
    monkeypatch.setenv(STORAGE_VARIABLE, str(options.storage))
    driver.run_search(dataclasses.replace(options, storage=None), quiet=True)
    assert seen == [None] and os.environ[STORAGE_VARIABLE] == options.storage


def test_trainings_share_the_gpus_that_are_there(
    options: SearchOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def run_jobs(source: Any, bench: Bench, *, workers: int, **_: object) -> None:
        told.append((bench.workers, workers, bench.processes, source.plan.cost.per_gflop_s))

    monkeypatch.setattr(driver, "run_jobs", run_jobs)
    monkeypatch.setattr(driver, "nodes", lambda: [{"CPU": 16.0, "GPU": 4.0}])
    driver.run_search(dataclasses.replace(options, epochs=None), quiet=True)
    driver.run_search(dataclasses.replace(options, epochs=None, processes_per_trial=2), quiet=True)
    assert told == [(4, 4, 1, 0.01), (2, 2, 2, 0.005)]  # and it is the same study
    with pytest.raises(UserError, match="--processes-per-trial 5: no machine has 5 GPUs"):
        driver.run_search(dataclasses.replace(options, epochs=None, processes_per_trial=5), quiet=True)
