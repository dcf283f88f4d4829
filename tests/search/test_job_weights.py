"""What the search trains: with its own teacher where the recipe says so, and no network twice."""

import dataclasses
from pathlib import Path

import psutil
import pytest

from evaluators.data import DetectionData
from search import training
from search.job_weights import weights_of
from search.stages import Bench, TrainJob
from search.training import Teacher, TrainedNetwork, TrainingOptions
from yolov6space.candidate import Candidate, Precision, Recipe


@dataclasses.dataclass
class Training:
    """One call of `train`."""

    options: TrainingOptions
    init: Path | None
    teacher: Teacher | None


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Training]:
    """Trainings that take no time, in order; each gives other weights."""
    made: list[Training] = []

    def train(candidate, data, options, *, folder: Path, teacher, init_weights, **rest) -> TrainedNetwork:
        made.append(Training(options, init_weights, teacher))
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / "weights.safetensors"
        weights.write_text(str(len(made)))
        return TrainedNetwork(
            weights=weights, epochs=options.epochs, steps=1, images_seen=1, seconds=1.0, losses={}
        )

    monkeypatch.setattr(training, "train", train)
    return made


def job(candidate: Candidate, init: Path | None = None, epochs: int = 1) -> TrainJob:
    return TrainJob(
        trial_id=1,
        candidate=candidate.to_dict(),
        epochs=epochs,
        epochs_before=0 if init is None else 1,
        init_weights=None if init is None else str(init),
    )


def test_self_distillation_begins_where_there_is_a_teacher(
    tiny: Candidate, rectangles: DetectionData, bench: Bench, trainings: list[Training]
) -> None:
    distilled = dataclasses.replace(tiny, recipe=Recipe(distillation="self"))

    def trained(candidate: Candidate, init: Path | None) -> Path:
        return weights_of(job(candidate, init), candidate, bench, rectangles, None).weights

    first = trained(tiny, None)
    assert trained(distilled, None) == first  # explored plainly: the same training, done once
    assert [one.teacher for one in trainings] == [None]
    longer, taught_longer = trained(tiny, first), trained(distilled, first)
    assert longer != taught_longer
    assert [one.teacher for one in trainings] == [None, None, Teacher(tiny.model, first)]


def test_networks_that_differ_in_precision_alone_are_trained_longer_once(
    tiny: Candidate, rectangles: DetectionData, bench: Bench, trainings: list[Training], tmp_path: Path
) -> None:
    int8 = dataclasses.replace(tiny, precision=Precision.of("int8"))
    starts = []
    for one in (tiny, int8):  # each starts from the weights in its own artefact
        starts.append(tmp_path / one.key / "weights.safetensors")
        starts[-1].parent.mkdir()
        starts[-1].write_text("the same")
    first, second = (
        weights_of(job(one, start, 20), one, bench, rectangles, None)
        for one, start in zip((tiny, int8), starts, strict=True)
    )
    assert first == second and len(trainings) == 1
    starts[1].write_text("others")
    assert weights_of(job(int8, starts[1], 20), int8, bench, rectangles, None).weights != first.weights


def test_a_longer_training_of_other_epochs_takes_the_place_of_the_one_before(
    tiny: Candidate, rectangles: DetectionData, bench: Bench, trainings: list[Training], tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    start.write_text("start")
    longer, shorter = (
        weights_of(job(tiny, start, epochs), tiny, bench, rectangles, None) for epochs in (20, 12)
    )
    assert (longer.epochs, shorter.epochs) == (20, 12) and longer.weights == shorter.weights
    assert len(trainings) == 2 and len(list((tmp_path / "weights").iterdir())) == 1


def test_workers_share_the_memory_for_pictures(
    tiny: Candidate,
    rectangles: DetectionData,
    bench: Bench,
    trainings: list[Training],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = psutil.virtual_memory()._replace(available=4800 * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    for workers in (1, 3):
        told = dataclasses.replace(bench, workers=workers, seed=workers)
        weights_of(job(tiny), tiny, told, rectangles, None)
    assert [one.options.cache_mib for one in trainings] == [1200, 400]


def test_weights_that_are_gone_end_one_longer_training_and_not_the_search(
    tiny: Candidate, rectangles: DetectionData, bench: Bench, tmp_path: Path
) -> None:
    from search.workers import outcome_of

    gone = job(tiny, tmp_path / "gone")
    outcome = outcome_of(lambda: {"weights": weights_of(gone, tiny, bench, rectangles, None)})
    assert set(outcome) == {"failed"} and "its weights are gone" in outcome["failed"]
