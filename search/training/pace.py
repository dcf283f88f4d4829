"""How many epochs fit into a time: some seconds of the very training, with its pictures and its loader."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from statistics import median

import torch

from evaluators.data import DetectionData
from search.effort import TEACHER_SHARE
from search.training.attempts import make_loader, process_settings, training_split
from search.training.data.cache import ImageCache, affordable_mib
from search.training.data.loader import Loader
from search.training.estimate import estimate_seconds_per_image
from search.training.numerics import training_device
from search.training.options import TrainingOptions
from search.training.run import SLOW_STEPS
from search.training.schedule import Plan
from search.training.statistics import BATCHES
from search.training.step import Stepper
from yolov6space.candidate import Candidate
from yolov6space.networks import build

PILOT_SHARE, PILOT_SECONDS = 0.05, 20.0  # of the time asked, at most
PILOT_STEPS = 4  # timed at least
PILOT_IMAGES = 64
PILOT_RATE = 1e-3  # of the learning rate: an untrained network without warm-up would diverge at all of it
FORWARD_SHARE = TEACHER_SHARE  # of a training step
MOST_EPOCHS = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """What a training takes on this machine now, in seconds.

    Attributes:
        epoch: a pass over the training images once they are decoded.
        once: to decode them, and to measure BatchNorm statistics in the end.
        look: at AP on the way.
    """

    epoch: float
    once: float
    look: float

    def epochs_within(self, seconds: float, looks: Callable[[int], int] = lambda epochs: 0) -> int:
        """Most epochs, at least one, that end within that time.

        Args:
            looks: at AP on the way, in a training of so many epochs.
        """

        def needed(epochs: int) -> float:
            return self.once + epochs * self.epoch + looks(epochs) * self.look

        return max(1, bisect_right(range(1, MOST_EPOCHS + 1), seconds, key=needed))


def measure_pace(candidate: Candidate, data: DetectionData, options: TrainingOptions, seconds: float) -> Pace:
    """Time steps from the middle of a training of about `seconds`; takes up to a twentieth of that, or 20 s.

    Raises:
        UserError: no training images, or one that cannot be read.
    """
    train, classes = training_split(data), len(data.class_names)
    rough = estimate_seconds_per_image(candidate, classes, options)
    epochs = min(MOST_EPOCHS, max(1, round(seconds / (rough * len(train)))))
    plan = Plan.of(candidate.model, replace(options, epochs=epochs), len(train))
    few = train.subset(range(min(len(train), max(PILOT_IMAGES, options.batch))))
    limit_mib = affordable_mib() if options.cache_mib is None else options.cache_mib
    # as large a share of its pictures fits into this cache as into that of the training
    cache = ImageCache(few, options.image_size, max(1, limit_mib * len(few) // len(train)))
    with process_settings(options), torch.random.fork_rng():
        started = time.perf_counter()
        for index in range(len(few)):
            cache[index]
        decoding = (time.perf_counter() - started) / len(few) * len(train)
        stepper = Stepper.of(
            build(candidate.model, classes),
            candidate.recipe,
            plan.slower(PILOT_RATE),
            image_size=options.image_size,
            amp=options.amp,
            device=training_device(),
            compile_network=options.compile_network,
        )
        loader = make_loader(cache, options, plan)
        step = median(_step_times(stepper, loader, options, min(PILOT_SHARE * seconds, PILOT_SECONDS)))
    forward = FORWARD_SHARE * step
    return Pace(
        epoch=step * plan.steps_per_epoch,
        once=decoding + BATCHES * forward,
        look=len(data.split("val")) * forward / options.batch if "val" in data.splits else 0.0,
    )


def _step_times(
    stepper: Stepper, loader: Loader, options: TrainingOptions, seconds: float
) -> Iterator[float]:
    """Of each step, waiting for its pictures included, until the time is used up."""
    first = stepper.plan.steps // 2
    end = time.perf_counter() + seconds
    with loader.batches(first, first + 1_000_000, options.workers) as batches:
        before = time.perf_counter()
        for done, batch in zip(count(1), batches, strict=False):
            stepper.step(batch, first)
            now = time.perf_counter()
            if done > SLOW_STEPS:
                yield now - before
                if now >= end and done >= SLOW_STEPS + PILOT_STEPS:
                    return
            before = now
