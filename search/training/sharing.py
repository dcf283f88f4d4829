"""The shared network: one training whose weights every candidate of a space inherits, and what they are worth.

Every step trains one architecture, drawn at random among those that cost no more than the limit allows (single path
one-shot, arXiv 1904.00420). A candidate then takes its slices, has its BatchNorm statistics measured (arXiv
1904.00420, 2003.11142: without that inherited weights are worth nothing) and is judged, in seconds. Losses, assigner
and DFL are the space's first choices for all: inherited weights say nothing of these.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch

from evaluators.data import DetectionData, Split
from foundation.errors import WorkFailedError
from search.training.attempts import (
    RETRY_RATE,
    cached_images,
    deciding,
    make_loader,
    process_settings,
    with_retry,
)
from search.training.data.loader import Batch, Loader
from search.training.estimate import random_batch, timed_steps
from search.training.numerics import compute_type, training_device
from search.training.options import TrainedNetwork, TrainingOptions
from search.training.run import DeviceGuard, ProgressCallback, Run
from search.training.schedule import Plan
from search.training.statistics import renew_statistics
from search.training.step import Stepper
from search.training.weights import read_weights
from yolov6space.candidate import ModelSpec, digest
from yolov6space.networks import Detector
from yolov6space.networks.supernet import Supernet
from yolov6space.sharing import Sharing

FORMAT = 1  # of its checkpoints
TIMED_ARCHITECTURES = 8  # to know how long training takes
JUDGED_IMAGES = 128  # of the val split: enough to tell good from poor


class SharedStepper(Stepper):
    """Trains another architecture of a `Supernet` in every step."""

    __slots__ = ()

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """As of `Stepper`; which architecture it is depends on seed and step alone."""
        assert isinstance(self.detector, Supernet)
        self.detector.activate_for(step)
        return super().step(batch, step)


def train_shared(
    sharing: Sharing,
    data: DetectionData,
    options: TrainingOptions,
    *,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    device_guard: DeviceGuard = nullcontext,
) -> TrainedNetwork:
    """Train the shared network on the `train` split; killed and called again it goes on as `train` does.

    No average of the weights is kept: most of them rest in most steps, and they are many.

    Raises:
        OutOfTime, TrainingDiverged, UserError: as of `train`.
        WorkFailedError: no architecture is cheap enough.
    """
    _require_some(sharing)
    cache = cached_images(data, options, 1)
    name = digest(
        {
            "shared": FORMAT,
            "sharing": sharing.to_dict(),
            "data": data.fingerprint,
            "options": deciding(options),
        }
    )
    with process_settings(options):

        def begin(retry: str) -> Run:
            torch.manual_seed(options.seed)
            plan = _plan(sharing, options, len(cache))
            stepper = _stepper(sharing, options, plan.slower(RETRY_RATE) if retry else plan)
            return Run(stepper, make_loader(cache, options, plan), options, folder, name, retry)

        return with_retry(begin, folder, name, on_progress, device_guard)


def shared_seconds_per_image(sharing: Sharing, options: TrainingOptions) -> float:
    """Seconds per image of training, over steps of as many architectures; takes some seconds.

    Far more than those of the architectures alone: gradients and updates are those of whole kernels.

    Raises:
        WorkFailedError: no architecture is cheap enough.
    """
    _require_some(sharing)
    with process_settings(options), torch.random.fork_rng():
        generator = torch.Generator().manual_seed(options.seed)
        plan = _plan(sharing, options, options.batch * 1000)
        stepper = _stepper(sharing, options, plan)
        batch = random_batch(sharing.num_classes, options.batch, options.image_size, generator)
        first = plan.warmup_steps
        times = timed_steps(stepper, batch, range(first, first + TIMED_ARCHITECTURES))
    return sum(times) / len(times) / options.batch


def _require_some(sharing: Sharing) -> None:
    if not sharing.models:
        raise WorkFailedError(
            f"no architecture of the space has {sharing.max_gflops:.3g} GFLOPs or less, about what the limit allows"
        )


def _stepper(sharing: Sharing, options: TrainingOptions, plan: Plan) -> SharedStepper:
    return SharedStepper.of(
        _fresh(sharing),
        sharing.recipe,
        plan,
        image_size=options.image_size,
        amp=options.amp,
        device=training_device(),
        averaged=False,
    )


def _fresh(sharing: Sharing) -> Supernet:
    return Supernet(sharing.models, sharing.num_classes, sharing.reg_max)


def _plan(sharing: Sharing, options: TrainingOptions, images: int) -> Plan:
    return Plan.of(sharing.models[0], options, images)


class SharedNetwork:
    """A trained shared network, and what it says of architectures."""

    def __init__(
        self, sharing: Sharing, weights: Path, data: DetectionData, options: TrainingOptions
    ) -> None:
        """`weights` and `options` are those of `train_shared`.

        Raises:
            UserError: the weights cannot be read.
        """
        self._options, self._data = options, data
        with torch.random.fork_rng(devices=[]):
            self._supernet = _fresh(sharing)
        self._supernet.load_state_dict(read_weights(weights))
        cache = cached_images(data, options, 1)
        self._plan = _plan(sharing, options, len(cache))
        self._loader: Loader = make_loader(cache, options, self._plan)

    def covers(self, model: ModelSpec) -> bool:
        """Whether it has weights for this architecture."""
        return self._supernet.covers(model)

    def detector(self, model: ModelSpec, guard: DeviceGuard = nullcontext) -> Detector:
        """The architecture with inherited weights and its own BatchNorm statistics, in eval mode.

        Raises:
            ValueError: `covers` says no.
        """
        device = training_device()
        detector = self._supernet.detector(model).to(device)
        with process_settings(self._options):
            dtype = compute_type(self._options.amp, device)
            renew_statistics(detector, self._loader, self._plan, device, dtype, guard)
        return detector

    def judged_split(self) -> Split:
        """The val images that candidates are judged on: at most `JUDGED_IMAGES`, resembling the whole."""
        from evaluators.accuracy.stratified import stratified_order

        val = self._data.split("val")
        return val.subset(sorted(stratified_order(val)[:JUDGED_IMAGES]))
