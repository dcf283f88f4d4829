"""QAT of one trained network outside a search: from its artefact folder to an int8 one and its AP.

Folder layout:
    training.json  what was asked, and the result once there is one
    run/           checkpoint while it learns, averaged weights with the int8 ranges afterwards
    network/       the artefact (`evaluators.artefact`)
    log.jsonl      progress, one JSON object a line
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from search.deploying import calibration_images, deploy, describe_artefact
from search.job_qat import PHASE, qat_protocol
from search.options import DEFAULT_TRAIN_BATCH, QAT_EPOCHS, QAT_LR
from search.single_record import claimed, is_intact, trained_before, write_record
from search.single_watch import Watch
from yolov6space.candidate import Precision

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from search.training import TrainedNetwork, TrainingOptions
    from yolov6space.candidate import Candidate

DEFAULT_METRIC = "mse"
BATCH_OF_ENGINE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQat:
    """What to fine-tune, and how.

    Attributes:
        network: artefact folder of the trained network; of any precision, its float weights count.
        data: source that `load_data` understands, with the classes of the network.
        out: folder of this fine-tuning alone.
        float_layers: left in float; None for as many as the network has.
        metric: that chooses them; None for that of the network, else `DEFAULT_METRIC`.
        distillation: one of `QAT_DISTILLATIONS`.
    """

    network: Path
    data: str
    out: Path
    distillation: str
    epochs: int = QAT_EPOCHS
    float_layers: int | None = None
    metric: str | None = None
    batch: int = DEFAULT_TRAIN_BATCH
    lr: float = QAT_LR
    seed: int = 0
    threads: int | None = None

    def precision(self, before: Precision) -> Precision:
        """Of the fine-tuned network. Raises UserError for a metric that has nothing to choose."""
        kept = before.float_layers or 0 if self.float_layers is None else self.float_layers
        if self.metric and not kept:
            raise UserError("--metric chooses layers to keep in float; say how many with --float-layers")
        metric = self.metric or before.metric or DEFAULT_METRIC
        return Precision(kind="int8", scheme="qat", float_layers=kept, metric=metric if kept else None)

    def told(self, artefact: Artefact, candidate: Candidate, data: DetectionData) -> dict[str, Any]:
        """What decides the result."""
        return {
            "data": data.fingerprint,
            "weights": artefact.meta.weights_sha256,
            "candidate": candidate.key,
            "epochs": self.epochs,
            "batch": self.batch,
            "lr": self.lr,
            "seed": self.seed,
            "distillation": self.distillation,
        }


@dataclass(frozen=True, slots=True)
class _Work:
    """What was asked, opened and checked; `candidate` is that of the fine-tuned network."""

    asked: AskedQat
    artefact: Artefact
    candidate: Candidate
    data: DetectionData
    options: TrainingOptions
    hardware: Hardware


def run_qat(asked: AskedQat) -> dict[str, Any]:
    """Fine-tune, build the artefact, judge; goes on from a checkpoint, and repeats nothing that is finished.

    Raises:
        UserError: anything wrong with the input, or `out` belongs to another training or to another process now.
        WorkFailedError: the training diverged.
    """
    from evaluators.artefact import load_artefact
    from evaluators.data import load_data
    from evaluators.hardware import check_precision
    from evaluators.latency import resolve_hardware
    from search.training import TrainingOptions
    from search.training.weights import require_finite

    artefact = load_artefact(asked.network)
    if not artefact.meta.trained:
        raise UserError(f"{asked.network}: its weights are random; give a network that was trained")
    require_finite(artefact.weights)
    precision = asked.precision(artefact.candidate.precision)
    candidate = dataclasses.replace(artefact.candidate, precision=precision)
    hardware = resolve_hardware("auto")
    check_precision("int8", hardware)
    data = load_data(asked.data)
    for warning in data.warnings:
        progress(f"data: {warning}")
    if artefact.meta.class_names != data.class_names:
        raise UserError(
            f"{asked.network}: it knows other classes than this data; give the data it learned from"
        )
    data.split("val")
    options = TrainingOptions(
        epochs=asked.epochs,
        image_size=artefact.meta.image_size,
        batch=asked.batch,
        seed=asked.seed,
        lr=asked.lr,
        threads=asked.threads,
    )
    with claimed(asked.out, asked.told(artefact, candidate, data)) as known:
        if "result" in known and is_intact(asked.out / "network"):
            progress(
                f"{asked.out} holds this fine-tuning already, finished; choose another --out to repeat it"
            )
        else:
            work = _Work(asked, artefact, candidate, data, options, hardware)
            known["result"] = _run(work, known)
            write_record(asked.out, known)
        result: dict[str, Any] = known["result"]
    return result


def _run(work: _Work, known: dict[str, Any]) -> dict[str, Any]:
    asked = work.asked
    tuned = trained_before(asked.out, known)
    if tuned is None:
        tuned = _tune(work)
        known["trained"] = {**dataclasses.asdict(tuned), "weights": tuned.weights.name}
        write_record(asked.out, known)
    progress("judging on the val split")
    result = _deploy(work, tuned)
    before, after = (
        "undefined" if ap is None else f"{ap:.3f}"
        for ap in (result[stage]["figures"]["AP"] for stage in ("trained", "deployed"))
    )
    progress(
        f"val AP {before} in float, {after} as {work.candidate.precision.label} through {work.hardware.backend}; "
        f"written to {asked.out / 'network'}"
    )
    return result


def _tune(work: _Work) -> TrainedNetwork:
    from evaluators.device_lock import working
    from evaluators.devices import overflows_int8
    from search.training import fine_tune

    progress(f"fine-tuning as {work.candidate.precision.label}, teacher: {work.asked.distillation}")
    with Watch(work.asked.out) as watch:
        return fine_tune(
            work.candidate,
            work.data,
            work.options,
            folder=work.asked.out / "run",
            weights=work.artefact.weights,
            calibration=calibration_images(work.data, work.options.image_size, BATCH_OF_ENGINE),
            distillation=work.asked.distillation,
            half_weights=overflows_int8(work.hardware),
            on_progress=lambda now: watch(now, PHASE),
            device_guard=lambda: working(work.hardware.device),
        )


def _deploy(work: _Work, tuned: TrainedNetwork) -> dict[str, Any]:
    from evaluators.latency.engine_process import open_engine_process
    from evaluators.quantization.fine_tuned import load_quantized
    from search.training import load_detector

    artefact, candidate, data = work.artefact, work.candidate, work.data
    classes = len(data.class_names)
    result = deploy(
        candidate,
        load_detector(candidate.model, classes, artefact.weights),
        data,
        hardware=work.hardware,
        image_size=artefact.meta.image_size,
        batch=BATCH_OF_ENGINE,
        folder=work.asked.out / "network",
        training={"weights_sha256": artefact.meta.weights_sha256},
        quantized=load_quantized(candidate.model, classes, tuned.weights),
        opened=open_engine_process,
        quantizing=qat_protocol(tuned, work.asked.distillation),
    )
    return {
        "network": str(work.asked.network),
        "candidate": candidate.key,
        "artefact": describe_artefact(result.artefact),
        "float_layers": list(result.artefact.meta.float_layers),
        "trained": result.trained,
        "deployed": result.deployed,
        "training": {
            "epochs": tuned.epochs,
            "steps": tuned.steps,
            "images_seen": tuned.images_seen,
            "seconds": tuned.seconds,
            "losses": dict(tuned.losses),
            "retry": tuned.retry,
        },
    }
