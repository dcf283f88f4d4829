"""Moves studies between databases: one file with everything but weights, and back."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from foundation.errors import UserError
from foundation.names import require_study_name
from storage._statements import add_if_absent, table_of
from storage._writing import add_event
from storage.database import head_version
from storage.errors import RecordRefusedError
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
    UtcDateTime,
)
from storage.reader import Reader
from storage.repository import Repository
from storage.states import TrialState
from storage.urls import mask

FORMAT = "yolov6-search study"
_OF_TRIALS = (Evaluation, MeasurementRow, EstimateRow, ArtefactRow)
_FREE_TEXT = ("message", "reason", "source", "path", "settings", "data", "protocol", "workload")
_BATCH = 500


def export_study(reader: Reader, name: str, target: Path) -> dict[str, int]:
    """Write one study to a compressed file of JSON lines; returns how many rows of each table.

    Raw samples, environments and events are in it, files of artefacts are not: only their hashes and paths.
    Passwords are masked. Raises UserError: no such study, the file exists or cannot be written.
    """
    study = reader.get_study(name)
    if target.exists():
        raise UserError(f"{target} exists already; choose another --out")
    part = target.with_name(target.name + ".part")

    def work(connection: Connection) -> dict[str, int]:
        with gzip.open(part, "wt", encoding="utf-8") as out:  # anew if a lost connection makes it begin again
            return _write(connection, study.id, out.write)

    try:
        counts = reader.run(work)
        part.replace(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return counts


def import_study(repository: Repository, source: Path, *, name: str | None = None) -> tuple[str, int]:
    """Add the study of an exported file, under its own or another name; all of it or nothing.

    Trials that were running when it was exported wait again: their workers are not here.

    Returns:
        The study's name and how many trials it has.

    Raises:
        UserError: the name is taken, or the file is not one of ours, is cut off, or of another version.
    """
    if name is not None:
        require_study_name(name, "--as")
    try:
        return repository.run(lambda connection: _read(connection, source, name, repository))
    except (RecordRefusedError, OverflowError) as error:
        raise _damaged(source, str(error)) from None


def _write(connection: Connection, study_id: int, write: Any) -> dict[str, int]:
    counts: dict[str, int] = {}

    def put(kind: str, row: dict[str, Any]) -> None:
        write(json.dumps({"is": kind, **row}, default=_plain, allow_nan=False) + "\n")
        counts[kind] = counts.get(kind, 0) + 1

    put("file", {"format": FORMAT, "version": head_version()})
    for kind, table, rows in _parts(connection, study_id):
        names = [column.name for column in table.columns]
        for row in rows:
            put(kind, {name: _masked(row[name]) if name in _FREE_TEXT else row[name] for name in names})
    total = dict(counts)
    put("end", {"rows": sum(total.values())})
    total.pop("file")
    return total


def _parts(connection: Connection, study_id: int) -> Iterator[tuple[str, Table, Iterable[Any]]]:
    """Every table's rows of the study, referred ones before those that refer to them."""
    ours = select(Trial.id).where(Trial.study_id == study_id)
    keys = select(Trial.candidate_key).where(Trial.study_id == study_id)
    used = select(MeasurementRow.environment_id).where(MeasurementRow.trial_id.in_(ours))
    chosen: list[tuple[Any, Any, Any]] = [
        (Study, Study.id == study_id, Study.id),
        (CandidateRow, CandidateRow.key.in_(keys), CandidateRow.key),
        (Environment, Environment.id.in_(used), Environment.id),
        (Trial, Trial.study_id == study_id, Trial.id),
        *((row, row.trial_id.in_(ours), row.trial_id) for row in _OF_TRIALS),
        (Event, Event.study_id == study_id, Event.id),
    ]
    for row, condition, order in chosen:
        table = table_of(row)
        statement = select(table).where(condition).order_by(order, *table.primary_key.columns)
        yield table.name, table, connection.execute(statement).mappings()


def _read(connection: Connection, source: Path, name: str | None, repository: Repository) -> tuple[str, int]:
    rows = _lines(source)
    head = next(rows, {})
    if head.get("format") != FORMAT:
        raise UserError(f"{source} is not an exported study; make one with python -m storage export")
    if head.get("version") != head_version():
        raise UserError(
            f"{source} is of version {head.get('version')}, this program of {head_version()}: import it with the "
            "program that wrote it, upgrade that database, and export again"
        )
    return _Import(connection, name, repository, source).all(rows)


class _Import:
    """One import; ids of the file become new ids here."""

    def __init__(
        self, connection: Connection, name: str | None, repository: Repository, source: Path
    ) -> None:
        self._connection = connection
        self._name = name
        self._repository = repository
        self._source = source
        self._ids: dict[str, dict[int, int]] = {
            row.__tablename__: {} for row in (Study, Environment, Trial, Evaluation)
        }
        self._waiting: list[tuple[Table, dict[str, Any]]] = []
        self._trials = 0

    def all(self, rows: Iterator[dict[str, Any]]) -> tuple[str, int]:
        done, ended = 1, False
        for row in rows:
            kind = row.pop("is", None)
            if kind == "end":
                # nothing may follow; looking for it also lets gzip compare its checksum
                ended = row.get("rows") == done and next(rows, None) is None
                break
            try:
                self._one(str(kind), row)
            except (KeyError, TypeError, ValueError) as error:
                raise _damaged(self._source, f"row {done + 1}: {type(error).__name__} {error}") from None
            done += 1
        if not ended:
            raise _damaged(self._source, "it is cut off")
        self._flush()
        study_id = next(iter(self._ids["studies"].values()), None)
        if study_id is None:
            raise _damaged(self._source, "it holds no study")
        now = self._repository.now()
        add_event(self._connection, study_id, None, now, "imported", f"{self._trials} trials")
        return str(self._name), self._trials

    def _one(self, kind: str, row: dict[str, Any]) -> None:
        table = _TABLES[kind]
        for column in table.columns:
            if row[column.name] is not None and isinstance(column.type, UtcDateTime):
                row[column.name] = datetime.fromisoformat(row[column.name])
        if kind == "studies":
            self._study(table, row)
        elif kind == "candidates":
            add_if_absent(self._connection, CandidateRow, **row)
        elif kind == "environments":
            self._environment(row)
        elif kind == "trials":
            if row["state"] == str(TrialState.RUNNING):
                row |= {"state": str(TrialState.WAITING), "started_at": None}
                row |= {"lease_owner": None, "lease_expires_at": None}
            self._trials += 1
            self._insert(table, row, study_id="studies")
        elif kind == "evaluations":
            self._insert(table, row, trial_id="trials")
        else:
            self._later(table, row)

    def _study(self, table: Table, row: dict[str, Any]) -> None:
        self._name = self._name or row["name"]
        row |= {"name": self._name, "driver_owner": None, "driver_expires_at": None}
        if self._connection.scalar(select(Study.id).where(Study.name == self._name)) is not None:
            raise UserError(
                f"study {self._name!r} is already in {self._repository.url}; nothing was imported, "
                "give it another name with --as NAME"
            )
        self._insert(table, row)

    def _environment(self, row: dict[str, Any]) -> None:
        add_if_absent(self._connection, Environment, fingerprint=row["fingerprint"], data=row["data"])
        here = select(Environment.id).where(Environment.fingerprint == row["fingerprint"])
        self._ids["environments"][row["id"]] = self._connection.execute(here).scalar_one()

    def _insert(self, table: Table, row: dict[str, Any], **references: str) -> None:
        before = row.pop("id")
        self._refer(row, references)
        new = self._connection.execute(insert(table).returning(table.c.id), row).scalar_one()
        self._ids[table.name][before] = new

    def _later(self, table: Table, row: dict[str, Any]) -> None:
        row.pop("id", None)
        names = {"trial_id": "trials", "study_id": "studies"}
        names |= {"evaluation_id": "evaluations", "environment_id": "environments"}
        self._refer(row, {column: names[column] for column in names if column in row})
        if self._waiting and (self._waiting[0][0] is not table or len(self._waiting) >= _BATCH):
            self._flush()
        self._waiting.append((table, row))

    def _refer(self, row: dict[str, Any], references: dict[str, str]) -> None:
        for column, table in references.items():
            if row[column] is not None:
                row[column] = self._ids[table][row[column]]

    def _flush(self) -> None:
        if self._waiting:
            self._connection.execute(insert(self._waiting[0][0]), [row for _, row in self._waiting])
            self._waiting.clear()


_TABLES = {
    row.__tablename__: table_of(row) for row in (Study, CandidateRow, Environment, Trial, *_OF_TRIALS, Event)
}


def _lines(source: Path) -> Iterator[dict[str, Any]]:
    try:
        with gzip.open(source, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("not an object")
                yield row
    except FileNotFoundError:
        raise UserError(f"there is no file {source}") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{source} is not an exported study, or damaged: {error}") from None


def _damaged(source: Path, how: str) -> UserError:
    return UserError(f"{source} is damaged ({how}); nothing was imported, export it again")


def _masked(value: Any) -> Any:
    """A JSON value with the passwords masked in its texts; its keys stay as they are."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else value


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be exported")
