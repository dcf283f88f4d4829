"""Statements that run for every trial, built once: building them anew took most of the time of a transaction."""

from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase

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
from storage.states import TrialState


def table_of(row: type[DeclarativeBase]) -> Table:
    """The table itself: statements on it skip the work that mapped classes cost."""
    table = row.__table__
    assert isinstance(table, Table)
    return table


def _if_absent(row: type[DeclarativeBase]) -> dict[str, Any]:
    """An INSERT that passes over a row whose key is taken, by dialect."""
    table = table_of(row)
    return {
        "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
        "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
    }


_IF_ABSENT: dict[type[DeclarativeBase], dict[str, Any]] = {
    row: _if_absent(row) for row in (CandidateRow, Environment, ArtefactRow)
}

INSERT_STUDY = insert(table_of(Study)).returning(Study.id)
INSERT_EVENT = insert(table_of(Event)).returning(Event.id)
INSERT_EVALUATION = insert(table_of(Evaluation)).returning(Evaluation.id)
INSERT_MEASUREMENT = insert(table_of(MeasurementRow))
INSERT_ESTIMATE = insert(table_of(EstimateRow))
LOCK_STUDY = select(Study.id).where(Study.id == bindparam("study_id")).with_for_update(key_share=True)
FIND_ENVIRONMENT = select(Environment.id).where(Environment.fingerprint == bindparam("fingerprint"))
FIND_SAME = select(Trial.id, Trial.number).where(
    Trial.study_id == bindparam("study_id"), Trial.candidate_key == bindparam("candidate_key")
)
HOLDER = select(Trial.state, Trial.lease_owner).where(Trial.id == bindparam("trial_id"))

_NEXT_NUMBER = (
    select(func.coalesce(func.max(Trial.number) + 1, 0))
    .where(Trial.study_id == bindparam("study_id"))
    .scalar_subquery()
)
_NEW_TRIAL = {
    "study_id": bindparam("study_id"),
    "number": _NEXT_NUMBER,
    "candidate_key": bindparam("candidate_key"),
    "kind": bindparam("kind"),
    "name": bindparam("name"),
    "state": bindparam("new_state"),
    "created_at": bindparam("now"),
    "started_at": bindparam("started_at"),
    "lease_owner": bindparam("owner"),
    "lease_expires_at": bindparam("expires"),
    "attempts": 0,
}
_UNIQUE = [table_of(Trial).c.study_id, table_of(Trial).c.candidate_key]
_INSERT_TRIAL: dict[str, Any] = {
    name: dialect.insert(table_of(Trial))
    .values(_NEW_TRIAL)
    .on_conflict_do_nothing(index_elements=_UNIQUE)
    .returning(Trial.id)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}

CLAIM = (
    update(table_of(Trial))
    .where(Trial.id == bindparam("trial_id"), Trial.state == str(TrialState.WAITING))
    .values(
        state=str(TrialState.RUNNING),
        started_at=bindparam("now"),
        lease_owner=bindparam("owner"),
        lease_expires_at=bindparam("expires"),
    )
    .returning(Trial.study_id)
)
_HELD = (
    Trial.id == bindparam("trial_id"),
    Trial.state == str(TrialState.RUNNING),
    Trial.lease_owner == bindparam("owner"),
)
_END: dict[str, Any] = {
    "state": bindparam("new_state"),
    "reason": bindparam("reason"),
    "finished_at": bindparam("now"),
    "lease_owner": None,
    "lease_expires_at": None,
}
END_HELD = update(table_of(Trial)).where(*_HELD).values(_END).returning(Trial.study_id)
END_WAITING = (
    update(table_of(Trial))
    .where(Trial.id == bindparam("trial_id"), Trial.state == str(TrialState.WAITING))
    .values(_END)
    .returning(Trial.study_id)
)
RENEW = (
    update(table_of(Trial))
    .where(*_HELD)
    .values(lease_expires_at=bindparam("expires"))
    .returning(Trial.study_id)
)
BACK_TO_WAITING = (
    update(table_of(Trial))
    .where(*_HELD)
    .values(
        state=str(TrialState.WAITING),
        started_at=None,
        lease_owner=None,
        lease_expires_at=None,
        attempts=Trial.attempts + bindparam("lost"),
    )
    .returning(Trial.study_id)
)
TOUCH_HELD = select(Trial.study_id, Trial.attempts).where(*_HELD).with_for_update(key_share=True)
TOUCH_FINISHED = (
    select(Trial.study_id)
    .where(Trial.id == bindparam("trial_id"), Trial.state == str(TrialState.FINISHED))
    .with_for_update(key_share=True)
)


def add_if_absent(connection: Connection, row: type[DeclarativeBase], **values: Any) -> None:
    """Insert a row unless its key is taken; safe when two programs do it at once."""
    connection.execute(_IF_ABSENT[row][connection.dialect.name], values)


def insert_trial(connection: Connection, **values: Any) -> int | None:
    """A trial with the next number; None when the study has the candidate already."""
    found: int | None = connection.scalar(_INSERT_TRIAL[connection.dialect.name], values)
    return found
