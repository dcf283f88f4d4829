"""A training run under way: the loop over steps, its checkpoints, and what it tells of itself."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from search.training.checkpoint import Checkpoint, remove_checkpoint, save_checkpoint
from search.training.data.loader import Batch, Loader
from search.training.health import LossWatch
from search.training.options import OutOfTime, TrainedNetwork, TrainingOptions, TrainingProgress
from search.training.ranks import Ranks
from search.training.schedule import Plan
from search.training.statistics import renew_statistics
from search.training.step import Stepper
from search.training.weights import save_detector
from yolov6space.networks import Detector

WEIGHTS_FILE = "weights.safetensors"
REPORT_SECONDS = 0.5
SLOW_STEPS = 5  # the first steps choose kernels and find memory: they say nothing about the speed
JUDGED_STEPS = 20  # steps before the speed is known well enough to foresee the end

ProgressCallback = Callable[[TrainingProgress], None]
DeviceGuard = Callable[[], AbstractContextManager[object]]
Judge = Callable[[Detector], float | None]


@dataclass(slots=True)
class Run:
    """One attempt at a training.

    Attributes:
        name: digest of everything that decides the weights.
        retry: why an earlier attempt was given up; empty for the first one.
        judge: AP of the averaged weights on the way, every `options.judge_epochs`; None for never.
    """

    stepper: Stepper
    loader: Loader
    options: TrainingOptions
    folder: Path
    name: str
    retry: str = ""
    judge: Judge | None = None
    started: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0
    first: int = 0
    parts: deque[dict[str, float]] = field(default_factory=deque)
    watch: LossWatch = field(default_factory=LossWatch)
    steady_since: float = 0.0
    waited: float = 0.0

    @property
    def plan(self) -> Plan:
        return self.stepper.plan

    @property
    def ranks(self) -> Ranks:
        return self.stepper.ranks

    @property
    def seconds(self) -> float:
        """Wall time so far, earlier interrupted parts included."""
        return self.seconds_before + time.monotonic() - self.started

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from there instead of from the start."""
        self.stepper.restore(checkpoint.state)
        self.watch.restore(checkpoint.state["watch"])
        self.parts.extend(checkpoint.state["parts"])
        self.seconds_before, self.first = checkpoint.seconds, checkpoint.step

    def to_the_end(self, on_progress: ProgressCallback | None, device_guard: DeviceGuard) -> TrainedNetwork:
        """All steps that are left; then the weights are written.

        Raises:
            OutOfTime, TrainingDiverged, UserError: see `train`.
        """
        steps = self.plan.steps
        self.parts = deque(self.parts, maxlen=max(1, steps // 10))
        last_report = last_save = time.monotonic()
        since_report: list[dict[str, float]] = []
        places = self.ranks.places(self.options.batch)
        with self.loader.batches(self.first, steps, self.options.workers, places) as batches:
            for step, batch in enumerate(self._timed(batches), start=self.first):
                with device_guard():
                    self.ranks.wait()  # rank 0 has the device for all of them
                    parts = self.stepper.step(batch, step)
                self.watch.see(step, parts)
                self.parts.append(parts)
                if on_progress:
                    since_report.append(parts)
                done, now = step + 1, time.monotonic()
                self._check_deadline(done - self.first, steps - done, now)
                ap = self._judged(done)
                if on_progress and (now - last_report >= REPORT_SECONDS or done == steps or ap is not None):
                    on_progress(self._progress(done, since_report, now, ap))
                    last_report, since_report = now, []
                due = now - last_save >= self.options.checkpoint_seconds
                if self.ranks.leads and due and done < steps and self.watch.calm:
                    self._save(done)
                    last_save = time.monotonic()
        return self._finish(device_guard)

    def _timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; how long the network waited for them is added up."""
        while True:
            asked = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def _judged(self, done: int) -> float | None:
        """AP on the way, where it is due after that many steps; the last one is the caller's to measure."""
        if self.judge is None or self.options.judge_epochs is None or done == self.plan.steps:
            return None
        period = self.options.judge_epochs * self.plan.steps_per_epoch
        if int(done / period) == int((done - 1) / period):
            return None
        with torch.random.fork_rng():  # a judged run gives the same weights as one that is not
            return self.judge(self.stepper.result())

    def _finish(self, device_guard: DeviceGuard) -> TrainedNetwork:
        stepper = self.stepper
        weights = self.folder / WEIGHTS_FILE
        if self.ranks.leads:
            averaged = self.stepper.result()
            renew_statistics(averaged, self.loader, self.plan, stepper.device, stepper.dtype, device_guard)
            save_detector(averaged, weights, {"run": self.name, "epochs": str(self.options.epochs)})
            remove_checkpoint(self.folder)
        self.ranks.wait()
        return TrainedNetwork(
            weights=weights,
            epochs=self.options.epochs,
            steps=self.plan.steps,
            images_seen=self.plan.steps * self.options.batch,
            seconds=self.seconds,
            losses=_mean(self.parts),
            retry=self.retry,
            seed=self.options.seed,
            batch=self.options.batch,
            lr=self.plan.lr,
            dtype=str(self.stepper.dtype).removeprefix("torch."),
        )

    def _save(self, step: int) -> None:
        state = {
            **self.stepper.state(),
            "parts": list(self.parts),
            "watch": self.watch.state(),
            "retry": self.retry,
        }
        save_checkpoint(Checkpoint(self.name, step, self.seconds, state), self.folder)

    def _check_deadline(self, done: int, left: int, now: float) -> None:
        if self.options.deadline is None or not left:
            return
        time_left = self.options.deadline - now
        if done == SLOW_STEPS:
            self.steady_since = now
        counted = done - SLOW_STEPS
        needed = (now - self.steady_since) / counted * left if counted > 0 else 0.0
        if time_left <= 0 or (done >= JUDGED_STEPS and needed > time_left):
            if self.watch.calm:
                self._save(self.plan.steps - left)
            raise OutOfTime(
                f"training needs {needed:.0f} s more for {left} of {self.plan.steps} steps "
                f"and has {max(0.0, time_left):.0f} s"
            )

    def _progress(
        self, done: int, parts: list[dict[str, float]], now: float, ap: float | None
    ) -> TrainingProgress:
        elapsed = max(now - self.started, 1e-9)
        speed = (done - self.first) / elapsed
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
            waiting=min(1.0, self.waited / elapsed),
            memory_mib=_memory_mib(self.stepper.device),
            ap=ap,
            retry=self.retry,
        )


def _memory_mib(device: torch.device) -> float:
    """Of the GPU at most so far; of this process now on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _mean(parts: "list[dict[str, float]] | deque[dict[str, float]]") -> dict[str, float]:
    """By name; a term that a step did not have counts as 0 there (a teacher is silent at first)."""
    names = dict.fromkeys(name for each in parts for name in each)
    return {name: sum(each.get(name, 0.0) for each in parts) / len(parts) for name in names}
