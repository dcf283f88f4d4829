"""QAT of a job's network, for candidates that ask for it: fine-tuned, or found where an earlier job has left it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.atomic_folder import sha256_of
from foundation.errors import UserError
from search.deploying import calibration_images
from search.effort import qat_epochs
from search.estimates import judging_hardware
from search.job_weights import RECORD, not_while_measuring, options_of, remember, remembered, weights_digest
from search.options import QAT_LR
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from evaluators.quantization.fine_tuned import QuantizedNetwork
    from search.stages import Bench, TrainJob
    from search.training import TrainedNetwork, TrainingProgress

DISTILLATION = "channel-wise"  # the paper's (2.5.3), and what search.qat does unless told otherwise
PHASE = "qat"  # in progress


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What QAT made of a trained network, in the words of `deploy` and of a job's result."""

    run: TrainedNetwork
    quantized: QuantizedNetwork

    @property
    def to_deploy(self) -> dict[str, Any]:
        """Arguments of `deploy`."""
        return {"quantized": self.quantized, "quantizing": qat_protocol(self.run, DISTILLATION)}

    @property
    def to_tell(self) -> dict[str, Any]:
        """Part of a job's result: the seconds and the pictures of QAT alone."""
        return {"tuning": {"seconds": self.run.seconds, "images_seen": self.run.images_seen}}


def qat_protocol(run: TrainedNetwork, distillation: str) -> dict[str, Any]:
    """What the protocol of an AP tells of the QAT behind it."""
    return {
        "quantization": "qat",
        "qat_epochs": run.epochs,
        "qat_lr": run.lr,
        "qat_batch": run.batch,
        "qat_seed": run.seed,
        "qat_distillation": distillation,
    }


def fine_tuned(
    job: TrainJob,
    candidate: Candidate,
    bench: Bench,
    data: DetectionData,
    weights: Path,
    on_progress: Callable[[TrainingProgress], None] | None,
    alive: Callable[[], None],
) -> FineTuned | None:
    """Fine-tune in this process, or take what an earlier job made of the same weights; None unless QAT is asked for.

    Killed and called again it goes on from its last checkpoint.

    Args:
        weights: safetensors of the float network, in the training form.
        alive: called with every report, as there may be no other listener.

    Raises:
        OutOfTime, TrainingDiverged, UserError: as of `search.training.fine_tune`.
    """
    if candidate.precision.scheme != "qat":
        return None
    from evaluators.devices import overflows_int8
    from evaluators.latency import resolve_hardware
    from evaluators.quantization.fine_tuned import load_quantized
    from search.training import fine_tune

    half_weights = overflows_int8(judging_hardware(resolve_hardware(bench.hardware)))
    epochs = qat_epochs(candidate, job.epochs + job.epochs_before)
    name = f"{candidate.key}-{weights_digest(job, bench, data)}-qat{'-half' if half_weights else ''}"
    folder = Path(bench.folder) / "weights" / name

    def tell(now: TrainingProgress) -> None:
        alive()
        if on_progress is not None:
            on_progress(dataclasses.replace(now, phase=PHASE))

    def loaded(run: TrainedNetwork) -> FineTuned:
        return FineTuned(run, load_quantized(candidate.model, len(data.class_names), run.weights))

    known = remembered(folder)
    if known is not None and (known.epochs, known.init) == (epochs, sha256_of(weights)):
        with contextlib.suppress(UserError):  # a damaged file is made again and ends no search
            return loaded(known)
    (folder / RECORD).unlink(missing_ok=True)
    alive()
    run = fine_tune(
        candidate,
        data,
        options_of(job, candidate, bench, epochs=epochs, lr=QAT_LR),
        folder=folder,
        weights=weights,
        calibration=calibration_images(data, bench.size_of(candidate), bench.batch),
        distillation=DISTILLATION,
        half_weights=half_weights,
        on_progress=tell,
        device_guard=lambda: not_while_measuring(bench),
    )
    remember(folder, run)
    return loaded(run)
