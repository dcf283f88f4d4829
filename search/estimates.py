"""Latencies that a search need not measure: of a device that is not here, or far from the limit on one that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evaluators.hardware import Hardware, resolve_hardware
from foundation.errors import WorkFailedError
from storage.records import LATENCY_MS, NewEstimate
from yolov6space.candidate import Candidate, Precision

if TYPE_CHECKING:
    from evaluators.estimate import Observation

Estimator = Callable[[Candidate], NewEstimate]


def estimator_for(hardware: Hardware, *, image_size: int, batch: int, classes: int) -> Estimator | None:
    """How to estimate a candidate's latency on this hardware; None for a device that nobody calibrated.

    Raises:
        UserError: the calibration of this device cannot be read.
    """
    from evaluators.estimate.case import Case
    from evaluators.estimate.device import device_estimator
    from evaluators.estimate.t4 import estimate_t4

    if hardware.estimated:
        estimate = estimate_t4
    else:
        calibrated = device_estimator(hardware)
        if calibrated is None:
            return None
        estimate = calibrated.estimate

    def estimated(candidate: Candidate) -> NewEstimate:
        found = estimate(
            Case(
                model=replace(candidate.model, conv="plain"),
                precision=candidate.precision,
                batch=batch,
                image_size=candidate.image_size or image_size,
                num_classes=classes,
            )
        )
        return NewEstimate(
            quantity=LATENCY_MS,
            value=found.value_ms,
            low=found.low_ms,
            high=found.high_ms,
            source=found.source,
        )

    return estimated


def known_latencies(hardware: Hardware) -> tuple[Observation, ...]:
    """What a calibration measured on this device; none for one that is not here. Raises UserError as above."""
    from evaluators.estimate.calibration_file import device_identity, read_calibration

    if hardware.estimated:
        return ()
    return tuple(read_calibration(device_identity(hardware)).observations)


def estimated_again(settings: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, float]:
    """The estimate of a stored candidate for the device of a study, named as a measurement's figures are.

    Raises:
        WorkFailedError: the device cannot be estimated any more.
    """
    estimator = estimator_for(
        resolve_hardware(str(settings["hardware"])),
        image_size=settings["image_size"],
        batch=settings["batch"],
        classes=len(settings["classes"]),
    )
    if estimator is None:
        raise WorkFailedError(f"latencies on {settings['device']} cannot be estimated here any more")
    found = estimator(Candidate.from_dict(spec))
    return {"median_ms": found.value, "low_ms": found.low, "high_ms": found.high}


def over_limit(estimate: NewEstimate, target_ms: float) -> str:
    """Why an estimate is over the limit, in words."""
    return (
        f"{estimate.value:.2f} ms ({estimate.low:.2f} to {estimate.high:.2f}), {estimate.source}; "
        f"limit {target_ms:g} ms"
    )


def judging_hardware(hardware: Hardware) -> Hardware:
    """Where AP is found out: on the device itself, or on this CPU where the device is not here."""
    return resolve_hardware("cpu") if hardware.estimated else hardware


def deployable(candidate: Candidate, hardware: Hardware) -> Candidate:
    """The candidate as it can be built here: fp16 for a device that is not here becomes fp32."""
    if not hardware.estimated or candidate.precision.kind != "fp16":
        return candidate
    return replace(candidate, precision=Precision(kind="fp32"))
