"""Latencies that a search need not measure: of a device that is not here, or far from the limit on one that is."""

from collections.abc import Callable
from dataclasses import replace

from evaluators.hardware import Hardware
from storage.records import LATENCY_MS, NewEstimate
from yolov6space.candidate import Candidate

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


def over_limit(estimate: NewEstimate, target_ms: float) -> str:
    """Why an estimate is over the limit, in words."""
    return (
        f"{estimate.value:.2f} ms ({estimate.low:.2f} to {estimate.high:.2f}), {estimate.source}; "
        f"limit {target_ms:g} ms"
    )
