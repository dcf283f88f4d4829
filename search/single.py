"""One training outside a search: from what a person asked for to an artefact and its AP.

Folder layout:
    training.json      what was asked, and the result once there is one
    run/               checkpoint while it trains, averaged weights afterwards
    teacher/           the same of the network's own teacher, with self-distillation
    network/           the artefact (`evaluators.artefact`)
"""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from search.single_options import SingleTraining
from search.stages import calibration_images, describe_artefact, write_text_atomically

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from search.training import Teacher, TrainedNetwork, TrainingOptions, TrainingProgress
    from yolov6space.networks import Detector

RECORD = "training.json"
BATCH_OF_ENGINE = 1
TEACHERS = ("none", "self")
SAY_EVERY_S = 10.0


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
    other = None if asked.teacher in TEACHERS else _other_teacher(Path(asked.teacher), data)
    known = _claim(asked.out, asked.told(data, size))
    if "result" in known:
        progress(f"{asked.out} holds this training already, finished; choose another --out to repeat it")
        result: dict[str, Any] = known["result"]
        return result
    if asked.epochs is None:
        options = _timed(asked, data, options, known, other)
    trained = _train(asked, data, options, hardware, other)
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
    if path.exists() and any(out.glob("*/*")):
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


def _other_teacher(folder: Path, data: DetectionData) -> Teacher:
    """The network of an artefact folder. UserError when it cannot teach this data."""
    from evaluators.artefact import load_artefact
    from search.training import Teacher

    artefact = load_artefact(folder)
    if artefact.meta.class_names != data.class_names:
        raise UserError(
            f"--teacher {folder}: it knows other classes than this data; train it on the same classes"
        )
    return Teacher(artefact.candidate.model, artefact.weights)


def _timed(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    known: dict[str, Any],
    other: Teacher | None,
) -> TrainingOptions:
    """Time instead of epochs: worked out once and kept, so that a killed run is found again."""
    from search.training import epochs_within

    if "epochs" not in known:
        assert asked.minutes is not None
        images = len(data.split("train"))
        progress(f"timing a few training steps of {asked.title}")
        classes = len(data.class_names)
        seconds = 60 * asked.minutes / _teaching_cost(asked, other, classes)
        known["epochs"] = epochs_within(seconds, asked.candidate, classes, options, images)
        _write_record(asked.out, known)
        progress(f"{asked.minutes:g} minutes are about {known['epochs']} epochs of {images} images")
    return dataclasses.replace(options, epochs=known["epochs"])


def _teaching_cost(asked: SingleTraining, other: Teacher | None, classes: int) -> float:
    """How many times a plain training's time this one takes: a forward pass is a third of a training step."""
    from yolov6space.cost import cost

    if asked.teacher == "self":
        return 1 + 1 + 1 / 3
    if other is None:
        return 1.0
    flops = [
        cost(model, num_classes=classes, image_size=640).flops
        for model in (other.model, asked.candidate.model)
    ]
    return 1 + flops[0] / flops[1] / 3


def _train(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    hardware: Hardware,
    teacher: Teacher | None,
) -> TrainedNetwork:
    """The network, after its own teacher where it is to have one."""
    from evaluators.device_lock import working
    from search.training import Teacher, train
    from search.training.run import WEIGHTS_FILE as TRAINED

    last = 0.0

    def tell(now: TrainingProgress, phase: str = "") -> None:
        nonlocal last
        if time.monotonic() - last < SAY_EVERY_S and now.step < now.steps and now.ap is None:
            return
        last = time.monotonic()
        progress(dataclasses.replace(now, phase=now.phase or phase).line())

    def guard() -> AbstractContextManager[None]:
        return working(hardware.device)

    if asked.teacher == "self":
        weights = asked.out / "teacher" / TRAINED
        if not weights.exists():
            train(
                asked.candidate,
                data,
                options,
                folder=weights.parent,
                on_progress=lambda now: tell(now, "teacher"),
                device_guard=guard,
                init_weights=asked.init,
            )
        teacher = Teacher(asked.candidate.model, weights)
    return train(
        asked.candidate,
        data,
        options,
        folder=asked.out / "run",
        on_progress=tell,
        device_guard=guard,
        init_weights=asked.init,
        teacher=teacher,
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
        **({} if asked.teacher == "none" else {"distillation": asked.teacher}),
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
            "retry": trained.retry,
        },
    }
