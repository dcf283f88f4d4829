"""Turns new values into rows; used inside a transaction of the repository."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

from storage.models import (
    ArtefactRow,
    CandidateRow,
    Environment,
    EstimateRow,
    Evaluation,
    Event,
    MeasurementRow,
)
from storage.records import NewArtefact, NewEstimate, NewEvaluation, NewMeasurement
from storage.states import Rung
from storage.urls import mask


def fingerprint(data: Mapping[str, Any]) -> str:
    """Names the content of a JSON object: equal content, equal fingerprint."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def add_if_absent(session: Session, row: type[DeclarativeBase], **values: Any) -> None:
    """Insert a row unless its key is taken; safe when two programs do it at once."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(row).values(**values).on_conflict_do_nothing())


def ensure_candidate(
    session: Session, key: str, spec: Mapping[str, Any], label: str, params: int | None, flops: int | None
) -> None:
    """Store a candidate unless it is known already."""
    add_if_absent(
        session, CandidateRow, key=key, spec=dict(spec), label=label[:200], params=params, flops=flops
    )


def add_event(
    session: Session, study_id: int, trial_id: int | None, at: datetime, kind: str, message: str
) -> None:
    """Append to the record of what happened; passwords in the message are masked."""
    session.execute(
        insert(Event).values(study_id=study_id, trial_id=trial_id, at=at, kind=kind, message=mask(message))
    )


def add_evidence(
    session: Session,
    trial_id: int,
    at: datetime,
    evaluations: Iterable[NewEvaluation],
    measurements: Iterable[NewMeasurement],
    estimates: Iterable[NewEstimate],
    artefacts: Iterable[NewArtefact],
) -> None:
    """Store what was learnt; a deployed latency is tied to the evaluation of the same artefact."""
    for artefact in artefacts:
        add_if_absent(
            session,
            ArtefactRow,
            hash=artefact.hash,
            trial_id=trial_id,
            path=artefact.path,
            size_bytes=artefact.size_bytes,
            created_at=at,
        )
    for evaluation in evaluations:
        _add_evaluation(session, trial_id, at, evaluation)
    for measurement in measurements:
        _add_measurement(session, trial_id, at, measurement)
    for estimate in estimates:
        session.execute(
            insert(EstimateRow).values(
                trial_id=trial_id,
                created_at=at,
                quantity=estimate.quantity,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                source=mask(estimate.source)[:300],
            )
        )


def _add_evaluation(session: Session, trial_id: int, at: datetime, new: NewEvaluation) -> None:
    session.execute(
        insert(Evaluation).values(
            trial_id=trial_id,
            origin=str(new.origin),
            created_at=at,
            ap=new.ap,
            ap50=new.ap50,
            figures=dict(new.figures),
            protocol=dict(new.protocol),
            artefact_hash=new.artefact_hash,
            seconds=new.seconds,
            epochs=new.epochs,
        )
    )


def _add_measurement(session: Session, trial_id: int, at: datetime, new: NewMeasurement) -> None:
    session.execute(
        insert(MeasurementRow).values(
            trial_id=trial_id,
            evaluation_id=_evaluation_of(session, trial_id, new),
            rung=str(new.rung),
            created_at=at,
            median_ms=new.median_ms,
            low_ms=new.low_ms,
            high_ms=new.high_ms,
            p99_ms=new.p99_ms,
            samples_ms=[float(sample) for sample in new.samples_ms],
            workload=dict(new.workload),
            environment_id=_environment_id(session, new.environment),
            artefact_hash=new.artefact_hash,
        )
    )


def _environment_id(session: Session, data: Mapping[str, Any]) -> int:
    name = fingerprint(data)
    add_if_absent(session, Environment, fingerprint=name, data=dict(data))
    return session.scalars(select(Environment.id).where(Environment.fingerprint == name)).one()


def _evaluation_of(session: Session, trial_id: int, new: NewMeasurement) -> int | None:
    if new.rung is not Rung.DEPLOYED:
        return None
    return session.scalars(
        select(Evaluation.id)
        .where(
            Evaluation.trial_id == trial_id,
            Evaluation.origin == "deployed",
            Evaluation.artefact_hash == new.artefact_hash,
        )
        .order_by(Evaluation.id.desc())
        .limit(1)
    ).first()
