"""The schema of the database, version 0003: what is known about studies, trials and what was measured.

Times are UTC, units are in the column names, and whatever the database can check, it checks. A change here
needs a migration in `storage/migrations/versions` and a fixture of the old version in the tests.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from storage.states import Origin, Rung, TrialKind, TrialState


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC on every database; SQLite itself would forget the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: they would be read back as something else."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite returns the UTC time without its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonObject = JSON().with_variant(JSONB(), "postgresql")
JsonObjectOrNone = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Key = String(64)  # content hashes and candidate keys


def _one_of(column: str, choices: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(repr(str(choice)) for choice in choices)})"


class Base(DeclarativeBase):
    """Named constraints, so that a refusal says which rule was broken and a migration can alter it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JsonObject, list[float]: JsonObject}  # noqa: RUF012


class Study(Base):
    """One search: space, data, workload and seed (in `settings`) and the latency it has to stay under."""

    __tablename__ = "studies"
    __table_args__ = (
        CheckConstraint("target_latency_ms > 0", "target_positive"),
        CheckConstraint("(driver_owner IS NULL) = (driver_expires_at IS NULL)", "driver_has_lease"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]
    target_latency_ms: Mapped[float | None]
    settings: Mapped[dict[str, Any]]
    driver_owner: Mapped[str | None] = mapped_column(String(300))
    driver_expires_at: Mapped[datetime | None]


class Environment(Base):
    """Hardware, versions and threads under which something was measured; one row per distinct content."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Key, unique=True)
    data: Mapped[dict[str, Any]]


class CandidateRow(Base):
    """What was tried, by key; shared by all studies."""

    __tablename__ = "candidates"
    __table_args__ = (
        CheckConstraint("params >= 0", "params_not_negative"),
        CheckConstraint("flops >= 0", "flops_not_negative"),
    )

    key: Mapped[str] = mapped_column(Key, primary_key=True)
    spec: Mapped[dict[str, Any]]
    label: Mapped[str] = mapped_column(String(200))
    params: Mapped[int | None] = mapped_column(BigInteger)
    flops: Mapped[int | None] = mapped_column(BigInteger)


class Trial(Base):
    """One candidate in a study. A running trial belongs to its lease owner until the lease ends."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        UniqueConstraint("study_id", "candidate_key"),
        Index(None, "study_id", "state"),
        CheckConstraint(_one_of("kind", TrialKind), "kind_known"),
        CheckConstraint(_one_of("state", TrialState), "state_known"),
        CheckConstraint(
            "(state = 'running') = (lease_owner IS NOT NULL)"
            " AND (lease_owner IS NULL) = (lease_expires_at IS NULL)",
            "running_has_lease",
        ),
        CheckConstraint("(state IN ('infeasible', 'failed')) = (reason IS NOT NULL)", "reason_says_why_not"),
        CheckConstraint(
            "(state IN ('finished', 'infeasible', 'failed')) = (finished_at IS NOT NULL)", "end_has_time"
        ),
        CheckConstraint("attempts >= 0", "attempts_not_negative"),
        CheckConstraint("number >= 0", "number_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    number: Mapped[int]
    candidate_key: Mapped[str] = mapped_column(ForeignKey("candidates.key"))
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(300))
    lease_expires_at: Mapped[datetime | None]
    attempts: Mapped[int]


class Evaluation(Base):
    """AP of a trial on one rung of evidence, under one protocol."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index(None, "trial_id", "origin", "ap"),  # holds all that a front needs, so no row is read for it
        CheckConstraint(_one_of("origin", Origin), "origin_known"),
        CheckConstraint("ap BETWEEN 0 AND 1", "ap_in_range"),
        CheckConstraint("ap50 BETWEEN 0 AND 1", "ap50_in_range"),
        CheckConstraint("origin <> 'deployed' OR artefact_hash IS NOT NULL", "deployed_has_artefact"),
        CheckConstraint("seconds >= 0", "seconds_not_negative"),
        CheckConstraint("epochs >= 0", "epochs_not_negative"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    origin: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    ap: Mapped[float | None]
    ap50: Mapped[float | None]
    figures: Mapped[dict[str, Any]]
    protocol: Mapped[dict[str, Any]]
    artefact_hash: Mapped[str | None] = mapped_column(Key)
    seconds: Mapped[float | None]
    epochs: Mapped[float | None]


class MeasurementRow(Base):
    """Latency measured on the device; hangs on the same artefact as the evaluation it stands beside."""

    __tablename__ = "measurements"
    __table_args__ = (
        Index(None, "evaluation_id", "median_ms"),
        CheckConstraint(_one_of("rung", Rung), "rung_known"),
        CheckConstraint(
            "median_ms > 0 AND low_ms > 0 AND low_ms <= median_ms AND median_ms <= high_ms"
            " AND p99_ms >= median_ms",
            "latency_positive_and_ordered",
        ),
        CheckConstraint("rung <> 'deployed' OR artefact_hash IS NOT NULL", "deployed_has_artefact"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    evaluation_id: Mapped[int | None] = mapped_column(ForeignKey("evaluations.id"))
    rung: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    median_ms: Mapped[float]
    low_ms: Mapped[float]
    high_ms: Mapped[float]
    p99_ms: Mapped[float]
    samples_ms: Mapped[list[float]]
    workload: Mapped[dict[str, Any]]
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    artefact_hash: Mapped[str | None] = mapped_column(Key)


class EstimateRow(Base):
    """A predicted quantity (unit in its name, as in `latency_ms`), its interval and where it is from."""

    __tablename__ = "estimates"
    __table_args__ = (CheckConstraint("low <= value AND value <= high", "interval_ordered"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), index=True)
    created_at: Mapped[datetime]
    quantity: Mapped[str] = mapped_column(String(64))
    value: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    source: Mapped[str] = mapped_column(String(300))


class ArtefactRow(Base):
    """Files of a trial on disk. The same content may come out of two studies, hence the key of two parts."""

    __tablename__ = "artefacts"
    __table_args__ = (CheckConstraint("size_bytes >= 0", "size_not_negative"),)

    hash: Mapped[str] = mapped_column(Key, primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class Event(Base):
    """What happened, in order; every change of state leaves one. `message` is for people, `data` for programs."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "study_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    trial_id: Mapped[int | None] = mapped_column(ForeignKey("trials.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None] = mapped_column(JsonObjectOrNone)
