"""How long training takes, from a few real steps."""

import time
from collections.abc import Sequence

import torch

from search.training.assigners import GroundTruth
from search.training.attempts import process_settings
from search.training.data.loader import Batch
from search.training.numerics import training_device
from search.training.options import TrainingOptions
from search.training.schedule import Plan
from search.training.step import Stepper
from yolov6space.candidate import Candidate
from yolov6space.networks import build

WARMUP_STEPS, TIMED_STEPS = 2, 4
OBJECTS = 12  # per picture, about what a mosaic holds


def estimate_seconds_per_image(candidate: Candidate, num_classes: int, options: TrainingOptions) -> float:
    """Seconds per image of training steps on random pictures with random objects; takes a few seconds.

    Loading pictures is not included: it happens in the background.
    """
    with process_settings(options), torch.random.fork_rng():
        generator = torch.Generator().manual_seed(options.seed)
        plan = Plan.of(candidate.model, options, images=options.batch * 1000)
        stepper = Stepper.of(
            build(candidate.model, num_classes),
            candidate.recipe,
            plan,
            image_size=options.image_size,
            amp=options.amp,
            device=training_device(),
            compile_network=options.compile_network,
        )
        batch = random_batch(num_classes, options.batch, options.image_size, generator)
        times = timed_steps(stepper, batch, [plan.warmup_steps] * TIMED_STEPS)
    # The fastest step: others on the machine can only make one slower.
    return min(times) / options.batch


def timed_steps(stepper: Stepper, batch: Batch, steps: Sequence[int]) -> list[float]:
    """Seconds that each of these steps takes, after some that do not count."""
    times = []
    for step in [*steps[:WARMUP_STEPS], *steps]:
        started = time.perf_counter()
        stepper.step(batch, step)
        times.append(time.perf_counter() - started)
    return times[WARMUP_STEPS:]


def random_batch(num_classes: int, batch: int, image_size: int, generator: torch.Generator) -> Batch:
    """Noise pictures with `OBJECTS` random boxes each."""
    count = batch * OBJECTS
    sides = (0.05 + 0.3 * torch.rand(count, 2, generator=generator)) * image_size
    corners = torch.rand(count, 2, generator=generator) * (image_size - sides)
    truth = GroundTruth(
        torch.cat((corners, corners + sides), 1),
        torch.randint(num_classes, (count,), generator=generator),
        torch.arange(batch).repeat_interleave(OBJECTS),
    )
    return Batch(torch.rand(batch, 3, image_size, image_size, generator=generator), truth)
