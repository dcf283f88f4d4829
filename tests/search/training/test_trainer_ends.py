"""Runs that cannot go on: out of time, diverged, a full disk, options that make no sense."""

import dataclasses
import errno
import gc
import time
import weakref
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.training import (
    OutOfTime,
    TrainingDiverged,
    TrainingProgress,
    train,
)
from search.training import trainer as trainer_module
from search.training.checkpoint import FILE
from search.training.health import LossWatch
from search.training.run import Run
from search.training.step import Stepper
from search.training.weights import save_detector
from tests.search.training.kills import Killed, kill_after
from tests.search.training.short_runs import options
from yolov6space.candidate import Candidate
from yolov6space.networks import Detector, build


def test_a_run_that_cannot_end_in_time_is_given_up_at_once(
    tiny: Candidate, rectangles: DetectionData, folder: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(OutOfTime, match=r"needs \d+ s more for \d+ of 25000 steps"):
        train(tiny, rectangles, options(epochs=10000, deadline=started + 2), folder=folder)


def test_what_was_out_of_time_is_not_lost(
    tiny: Candidate, rectangles: DetectionData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = diverging_at(-1, 0, monkeypatch)
    for _ in range(2):
        with pytest.raises(OutOfTime):
            train(tiny, rectangles, options(deadline=time.monotonic()), folder=folder)
    assert [step for step, _ in done] == [0, 1]


@pytest.mark.parametrize(("left_s", "late"), [(104.0, True), (106.0, False)])
def test_the_deadline_is_where_it_was_set(monkeypatch: pytest.MonkeyPatch, left_s: float, late: bool) -> None:
    """After 25 steps, the last 20 of which took a second each; 105 are left."""
    run = Run.__new__(Run)
    run.options, run.stepper = options(deadline=1000.0 + left_s), Mock(plan=Mock(steps=130))
    run.steady_since, run.watch = 1000.0 - 20.0, LossWatch()
    monkeypatch.setattr(Run, "_save", lambda self, step: None)
    with pytest.raises(OutOfTime) if late else nullcontext():
        run._check_deadline(25, 105, 1000.0)


def diverging_at(step: int, times: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """The loss breaks at a step, so many times; returns the steps as they are done, with their rate."""
    done: list[tuple[int, float]] = []
    honest = Stepper.step

    def stepped(self: Stepper, batch: object, at: int) -> dict[str, float]:
        nonlocal times
        if at == step and times:
            times -= 1
            raise TrainingDiverged(f"the loss is not finite at step {at + 1}")
        done.append((at, self.optimizer.param_groups[0]["lr"]))
        return honest(self, batch, at)

    monkeypatch.setattr(Stepper, "step", stepped)
    return done


@pytest.mark.parametrize(("seconds", "back_to"), [(0, 5), (1e6, 0)])
def test_a_run_that_diverges_goes_back_once_and_on_at_a_lower_rate(
    tiny: Candidate,
    rectangles: DetectionData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    back_to: int,
) -> None:
    honest: list[tuple[int, float]] = diverging_at(-1, 0, monkeypatch)
    train(tiny, rectangles, options(), folder=tmp_path / "honest")
    done = diverging_at(5, 1, monkeypatch)
    seen: list[TrainingProgress] = []
    trained = train(
        tiny,
        rectangles,
        options(checkpoint_seconds=seconds),
        folder=tmp_path / "broken",
        on_progress=seen.append,
    )
    assert [step for step, _ in done] == [*range(5), *range(back_to, 10)]
    assert done[:5] == honest[:5]
    for (_, rate), (_, before) in zip(done[5:], honest[back_to:10], strict=True):
        assert rate == pytest.approx(trainer_module.RETRY_RATE * before)
    assert "not finite at step 6" in trained.retry and "not finite at step 6" in seen[-1].line()


def test_a_retry_does_not_keep_the_network_that_diverged(
    tiny: Candidate, rectangles: DetectionData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging_at(1, 1, monkeypatch)
    honest, networks, alive = Stepper.of, [], []

    def of(detector: Detector, *arguments: object, **named: object) -> Stepper:
        gc.collect()
        alive.append([network() is not None for network in networks])
        networks.append(weakref.ref(detector))
        return honest(detector, *arguments, **named)

    monkeypatch.setattr(Stepper, "of", of)
    train(tiny, rectangles, options(epochs=1), folder=folder)
    assert alive == [[], [False]]


def test_a_run_that_diverges_twice_says_both_reasons(
    tiny: Candidate, rectangles: DetectionData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging_at(5, 2, monkeypatch)
    with pytest.raises(TrainingDiverged, match=r"at step 6; and at 0.3 of the learning rate: .* step 6"):
        train(tiny, rectangles, options(), folder=folder)


def test_a_retry_that_is_killed_is_still_the_only_one(
    tiny: Candidate, rectangles: DetectionData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = options(checkpoint_seconds=0)
    diverging_at(5, 1, monkeypatch)
    with pytest.raises(Killed):  # five steps, the one that broke, two of the retry
        train(tiny, rectangles, told, folder=folder, device_guard=kill_after(8))
    monkeypatch.undo()
    done = diverging_at(8, 2, monkeypatch)
    with pytest.raises(TrainingDiverged, match=r"step 6; and at .* step 9"):
        train(tiny, rectangles, told, folder=folder)
    assert [step for step, _ in done] == [7]


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(
    tiny: Candidate, rectangles: DetectionData, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = options(checkpoint_seconds=0)
    with pytest.raises(Killed):
        train(tiny, rectangles, told, folder=folder, device_guard=kill_after(4))
    before = (folder / FILE).read_bytes()

    def full(state: object, file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="no space left for a checkpoint"):
        train(tiny, rectangles, told, folder=folder)
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert (folder / FILE).read_bytes() == before


def test_divergence_is_said_and_not_written(tiny: Candidate, rectangles: DetectionData, folder: Path) -> None:
    """A learning rate no network survives."""
    with pytest.raises(TrainingDiverged, match="not finite at step"):
        train(
            tiny, rectangles, options(epochs=200, lr=9.0), folder=folder, init_weights=_poisoned(tiny, folder)
        )
    assert not list(folder.glob("weights*"))


def _poisoned(tiny: Candidate, folder: Path) -> Path:
    """Weights whose outputs overflow."""
    folder.mkdir()
    detector = build(tiny.model, 2)
    with torch.no_grad():
        detector.head.get_submodule("level8").get_submodule("cls_pred").bias.fill_(float("inf"))
    save_detector(detector, folder / "start.safetensors")
    return folder / "start.safetensors"


def test_no_images_is_a_clear_refusal(tiny: Candidate, rectangles: DetectionData, folder: Path) -> None:
    empty = {**rectangles.splits, "train": rectangles.split("train").subset([])}
    with pytest.raises(UserError, match="no training images"):
        train(tiny, dataclasses.replace(rectangles, splits=empty), options(), folder=folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"image_size": 100}, "multiple of 32"),
        ({"amp": "int4"}, "amp"),
        ({"lr": -1.0}, "rate"),
    ],
)
def test_options_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        options(**change)
