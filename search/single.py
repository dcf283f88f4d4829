"""One training outside a search: from what a person asked for to an artefact and its AP.

Folder layout:
    training.json      what was asked, and the result once there is one
    run/               checkpoint while it trains, averaged weights afterwards
    network/           the artefact (`evaluators.artefact`)
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from search.options import DEFAULT_TRAIN_BATCH
from search.stages import WEIGHTS_FILE, calibration_images, describe_artefact, write_text_atomically
from yolov6space.candidate import Candidate, Precision

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from search.training import TrainedNetwork, TrainingOptions, TrainingProgress
    from yolov6space.networks import Detector

RECORD = "training.json"
DEFAULT_MINUTES = 30.0
BATCH_OF_ENGINE = 1
SAY_EVERY_S = 10.0


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
            **rest,
        )

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
        candidate = dataclasses.replace(
            candidate, precision=Precision(kind="int8", scheme="ptq", float_layers=0)
        )
    elif precision in ("fp32", "bf16"):
        candidate = dataclasses.replace(candidate, precision=Precision(kind=precision))
    return title, candidate


def run_single(asked: SingleTraining) -> dict[str, Any]:
    """Train, build the artefact, judge both; goes on from a checkpoint, and repeats nothing that is finished.

    Raises:
        UserError: anything wrong with the input, or `out` belongs to another training.
        WorkFailedError: the training diverged.
    """
    from evaluators.data import load_data
    from evaluators.hardware import check_precision
    from evaluators.latency import resolve_hardware
    from search.training import TrainingOptions, load_detector

    hardware = resolve_hardware("auto")
    check_precision(asked.candidate.precision.kind, hardware)
    data = load_data(asked.data)
    progress(f"data: {data.name}: {data.description}")
    for warning in data.warnings:
        progress(f"data: {warning}")
    data.split("val")
    size = asked.image_size or asked.candidate.image_size or hardware.default_image_size
    options = TrainingOptions(
        epochs=asked.epochs or 1,
        image_size=size,
        batch=asked.batch,
        seed=asked.seed,
        lr=asked.lr,
        threads=asked.threads,
    )
    known = _claim(asked.out, asked.told(data, size))
    if "result" in known:
        progress(f"{asked.out} holds this training already, finished; choose another --out to repeat it")
        result: dict[str, Any] = known["result"]
        return result
    if asked.epochs is None:
        options = _timed(asked, data, options, known)
    trained = _train(asked, data, options, hardware)
    detector = load_detector(asked.candidate.model, len(data.class_names), trained.weights)
    result = _deploy(asked, data, options, trained, detector, hardware)
    _write_record(asked.out, {**known, "result": result})
    figures = result["deployed"]["figures"]
    progress(
        f"{asked.title}: val AP {_shown(figures['AP'])}, AP50 {_shown(figures['AP50'])} "
        f"({asked.candidate.precision.label} through {hardware.backend}); written to {asked.out / 'network'}"
    )
    return result


def _shown(ap: float | None) -> str:
    return "undefined" if ap is None else f"{ap:.3f}"


def _claim(out: Path, told: dict[str, Any]) -> dict[str, Any]:
    """The record of this training in its folder; made if absent. UserError if the folder is another's.

    A training that left nothing behind, such as one refused for its weights, may be replaced by another.
    """
    path = out / RECORD
    if path.exists() and any((out / "run").glob("*")):
        try:
            known: dict[str, Any] = json.loads(path.read_text())
            before = known["asked"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged; remove {out} or choose another --out") from None
        for key, value in told.items():
            if before.get(key) != value:
                shown = "" if key == "data" else f" ({before.get(key)}, now {value})"
                raise UserError(f"{out} holds a training with another {key}{shown}; choose another --out")
        return known
    if out.exists() and any(out.iterdir()) and not path.exists():
        raise UserError(f"{out} is not empty and holds no training; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    known = {"asked": told}
    _write_record(out, known)
    return known


def _write_record(out: Path, record: dict[str, Any]) -> None:
    write_text_atomically(out / RECORD, json.dumps(record, indent=2) + "\n")


def _timed(
    asked: SingleTraining, data: DetectionData, options: TrainingOptions, known: dict[str, Any]
) -> TrainingOptions:
    """Time instead of epochs: worked out once and kept, so that a killed run is found again."""
    from search.training import epochs_within

    if "epochs" not in known:
        assert asked.minutes is not None
        images = len(data.split("train"))
        progress(f"timing a few training steps of {asked.title}")
        classes = len(data.class_names)
        known["epochs"] = epochs_within(60 * asked.minutes, asked.candidate, classes, options, images)
        _write_record(asked.out, known)
        progress(f"{asked.minutes:g} minutes are about {known['epochs']} epochs of {images} images")
    return dataclasses.replace(options, epochs=known["epochs"])


def _train(
    asked: SingleTraining, data: DetectionData, options: TrainingOptions, hardware: Hardware
) -> TrainedNetwork:
    from evaluators.device_lock import working
    from search.training import train

    last = 0.0

    def tell(now: TrainingProgress) -> None:
        nonlocal last
        if time.monotonic() - last < SAY_EVERY_S and now.step < now.steps:
            return
        last = time.monotonic()
        progress(now.line())

    def guard() -> AbstractContextManager[None]:
        return working(hardware.device)

    return train(
        asked.candidate,
        data,
        options,
        folder=asked.out / "run",
        on_progress=tell,
        device_guard=guard,
        init_weights=asked.init,
    )


def _deploy(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    trained: TrainedNetwork,
    detector: Detector,
    hardware: Hardware,
) -> dict[str, Any]:
    from evaluators.accuracy import PAPER, TorchEngine, judge
    from evaluators.artefact import build_artefact
    from evaluators.latency import open_engine

    size, val = options.image_size, data.split("val")
    protocol = {
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "split": "val",
        "image_size": size,
        "epochs": trained.epochs,
        "seed": options.seed,
        **PAPER.to_dict(),
    }
    progress("judging on the val split")
    trained_accuracy = judge(TorchEngine(detector, BATCH_OF_ENGINE), val, image_size=size)
    int8 = asked.candidate.precision.kind == "int8"
    artefact = build_artefact(
        asked.candidate,
        detector,
        class_names=data.class_names,
        image_size=size,
        batch=BATCH_OF_ENGINE,
        folder=asked.out / "network",
        calibration=calibration_images(data, size, BATCH_OF_ENGINE) if int8 else None,
    )
    with open_engine(artefact, hardware) as engine:
        deployed_accuracy = judge(engine, val, image_size=size)
    return {
        "name": asked.title,
        "candidate": asked.candidate.key,
        "artefact": describe_artefact(artefact),
        "trained": {
            "figures": trained_accuracy.figures.to_dict(),
            "protocol": {**protocol, "precision": "fp32", "device": "cpu", "backend": "pytorch"},
        },
        "deployed": {
            "figures": deployed_accuracy.figures.to_dict(),
            "protocol": {
                **protocol,
                "precision": asked.candidate.precision.label,
                "device": hardware.device,
                "backend": hardware.backend,
            },
        },
        "training": {
            "epochs": trained.epochs,
            "steps": trained.steps,
            "images_seen": trained.images_seen,
            "seconds": trained.seconds,
            "losses": dict(trained.losses),
        },
    }
