"""Latency on a device from a handful of measurements there: calibrate once, then estimate any candidate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluators.estimate.calibration_file import (
    CalibrationFile,
    Measured,
    device_identity,
    keep,
    read_calibration,
)
from evaluators.estimate.case import Case
from evaluators.estimate.cpu_time import CpuTime
from evaluators.estimate.design import most_telling, pool_of
from evaluators.estimate.fit import Calibration, Observation, fit, leave_out
from evaluators.hardware import Hardware
from evaluators.latency.records import Estimate, Measurement
from foundation.errors import WorkFailedError
from yolov6space.candidate import Candidate
from yolov6space.space import Space

MAX_FAILURES = 3  # one after the other
MIN_SAMPLES = 8  # with fewer, nearly everything an estimate says is the prior
_DOUBT_ELSEWHERE = 1.5  # another size or batch than was measured
Measure = Callable[[Candidate], Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Estimates of measured candidates by models that were fitted without them."""

    samples: int
    mean_error: float
    worst_error: float
    spearman: float
    within_interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEstimator:
    """A calibrated device."""

    calibration: Calibration
    measured: tuple[tuple[int, int], ...]
    name: str

    def estimate(self, case: Case) -> Estimate:
        """Latency of a pass with its 90 % interval."""
        alike = (case.image_size, case.batch) in self.measured
        return self.calibration.estimate(
            replace(case, model=replace(case.model, conv="plain")),
            source=f"estimated for {self.name}: physical model calibrated on "
            f"{self.calibration.observations} candidates measured here",
            doubt=1.0 if alike else _DOUBT_ELSEWHERE,
        )


def device_estimator(hardware: Hardware, threads: int | None = None) -> DeviceEstimator | None:
    """The estimator of a device that was calibrated, None for one that was not. Raises UserError."""
    known = read_calibration(device_identity(hardware, threads))
    if len(known.measured) < MIN_SAMPLES:
        return None
    return DeviceEstimator(
        calibration=fit(CpuTime(), known.observations, robust=True),
        measured=tuple(sorted({(one.image_size, one.batch) for one in known.measured})),
        name=str(known.device["cpu"]),
    )


def samples_for(
    space: Space, precisions: Sequence[str], count: int, *, image_size: int, batch: int, classes: int
) -> list[Candidate]:
    """The candidates to measure: the same ones for the same question, so that a calibration can continue."""
    pool = pool_of(space, precisions, seed=0)
    cases = [
        Case(
            model=replace(one.model, conv="plain"),
            precision=one.precision,
            batch=batch,
            image_size=image_size,
            num_classes=classes,
        )
        for one in pool
    ]
    return [pool[index] for index in most_telling(CpuTime(), cases, count)]


def calibrate(
    hardware: Hardware,
    candidates: Sequence[Candidate],
    measure: Measure,
    *,
    image_size: int,
    batch: int,
    classes: int,
    threads: int | None = None,
    on_measured: Callable[[int, Candidate, Measured], None] = lambda number, candidate, found: None,
    on_failed: Callable[[int, Candidate, str], None] = lambda number, candidate, reason: None,
) -> CalibrationFile:
    """Measure those of the candidates that are not known yet or were disturbed; every one is kept at once.

    What is not known comes first, so that a calibration that is killed again and again on a busy machine gets on.
    One that the device's library refuses, crashes or hangs on is left out.

    Raises:
        WorkFailedError: `MAX_FAILURES` failed one after the other: it is the device, not the candidates.
    """
    identity = device_identity(hardware, threads)
    known = read_calibration(identity)
    seen = {one.question for one in known.measured}
    settled = {one.question for one in known.measured if one.disturbance is None}

    def question(candidate: Candidate) -> tuple[str, int, int, int]:
        return candidate.key, image_size, batch, classes

    numbered = sorted(enumerate(candidates, start=1), key=lambda pair: question(pair[1]) in seen)
    failures = 0
    for number, candidate in numbered:
        if question(candidate) in settled:
            continue
        try:
            measurement = measure(candidate)
        except WorkFailedError as error:
            failures += 1
            if failures >= MAX_FAILURES:
                raise WorkFailedError(
                    f"{failures} candidates could not be measured one after the other, the last because: {error}"
                ) from error
            on_failed(number, candidate, str(error))
            continue
        failures = 0
        found = Measured(
            candidate=candidate.to_dict(),
            image_size=image_size,
            batch=batch,
            classes=classes,
            median_ms=measurement.median_ms,
            low_ms=measurement.low_ms,
            high_ms=measurement.high_ms,
            disturbance=measurement.disturbance,
        )
        known = keep(identity, found)
        on_measured(number, candidate, found)
    return known


def cross_validate(observations: Sequence[Observation]) -> CrossValidation:
    """Leave every candidate out once."""
    from scipy.stats import spearmanr

    found = leave_out(CpuTime(), observations, lambda row: row.case, robust=True)
    told, values = np.array([row.ms for row in observations]), np.array([one.value_ms for one in found])
    errors = np.abs(values / told - 1)
    held = [one.low_ms <= row.ms <= one.high_ms for row, one in zip(observations, found, strict=True)]
    return CrossValidation(
        samples=len(observations),
        mean_error=float(errors.mean()),
        worst_error=float(errors.max()),
        spearman=float(spearmanr(values, told).statistic),
        within_interval=float(np.mean(held)),
    )
