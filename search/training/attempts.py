"""What every training run has in common: pictures, attempts, settings of the process, what names it."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from evaluators.data import DetectionData, Split
from foundation.errors import UserError
from search.atomic import remove_leftovers
from search.training.checkpoint import find_checkpoint
from search.training.data.cache import ImageCache, affordable_mib
from search.training.data.loader import Loader
from search.training.data.sampler import Sampler
from search.training.options import TrainedNetwork, TrainingDiverged, TrainingOptions
from search.training.run import DeviceGuard, ProgressCallback, Run
from search.training.schedule import Plan

RETRY_RATE = 0.3  # of the learning rate, after a run has diverged


def training_split(data: DetectionData) -> Split:
    """The `train` split. Raises UserError when it is empty."""
    split = data.split("train")
    if not len(split):
        raise UserError(f"data {data.name!r} has no training images; add some to its train split")
    return split


def cached_images(data: DetectionData, options: TrainingOptions, processes: int) -> ImageCache:
    """The `train` split for one of so many processes. Raises UserError when it is empty."""
    limit_mib = affordable_mib(processes) if options.cache_mib is None else options.cache_mib
    return ImageCache(training_split(data), options.image_size, limit_mib)


def make_loader(cache: ImageCache, options: TrainingOptions, plan: Plan) -> Loader:
    """The pictures of a run, in the order that its seed gives."""
    return Loader(
        cache,
        Sampler(len(cache), options.seed),
        batch=options.batch,
        image_size=options.image_size,
        augmentation=plan.augmentation_at,
    )


def with_retry(
    begin: Callable[[str], Run],
    folder: Path,
    name: str,
    on_progress: ProgressCallback | None,
    device_guard: DeviceGuard,
) -> TrainedNetwork:
    """Run to the end from the last checkpoint or the start; `begin` is told why an attempt before it failed."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)

    def attempt(retry: str) -> TrainedNetwork | str:
        """The network, or why this first attempt failed; by then nothing holds what it trained any more."""
        checkpoint = find_checkpoint(folder, name)
        retry = retry or (checkpoint.state["retry"] if checkpoint else "")
        run = begin(retry)
        if checkpoint is not None:
            run.resume(checkpoint)
        try:
            return run.to_the_end(on_progress, device_guard)
        except TrainingDiverged as error:
            if retry:
                raise TrainingDiverged(
                    f"{retry}; and at {RETRY_RATE:g} of the learning rate: {error}"
                ) from error
            return str(error)

    first = attempt("")
    if not isinstance(first, str):
        return first
    second = attempt(first)
    assert not isinstance(second, str)  # a second failure is raised
    return second


def deciding(options: TrainingOptions) -> dict[str, Any]:
    """The options that decide the weights; how fast or how long it may take does not."""
    told = dataclasses.asdict(options)
    # threads and compilation change the rounding only; a search may find another number best when it is resumed
    for name in (
        "deadline",
        "workers",
        "threads",
        "cache_mib",
        "checkpoint_seconds",
        "judge_epochs",
        "compile_network",
    ):
        del told[name]
    return told


def content(weights: Path) -> str:
    """Digest of a file of weights. Raises UserError when it cannot be read."""
    try:
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{weights}: cannot be read as weights ({error.strerror})") from None


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
