"""Results of the stages (JSON) -> records for the repository."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.front import of_a_part
from storage.records import NewArtefact, NewEvaluation, NewMeasurement, TrialRecord
from storage.states import Origin, Rung

DISTURBANCE = "disturbance"  # in a stored environment: why the figure is doubtful; absent for a quiet run


@dataclass(frozen=True, slots=True)
class DeployedEvidence:
    """Everything one training and deployment has shown; no measurement where the device is not here."""

    trained: NewEvaluation
    deployed: NewEvaluation
    measurement: NewMeasurement | None
    artefact: NewArtefact

    def to_store(self) -> dict[str, Any]:
        """Arguments of `Repository.finish` and `Repository.add_evidence`."""
        return {
            "evaluations": [self.trained, self.deployed],
            "measurements": [] if self.measurement is None else [self.measurement],
            "artefacts": [self.artefact],
        }


def deployed_evidence(result: Mapping[str, Any]) -> DeployedEvidence:
    """Read a result of `train_and_deploy`."""
    artefact = NewArtefact(**result["artefact"])
    return DeployedEvidence(
        trained=_evaluation(Origin.TRAINED, result["trained"]),
        deployed=_evaluation(Origin.DEPLOYED, result["deployed"], artefact.hash),
        measurement=None
        if result["measurement"] is None
        else measurement_from(result["measurement"], Rung.DEPLOYED, artefact.hash),
        artefact=artefact,
    )


def shared_evaluation(told: Mapping[str, Any]) -> NewEvaluation:
    """Read a result of `SharedStage.look`."""
    return _evaluation(Origin.SHARED, told)


def _evaluation(origin: Origin, told: Mapping[str, Any], artefact_hash: str | None = None) -> NewEvaluation:
    figures = told["figures"]
    return NewEvaluation(
        origin=origin,
        ap=figures["AP"],
        ap50=figures["AP50"],
        figures=figures,
        protocol=told["protocol"],
        artefact_hash=artefact_hash,
        seconds=told["seconds"],
        epochs=told["epochs"],
    )


def measurement_from(told: Mapping[str, Any], rung: Rung, artefact_hash: str | None = None) -> NewMeasurement:
    """A stored measurement from `Measurement.to_dict()`; statistics are derived from its raw samples."""
    from evaluators.latency import Measurement

    measured = Measurement.from_dict(told)
    doubt = {DISTURBANCE: measured.disturbance} if measured.disturbed else {}
    return NewMeasurement(
        rung=rung,
        median_ms=measured.median_ms,
        low_ms=measured.low_ms,
        high_ms=measured.high_ms,
        p99_ms=measured.p99_ms,
        samples_ms=measured.samples_ms,
        workload=told["workload"],
        environment={**told["environment"], **doubt},
        artefact_hash=artefact_hash,
    )


def in_words(evidence: DeployedEvidence, trial: TrialRecord) -> str:
    """AP and latency on one line; `trial` has the estimate where nothing was measured."""
    deployed, measured, estimate = evidence.deployed, evidence.measurement, trial.latency_estimate
    ap = "AP undefined" if deployed.ap is None else f"AP {deployed.ap:.3f}"
    latency = "latency unknown" if estimate is None else f"{estimate.value:.2f} ms estimated"
    if measured is not None:
        latency = f"{measured.median_ms:.2f} ms{_doubt(measured)}"
    if not of_a_part(deployed.protocol):
        return f"{ap}, {latency}"
    images = deployed.protocol["images"]
    return f"{ap}, {latency} (from {images} images: AP is clearly below that of a faster network)"


def over_target(measured: NewMeasurement, target_ms: float) -> str | None:
    """Why a latency is over the limit, None if it is within. The median decides."""
    if measured.median_ms <= target_ms:
        return None
    return (
        f"{measured.median_ms:.2f} ms (95 % interval {measured.low_ms:.2f} to {measured.high_ms:.2f}), "
        f"limit {target_ms:g} ms{_doubt(measured)}"
    )


def undecided(measured: NewMeasurement, target_ms: float) -> bool:
    """Whether a latency is over the limit only as far as a disturbed machine can tell."""
    disturbed = DISTURBANCE in measured.environment
    return disturbed and measured.low_ms <= target_ms < measured.median_ms


def _doubt(measured: NewMeasurement) -> str:
    return " (disturbed)" if DISTURBANCE in measured.environment else ""
