"""Quantization-aware training (paper 2.5.3): fine-tune a trained network with int8 in the loop.

The folded network gets the fake quantizers of PTQ, with its ranges and the layers it leaves in float, and learns on
at a low rate. Its teacher is the same network in float. Ranges stay as calibrated; gradients pass straight through the
rounding and end at values beyond the range (Model Optimizer). Everything computes in float32, so that nothing but int8
rounds.
"""

import copy
import dataclasses
import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evaluators.data import DetectionData
from evaluators.quantization.ptq import quantize
from search.options import QAT_DISTILLATIONS, QAT_LR
from search.training.attempts import (
    RETRY_RATE,
    cached_images,
    content,
    deciding,
    make_loader,
    process_settings,
    with_retry,
)
from search.training.distill import TeacherNetwork
from search.training.numerics import training_device
from search.training.options import TrainedNetwork, TrainingOptions
from search.training.run import DeviceGuard, ProgressCallback, Run
from search.training.schedule import NOMINAL_BATCH, Plan
from search.training.step import Stepper
from search.training.weights import load_detector
from yolov6space.candidate import Candidate, digest
from yolov6space.networks import Detector, fuse

FORMAT = 1  # of its checkpoints
QAT_WEIGHT_DECAY = 5e-5  # at a batch of 64, release 0.2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning(Plan):
    """A plan without warm-up and with less weight decay, as in release 0.2.0."""

    @property
    def warmup_steps(self) -> int:
        return 0

    @property
    def weight_decay(self) -> float:
        return QAT_WEIGHT_DECAY * self.batch / NOMINAL_BATCH


def fine_tune(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    *,
    folder: Path,
    weights: Path,
    calibration: Sequence[NDArray[np.float32]],
    distillation: str,
    half_weights: bool = False,
    on_progress: ProgressCallback | None = None,
    device_guard: DeviceGuard = nullcontext,
) -> TrainedNetwork:
    """QAT of a trained candidate on the `train` split; `load_quantized` reads the weights that come out.

    Killed and called again it goes on as `train` does, and ends with the same weights on a CPU.

    Args:
        candidate: with a precision of int8, whose layers in float stay so while it learns.
        options: of the fine-tuning; without `lr` it is `QAT_LR`. Always float32.
        folder: made if absent; belongs to this run alone.
        weights: safetensors of the float network, in the training form.
        calibration: B,3,H,W batches that ranges are taken from and float layers chosen by.
        distillation: one of `QAT_DISTILLATIONS`.
        half_weights: as of `quantize`.

    Raises:
        OutOfTime, TrainingDiverged, UserError: as of `train`, and as of `quantize`.
    """
    if distillation not in QAT_DISTILLATIONS:
        raise ValueError(f"distillation is {distillation!r}; choose one of {', '.join(QAT_DISTILLATIONS)}")
    cache = cached_images(data, options, 1)
    options = dataclasses.replace(options, lr=options.lr or QAT_LR, amp="off")
    with process_settings(options):
        with torch.random.fork_rng(devices=[]):
            exact = load_detector(candidate.model, len(data.class_names), weights)
        teacher = _teacher(exact, distillation)
        quantized = fuse(exact)
        with device_guard():
            kept = quantize(quantized, calibration, candidate.precision, half_weights=half_weights)
        name = _name(candidate, data, options, weights, calibration, distillation, half_weights, kept)

        def begin(retry: str) -> Run:
            torch.manual_seed(options.seed)
            plan = FineTuning.of(candidate.model, options, len(cache), resumed_weights=True)
            stepper = Stepper.of(
                copy.deepcopy(quantized).requires_grad_(True),
                candidate.recipe,
                plan.slower(RETRY_RATE) if retry else plan,
                image_size=options.image_size,
                amp=options.amp,
                device=training_device(),
                teacher=teacher,
            )
            return Run(stepper, make_loader(cache, options, plan), options, folder, name, retry)

        return dataclasses.replace(
            with_retry(begin, folder, name, on_progress, device_guard), init=content(weights)
        )


def _teacher(exact: Detector, distillation: str) -> TeacherNetwork | None:
    if distillation == "none":
        return None
    return TeacherNetwork(exact, predictions=distillation == "full", features=True)


def _name(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    weights: Path,
    calibration: Sequence[NDArray[np.float32]],
    distillation: str,
    half_weights: bool,
    float_layers: Sequence[str],
) -> str:
    """Digest of everything that decides the weights; which layers stay in float may depend on the rounding."""
    seen = hashlib.sha256()
    for images in calibration:
        seen.update(images.tobytes())
    return digest(
        {
            "qat": FORMAT,
            "candidate": candidate.key,
            "data": data.fingerprint,
            "options": deciding(options),
            "start": content(weights),
            "calibration": seen.hexdigest(),
            "distillation": distillation,
            "half_weights": half_weights,
            "float_layers": list(float_layers),
        }
    )
