"""Turns new values into rows; used inside a transaction of the repository."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from storage._statements import (
    FIND_ENVIRONMENT,
    INSERT_ESTIMATE,
    INSERT_EVALUATION,
    INSERT_EVENT,
    INSERT_MEASUREMENT,
    add_if_absent,
)
from storage.models import ArtefactRow, Environment, Evaluation
from storage.records import NewArtefact, NewEstimate, NewEvaluation, NewMeasurement
from storage.states import Origin, Rung
from storage.transaction import remember_event
from storage.urls import mask


def fingerprint(data: Mapping[str, Any]) -> str:
    """Names the content of a JSON object: equal content, equal fingerprint."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def add_event(
    connection: Connection,
    study_id: int,
    trial_id: int | None,
    at: datetime,
    kind: str,
    message: str,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append to the record of what happened; passwords in the message are masked."""
    values = {
        "study_id": study_id,
        "trial_id": trial_id,
        "at": at,
        "kind": kind,
        "message": mask(message),
        "data": None if data is None else dict(data),
    }
    remember_event(connection, connection.execute(INSERT_EVENT, values).scalar_one())


def add_evidence(
    connection: Connection,
    trial_id: int,
    at: datetime,
    evaluations: Sequence[NewEvaluation] = (),
    measurements: Sequence[NewMeasurement] = (),
    estimates: Sequence[NewEstimate] = (),
    artefacts: Sequence[NewArtefact] = (),
) -> None:
    """Store what was learnt; a deployed latency is tied to the evaluation of the same artefact."""
    for artefact in artefacts:
        add_if_absent(
            connection,
            ArtefactRow,
            hash=artefact.hash,
            trial_id=trial_id,
            path=artefact.path,
            size_bytes=artefact.size_bytes,
            created_at=at,
        )
    deployed: dict[str | None, int] = {}
    for evaluation in evaluations:
        evaluation_id = _add_evaluation(connection, trial_id, at, evaluation)
        if evaluation.origin is Origin.DEPLOYED:
            deployed[evaluation.artefact_hash] = evaluation_id
    for measurement in measurements:
        evaluation_of = None
        if measurement.rung is Rung.DEPLOYED:
            known = deployed.get(measurement.artefact_hash)
            evaluation_of = known or _evaluation_of(connection, trial_id, measurement.artefact_hash)
        _add_measurement(connection, trial_id, at, measurement, evaluation_of)
    if estimates:
        rows = [
            {
                "trial_id": trial_id,
                "created_at": at,
                "quantity": estimate.quantity,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "source": mask(estimate.source)[:300],
            }
            for estimate in estimates
        ]
        connection.execute(INSERT_ESTIMATE, rows)


def _add_evaluation(connection: Connection, trial_id: int, at: datetime, new: NewEvaluation) -> int:
    values = {
        "trial_id": trial_id,
        "origin": str(new.origin),
        "created_at": at,
        "ap": new.ap,
        "ap50": new.ap50,
        "figures": dict(new.figures),
        "protocol": dict(new.protocol),
        "artefact_hash": new.artefact_hash,
        "seconds": new.seconds,
        "epochs": new.epochs,
    }
    evaluation_id: int = connection.execute(INSERT_EVALUATION, values).scalar_one()
    return evaluation_id


def _add_measurement(
    connection: Connection, trial_id: int, at: datetime, new: NewMeasurement, evaluation_id: int | None
) -> None:
    values = {
        "trial_id": trial_id,
        "evaluation_id": evaluation_id,
        "rung": str(new.rung),
        "created_at": at,
        "median_ms": new.median_ms,
        "low_ms": new.low_ms,
        "high_ms": new.high_ms,
        "p99_ms": new.p99_ms,
        "samples_ms": [float(sample) for sample in new.samples_ms],
        "workload": dict(new.workload),
        "environment_id": _environment_id(connection, new.environment),
        "artefact_hash": new.artefact_hash,
    }
    connection.execute(INSERT_MEASUREMENT, values)


def _environment_id(connection: Connection, data: Mapping[str, Any]) -> int:
    name = {"fingerprint": fingerprint(data)}
    known: int | None = connection.scalar(FIND_ENVIRONMENT, name)
    if known is None:
        add_if_absent(connection, Environment, **name, data=dict(data))
        known = connection.execute(FIND_ENVIRONMENT, name).scalar_one()
    return known


def _evaluation_of(connection: Connection, trial_id: int, artefact_hash: str | None) -> int | None:
    newest: int | None = connection.scalar(
        select(Evaluation.id)
        .where(
            Evaluation.trial_id == trial_id,
            Evaluation.origin == str(Origin.DEPLOYED),
            Evaluation.artefact_hash == artefact_hash,
        )
        .order_by(Evaluation.id.desc())
        .limit(1)
    )
    return newest
