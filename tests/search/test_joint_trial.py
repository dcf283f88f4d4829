"""Trials of a search whose training two processes share, on a real Ray: what one would train, and a lost process."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from evaluators.data import DetectionData
from search import joint_trial
from search.job_weights import weights_of
from search.stages import Bench, TrainJob
from search.training import TrainedNetwork, TrainingProgress
from search.workers import ray_session, run_jobs
from yolov6space.candidate import Candidate

ROOT = Path(__file__).resolve().parents[2]
TRAINS = "RayTrainWorker"  # in the name of such a process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray with two CPUs, whose processes find these tests and see sooner that one of them is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        patch.chdir(tmp_path_factory.mktemp("session"))
        with ray_session(None, 2, "cpu"):
            yield


@pytest.fixture
def shared(bench: Bench, rectangles: DetectionData) -> Bench:
    """One training at a time, by two processes."""
    return replace(bench, data=str(rectangles.split("train").annotations.parent.parent), processes=2)


def in_float32(training: Callable[..., TrainedNetwork], **named: Any) -> TrainedNetwork:
    """Where bf16 is fast it is used, and its rounding soon makes other networks of any two sums."""
    from search.training import step

    step.compute_type = lambda amp, device: torch.float32
    return training(**named)


def test_two_processes_train_what_one_does(
    session: None,
    tiny: Candidate,
    shared: Bench,
    rectangles: DetectionData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.training.step.compute_type", lambda amp, device: torch.float32)
    job, told = TrainJob(trial_id=1, candidate=tiny.to_dict(), epochs=2), list[TrainingProgress]()

    def jointly(training: Callable[..., TrainedNetwork], on_progress: Any) -> TrainedNetwork:
        return joint_trial._joined(shared, partial(in_float32, training), on_progress)

    two = weights_of(job, tiny, shared, rectangles, told.append, jointly)
    alone = replace(shared, processes=1, folder=str(tmp_path / "alone"))
    one = weights_of(job, tiny, alone, rectangles, None)
    assert (two.steps, two.images_seen, two.lr) == (one.steps, one.images_seen, one.lr) == (5, 20, 0.08)
    assert told[-1].step == 5
    assert two.weights.parent.name == one.weights.parent.name  # of one study, however many trained it
    first, second = load_file(one.weights), load_file(two.weights)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=5e-3, rtol=5e-3)
    assert weights_of(job, tiny, shared, rectangles, None, None).weights == two.weights  # never trained twice
    assert not list((Path(shared.folder) / "ray").iterdir())


class OneJob:
    """Tried until it has a result; the first time one of its processes is killed."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.waits = True
        self.told: list[str] = []
        self.results: list[dict[str, Any]] = []
        self.most = 0

    @property
    def done(self) -> bool:
        return bool(self.results) or len(self.told) > 1

    def next_job(self) -> TrainJob | None:
        job = self.job if self.waits and not self.done else None
        self.waits = False
        return job

    def progressed(self, *_: Any) -> None:
        ranks = training_processes()
        self.most = max(self.most, len(ranks))
        if not self.told and ranks:
            ranks[-1].kill()

    def succeeded(self, _: TrainJob, result: dict[str, Any]) -> None:
        self.results.append(result)

    def failed(self, _: TrainJob, reason: str, *, out_of_time: bool = False) -> None:
        self.told.append(f"failed: {reason}")

    def lost(self, _: TrainJob, cause: str) -> None:
        self.told.append(f"lost: {cause}")
        self.waits = True


def training_processes() -> list[psutil.Process]:
    """Those that this test's Ray has now."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any(TRAINS in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_trial_goes_on_after_one_of_its_processes_was_killed(
    session: None, tiny: Candidate, shared: Bench, tmp_path: Path
) -> None:
    source = OneJob(TrainJob(trial_id=1, candidate=tiny.to_dict(), epochs=20))
    run_jobs(source, shared, workers=1, folder=tmp_path, stopped=lambda: False)
    assert source.told == [
        "lost: one of the processes was lost: the worker process died (killed, crashed, or out of memory)"
    ]
    (result,) = source.results
    assert source.most == 2
    assert result["images_seen"] == 200 and result["starting_seconds"] > 0
    assert result["measurement"]["samples_ms"] and Path(result["artefact"]["path"]).is_dir()
    until = time.monotonic() + 30
    while training_processes() and time.monotonic() < until:
        time.sleep(0.2)
    assert not training_processes()
