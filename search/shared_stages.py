"""What a worker does for the rung of shared weights: train the shared network, and look at candidates through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.estimates import judging_hardware
from search.stages import Bench
from yolov6space.candidate import Candidate
from yolov6space.sharing import Sharing
from yolov6space.space import Space

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from search.training import TrainingOptions, TrainingProgress
    from search.training.sharing import SharedNetwork


@dataclass(frozen=True)
class SharedStage:
    """The shared network of a study.

    Attributes:
        space: as `Space.to_dict` tells it.
        max_gflops: of a forward pass, the dearest architecture that is trained.
        epochs: of its training.
        folder: where its weights go.
    """

    bench: Bench
    space: dict[str, Any]
    max_gflops: float
    epochs: int
    folder: str

    def seconds_per_image(self) -> float:
        """Of its training, measured (`shared_seconds_per_image`)."""
        from search.training.sharing import shared_seconds_per_image

        return shared_seconds_per_image(self._sharing, self._options)

    def train(self, on_progress: Callable[[TrainingProgress], None]) -> dict[str, Any]:
        """Train it, and look at one architecture to know what a look takes: seconds of both, and the losses.

        Raises:
            TrainingDiverged, UserError: as of `train_shared`.
        """
        from search.training.sharing import train_shared

        trained = train_shared(
            self._sharing,
            self._data,
            self._options,
            folder=Path(self.folder),
            on_progress=on_progress,
            device_guard=self._guard,
        )
        begun = time.perf_counter()
        self._judged(Candidate(model=self._sharing.models[0]))
        return {
            "seconds": trained.seconds,
            "look_seconds": time.perf_counter() - begun,
            "losses": dict(trained.losses),
            "weights": str(trained.weights),
        }

    def look(self, candidate: dict[str, Any]) -> dict[str, Any] | None:
        """AP with inherited weights: `figures`, `protocol`, `seconds`, `epochs`; None where they reach less far."""
        asked = Candidate.from_dict(candidate)
        if not self._network.covers(asked.model):
            return None
        return self._judged(asked)

    def _judged(self, candidate: Candidate) -> dict[str, Any]:
        from evaluators.accuracy import PAPER, TorchEngine, judge

        begun = time.perf_counter()
        detector = self._network.detector(candidate.model, self._guard)
        split, val = self._network.judged_split(), self._data.split("val")
        judged = judge(
            TorchEngine(detector, self.bench.batch),
            split,
            image_size=self.bench.image_size,
            guard=self._guard,
        )
        return {
            "figures": judged.figures.to_dict(),
            "protocol": {
                "data": self._data.name,
                "data_fingerprint": self._data.fingerprint,
                "split": "val",
                "images": len(split),
                "of_images": len(val),
                "image_size": self.bench.image_size,
                "weights": "shared",
                "shared_epochs": self.epochs,
                "shared_max_gflops": self.max_gflops,
                "seed": self.bench.seed,
                "precision": "fp32",
                "device": next(detector.parameters()).device.type,
                "backend": "pytorch",
                **PAPER.to_dict(),
            },
            "seconds": time.perf_counter() - begun,
            "epochs": self.epochs,
        }

    @cached_property
    def _data(self) -> DetectionData:
        from evaluators.data import load_data

        return load_data(self.bench.data)

    @cached_property
    def _sharing(self) -> Sharing:
        return Sharing(
            Space.from_dict(self.space),
            len(self._data.class_names),
            self.bench.image_size,
            self.max_gflops,
            self.bench.seed,
        )

    @cached_property
    def _options(self) -> TrainingOptions:
        from search.training import TrainingOptions

        return TrainingOptions(
            epochs=self.epochs,
            image_size=self.bench.image_size,
            batch=self.bench.train_batch,
            seed=self.bench.seed,
            threads=self.bench.threads,
            checkpoint_seconds=CHECKPOINT_SECONDS,
        )

    @cached_property
    def _network(self) -> SharedNetwork:
        from search.training.run import WEIGHTS_FILE
        from search.training.sharing import SharedNetwork

        return SharedNetwork(self._sharing, Path(self.folder) / WEIGHTS_FILE, self._data, self._options)

    def _guard(self) -> AbstractContextManager[None]:
        """A pass waits while somebody measures on the device that networks are judged on."""
        from evaluators.device_lock import working
        from evaluators.latency import resolve_hardware

        return working(judging_hardware(resolve_hardware(self.bench.hardware)).device)


CHECKPOINT_SECONDS = 120.0  # the network is many times larger than one candidate's


class SharedActor:
    """`SharedStage` in a process of its own: one thing at a time, and beside it how far a training is."""

    def __init__(self, stage: SharedStage) -> None:
        self._stage = stage
        self._progress: dict[str, Any] = {}

    def seconds_per_image(self) -> float:
        """See `SharedStage.seconds_per_image`."""
        return self._stage.seconds_per_image()

    def train(self) -> dict[str, Any]:
        """See `SharedStage.train`."""

        def note(now: TrainingProgress) -> None:
            self._progress = asdict(now)

        return self._stage.train(note)

    def look(self, candidate: dict[str, Any]) -> dict[str, Any] | None:
        """See `SharedStage.look`."""
        return self._stage.look(candidate)

    def progress(self) -> dict[str, Any]:
        """The newest `TrainingProgress`, empty before the first."""
        return self._progress
