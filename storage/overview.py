"""A study at a glance: counts and the front, read from indexes and not from every trial's records."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, select

from storage.front import non_dominated
from storage.models import CandidateRow, Evaluation, MeasurementRow, Study, Trial
from storage.states import Origin, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One deployed trial: AP (0..1) and median latency of the same artefact."""

    trial_id: int
    number: int
    title: str
    ap: float
    latency_ms: float


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
    newest = (
        select(Evaluation.trial_id, func.max(Evaluation.id).label("id"))
        .join(Trial, Trial.id == Evaluation.trial_id)
        .where(Trial.study_id == study_id, Evaluation.origin == str(Origin.DEPLOYED))
        .group_by(Evaluation.trial_id)
        .subquery()
    )
    latest = (
        select(MeasurementRow.evaluation_id, func.max(MeasurementRow.id).label("id"))
        .where(MeasurementRow.evaluation_id.is_not(None))
        .group_by(MeasurementRow.evaluation_id)
        .subquery()
    )
    points = (
        select(newest.c.trial_id, Evaluation.ap, MeasurementRow.median_ms)
        .join(Evaluation, and_(Evaluation.id == newest.c.id, Evaluation.ap.is_not(None)))
        .join(latest, latest.c.evaluation_id == newest.c.id)
        .join(MeasurementRow, MeasurementRow.id == latest.c.id)
    )
    rows = connection.execute(points).all()
    within = [row for row in rows if limit is None or row.median_ms <= limit]
    kept = [within[index] for index in non_dominated([(row.ap, row.median_ms) for row in within])]
    names = (
        select(Trial.id, Trial.number, Trial.name, CandidateRow.label, CandidateRow.key)
        .join(CandidateRow, CandidateRow.key == Trial.candidate_key)
        .where(Trial.id.in_([row.trial_id for row in kept]))
    )
    named = {row.id: row for row in connection.execute(names)}
    front = tuple(
        FrontPoint(
            trial_id=row.trial_id,
            number=named[row.trial_id].number,
            title=named[row.trial_id].name or named[row.trial_id].label or named[row.trial_id].key,
            ap=row.ap,
            latency_ms=row.median_ms,
        )
        for row in kept
    )
    return Overview(counts=count_by_state(connection, study_id), deployed=len(rows), front=front)
