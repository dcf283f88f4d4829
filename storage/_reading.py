"""Turns rows into records, inside a transaction; the number of queries does not grow with the trials."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select, text

from foundation.errors import UserError
from storage.models import (
    ArtefactRow,
    CandidateRow,
    Environment,
    EstimateRow,
    Evaluation,
    Event,
    MeasurementRow,
    Study,
    Trial,
)
from storage.records import (
    ArtefactRecord,
    EstimateRecord,
    EvaluationRecord,
    EventRecord,
    MeasurementRecord,
    StudyRecord,
    TrialRecord,
)
from storage.states import Origin, Rung, TrialKind, TrialState

_STUDY = (
    Study.id,
    Study.name,
    Study.created_at,
    Study.target_latency_ms,
    Study.settings,
    Study.driver_owner,
    Study.driver_expires_at,
)
_EVALUATION = (
    Evaluation.id,
    Evaluation.origin,
    Evaluation.created_at,
    Evaluation.ap,
    Evaluation.ap50,
    Evaluation.figures,
    Evaluation.protocol,
    Evaluation.artefact_hash,
    Evaluation.seconds,
    Evaluation.epochs,
)
_MEASUREMENT = (  # without the raw samples, which are most of the bytes
    MeasurementRow.id,
    MeasurementRow.rung,
    MeasurementRow.created_at,
    MeasurementRow.median_ms,
    MeasurementRow.low_ms,
    MeasurementRow.high_ms,
    MeasurementRow.p99_ms,
    MeasurementRow.workload,
    MeasurementRow.environment_id,
    MeasurementRow.evaluation_id,
    MeasurementRow.artefact_hash,
)
_ESTIMATE = (
    EstimateRow.quantity,
    EstimateRow.value,
    EstimateRow.low,
    EstimateRow.high,
    EstimateRow.source,
    EstimateRow.created_at,
)
_TRIAL = (
    Trial.id,
    Trial.number,
    Trial.candidate_key,
    Trial.kind,
    Trial.name,
    Trial.state,
    Trial.reason,
    Trial.created_at,
    Trial.started_at,
    Trial.finished_at,
    Trial.lease_owner,
    Trial.attempts,
    CandidateRow.label,
    CandidateRow.spec,
    CandidateRow.params,
    CandidateRow.flops,
    Study.target_latency_ms,
)


def study(connection: Connection, name: str, where: str) -> StudyRecord:
    """The study of that name. Raises UserError that lists the known ones."""
    row = connection.execute(select(*_STUDY).where(Study.name == name)).first()
    if row is None:
        names = [found.name for found in studies(connection)]
        known = f"it has {', '.join(names[:10])}" if names else "it has none yet"
        raise UserError(f"there is no study {name!r} in {where}; {known}")
    return StudyRecord(**row._mapping)


def studies(connection: Connection) -> list[StudyRecord]:
    """All studies, newest first."""
    return [
        StudyRecord(**row._mapping) for row in connection.execute(select(*_STUDY).order_by(Study.id.desc()))
    ]


def trials(
    connection: Connection, study_id: int | None, trial_ids: Collection[int] = ()
) -> list[TrialRecord]:
    """The trials of a study by number, or those of some ids."""
    chosen: ColumnElement[bool] = Trial.study_id == study_id
    if study_id is None:
        chosen = Trial.id.in_(trial_ids)
    evaluations: defaultdict[int, dict[Origin, EvaluationRecord]] = defaultdict(dict)
    first: dict[int, EvaluationRecord] = {}
    measurements: defaultdict[int, list[MeasurementRecord]] = defaultdict(list)
    estimates: defaultdict[int, list[EstimateRecord]] = defaultdict(list)

    def parts(statement: Select[*tuple[Any, ...]], table: Any) -> Any:
        # oldest first, so that the newest is met last
        return connection.execute(
            statement.join(Trial, Trial.id == table.trial_id).where(chosen).order_by(table.id)
        )

    for row in parts(select(Evaluation.trial_id, *_EVALUATION), Evaluation):
        evaluation = EvaluationRecord(**_fields(row, origin=Origin(row.origin)))
        evaluations[row.trial_id][evaluation.origin] = evaluation
        if evaluation.origin is Origin.DEPLOYED:
            first.setdefault(row.trial_id, evaluation)
    for row in parts(select(MeasurementRow.trial_id, *_MEASUREMENT), MeasurementRow):
        measurements[row.trial_id].append(MeasurementRecord(**_fields(row, rung=Rung(row.rung))))
    for row in parts(select(EstimateRow.trial_id, *_ESTIMATE), EstimateRow):
        estimates[row.trial_id].append(EstimateRecord(**_fields(row)))

    statement = select(*_TRIAL).join(CandidateRow, CandidateRow.key == Trial.candidate_key)
    statement = statement.join(Study, Study.id == Trial.study_id).where(chosen).order_by(Trial.number)
    return [
        _trial(
            row,
            evaluations.get(row.id, {}),
            first.get(row.id),
            measurements.get(row.id, []),
            estimates.get(row.id, []),
        )
        for row in connection.execute(statement)
    ]


def _trial(
    row: Row[Any],
    evaluations: Mapping[Origin, EvaluationRecord],
    first_deployed: EvaluationRecord | None,
    measurements: list[MeasurementRecord],
    estimates: list[EstimateRecord],
) -> TrialRecord:
    deployed = evaluations.get(Origin.DEPLOYED)
    return TrialRecord(
        id=row.id,
        number=row.number,
        candidate_key=row.candidate_key,
        label=row.label,
        spec=row.spec,
        params=row.params,
        flops=row.flops,
        kind=TrialKind(row.kind),
        name=row.name,
        state=TrialState(row.state),
        reason=row.reason,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        owner=row.lease_owner,
        attempts=row.attempts,
        evaluations=evaluations,
        deployed_latency=_newest(
            [m for m in measurements if deployed is not None and m.evaluation_id == deployed.id]
        ),
        untrained_latency=_newest([m for m in measurements if m.rung is Rung.UNTRAINED]),
        estimates=tuple(estimates),
        target_latency_ms=row.target_latency_ms,
        first_deployed=first_deployed,
    )


def _newest(oldest_first: list[MeasurementRecord]) -> MeasurementRecord | None:
    return oldest_first[-1] if oldest_first else None


def _fields(row: Row[Any], **replaced: Any) -> dict[str, Any]:
    fields = {**row._mapping, **replaced}
    fields.pop("trial_id")
    return fields


def events(
    connection: Connection,
    study_id: int,
    trial_id: int | None,
    kinds: Collection[str] | None,
    after: int,
    limit: int,
) -> list[EventRecord]:
    """The newest events, oldest of them first."""
    statement = select(Event.id, Event.trial_id, Event.at, Event.kind, Event.message, Event.data)
    statement = statement.where(Event.study_id == study_id, Event.id > after)
    if trial_id is not None:
        statement = statement.where(Event.trial_id == trial_id)
    if kinds is not None:
        statement = statement.where(Event.kind.in_(kinds))
    rows = connection.execute(statement.order_by(Event.id.desc()).limit(limit)).all()
    return [EventRecord(**row._mapping) for row in reversed(rows)]


def artefacts(connection: Connection, trial_id: int) -> list[ArtefactRecord]:
    """What a trial has on disk, newest last."""
    columns = (
        ArtefactRow.hash,
        ArtefactRow.trial_id,
        ArtefactRow.path,
        ArtefactRow.size_bytes,
        ArtefactRow.created_at,
    )
    rows = connection.execute(
        select(*columns).where(ArtefactRow.trial_id == trial_id).order_by(ArtefactRow.created_at)
    )
    return [ArtefactRecord(**row._mapping) for row in rows]


def samples_ms(connection: Connection, measurement_id: int) -> tuple[float, ...]:
    """The raw samples of a measurement."""
    statement = select(MeasurementRow.samples_ms).where(MeasurementRow.id == measurement_id)
    return tuple(connection.scalars(statement).one())


def environment(connection: Connection, environment_id: int) -> Mapping[str, Any]:
    """Hardware, versions and threads of a measurement."""
    return connection.scalars(select(Environment.data).where(Environment.id == environment_id)).one()


CHECKED = {
    "sqlite": "pages and references are sound",
    "postgresql": "the server itself enforces references (its pages were not read: pg_amcheck does that)",
}


def problems(connection: Connection) -> list[str]:
    """What the database itself finds wrong; `CHECKED` says what was looked at."""
    if connection.dialect.name != "sqlite":
        return []
    damage = connection.execute(text("PRAGMA quick_check")).scalars().all()
    orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
    found = [line for line in damage if line != "ok"]
    return found + [f"a row of {row[0]} refers to a missing row of {row[2]}" for row in orphans]
