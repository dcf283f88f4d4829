"""The weights of a job: trained, or found where an earlier job has left them."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.atomic_folder import sha256_of
from search.atomic import write_text_whole
from search.estimates import judging_hardware
from search.roles import JudgementError
from yolov6space.candidate import digest

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from search.stages import Bench, TrainJob
    from search.training import TrainedNetwork, TrainingOptions, TrainingProgress
    from yolov6space.candidate import Candidate


RECORD = "trained.json"

Training = Callable[..., "TrainedNetwork"]
Report = Callable[["TrainingProgress"], None]
Runner = Callable[[Training, "Report | None"], "TrainedNetwork"]


def _here(training: Training, on_progress: Report | None) -> TrainedNetwork:
    return training(on_progress=on_progress)


def weights_of(
    job: TrainJob,
    candidate: Candidate,
    bench: Bench,
    data: DetectionData,
    on_progress: Report | None,
    run: Runner = _here,
) -> TrainedNetwork:
    """Train, or take the weights of an earlier candidate that this training does not tell from this one.

    Args:
        run: calls the training it is given, in this process or, with their `ranks`, in several.

    Raises:
        JudgementError: the weights to start from are gone.
        OutOfTime, TrainingDiverged, UserError: as of `search.training.train`.
    """
    if not job.distils:
        candidate = dataclasses.replace(
            candidate, recipe=dataclasses.replace(candidate.recipe, distillation="none")
        )
    start = None if job.init_weights is None else Path(job.init_weights)
    if start is not None and not start.is_file():
        raise JudgementError(f"cannot be trained longer, its weights are gone: {start}")
    folder = Path(bench.folder) / "weights" / f"{candidate.training_key}-{weights_digest(job, bench, data)}"
    known = remembered(folder)
    if known is not None and known.epochs == job.epochs:
        return known
    (folder / RECORD).unlink(missing_ok=True)
    trained = run(partial(_train, job, candidate, bench, data, folder, start), on_progress)
    remember(folder, trained)
    return trained


def remembered(folder: Path) -> TrainedNetwork | None:
    """What a training that came to its end left there; None without one, or without its weights."""
    from search.training import TrainedNetwork

    record = folder / RECORD
    if not record.exists():
        return None
    known = TrainedNetwork(**json.loads(record.read_text()))
    weights = folder / Path(known.weights).name
    return dataclasses.replace(known, weights=weights) if weights.is_file() else None


def remember(folder: Path, trained: TrainedNetwork) -> None:
    """Leave a finished training for `remembered`; in one step, once its weights are there."""
    write_text_whole(folder / RECORD, json.dumps({**asdict(trained), "weights": trained.weights.name}))


def _train(
    job: TrainJob,
    candidate: Candidate,
    bench: Bench,
    data: DetectionData,
    folder: Path,
    start: Path | None,
    sharers: int | None = None,
    **named: Any,
) -> TrainedNetwork:
    """The training itself, on whatever machine: clock and memory are those of the process that calls this.

    Args:
        sharers: processes that share the memory of this machine; None for the workers of the bench.
        named: for `search.training.train`.
    """
    from search.training import Teacher, train

    return train(
        candidate,
        data,
        options_of(job, candidate, bench, epochs=job.epochs, sharers=sharers),
        folder=folder,
        device_guard=lambda: not_while_measuring(bench),
        init_weights=start,
        teacher=Teacher(candidate.model, start) if start is not None and job.distils else None,
        **named,
    )


def options_of(
    job: TrainJob,
    candidate: Candidate,
    bench: Bench,
    *,
    epochs: int,
    lr: float | None = None,
    sharers: int | None = None,
) -> TrainingOptions:
    """Of a training that belongs to the job, as seen from the process that trains (`sharers`: see `_train`)."""
    from search.training import TrainingOptions
    from search.training.data.cache import affordable_mib

    deadline = None if job.deadline is None else time.monotonic() + job.deadline - time.time()
    return TrainingOptions(
        epochs=epochs,
        image_size=bench.size_of(candidate),
        batch=bench.train_batch,
        seed=bench.seed,
        lr=lr,
        threads=bench.threads,
        deadline=deadline,
        cache_mib=affordable_mib(sharers or bench.workers),
    )


def weights_digest(job: TrainJob, bench: Bench, data: DetectionData) -> str:
    """Names what the weights depend on besides the candidate, so that none are taken for another's.

    Longer trainings from the same weights share a folder whatever their epochs: one that takes the place of
    another that was never finished leaves nothing of it behind.
    """
    settings = [bench.image_size, bench.train_batch, bench.seed, job.epochs_before]
    start = None if job.init_weights is None else sha256_of(Path(job.init_weights))
    if start is None:
        settings.append(job.epochs)
    return digest([data.fingerprint, list(data.class_names), settings, start])


def not_while_measuring(bench: Bench) -> AbstractContextManager[None]:
    """Training and measuring share a CPU: a step waits while somebody measures there."""
    from evaluators.device_lock import working
    from evaluators.latency import resolve_hardware

    return working(judging_hardware(resolve_hardware(bench.hardware)).device)
