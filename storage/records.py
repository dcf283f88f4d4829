"""Plain values that go into and come out of the repository; nothing here knows SQL."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from storage.states import Origin, Rung, TrialKind, TrialState

LATENCY_MS = "latency_ms"  # the quantity of an estimate that says how long one inference takes


def _require_finite(where: str, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{where}: {name} is {value}; store only finite numbers, None for undefined")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvaluation:
    """AP found for a trial.

    Attributes:
        ap, ap50: COCO AP at IoU 0.50:0.95 and at 0.50, 0..1; None where undefined.
        figures: all figures by name (the twelve COCO ones, losses, ...); JSON values.
        protocol: what the figures are figures of (split, thresholds, image size); JSON values.
        artefact_hash: needed for `deployed`: AP is that of one built artefact.
        seconds: wall time spent on this rung.
        epochs: passes over the training data; may be a fraction.
    """

    origin: Origin
    ap: float | None
    ap50: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    artefact_hash: str | None = None
    seconds: float | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        _require_finite(f"{self.origin} evaluation", ap=self.ap, ap50=self.ap50, seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMeasurement:
    """Latency measured for a trial; milliseconds of one inference of the whole batch.

    Attributes:
        low_ms, high_ms: 95 % confidence interval of the median.
        workload: what the latency is a latency of (image size, batch, precision, device, back end).
        environment: hardware, versions, threads; stored once per distinct content.
        artefact_hash: needed for `deployed`; ties it to the evaluation of the same artefact.
    """

    rung: Rung
    median_ms: float
    low_ms: float
    high_ms: float
    p99_ms: float
    samples_ms: Sequence[float] = ()
    workload: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    artefact_hash: str | None = None

    def __post_init__(self) -> None:
        _require_finite(
            f"{self.rung} latency",
            median_ms=self.median_ms,
            low_ms=self.low_ms,
            high_ms=self.high_ms,
            p99_ms=self.p99_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEstimate:
    """A prediction with its interval; the quantity names its unit (`LATENCY_MS`)."""

    quantity: str
    value: float
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        _require_finite(f"estimate of {self.quantity}", value=self.value, low=self.low, high=self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtefact:
    """Files kept for a trial."""

    hash: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as it was when read.

    `driver_owner` is the process that is running it, if any, until `driver_expires_at` unless it renews.
    """

    id: int
    name: str
    created_at: datetime
    target_latency_ms: float | None
    settings: Mapping[str, Any]
    driver_owner: str | None
    driver_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord:
    """A stored evaluation; fields as in `NewEvaluation`."""

    id: int
    origin: Origin
    created_at: datetime
    ap: float | None
    ap50: float | None
    figures: Mapping[str, Any]
    protocol: Mapping[str, Any]
    artefact_hash: str | None
    seconds: float | None
    epochs: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRecord:
    """A stored latency without its raw samples (`Repository.samples_ms` has them)."""

    id: int
    rung: Rung
    created_at: datetime
    median_ms: float
    low_ms: float
    high_ms: float
    p99_ms: float
    workload: Mapping[str, Any]
    environment_id: int
    evaluation_id: int | None
    artefact_hash: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateRecord:
    """A stored estimate."""

    quantity: str
    value: float
    low: float
    high: float
    source: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyFigure:
    """How fast a deployed network is, and how that is known.

    Attributes:
        ms: median of what was measured, or the best guess of an estimate.
        low_ms, high_ms: 95 % confidence interval of a median, 90 % interval of an estimate.
        estimated: whether nobody measured it, because the device is not here.
        about: the workload that was measured, or the source of an estimate.
    """

    ms: float
    low_ms: float
    high_ms: float
    estimated: bool
    about: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """`measured` or `estimated`."""
        return "estimated" if self.estimated else "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactRecord:
    """Files kept for a trial."""

    hash: str
    trial_id: int
    path: str
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """Something that happened: `message` for people, `data` (JSON values) for programs that read it."""

    id: int
    trial_id: int | None
    at: datetime
    kind: str
    message: str
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial with everything a table or a plot needs, as it was when read.

    Attributes:
        evaluations: the newest evaluation of each origin.
        deployed_latency: the newest measurement of the deployed artefact, where there is a deployed
            evaluation of that same artefact; so its AP and latency always belong together.
        untrained_latency: the newest measurement of an untrained network of the same shape.
        target_latency_ms: the limit of the study.
        first_deployed: the oldest deployed evaluation, that of the exploring training.
        owner: who holds the lease while it runs.
        attempts: how often a worker was lost while running it.
    """

    id: int
    number: int
    candidate_key: str
    label: str
    spec: Mapping[str, Any]
    params: int | None
    flops: int | None
    kind: TrialKind
    name: str | None
    state: TrialState
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    owner: str | None
    attempts: int
    evaluations: Mapping[Origin, EvaluationRecord]
    deployed_latency: MeasurementRecord | None
    untrained_latency: MeasurementRecord | None
    estimates: tuple[EstimateRecord, ...]
    target_latency_ms: float | None
    first_deployed: EvaluationRecord | None = None

    @property
    def title(self) -> str:
        """How a person names it: the name of a fixed trial, else the candidate's label or key."""
        return self.name or self.label or self.candidate_key

    @property
    def only_looked_at(self) -> bool:
        """Whether it was judged with inherited weights and was not chosen for a training (yet)."""
        return self.state is TrialState.WAITING and Origin.SHARED in self.evaluations

    @property
    def deployed(self) -> EvaluationRecord | None:
        """AP of the deployed artefact."""
        return self.evaluations.get(Origin.DEPLOYED)

    @property
    def latency(self) -> MeasurementRecord | None:
        """The truest latency there is; its `rung` says which."""
        return self.deployed_latency or self.untrained_latency

    @property
    def latency_estimate(self) -> EstimateRecord | None:
        """The newest estimate of its latency."""
        return next((one for one in reversed(self.estimates) if one.quantity == LATENCY_MS), None)

    @property
    def final_latency(self) -> LatencyFigure | None:
        """Latency of the deployed network: measured, or estimated where its device is not here."""
        measured, estimate = self.deployed_latency, self.latency_estimate
        if measured is not None:
            return LatencyFigure(
                ms=measured.median_ms,
                low_ms=measured.low_ms,
                high_ms=measured.high_ms,
                estimated=False,
                about=measured.workload,
            )
        if self.deployed is None or estimate is None:
            return None
        return LatencyFigure(
            ms=estimate.value,
            low_ms=estimate.low,
            high_ms=estimate.high,
            estimated=True,
            about={"source": estimate.source},
        )

    @property
    def feasible(self) -> bool | None:
        """Whether the deployed network is within the limit; False if infeasible, None while unknown.

        The median decides, or the best guess of an estimate.
        """
        if self.state is TrialState.INFEASIBLE:
            return False
        if self.final_latency is None or self.target_latency_ms is None:
            return None
        return self.final_latency.ms <= self.target_latency_ms
