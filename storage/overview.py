"""A study at a glance: counts and the front, read from indexes and not from every trial's records."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from storage.front import non_dominated
from storage.models import CandidateRow, EstimateRow, Evaluation, MeasurementRow, Study, Trial
from storage.records import LATENCY_MS
from storage.states import Origin, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One deployed trial: AP (0..1) and median latency of the same artefact.

    `estimated`: nobody measured the latency, because the device is not here.
    """

    trial_id: int
    number: int
    title: str
    ap: float
    latency_ms: float
    estimated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Counts by state, how many trials are deployed, and the front within the limit by rising latency."""

    counts: dict[TrialState, int]
    deployed: int
    front: tuple[FrontPoint, ...]

    @property
    def best(self) -> FrontPoint | None:
        """The highest AP within the limit."""
        return self.front[-1] if self.front else None


def count_by_state(connection: Connection, study_id: int) -> dict[TrialState, int]:
    """How many trials are in each state, all states named."""
    statement = select(Trial.state, func.count()).where(Trial.study_id == study_id).group_by(Trial.state)
    counts = {TrialState(state): count for state, count in connection.execute(statement)}
    return {state: counts.get(state, 0) for state in TrialState}


def overview(connection: Connection, study_id: int) -> Overview:
    """The study's counts and front. The same front as `front.pareto_front` of all its trials."""
    limit: float | None = connection.scalar(select(Study.target_latency_ms).where(Study.id == study_id))
    pairs = (
        select(Evaluation.trial_id, Evaluation.id, Evaluation.ap, MeasurementRow.id, MeasurementRow.median_ms)
        .join(Trial, Trial.id == Evaluation.trial_id)
        .outerjoin(MeasurementRow, MeasurementRow.evaluation_id == Evaluation.id)
        .where(Trial.study_id == study_id, Evaluation.origin == str(Origin.DEPLOYED))
    )
    newest: dict[int, tuple[int, float | None, int | None, float | None]] = {}
    for trial_id, evaluation_id, ap, measurement_id, median_ms in connection.execute(pairs):
        kept_one = newest.get(trial_id)
        if kept_one is None or (evaluation_id, measurement_id or 0) > (kept_one[0], kept_one[2] or 0):
            newest[trial_id] = (evaluation_id, ap, measurement_id, median_ms)
    unmeasured = {trial_id for trial_id, (_, _, _, median_ms) in newest.items() if median_ms is None}
    estimates = _estimates(connection, study_id, unmeasured) if unmeasured else {}
    latencies = {
        key: found[3] if found[3] is not None else estimates.get(key) for key, found in newest.items()
    }
    rows = [
        (trial_id, ap, latency_ms)
        for trial_id, (_, ap, _, _) in newest.items()
        if ap is not None and (latency_ms := latencies[trial_id]) is not None
    ]
    within = [row for row in rows if limit is None or row[2] <= limit]
    kept = [within[index] for index in non_dominated([(ap, latency_ms) for _, ap, latency_ms in within])]
    names = (
        select(Trial.id, Trial.number, Trial.name, CandidateRow.label, CandidateRow.key)
        .join(CandidateRow, CandidateRow.key == Trial.candidate_key)
        .where(Trial.id.in_([trial_id for trial_id, _, _ in kept]))
    )
    named = {row.id: row for row in connection.execute(names)}
    front = tuple(
        FrontPoint(
            trial_id=trial_id,
            number=named[trial_id].number,
            title=named[trial_id].name or named[trial_id].label or named[trial_id].key,
            ap=ap,
            latency_ms=latency_ms,
            estimated=trial_id in unmeasured,
        )
        for trial_id, ap, latency_ms in kept
    )
    return Overview(counts=count_by_state(connection, study_id), deployed=len(rows), front=front)


def _estimates(connection: Connection, study_id: int, trials: set[int]) -> dict[int, float]:
    """The newest latency estimate of those trials."""
    statement = (
        select(EstimateRow.trial_id, EstimateRow.value)
        .join(Trial, Trial.id == EstimateRow.trial_id)
        .where(Trial.study_id == study_id, EstimateRow.quantity == LATENCY_MS)
        .order_by(EstimateRow.id)
    )
    return {key: value for key, value in connection.execute(statement) if key in trials}
