"""A training run from the first step to the weights on disk."""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.training.checkpoint import Checkpoint, find_checkpoint, remove_checkpoint, save_checkpoint
from search.training.data.cache import ImageCache
from search.training.data.loader import Loader
from search.training.data.sampler import Sampler
from search.training.numerics import training_device
from search.training.options import OutOfTime, TrainedNetwork, TrainingOptions, TrainingProgress
from search.training.schedule import Plan
from search.training.statistics import renew_statistics
from search.training.step import Stepper
from search.training.weights import initialise_from, save_detector
from yolov6space.candidate import Candidate, digest
from yolov6space.networks import Detector, build

WEIGHTS_FILE = "weights.safetensors"
REPORT_SECONDS = 0.5
SLOW_STEPS = 5  # the first steps choose kernels and find memory: they say nothing about the speed
JUDGED_STEPS = 20  # steps before the speed is known well enough to foresee the end
LATE_TOLERANCE = 1.1  # a run is given up when it would take this much longer than the time that is left

ProgressCallback = Callable[[TrainingProgress], None]
DeviceGuard = Callable[[], AbstractContextManager[object]]


def train(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    *,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    device_guard: DeviceGuard = nullcontext,
    init_weights: Path | None = None,
) -> TrainedNetwork:
    """Train a candidate on the `train` split and write its averaged weights to `folder`.

    The same candidate, data, options and number of threads give the same weights on a CPU, also when a run
    was killed and called again: it goes on from the checkpoint in `folder`.

    Args:
        folder: made if absent; belongs to this run alone.
        device_guard: entered around every step, so that others can have the device to themselves.
        init_weights: safetensors to start from; class predictors of another number of classes are left out.

    Raises:
        OutOfTime: the end would be past `options.deadline`.
        TrainingDiverged: loss or gradient became non-finite.
        UserError: no training images, unreadable images, or weights of another network.
    """
    split = data.split("train")
    if not len(split):
        raise UserError(f"data {data.name!r} has no training images; add some to its train split")
    folder.mkdir(parents=True, exist_ok=True)
    with process_settings(options):
        torch.manual_seed(options.seed)
        detector = build(candidate.model, len(data.class_names))
        if init_weights is not None:
            initialise_from(detector, init_weights)
        plan = Plan.of(candidate.model, options, len(split), resumed_weights=init_weights is not None)
        stepper = Stepper.of(
            detector,
            candidate.recipe,
            plan,
            image_size=options.image_size,
            amp=options.amp,
            device=training_device(),
        )
        loader = Loader(
            ImageCache(split, options.image_size, options.cache_mib),
            Sampler(len(split), options.seed),
            batch=options.batch,
            image_size=options.image_size,
            augmentation=plan.augmentation_at,
        )
        run = _Run(stepper, loader, options, folder, _name(candidate, data, options, init_weights))
        return run.to_the_end(on_progress, device_guard)


def _name(
    candidate: Candidate, data: DetectionData, options: TrainingOptions, init_weights: Path | None
) -> str:
    """Digest of everything that decides the weights; how fast or how long it may take does not."""
    told = asdict(options)
    for name in ("deadline", "workers", "cache_mib", "checkpoint_seconds"):
        del told[name]
    start = None if init_weights is None else hashlib.sha256(init_weights.read_bytes()).hexdigest()
    return digest(
        {
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


@dataclass(slots=True)
class _Run:
    """A run under way."""

    stepper: Stepper
    loader: Loader
    options: TrainingOptions
    folder: Path
    name: str
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    parts: deque[dict[str, float]] = field(default_factory=deque)
    steady_since: float = 0.0

    @property
    def plan(self) -> Plan:
        return self.stepper.plan

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def to_the_end(self, on_progress: ProgressCallback | None, device_guard: DeviceGuard) -> TrainedNetwork:
        """Go on from the checkpoint, if there is one, to the last step; then write the weights."""
        steps = self.plan.steps
        self.parts = deque(maxlen=max(1, steps // 10))
        first = self._resume()
        last_report = last_save = time.monotonic()
        since_report: list[dict[str, float]] = []
        with self.loader.batches(first, steps, self.options.workers) as batches:
            for step, batch in enumerate(batches, start=first):
                with device_guard():
                    parts = self.stepper.step(batch, step)
                self.parts.append(parts)
                since_report.append(parts)
                done, now = step + 1, time.monotonic()
                self._check_deadline(done - first, steps - done, now)
                if on_progress and (now - last_report >= REPORT_SECONDS or done == steps):
                    on_progress(self._progress(done, first, since_report, now))
                    last_report, since_report = now, []
                if now - last_save >= self.options.checkpoint_seconds and done < steps:
                    self._save(done)
                    last_save = time.monotonic()
        return self._finish()

    def _finish(self) -> TrainedNetwork:
        averaged = self.stepper.average.module
        assert isinstance(averaged, Detector)
        renew_statistics(averaged, self.loader, self.plan, self.stepper.device, self.stepper.dtype)
        weights = self.folder / WEIGHTS_FILE
        save_detector(averaged, weights, {"run": self.name, "epochs": str(self.options.epochs)})
        remove_checkpoint(self.folder)
        return TrainedNetwork(
            weights=weights,
            epochs=self.options.epochs,
            steps=self.plan.steps,
            images_seen=self.plan.steps * self.options.batch,
            seconds=self.seconds,
            losses=_mean(self.parts),
        )

    def _resume(self) -> int:
        """Steps that are done already."""
        checkpoint = find_checkpoint(self.folder, self.name)
        if checkpoint is None:
            return 0
        self.stepper.restore(checkpoint.state)
        self.parts.extend(checkpoint.state["parts"])
        self.seconds_before = checkpoint.seconds
        return checkpoint.step

    def _save(self, step: int) -> None:
        state = {**self.stepper.state(), "parts": list(self.parts)}
        save_checkpoint(Checkpoint(self.name, step, self.seconds, state), self.folder)

    def _check_deadline(self, done: int, left: int, now: float) -> None:
        if self.options.deadline is None or not left:
            return
        time_left = self.options.deadline - now
        if done == SLOW_STEPS:
            self.steady_since = now
        counted = done - SLOW_STEPS
        needed = (now - self.steady_since) / counted * left if counted > 0 else 0.0
        if time_left <= 0 or (done >= JUDGED_STEPS and needed > LATE_TOLERANCE * time_left):
            raise OutOfTime(
                f"training needs {needed:.0f} s more for {left} of {self.plan.steps} steps "
                f"and has {max(0.0, time_left):.0f} s"
            )

    def _progress(self, done: int, first: int, parts: list[dict[str, float]], now: float) -> TrainingProgress:
        speed = (done - first) / max(now - self.started, 1e-9)
        means = _mean(parts)
        return TrainingProgress(
            epoch=min(self.options.epochs, 1 + int((done - 1) / self.plan.steps_per_epoch)),
            epochs=self.options.epochs,
            step=done,
            steps=self.plan.steps,
            loss=sum(means.values()),
            images_per_second=speed * self.options.batch,
            seconds_left=(self.plan.steps - done) / speed,
            learning_rate=self.plan.lr * self.plan.lr_factor(done - 1),
            parts=means,
        )


def _mean(parts: "list[dict[str, float]] | deque[dict[str, float]]") -> dict[str, float]:
    return {name: sum(each[name] for each in parts) / len(parts) for name in parts[0]} if parts else {}
