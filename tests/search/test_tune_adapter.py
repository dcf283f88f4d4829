"""What the searcher does with jobs, without Ray: ends, and what is overdue."""

import json
import time
from typing import Any

import pytest

from search.stages import Bench, TrainJob
from search.tune_adapter import OUTCOME, PROGRESS, StudySearcher

RESULT = {OUTCOME: json.dumps({"deployed": {}})}
FAILURE = {OUTCOME: json.dumps({"failed": "no"})}


class Source:
    """One job, and what was told of it."""

    done = False

    def __init__(self, deadline: float | None = None) -> None:
        self.told: list[str] = []
        self.deadline = deadline

    def next_job(self) -> TrainJob:
        return TrainJob(trial_id=1, candidate={}, epochs=1, deadline=self.deadline)

    def progressed(self, *_: Any) -> None:
        self.told.append("progressed")

    def succeeded(self, *_: Any) -> None:
        self.told.append("succeeded")

    def failed(self, _job: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        self.told.append(f"failed: {reason}{' (out of time)' if out_of_time else ''}")

    def lost(self, _job: TrainJob, cause: str) -> None:
        self.told.append(f"lost: {cause}")


@pytest.mark.parametrize(
    ("result", "told"),
    [(RESULT, ["succeeded"]), (FAILURE, []), (None, [])],
    ids=["result", "failure", "none"],
)
def test_a_result_that_arrives_while_stopping_is_kept(
    bench: Bench, result: dict[str, Any] | None, told: list[str]
) -> None:
    source, stopping = Source(), []
    searcher = StudySearcher(source, bench, lambda: bool(stopping))
    searcher.suggest("a")
    stopping.append(True)
    searcher.on_trial_complete("a", result)
    assert source.told == told


def test_a_silent_worker_is_overdue_and_named_as_hung(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source, now = Source(), time.monotonic()
    searcher = StudySearcher(source, bench, lambda: False, silence_s=100)
    searcher.suggest("a")
    assert not searcher.overdue("a", placed=True)
    monkeypatch.setattr(time, "monotonic", lambda: now + 120)
    searcher.on_trial_result("a", {PROGRESS: "{}"})
    monkeypatch.setattr(time, "monotonic", lambda: now + 260)
    assert not searcher.overdue("a", placed=True)
    monkeypatch.setattr(time, "monotonic", lambda: now + 280)
    assert searcher.overdue("a", placed=True)
    searcher.on_trial_complete("a", error=True)
    assert source.told[0] == "progressed" and "hung" in source.told[1]


def test_a_job_that_no_worker_takes_ends_with_its_time(bench: Bench) -> None:
    source = Source(deadline=time.time() + 1000)
    searcher = StudySearcher(source, bench, lambda: False, silence_s=0.0)
    searcher.suggest("a")
    assert not searcher.overdue("a", placed=False)
    source.deadline = time.time() - 1
    searcher.suggest("b")
    assert searcher.overdue("b", placed=False)
    searcher.on_trial_complete("b")
    assert source.told == ["failed: no worker was free in time (out of time)"]


def test_a_job_whose_training_processes_were_lost_is_tried_again(bench: Bench) -> None:
    source, stopping = Source(), []
    searcher = StudySearcher(source, bench, lambda: bool(stopping))
    searcher.suggest("a")
    lost = {OUTCOME: json.dumps({"lost": "one of the processes was lost"})}
    searcher.on_trial_complete("a", lost)
    assert source.told == ["lost: one of the processes was lost"]
    searcher.suggest("b")
    stopping.append(True)
    searcher.on_trial_complete("b", lost)
    assert len(source.told) == 1  # the end of the run put it back to waiting
