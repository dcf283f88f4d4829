"""What the search trains: with its own teacher where the recipe says so, and no network twice."""

import dataclasses
from pathlib import Path

import pytest

from evaluators.data import DetectionData
from search import stages, training
from search.stages import Bench, TrainJob
from search.training import Teacher, TrainedNetwork
from yolov6space.candidate import Candidate, Recipe


def test_self_distillation_begins_where_there_is_a_teacher(
    tiny: Candidate,
    rectangles: DetectionData,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught: list[Teacher | None] = []

    def train(candidate, data, options, *, folder: Path, teacher, init_weights, **rest) -> TrainedNetwork:
        taught.append(teacher)
        folder.mkdir(parents=True)
        weights = folder / "weights.safetensors"
        weights.touch()
        return TrainedNetwork(weights=weights, epochs=1, steps=1, images_seen=1, seconds=1.0, losses={})

    monkeypatch.setattr(training, "train", train)
    distilled = dataclasses.replace(tiny, recipe=Recipe(distillation="self"))

    def trained(candidate: Candidate, init: Path | None) -> Path:
        job = TrainJob(
            trial_id=1,
            candidate=candidate.to_dict(),
            epochs=1,
            init_weights=None if init is None else str(init),
        )
        return stages._train(job, candidate, bench, rectangles, None).weights

    first = trained(tiny, None)
    assert trained(distilled, None) == first  # explored plainly: the same training, done once
    assert taught == [None]
    longer, taught_longer = trained(tiny, first), trained(distilled, first)
    assert longer != taught_longer
    assert taught == [None, None, Teacher(tiny.model, first)]


def test_weights_that_are_gone_end_one_longer_training_and_not_the_search(
    tiny: Candidate, rectangles: DetectionData, bench: Bench, tmp_path: Path
) -> None:
    from search.workers import outcome_of

    job = TrainJob(
        trial_id=1, candidate=tiny.to_dict(), epochs=1, epochs_before=1, init_weights=str(tmp_path / "gone")
    )
    outcome = outcome_of(lambda: {"weights": stages._train(job, tiny, bench, rectangles, None)})
    assert set(outcome) == {"failed"} and "its weights are gone" in outcome["failed"]
