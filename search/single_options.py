"""What a person asked for of one training outside a search, checked once; values only."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.artefact import WEIGHTS_FILE
from foundation.errors import UserError
from search.options import DEFAULT_TRAIN_BATCH
from yolov6space.candidate import Candidate, Precision

if TYPE_CHECKING:
    from evaluators.data import DetectionData

DEFAULT_MINUTES = 30.0
LOOKS = 4  # at AP on the way at most, unless told otherwise
TEACHERS = ("none", "self")  # anything else is a folder


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleTraining:
    """What to train. Of `epochs` and `minutes` exactly one is given.

    Attributes:
        title: of the network, for people.
        data: source that `load_data` understands.
        out: folder of this training alone.
        minutes: about how long; the number of epochs is worked out from a few timed steps.
        image_size: pixels; None takes the candidate's own or the device's default.
        init: weights to start from.
        teacher: `none`, `self` (the network is trained twice, the first one teaches the second) or the folder of a
            trained network's artefact.
        processes: that share every batch; on a machine with GPUs one of these for each.
        compile_network: train through `torch.compile` where that can be.
        judge_every: epochs between two looks at val AP; 0 for none, None for a few in all.
    """

    title: str
    candidate: Candidate
    data: str
    out: Path
    epochs: int | None = None
    minutes: float | None = None
    image_size: int | None = None
    batch: int = DEFAULT_TRAIN_BATCH
    init: Path | None = None
    lr: float | None = None
    seed: int = 0
    threads: int | None = None
    processes: int = 1
    compile_network: bool = False
    teacher: str = "none"
    judge_every: int | None = None
    tensorboard: bool = False

    @classmethod
    def of(
        cls,
        *,
        name: str | None,
        spec: Path | None,
        precision: str | None,
        epochs: int | None,
        minutes: float | None,
        init: Path | None,
        teacher: str | None,
        **rest: Any,
    ) -> SingleTraining:
        """From the options of the command line. Raises UserError."""
        if (name is None) == (spec is None):
            raise UserError("give either the NAME of a network or --spec FILE.json")
        if epochs is not None and minutes is not None:
            raise UserError("give either --epochs or --minutes, not both")
        if minutes is not None and not math.isfinite(minutes):
            raise UserError("--minutes must be a finite number")
        title, candidate = _candidate(name, spec, precision)
        if candidate.precision.scheme == "qat":
            raise UserError(
                f"{title} asks for int8 by QAT, which follows on training: train it with --precision fp32, "
                "then run python -m search.qat OUT/network"
            )
        teacher = teacher or candidate.recipe.distillation
        recipe = dataclasses.replace(candidate.recipe, distillation="self" if teacher == "self" else "none")
        candidate = dataclasses.replace(candidate, recipe=recipe)
        if init is not None and init.is_dir():
            init = init / WEIGHTS_FILE
        if init is not None and not init.is_file():
            raise UserError(f"--init {init}: no such file; give weights in safetensors or an artefact folder")
        return cls(
            title=title,
            candidate=candidate,
            epochs=epochs,
            minutes=DEFAULT_MINUTES if epochs is None and minutes is None else minutes,
            init=init,
            teacher=teacher,
            **rest,
        )

    @property
    def teacher_kind(self) -> str:
        """`none`, `self`, or `other` for a teacher from a folder."""
        return self.teacher if self.teacher in TEACHERS else "other"

    def judge_epochs(self, epochs: int) -> int | None:
        """Epochs between two looks at AP on the way in a training of so many; None for none."""
        if self.judge_every is None:
            return -(-epochs // (LOOKS + 1))
        return self.judge_every or None

    def looks(self, epochs: int) -> int:
        """Looks at AP on the way in a training of so many epochs."""
        period = self.judge_epochs(epochs)
        return 0 if period is None else (epochs - 1) // period

    def told(self, data: DetectionData, image_size: int) -> dict[str, Any]:
        """What makes this training that training, as JSON values."""
        return {
            "network": f"{self.title} {self.candidate.key}",
            "data": data.fingerprint,
            "epochs": self.epochs,
            "minutes": self.minutes,
            "image_size": image_size,
            "batch": self.batch,
            "init": None if self.init is None else str(self.init),
            "lr": self.lr,
            "seed": self.seed,
            "teacher": self.teacher,
        }


def _candidate(name: str | None, spec: Path | None, precision: str | None) -> tuple[str, Candidate]:
    from yolov6space.describe import read_candidate
    from yolov6space.variants import canonical_name, get

    if spec is not None:
        title, candidate = spec.stem, read_candidate(spec)
    else:
        assert name is not None
        title, candidate = canonical_name(name), dataclasses.replace(get(name), precision=Precision())
    if precision == "int8" and candidate.precision.kind != "int8":
        candidate = dataclasses.replace(candidate, precision=Precision.of("int8"))
    elif precision in ("fp32", "bf16"):
        candidate = dataclasses.replace(candidate, precision=Precision.of(precision))
    return title, candidate
