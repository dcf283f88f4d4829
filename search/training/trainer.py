"""A training run from the first step to the weights on disk."""

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.training.checkpoint import find_checkpoint
from search.training.data.cache import ImageCache
from search.training.data.loader import Loader
from search.training.data.sampler import Sampler
from search.training.numerics import training_device
from search.training.options import TrainedNetwork, TrainingDiverged, TrainingOptions
from search.training.run import DeviceGuard, Judge, ProgressCallback, Run
from search.training.schedule import Plan
from search.training.step import Stepper
from search.training.weights import initialise_from
from yolov6space.candidate import Candidate, digest
from yolov6space.networks import build

CHECKPOINT_FORMAT = 2
RETRY_RATE = 0.3  # of the learning rate, after a run has diverged


def train(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    *,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    device_guard: DeviceGuard = nullcontext,
    init_weights: Path | None = None,
    judge: Judge | None = None,
) -> TrainedNetwork:
    """Train a candidate on the `train` split and write its averaged weights to `folder`.

    A run that diverges goes back to its last checkpoint, or to the start, and goes on at `RETRY_RATE` of the
    learning rate; once.

    The same candidate, data, options and number of threads give the same weights on a CPU, also when a run
    was killed and called again: it goes on from the checkpoint in `folder`.

    Args:
        folder: made if absent; belongs to this run alone.
        device_guard: entered around every step, so that others can have the device to themselves.
        init_weights: safetensors to start from; class predictors of another number of classes are left out.
        judge: AP of a detector (it stays as it is), for a look on the way every `options.judge_epochs`.

    Raises:
        OutOfTime: the end would be past `options.deadline`.
        TrainingDiverged: the loss ran away or became non-finite, and again at the lower rate.
        UserError: no training images, unreadable images, or weights of another network.
    """
    split = data.split("train")
    if not len(split):
        raise UserError(f"data {data.name!r} has no training images; add some to its train split")
    folder.mkdir(parents=True, exist_ok=True)
    name = _name(candidate, data, options, init_weights)
    cache = ImageCache(split, options.image_size, options.cache_mib)

    def attempt(retry: str) -> Run:
        """A run from the last checkpoint or from scratch; slower after a retry, now or before the checkpoint."""
        checkpoint = find_checkpoint(folder, name)
        retry = retry or (checkpoint.state["retry"] if checkpoint else "")
        torch.manual_seed(options.seed)
        detector = build(candidate.model, len(data.class_names))
        if init_weights is not None:
            initialise_from(detector, init_weights)
        plan = Plan.of(candidate.model, options, len(split), resumed_weights=init_weights is not None)
        if retry:
            plan = dataclasses.replace(plan, lr=RETRY_RATE * plan.lr)
        stepper = Stepper.of(
            detector,
            candidate.recipe,
            plan,
            image_size=options.image_size,
            amp=options.amp,
            device=training_device(),
        )
        loader = Loader(
            cache,
            Sampler(len(split), options.seed),
            batch=options.batch,
            image_size=options.image_size,
            augmentation=plan.augmentation_at,
        )
        run = Run(stepper, loader, options, folder, name, retry, judge)
        if checkpoint is not None:
            run.resume(checkpoint)
        return run

    with process_settings(options):
        run = attempt("")
        try:
            return run.to_the_end(on_progress, device_guard)
        except TrainingDiverged as error:
            first = str(error)
            if run.retry:
                raise _given_up(run.retry, first) from error
        try:
            return attempt(first).to_the_end(on_progress, device_guard)
        except TrainingDiverged as error:
            raise _given_up(first, str(error)) from error


def _given_up(first: str, second: str) -> TrainingDiverged:
    return TrainingDiverged(f"{first}; and at {RETRY_RATE:g} of the learning rate: {second}")


def _name(
    candidate: Candidate, data: DetectionData, options: TrainingOptions, init_weights: Path | None
) -> str:
    """Digest of everything that decides the weights; how fast or how long it may take does not."""
    told = dataclasses.asdict(options)
    for name in ("deadline", "workers", "cache_mib", "checkpoint_seconds", "judge_epochs"):
        del told[name]
    start = None if init_weights is None else hashlib.sha256(init_weights.read_bytes()).hexdigest()
    return digest(
        {
            "checkpoint": CHECKPOINT_FORMAT,
            "candidate": candidate.training_key,
            "data": data.fingerprint,
            "options": told,
            "start": start,
        }
    )


@contextmanager
def process_settings(options: TrainingOptions) -> Iterator[None]:
    """Settings of this process that training needs, put back afterwards."""
    import cv2

    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(0)  # small pictures; its own threads would only fight those of torch
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
